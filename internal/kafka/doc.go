// Package kafka is what creditstream needs of Kafka, on top of kafka-go: a
// client, the fetch of one partition, writes that are acknowledged by all
// replicas, and group membership. It decides nothing about records.
//
// It promises:
//
//   - A fetched record carries the broker's append time exactly where the topic
//     has message.timestamp.type=LogAppendTime, and Fetched says where it has
//     not. kafka-go's own decoder ignores the attribute bit and would report the
//     producer's time, so record batches are decoded here.
//   - Fetch is read-committed: records of aborted transactions and control
//     batches are never returned, and Fetched.Next always goes past them.
//   - Every batch is checked against its CRC-32C. Bytes that fail it give
//     a *BatchError that names the place; they never panic, never allocate more
//     than the named bounds and are never skipped.
//   - A nil error of a write means that all in-sync replicas have the records.
//     Writer is at least once: a repeat after a lost reply may come late, but
//     the first copies of the messages of one partition are in their order.
//   - No request waits for ever: each has a deadline, also when the caller's
//     context has none.
//   - A group member commits only partitions of its own generation, and only
//     while that generation lasts.
//
// Temporary is the one place that says whether an error is worth waiting for.
//
// The package needs brokers that speak Fetch version 11 (Kafka 2.3 or newer)
// and topics whose batches have message format version 2.
package kafka
