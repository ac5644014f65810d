// Package chaos attacks the running product and checks what comes out.
//
// A run starts a real Kafka, a real Redis Cluster and processors as child
// processes, gives them calls, customers and a payment service that is a
// nuisance, and injects faults from a schedule that a seed reproduces. Then it
// waits for lag 0, stops, reads all logs and Redis, and has an oracle say what
// must be there. It shares no code with what it judges: amounts are of math/big,
// accounts of internal/oracle, prices of price, records of another Kafka client.
//
// It never decides that something is near enough: every difference is a finding.
// See docs/chaos.md.
package chaos
