package letters

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// What one batch of a replay may hold.
const (
	maxBatch      = 500
	maxBatchBytes = 4 << 20
)

// A Replay sends dead letters back to where they came from.
type Replay struct {
	Box      *Box
	CDRTopic string // nothing is sent anywhere else
	Operator string
	DryRun   bool // nothing is written

	// AnotherCall sends those too of which the mapping makes another call now.
	AnotherCall bool

	Decks  *rating.Decks // for previews; nil: none are made
	Limits consumer.Limits

	// Report is told what became of each, in the order of the topic.
	Report func(Result)
}

// A Result is what became of one dead letter.
type Result struct {
	Entry   *Entry
	Verdict *balance.Verdict // what a processor would make of it now; nil without decks
	Err     error            // why it was not sent; it is still open
}

// A parcel is a dead letter on its way.
type parcel struct {
	Result

	msg kafka.Message
}

// Run sends entries; it tells Report of each, whatever happens to it, and returns
// an error only when it cannot go on.
func (r *Replay) Run(ctx context.Context, entries []*Entry) error {
	byPlace := slices.Clone(entries)
	slices.SortFunc(byPlace, func(x, y *Entry) int {
		return cmp.Or(cmp.Compare(x.place.partition, y.place.partition), cmp.Compare(x.place.offset, y.place.offset))
	})
	var batch []*parcel
	size := 0
	flush := func() error {
		err := r.send(ctx, batch)
		batch, size = nil, 0
		return err
	}
	for len(byPlace) > 0 {
		n := 1
		for n < len(byPlace) && byPlace[n].place.partition == byPlace[0].place.partition {
			n++
		}
		for p, err := range r.parcels(ctx, byPlace[:n]) {
			if err != nil {
				return err
			}
			batch = append(batch, p)
			if size += len(p.msg.Value); len(batch) == maxBatch || size >= maxBatchBytes {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		byPlace = byPlace[n:]
	}
	return flush()
}

// parcels reads the dead letters of one partition; entries are in their order. What
// retention has taken meanwhile is yielded last, as unknown.
func (r *Replay) parcels(ctx context.Context, entries []*Entry) iter.Seq2[*parcel, error] {
	return func(yield func(*parcel, error) bool) {
		first, left := entries[0].place, entries
		var gone []*Entry
		for rec, err := range r.Box.Client.Scan(ctx, r.Box.Topic, first.partition, first.offset) {
			if err != nil {
				yield(nil, err)
				return
			}
			i, found := slices.BinarySearchFunc(left, rec.Offset, func(e *Entry, at int64) int { return cmp.Compare(e.place.offset, at) })
			gone, left = append(gone, left[:i]...), left[i:]
			if found {
				if !yield(r.parcel(ctx, left[0], rec), nil) {
					return
				}
				left = left[1:]
			}
			if len(left) == 0 {
				break
			}
		}
		for _, e := range append(gone, left...) {
			if !yield(&parcel{Result: Result{Entry: e, Err: ErrUnknown}}, nil) {
				return
			}
		}
	}
}

// Errors of a dead letter that is not sent.
var (
	errOtherTopic = errors.New("it does not come from the topic with the CDRs, and is sent nowhere else")
	errNothing    = errors.New("it has no bytes to send: drop it, and ask the switch for the record")
)

func (r *Replay) parcel(ctx context.Context, e *Entry, rec *kafka.Record) *parcel {
	p := &parcel{Result: Result{Entry: e}}
	l, _, err := alerts.ReadLetter(rec)
	switch {
	case err != nil:
		p.Err = err
		return p
	case l == nil || l.ID != e.ID:
		p.Err = ErrUnknown
		return p
	case l.ID.Topic != r.CDRTopic:
		p.Err = errOtherTopic
		return p
	case l.Value == nil:
		p.Err = errNothing
		return p
	}
	if l.Cut != "" {
		if p.Err = r.restore(ctx, l); p.Err != nil {
			return p
		}
	}
	if !r.AnotherCall {
		if p.Err = r.changed(l); p.Err != nil {
			return p
		}
	}
	p.msg = l.Again()
	if r.Decks != nil {
		now := original(l)
		now.AppendMillis = r.Box.Now().UnixMilli()
		v := consumer.Preview(r.Box.Decoder, r.Decks, r.Limits, now)
		p.Verdict = &v
	}
	return p
}

// restore fetches the whole of a record that was cut from its place in the log.
func (r *Replay) restore(ctx context.Context, l *alerts.Letter) error {
	for rec, err := range r.Box.Client.Scan(ctx, l.ID.Topic, l.ID.Partition, l.ID.Offset) {
		switch {
		case err != nil:
			return err
		case rec.Offset != l.ID.Offset:
		case !bytes.HasPrefix(rec.Value, l.Value) || !bytes.HasPrefix(rec.Key, l.Key):
			return fmt.Errorf("%s, and at its place is another record: the topic was made anew", l.Cut)
		default:
			l.Key, l.Value, l.Headers = rec.Key, rec.Value, nil
			for _, h := range rec.Headers {
				if !alerts.OwnHeader(h.Key) {
					l.Headers = append(l.Headers, h)
				}
			}
			return nil
		}
		break
	}
	return fmt.Errorf("%s, and its retention in %s is over: ask the switch for the record", l.Cut, l.ID.Topic)
}

// send writes what can be sent, marks it, and reports the whole batch.
func (r *Replay) send(ctx context.Context, batch []*parcel) error {
	var ready []*parcel
	for _, p := range batch {
		if p.Err == nil {
			ready = append(ready, p)
		}
	}
	var err error
	if !r.DryRun && len(ready) > 0 {
		err = r.write(ctx, ready)
	}
	for _, p := range batch {
		if err == nil || p.Err != nil {
			r.Report(p.Result)
		}
	}
	return err
}

// write sends parcels, all together or, when the brokers refuse one, one by one. It
// marks those that were acknowledged.
func (r *Replay) write(ctx context.Context, ready []*parcel) error {
	w := kafka.NewWriter(r.Box.Client, kafka.WriterOptions{})
	bounded, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	msgs := make([]kafka.Message, len(ready))
	for i, p := range ready {
		msgs[i] = p.msg
	}
	err := w.WriteAll(bounded, msgs)
	if err != nil && bounded.Err() == nil { // refused for good
		for i, p := range ready {
			p.Err = w.WriteAll(bounded, msgs[i:i+1])
		}
		err = nil
	}
	if bounded.Err() != nil {
		return fmt.Errorf("send %d records again: %w: whether they were sent is not known; they are still open, and to send them twice is safe",
			len(ready), errors.Join(err, bounded.Err()))
	}
	var sent []*Entry
	for _, p := range ready {
		if p.Err == nil {
			sent = append(sent, p.Entry)
		}
	}
	if len(sent) == 0 {
		return nil
	}
	return r.Box.Close(bounded, sent, alerts.Replayed, r.Operator, "")
}

// writeTimeout bounds one batch: then Kafka is away, and the operator is told.
const writeTimeout = time.Minute
