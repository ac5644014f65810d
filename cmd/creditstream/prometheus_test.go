package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A real Prometheus scrapes a running sandbox: nothing that dashboards and rules name
// is missing, no panel is empty, and no rule fails.
func TestDashboardsShowWhatHappens(t *testing.T) {
	t.Parallel()
	const deck = "../../deploy/decks/sample"
	redis, dir := ownRedis(t), t.TempDir()
	s := startInProcess(t, filepath.Join(dir, "data"), "--rate=100", "--decline=globex", "--deck="+deck, "--redis="+redis.Addr())
	t.Cleanup(func() { s.stop(t) })
	prometheus := startPrometheus(t, strings.TrimPrefix(s.http, "http://"), filepath.Join(dir, "textfile"))

	// What cron writes beside it.
	await(t, 30*time.Second, "a record that is parked", func() error {
		if metrics := must(t, http.MethodGet, s.http+"/metrics", nil, ""); !counted(metrics, `creditstream_consumer_records_total{outcome="parked"}`) {
			return errors.New("none yet")
		}
		return nil
	})
	cron(t, "dlq", "list", "--limit=0", "--brokers="+s.kafka, "--metrics="+filepath.Join(dir, "textfile", "letters.prom"))
	cron(t, "verify", "--brokers="+s.kafka, "--redis="+redis.Addr(), "--deck="+deck, "--metrics="+filepath.Join(dir, "textfile", "verify.prom"))

	all := queries(t, "15s")
	empty := map[query]error{}
	for _, q := range all {
		empty[q] = errors.New("not asked")
	}
	await(t, 60*time.Second, "an answer to each of the dashboards' queries", func() error {
		for q := range empty {
			if empty[q] = prometheus.ask(t, q.expr); empty[q] == nil {
				delete(empty, q)
			}
		}
		if len(empty) == 0 {
			return nil
		}
		var errs []error
		for q, err := range empty {
			errs = append(errs, fmt.Errorf("%s: %s: %w", q.where, q.expr, err))
		}
		return errors.Join(errs...)
	})
	prometheus.evaluates(t, len(rules(t)))

	have := exported{"node_textfile_mtime_seconds": {"file": {}}} // node_exporter's own
	have.take(must(t, http.MethodGet, s.http+"/metrics", nil, ""))
	files, err := filepath.Glob(filepath.Join(dir, "textfile", "*.prom"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		have.take(string(text))
	}
	for _, r := range rules(t) {
		all = append(all, query{"alert " + r.Alert, r.Expr})
	}
	for _, q := range all {
		if missing := have.check(q.expr); missing != nil {
			t.Errorf("%s: %s: nothing exports %s", q.where, q.expr, strings.Join(missing, ", "))
		}
	}
}

// cron runs a command of ours whose exit code does not matter: verify says 2 while
// calls are made faster than it reads.
func cron(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command(binary, args...).CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// promServer is a Prometheus of the test's own.
type promServer struct{ url string }

// startPrometheus starts one that scrapes a processor, and the files in a directory as
// node_exporter would, every second, and has all rules of deploy/.
func startPrometheus(t *testing.T, target, textfile string) *promServer {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatalf("%v: install it (Debian: apt-get install prometheus)", err)
	}
	dir := t.TempDir()
	files := serveFiles(t, textfile)
	rules, err := filepath.Abs(rulesFiles)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - {job_name: creditstream, static_configs: [{targets: [%q]}]}
  - {job_name: node, static_configs: [{targets: [%q]}]}
`, rules, target, files)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	cmd := exec.Command(binary, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus:\n%s", out.String())
		}
	})
	p := &promServer{"http://" + addr}
	await(t, 30*time.Second, "prometheus", func() error { return p.get(t, "/api/v1/status/runtimeinfo", &struct{}{}) })
	return p
}

// serveFiles shows the .prom files of a directory, one after the other, and returns
// its address.
func serveFiles(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	server := &http.Server{Addr: addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		files, _ := filepath.Glob(filepath.Join(dir, "*.prom"))
		for _, file := range files {
			if text, err := os.ReadFile(file); err == nil {
				_, _ = w.Write(text)
			}
		}
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return addr
}

// get asks the API of Prometheus.
func (p *promServer) get(t *testing.T, path string, into any) error {
	t.Helper()
	_, body, err := request(t, http.MethodGet, p.url+path, nil, "")
	if err != nil {
		return err
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: into}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return nil
}

// ask returns an error unless a query has an answer that is a number.
func (p *promServer) ask(t *testing.T, expr string) error {
	t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.get(t, "/api/v1/query?query="+url.QueryEscape(expr), &data); err != nil {
		return err
	}
	for _, series := range data.Result {
		text, _ := series.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
			return nil
		}
	}
	return fmt.Errorf("empty: %v", data.Result)
}

// evaluates fails unless so many rules were evaluated, without an error.
func (p *promServer) evaluates(t *testing.T, want int) {
	t.Helper()
	await(t, 30*time.Second, "evaluation of all rules", func() error {
		var data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
		if err := p.get(t, "/api/v1/rules", &data); err != nil {
			return err
		}
		n := 0
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				if r.Health != "ok" {
					return fmt.Errorf("%s: %s: %s", r.Name, r.Health, r.LastError)
				}
				n++
			}
		}
		if n != want {
			return fmt.Errorf("%d rules, want %d", n, want)
		}
		return nil
	})
}
