package testserver

import (
	"cmp"
	"context"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	dockerapi "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/creditstream/creditstream/internal/sandbox/redisserver"
)

const (
	kafkaImageEnv = "CREDITSTREAM_KAFKA_IMAGE"
	redisImageEnv = "CREDITSTREAM_REDIS_IMAGE"
	kafkaImage    = "apache/kafka:4.4.0"
	redisImage    = "redis:7.0"

	// startTime bounds the start of a container; a first pull is the longest part.
	startTime = 5 * time.Minute
)

// Containers of this process, started when a test first needs one.
//
//nolint:gochecknoglobals // as shared
var (
	kafkaContainer = sync.OnceValues(startKafkaContainer)
	redisContainer = sync.OnceValues(startRedisContainer)
)

func startRedisContainer() (addr string, err error) {
	const port = "6379/tcp"
	ctx, cancel := context.WithTimeout(context.Background(), startTime) //nolint:forbidigo // it outlives the test
	defer cancel()
	c, err := testcontainers.Run(ctx, chosen().redisImage,
		testcontainers.WithExposedPorts(port),
		testcontainers.WithCmd("redis-server", "--appendonly", "yes", "--save", "", "--protected-mode", "no"),
		testcontainers.WithWaitStrategy(wait.ForLog("Ready to accept connections")),
	)
	shared.atEnd(func() { _ = testcontainers.TerminateContainer(c) })
	if err != nil {
		return "", err
	}
	return c.PortEndpoint(ctx, port, "")
}

// startKafkaContainer starts one broker. Which address it tells its clients must be
// known before it starts, so its port on the host is chosen here.
func startKafkaContainer() (addr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTime) //nolint:forbidigo // it outlives the test
	defer cancel()
	docker, err := testcontainers.NewDockerProvider()
	if err != nil {
		return "", err
	}
	defer func() { _ = docker.Close() }()
	host, err := docker.DaemonHost(ctx)
	if err != nil {
		return "", err
	}
	port, err := redisserver.FreePort(ctx)
	if err != nil {
		return "", err
	}
	addr = net.JoinHostPort(host, strconv.Itoa(port))
	inside := network.MustParsePort("9092/tcp")
	c, err := testcontainers.Run(ctx, chosen().kafkaImage,
		testcontainers.WithExposedPorts(inside.String()),
		testcontainers.WithHostConfigModifier(func(h *dockerapi.HostConfig) {
			h.PortBindings = network.PortMap{inside: {{HostPort: strconv.Itoa(port)}}}
		}),
		testcontainers.WithEnv(map[string]string{
			"KAFKA_NODE_ID":                   "1",
			"KAFKA_PROCESS_ROLES":             "broker,controller",
			"KAFKA_CONTROLLER_QUORUM_VOTERS":  "1@localhost:9093",
			"KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
			// The broker reaches itself too, for transactions: not by the host's port.
			"KAFKA_LISTENERS":                      "PLAINTEXT://:9092,CONTROLLER://:9093,SELF://:9094",
			"KAFKA_ADVERTISED_LISTENERS":           "PLAINTEXT://" + addr + ",SELF://localhost:9094",
			"KAFKA_INTER_BROKER_LISTENER_NAME":     "SELF",
			"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SELF:PLAINTEXT",
			// as deploy/local/kafka has them
			"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR":                 "1",
			"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR":         "1",
			"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR":                    "1",
			"KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
			"KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR":            "1",
			"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS":                 "0",
			"KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS":                     "1000",
			"KAFKA_AUTO_CREATE_TOPICS_ENABLE":                        "false",
		}),
		testcontainers.WithWaitStrategy(wait.ForLog("Kafka Server started").WithStartupTimeout(startTime)),
	)
	shared.atEnd(func() { _ = testcontainers.TerminateContainer(c) })
	return addr, err
}

// image returns the image that an environment variable names, or else.
func image(env, or string) string {
	name := os.Getenv(env)
	_ = os.Unsetenv(env)
	return cmp.Or(name, or)
}
