package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// A fleet is the processors: child processes of the harness.
type fleet struct {
	binary string
	dir    string // of their logs
	args   []string

	mu      sync.Mutex
	started int
	live    []*processor
}

// A processor is one `creditstream run`.
type processor struct {
	number int
	http   string
	cmd    *exec.Cmd
	exited chan struct{}
}

// start adds a processor, which ends with ctx; it returns at once.
func (f *fleet) start(ctx context.Context) (*processor, error) {
	ports, err := freePorts(ctx, 1)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started++
	p := &processor{number: f.started, http: local(ports[0]), exited: make(chan struct{})}
	log, err := os.Create(filepath.Join(f.dir, fmt.Sprintf("processor-%d.log", p.number)))
	if err != nil {
		return nil, err
	}
	p.cmd = exec.CommandContext(ctx, f.binary, append([]string{"run", "--http", p.http}, f.args...)...) //nolint:gosec // the binary under test
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the harness
	if err := p.cmd.Start(); err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("start processor %d: %w", p.number, err)
	}
	go func() {
		_ = p.cmd.Wait() // ProcessState tells
		_ = log.Close()
		close(p.exited)
	}()
	f.live = append(f.live, p)
	return p, nil
}

// pick returns a live processor and takes it out, unless keep of them or fewer
// are left: then nil.
func (f *fleet) pick(n, keep int) *processor {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.live) <= keep {
		return nil
	}
	i := n % len(f.live)
	p := f.live[i]
	f.live = append(f.live[:i:i], f.live[i+1:]...)
	return p
}

// put gives back what pick took.
func (f *fleet) put(p *processor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live = append(f.live, p)
}

func (f *fleet) all() []*processor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*processor(nil), f.live...)
}

func (p *processor) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// kill ends the processor as a crash does, and waits.
func (p *processor) kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

var errStopped = errors.New("a processor does not end as it should")

// stop has the processor end by itself: with status 0, within 20 seconds. One that
// has just been started is given time to see to signals at all.
func (p *processor) stop(ctx context.Context) error {
	_ = until(ctx, 10*time.Second, "an answer", func() error {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", p.http)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	p.signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	select {
	case <-p.exited:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("%w: processor %d: exit status %d", errStopped, p.number, code)
		}
		return nil
	case <-ctx.Done():
		p.kill()
		return fmt.Errorf("%w: processor %d still ran 20 s after SIGTERM", errStopped, p.number)
	}
}

// ended returns the live processors that ended by themselves, and takes them out.
func (f *fleet) ended() (out []*processor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []*processor
	for _, p := range f.live {
		select {
		case <-p.exited:
			out = append(out, p)
		default:
			left = append(left, p)
		}
	}
	f.live = left
	return out
}

// ready returns nil when the processor says that it does its work.
func (p *processor) ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.http+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	said, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	return errors.Join(fmt.Errorf("processor %d: %d %s", p.number, res.StatusCode, said), err)
}
