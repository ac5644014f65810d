package chaos

import (
	"context"
	"time"

	"github.com/creditstream/creditstream/internal/kafka"
)

// A Watch is a watch without servers.
type Watch struct{ w watch }

// NewWatch returns one by a clock.
func NewWatch(now func() time.Time) *Watch { return &Watch{watch{now: now}} }

// Fault notes that one begins.
func (w *Watch) Fault(k Kind) { w.w.fault(k) }

// Note gives the watch one look at partition 0 of cdrs.
func (w *Watch) Note(committed, mark, end int64) {
	one := func(n int64) map[kafka.TopicPartition]int64 {
		return map[kafka.TopicPartition]int64{{Topic: topicCDRs, Partition: 0}: n}
	}
	w.w.note(&position{committed: one(committed), marks: one(mark), ends: one(end)})
}

// Findings returns what was found.
func (w *Watch) Findings() []Finding { return w.w.findings }

// Healed returns how long the faults took that are over.
func (w *Watch) Healed() (out []time.Duration) {
	for _, x := range w.w.healed {
		out = append(out, x.healed)
	}
	return out
}

// A Proxy is the way to one server.
type Proxy struct{ p *proxy }

// NewProxy starts one on a free port.
func NewProxy(ctx context.Context, to string) (*Proxy, error) {
	p, err := newProxy(ctx, "127.0.0.1:0", to, time.Now)
	return &Proxy{p}, err
}

// Addr is where it listens.
func (p *Proxy) Addr() string { return p.p.ln.Addr().String() }

// Spoil sets a mood.
func (p *Proxy) Spoil(k Kind, lasts time.Duration) { p.p.spoil(k, lasts) }

// Close ends it.
func (p *Proxy) Close() { p.p.close() }

// Hold gives the watch one item of an outbox.
func (w *Watch) Hold(item string) { w.w.hold(item) }

// Unpublished compares what was held with what has left.
func (w *Watch) Unpublished(l *Logs) []Finding { return w.w.unpublished(l) }
