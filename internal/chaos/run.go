package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/internal/kafka"
)

// Config says how a run looks.
type Config struct {
	Seed   uint64
	Faults map[Kind]int

	CDRs       int
	Span       time.Duration // of the load
	LagLimit   time.Duration // to lag 0 once the load is over
	Mix        Mix
	Accounts   int // before the load; more come during it
	Partitions int
	Shards     int
	Processors int
	Brokers    int // 1 or 3

	Root   string // of the repository
	Binary string // creditstream
	Dir    string // for all that a run leaves behind
	Out    io.Writer
	Now    func() time.Time
}

// sessionTimeout is what processors are given: a zombie sleeps through it.
const sessionTimeout = 3 * time.Second

// A run is one at work.
type run struct {
	cfg     Config
	servers *servers
	fleet   *fleet
	watch   *watch
	people  *people
	api     *api
	began   time.Time

	mu     sync.Mutex
	report *Report
}

// Run starts servers and processors, attacks them, and says what came of it. An
// error means that the harness could not do its work, which says nothing about
// the product.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	began := cfg.Now()
	redis.SetLogger(silent{}) // that nodes are away is what we do
	r := &run{
		cfg: cfg, people: &people{shards: cfg.Shards, partitions: cfg.Partitions},
		report: &Report{Seed: cfg.Seed, Faults: map[Kind]int{}},
	}
	stop, err := r.setUp(ctx)
	defer stop()
	if err == nil {
		err = r.load(ctx)
	}
	if err == nil {
		err = r.finish(ctx)
	}
	r.report.Took = cfg.Now().Sub(began)
	return r.report, err
}

// silent takes what go-redis says by itself.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// say prints one line, with the time since the load began.
func (r *run) say(format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := "setup"
	if !r.began.IsZero() {
		at = "+" + strconv.FormatFloat(r.cfg.Now().Sub(r.began).Seconds(), 'f', 1, 64) + "s"
	}
	_, _ = fmt.Fprintf(r.cfg.Out, "%8s  "+format+"\n", append([]any{at}, a...)...)
}

func (r *run) find(c Check, format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Findings = append(r.report.Findings, Finding{c, fmt.Sprintf(format, a...)})
}

// setUp starts everything; stop ends all that was started, whatever the error.
func (r *run) setUp(ctx context.Context) (stop func(), err error) {
	cfg := &r.cfg
	var steps []func()
	stop = func() {
		for _, step := range slices.Backward(steps) {
			step()
		}
	}
	deck, logs := filepath.Join(cfg.Dir, "deck"), filepath.Join(cfg.Dir, "logs")
	if err := errors.Join(os.MkdirAll(deck, 0o750), os.MkdirAll(logs, 0o750)); err != nil {
		return stop, err
	}
	secret, line, err := auth.NewToken("chaos", auth.Admin)
	tokens := filepath.Join(cfg.Dir, "tokens")
	if err = errors.Join(err, writeDeck(deck), os.WriteFile(tokens, []byte(line+"\n"), 0o600)); err != nil {
		return stop, err
	}
	r.say("starts %d brokers of Kafka and a Redis Cluster of 3 masters and 3 replicas in %s", cfg.Brokers, cfg.Dir)
	r.servers, err = startServers(ctx, cfg.Root, cfg.Dir, cfg.Brokers, cfg.Now)
	steps = append(steps, func() { r.servers.stop(context.WithoutCancel(ctx)) })
	if err != nil {
		return stop, err
	}
	r.fleet = &fleet{binary: cfg.Binary, dir: logs, args: []string{
		"--brokers", outside(r.servers.brokers), "--redis", outside(r.servers.nodes), "--deck", deck, "--tokens", tokens,
		"--session-timeout", sessionTimeout.String(), "--partitions", strconv.Itoa(cfg.Partitions), "--shards", strconv.Itoa(cfg.Shards),
		"--expiry-grace", "1s",
	}}
	steps = append(steps, func() {
		for _, p := range r.fleet.all() {
			p.kill()
		}
	})
	r.api = &api{fleet: r.fleet, token: secret, answers: map[int]int{}}
	client, err := kafka.New(kafka.Config{Brokers: inside(r.servers.brokers)})
	if err != nil {
		return stop, err
	}
	steps = append(steps, client.Close)
	rdb := r.servers.redisClient()
	steps = append(steps, func() { _ = rdb.Close() })
	r.watch = &watch{
		client: client, rdb: rdb, shards: cfg.Shards, now: cfg.Now,
		offsets: &kafkago.Client{Addr: kafkago.TCP(inside(r.servers.brokers)...), Timeout: 3 * time.Second},
	}
	for range cfg.Processors {
		if _, err := r.fleet.start(ctx); err != nil {
			return stop, err
		}
	}
	for _, p := range r.fleet.all() {
		if err := until(ctx, 2*time.Minute, "readiness", func() error { return p.ready(ctx) }); err != nil {
			return stop, err
		}
	}
	return stop, nil
}

// load runs calls, clerk, payments and faults side by side until the calls are
// written and the faults are over.
func (r *run) load(ctx context.Context) error {
	cfg := &r.cfg
	rng := func(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(cfg.Seed, 100+stream)) } //nolint:gosec // a schedule, not a secret
	log, err := kgo.NewClient(kgo.SeedBrokers(inside(r.servers.brokers)...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer log.Close()
	clerk := &clerk{api: r.api, log: log, topic: topicCommands, people: r.people, rng: rng(0), now: cfg.Now, created: cfg.Accounts}
	cashier := &cashier{api: r.api, brokers: inside(r.servers.brokers), topic: topicRequests, seed: cfg.Seed}
	board := &switchboard{
		brokers: inside(r.servers.brokers), topic: topicCDRs, partitions: cfg.Partitions, total: cfg.CDRs, span: cfg.Span, mix: cfg.Mix,
		people: r.people, now: cfg.Now, rng: rng(1),
	}
	if err := clerk.prepare(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	r.began = cfg.Now()
	r.mu.Unlock()
	r.say("load: %d CDRs in %s on %d accounts, %d partitions, %d shards, %d processors; seed %d",
		cfg.CDRs, cfg.Span, cfg.Accounts, cfg.Partitions, cfg.Shards, cfg.Processors, cfg.Seed)

	background, over := context.WithCancel(ctx)
	var serving, working sync.WaitGroup
	defer serving.Wait()
	defer over()
	serving.Go(func() { r.watch.run(background) })
	paid := make(chan error, 1)
	paying, closeTill := context.WithCancel(ctx)
	defer closeTill()
	go func() { paid <- cashier.run(ctx, paying) }()
	hours, closeOffice := context.WithCancel(ctx)
	defer closeOffice()
	working.Go(func() { clerk.work(hours, max(20*time.Millisecond, cfg.Span/2000)) })
	var wrote, hurt error
	serving.Go(func() { r.guard(background) })
	var attack sync.WaitGroup
	attack.Go(func() { hurt = r.attack(ctx) })
	wrote = board.run(ctx)
	attack.Wait()
	closeOffice()
	working.Wait()
	if err := sleep(ctx, 4*time.Second); err != nil { // payments that are asked for late
		return err
	}
	closeTill()
	err = errors.Join(wrote, hurt, <-paid)
	r.say("load is over: %d CDRs and what came twice; %d times nobody knows whether a CDR is in the log; clerk did %d things, %d without an answer; "+
		"payment service: %d requests, %d answers, %d times none", board.sent, board.failed.Load(), clerk.done, clerk.failed,
		cashier.requests, cashier.answers, cashier.silent)
	return err
}

// guard notes processors that end by themselves, and starts others.
func (r *run) guard(ctx context.Context) {
	for sleep(ctx, 200*time.Millisecond) == nil {
		for _, p := range r.fleet.ended() {
			r.find(CheckProcess, "processor %d ended by itself with status %d: see %s/logs/processor-%d.log",
				p.number, p.cmd.ProcessState.ExitCode(), r.cfg.Dir, p.number)
			if _, err := r.fleet.start(context.WithoutCancel(ctx)); err != nil {
				r.trouble("start a processor: %s", err)
			}
		}
	}
}

func (r *run) trouble(format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Troubles = append(r.report.Troubles, fmt.Sprintf(format, a...))
}
