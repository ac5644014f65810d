package broker_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/creditstream/creditstream/internal/sandbox/broker"
)

const patience = 30 * time.Second

// The test binary is its own child: a broker that can be killed.
const childDir = "CREDITSTREAM_TEST_BROKER_DIR"

func TestMain(m *testing.M) {
	dir := os.Getenv(childDir)
	if dir == "" {
		os.Exit(m.Run()) //nolint:forbidigo // a test's main
	}
	b, err := broker.Start(broker.Options{DataDir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // a test's main
	}
	fmt.Fprintln(os.Stdout, b.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is gone or kills us
	os.Exit(0)                           //nolint:forbidigo // a test's main
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, opts broker.Options) *broker.Broker {
	t.Helper()
	b, err := broker.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func client(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func createTopic(t *testing.T, c *kgo.Client, name string, configs map[string]string) {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
	for k, v := range configs {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = k, &v
		topic.Configs = append(topic.Configs, config)
	}
	req.Topics = append(req.Topics, topic)
	res, err := req.RequestWith(testContext(t), c)
	if err != nil {
		t.Fatal(err)
	}
	if code := res.Topics[0].ErrorCode; code != 0 {
		t.Fatalf("create topic: code %d", code)
	}
}

func consume(t *testing.T, addr, topic string, n int) []*kgo.Record {
	t.Helper()
	c := client(t, addr, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var all []*kgo.Record
	for len(all) < n {
		fetches := c.PollFetches(testContext(t))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		all = append(all, fetches.Records()...)
	}
	return all
}

var logAppendTime = map[string]string{"message.timestamp.type": "LogAppendTime"}

// A client with the newest protocol, topic ids included, sees what Apache Kafka
// would show it.
func TestAppendTime(t *testing.T) {
	t.Parallel()
	clock := time.UnixMilli(1_790_000_000_000)
	step := []time.Duration{0, 5 * time.Millisecond, -time.Hour} // clocks go back
	calls := 0
	b := start(t, broker.Options{Now: func() time.Time {
		calls++
		return clock.Add(step[min(calls, len(step))-1])
	}})
	c := client(t, b.Addr())
	createTopic(t, c, "ours", logAppendTime)
	createTopic(t, c, "theirs", nil)
	want := []int64{1_790_000_000_000, 1_790_000_000_005, 1_790_000_000_005}
	said := time.UnixMilli(1234)
	for i, millis := range want {
		// The client hands back the answer's append time as the record's.
		r := &kgo.Record{Topic: "ours", Value: fmt.Appendf(nil, "%d", i), Timestamp: said}
		if err := c.ProduceSync(testContext(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if got := b.Cluster().PartitionInfo("ours", 0).MaxTimestamp; got != millis {
			t.Errorf("the log has time %d, want %d", got, millis)
		}
	}
	if err := c.ProduceSync(testContext(t), &kgo.Record{Topic: "theirs", Timestamp: said}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for i, r := range consume(t, b.Addr(), "ours", len(want)) {
		if r.Timestamp.UnixMilli() != want[i] || r.Attrs.TimestampType() != 1 {
			t.Errorf("record %d: time %d of type %d", i, r.Timestamp.UnixMilli(), r.Attrs.TimestampType())
		}
	}
	for _, r := range consume(t, b.Addr(), "theirs", 1) {
		if !r.Timestamp.Equal(said) || r.Attrs.TimestampType() != 0 {
			t.Errorf("time %v of type %d", r.Timestamp, r.Attrs.TimestampType())
		}
	}
}

// Produce answers of the newest version, which name topics by id, have the
// append time; a batch that is damaged on its way is refused, not stamped.
func TestProduceAnswers(t *testing.T) {
	t.Parallel()
	const appended = 1_790_000_000_000
	b := start(t, broker.Options{Now: func() time.Time { return time.UnixMilli(appended) }})
	c := client(t, b.Addr())
	createTopic(t, c, "t", logAppendTime)
	if err := c.ProduceSync(testContext(t), &kgo.Record{Topic: "t"}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	batch := fetchRaw(t, c, b.Cluster(), "t")       // attribute bit 3 set, as some producers do
	binary.BigEndian.PutUint64(batch[43:], 1<<64-1) // no producer id: not a repeat
	produce := func() *kmsg.ProduceResponseTopicPartition {
		req := kmsg.NewPtrProduceRequest()
		req.Acks = -1
		topic, partition := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
		topic.Topic, topic.TopicID = "t", b.Cluster().TopicInfo("t").TopicID
		partition.Records = batch
		topic.Partitions = append(topic.Partitions, partition)
		req.Topics = append(req.Topics, topic)
		res, err := req.RequestWith(testContext(t), c)
		if err != nil {
			t.Fatal(err)
		}
		return &res.Topics[0].Partitions[0]
	}
	if p := produce(); p.ErrorCode != kerr.CorruptMessage.Code || p.LogAppendTime != -1 {
		t.Errorf("damaged: %+v", p)
	}
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
	for offset := range int64(3) {
		if p := produce(); p.ErrorCode != 0 || p.BaseOffset != offset+1 || p.LogAppendTime != appended {
			t.Errorf("answer %d: %+v", offset, p)
		}
	}
	for _, r := range consume(t, b.Addr(), "t", 4) {
		if r.Timestamp.UnixMilli() != appended || r.Attrs.TimestampType() != 1 {
			t.Errorf("offset %d: %v", r.Offset, r.Timestamp)
		}
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := broker.Options{DataDir: dir, SyncWrites: true, Now: func() time.Time { return time.UnixMilli(1_790_000_000_000) }}
	b, err := broker.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	addr := b.Addr()
	c := client(t, addr)
	createTopic(t, c, "t", logAppendTime)
	if err := c.ProduceSync(testContext(t), &kgo.Record{Topic: "t", Value: []byte("kept")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.Close()
	opts.Addr = addr // the same port is free again
	again := start(t, opts)
	if again.Addr() != addr {
		t.Errorf("address %s, want %s", again.Addr(), addr)
	}
	r := consume(t, addr, "t", 1)
	if string(r[0].Value) != "kept" || r[0].Timestamp.UnixMilli() != 1_790_000_000_000 || r[0].Attrs.TimestampType() != 1 {
		t.Errorf("got %q at %v", r[0].Value, r[0].Timestamp)
	}
}

// child starts a broker in a process of its own.
func child(t *testing.T, dir string) (addr string, kill func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // ends the child if this process dies
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill() // SIGKILL; it may be dead already
		_ = cmd.Wait()
		_ = stdin.Close()
	}
	t.Cleanup(kill)
	buf := make([]byte, 100)
	n, err := stdout.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(buf[:n])), kill
}

func TestKilled(t *testing.T) {
	t.Parallel()
	const records = 500
	dir := t.TempDir()
	addr, kill := child(t, dir)
	c := client(t, addr, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(50*time.Millisecond))
	createTopic(t, c, "t", logAppendTime)
	for i := range records {
		if err := c.ProduceSync(testContext(t), &kgo.Record{Topic: "t", Value: fmt.Appendf(nil, "%d", i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; n < 100; {
		fetches := c.PollRecords(testContext(t), 100-n)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		n += fetches.NumRecords()
	}
	if err := c.CommitUncommittedOffsets(testContext(t)); err != nil {
		t.Fatal(err)
	}
	kill()
	c.Close()

	b := start(t, broker.Options{DataDir: dir})
	all := consume(t, b.Addr(), "t", records)
	for i, r := range all {
		if string(r.Value) != strconv.Itoa(i) || r.Offset != int64(i) || r.Attrs.TimestampType() != 1 {
			t.Fatalf("record %d: %q at %d", i, r.Value, r.Offset)
		}
	}
	// The group has its offset; the member that died with its connections is
	// not a member any more, so a new one is alone at once.
	info := b.Cluster().GroupInfo("g")
	if info == nil || info.Commits["t"][0].Offset != 100 || len(info.Members) != 0 {
		t.Fatalf("group after the restart: %+v", info)
	}
	next := client(t, b.Addr(), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"))
	fetches := next.PollRecords(testContext(t), 1)
	if err := fetches.Err(); err != nil || fetches.Records()[0].Offset != 100 {
		t.Errorf("resumed at %+v, %v", fetches.Records(), err)
	}
	if err := next.ProduceSync(testContext(t), &kgo.Record{Topic: "t"}).FirstErr(); err != nil {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	b := start(t, broker.Options{Addr: "0.0.0.0:0", Brokers: 3})
	if host, _, err := net.SplitHostPort(b.Addr()); err != nil || host != "127.0.0.1" {
		t.Errorf("address %s", b.Addr())
	}
	named := start(t, broker.Options{Addr: "127.0.0.1:0", AdvertisedHost: "localhost"})
	if !strings.HasPrefix(named.Addr(), "localhost:") {
		t.Errorf("address %s", named.Addr())
	}
	for _, addr := range []string{b.Addr(), named.Addr()} {
		res, err := kmsg.NewPtrMetadataRequest().RequestWith(testContext(t), client(t, addr))
		if err != nil {
			t.Fatal(err)
		}
		told := false
		for _, broker := range res.Brokers {
			told = told || fmt.Sprintf("%s:%d", broker.Host, broker.Port) == addr
		}
		if !told {
			t.Errorf("%s is not among %+v", addr, res.Brokers)
		}
	}
	for _, addr := range []string{"nowhere", "127.0.0.1:http", "127.0.0.1:70000", named.Addr()} {
		if b, err := broker.Start(broker.Options{Addr: addr}); err == nil {
			b.Close()
			t.Errorf("%s was taken", addr)
		}
	}
}

// What the broker works around. The day this fails, kfake stores a valid
// checksum for attribute bit 3, and stamping can be left to it.
func TestKfakeBreaksTheChecksumOfBit3(t *testing.T) {
	t.Parallel()
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		raw := req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records
		raw[22] |= 0x08
		binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
		return nil, nil, false
	})
	c := client(t, cluster.ListenAddrs()[0])
	if err := c.ProduceSync(testContext(t), &kgo.Record{Topic: "t", Timestamp: time.UnixMilli(1)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	raw := fetchRaw(t, c, cluster, "t")
	if binary.BigEndian.Uint32(raw[17:]) == crc32.Checksum(raw[21:], castagnoli) {
		t.Error("the checksum is valid: kfake has changed")
	}
}

// fetchRaw returns the bytes of a topic as the broker sends them.
func fetchRaw(t *testing.T, c *kgo.Client, cluster *kfake.Cluster, name string) []byte {
	t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes = 1 << 20
	topic, partition := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	topic.Topic, topic.TopicID = name, cluster.TopicInfo(name).TopicID
	partition.PartitionMaxBytes = 1 << 20
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	res, err := req.RequestWith(testContext(t), c)
	if err != nil {
		t.Fatal(err)
	}
	raw := res.Topics[0].Partitions[0].RecordBatches
	if len(raw) < 61 {
		t.Fatalf("%d bytes were fetched", len(raw))
	}
	return raw
}
