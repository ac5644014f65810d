package testserver

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/internal/sandbox/redisserver"
)

const slots = 16384

// Cluster is a Redis Cluster of one test's own, to move slots and to end nodes. It
// has no quorum to elect by.
type Cluster struct {
	*Redis

	Nodes []*Node
}

// A Node is a redis-server of a Cluster.
type Node struct {
	*redisserver.Server
	*redis.Client // asks this node alone

	ID  string
	bus int
}

// NewCluster starts masters that share the slots evenly, and replicas of the first
// of them, one of each. Nodes has the masters first.
func NewCluster(tb testing.TB, masters, replicas int) *Cluster {
	tb.Helper()
	// A slot moves on only after a call has been refused: no use in waiting to repeat it.
	c := &Cluster{Redis: &Redis{tb: tb, opt: redis.UniversalOptions{MinRetryBackoff: -1, MaxRetryBackoff: -1}}}
	nodes := masters + replicas
	for range nodes {
		c.Nodes = append(c.Nodes, startNode(tb))
	}
	for i, n := range c.Nodes {
		c.opt.Addrs = append(c.opt.Addrs, n.Addr())
		if i < masters {
			must(tb, n.ClusterAddSlotsRange(tb.Context(), i*slots/masters, (i+1)*slots/masters-1).Err())
		}
		host, port, _ := strings.Cut(n.Addr(), ":")
		must(tb, c.Nodes[0].Do(tb.Context(), "cluster", "meet", host, port, n.bus).Err())
	}
	for i, n := range c.Nodes {
		c.settle(n, "cluster_state:ok", "cluster_known_nodes:"+strconv.Itoa(nodes))
		if i >= masters {
			must(tb, n.ClusterReplicate(tb.Context(), c.Nodes[i-masters].ID).Err())
		}
	}
	for _, n := range c.Nodes[masters:] {
		Until(tb, "a replica that is in step", func() error {
			return says(n.Info(tb.Context(), "replication"), "master_link_status:up")
		})
	}
	c.connect()
	return c
}

func startNode(tb testing.TB) *Node {
	tb.Helper()
	bus, err := redisserver.FreePort(tb.Context())
	must(tb, err)
	dir := tb.TempDir()
	s, err := redisserver.Start(tb.Context(), redisserver.Options{Dir: dir, Args: []string{
		"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-config-file", filepath.Join(dir, "nodes.conf"),
		"--repl-diskless-sync-delay", "0",
	}})
	if err != nil {
		tb.Fatalf("tests of money need a redis-server: %v", err)
	}
	tb.Cleanup(s.Kill)
	n := &Node{Server: s, Client: redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1}), bus: bus}
	tb.Cleanup(func() { _ = n.Close() })
	n.ID, err = n.ClusterMyID(tb.Context()).Result()
	must(tb, err)
	return n
}

// settle waits until a node says all of some lines of itself.
func (c *Cluster) settle(n *Node, lines ...string) {
	c.tb.Helper()
	for _, line := range lines {
		Until(c.tb, "a cluster that is whole", func() error { return says(n.ClusterInfo(c.tb.Context()), line) })
	}
}

var errSays = errors.New("it says otherwise")

func says(c *redis.StringCmd, line string) error {
	text, err := c.Result()
	if err == nil && !strings.Contains(text, line) {
		err = fmt.Errorf("%w than %s: %s", errSays, line, text)
	}
	return err
}

// Until polls done until it returns nil, and fails the test with its last error
// after a while.
func Until(tb testing.TB, what string, done func() error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := done()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("%s: not within %s: %v", what, patience, err)
		}
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
