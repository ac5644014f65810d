// Package consumer carries records from Kafka to balances: it fetches, decodes,
// prices, orders, applies, has published what was decided, and commits.
//
// # The way of a record
//
//	fetch -> judge -> group by shard -> apply -> publish -> commit
//
// One worker per assigned partition; its three stages overlap over successive
// batches. A worker has at most one call of a shard in flight.
//
// # What it promises
//
//   - Redis, not the consumer group, says where to resume. A group offset is
//     committed for people and tools, after all below it is published, and never
//     beyond a mark that the worker was told.
//   - Any refusal of a mark is a take-over: forget what was known, read marks and
//     outboxes, publish the outboxes, go on from the marks. Start and rebalance
//     are the same procedure.
//   - No CDR is applied before every command that was in the log when the CDR was
//     fetched.
//   - Redis or Kafka being away parks nothing and skips nothing: the worker waits.
//
// # What it never does
//
// It does not decide what an account may do, and it skips nothing silently: a log
// that no longer reaches back to a mark, or that is not the log it was, stops it
// with an error that says what is missing.
package consumer
