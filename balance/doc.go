// Package balance owns every Redis key and every script: what an account is,
// what a command does to it, and how a batch of call charges is taken from many
// accounts at once.
//
// # What it promises
//
// A balance is a function of the logs: of the sequence of commands and of the
// set of CDRs, and of nothing else. To that end
//
//   - the position in the log is stored with its effect: a script applies a batch
//     only if the mark (next offset and name of the last result entry) is what
//     the caller expects, and moves it in the same step;
//   - what a script decided (outcomes, events, wishes, payment requests) is one
//     result entry, which is the script's reply and lies in the shard's outbox
//     until the caller says that it has been published;
//   - whether a command is accepted depends on earlier commands alone, never on
//     a balance; a debit is always accepted;
//   - an id from a switch is claimed in the same script as its debit.
//
// # Invariants
//
//	balance = funded - spent - forfeited
//	sum of what lots hold - overdraft = balance
//
// Money is integer micros. In Lua it leaves as text made by fmt(), never by
// tostring. Every total stays within +-9.0e15, where doubles are exact.
//
// # What it never does
//
// It does not know Kafka, it does not read a clock inside a script, and it does
// not retry: a caller that lost a reply takes over again (see Store.TakeOver).
//
// # Recharge
//
// The state machine of auto-recharge lives in the account's hash and is moved by
// commands only:
//
//	idle --recharge.request n+1--> pending --recharge.result succeeded--> idle
//	pending --declined, soft--> cooling --recharge.retry--> idle
//	pending --declined, hard or action required, or third soft--> suspended
//	pending --recharge.unanswered--> unresolved (a late result still counts)
//	unresolved --recharge.abandon--> idle
//	idle --recharge.request over a cap--> capped --recharge.retry (the window ends), other settings--> idle
//	suspended, cooling --new payment method, switched on, recharge.resume--> idle
//	suspended --paid for by hand--> idle
package balance
