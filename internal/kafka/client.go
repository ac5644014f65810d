package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

const (
	// requestTimeout bounds one request beyond the time that it asks the broker
	// to wait. kafka-go has no bound of its own: without it a broker that
	// vanishes without a reset would hold a caller for ever.
	requestTimeout = 10 * time.Second
	// dialTimeout bounds TCP, version negotiation and, later, TLS and SASL.
	dialTimeout = 5 * time.Second
	// idleTimeout closes unused connections well before the ten minutes after
	// which brokers close them (connections.max.idle.ms), so that a request
	// seldom meets a connection that is already closed.
	idleTimeout = time.Minute
	// metadataTTL bounds how long a leader change stays unseen: kafka-go routes
	// by cached metadata, offers no refresh, and refreshes at a random time
	// below this. It is also its deadline for the metadata request, hence not
	// shorter.
	metadataTTL = 3 * time.Second
)

// ErrClosed is returned by every call on a closed Client.
var ErrClosed = errors.New("kafka client is closed")

// TopicPartition names one partition of a topic.
type TopicPartition struct {
	Topic     string
	Partition int
}

// String returns topic/partition.
func (tp TopicPartition) String() string {
	return fmt.Sprintf("%s/%d", tp.Topic, tp.Partition)
}

// Config says how to reach a cluster.
type Config struct {
	// Brokers are host:port addresses to start from; at least one.
	Brokers []string
	// ClientID is shown in the logs and quotas of the brokers.
	ClientID string
	// Dial opens connections, for tests and tunnels. Default: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Logger takes retries and group changes. Default: none.
	Logger *slog.Logger
	// Now is the time of written records until a broker replaces it. Default:
	// the wall clock.
	Now func() time.Time
	// OnAppend, if set, is told after each write to a topic with LogAppendTime how
	// far the broker's clock is ahead of Now (below zero: behind) beyond what the
	// round trip explains. It is called from several goroutines.
	OnAppend func(ahead time.Duration)
}

// Client talks to one Kafka cluster. It is safe for concurrent use.
type Client struct {
	cfg       Config
	addr      net.Addr
	transport *kafka.Transport
	codecs    *codecs
	closed    atomic.Bool
}

// New returns a client of the cluster that cfg names. It does not connect:
// an unreachable cluster shows as Temporary errors of the calls.
func New(cfg Config) (*Client, error) {
	if len(cfg.Brokers) == 0 || slices.Contains(cfg.Brokers, "") {
		return nil, errors.New("kafka: no broker address")
	}
	for _, broker := range cfg.Brokers {
		if _, _, err := net.SplitHostPort(broker); err != nil {
			return nil, fmt.Errorf("kafka: broker address %q: %w", broker, err)
		}
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // the default of the injected clock
	}
	codecs, err := newCodecs()
	if err != nil {
		return nil, fmt.Errorf("kafka: set up decompression: %w", err)
	}
	return &Client{
		cfg:  cfg,
		addr: kafka.TCP(cfg.Brokers...),
		transport: &kafka.Transport{
			Dial:        cfg.Dial,
			DialTimeout: dialTimeout,
			IdleTimeout: idleTimeout,
			MetadataTTL: metadataTTL,
			ClientID:    cfg.ClientID,
		},
		codecs: codecs,
	}, nil
}

// Close ends the client's connections; calls under way finish or fail.
func (c *Client) Close() {
	if !c.closed.Swap(true) {
		c.transport.CloseIdleConnections()
	}
}

// roundTrip sends one request and waits for its answer for no longer than
// timeout.
func (c *Client) roundTrip(ctx context.Context, timeout time.Duration, req protocol.Message) (protocol.Message, error) {
	if c.closed.Load() {
		return nil, ErrClosed
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	res, err := c.transport.RoundTrip(bounded, c.addr, req)
	switch {
	case err == nil:
		return res, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case bounded.Err() != nil:
		// Not context.DeadlineExceeded: that would look like the caller's own.
		return nil, fmt.Errorf("no answer within %s: %w", timeout, os.ErrDeadlineExceeded)
	case errors.Is(err, protocol.ErrNoTopic):
		// Before the first metadata answer kafka-go knows no topic at all and
		// says so even if no broker can be reached: ask it for the reason.
		_, metaErr := c.transport.RoundTrip(bounded, c.addr, new(metadata.Request))
		if metaErr != nil {
			err = metaErr
		}
	}
	return nil, late(ctx, err)
}

// late makes a deadline that is kafka-go's own, and not the caller's, one that is
// not taken for it: that of its request for metadata, which it also tells those
// who ask while it waits for the next, and the Timeout of its client.
func late(ctx context.Context, err error) error {
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer from the cluster in time: %w", os.ErrDeadlineExceeded)
	}
	return err
}

// metadata returns what is known of the named topics, at most metadataTTL old,
// in their order. Topics that do not exist have an error code.
func (c *Client) metadata(ctx context.Context, topics ...string) ([]metadata.ResponseTopic, error) {
	m, err := c.roundTrip(ctx, requestTimeout, &metadata.Request{TopicNames: topics})
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	res, ok := m.(*metadata.Response)
	if !ok || len(res.Topics) != len(topics) {
		return nil, fmt.Errorf("read metadata: unexpected answer %T", m)
	}
	return res.Topics, nil
}

// partitions returns the number of partitions of a topic.
func (c *Client) partitions(ctx context.Context, topic string) (int, error) {
	topics, err := c.metadata(ctx, topic)
	if err != nil {
		return 0, err
	}
	if code := topics[0].ErrorCode; code != 0 {
		return 0, fmt.Errorf("topic %s: %w", topic, kafka.Error(code))
	}
	if len(topics[0].Partitions) == 0 {
		return 0, fmt.Errorf("topic %s: %w", topic, kafka.UnknownTopicOrPartition)
	}
	return len(topics[0].Partitions), nil
}

// codeError returns the error for a code of Kafka, or nil for none.
func codeError(code int16, message string) error {
	switch {
	case code == 0:
		return nil
	case message == "":
		return kafka.Error(code)
	}
	return fmt.Errorf("%w: %s", kafka.Error(code), message)
}

// wirePartition returns a partition number as the protocol has it. Numbers that
// cannot exist become -1, which no broker knows.
func wirePartition(partition int) int32 {
	if partition < 0 || partition > math.MaxInt32 {
		return -1
	}
	return int32(partition)
}

// wireSize returns a count of bytes as the protocol has it, at most
// maxAnswerBytes.
func wireSize(n int) int32 {
	return int32(min(max(n, 0), maxAnswerBytes))
}

// wireMillis returns d in milliseconds as the protocol has it, from 0 to about
// 24 days.
func wireMillis(d time.Duration) int32 {
	return int32(min(max(d.Milliseconds(), 0), math.MaxInt32))
}
