package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// servers are a real Kafka and a real Redis Cluster, started by the scripts of
// deploy/local, with a proxy in front of every node.
type servers struct {
	root string // of the repository
	dir  string
	now  func() time.Time

	brokers []node
	nodes   []node // of Redis
	args    []string
	pairs   []string
}

// A node is one server. Processors reach it at the address of its proxy, the
// harness at port.
type node struct {
	dir   string
	port  int
	proxy *proxy
}

func (n *node) addr() string { return local(n.port) }

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// pid returns the process of the node.
func (n *node) pid() (int, error) {
	b, err := os.ReadFile(filepath.Join(n.dir, "pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

func (n *node) signal(sig syscall.Signal) error {
	pid, err := n.pid()
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, sig); err != nil {
		return fmt.Errorf("signal %s to %s: %w", sig, n.dir, err)
	}
	return nil
}

// kill ends the node at once and waits until its port is free.
func (n *node) kill(ctx context.Context) error {
	if err := n.signal(syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return until(ctx, 10*time.Second, "end of "+n.dir, func() error {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", n.addr())
		if err == nil {
			_ = c.Close()
			return errors.New("it still answers")
		}
		return nil
	})
}

// gone returns nil when a process has ended, whether or not somebody has waited
// for it.
func gone(pid int) error {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil || bytes.Contains(stat, []byte(") Z ")) {
		return nil //nolint:nilerr // no such process
	}
	return fmt.Errorf("process %d still runs", pid)
}

// until polls done every 50 ms until it returns nil; after limit its last error
// is returned.
func until(ctx context.Context, limit time.Duration, what string, done func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := done()
		if err == nil {
			return nil
		}
		if sleep(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("%s: not within %s: %w", what, limit, err)
		}
	}
}

// freePorts returns ports that nobody listens on, with room for the ports of
// Redis Cluster's bus above them.
func freePorts(ctx context.Context, n int) ([]int, error) {
	var out []int
	taken := map[int]bool{}
	for range 100 * n {
		port := 11_000 + rand.IntN(10_000) //nolint:gosec // spreads choices, protects nothing
		if taken[port] {
			continue
		}
		taken[port] = true
		free := true
		for _, p := range []int{port, port + 10_000} {
			ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", local(p))
			if err != nil {
				free = false
				continue
			}
			_ = ln.Close()
		}
		if free {
			if out = append(out, port); len(out) == n {
				return out, nil
			}
		}
	}
	return nil, fmt.Errorf("%d free ports are needed from 11000 to 20999, found %d", n, len(out))
}

// startServers starts what a run needs; stop ends it.
func startServers(ctx context.Context, root, dir string, brokers int, now func() time.Time) (*servers, error) {
	s := &servers{root: root, dir: dir, now: now}
	const perBroker, perNode, nodes = 4, 2, 6
	ports, err := freePorts(ctx, perBroker*brokers+perNode*nodes)
	if err != nil {
		return nil, err
	}
	for i := range brokers {
		p := ports[perBroker*i:]
		s.pairs = append(s.pairs, fmt.Sprintf("%d:%d:%d:%d", p[0], p[1], p[2], p[3]))
		n := node{dir: filepath.Join(dir, "kafka", strconv.Itoa(i+1)), port: p[0]}
		if n.proxy, err = newProxy(ctx, local(p[3]), local(p[2]), now); err != nil {
			return s, err
		}
		s.brokers = append(s.brokers, n)
	}
	for i := range nodes {
		p := ports[perBroker*brokers+perNode*i:]
		s.args = append(s.args, fmt.Sprintf("%d:%d", p[0], p[1]))
		n := node{dir: filepath.Join(dir, "redis", strconv.Itoa(p[0])), port: p[0]}
		if n.proxy, err = newProxy(ctx, local(p[1]), local(p[0]), now); err != nil {
			return s, err
		}
		s.nodes = append(s.nodes, n)
	}
	kafka := make(chan error, 1)
	go func() { kafka <- s.startKafka(ctx) }()
	err = s.startRedis(ctx)
	return s, errors.Join(err, <-kafka)
}

func (s *servers) stop(ctx context.Context) {
	_ = s.script(ctx, "kafka/kafka", "stop", filepath.Join(s.dir, "kafka"))
	_ = s.script(ctx, "redis-cluster", "stop", filepath.Join(s.dir, "redis"))
	for _, n := range append(s.brokers, s.nodes...) {
		n.proxy.close()
	}
}

func (s *servers) startKafka(ctx context.Context) error {
	return s.script(ctx, "kafka/kafka", append([]string{"start", filepath.Join(s.dir, "kafka")}, s.pairs...)...)
}

func (s *servers) startRedis(ctx context.Context) error {
	return s.script(ctx, "redis-cluster", append([]string{"start", filepath.Join(s.dir, "redis")}, s.args...)...)
}

// script runs one of deploy/local. The servers that it leaves running must not
// hold its output open, so that goes to a file.
func (s *servers) script(ctx context.Context, name string, args ...string) error {
	log, err := os.CreateTemp(s.dir, "script-*.log")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, filepath.Join(s.root, "deploy/local", name), args...) //nolint:gosec // a script of ours
	cmd.Stdout, cmd.Stderr = log, log
	// Ctrl-C ends the harness, which then stops its servers: they must not end before.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s %s: %w: %s", name, args[0], err, bytes.TrimSpace(said))
	}
	return nil
}

// outside are the addresses that processors start from.
func outside(nodes []node) string {
	out := make([]string, len(nodes))
	for i := range nodes {
		out[i] = nodes[i].proxy.ln.Addr().String()
	}
	return strings.Join(out, ",")
}

// inside are the addresses of the harness.
func inside(nodes []node) []string {
	out := make([]string, len(nodes))
	for i := range nodes {
		out[i] = nodes[i].addr()
	}
	return out
}
