package consumer

import (
	"context"
	"errors"
	"fmt"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// maxOrders is the most commands that one call carries: each does more than a CDR.
const maxOrders = 200

// applyBatch feeds a batch to every lane that it concerns, in rounds: a lane has
// one call in flight. Each round's entries go to the publisher at once.
func (w *worker) applyBatch(ctx, stop context.Context, b *batch, jobs chan<- *job) error {
	w.inHand.Store(b.since())
	left := make([][]int, len(w.lanes))
	for i, l := range w.lanes {
		next := l.next()
		for _, at := range b.byLane[i] {
			if b.records[at].Offset >= next { // below: applied before the take-over
				left[i] = append(left[i], at)
				w.parkAbsent(b, at)
			}
		}
	}
	for waited := 0; ; {
		parts := w.cut(b, left)
		if len(parts) == 0 {
			break
		}
		replies, err := w.feed(ctx, b, parts)
		if err != nil {
			return err
		}
		blocked, err := w.settle(ctx, b, parts, replies, left, jobs)
		if err != nil {
			return err
		}
		if !blocked {
			waited = 0
			continue
		}
		if over(stop) {
			return nil // what is not applied is done by the next owner
		}
		w.metrics().waits.WithLabelValues("behind").Inc()
		_ = w.consumer.behind.Wait(ctx, waited)
		waited++
	}
	if w.commands {
		if err := w.moveOthers(ctx, b); err != nil {
			return err
		}
	}
	w.setFed(fed{b.next, b.last})
	w.inHand.Store(0)
	return nil
}

// parkAbsent parks a CDR of an account that is known not to exist.
func (w *worker) parkAbsent(b *batch, at int) {
	if v := &b.verdicts[at]; v.Outcome == "" && w.absent.covers(payer(&v.CDR), b.records[at].AppendMillis) {
		park(v, rating.UnknownAccount, unknownAccount)
	}
}

// cut takes the next part of every lane that has records left.
func (w *worker) cut(b *batch, left [][]int) []part {
	var parts []part
	for i, indexes := range left {
		if len(indexes) == 0 {
			continue
		}
		n := min(len(indexes), maxOrders)
		if !w.commands {
			n = w.cutCDRs(b, indexes)
		}
		parts = append(parts, b.part(i, indexes, n))
	}
	return parts
}

// cutCDRs says how many of a lane's records one call may carry.
func (w *worker) cutCDRs(b *batch, indexes []int) int {
	n := min(len(indexes), balance.MaxBatch)
	debits := make([]balance.Debit, 0, n)
	at := make([]int, 0, n)
	for k, i := range indexes[:n] {
		if b.verdicts[i].Outcome == "" {
			debits = append(debits, balance.Debit{
				Account: b.verdicts[i].CDR.Account, Amount: b.verdicts[i].Charge.Amount, Currency: b.verdicts[i].Charge.Currency,
			})
			at = append(at, k)
		}
	}
	if c := balance.Cut(debits); c < len(debits) {
		return at[c]
	}
	return n
}

// feed makes one call for each part, all in one round trip.
func (w *worker) feed(ctx context.Context, b *batch, parts []part) ([]balance.Reply, error) {
	for i := range parts {
		w.lanes[parts[i].lane].call.Lock()
	}
	defer func() {
		for i := range parts {
			w.lanes[parts[i].lane].call.Unlock()
		}
	}()
	if err := w.current(); err != nil { // it may have been long in coming here
		return nil, err
	}
	began := w.consumer.cfg.Now()
	var replies []balance.Reply
	if w.commands {
		replies = w.store().ApplyCommands(ctx, w.commandBatches(b, parts))
	} else {
		replies = w.store().ApplyCDRs(ctx, w.cdrBatches(b, parts))
	}
	w.metrics().scriptSeconds.WithLabelValues(w.kind()).Observe(w.consumer.cfg.Now().Sub(began).Seconds())
	var failed, refused error
	for i := range replies {
		l := w.lanes[parts[i].lane]
		switch r := &replies[i]; r.Status {
		case balance.Applied:
			l.applied(r, parts[i].trimmed)
		case balance.Refused:
			refused = fmt.Errorf("shard %d expected at %d, is at %d", l.shard, l.mark.Next, r.Mark.Next)
		case balance.Unavailable:
			if failed == nil || !balance.Temporary(r.Err) {
				failed = r.Err
			}
		case balance.Behind, balance.Unknown:
		}
	}
	switch {
	case failed != nil:
		return nil, w.redisAway(failed) // whether it was applied is not known
	case refused != nil:
		return nil, &takeOverError{causeRefused, refused}
	}
	return replies, nil
}

// settle takes the replies of a round: what is applied goes to the publisher and
// is left no more. blocked reports that nothing could be applied but waits.
func (w *worker) settle(ctx context.Context, b *batch, parts []part, replies []balance.Reply, left [][]int, jobs chan<- *job) (blocked bool, err error) {
	j := &job{batch: b}
	for i := range replies {
		switch r := &replies[i]; r.Status {
		case balance.Applied:
			left[parts[i].lane] = left[parts[i].lane][len(parts[i].indexes):]
			j.entries = append(j.entries, r.Entry)
			w.absent.note(r.Entry)
			w.metrics().observeDebited(b, parts[i].indexes, w.consumer.cfg.Now())
		case balance.Unknown:
			p := w.store().CommandPartition(w.lanes[parts[i].lane].shard)
			if err := w.tick(ctx, p, r.Until); err != nil {
				return false, err
			}
		case balance.Behind, balance.Refused, balance.Unavailable:
		}
	}
	if len(j.entries) == 0 {
		return true, nil
	}
	select {
	case jobs <- j:
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// tick has the commands of a partition pass a time, so that a CDR of an account
// that is not known can be parked for good, or not at all.
func (w *worker) tick(ctx context.Context, partition int, until int64) error {
	w.metrics().waits.WithLabelValues("unknown").Inc()
	if err := w.consumer.cfg.Commander.Tick(ctx, partition, until); err != nil {
		if over(ctx) {
			return context.Cause(ctx)
		}
		return fmt.Errorf("tick commands partition %d: %w", partition, err)
	}
	return nil
}

func (w *worker) kind() string {
	if w.commands {
		return "apply_commands"
	}
	return "apply_cdrs"
}

func (w *worker) position(p *part) balance.Position {
	l := w.lanes[p.lane]
	trims := l.trims()
	p.trimmed = len(trims)
	return balance.Position{Shard: l.shard, Source: w.source, Expect: l.mark, Next: p.next, Last: p.last, Trim: trims}
}

func (w *worker) cdrBatches(b *batch, parts []part) []*balance.CDRBatch {
	out := make([]*balance.CDRBatch, len(parts))
	for k := range parts {
		p := &parts[k]
		c := &balance.CDRBatch{Position: w.position(p)}
		c.CommandsEnd = b.ends[w.store().CommandPartition(c.Shard)]
		c.Debits = make([]balance.Debit, 0, len(p.indexes))
		for _, i := range p.indexes {
			if v := &b.verdicts[i]; v.Outcome == "" {
				c.Debits = append(c.Debits, w.judge.debit(&b.records[i], v))
			} else {
				c.Apart = append(c.Apart, apart(b, i))
			}
		}
		out[k] = c
	}
	return out
}

func (w *worker) commandBatches(b *batch, parts []part) []*balance.CommandBatch {
	out := make([]*balance.CommandBatch, len(parts))
	for k := range parts {
		p := &parts[k]
		c := &balance.CommandBatch{Position: w.position(p)}
		for _, i := range p.indexes {
			if b.verdicts[i].Reason == rating.BadCommand {
				c.Apart = append(c.Apart, apart(b, i))
				continue
			}
			c.Orders = append(c.Orders, balance.Order{
				Offset: b.records[i].Offset, AppendMillis: b.records[i].AppendMillis, Command: b.orders[i],
			})
		}
		out[k] = c
	}
	return out
}

// apart is what an entry keeps of a record that was parked or skipped.
func apart(b *batch, i int) balance.ApartRecord {
	v := &b.verdicts[i]
	return balance.ApartRecord{Offset: b.records[i].Offset, Exception: balance.Exception{Outcome: v.Outcome, Reason: v.Reason}}
}

// moveOthers moves the marks of the shards of this commands partition that the
// batch did not concern: CDRs of theirs wait for it (rule 5).
func (w *worker) moveOthers(ctx context.Context, b *batch) error {
	var all []*balance.Confirmation
	var lanes []*lane
	for _, l := range w.lanes {
		if l.next() < b.next {
			l.call.Lock()
			lanes = append(lanes, l)
			all = append(all, &balance.Confirmation{Shard: l.shard, Source: w.source, Expect: l.mark, Next: b.next, Last: b.last})
		}
	}
	defer func() {
		for _, l := range lanes {
			l.call.Unlock()
		}
	}()
	if len(all) == 0 {
		return nil
	}
	if err := w.store().Confirm(ctx, all); err != nil {
		return w.redisAway(err)
	}
	for i, c := range all {
		if !c.OK {
			return &takeOverError{causeRefused, errors.New("a shard does not confirm the mark of commands")}
		}
		lanes[i].confirmed(c.New(), 0)
	}
	return nil
}
