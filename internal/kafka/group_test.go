package kafka_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/broker"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

// quickGroup rebalances fast; the session timeout is the least that brokers take.
func quickGroup(topic string) kafka.GroupConfig {
	return kafka.GroupConfig{
		ID: topic + "-group", Topics: []string{topic}, SessionTimeout: 6 * time.Second, HeartbeatInterval: 50 * time.Millisecond,
		PartitionWatchInterval: 100 * time.Millisecond, JoinBackoff: 50 * time.Millisecond,
	}
}

// member runs RunGroup and hands out its generations; each lasts until its ctx
// ends.
type member struct {
	generations chan *kafka.Generation
	ended       chan *kafka.Generation // after its run has returned
	done        chan error
	cancel      context.CancelFunc
}

func join(t *testing.T, c *kafka.Client, cfg kafka.GroupConfig) *member {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	m := &member{
		generations: make(chan *kafka.Generation, 100),
		ended:       make(chan *kafka.Generation, 100),
		done:        make(chan error, 1),
		cancel:      cancel,
	}
	go func() {
		m.done <- c.RunGroup(ctx, cfg, func(ctx context.Context, g *kafka.Generation) error {
			m.generations <- g
			<-ctx.Done()
			m.ended <- g
			return ctx.Err()
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-m.done:
		case <-time.After(patience):
			t.Error("RunGroup did not end")
		}
	})
	return m
}

func (m *member) leave(t *testing.T) time.Duration {
	t.Helper()
	start := time.Now()
	m.cancel()
	err := <-m.done
	m.done <- err
	if err != nil {
		t.Error(err)
	}
	return time.Since(start)
}

// await returns the first generation that has n partitions.
func (m *member) await(t *testing.T, n int) *kafka.Generation {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case g := <-m.generations:
			if len(g.Assigned()) == n {
				return g
			}
		case err := <-m.done:
			t.Fatalf("RunGroup ended: %v", err)
		case <-timeout:
			t.Fatalf("no generation with %d partitions", n)
		}
	}
}

// committed returns the offset that the group of quickGroup has committed.
func committed(t *testing.T, b cluster, topic string, partition int32) int64 {
	t.Helper()
	ask := kmsg.NewOffsetFetchRequestTopic()
	ask.Topic, ask.Partitions = topic, []int32{partition}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.Topics = quickGroup(topic).ID, []kmsg.OffsetFetchRequestTopic{ask}
	res, err := req.RequestWith(testContext(t), foreign(t, b))
	if err != nil || len(res.Topics) != 1 {
		t.Fatal(res, err)
	}
	return res.Topics[0].Partitions[0].Offset
}

func TestGroupSharesPartitions(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	topic := b.Name("t")
	c := newClient(t, b)
	createTopic(t, c, topic, 4, nil)

	one := join(t, c, quickGroup(topic))
	alone := one.await(t, 4)
	if err := alone.Commit(map[kafka.TopicPartition]int64{{Topic: topic, Partition: 2}: 17}); err != nil {
		t.Fatal(err)
	}
	if got := committed(t, b, topic, 2); got != 17 {
		t.Errorf("committed %d", got)
	}

	two := join(t, newClient(t, b), quickGroup(topic))
	half, other := one.await(t, 2), two.await(t, 2)
	all := append(half.Assigned(), other.Assigned()...)
	slices.SortFunc(all, func(a, b kafka.TopicPartition) int { return a.Partition - b.Partition })
	if want := alone.Assigned(); !slices.Equal(all, want) {
		t.Errorf("assigned %v, want %v", all, want)
	}

	// The old generation commits nothing any more; the new one only its own.
	if err := alone.Commit(map[kafka.TopicPartition]int64{{Topic: topic, Partition: 2}: 99}); !errors.Is(err, kafka.ErrGenerationEnded) {
		t.Errorf("old generation: %v", err)
	}
	if err := half.Commit(map[kafka.TopicPartition]int64{other.Assigned()[0]: 99}); err == nil {
		t.Error("committed a partition of another member")
	}
	if err := half.Commit(map[kafka.TopicPartition]int64{half.Assigned()[0]: 5}); err != nil {
		t.Error(err)
	}
	if got := committed(t, b, topic, 2); got == 99 {
		t.Error("a lost partition was committed")
	}

	if took := two.leave(t); took > 2*time.Second {
		t.Errorf("leaving took %s", took)
	}
	one.await(t, 4)
	select {
	case <-two.ended:
	default:
		t.Error("RunGroup returned before run did")
	}
}

func TestGroupSeesAddedPartitions(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	topic := b.Name("t")
	c := newClient(t, b)
	createTopic(t, c, topic, 2, nil)
	m := join(t, c, quickGroup(topic))
	m.await(t, 2)
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: topic, Count: 3}}
	if _, err := req.RequestWith(testContext(t), foreign(t, b)); err != nil {
		t.Fatal(err)
	}
	m.await(t, 3)
}

func TestGroupCommitIsFencedByTheCoordinator(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	createTopic(t, c, "t", 1, nil)
	m := join(t, c, quickGroup("t"))
	g := m.await(t, 1)
	commit := map[kafka.TopicPartition]int64{{Topic: "t"}: 3}
	for _, code := range []*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RebalanceInProgress} {
		b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: code})
		if err := g.Commit(commit); !errors.Is(err, kafka.ErrGenerationEnded) {
			t.Errorf("%v: %v", code, err)
		}
	}
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress})
	if err := g.Commit(commit); !kafka.Temporary(err) || errors.Is(err, kafka.ErrGenerationEnded) {
		t.Errorf("loading: %v", err)
	}
	if err := g.Commit(commit); err != nil {
		t.Error(err)
	}
}

func TestGroupRetriesJoins(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	createTopic(t, c, "t", 1, nil)
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.CoordinatorNotAvailable, Count: 2})
	failed := make(chan error, 10)
	cfg := quickGroup("t")
	cfg.OnJoinError = func(err error) { failed <- err }
	m := join(t, c, cfg)
	m.await(t, 1)
	if len(failed) != 2 {
		t.Errorf("%d failed joins were told, want 2", len(failed))
	}
}

func TestGroupRejoinsAfterTheCoordinatorForgetsIt(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	createTopic(t, c, "t", 1, nil)
	m := join(t, c, quickGroup("t"))
	first := m.await(t, 1)
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID})
	if ended := <-m.ended; ended != first {
		t.Error("another generation ended")
	}
	m.await(t, 1)
}

func TestGroupEndsWithTheErrorOfRun(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	topic := b.Name("t")
	c := newClient(t, b)
	createTopic(t, c, topic, 1, nil)
	broken := errors.New("broken")
	err := c.RunGroup(testContext(t), quickGroup(topic), func(context.Context, *kafka.Generation) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{quickGroup(topic).ID}
	res, err := req.RequestWith(testContext(t), foreign(t, b))
	if err != nil || res.Groups[0].ErrorCode != 0 || len(res.Groups[0].Members) != 0 {
		t.Errorf("members are left: %+v, %v", res, err)
	}
}

func TestGroupKeepsAMemberWhoseRunReturns(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	createTopic(t, c, "t", 1, nil)
	beats := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Observe: true, Count: -1})
	ctx, cancel := context.WithCancel(testContext(t))
	runs := 0
	done := make(chan error, 1)
	go func() {
		done <- c.RunGroup(ctx, quickGroup("t"), func(context.Context, *kafka.Generation) error {
			runs++
			return nil
		})
	}()
	if err := beats.Wait(ctx, 5); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
}

// A member that is told to end while it waits for the others to join must not
// wait for all of the rebalance timeout.
func TestGroupEndsDuringAJoin(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	createTopic(t, c, "t", 2, nil)
	release := make(chan struct{})
	started := make(chan struct{})
	cfg := quickGroup("t")
	cfg.SessionTimeout = patience // else the coordinator removes the slow member and the join ends by itself
	ctx, cancel := context.WithCancel(testContext(t))
	first := make(chan error, 1)
	go func() {
		once := false
		first <- c.RunGroup(ctx, cfg, func(context.Context, *kafka.Generation) error {
			if !once {
				once = true
				close(started)
			}
			<-release // slow to end its generation
			return nil
		})
	}()
	<-started
	joining := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Observe: true, Count: -1})
	second := join(t, newClient(t, b), cfg)
	if err := joining.Wait(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if took := second.leave(t); took > 10*time.Second {
		t.Errorf("leaving took %s", took)
	}
	close(release)
	cancel()
	if err := <-first; err != nil {
		t.Error(err)
	}
}
