package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/creditstream/creditstream/internal/kafka"
)

const group = "creditstream"

// A watch looks at offsets and marks while faults happen: how long the stream
// takes to be past each of them, and that nothing is committed beyond a mark.
type watch struct {
	client  *kafka.Client
	offsets *kafkago.Client
	rdb     *redis.ClusterClient
	shards  int
	now     func() time.Time

	mu       sync.Mutex
	open     []*wound
	healed   []*wound
	backs    []time.Time                    // when Redis began to go back
	excused  map[kafka.TopicPartition]int64 // up to where commits may lie beyond marks: they were made before
	held     map[string]time.Time           // what outboxes held, see outboxes.go: when it was last seen
	findings []Finding
	looks    int
	insights int // looks into outboxes
}

// A wound is a fault that the stream has yet to get past.
type wound struct {
	kind   Kind
	since  time.Time
	ends   map[kafka.TopicPartition]int64 // of the logs, read after the fault
	healed time.Duration
}

// position is what one look finds.
type position struct {
	committed, marks, ends map[kafka.TopicPartition]int64 // marks: the lowest of all shards
}

// lag is how many records are not committed.
func (p *position) lag() (n int64) {
	for tp, end := range p.ends {
		n += end - max(0, p.committed[tp])
	}
	return n
}

// fault notes that one begins.
func (w *watch) fault(k Kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = append(w.open, &wound{kind: k, since: w.now()})
	if k.goesBack() {
		w.backs = append(w.backs, w.now())
	}
}

// run looks four times a second until ctx ends.
func (w *watch) run(ctx context.Context) {
	for sleep(ctx, 250*time.Millisecond) == nil {
		p, err := w.look(ctx)
		if err != nil {
			continue // Kafka or Redis is away, which is what we do
		}
		w.note(p)
		if w.lookAtOutboxes(ctx, p) == nil { // else the same
			w.mu.Lock()
			w.insights++
			w.mu.Unlock()
		}
	}
}

func (w *watch) note(p *position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	var open []*wound
	for _, x := range w.open {
		if x.ends == nil {
			x.ends = p.ends
		}
		past := true
		for tp, end := range x.ends {
			past = past && p.committed[tp] >= end
		}
		if past {
			x.healed = w.now().Sub(x.since)
			w.healed = append(w.healed, x)
		} else {
			open = append(open, x)
		}
	}
	w.open = open
	w.compare(p)
}

// goingBack is how long after a fault of Redis begins it may go back, and offsets may
// be committed that were confirmed before.
const goingBack = 30 * time.Second

// compare finds offsets that were committed beyond a mark. Where Redis has gone back,
// those that were committed before lie beyond the marks until these have caught up,
// and are not passed until then.
func (w *watch) compare(p *position) {
	if n := len(w.backs); n > 0 && w.now().Sub(w.backs[n-1]) < goingBack {
		if w.excused == nil {
			w.excused = map[kafka.TopicPartition]int64{}
		}
		for tp, offset := range p.committed {
			w.excused[tp] = max(w.excused[tp], offset)
		}
	}
	for _, tp := range slices.SortedFunc(maps.Keys(p.committed), compareTP) {
		if committed, mark := p.committed[tp], p.marks[tp]; committed > mark && committed > w.excused[tp] {
			w.findings = append(w.findings, Finding{CheckCommits, fmt.Sprintf("%s/%d: %d is committed, a mark is at %d", tp.Topic, tp.Partition, committed, mark)})
		}
	}
}

func compareTP(a, b kafka.TopicPartition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return a.Partition - b.Partition
}

// look reads committed offsets first, then marks, then log ends: each moves up
// only after the next has.
func (w *watch) look(ctx context.Context) (*position, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	p := &position{ends: map[kafka.TopicPartition]int64{}}
	ask := map[string][]int{}
	counts := map[string]int{}
	for _, topic := range []string{topicCDRs, topicCommands} {
		ends, err := w.client.Ends(ctx, topic)
		if err != nil {
			return nil, err
		}
		counts[topic] = len(ends)
		for i := range ends {
			ask[topic] = append(ask[topic], i)
		}
	}
	var err error
	if p.committed, err = w.committed(ctx, ask); err != nil {
		return nil, err
	}
	if p.marks, err = w.marks(ctx, counts); err != nil {
		return nil, err
	}
	for topic := range counts {
		ends, err := w.client.Ends(ctx, topic)
		if err != nil {
			return nil, err
		}
		for i, end := range ends {
			p.ends[kafka.TopicPartition{Topic: topic, Partition: i}] = end
		}
	}
	return p, nil
}

func (w *watch) committed(ctx context.Context, ask map[string][]int) (map[kafka.TopicPartition]int64, error) {
	r, err := w.offsets.OffsetFetch(ctx, &kafkago.OffsetFetchRequest{GroupID: group, Topics: ask})
	if err == nil {
		err = r.Error
	}
	if err != nil {
		return nil, err
	}
	out := map[kafka.TopicPartition]int64{}
	for topic, partitions := range r.Topics {
		for _, x := range partitions {
			if x.Error != nil {
				return nil, x.Error
			}
			out[kafka.TopicPartition{Topic: topic, Partition: x.Partition}] = x.CommittedOffset
		}
	}
	return out, nil
}

// marks returns the lowest mark of each partition.
func (w *watch) marks(ctx context.Context, counts map[string]int) (map[kafka.TopicPartition]int64, error) {
	replies := make([]*redis.MapStringStringCmd, w.shards)
	_, err := w.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for s := range replies {
			replies[s] = p.HGetAll(ctx, fmt.Sprintf("cs:{%d}:marks", s))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := map[kafka.TopicPartition]int64{}
	for s, r := range replies {
		for _, tp := range sources(s, counts) {
			mark, err := offsetOf(r.Val()[tp.Topic+"/"+strconv.Itoa(tp.Partition)])
			if err != nil {
				return nil, err
			}
			if before, ok := out[tp]; !ok || mark < before {
				out[tp] = mark
			}
		}
	}
	return out, nil
}

// sources are the partitions that a shard is fed from: all of cdrs, and one of
// commands.
func sources(shard int, counts map[string]int) (out []kafka.TopicPartition) {
	for i := range counts[topicCDRs] {
		out = append(out, kafka.TopicPartition{Topic: topicCDRs, Partition: i})
	}
	return append(out, kafka.TopicPartition{Topic: topicCommands, Partition: shard % counts[topicCommands]})
}

// offsetOf is the first word of a mark; none is 0.
func offsetOf(mark string) (int64, error) {
	if mark == "" {
		return 0, nil
	}
	first, _, _ := strings.Cut(mark, " ")
	return strconv.ParseInt(first, 10, 64)
}

var errLag = errors.New("the stream does not come to its end")

// settled waits until both logs are applied and committed to their ends, and grow
// no more for a while.
func (w *watch) settled(ctx context.Context, limit time.Duration) error {
	var size, quiet int64
	err := until(ctx, limit, "lag 0", func() error {
		p, err := w.look(ctx)
		if err != nil {
			return err
		}
		w.note(p)
		if lag := p.lag(); lag != 0 {
			quiet = 0
			return fmt.Errorf("%w: %d records are not committed", errLag, lag)
		}
		var sum int64
		for _, end := range p.ends {
			sum += end
		}
		if sum != size {
			size, quiet = sum, 0
		}
		if quiet++; quiet < 40 { // looks, 2 s or more: timers are looked at every second
			return fmt.Errorf("%w: the logs have grown of late", errLag)
		}
		return nil
	})
	return err
}
