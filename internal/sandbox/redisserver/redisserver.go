// Package redisserver runs a redis-server child process: for the sandbox, and for
// tests of everything that touches money.
//
// The child keeps an append-only file in its directory, so that a server started
// again with the same directory goes on where it stopped. It dies with its parent
// (on Linux also when the parent is killed with SIGKILL).
package redisserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
)

// ErrNotFound means that no redis-server is on PATH.
var ErrNotFound = errors.New("no redis-server on PATH: install it (Debian: apt-get install redis-server; Fedora: dnf install redis; macOS: brew install redis)")

// Options of a server.
type Options struct {
	Dir  string   // data directory, created if missing
	Port int      // 0: a free one
	Args []string // further settings, as on the command line: "--name", "value"
}

// A Server is a running redis-server on loopback.
type Server struct {
	opt  Options
	port int
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; read after done
	log  string
}

// Find returns the path of redis-server, or ErrNotFound.
func Find() (string, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return "", ErrNotFound
	}
	return path, nil
}

// Start starts a server and returns when it answers.
func Start(ctx context.Context, opt Options) (*Server, error) {
	path, err := Find()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(opt.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("redis-server: %w", err)
	}
	s := &Server{opt: opt, port: opt.Port, done: make(chan struct{}), log: filepath.Join(opt.Dir, "redis.log")}
	if s.port == 0 {
		if s.port, err = FreePort(ctx); err != nil {
			return nil, err
		}
	}
	args := []string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", opt.Dir, "--logfile", s.log,
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
		"--maxmemory-policy", "noeviction",
		// ids of CDRs stay intsets, account hashes stay listpacks: see deploy/redis.conf
		"--set-max-intset-entries", "100000", "--hash-max-listpack-value", "256",
	}
	s.cmd = exec.Command(path, append(args, opt.Args...)...) //nolint:gosec,noctx // our own arguments; it outlives ctx
	s.cmd.SysProcAttr = dieWithParent()
	started := make(chan error)
	go s.own(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("redis-server: %w", err)
	}
	if err := s.await(ctx); err != nil {
		s.Kill()
		return nil, err
	}
	return s, nil
}

// own starts the process and waits for it. The kernel ties "dies with its parent"
// to the thread that started the child, so that thread must last as long.
func (s *Server) own(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := s.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	s.err = s.cmd.Wait()
	close(s.done)
}

func (s *Server) await(ctx context.Context) error {
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1})
	defer func() { _ = rdb.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := rdb.Ping(ctx).Err()
		if err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("redis-server on port %d ended at once: %w; its log %s says: %s", s.port, s.err, s.log, lastLine(s.log))
		case <-ctx.Done():
			return fmt.Errorf("redis-server on port %d does not answer: %w; its log is %s", s.port, err, s.log)
		case <-tick.C:
		}
	}
}

// Client returns a client of one database of the server, set up as balances need
// it. The caller closes it.
func (s *Server) Client(db int) redis.UniversalClient {
	return balance.Client(&redis.UniversalOptions{Addrs: []string{s.Addr()}, DB: db})
}

// Addr is where the server listens.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// ClientOptions are what a client needs to reach the server.
func (s *Server) ClientOptions() *redis.UniversalOptions {
	return &redis.UniversalOptions{Addrs: []string{s.Addr()}}
}

// Dir is the server's data directory.
func (s *Server) Dir() string { return s.opt.Dir }

// Done is closed when the process has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop ends the server, which writes its data first, and waits.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server at once, as a crash does, and waits.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) {
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// FreePort returns a port of the loopback that nobody listens on, below those that the kernel
// gives to outgoing connections: one of these could take it before the child does.
func FreePort(ctx context.Context) (int, error) {
	const first, count, tries = 20_000, 12_000, 100
	var err error
	for range tries {
		port := first + rand.IntN(count) //nolint:gosec // spreads choices, protects nothing
		var l net.Listener
		if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

func lastLine(path string) string {
	b, err := os.ReadFile(path) //nolint:gosec // our own log file
	if err != nil {
		return err.Error()
	}
	last := ""
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		last = sc.Text()
	}
	return last
}
