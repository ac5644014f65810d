package simulation_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// Price has an instance be its rater: a micro per millisecond and thousand, in euros
// where the callee is.
func (i *instance) Price(c *rating.CDR) (rating.Charge, error) {
	i.w.mu.Lock()
	if i.unsureNow() {
		i.w.violation("judged-unsure", "%s prices a call", i.name)
	}
	i.w.mu.Unlock()
	switch {
	case c.Callee == "+0":
		return rating.Charge{}, &rating.Fault{Reason: rating.NoRate, Message: "no rate"}
	case c.Kind.AlwaysFree(), !c.Answered(), c.DurationMillis == 0:
		return rating.Charge{}, nil
	case c.Callee == "+44":
		return rating.Charge{Amount: rating.Micros(c.DurationMillis * 1000), Currency: "EUR"}, nil
	}
	return rating.Charge{Amount: rating.Micros(c.DurationMillis * 1000), Currency: "USD"}, nil
}

// start begins a process; the caller has the group rebalanced.
func (w *world) start(name string) {
	r, _ := w.draw("start " + name)
	i := &instance{w: w, name: name, ended: make(chan struct{}), wake: make(chan struct{}, 1), ends: map[int]int64{}, refused: map[mark]bool{}, tookOver: map[mark]time.Time{}}
	i.skew = time.Duration(r.IntN(200)-100) * time.Millisecond
	if r.IntN(3) == 0 {
		i.skew = time.Duration(r.Int64N(int64(2*maxSkew))) - maxSkew
	}
	i.ctx, i.cancel = context.WithCancel(w.ctx)
	w.mu.Lock()
	w.instances = append(w.instances, i)
	w.say("%s starts", name)
	w.mu.Unlock()
	go i.run()
}

func (i *instance) run() {
	defer close(i.ended)
	w := i.w
	rdb := i.client()
	defer func() { _ = rdb.Close() }()
	var store *balance.Store
	for {
		var err error
		if store, err = balance.Open(i.ctx, rdb, w.storeOptions(i.now)); err == nil {
			break
		}
		if i.gone(i.ctx) != nil {
			return
		}
		wait(i.ctx, 100*time.Millisecond)
	}
	commands := alerts.NewCommands(appender{i}, commandTopic, w.partitionOf)
	topics := alerts.Topics{
		Rated: ratedTopic, Alerts: alertTopic, RechargeRequests: requestTopic, Commands: commandTopic, DeadLetters: letterTopic, DeadLetterPartitions: 1,
	}
	stream := consumer.New(consumer.Config{
		Client: i, CDRTopic: cdrTopic, CommandTopic: commandTopic, Store: store, Decoder: decoder, Rater: i, Current: i.current,
		Publisher: publisher{alerts.New(i, topics, w.partitionOf, nil)}, Commander: commands, Logger: quietLogger, Now: i.now,
		Rand:      i.spread,
		FetchWait: 2 * time.Second, Confirm: time.Second, Patience: 1000 * time.Hour, StopGrace: 4 * time.Second,
	})
	w.mu.Lock()
	i.stream = stream
	w.mu.Unlock()
	err := stream.Run(i.ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && !i.dead && !i.leaving {
		w.violation("stopped", "%s: %s", i.name, describe(err))
	}
	w.say("%s has ended: %s", i.name, describe(err))
}

// spread is the chance of waits. It does not say whose wait it is, and workers may
// begin to wait at one instant: it is that of the instant.
func (i *instance) spread(n int64) int64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, i.name)
	return rand.New(rand.NewPCG(i.w.opt.seed^h.Sum64(), uint64(time.Now().UnixNano()))).Int64N(n)
}

// publisher tells the writer whose messages it writes.
type publisher struct{ p *alerts.Publisher }

func (p publisher) Publish(ctx context.Context, records []kafka.Record, verdicts []balance.Verdict, entries []*balance.Entry) error {
	by := ""
	if len(entries) > 0 {
		by = " for " + entries[0].Source.String()
	} else if len(records) > 0 {
		by = " for " + records[0].Topic + "/" + strconv.Itoa(records[0].Partition)
	}
	return p.p.Publish(context.WithValue(ctx, writing{}, by), records, verdicts, entries)
}

func (p publisher) RequestPayment(ctx context.Context, src balance.Source, r *balance.PaymentRequest) error {
	return p.p.RequestPayment(context.WithValue(ctx, writing{}, " for "+src.String()), src, r)
}

// liveThrough has a world live through its schedule and come to rest. It runs in a bubble.
func (w *world) liveThrough() {
	w.watch()
	for i := range w.shape.instances {
		w.start(fmt.Sprintf("p%d.0", i))
	}
	w.group.rebalance("start")
	w.schedule()
	wait(w.ctx, w.work)
	w.settle()
	for n := 0; !w.stop(); n++ { // a timer was due just then
		w.start(fmt.Sprintf("rest.%d", n))
		w.settle()
	}
}

// stop has all processes leave, and reports whether nothing is left to do.
func (w *world) stop() bool {
	for _, i := range w.instances {
		w.mu.Lock()
		i.leaving = true
		w.mu.Unlock()
		i.cancel()
		<-i.ended
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.wrong) > 0 || w.busy() == ""
}

// settle stops the faults, and waits until all is done.
func (w *world) settle() {
	w.mu.Lock()
	w.calm = true
	w.say("the faults stop")
	clear(w.redis.away)
	for _, i := range w.instances {
		i.mute, i.unsure = time.Time{}, time.Time{}
	}
	w.mu.Unlock()
	w.group.rebalance("rest")
	still := 0
	for range 300 {
		wait(w.ctx, 500*time.Millisecond)
		w.mu.Lock()
		why := w.busy()
		if len(w.wrong) > 20 {
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		if why == "" {
			still++
		} else {
			still = 0
		}
		if still == 3 {
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violation("livelock", "%s", w.busy())
}

// busy says what is not yet done.
func (w *world) busy() string {
	if w.underWay > 0 {
		return "commands are under way"
	}
	if w.coming > 0 {
		return "processes are yet to come"
	}
	for _, i := range w.instances {
		if time.Now().Before(i.stalled) {
			return i.name + " stands still"
		}
	}
	for _, i := range w.live() {
		if i.stream == nil {
			return i.name + " has not begun"
		}
		if err := i.stream.Ready(); err != nil {
			return i.name + " is not ready: " + err.Error()
		}
	}
	for _, src := range w.sources() {
		for sh := range w.shards {
			if src.Topic == commandTopic && sh%w.commands != src.Partition {
				continue
			}
			if at := w.redis.mark(sh, src); at != w.log.end(src) {
				return fmt.Sprintf("shard %d has applied %s up to %d of %d", sh, src, at, w.log.end(src))
			}
			if l := w.redis.keys.lists[fmt.Sprintf("cs:{%d}:outbox:%s", sh, src)]; len(l) > 0 {
				return fmt.Sprintf("shard %d holds %d entries of %s: %s", sh, len(l), src, strings.ReplaceAll(l[0], "\n", "|"))
			}
		}
		if at := w.group.committed[src]; at != w.log.end(src) {
			return fmt.Sprintf("%s is committed up to %d of %d", src, at, w.log.end(src))
		}
	}
	for sh := range w.shards {
		for timer, at := range w.redis.keys.zsets[fmt.Sprintf("cs:{%d}:due", sh)] {
			if at <= w.now().Add(-w.business(200*time.Millisecond)).UnixMilli() {
				return "timer " + timer + " is due"
			}
		}
	}
	return ""
}

// schedule draws what happens and when, all of it before it begins.
func (w *world) schedule() {
	at := func(when time.Duration, name string, do func()) {
		w.after(when, func() {
			if w.fires(name) {
				do()
			}
		})
	}
	event := func(kind string, do func(r *rand.Rand)) {
		r, name := w.draw(kind)
		at(time.Duration(r.Int64N(int64(w.work))), name, func() { do(r) })
	}
	for _, a := range w.names {
		r, name := w.draw("create")
		when := time.Duration(r.Int64N(int64(w.work)))
		switch r.IntN(8) {
		case 0:
		case 1, 2, 3:
			when /= 3
		default:
			when /= 30
		}
		at(when, name, func() { w.command(w.settings(r, a, "USD")) })
		// calls before the account begins, half of them about then, as far as the
		// brokers' clocks tell
		for range r.IntN(4) * r.IntN(5) {
			r, name := w.draw("early call")
			early := time.Duration(r.Int64N(int64(2*slack)/w.speed + 1))
			if r.IntN(2) == 0 {
				early = time.Duration(r.Int64N(int64(3 * time.Second)))
			}
			at(when-early, name, func() { w.ringOf(r, w.newCallOf(r, a)) })
		}
	}
	for range w.records {
		event("call", w.ring)
	}
	for range 3 + w.records/8 {
		event("by hand", w.byHand)
	}
	for range w.faults {
		event("fault", w.mishap)
	}
}

// result is what became of one run.
type result struct {
	wrong, fired, trace []string
	shape               shape
	took                time.Duration // by the clock of the bubble
	entries             int
	dump                []string // what Redis holds, if there is a tape
}

// simulate runs one seed in a bubble of its own.
func simulate(t *testing.T, opt options) (res result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t.Context(), opt)
		w.liveThrough()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.check()
		res = result{
			wrong: w.wrong, fired: w.fired, trace: w.trace, shape: w.shape, took: time.Since(w.begin), entries: len(w.redis.entries),
		}
		if opt.tape != nil {
			res.dump = w.redis.keys.dump()
		}
	})
	return res
}
