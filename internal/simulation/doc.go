// Package simulation runs the stream's own code in a world that is made from a
// seed: the partition workers, keeper and publisher of package consumer, the
// store and scripts of package balance, and the publisher of package alerts, on
// models of Kafka and Redis in memory, with a clock that stands still while
// anything runs (testing/synctest).
//
// # The world
//
// Every call to Kafka or Redis takes a while that follows from the seed, the
// caller and how many such calls it made before, and nothing else; what it does,
// it does at an instant of its own. So one seed is one run, and a fault that is
// taken out of a run leaves the others where they were.
//
// Redis is a keyspace with the commands that we use, the scripts as they are in
// gopher-lua, and a log of writes per node: a failover cuts that log. Kafka is
// logs with append times of skewed clocks and a group whose members learn late
// that they have lost their partitions. Conformance tests run the same calls
// against a real redis-server.
//
// # What may happen, between any two steps
//
// An instance crashes, stands still and goes on later, or does not know for a while
// what records mean to others; the group rebalances; a node fails over, loses its
// last writes and its scripts; all nodes are restored from an older copy; a node is
// away; a request is refused, is lost, comes late after its caller has given up, or
// its reply is lost; a batch is written twice. Clocks are wrong. Customers do
// something by hand, the switch repeats, disorders and garbles, and the payment
// service answers late, twice, unasked, or not at all.
//
// # What must hold
//
// The checks are in check_test.go: accounts against package oracle, fed with the
// logs alone; every record has one outcome, and what is said of it is published;
// commits, payments, events. No run may end otherwise than at the end of the logs.
//
// The package is tests alone: `make simulate SEEDS=from:to` and, for one seed with
// the shortest trace that still fails, `make simulate SEED=n`. `make mutants` takes
// the guards out, one at a time.
package simulation
