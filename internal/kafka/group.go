package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// leaveGrace is how long the end of RunGroup waits for a join under way. A join
// lasts until every member of the group has answered, at most the rebalance
// timeout; a member that gives up instead is removed by its session timeout.
const leaveGrace = 3 * time.Second

// ErrGenerationEnded is returned by Generation.Commit once the group has moved
// on: the partitions may have another owner.
var ErrGenerationEnded = errors.New("group generation has ended")

// GroupConfig says how to be a member of a consumer group.
type GroupConfig struct {
	// ID is the group; Topics are what it consumes, and must exist.
	ID     string
	Topics []string
	// SessionTimeout is how long a member may be silent before its partitions
	// are given away. Default 10 s: kafka-go's 30 s leaves the partitions of a
	// crashed process alone for half a minute. Brokers take 6 s or more.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long the coordinator waits for members to join
	// again. Default: 30 s.
	RebalanceTimeout time.Duration
	// HeartbeatInterval is at most a third of SessionTimeout. Default: 2 s.
	HeartbeatInterval time.Duration
	// PartitionWatchInterval is how soon an added partition is noticed.
	// Default: 10 s.
	PartitionWatchInterval time.Duration
	// JoinBackoff is the wait after a failed join. Default 1 s.
	JoinBackoff time.Duration
	// OnJoinError, if set, is told each failed join, for a metric.
	OnJoinError func(err error)
}

func (cfg GroupConfig) withDefaults() GroupConfig {
	cfg.SessionTimeout = cmp.Or(cfg.SessionTimeout, 10*time.Second)
	cfg.RebalanceTimeout = cmp.Or(cfg.RebalanceTimeout, 30*time.Second)
	cfg.HeartbeatInterval = cmp.Or(cfg.HeartbeatInterval, 2*time.Second)
	cfg.PartitionWatchInterval = cmp.Or(cfg.PartitionWatchInterval, 10*time.Second)
	cfg.JoinBackoff = cmp.Or(cfg.JoinBackoff, time.Second)
	return cfg
}

// Generation is one assignment of partitions to this member. It ends when any
// member joins or leaves, when partitions are added and when the coordinator is
// lost.
type Generation struct {
	id       int32
	ctx      context.Context //nolint:containedctx // the generation's own end, which Commit must see
	assigned []TopicPartition
	commit   func(offsets map[string]map[int]int64) error
}

// NewGeneration returns a generation of a group that is kept elsewhere than in
// Kafka. It ends with ctx; commit gets the offsets by topic and partition.
func NewGeneration(ctx context.Context, id int32, assigned []TopicPartition, commit func(offsets map[string]map[int]int64) error) *Generation {
	return &Generation{id: id, ctx: ctx, assigned: assigned, commit: commit}
}

// ID is the number of the generation; it grows.
func (g *Generation) ID() int32 { return g.id }

// Assigned returns the partitions of this member in order; there may be none.
func (g *Generation) Assigned() []TopicPartition { return slices.Clone(g.assigned) }

// Commit stores, for each partition, the offset to read next. All must be
// assigned to this generation. Once it has ended, here or at the coordinator,
// the error is ErrGenerationEnded. It waits no longer than 5 s.
func (g *Generation) Commit(offsets map[TopicPartition]int64) error {
	byTopic := make(map[string]map[int]int64)
	for tp, offset := range offsets {
		if !slices.Contains(g.assigned, tp) {
			return fmt.Errorf("commit %s: not assigned to generation %d", tp, g.id)
		}
		if byTopic[tp.Topic] == nil {
			byTopic[tp.Topic] = make(map[int]int64)
		}
		byTopic[tp.Topic][tp.Partition] = offset
	}
	if g.ctx.Err() != nil {
		return fmt.Errorf("commit generation %d: %w", g.id, ErrGenerationEnded)
	}
	err := g.commit(byTopic)
	switch {
	case err == nil:
		return nil
	case g.ctx.Err() != nil, errors.Is(err, kafka.IllegalGeneration), errors.Is(err, kafka.UnknownMemberId),
		errors.Is(err, kafka.RebalanceInProgress):
		return fmt.Errorf("commit generation %d: %w: %w", g.id, ErrGenerationEnded, err)
	}
	return fmt.Errorf("commit generation %d: %w", g.id, err)
}

// RunGroup is a member of a group until ctx ends. It calls run once for each
// generation and waits for it to return before it joins the next one; run's ctx
// ends with the generation or with ctx, and run should then return well within
// SessionTimeout: kafka-go sends no heartbeats from then on, and a member that
// falls silent is removed, which costs another rebalance. A run that returns nil early keeps the member, idle, until
// the generation ends. An error of run while its ctx was not done ends the
// membership and is returned. Failed joins are logged and retried for ever.
// When ctx ends RunGroup leaves the group and returns nil.
func (c *Client) RunGroup(ctx context.Context, cfg GroupConfig, run func(ctx context.Context, g *Generation) error) error {
	cfg = cfg.withDefaults()
	conns := &openConns{dial: c.cfg.Dial, open: make(map[net.Conn]struct{})}
	group, err := kafka.NewConsumerGroup(c.consumerGroupConfig(ctx, cfg, conns))
	if err != nil {
		return fmt.Errorf("join group %s: %w", cfg.ID, err)
	}
	defer leave(group, conns)
	for {
		gen, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			c.cfg.Logger.WarnContext(ctx, "kafka group join is retried", slog.String("group", cfg.ID), slog.Any("error", err))
			if cfg.OnJoinError != nil {
				cfg.OnJoinError(err)
			}
			continue // kafka-go waits JoinGroupBackoff by itself
		}
		if err := c.runGeneration(ctx, gen, run); err != nil {
			return err
		}
	}
}

// runGeneration calls run inside gen and waits for both to end.
func (c *Client) runGeneration(ctx context.Context, gen *kafka.Generation, run func(ctx context.Context, g *Generation) error) error {
	result := make(chan error, 1)
	gen.Start(func(genCtx context.Context) {
		if genCtx.Err() != nil { // ended before it began: kafka-go would not wait for us
			result <- nil
			return
		}
		runCtx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(genCtx, cancel)()
		g := NewGeneration(genCtx, gen.ID, assignment(gen), gen.CommitOffsets)
		c.cfg.Logger.InfoContext(ctx, "kafka group generation begins", slog.String("group", gen.GroupID),
			slog.Int("generation", int(gen.ID)), slog.Int("partitions", len(g.assigned)))
		err := run(runCtx, g)
		if runCtx.Err() != nil {
			err = nil // whatever it says is about the end
		} else if err == nil {
			<-runCtx.Done()
		}
		result <- err
	})
	return <-result
}

func assignment(gen *kafka.Generation) []TopicPartition {
	var tps []TopicPartition
	for _, topic := range slices.Sorted(maps.Keys(gen.Assignments)) {
		for _, p := range gen.Assignments[topic] {
			tps = append(tps, TopicPartition{Topic: topic, Partition: p.ID})
		}
	}
	slices.SortFunc(tps, func(a, b TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return tps
}

func (c *Client) consumerGroupConfig(ctx context.Context, cfg GroupConfig, conns *openConns) kafka.ConsumerGroupConfig {
	return kafka.ConsumerGroupConfig{
		ID:      cfg.ID,
		Brokers: c.cfg.Brokers,
		Topics:  cfg.Topics,
		Dialer:  &kafka.Dialer{ClientID: c.cfg.ClientID, Timeout: dialTimeout, DialFunc: conns.dialContext},
		// One strategy: the group must agree on it while old and new processes
		// run side by side.
		GroupBalancers:         []kafka.GroupBalancer{kafka.RangeGroupBalancer{}},
		SessionTimeout:         cfg.SessionTimeout,
		RebalanceTimeout:       cfg.RebalanceTimeout,
		HeartbeatInterval:      cfg.HeartbeatInterval,
		JoinGroupBackoff:       cfg.JoinBackoff,
		PartitionWatchInterval: cfg.PartitionWatchInterval,
		WatchPartitionChanges:  true,              // off by default: added partitions would wait for the next rebalance
		RetentionTime:          -time.Millisecond, // minus one on the wire, the broker's: committed offsets are for people and tools
		StartOffset:            kafka.FirstOffset,
		Timeout:                5 * time.Second,
		ErrorLogger: kafka.LoggerFunc(func(format string, args ...any) {
			c.cfg.Logger.DebugContext(ctx, "kafka group", slog.String("group", cfg.ID), slog.String("text", fmt.Sprintf(format, args...)))
		}),
	}
}

// leave leaves the group. kafka-go cannot interrupt a join, so after a grace
// period its connections are closed under it.
func leave(group *kafka.ConsumerGroup, conns *openConns) {
	left := make(chan struct{})
	go func() {
		defer close(left)
		_ = group.Close() // always nil
	}()
	timer := time.NewTimer(leaveGrace)
	defer timer.Stop()
	select {
	case <-left:
	case <-timer.C:
		conns.closeAll()
		<-left
	}
}

// openConns dials and remembers the connections that are open.
type openConns struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

func (o *openConns) dialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := o.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	o.open[conn] = struct{}{}
	return &trackedConn{Conn: conn, owner: o}, nil
}

func (o *openConns) closeAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for conn := range o.open {
		_ = conn.Close() // it is being given up
	}
}

type trackedConn struct {
	net.Conn

	owner *openConns
}

// Close implements net.Conn.
func (t *trackedConn) Close() error {
	t.owner.mu.Lock()
	delete(t.owner.open, t.Conn)
	t.owner.mu.Unlock()
	return t.Conn.Close()
}
