package simulation_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// logs is Kafka, less the group: no record is ever lost. The world's lock is over it.
type logs struct {
	w    *world
	all  map[balance.Source]*partition
	told map[string]func(r *kafka.Record) // by topic: what happens at an append
}

type partition struct {
	records []kafka.Record
	skew    time.Duration // of its broker's clock
	more    chan struct{} // closed at an append
}

func newLogs(w *world) *logs {
	l := &logs{w: w, all: map[balance.Source]*partition{}, told: map[string]func(*kafka.Record){}}
	for _, src := range append(w.sources(),
		balance.Source{Topic: ratedTopic}, balance.Source{Topic: alertTopic}, balance.Source{Topic: requestTopic}, balance.Source{Topic: letterTopic}) {
		r, _ := w.draw("skew " + src.String())
		l.all[src] = &partition{skew: time.Duration(r.IntN(400)-200) * time.Millisecond, more: make(chan struct{})}
	}
	return l
}

// append is done with mu held.
func (l *logs) append(src balance.Source, msgs ...kafka.Message) (base, at int64) {
	p := l.all[src]
	if p == nil {
		panic("there is no " + src.String())
	}
	base, at = int64(len(p.records)), l.w.now().Add(p.skew).UnixMilli()
	if base > 0 {
		at = max(at, p.records[base-1].AppendMillis)
	}
	for _, m := range msgs {
		p.records = append(p.records, kafka.Record{
			Topic: src.Topic, Partition: src.Partition, Offset: int64(len(p.records)), AppendMillis: at,
			Key: m.Key, Value: m.Value, Headers: m.Headers,
		})
		r := &p.records[len(p.records)-1]
		if src.Topic == cdrTopic || src.Topic == commandTopic || src.Topic == requestTopic {
			l.w.say("append %s/%d at %d (%d) %s", src, r.Offset, len(p.records), at, r.Value)
		}
		if f := l.told[src.Topic]; f != nil {
			f(r)
		}
	}
	close(p.more)
	p.more = make(chan struct{})
	return base, at
}

func (l *logs) end(src balance.Source) int64 { return int64(len(l.all[src].records)) }

// Fetch, Bounds and Ends are what consumer asks of the logs.
func (i *instance) Fetch(ctx context.Context, topic string, p int, offset int64, opt kafka.FetchOptions) (kafka.Fetched, error) {
	src := balance.Source{Topic: topic, Partition: p}
	for waited := false; ; waited = true {
		f := kafka.Fetched{Next: offset, LogAppendTime: true}
		var more chan struct{}
		most := i.w.fetch
		err := i.request(ctx, "fetch "+src.String(), func() error {
			log := i.w.log.all[src]
			more, f.End = log.more, int64(len(log.records))
			if offset < f.End {
				f.Records = append([]kafka.Record(nil), log.records[offset:min(f.End, offset+int64(most))]...)
				f.Next = offset + int64(len(f.Records))
			}
			return nil
		})
		if err != nil {
			return kafka.Fetched{}, err // f is not ours: what comes late still writes to it
		}
		if waited || f.Next > offset {
			return f, nil
		}
		timer := time.NewTimer(opt.MaxWait)
		select {
		case <-more:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// Bounds begins a take-over: the checks keep what it said.
func (i *instance) Bounds(ctx context.Context, topic string, p int) (start, end int64, err error) {
	src := balance.Source{Topic: topic, Partition: p}
	var found int64
	err = i.request(ctx, "bounds "+src.String(), func() error {
		found = i.w.log.end(src)
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	if topic == commandTopic {
		i.w.mu.Lock()
		i.ends[p] = found
		i.w.mu.Unlock()
	}
	return 0, found, nil
}

func (i *instance) Ends(ctx context.Context, topic string) ([]int64, error) {
	n := i.w.cdrs
	if topic == commandTopic {
		n = i.w.commands
	}
	ends := make([]int64, n)
	err := i.request(ctx, "ends "+topic+caller(ctx), func() error {
		for p := range ends {
			ends[p] = i.w.log.end(balance.Source{Topic: topic, Partition: p})
		}
		return nil
	})
	return ends, err
}

// writing is where a publisher's messages come from: a part of the names of its
// requests.
type writing struct{}

func caller(ctx context.Context) string {
	s, _ := ctx.Value(writing{}).(string)
	return s
}

// WriteAll is what alerts.Publisher writes by: as kafka.Writer, it goes on until
// all is acknowledged or ctx ends, keeps the order of a partition, and writes a
// batch again whose reply was lost.
func (i *instance) WriteAll(ctx context.Context, msgs []kafka.Message) error {
	var order []balance.Source
	parts := map[balance.Source][]kafka.Message{}
	for _, m := range msgs {
		src := balance.Source{Topic: m.Topic, Partition: max(0, m.Partition)}
		if parts[src] == nil {
			order = append(order, src)
		}
		parts[src] = append(parts[src], m)
	}
	var wg sync.WaitGroup
	errs := make([]error, len(order))
	for k, src := range order {
		wg.Go(func() { errs[k] = i.writeAgain(ctx, src, parts[src]) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (i *instance) writeAgain(ctx context.Context, src balance.Source, msgs []kafka.Message) error {
	for attempt := 0; ; attempt++ {
		_, err := i.Write(ctx, src.Topic, src.Partition, msgs)
		if err == nil || attempt == 4 || i.gone(ctx) != nil {
			return err // the fifth error is for the caller: he takes over
		}
		wait(ctx, 20*time.Millisecond<<attempt)
	}
}

// Write makes one attempt, as kafka.Client.Write.
func (i *instance) Write(ctx context.Context, topic string, p int, msgs []kafka.Message) (kafka.Written, error) {
	src := balance.Source{Topic: topic, Partition: p}
	var w kafka.Written
	if topic == requestTopic {
		i.asks(msgs)
	}
	err := i.request(ctx, "write "+src.String()+caller(ctx), func() error {
		if time.Now().Before(i.mute) {
			return errAway
		}
		w.BaseOffset, w.AppendMillis = i.w.log.append(src, msgs...)
		return nil
	})
	if err != nil {
		return kafka.Written{}, err
	}
	return w, nil
}

// appender is what alerts.Commands writes by: it tries again by itself, so that
// the waits between follow from the seed.
type appender struct{ *instance }

// Write goes on until it is acknowledged.
func (a appender) Write(ctx context.Context, topic string, p int, msgs []kafka.Message) (kafka.Written, error) {
	for {
		w, err := a.instance.Write(ctx, topic, p, msgs)
		if err == nil {
			return w, nil
		}
		if err := a.gone(ctx); err != nil {
			return w, err
		}
		wait(ctx, 30*time.Millisecond)
	}
}

func over(ctx context.Context) bool { return ctx.Err() != nil }

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// groupModel is the coordinator of the consumer group.
type groupModel struct {
	w          *world
	generation int32
	owner      map[balance.Source]*instance
	committed  map[balance.Source]int64
}

type assignment struct {
	generation int32
	parts      []kafka.TopicPartition
}

// rebalance gives the partitions to the members that answer. Each learns of it
// after a while; until then it goes on with what it had.
func (g *groupModel) rebalance(why string) { g.rebalanceWithin(why, 2*time.Second) }

// rebalanceWithin has members that answer learn of it within most; those that stand
// still learn of it some seconds after they have gone on.
func (g *groupModel) rebalanceWithin(why string, most time.Duration) {
	w := g.w
	r, _ := w.draw("rebalance")
	w.mu.Lock()
	g.generation++
	gen := g.generation
	members := w.live()
	answering := members[:0:0]
	for _, i := range members {
		if !time.Now().Before(i.stalled) {
			answering = append(answering, i)
		}
	}
	if len(answering) == 0 {
		answering = members
	}
	parts := map[*instance][]kafka.TopicPartition{}
	var text []string
	for _, src := range w.sources() {
		delete(g.owner, src)
		if len(answering) > 0 {
			i := answering[r.IntN(len(answering))]
			g.owner[src] = i
			parts[i] = append(parts[i], kafka.TopicPartition{Topic: src.Topic, Partition: src.Partition})
			text = append(text, src.String()+"="+i.name)
		}
	}
	w.say("generation %d (%s): %v", gen, why, text)
	calm := w.calm
	w.mu.Unlock()
	for _, i := range members {
		d, stands := w.latency(r), i.stall()
		switch late := r.Int64N(int64(2 * time.Second)); {
		case calm:
		case stands > 0:
			d += stands + time.Duration(late)
		default:
			d += time.Duration(late) % most
		}
		a := &assignment{gen, parts[i]}
		w.after(d, func() { i.deliver(func() { i.assign(a) }) })
	}
}

// assign ends the generation that the instance holds, and has it join the next.
func (i *instance) assign(a *assignment) {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	if i.next != nil && i.next.generation > a.generation {
		return
	}
	i.next = a
	if i.over != nil {
		i.over()
	}
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// RunGroup is a member of the group, as kafka.Client.RunGroup.
func (i *instance) RunGroup(ctx context.Context, _ kafka.GroupConfig, run func(context.Context, *kafka.Generation) error) error {
	held := int32(0)
	for {
		select {
		case <-i.wake:
		case <-ctx.Done():
		}
		if over(ctx) {
			return nil // also when both were so: which of them select takes is chance
		}
		i.w.mu.Lock()
		a := i.next
		if a == nil || a.generation <= held {
			i.w.mu.Unlock()
			continue
		}
		held = a.generation
		genCtx, end := context.WithCancel(i.w.ctx)
		i.over = end
		i.w.say("%s begins generation %d", i.name, held)
		i.w.mu.Unlock()
		err := i.runGeneration(ctx, genCtx, a, run)
		end()
		if err != nil {
			return err
		}
	}
}

func (i *instance) runGeneration(ctx, genCtx context.Context, a *assignment, run func(context.Context, *kafka.Generation) error) error {
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(genCtx, cancel)()
	err := run(runCtx, kafka.NewGeneration(genCtx, a.generation, a.parts, func(offsets map[string]map[int]int64) error {
		return i.commit(genCtx, a.generation, offsets)
	}))
	if runCtx.Err() != nil {
		return nil // whatever it says is about the end
	}
	if err == nil {
		<-runCtx.Done()
	}
	return err
}

// commit is one request of a generation; the coordinator takes it from the owner alone.
func (i *instance) commit(genCtx context.Context, generation int32, offsets map[string]map[int]int64) error {
	i.w.mu.Lock()
	if over(genCtx) && !i.dead {
		i.w.violation("commit-after-the-end", "%s of generation %d: %v", i.name, generation, offsets)
	}
	if generation == i.w.group.generation && !i.dead {
		for _, src := range i.w.sources() {
			if offset, ok := offsets[src.Topic][src.Partition]; ok {
				i.committing(src, offset)
			}
		}
	}
	i.w.mu.Unlock()
	// not genCtx: a commit that is under way when its generation ends may arrive
	ctx, cancel := context.WithTimeout(context.WithoutCancel(genCtx), 5*time.Second)
	defer cancel()
	err := i.request(ctx, "commit", func() error {
		g := i.w.group
		if generation != g.generation {
			return kafkago.IllegalGeneration
		}
		for _, src := range i.w.sources() {
			offset, ok := offsets[src.Topic][src.Partition]
			if !ok {
				continue
			}
			if g.owner[src] != i {
				i.w.violation("commit-of-others", "%s commits %s %d", i.name, src, offset)
			}
			i.w.say("commit %s %d", src, offset)
			g.committed[src] = offset
		}
		return nil
	})
	if over(ctx) {
		return fmt.Errorf("no answer: %w", errAway)
	}
	return err
}
