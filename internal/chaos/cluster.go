package chaos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// A member is a node as the cluster sees it.
type member struct {
	*node

	id, master string // master is empty for one
	well       bool
}

// redisClient talks to the cluster past the proxies.
func (s *servers) redisClient() *redis.ClusterClient {
	direct := map[string]string{}
	for i := range s.nodes {
		direct[s.nodes[i].proxy.ln.Addr().String()] = s.nodes[i].addr()
	}
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: inside(s.nodes), MaxRedirects: 8,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if to := direct[addr]; to != "" {
				addr = to
			}
			return (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, network, addr)
		},
	})
}

// on runs a command on one node.
func (n *node) on(ctx context.Context, args ...any) (string, error) {
	c := redis.NewClient(&redis.Options{Addr: n.addr(), MaxRetries: -1, DialTimeout: time.Second})
	defer func() { _ = c.Close() }()
	v, err := c.Do(ctx, args...).Result()
	return fmt.Sprint(v), err
}

// members returns the nodes as one of them sees all.
func (s *servers) members(ctx context.Context) ([]member, error) {
	var text string
	var err error
	for i := range s.nodes {
		if text, err = s.nodes[i].on(ctx, "cluster", "nodes"); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("no node of Redis answers: %w", err)
	}
	var out []member
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		addr, _, _ := strings.Cut(f[1], "@")
		i := slices.IndexFunc(s.nodes, func(n node) bool { return n.proxy.ln.Addr().String() == addr })
		if i < 0 {
			return nil, fmt.Errorf("the cluster has a node at %s, which is none of ours", addr)
		}
		m := member{node: &s.nodes[i], id: f[0], well: !strings.Contains(f[2], "fail") && f[7] == "connected"}
		if f[3] != "-" {
			m.master = f[3]
		}
		out = append(out, m)
	}
	return out, nil
}

// pair picks a master that has a replica, and that replica, once all is well.
func (s *servers) pair(ctx context.Context, n int) (master, replica member, err error) {
	err = until(ctx, time.Minute, "a whole Redis Cluster", func() error {
		all, err := s.members(ctx)
		if err != nil {
			return err
		}
		var pairs [][2]member
		for _, m := range all {
			if !m.well {
				return fmt.Errorf("node %d is not well", m.port)
			}
			i := slices.IndexFunc(all, func(r member) bool { return r.master == m.id })
			if m.master == "" && i >= 0 {
				if err := inStep(ctx, all[i]); err != nil {
					return err
				}
				pairs = append(pairs, [2]member{m, all[i]})
			}
		}
		if len(pairs) != 3 {
			return fmt.Errorf("%d masters have a replica, 3 are expected", len(pairs))
		}
		slices.SortFunc(pairs, func(a, b [2]member) int { return a[0].port - b[0].port })
		master, replica = pairs[n%3][0], pairs[n%3][1]
		return nil
	})
	return master, replica, err
}

// inStep returns nil when a replica gets what its master writes.
func inStep(ctx context.Context, r member) error {
	info, err := r.on(ctx, "info", "replication")
	if err == nil && !strings.Contains(info, "master_link_status:up") {
		err = fmt.Errorf("replica %d has no link to its master", r.port)
	}
	return err
}

// startNode starts a node that was killed.
func (s *servers) startNode(ctx context.Context, n *node) error {
	// it ends with the harness's stop, not with ctx
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "redis-server", filepath.Join(n.dir, "redis.conf")) //nolint:gosec // our own file
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("start the node of port %d: %w: %s", n.port, err, out)
	}
	return until(ctx, 30*time.Second, "the node of port "+strconv.Itoa(n.port), func() error {
		_, err := n.on(ctx, "ping")
		return err
	})
}

// redisKill kills a master and starts it at once: the page cache keeps its file.
func (s *servers) redisKill(ctx context.Context, f *Fault) (string, error) {
	m, _, err := s.pair(ctx, f.of(0, 3))
	if err != nil {
		return "", err
	}
	if err := m.kill(ctx); err != nil {
		return "", err
	}
	down := f.between(1, 0, 4*time.Second) // longer than the node timeout of 2 s: its replica takes over
	if err := sleep(ctx, down); err != nil {
		return "", err
	}
	return fmt.Sprintf("master %d, down %s", m.port, down.Round(time.Millisecond)), s.startNode(ctx, m.node)
}

// aofCut kills a master and its replica and takes the end of the master's file:
// what it had acknowledged is gone.
func (s *servers) aofCut(ctx context.Context, f *Fault) (string, error) {
	m, r, err := s.pair(ctx, f.of(0, 3))
	if err != nil {
		return "", err
	}
	if err := errors.Join(r.kill(ctx), m.kill(ctx)); err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(m.dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("no append-only file in %s: %w", m.dir, err)
	}
	slices.SortFunc(files, func(a, b string) int { return aofNumber(a) - aofNumber(b) })
	last := files[len(files)-1]
	info, err := os.Stat(last)
	if err != nil {
		return "", err
	}
	cut := min(int64(1+f.of(1, 256<<10)), info.Size()/2)
	if err := os.Truncate(last, info.Size()-cut); err != nil {
		return "", err
	}
	if err := s.startNode(ctx, m.node); err != nil { // first: its replica must not be elected
		return "", err
	}
	return fmt.Sprintf("master %d, %d bytes gone", m.port, cut), s.startNode(ctx, r.node)
}

// aofNumber is the sequence in appendonly.aof.<n>.incr.aof.
func aofNumber(path string) int {
	f := strings.Split(filepath.Base(path), ".")
	n, err := strconv.Atoi(f[len(f)-3])
	if err != nil {
		return -1
	}
	return n
}

var errNothingLost = errors.New("the master wrote nothing that its replica does not have")

// failover lets a master write what its replica does not get, then kills it; the
// replica is elected.
func (s *servers) failover(ctx context.Context, f *Fault) (string, error) {
	m, r, err := s.pair(ctx, f.of(0, 3))
	if err != nil {
		return "", err
	}
	var before, after string
	for try := 1; ; try++ {
		if before, after, err = alone(ctx, m, r, f.between(1, 300*time.Millisecond, 1300*time.Millisecond)); err != nil {
			return "", errors.Join(err, r.signal(syscall.SIGCONT))
		}
		if replOffset(after) > replOffset(before) {
			break
		}
		if try == 5 {
			return "", errors.Join(errNothingLost, r.signal(syscall.SIGCONT))
		}
		if err := errors.Join(r.signal(syscall.SIGCONT), sleep(ctx, time.Second)); err != nil {
			return "", err
		}
	}
	if err := errors.Join(m.kill(ctx), r.signal(syscall.SIGCONT)); err != nil {
		return "", err
	}
	err = until(ctx, 30*time.Second, "an election", func() error {
		role, err := r.on(ctx, "role")
		if err == nil && !strings.HasPrefix(role, "[master") {
			err = errors.New("the replica is one still")
		}
		return err
	})
	lost := replOffset(after) - replOffset(before)
	return fmt.Sprintf("master %d, replica %d elected, %d bytes of writes lost", m.port, r.port, lost), errors.Join(err, s.startNode(ctx, m.node))
}

// alone has a master write for a while without its replica, which is stopped.
func alone(ctx context.Context, m, r member, least time.Duration) (before, after string, err error) {
	if err := r.signal(syscall.SIGSTOP); err != nil {
		return "", "", err
	}
	if before, err = m.on(ctx, "info", "replication"); err != nil {
		return "", "", err
	}
	if _, err = m.on(ctx, "client", "kill", "type", "replica"); err != nil {
		return "", "", err
	}
	after, err = writes(ctx, m, replOffset(before), least)
	return before, after, err
}

// writes waits at least a while, and until a master has written more than an
// offset, but less long than the node timeout; it returns what the master says of
// its replication.
func writes(ctx context.Context, m member, offset int64, least time.Duration) (info string, err error) {
	const step, most = 50 * time.Millisecond, 1700 * time.Millisecond
	for waited := time.Duration(0); waited < most && (waited < least || replOffset(info) <= offset); waited += step {
		if err := sleep(ctx, step); err != nil {
			return "", err
		}
		if info, err = m.on(ctx, "info", "replication"); err != nil {
			return "", err
		}
	}
	return info, nil
}

func replOffset(info string) int64 {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "master_repl_offset:"); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// backup copies the files of all nodes, each as it is at some moment.
func (s *servers) backup(ctx context.Context) error {
	if _, _, err := s.pair(ctx, 0); err != nil {
		return err
	}
	to := filepath.Join(s.dir, "backup")
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	all, err := s.members(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		dir := filepath.Join(to, strconv.Itoa(m.port))
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
		err := copyFile(m.dir, dir, "nodes.conf")
		if err == nil && m.master == "" {
			err = copyAOF(ctx, m, filepath.Join(dir, "appendonlydir"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to, name string) error {
	b, err := fs.ReadFile(os.DirFS(from), name)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, name), b, 0o600)
}

// copyAOF copies the append-only files of a node that goes on writing them: it
// must not write them anew meanwhile.
func copyAOF(ctx context.Context, m member, to string) error {
	if _, err := m.on(ctx, "config", "set", "auto-aof-rewrite-percentage", "0"); err != nil {
		return err
	}
	err := until(ctx, 30*time.Second, "the end of a rewrite", func() error {
		info, err := m.on(ctx, "info", "persistence")
		if err == nil && !strings.Contains(info, "aof_rewrite_in_progress:0") {
			err = errors.New("a rewrite goes on")
		}
		return err
	})
	if err == nil {
		err = os.CopyFS(to, os.DirFS(filepath.Join(m.dir, "appendonlydir")))
	}
	_, err2 := m.on(ctx, "config", "set", "auto-aof-rewrite-percentage", "100")
	return errors.Join(err, err2)
}

// restore puts the copy in the place of what all nodes have.
func (s *servers) restore(ctx context.Context) (string, error) {
	if _, _, err := s.pair(ctx, 0); err != nil {
		return "", err
	}
	info, err := os.Stat(filepath.Join(s.dir, "backup"))
	if err != nil {
		return "", err
	}
	for i := range s.nodes {
		if err := s.nodes[i].kill(ctx); err != nil {
			return "", err
		}
	}
	for i := range s.nodes {
		n := &s.nodes[i]
		copied := filepath.Join(s.dir, "backup", strconv.Itoa(n.port))
		err := errors.Join(os.RemoveAll(filepath.Join(n.dir, "appendonlydir")), os.Remove(filepath.Join(n.dir, "nodes.conf")))
		if err == nil {
			err = os.CopyFS(n.dir, os.DirFS(copied))
		}
		if err != nil {
			return "", err
		}
	}
	for i := range s.nodes {
		if err := s.startNode(ctx, &s.nodes[i]); err != nil {
			return "", err
		}
	}
	_, _, err = s.pair(ctx, 0)
	return fmt.Sprintf("all nodes, a copy of %s ago", s.now().Sub(info.ModTime()).Round(time.Second)), err
}
