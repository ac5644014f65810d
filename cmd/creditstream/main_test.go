package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

// What tests of the whole command share: the binary, processes, waiting.

var update = flag.Bool("update", false, "write the golden files anew")

// builtVersion is what the tested binary was told to be.
const builtVersion = "v0.0.0-test"

// binary is the built command.
var binary string

// testToken may do everything, where tokenFile is the file of tokens.
var testToken, tokenFile string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "creditstream-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "creditstream")
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-X main.version="+builtVersion, "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the command: %v\n%s", err, out)
		return 1
	}
	secret, line, err := auth.NewToken("test", auth.Admin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	testToken, tokenFile = secret, filepath.Join(dir, "tokens")
	if err := os.WriteFile(tokenFile, []byte(line+"\n"), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return testserver.Run(m)
}

// await polls done until it returns nil; the test fails with its last error when
// that takes longer than limit.
func await(tb testing.TB, limit time.Duration, what string, done func() error) {
	tb.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := done()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			tb.Fatalf("%s: not within %s: %v", what, limit, err)
		case <-tick.C:
		}
	}
}

// freeAddr returns a host:port of the loopback that nobody listens on, and that no
// other call has returned; below the ports that the kernel gives to outgoing
// connections, which could take it before its user does.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	for {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(10_000)))
		if _, taken := handedOut.LoadOrStore(addr, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
}

var handedOut sync.Map // addresses that freeAddr has returned

// output collects what a process writes. It is safe for concurrent use.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// process is a running command.
type process struct {
	cmd    *exec.Cmd
	out    output // stdout and stderr
	exited chan struct{}
}

// start runs the binary with args and, after the test's own, the environment env.
// The process is killed when the test ends, if it still runs, and then its output
// is logged if the test has failed.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary, args...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.Env = append(os.Environ(), env...)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // ProcessState tells
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("creditstream %s:\n%s", strings.Join(args, " "), p.out.String())
		}
	})
	return p
}

// signal sends sig; the process may be gone already.
func (p *process) signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) }

// kill ends the process with SIGKILL and waits for its end.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// wait waits for the process to end by itself and returns its exit code.
func (p *process) wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(limit):
		t.Fatalf("creditstream still runs after %s", limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop interrupts the process as Ctrl-C does; it must end with code 0 within 10 s.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.signal(os.Interrupt)
	if code := p.wait(t, 10*time.Second); code != 0 {
		t.Errorf("exit code %d after an interrupt", code)
	}
}

// sandboxProcess is a running sandbox.
type sandboxProcess struct {
	*process

	http  string // http://host:port
	kafka string // host:port
	dir   string
}

// startSandbox starts a sandbox on free ports with the data directory dir and
// returns when it is ready. It simulates nothing. More arguments may be given.
func startSandbox(t *testing.T, dir string, more ...string) *sandboxProcess {
	t.Helper()
	s := &sandboxProcess{kafka: freeAddr(t), dir: dir}
	addr := freeAddr(t)
	s.http = "http://" + addr
	args := []string{"sandbox", "--http", addr, "--kafka", s.kafka, "--data-dir", dir, "--simulate=false"}
	s.process = start(t, nil, append(args, more...)...)
	awaitReady(t, s.process, s.http)
	return s
}

// awaitReady waits until p answers /readyz with 200.
func awaitReady(t *testing.T, p *process, url string) {
	t.Helper()
	await(t, 30*time.Second, "readiness of "+url, func() error {
		select {
		case <-p.exited:
			t.Fatalf("the process has ended: %s", p.out.String())
		default:
		}
		code, body, err := request(t, http.MethodGet, url+"/readyz", nil, "")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
}

// request sends a request with a JSON body, if any, and returns the answer.
func request(t *testing.T, method, url string, header http.Header, body string) (code int, answer string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	maps.Copy(req.Header, header)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// must is request for answers that have to be 200.
func must(t *testing.T, method, url string, header http.Header, body string) string {
	t.Helper()
	code, answer, err := request(t, method, url, header, body)
	if err != nil || code != http.StatusOK {
		t.Fatalf("%s %s: %d %s %v", method, url, code, answer, err)
	}
	return answer
}

// redisPID returns the pid of the redis-server whose data directory is dir.
func redisPID(dir string) (int, error) {
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, name := range procs {
		line, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(line, []byte("redis-server")) {
			continue // it has ended, or is something else
		}
		cwd, err := os.Readlink(filepath.Join(filepath.Dir(name), "cwd"))
		if err != nil || cwd != dir {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(name, "/proc/%d/cmdline", &pid); err != nil {
			return 0, err
		}
		return pid, nil
	}
	return 0, errors.New("no redis-server in " + dir)
}
