// Package simulate stands in for what surrounds creditstream, in the sandbox
// alone: a switch that writes calls, a payment service that answers recharge
// requests, and a Redis in memory for machines that have no redis-server.
//
// The switch places no calls that need credit for an account that is depleted,
// as a real one does. The payment service pays each recharge once: what it has
// answered it remembers in a file, and a repeated request gets the same answer.
//
// Nothing here is random when the seeds are given, and nothing reads a clock of
// its own.
package simulate
