// Package verify recomputes what every account must hold from the logs, and compares
// it with what Redis holds, while processors run.
//
// # How
//
// First Redis: page by page, the accounts of a shard together with its marks, of one
// moment. Then the logs: an account of a page is given exactly the records below
// the marks of that page. So nothing has to stand still, and pages need not be of one
// moment.
//
// What a command does is told by package oracle (big integers, lots one by one), and
// what a CDR means by consumer.Preview, which is pure: bytes, append time and
// configuration. Which accounts are known, which copies of a call count, and the sums
// are this package's own.
//
// # What it promises
//
//   - A difference is of that account: no wait, repeat or order makes one. Copies of a
//     call that differ in price (design rule 8) leave it open which of them counts; then
//     each that can be is right, and they are counted as doubtful.
//   - What cannot be recomputed is said and makes the verdict Unknown, never "well": the
//     beginning of cdrs is gone, and rated-cdrs does not reach back to its own.
//
// # What it never does
//
// It writes to neither Redis nor Kafka.
//
// # Memory
//
// An entry of a map, of 16 bytes, for each call that claims an id: about 60 bytes with
// the map's room and the collector's (224 MiB for 2 million calls). Ids are compared by 64 bits under a seed of each run: with 10^8
// calls two would be taken for one in 1 of 4,000 runs, and not by the next.
package verify
