package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/broker"
	"github.com/creditstream/creditstream/internal/sandbox/redisserver"
	"github.com/creditstream/creditstream/internal/sandbox/simulate"
	"github.com/creditstream/creditstream/rating"
)

// sandbox is everything on one machine. What is started is stopped in the opposite
// order: switch, payment service, processor, broker, Redis.
type sandbox struct {
	cfg   *sandboxConfig
	decks *rating.Decks
	gate  *auth.Gate // nil: nobody needs a token
	out   io.Writer
	log   *slog.Logger
	now   func() time.Time

	broker    *broker.Broker
	redis     redisNote
	processor *processor
	calls     *simulate.Switch // nil without --simulate

	stops  []func() error // the last started is stopped first
	failed chan error     // why a part has ended by itself; room for one of each
}

// redisNote says which Redis is used, for people.
type redisNote struct {
	addr, what, kept string
	warning          string
}

// maxParts bounds the parts that can end by themselves.
const maxParts = 8

// runSandbox runs a sandbox until ctx ends or a part of it fails.
func runSandbox(ctx context.Context, cfg *sandboxConfig, decks *rating.Decks, gate *auth.Gate, out io.Writer, log *slog.Logger) (err error) {
	s := &sandbox{cfg: cfg, decks: decks, gate: gate, out: out, log: log, now: time.Now, failed: make(chan error, maxParts)}
	defer func() { err = errors.Join(err, s.stop()) }()
	lock, err := lockDir(cfg.dataDir)
	if err != nil {
		return err
	}
	s.stops = append(s.stops, lock.Close)
	if err := s.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.greet()
	err = s.report(ctx)
	if err == nil {
		s.farewell()
	}
	return err
}

// stop stops what was started, the last first.
func (s *sandbox) stop() (err error) {
	for _, stop := range slices.Backward(s.stops) {
		err = errors.Join(err, stop())
	}
	return err
}

func (s *sandbox) start(ctx context.Context) error {
	ln, err := listen(ctx, s.cfg.HTTP)
	if err != nil {
		return err
	}
	s.cfg.HTTP = ln.Addr().String()
	if err := s.startServers(ctx); err != nil {
		return errors.Join(err, ln.Close())
	}
	s.cfg.Brokers, s.cfg.Redis = []string{s.broker.Addr()}, []string{s.redis.addr}
	s.cfg.AcceptEmptyRedis = true // balances that were in memory, or deleted, are made anew from the logs
	s.processor = newProcessor(s.cfg.processorConfig, s.log, s.decks)
	s.processor.gate = s.gate
	s.part(ctx, func(ctx context.Context) error { return s.processor.run(ctx, ln) })
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	if s.cfg.simulate {
		return s.startSimulation(ctx)
	}
	return nil
}

// startServers starts Redis and the broker.
func (s *sandbox) startServers(ctx context.Context) (err error) {
	if s.redis, err = s.startRedis(ctx); err != nil {
		return err
	}
	s.broker, err = broker.Start(broker.Options{Addr: s.cfg.kafka, DataDir: s.path("kafka")})
	if err != nil {
		return addressError("kafka", s.cfg.kafka, err)
	}
	s.stops = append(s.stops, func() error { s.broker.Close(); return nil })
	return nil
}

func (s *sandbox) startRedis(ctx context.Context) (redisNote, error) {
	if len(s.cfg.Redis) == 1 {
		return redisNote{addr: s.cfg.Redis[0], what: "as told by --redis", kept: "in the Redis at " + s.cfg.Redis[0]}, nil
	}
	dir, err := filepath.Abs(s.path("redis")) // redis-server changes its directory
	if err != nil {
		return redisNote{}, fmt.Errorf("find data directory: %w", err)
	}
	child, err := redisserver.Start(ctx, redisserver.Options{Dir: dir})
	if errors.Is(err, redisserver.ErrNotFound) {
		return s.startMemoryRedis()
	}
	if err != nil {
		return redisNote{}, err
	}
	stopping := make(chan struct{})
	s.stops = append(s.stops, func() error { close(stopping); child.Stop(); return nil })
	go func() { // ends with the child
		<-child.Done()
		select {
		case <-stopping:
		default:
			s.failed <- fmt.Errorf("redis-server has ended; its log is %s", filepath.Join(dir, "redis.log"))
		}
	}()
	return redisNote{addr: child.Addr(), what: "redis-server, started here", kept: "in " + s.path("redis")}, nil
}

func (s *sandbox) startMemoryRedis() (redisNote, error) {
	mini, err := simulate.NewMemoryRedis()
	if err != nil {
		return redisNote{}, err
	}
	s.stops = append(s.stops, func() error { mini.Close(); return nil })
	return redisNote{
		addr: mini.Addr(), what: "in memory", kept: "nowhere: the next start makes them anew from the logs",
		warning: "demo only: balances are kept in memory and not safe for money (install redis-server to change that)",
	}, nil
}

// part runs a part of the sandbox until it is stopped; one that ends by itself
// ends the sandbox.
func (s *sandbox) part(ctx context.Context, run func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() {
		err := run(ctx)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("a part of the sandbox has ended by itself")
			}
			s.failed <- err
			err = nil // told once
		}
		done <- err
	}()
	s.stops = append(s.stops, func() error { cancel(); return <-done })
}

func (s *sandbox) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.processor.ready() != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.failed:
			return err
		case <-tick.C:
		}
	}
	return nil
}

// startSimulation opens the accounts and starts payment service and switch.
func (s *sandbox) startSimulation(ctx context.Context) error {
	var token string
	if s.gate != nil {
		token = s.gate.Issue("(simulation)", auth.Admin) // a name that no file can hold
	}
	api := simulate.NewAPI("http://"+s.cfg.HTTP, token)
	versions := s.decks.Versions()
	if err := simulate.OpenAccounts(ctx, api, versions[len(versions)-1].Currency); err != nil {
		return err
	}
	client, err := kafka.New(kafka.Config{Brokers: s.cfg.Brokers, ClientID: "sandbox", Logger: s.log})
	if err != nil {
		return err
	}
	s.stops = append(s.stops, func() error { client.Close(); return nil })
	payments, err := simulate.NewPayments(simulate.PaymentOptions{
		Client: client, Topic: s.cfg.Topics.RechargeRequests, API: api, File: s.path("payments.json"),
		Decline: s.cfg.decline, Seed: seed(), Log: s.log,
	})
	if err != nil {
		return err
	}
	s.part(ctx, payments.Run)
	s.calls = simulate.NewSwitch(simulate.SwitchOptions{
		Client: client, Topic: s.cfg.Topics.CDRs, API: api, Rate: s.cfg.rate, Seed: seed(), Now: s.now, Log: s.log,
	})
	s.part(ctx, s.calls.Run)
	return nil
}

// seed is another one for every run, so that no call has the id of an older one.
func seed() (b [32]byte) {
	_, _ = rand.Read(b[:]) // never fails
	return b
}

func (s *sandbox) path(name string) string { return filepath.Join(s.cfg.dataDir, name) }

func (s *sandbox) say(format string, a ...any) {
	// Nobody may read any more: that is no reason to end.
	_, _ = fmt.Fprintf(s.out, format+"\n", a...)
}

func (s *sandbox) farewell() {
	s.say("\nStopping. Kept for the next start with --data-dir %s:", s.cfg.dataDir)
	s.say("  topics    in %s", s.path("kafka"))
	s.say("  balances  %s", s.redis.kept)
	if s.cfg.simulate {
		s.say("  payments  in %s", s.path("payments.json"))
	}
}

func (s *sandbox) greet() {
	if s.redis.warning != "" {
		s.say("%s\n", s.redis.warning)
	}
	curl := "curl "
	if s.gate != nil {
		s.say("The API needs a token of %s. In the second terminal, first: TOKEN=...\n", s.cfg.access.Tokens)
		curl = `curl -H "Authorization: Bearer $TOKEN" `
	}
	s.say("%s", strings.NewReplacer(
		"curl ", curl, "{http}", "http://"+s.cfg.HTTP, "{kafka}", s.broker.Addr(), "{redis}", s.redis.addr, "{redis-what}", s.redis.what,
		"{dir}", s.cfg.dataDir, "{version}", version,
	).Replace(greeting))
	if s.cfg.simulate {
		s.say("%s", simulated)
	} else {
		s.say("%s", strings.NewReplacer("curl ", curl, "{http}", "http://"+s.cfg.HTTP).Replace(payByHand))
	}
}
