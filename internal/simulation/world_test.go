package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/consumer/cdr"
)

// Topics of the simulation.
const (
	cdrTopic     = "cdrs"
	commandTopic = "credit-commands"
	ratedTopic   = "rated-cdrs"
	alertTopic   = "credit-alerts"
	requestTopic = "recharge-requests"
	letterTopic  = "cdrs.dlq"
)

// shape is what a world is, drawn from its seed.
type shape struct {
	shards, cdrs, commands, nodes, instances int
	accounts, records                        int
	work                                     time.Duration // how long there are records and faults
	speed                                    int64         // of the clocks: how often faster than the timers
	fetch                                    int           // most records of one fetch
	requestFaults                            int           // in 10,000 calls
	slow                                     int           // messages in 200 that take up to a second
	faults                                   int           // scheduled ones
}

// options say what a run is of: a seed, less what is left out of it.
type options struct {
	seed    uint64
	without map[string]bool // names of events and of faults
	trace   bool
	tape    *tape // nil: none
}

// world is one run: all that exists in it, and the only lock over it.
type world struct {
	shape

	opt   options
	ctx   context.Context
	begin time.Time

	mu        sync.Mutex
	counters  map[string]uint64
	used      map[int64]bool // instants at which something happens
	fired     []string       // faults and events, in order
	trace     []string
	wrong     []string // violations
	calm      bool     // no more faults
	redis     *redisModel
	log       *logs
	group     *groupModel
	instances []*instance
	names     []string // of accounts
	calls     map[place]*call
	ends      map[place][]int64 // of the commands, when the record was appended
	sent      []*call
	underWay  int // commands of people and of the payment service
	coming    int // processes that start again later
	requests  []request
	seen      published
	ids       int
}

// place is one record of a log.
type place struct {
	source balance.Source
	offset int64
}

func newWorld(ctx context.Context, opt options) *world {
	w := &world{
		opt: opt, ctx: ctx, begin: time.Now(), counters: map[string]uint64{}, used: map[int64]bool{}, calls: map[place]*call{}, ends: map[place][]int64{},
	}
	r, _ := w.draw("shape")
	w.shape = shape{
		shards: 1 + r.IntN(3), cdrs: 1 + r.IntN(2), commands: 1 + r.IntN(2), instances: 1 + r.IntN(3),
		accounts: 1 + r.IntN(4), records: 20 + r.IntN(50), work: time.Duration(8+r.IntN(12)) * time.Second,
		speed: []int64{20, 100, 400, 1500, 40_000}[r.IntN(5)], fetch: []int{2, 4, 30}[r.IntN(3)],
		requestFaults: []int{0, 40, 100, 300}[r.IntN(4)], slow: []int{1, 1, 12}[r.IntN(3)], faults: r.IntN(9),
	}
	w.commands = min(w.commands, w.shards)
	w.nodes = 1 + r.IntN(w.shards)
	w.redis = newRedisModel(w)
	w.log = newLogs(w)
	w.group = &groupModel{w: w, owner: map[balance.Source]*instance{}, committed: map[balance.Source]int64{}}
	for i := range w.accounts {
		w.names = append(w.names, fmt.Sprintf("a%d", i))
	}
	return w
}

// now is the time of brokers and processes: it runs faster than the timers, so
// that windows and waits of hours come to their end.
func (w *world) now() time.Time {
	return epoch.Add(time.Duration(w.speed) * time.Since(w.begin))
}

var epoch = time.Date(2027, 3, 31, 22, 0, 0, 0, time.UTC)

// business is how long a time of the timers is by the clocks.
func (w *world) business(d time.Duration) time.Duration { return time.Duration(w.speed) * d }

// draw returns chance for one act of somebody, and its name: it depends on the
// seed, the name and how many acts of that name there were, not on what others do.
func (w *world) draw(key string) (*rand.Rand, string) {
	w.mu.Lock()
	n := w.counters[key]
	w.counters[key]++
	w.mu.Unlock()
	name := fmt.Sprintf("%s #%d", key, n)
	h := fnv.New64a()
	_, _ = io.WriteString(h, name)
	return rand.New(rand.NewPCG(w.opt.seed, h.Sum64())), name
}

// after runs f after about d, at an instant of its own: so the order of all that
// happens is that of the clock.
func (w *world) after(d time.Duration, f func()) {
	w.mu.Lock()
	at := time.Now().Add(max(d, 0)).UnixNano()
	for w.used[at] {
		at++
	}
	w.used[at] = true
	w.mu.Unlock()
	time.AfterFunc(time.Duration(at-time.Now().UnixNano()), f)
}

// say adds a line to the trace. The caller holds mu.
func (w *world) say(format string, a ...any) {
	if w.opt.trace {
		w.trace = append(w.trace, fmt.Sprintf("%12.6f ", time.Since(w.begin).Seconds())+fmt.Sprintf(format, a...))
	}
}

// violation notes that a promise is broken. The caller holds mu.
func (w *world) violation(class, format string, a ...any) {
	w.wrong = append(w.wrong, class+": "+fmt.Sprintf(format, a...))
	w.say("VIOLATION %s", w.wrong[len(w.wrong)-1])
}

// fires reports whether a fault or an event of this name happens, and notes it.
func (w *world) fires(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.opt.without[name] {
		return false
	}
	w.fired = append(w.fired, name)
	w.say("%s", name)
	return true
}

func (w *world) quiet() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calm
}

// partitionOf is the partition of an account's commands.
func (w *world) partitionOf(account string) int { return w.shardOf(account) % w.commands }

func (w *world) storeOptions(now func() time.Time) balance.Options {
	return balance.Options{
		Shards: w.shards, CommandPartitions: w.commands, CDRTopic: cdrTopic, CommandTopic: commandTopic,
		SliceWidth: w.window() / 6, Window: w.window(), ExpiryGrace: w.grace(), Logger: quietLogger, Now: now,
	}
}

// window is how long ids are remembered; grace how long a lot waits for calls.
func (w *world) window() time.Duration { return w.business(6 * time.Second) }
func (w *world) grace() time.Duration  { return w.business(1500 * time.Millisecond) }

const slack = 250 * time.Millisecond // of balance.Options, the default

var (
	quietLogger = slog.New(slog.DiscardHandler)
	decoder     = cdr.NewDecoder(cdr.Options{})
)

// A fault is what becomes of one request.
type fault int

const (
	none      fault = iota
	refused         // an error, and nothing done
	lost            // nothing done, and an error after a while
	lostReply       // done, and an error after a while
	late            // an error first, and done afterwards
)

var faultNames = map[fault]string{refused: "refused", lost: "request lost", lostReply: "reply lost", late: "comes late"}

// chance decides what becomes of a request.
func (w *world) chance(r *rand.Rand, name string) fault {
	f := none
	if r.IntN(10_000) < w.requestFaults {
		f = fault(1 + r.IntN(4))
	}
	if f == none || w.quiet() || !w.fires(name+": "+faultNames[f]) {
		return none
	}
	return f
}

// latency is how long a message is under way.
func (w *world) latency(r *rand.Rand) time.Duration {
	most := 2 * time.Millisecond
	switch k := r.IntN(200); {
	case k < w.slow:
		most = time.Second
	case k < w.slow+15:
		most = 60 * time.Millisecond
	}
	return 20*time.Microsecond + time.Duration(r.Int64N(int64(most)))
}

var errAway = fmt.Errorf("simulated: %w", io.ErrUnexpectedEOF)

// an instance is one process, from its start to its end.
type instance struct {
	w       *world
	name    string
	skew    time.Duration // of its clock
	stream  *consumer.Consumer
	ctx     context.Context
	cancel  context.CancelFunc
	ended   chan struct{}
	dead    bool      // crashed
	leaving bool      // told to stop
	stalled time.Time // stands still until then
	puzzled time.Time // since then ...
	unsure  time.Time // ... it does not know what records mean to others, until then
	mute    time.Time // cannot write to Kafka until then

	wake chan struct{}
	next *assignment
	over context.CancelFunc // of the generation it holds
	ends map[int]int64      // of a commands partition: where the log ended at its last take-over

	refused  map[mark]bool      // marks that a shard has refused to confirm
	tookOver map[mark]time.Time // when the instance was last told what they are
}

// request has effect done at the other side, as a fault has it. effect runs with
// mu held. It returns when the reply is there, or ctx ends: then nobody knows.
func (i *instance) request(ctx context.Context, key string, effect func() error) error {
	w := i.w
	if err := i.gone(ctx); err != nil {
		return err
	}
	r, name := w.draw(i.name + " " + key)
	f := w.chance(r, name)
	out, back, long := w.latency(r), w.latency(r), time.Duration(r.Int64N(int64(4*time.Second)))
	orphan := r.IntN(2) == 0 // what a process has sent when it crashes may arrive
	reply := make(chan error, 1)
	answer := func(err error) { i.deliver(func() { reply <- err }) }
	act := func(then func(error)) func() {
		return func() {
			w.mu.Lock()
			var err error
			if !i.dead || orphan {
				err = effect()
			}
			w.mu.Unlock()
			if then != nil {
				w.after(back, func() { then(err) })
			}
		}
	}
	out += i.stall()
	switch f {
	case none:
		w.after(out, act(answer))
	case refused:
		w.after(out+back, func() { answer(errAway) })
	case lost:
		w.after(out+long, func() { answer(errAway) })
	case lostReply:
		w.after(out, act(nil))
		w.after(out+long, func() { answer(errAway) })
	case late:
		w.after(out, func() { answer(errAway) })
		w.after(out+long, act(nil))
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (i *instance) gone(ctx context.Context) error {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	if i.dead {
		return context.Canceled
	}
	return ctx.Err()
}

// stall is how long the instance still stands still.
func (i *instance) stall() time.Duration {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	return max(0, time.Until(i.stalled))
}

// deliver has f done once the instance does not stand still.
func (i *instance) deliver(f func()) {
	if d := i.stall(); d > 0 {
		i.w.after(d, func() { i.deliver(f) })
		return
	}
	f()
}

func (i *instance) now() time.Time { return i.w.now().Add(i.skew) }

// maxSkew is how wrong the clock of a process may be: ids are forgotten a minute
// after their time.
const maxSkew = 50 * time.Second

// current is what consumer.Config.Current is.
func (i *instance) current() error {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	if i.unsureNow() {
		return errUnsure
	}
	return nil
}

// unsureNow is asked with mu held.
func (i *instance) unsureNow() bool { return time.Now().Before(i.unsure) }

var errUnsure = errors.New("simulated: what others take records for is not known")

// live returns the instances that are not crashed and not leaving, in order.
func (w *world) live() []*instance {
	return slices.DeleteFunc(slices.Clone(w.instances), func(i *instance) bool { return i.dead || i.leaving })
}

// sources are all partitions of the input topics.
func (w *world) sources() []balance.Source {
	var out []balance.Source
	for p := range w.cdrs {
		out = append(out, balance.Source{Topic: cdrTopic, Partition: p})
	}
	for p := range w.commands {
		out = append(out, balance.Source{Topic: commandTopic, Partition: p})
	}
	return out
}

// shardOf is where an account lives; the store says so.
func (w *world) shardOf(account string) int {
	return whereIs(account, w.shards)
}

func describe(err error) string {
	if err == nil {
		return "ok"
	}
	if errors.Is(err, errAway) {
		return "away"
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}
