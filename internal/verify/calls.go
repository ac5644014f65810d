package verify

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"math/big"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// readCalls adds up what the calls cost: from rated-cdrs those whose CDRs are gone,
// if there are any, then from cdrs.
func (r *run) readCalls(ctx context.Context) error {
	if err := r.each(ctx, r.rated, r.takeRated); err != nil {
		return err
	}
	return r.each(ctx, r.cdrs, r.takeCDR)
}

// each reads logs side by side.
func (r *run) each(ctx context.Context, logs []log, take func(l *log, rec *kafka.Record) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range logs {
		g.Go(func() error {
			return r.scan(ctx, &logs[i], func(rec *kafka.Record) error { return take(&logs[i], rec) })
		})
	}
	return g.Wait()
}

// judge says what a CDR means; known and the account's currency are not looked at.
func (r *run) judge(rec *kafka.Record) balance.Verdict {
	return consumer.Preview(r.Decoder, r.Decks, r.limits, rec)
}

func (r *run) takeCDR(l *log, rec *kafka.Record) error {
	v := r.judge(rec)
	r.counts.cdrs.Add(1)
	if v.Outcome == balance.Parked || v.Outcome == balance.Skipped || v.CDR.Kind.AlwaysFree() {
		return nil
	}
	s := r.shardOf(v.CDR.Account)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[v.CDR.Account]
	if a == nil || !a.marks.holds(l.source, rec.Offset) {
		return nil
	}
	if r.parks(a, rec, &v) || !claims(&v.CDR) {
		return nil
	}
	s.count(a, r.idOf(&v.CDR), int64(v.Charge.Amount))
	return nil
}

// parks reports whether Redis parks a CDR that has a price.
func (r *run) parks(a *account, rec *kafka.Record, v *balance.Verdict) bool {
	return !a.known(rec.AppendMillis, r.slack) || v.Charge.Amount > 0 && v.Charge.Currency != a.model.Currency
}

// claims reports whether the id of a call is remembered: one that was never answered,
// or lasted no time, costs nothing however often it is told.
func claims(c *rating.CDR) bool { return c.Answered() && c.DurationMillis > 0 }

// idOf names a call among those of its shard, for this run.
func (r *run) idOf(c *rating.CDR) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	var n [8]byte
	for _, s := range [...]string{c.Source, c.ID, c.Account} {
		binary.LittleEndian.PutUint64(n[:], uint64(len(s)))
		_, _ = h.Write(n[:])
		_, _ = h.WriteString(s)
	}
	binary.LittleEndian.PutUint64(n[:], uint64(c.AnsweredAt.UnixNano()))
	_, _ = h.Write(n[:])
	return h.Sum64()
}

// count adds a call once, whatever number of copies there are. Which of two that
// differ in price was applied first, no log tells.
func (s *shard) count(a *account, id uint64, cost int64) {
	was, known := s.calls[id]
	if !known {
		s.calls[id] = cost
		a.calls.Add(&a.calls, big.NewInt(cost))
		return
	}
	prices, doubtful := a.doubtful[id]
	if !doubtful {
		if was == cost {
			return
		}
		if a.doubtful == nil {
			a.doubtful = map[uint64][]int64{}
		}
		a.calls.Sub(&a.calls, big.NewInt(was))
		prices = []int64{was}
	}
	if !slices.Contains(prices, cost) {
		prices = append(prices, cost)
	}
	a.doubtful[id] = prices
}

// A ratedCDR is a rated record as docs/schemas/rated-cdr.schema.json has it.
type ratedCDR struct {
	ID         string          `json:"id"`
	Source     string          `json:"source"`
	Account    string          `json:"account"`
	Kind       rating.Kind     `json:"kind"`
	AnsweredAt time.Time       `json:"answered_at"`
	Millis     int64           `json:"duration_ms"`
	Charge     rating.Micros   `json:"charge"`
	Outcome    balance.Outcome `json:"outcome"`
	Topic      string          `json:"topic"`
	Partition  int             `json:"partition"`
	Offset     int64           `json:"offset"`
}

func (v *ratedCDR) source() balance.Source {
	return balance.Source{Topic: v.Topic, Partition: v.Partition}
}

func (v *ratedCDR) cdr() *rating.CDR {
	return &rating.CDR{ID: v.ID, Source: v.Source, Account: v.Account, Kind: v.Kind, AnsweredAt: v.AnsweredAt, DurationMillis: v.Millis}
}

func readRated(rec *kafka.Record) (v ratedCDR, err error) {
	if err = json.Unmarshal(rec.Value, &v); err != nil {
		err = fmt.Errorf("rated record at %s/%d/%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	}
	return v, err
}

// takeRated counts a call whose CDR is gone. A repeat of a rated record counts once,
// as its call does.
func (r *run) takeRated(_ *log, rec *kafka.Record) error {
	v, err := readRated(rec)
	if err != nil {
		return err
	}
	if v.Topic != r.Store.CDRTopic() || v.Partition >= len(r.cdrs) || v.Offset >= r.cdrs[v.Partition].start {
		return nil
	}
	c := v.cdr()
	if v.Outcome == balance.Duplicate || !claims(c) || c.Kind.AlwaysFree() {
		return nil
	}
	s := r.shardOf(v.Account)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[v.Account]; a != nil && a.marks.holds(v.source(), v.Offset) {
		r.counts.rated.Add(1)
		s.count(a, r.idOf(c), int64(v.Charge))
	}
	return nil
}
