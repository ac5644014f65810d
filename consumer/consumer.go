package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// rater prices a CDR; its error is a *rating.Fault.
type rater interface {
	Price(c *rating.CDR) (rating.Charge, error)
}

// source is the log that a worker reads.
type source interface {
	Fetch(ctx context.Context, topic string, partition int, offset int64, opt kafka.FetchOptions) (kafka.Fetched, error)
	Bounds(ctx context.Context, topic string, partition int) (start, end int64, err error)
	Ends(ctx context.Context, topic string) ([]int64, error)
}

// group makes a member of the consumer group, as kafka.Client.RunGroup does.
type group interface {
	RunGroup(ctx context.Context, cfg kafka.GroupConfig, run func(ctx context.Context, g *kafka.Generation) error) error
}

// client is a *kafka.Client, or what a simulation has instead.
type client interface {
	source
	group
}

// publisher writes what was decided; it returns when all is acknowledged.
type publisher interface {
	Publish(ctx context.Context, records []kafka.Record, verdicts []balance.Verdict, entries []*balance.Entry) error
	RequestPayment(ctx context.Context, src balance.Source, r *balance.PaymentRequest) error
}

// commander appends commands to the log.
type commander interface {
	Append(ctx context.Context, c *balance.Command) (partition int, offset int64, err error)
	Tick(ctx context.Context, partition int, untilMillis int64) error
}

// Config is what a consumer needs. All but Current, Lost, the durations and limits is required.
type Config struct {
	Client       client
	Group        kafka.GroupConfig // its topics are set by New
	CDRTopic     string
	CommandTopic string
	Store        *balance.Store
	Decoder      *cdr.Decoder
	Rater        rater
	Publisher    publisher
	Commander    commander
	Logger       *slog.Logger
	Registerer   prometheus.Registerer
	Now          func() time.Time
	// Current returns why it is not known that records mean the same to this process
	// as to all others: then none is judged or applied. nil: it is always known.
	Current func() error
	// Lost returns why shards of a source without any mark are a loss, which ends the
	// consumer, or an error of Kafka. nil: they are filled from the log.
	Lost func(ctx context.Context, source balance.Source, shards []int) error
	Rand func(n int64) int64 // spreads what is tried again; default of kafka.Backoff

	FetchBytes int           // of one batch, before decompression; default 1 MiB
	FetchWait  time.Duration // how long a fetch waits for records; default 500 ms
	Confirm    time.Duration // between confirmations and commits; default 1 s
	Patience   time.Duration // before a log that lacks what the marks speak of is an error; default 30 s
	StopGrace  time.Duration // to finish what is in hand when told to stop; default 4 s
}

func (c *Config) setDefaults() {
	c.FetchBytes = cmp.Or(c.FetchBytes, 1<<20)
	c.FetchWait = cmp.Or(c.FetchWait, 500*time.Millisecond)
	c.Confirm = cmp.Or(c.Confirm, time.Second)
	c.Patience = cmp.Or(c.Patience, 30*time.Second)
	c.StopGrace = cmp.Or(c.StopGrace, 4*time.Second)
	c.Group.Topics = []string{c.CDRTopic, c.CommandTopic}
}

// A Consumer is one member of the group.
type Consumer struct {
	cfg     Config
	metrics *metrics

	// Waits between attempts, both spread by cfg.Rand.
	pause  kafka.Backoff // while Redis or Kafka is away
	behind kafka.Backoff // of a CDR for commands that are on their way

	away atomic.Pointer[string] // why marks cannot be confirmed; nil: they can

	mu      sync.Mutex
	workers *[]*worker // of the generation now held; nil: none is
}

// New returns a consumer; Run starts it.
func New(cfg Config) *Consumer {
	cfg.setDefaults()
	return &Consumer{
		cfg: cfg, metrics: newMetrics(cfg.Registerer),
		pause:  kafka.Backoff{Base: 50 * time.Millisecond, Max: 2 * time.Second, Rand: cfg.Rand},
		behind: kafka.Backoff{Base: 2 * time.Millisecond, Max: 50 * time.Millisecond, Rand: cfg.Rand},
	}
}

// Run consumes until ctx ends, and then finishes what is in hand, publishes and
// commits it, and leaves the group: it returns nil. Any other return is an error
// that waiting does not mend.
func (c *Consumer) Run(ctx context.Context) error {
	group := c.cfg.Group
	group.OnJoinError = func(error) { c.metrics.errors.WithLabelValues("kafka_group").Inc() }
	return c.cfg.Client.RunGroup(ctx, group, c.generation)
}

// errNotReady is the reason of Ready while no generation is held.
var errNotReady = errors.New("waiting for partitions from the consumer group")

// Ready returns nil when this member holds a generation, all its workers are past
// their take-over and not waiting, and the commands that were in their logs then are
// applied, so that no account is unknown for being read too early; else what is
// waited for, in general: anybody may read it, and the log has the rest.
func (c *Consumer) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.workers == nil {
		return errNotReady
	}
	if why := c.away.Load(); why != nil {
		return errors.New(*why)
	}
	for _, w := range *c.workers {
		if why := w.waiting.Load(); why != nil {
			return errors.New(*why)
		}
		if end := w.catchUp.Load(); w.nextFed() < end {
			return errors.New("applies commands")
		}
	}
	return nil
}

// CommandPartitions returns the partitions of the commands topic that this member
// holds.
func (c *Consumer) CommandPartitions() (held []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.workers == nil {
		return nil
	}
	for _, w := range *c.workers {
		if w.commands {
			held = append(held, w.source.Partition)
		}
	}
	return held
}

// generation runs the workers of one assignment until it ends.
func (c *Consumer) generation(stop context.Context, g *kafka.Generation) error {
	var workers []*worker
	for _, tp := range g.Assigned() {
		w := newWorker(c, balance.Source{Topic: tp.Topic, Partition: tp.Partition})
		if len(w.lanes) == 0 {
			return fmt.Errorf("%s: no shard takes its commands from this partition: the topic was given more partitions than the store "+
				"was created for, which is not possible", w.source)
		}
		workers = append(workers, w)
	}
	c.hold(&workers)
	defer c.hold(nil)
	if len(workers) == 0 { // there are more members than partitions
		<-stop.Done()
		return nil
	}

	// hard ends a while after stop, or at once when a worker has failed for good.
	hard, cancel := context.WithCancelCause(context.WithoutCancel(stop))
	defer cancel(nil)
	defer context.AfterFunc(stop, func() {
		time.AfterFunc(c.cfg.StopGrace, func() { cancel(context.DeadlineExceeded) })
	})()

	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			if err := w.run(stop, hard); err != nil {
				cancel(err)
			}
		})
	}
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
	k := keeper{consumer: c, workers: workers, generation: g, committed: map[kafka.TopicPartition]int64{}}
	if err := k.run(hard, over); err != nil {
		cancel(err)
	}
	<-over
	err := context.Cause(hard)
	if err == nil { // else Redis or Kafka is away, or worse
		err = k.keep(hard) // the last confirmation and commit
	}
	if stop.Err() != nil {
		if err != nil {
			c.cfg.Logger.WarnContext(hard, "stopped with work in hand: it is done by the next owner", slog.Any("error", err))
		}
		return nil
	}
	return err
}

// hold begins or ends a generation. What another waited for counts no more: its
// workers take over first, and who has none waits for nothing.
func (c *Consumer) hold(workers *[]*worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.workers = workers
	c.away.Store(nil)
	if workers == nil {
		c.metrics.held.Set(0)
		c.metrics.forgetPartitions()
		return
	}
	c.metrics.held.Set(float64(len(*workers)))
}
