package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/sandbox/redisserver"
)

// inProcess is a sandbox that runs in the test's own process, under its race
// detector.
type inProcess struct {
	http, kafka string
	out         output
	cancel      context.CancelFunc
	ended       chan error
}

func startInProcess(t *testing.T, dir string, args ...string) *inProcess {
	t.Helper()
	if _, err := redisserver.Find(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	addr := freeAddr(t)
	s := &inProcess{http: "http://" + addr, kafka: freeAddr(t), cancel: cancel, ended: make(chan error, 1)}
	args = append([]string{"sandbox", "--data-dir", dir, "--http", addr, "--kafka", s.kafka}, args...)
	go func() { s.ended <- run(ctx, args, &s.out, &s.out) }()
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Logf("sandbox:\n%s", s.out.String())
		}
	})
	await(t, 30*time.Second, "readiness", func() error {
		select {
		case err := <-s.ended:
			t.Fatalf("sandbox ended: %v", err)
		default:
		}
		return status(t, s.http+"/readyz", http.StatusOK)
	})
	await(t, 10*time.Second, "greeting", func() error { // it is ready a moment before it says so
		if !strings.Contains(s.out.String(), "the sandbox runs") {
			return errors.New("not said yet")
		}
		return nil
	})
	return s
}

func status(t *testing.T, url string, want int) error {
	t.Helper()
	code, answer, err := request(t, http.MethodGet, url, nil, "")
	if err == nil && code != want {
		err = fmt.Errorf("%d %s", code, answer)
	}
	return err
}

func (s *inProcess) stop(t *testing.T) {
	t.Helper()
	s.cancel()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the sandbox still runs 10 s after it was told to stop")
	}
}

func balanceOf(t *testing.T, url, account string) string {
	t.Helper()
	var a struct{ Balance string }
	if err := json.Unmarshal([]byte(must(t, http.MethodGet, url+"/v1/accounts/"+account, nil, "")), &a); err != nil {
		t.Fatal(err)
	}
	return a.Balance
}

func openAccount(t *testing.T, url, account, amount string) {
	t.Helper()
	must(t, http.MethodPut, url+"/v1/accounts/"+account, nil, `{"currency":"USD"}`)
	must(t, http.MethodPost, url+"/v1/accounts/"+account+"/top-ups", http.Header{"Idempotency-Key": {"first"}}, `{"amount":"`+amount+`"}`)
}

func TestSandboxStopsAndGoesOn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "here")
	s := startInProcess(t, dir, "--simulate=false")
	openAccount(t, s.http, "ours", "20.00")
	s.stop(t)
	if err := status(t, s.http+"/livez", http.StatusOK); err == nil {
		t.Error("it still answers")
	}
	out := s.out.String()
	for _, want := range []string{"Stopping. Kept for the next start with --data-dir " + dir, s.http + "/v1/accounts/demo", "kcat -P -b " + s.kafka} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in what it said:\n%s", want, out)
		}
	}
	again := startInProcess(t, dir, "--simulate=false")
	if got := balanceOf(t, again.http, "ours"); got != "20.000000" {
		t.Errorf("after a restart the balance is %s", got)
	}
	openAccount(t, again.http, "ours", "20.00") // the same idempotency key
	if got := balanceOf(t, again.http, "ours"); got != "20.000000" {
		t.Errorf("after a repeated top-up the balance is %s", got)
	}
	again.stop(t)
}

func TestSecondSandboxIsRefused(t *testing.T) {
	t.Parallel()
	first := startSandbox(t, t.TempDir())
	pid := first.cmd.Process.Pid
	free := []string{"--simulate=false", "--http", freeAddr(t), "--kafka", freeAddr(t)}
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"data directory": {
			append(free, "--data-dir", first.dir),
			fmt.Sprintf("creditstream: data directory %s is in use by another sandbox (pid %d): stop that one, or choose another with --data-dir\n", first.dir, pid),
		},
		"http": {
			append(free, "--data-dir", t.TempDir(), "--http", strings.TrimPrefix(first.http, "http://")),
			"choose another address with --http\n",
		},
		"kafka": {
			append(free, "--data-dir", t.TempDir(), "--kafka", first.kafka),
			"choose another address with --kafka\n",
		},
	} {
		p := start(t, nil, append([]string{"sandbox"}, tt.args...)...)
		if code := p.wait(t, 10*time.Second); code != 1 || !strings.HasSuffix(p.out.String(), tt.want) {
			t.Errorf("%s: exit code %d, %s", name, code, p.out.String())
		}
	}
	if err := status(t, first.http+"/readyz", http.StatusOK); err != nil {
		t.Errorf("the first one: %v", err)
	}
	first.stop(t)
}

// Calls are rated, recharges are asked for, paid, and declined.
func TestSimulation(t *testing.T) {
	t.Parallel()
	s := startInProcess(t, t.TempDir(), "--rate=200", "--decline=globex")
	await(t, 60*time.Second, "all that the simulation shows", func() error {
		metrics := must(t, http.MethodGet, s.http+"/metrics", nil, "")
		for _, want := range []string{
			`creditstream_consumer_records_total{outcome="charged"}`, `creditstream_consumer_records_total{outcome="free"}`,
			`creditstream_consumer_records_total{outcome="duplicate"}`, `creditstream_consumer_records_total{outcome="parked"}`,
			`creditstream_alerts_events_total{type="recharge.succeeded"}`, `creditstream_alerts_events_total{type="recharge.failed"}`,
			`creditstream_alerts_events_total{type="balance.low"}`, `creditstream_alerts_events_total{type="balance.depleted"}`,
		} {
			if !counted(metrics, want) {
				return errors.New("nothing counted: " + want)
			}
		}
		return nil
	})
	await(t, 10*time.Second, "report", func() error {
		if out := s.out.String(); !strings.Contains(out, " | recharges asked ") || !strings.Contains(out, "acme ") {
			return errors.New("no line")
		}
		return nil
	})
	s.stop(t)
}

// counted reports whether a counter is there and not zero.
func counted(metrics, series string) bool {
	_, rest, found := strings.Cut(metrics, "\n"+series+" ")
	return found && !strings.HasPrefix(rest, "0\n")
}

// What the sandbox says to try works as it is printed.
func TestGreetingWorks(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"kcat", "curl", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: install it to try what the sandbox prints", err)
		}
	}
	s := startSandbox(t, t.TempDir())
	await(t, 5*time.Second, "greeting", func() error {
		if !strings.Contains(s.out.String(), "Ctrl-C stops it") {
			return errors.New("not yet")
		}
		return nil
	})
	answers := map[string]string{}
	for line := range strings.Lines(s.out.String()) {
		command := strings.TrimSpace(line)
		tool, _, _ := strings.Cut(command, " ")
		if !strings.HasPrefix(line, "  ") || tool != "curl" && tool != "kcat" && tool != "printf" {
			continue
		}
		if strings.Contains(command, "rated-cdrs") { // a person is slower
			await(t, 10*time.Second, "call", func() error {
				if got := balanceOf(t, s.http, "demo"); got != "13.000000" {
					return errors.New(got)
				}
				return nil
			})
		}
		await(t, 10*time.Second, command, func() error {
			out, err := exec.Command("bash", "-c", command).Output()
			answers[command] = string(out)
			return err
		})
	}
	if len(answers) != 10 {
		t.Errorf("%d commands", len(answers))
	}
	all := fmt.Sprint(answers)
	for _, want := range []string{
		`"charge":"7.000000"`, "creditstream.balance.low.v1", `"recharge_id":"demo/1"`, `"balance":"63.000000"`,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is in no answer:\n%s", want, all)
		}
	}
}

func TestNoOrphans(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(p *process){
		"ctrl-c": func(p *process) { p.stop(t) },
		"kill":   func(p *process) { p.kill() },
	} {
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		s := startSandbox(t, dir)
		pid, err := redisPID(filepath.Join(dir, "redis"))
		if err != nil {
			t.Fatal(err)
		}
		end(s.process)
		await(t, 10*time.Second, name+": end of redis-server", func() error {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("pid %d still runs", pid)
			}
			return nil
		})
		next := startSandbox(t, dir) // nothing is left that would be in its way
		next.stop(t)
	}
}

// A sandbox whose Redis is gone says so and ends, with everything else.
func TestSandboxWithoutItsRedis(t *testing.T) {
	t.Parallel()
	s := startSandbox(t, t.TempDir())
	dir, err := filepath.EvalSymlinks(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := redisPID(filepath.Join(dir, "redis"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(t, 15*time.Second); code != 1 || !strings.Contains(s.out.String(), "creditstream: redis-server has ended; its log is ") {
		t.Errorf("exit code %d", code)
	}
}

// Without redis-server the sandbox is a demo, says so, and computes the same.
func TestSandboxInMemory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addr, kafkaAddr := freeAddr(t), freeAddr(t)
	args := []string{"sandbox", "--http", addr, "--kafka", kafkaAddr, "--data-dir", dir}
	url := "http://" + addr
	p := start(t, []string{"PATH="}, append(args, "--rate=300")...)
	awaitReady(t, p, url)
	await(t, 30*time.Second, "calls", func() error {
		metrics := must(t, http.MethodGet, url+"/metrics", nil, "")
		for _, want := range []string{`creditstream_consumer_records_total{outcome="duplicate"}`, `creditstream_alerts_events_total{type="recharge.succeeded"}`} {
			if !counted(metrics, want) {
				return errors.New("nothing counted: " + want)
			}
		}
		return nil
	})
	p.stop(t)
	if !strings.Contains(p.out.String(), "demo only: balances are kept in memory and not safe for money") {
		t.Errorf("no warning:\n%s", p.out.String())
	}
	// The logs again, once more in memory and then in a real Redis.
	balances := func(env ...string) string {
		p := start(t, env, append(args, "--simulate=false")...)
		awaitReady(t, p, url)
		var all []string
		await(t, 30*time.Second, "replay", func() error {
			metrics := must(t, http.MethodGet, url+"/metrics", nil, "")
			for line := range strings.Lines(metrics) {
				if strings.HasPrefix(line, "creditstream_consumer_lag_records{") && !strings.HasSuffix(line, " 0\n") {
					return errors.New(line)
				}
			}
			if code, body, err := request(t, http.MethodGet, url+"/v1/accounts/acme", nil, ""); err != nil || code != http.StatusOK {
				return cmp.Or(err, errors.New(body)) // no lag is known yet
			}
			now := fmt.Sprint(balanceOf(t, url, "acme"), balanceOf(t, url, "globex"), balanceOf(t, url, "initech"), balanceOf(t, url, "umbrella"), balanceOf(t, url, "hooli"))
			all = append(all, now)
			if n := len(all); n < 10 || all[n-10] != now {
				return errors.New("still moving: " + now)
			}
			return nil
		})
		p.stop(t)
		return all[len(all)-1]
	}
	inMemory := balances("PATH=")
	if inRedis := balances(); inRedis != inMemory {
		t.Errorf("in memory %s, in Redis %s", inMemory, inRedis)
	}
}
