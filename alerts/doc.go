// Package alerts is everything that leaves creditstream on Kafka: rated records,
// dead letters, events and payment requests as CloudEvents, and commands.
//
// # What it promises
//
//   - Publish returns nil only when every message is acknowledged by all in-sync
//     replicas. The caller commits and trims the outbox after that, so everything
//     is written at least once.
//   - What a message says depends on the record, its verdict and the result entry
//     alone, never on a clock or on earlier calls: a repeat is the same message
//     under the same key, and an event or payment request repeats its id.
//   - The messages of one account keep the order of the entries given.
//   - A command has a partition and an offset when Append returns.
//
// # What it never does
//
// It decides nothing: outcomes, events, wishes and reasons come from the
// verdicts and entries. It never asks Redis, and it puts no account and no number
// in a metric.
//
// What readers may rely on is written in docs/events.md; the schemas are in
// docs/schemas.
package alerts
