package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/creditstream/creditstream/internal/sandbox/broker"
	"github.com/creditstream/creditstream/internal/sandbox/redisserver"
)

// unready waits until the processor says that it waits.
func (p *plant) unready() {
	p.t.Helper()
	await(p.t, 20*time.Second, "readiness to be false", func() error {
		code, body, err := request(p.t, http.MethodGet, "http://"+p.http+"/readyz", nil, "")
		if err == nil && code == http.StatusOK {
			err = errors.New(body)
		} else if strings.Contains(body, p.redis[0]) || strings.Contains(body, "cdrs") {
			p.t.Errorf("what is for the log alone is told to anybody: %s", body)
		}
		return err
	})
}

// cpu returns the processor time that a process has used.
func cpu(t *testing.T, p *process) time.Duration {
	t.Helper()
	var ticks, system int64
	var skip string
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	f := []any{&skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &ticks, &system}
	if _, err := fmt.Sscan(string(b), f...); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ticks+system) * 10 * time.Millisecond
}

// idle checks that waiting costs little: at most a third of one core over a second.
func idle(t *testing.T, p *process) {
	t.Helper()
	before := cpu(t, p)
	<-time.NewTimer(time.Second).C
	if used := cpu(t, p) - before; used > 330*time.Millisecond {
		t.Errorf("used %s of processor time in a second of waiting", used)
	}
}

// few checks that an outage is told in few words: some lines per partition, and
// not one for each shard in each.
func few(t *testing.T, p *process) {
	t.Helper()
	lines := strings.Split(p.out.String(), "\n")
	warnings := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.Contains(l, "level=WARN") })
	if n := len(warnings); n > 8*plantPartitions {
		t.Errorf("%d warnings in a few seconds", n)
	}
	for _, l := range lines {
		if len(l) > 500 {
			t.Errorf("a line of %d bytes: %.200s", len(l), l)
		}
	}
}

func TestWaitsForRedisAndGoesOnByItself(t *testing.T) {
	server := ownRedis(t) // is killed
	p := newPlantOn(t, []string{server.Addr()}, 0)
	r := rand.New(rand.NewPCG(8, 8))
	proc := p.processor(p.http)
	awaitReady(t, proc, "http://"+p.http)
	p.create("acme", "")
	p.topUp("acme", "first", "40.00")
	burst := func() {
		for range 200 {
			p.send(r, 0, p.cdr(r, "acme"))
		}
	}
	burst()
	p.settled()
	server.Kill()
	p.unready()
	burst()
	for range 4 { // seconds
		idle(t, proc)
	}
	few(t, proc)
	server = restart(t, server, server.Dir())
	awaitReady(t, proc, "http://"+p.http)
	p.settled()
	p.verify()

	server.Kill() // a stop does not wait for it
	p.unready()
	proc.stop(t)
}

func TestWaitsForKafkaAndGoesOnByItself(t *testing.T) {
	p := newPlant(t)
	dir, addr := filepath.Join(t.TempDir(), "kafka"), freeAddr(t)
	var own *broker.Broker // is closed
	start := func() {
		t.Helper()
		var err error
		own, err = broker.Start(broker.Options{Addr: addr, DataDir: dir, Kfake: []kfake.Opt{kfake.GroupMinSessionTimeout(500 * time.Millisecond)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	p.useKafka([]string{addr})
	proc := p.processor(p.http) // Kafka comes later
	await(t, 10*time.Second, "a first answer", func() error {
		_, _, err := request(t, http.MethodGet, "http://"+p.http+"/livez", nil, "")
		return err
	})
	p.unready()
	idle(t, proc)
	start()
	awaitReady(t, proc, "http://"+p.http)
	r := rand.New(rand.NewPCG(9, 9))
	p.create("acme", "")
	p.topUp("acme", "first", "40.00")
	for range 200 {
		p.send(r, 0, p.cdr(r, "acme"))
	}
	own.Close()
	p.unready()
	idle(t, proc)
	start()
	awaitReady(t, proc, "http://"+p.http)
	p.topUp("acme", "after", "5.00")
	p.settled()
	p.verify()

	own.Close() // a stop does not wait for it
	p.unready()
	proc.signal(syscall.SIGTERM)
	if code := proc.wait(t, 10*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A primary that has lost its replicas takes no writes, if it is told so: the stream
// waits, and goes on when one is back.
func TestWaitsForReplicas(t *testing.T) {
	server := ownRedis(t) // has a replica, which is killed
	_, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	replica := startRedis(t, redisserver.Options{Dir: filepath.Join(t.TempDir(), "replica")}, "--replicaof", "127.0.0.1", port)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	for _, setting := range [][2]string{{"min-replicas-to-write", "1"}, {"min-replicas-max-lag", "2"}} {
		if err := rdb.ConfigSet(t.Context(), setting[0], setting[1]).Err(); err != nil {
			t.Fatal(err)
		}
	}
	p := newPlantOn(t, []string{server.Addr()}, 0)
	r := rand.New(rand.NewPCG(10, 10))
	proc := p.processor(p.http)
	awaitReady(t, proc, "http://"+p.http)
	p.create("acme", "")
	p.topUp("acme", "first", "40.00")
	replica.Kill()
	await(t, 20*time.Second, "writes to be refused", func() error {
		err := rdb.Set(t.Context(), "probe", 1, 0).Err()
		switch {
		case err == nil:
			return errors.New("a write is taken")
		case strings.HasPrefix(err.Error(), "NOREPLICAS"):
			return nil
		}
		return err
	})
	for range 200 {
		p.send(r, 0, p.cdr(r, "acme"))
	}
	p.unready()
	few(t, proc)
	restart(t, replica, replica.Dir(), "--replicaof", "127.0.0.1", port)
	awaitReady(t, proc, "http://"+p.http)
	p.settled()
	p.verify()
	proc.stop(t)
}
