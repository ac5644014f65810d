// Package httpapi is the HTTP API of creditstream: accounts, top-ups, answers of
// payment services, health and metrics.
//
// What it promises:
//   - It never touches a balance. A change is appended to the log of commands and
//     counts when it is applied (rule 1); an answer of 200 means that it is, and
//     a GET after it sees it.
//   - What it refuses by looking at the account (an amount that its currency does not
//     have, a close with money left) it refuses before the log: such checks help
//     people, and what the scripts decide does not depend on them.
//   - A change that is in the log stays there, whatever becomes of the client or
//     of this process. 202 says that it is in the log and not yet known to be
//     applied; 503 that nothing is known about it. In both cases the same request
//     with the same Idempotency-Key may be sent again: it counts once.
//   - Every error is a problem of RFC 9457, those of the router included. Its type
//     ends in a reason that programs may compare; docs/api.md lists them.
//   - Nobody is let in whose scope does not cover the route, and whoever may not
//     read accounts learns from no answer that changes nothing whether one exists.
//   - The log has no request above debug, and no account id above debug. The audit
//     (Options.Audit) has a line for each change, with the account.
package httpapi
