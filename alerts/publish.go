package alerts

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// Topics names the topics that a Publisher writes to.
type Topics struct {
	Rated, Alerts, RechargeRequests, Commands, DeadLetters string

	// DeadLetterPartitions is how many partitions DeadLetters has, or fewer: a
	// dead letter without a key goes to one of them by its place in the log, so
	// that a repeat lies beside it. Zero leaves the choice to the writer, at
	// random.
	DeadLetterPartitions int

	// DeadLetterBytes is how large key, value and headers of a dead letter may be
	// together, our own headers apart; zero means any size. A larger one is cut.
	DeadLetterBytes int

	// Events is how what goes to Alerts and RechargeRequests is written; "" is
	// Binary.
	Events Mode
}

// writer returns nil when all messages are acknowledged, and keeps the order of
// those of one partition.
type writer interface {
	WriteAll(ctx context.Context, msgs []kafka.Message) error
}

// A Publisher writes what was decided to Kafka. Its methods are safe for
// concurrent use; calls do not wait for each other.
type Publisher struct {
	w                writer
	topics           Topics
	commandPartition func(account string) int
	metrics          metrics
}

// New returns a Publisher on w. commandPartition returns the partition of
// topics.Commands that holds an account's commands. reg may be nil: then the
// metrics are registered nowhere.
func New(w writer, topics Topics, commandPartition func(account string) int, reg prometheus.Registerer) *Publisher {
	return &Publisher{w: w, topics: topics, commandPartition: commandPartition, metrics: newMetrics(reg)}
}

// Publish writes what became of records (verdicts[i] belongs to records[i]: a
// rated record, a dead letter when it is parked, or nothing when it is skipped),
// and every event and wish of entries. It returns nil when all of it is acknowledged. After an error some of
// it may have been written, and publishing all of it again is right. Payment
// requests are not published here: see RequestPayment.
func (p *Publisher) Publish(ctx context.Context, records []kafka.Record, verdicts []balance.Verdict, entries []*balance.Entry) error {
	if len(records) != len(verdicts) {
		return fmt.Errorf("publish: %d records with %d verdicts", len(records), len(verdicts))
	}
	b := newBatch(&p.topics, len(records), entries)
	for i := range records {
		if err := b.addRecord(&records[i], &verdicts[i]); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if err := b.addEntry(e, p.commandPartition); err != nil {
			return err
		}
	}
	if len(b.msgs) == 0 {
		return nil
	}
	if err := p.w.WriteAll(ctx, b.msgs); err != nil {
		return fmt.Errorf("publish %d messages: %w", len(b.msgs), err)
	}
	p.metrics.published(verdicts, entries)
	return nil
}

// RequestPayment writes one payment request to topics.RechargeRequests and
// returns nil when it is acknowledged. source is the log that holds the
// recharge.request command. Whether the request still stands is the caller's to
// know.
func (p *Publisher) RequestPayment(ctx context.Context, source balance.Source, r *balance.PaymentRequest) error {
	b := batch{topics: &p.topics}
	if err := b.addPaymentRequest(source, r); err != nil {
		return fmt.Errorf("encode payment request: %w", err)
	}
	if err := p.w.WriteAll(ctx, b.msgs); err != nil {
		return fmt.Errorf("request payment: %w", err)
	}
	p.metrics.events.inc(paymentRequested)
	return nil
}

// A batch collects the messages of one call.
//
// Keys and values lie in one buffer, which is not used again for the next batch:
// a write that was given up and repeated may still be reading it on its old
// connection. Where the buffer grows, values so far stay where they are.
type batch struct {
	topics *Topics
	msgs   []kafka.Message
	buf    []byte
}

// ratedBytes is about what a rated record and its key take.
const ratedBytes = 448

func newBatch(topics *Topics, records int, entries []*balance.Entry) *batch {
	n := records
	for _, e := range entries {
		n += len(e.Events) + len(e.Wishes)
	}
	return &batch{topics: topics, msgs: make([]kafka.Message, 0, n), buf: make([]byte, 0, records*ratedBytes)}
}

func (b *batch) addRecord(r *kafka.Record, v *balance.Verdict) error {
	switch v.Outcome {
	case balance.Charged, balance.Free, balance.Duplicate:
		key := b.key(v.CDR.Account)
		from := len(b.buf)
		b.buf = appendRated(b.buf, r, v)
		b.add(kafka.Message{Topic: b.topics.Rated, Partition: kafka.AnyPartition, Key: key, Value: b.since(from)})
	case balance.Parked:
		b.add(b.deadLetter(r, v))
	case balance.Skipped:
	default:
		return fmt.Errorf("publish %s/%d at %d: outcome %q", r.Topic, r.Partition, r.Offset, v.Outcome)
	}
	return nil
}

func (b *batch) addEntry(e *balance.Entry, commandPartition func(account string) int) error {
	for i := range e.Events {
		if err := b.addEvent(e.Source, &e.Events[i]); err != nil {
			return err
		}
	}
	for i := range e.Wishes {
		if err := b.addWish(&e.Wishes[i], commandPartition); err != nil {
			return err
		}
	}
	return nil
}

// addWish writes a wish down as the command that it becomes.
func (b *batch) addWish(w *balance.Wish, commandPartition func(account string) int) error {
	value, err := (&balance.Command{
		Type: balance.Request, Account: w.Account, N: w.N, Amount: &w.Amount, Currency: w.Currency, Seen: w.Seen,
	}).Encode()
	if err != nil {
		return fmt.Errorf("encode wish %d: %w", w.N, err)
	}
	b.add(kafka.Message{
		Topic: b.topics.Commands, Partition: commandPartition(w.Account), Key: []byte(w.Account), Value: value,
	})
	return nil
}

func (b *batch) add(m kafka.Message) { b.msgs = append(b.msgs, m) }

func (b *batch) key(account string) []byte {
	from := len(b.buf)
	b.buf = append(b.buf, account...)
	return b.since(from)
}

// since returns what was appended from a place on, capped so that nothing can be
// appended to it in place.
func (b *batch) since(from int) []byte { return b.buf[from:len(b.buf):len(b.buf)] }
