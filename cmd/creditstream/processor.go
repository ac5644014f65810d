package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/internal/httpapi"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// processorConfig is all that a processor needs to know; every field has a flag, or is loaded from what a flag names.
type processorConfig struct {
	HTTP    string
	Brokers []string
	Group   string
	Redis   []string
	RedisDB int

	Topics       topicNames
	Partitions   int // of topics that are created
	Replication  int // 0: the brokers' default
	CDRRetention time.Duration
	OutRetention time.Duration // of what leaves: rated-cdrs, alerts, requests, dead letters

	Shards      int
	SliceWidth  time.Duration
	Window      time.Duration
	ExpiryGrace time.Duration
	MaxDuration time.Duration
	MaxCharge   rating.Micros
	MaxPurchase rating.Micros
	Formats     cdr.Options

	SessionTimeout time.Duration
	FetchBytes     int
	MaxRecordBytes int // largest record of cdrs; dead letters may be 64 KiB larger
	EventMode      alerts.Mode

	AuthorizeSeconds int    // the longest call that is allowed
	AuthorizeAway    string // what becomes of calls while Redis is away: authorizeAllow or authorizeDeny

	DeckDir            string // "": the decks that were loaded at the start are all
	AcceptPastDecks    bool
	AcceptPastMappings bool
	AcceptEmptyRedis   bool
	RefuseForeign      bool // a Redis with keys of something else
}

// topicNames are the topics by what they are for.
type topicNames struct {
	CDRs, Commands, Rated, RechargeRequests, Alerts, DeadLetters string
}

func (t *topicNames) all() []string {
	return []string{t.CDRs, t.Commands, t.Rated, t.RechargeRequests, t.Alerts, t.DeadLetters}
}

// processor is one running instance.
type processor struct {
	cfg      processorConfig
	log      *slog.Logger
	now      func() time.Time
	registry *prometheus.Registry
	decks    *deckKeeper
	mappings *mappingKeeper
	gate     *auth.Gate   // nil: everybody may do everything
	audit    *slog.Logger // nil: log

	client   *kafka.Client
	rdb      redis.UniversalClient
	store    *balance.Store
	consumer *consumer.Consumer
	commands *alerts.Commands

	deadLetters  kafka.TopicInfo
	writeRetries prometheus.Counter
	clockOffset  prometheus.Gauge

	mu      sync.Mutex
	startup error // what start-up waits for; nil: it is over
}

// newProcessor returns a processor that has not started yet.
func newProcessor(cfg processorConfig, log *slog.Logger, loaded *rating.Decks) *processor {
	redis.SetLogger(redisLog{log}) // else go-redis writes lines of its own to stderr
	options := func(acceptPast bool) balance.NoteOptions {
		return balance.NoteOptions{Lead: noteLead, AcceptPast: acceptPast} // Reach: of the topic
	}
	return &processor{
		cfg: cfg, log: log, now: time.Now, registry: prometheus.NewRegistry(),
		decks:    newDeckKeeper(loaded, cfg.DeckDir, options(cfg.AcceptPastDecks), log, time.Now),
		mappings: newMappingKeeper(&cfg.Formats, options(cfg.AcceptPastMappings), log, time.Now),
		startup:  errors.New("starting"),
	}
}

// redisLog takes what go-redis says by itself: what matters of it comes back as an
// error too.
type redisLog struct{ log *slog.Logger }

func (r redisLog) Printf(ctx context.Context, format string, a ...any) {
	r.log.DebugContext(ctx, "redis client", slog.String("said", fmt.Sprintf(format, a...)))
}

// run works until ctx ends, then finishes what is in hand within 10 seconds. Ready
// and the API listen from the start; until Kafka and Redis are there, /readyz says
// what is waited for.
func (p *processor) run(ctx context.Context, ln net.Listener) error {
	closeAll, err := p.connect()
	if err != nil {
		return err
	}
	defer closeAll()

	// The API ends after the stream, so that a last change is still answered, but
	// it does not wait for one that hangs.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(streamGrace, stopServing) })()
	api := p.api()
	var watching sync.WaitGroup
	defer watching.Wait()
	if p.gate != nil {
		watching.Go(func() { p.gate.Run(serving, p.log) })
	}
	ctx, stopStream := context.WithCancel(ctx)
	defer stopStream()
	served, streamed := make(chan error, 1), make(chan error, 1)
	go func() { served <- httpapi.Serve(serving, ln, api, p.log) }()
	go func() { streamed <- p.stream(ctx) }()
	select {
	case err = <-streamed:
		stopServing()
		return errors.Join(err, <-served)
	case err = <-served:
		stopStream()
		return errors.Join(err, <-streamed)
	}
}

func (p *processor) api() http.Handler {
	opt := httpapi.Options{
		Accounts: (*backend)(p), Lists: (*backend)(p), Commands: (*backend)(p), Rater: p.decks, Ready: p.ready, Now: p.now, Gate: auth.Open{},
		Authorize: httpapi.Authorize{
			Standings: (*backend)(p), MaxCharge: p.cfg.MaxCharge, AllowWhenAway: p.cfg.AuthorizeAway == authorizeAllow,
			// the CDR of a longer call would be parked
			MaxSeconds: min(int64(p.cfg.AuthorizeSeconds), int64(p.cfg.MaxDuration/time.Second)),
		},
		MaxPurchase: p.cfg.MaxPurchase,
		Registerer:  p.registry, Gatherer: p.registry, Log: p.log, Audit: cmp.Or(p.audit, p.log), Version: version,
	}
	if p.gate != nil {
		opt.Gate = p.gate
		p.registry.MustRegister(p.gate.Collectors()...)
	}
	return httpapi.New(opt)
}

// connect makes the clients of Kafka and Redis. The caller closes them.
func (p *processor) connect() (closeAll func(), err error) {
	p.client, err = kafka.New(kafka.Config{
		Brokers: p.cfg.Brokers, ClientID: "creditstream", Logger: p.log,
		OnAppend: func(ahead time.Duration) { p.clockOffset.Set(ahead.Seconds()) },
	})
	if err != nil {
		return nil, err
	}
	p.rdb = balance.Client(&redis.UniversalOptions{Addrs: p.cfg.Redis, DB: p.cfg.RedisDB})
	p.instrument()
	return func() { _ = p.rdb.Close(); p.client.Close() }, nil
}

// streamGrace is how long the API outlives a stream that is told to stop.
const streamGrace = 5 * time.Second

// stream prepares topics and store, then consumes.
func (p *processor) stream(ctx context.Context) error {
	partitions, err := p.prepare(ctx)
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // told to stop while it waited
	case err != nil:
		return err
	}
	return p.flow(ctx, partitions)
}

// flow is stream after it has waited for Kafka and Redis.
func (p *processor) flow(ctx context.Context, partitions int) error {
	commands := alerts.NewCommands(p.client, p.cfg.Topics.Commands, p.commandPartition)
	publisher := alerts.New(kafka.NewWriter(p.client, kafka.WriterOptions{OnRetry: func(error) { p.writeRetries.Inc() }}), alerts.Topics{
		Rated: p.cfg.Topics.Rated, Alerts: p.cfg.Topics.Alerts, RechargeRequests: p.cfg.Topics.RechargeRequests,
		Commands: p.cfg.Topics.Commands, DeadLetters: p.cfg.Topics.DeadLetters,
		DeadLetterPartitions: p.deadLetters.Partitions, DeadLetterBytes: deadLetterBytes(p.deadLetters),
		Events: p.cfg.EventMode,
	}, p.commandPartition, p.registry)
	stream := consumer.New(p.streamConfig(publisher, commands))
	p.mu.Lock()
	p.consumer, p.commands, p.startup = stream, commands, nil
	p.mu.Unlock()
	p.log.InfoContext(ctx, "processor runs", slog.String("version", version), slog.Int("command_partitions", partitions),
		slog.Int("shards", p.store.Shards()))
	defer p.count(ctx, stream)()
	return p.consume(ctx, stream)
}

func (p *processor) streamConfig(publisher *alerts.Publisher, commands *alerts.Commands) consumer.Config {
	lost := p.lost
	if p.cfg.AcceptEmptyRedis {
		lost = nil
	}
	return consumer.Config{
		Lost: lost, Client: p.client, Group: kafka.GroupConfig{
			ID: p.cfg.Group, SessionTimeout: p.cfg.SessionTimeout, HeartbeatInterval: p.cfg.SessionTimeout / 5,
			// a member that dies while others join holds them up as long as this, not as long as a session
			RebalanceTimeout: p.cfg.SessionTimeout,
		},
		CDRTopic: p.cfg.Topics.CDRs, CommandTopic: p.cfg.Topics.Commands, Store: p.store, Rater: p.decks,
		Publisher: publisher, Commander: commands, Logger: p.log, Registerer: p.registry, Now: p.now, Current: p.current,
		FetchBytes: p.cfg.FetchBytes, Decoder: cdr.NewDecoder(p.cfg.Formats),
	}
}

// current returns why it is not known that records mean what they do to all others.
func (p *processor) current() error {
	return errors.Join(p.decks.compared.current(p.decks.now()), p.mappings.compared.current(p.mappings.now()))
}

// consume runs the stream, and looks after decks and mapping while it does.
func (p *processor) consume(ctx context.Context, stream *consumer.Consumer) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	keepers := []func(context.Context) error{
		func(ctx context.Context) error { return p.decks.run(ctx, p.store) },
		func(ctx context.Context) error { return p.mappings.run(ctx, p.store) },
	}
	kept := make(chan error, len(keepers))
	for _, run := range keepers {
		go func() {
			err := run(ctx)
			stop(err)
			kept <- err
		}()
	}
	err := stream.Run(ctx)
	stop(nil)
	for range keepers {
		err = errors.Join(err, <-kept)
	}
	return err
}

// forever is a reach that goes back to before there were calls.
const forever = 200 * 365 * 24 * time.Hour

// reachOf is how far back a record of a topic may lie that is read now: as long as it
// keeps records, whatever was asked for when it was created, and the id window. Without
// a limit, or if it is not known, it is forever.
func reachOf(t kafka.TopicInfo, window time.Duration) time.Duration {
	millis, err := strconv.ParseInt(t.Configs["retention.ms"], 10, 64)
	if err != nil || millis < 0 || millis > (forever-window).Milliseconds() {
		return forever
	}
	return time.Duration(millis)*time.Millisecond + window
}

// deadLetterBytes is how much of a record a dead letter may carry: what the topic
// takes, less our own headers and the batch around it.
func deadLetterBytes(t kafka.TopicInfo) int {
	const ours = 16 << 10
	n, err := strconv.Atoi(t.Configs["max.message.bytes"])
	if err != nil {
		n = 1 << 20 // what Kafka takes by default
	}
	return max(n-ours, 1<<10)
}

// commandPartition says where the commands of an account go.
func (p *processor) commandPartition(account string) int {
	return p.store.CommandPartition(p.store.ShardOf(account))
}

// prepare waits for Kafka and Redis, creates what is missing and checks what is
// there. It returns the number of partitions of the commands topic.
func (p *processor) prepare(ctx context.Context) (partitions int, err error) {
	for attempt := 0; ; attempt++ {
		if partitions, err = p.prepareOnce(ctx); err == nil {
			return partitions, nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		var w *waitFor
		if !errors.As(err, &w) || !w.temporary {
			return 0, err
		}
		p.mu.Lock()
		p.startup = err
		p.mu.Unlock()
		if attempt%10 == 0 {
			p.log.WarnContext(ctx, "start-up waits", slog.Any("error", err))
		}
		if err := startPause.Wait(ctx, attempt); err != nil {
			return 0, err
		}
	}
}

//nolint:gochecknoglobals // immutable
var startPause = kafka.Backoff{Base: 100 * time.Millisecond, Max: 2 * time.Second}

func (p *processor) prepareOnce(ctx context.Context) (int, error) {
	ensuring, cancel := context.WithTimeout(ctx, ensureTimeout)
	defer cancel()
	if err := p.client.EnsureTopics(ensuring, p.topics()); err != nil {
		return 0, &waitFor{"Kafka", err, kafka.Temporary(err) || ensuring.Err() != nil}
	}
	infos, err := p.client.Topics(ctx, p.cfg.Topics.all()...)
	if err != nil {
		return 0, &waitFor{"Kafka", err, kafka.Temporary(err)}
	}
	for _, name := range p.cfg.Topics.all() {
		if _, ok := infos[name]; !ok {
			return 0, &waitFor{"Kafka", fmt.Errorf("topic %s is not there yet", name), true}
		}
	}
	if err := p.checkTopics(infos); err != nil {
		return 0, err
	}
	partitions := infos[p.cfg.Topics.Commands].Partitions
	p.deadLetters = infos[p.cfg.Topics.DeadLetters]
	if err := p.checkContents(ctx); err != nil {
		return 0, err
	}
	p.store, err = balance.Open(ctx, p.rdb, balance.Options{
		Shards: p.cfg.Shards, CommandPartitions: partitions, CDRTopic: p.cfg.Topics.CDRs, CommandTopic: p.cfg.Topics.Commands,
		SliceWidth: p.cfg.SliceWidth, Window: p.cfg.Window, MaxDuration: p.cfg.MaxDuration, MaxCharge: p.cfg.MaxCharge, ExpiryGrace: p.cfg.ExpiryGrace, Logger: p.log, Now: p.now,
	})
	if err != nil {
		return 0, &waitFor{"Redis", err, balance.Temporary(err)}
	}
	if err := p.checkMarks(ctx); err != nil {
		return 0, err
	}
	reach := reachOf(infos[p.cfg.Topics.CDRs], p.cfg.Window)
	p.decks.options.Reach, p.mappings.options.Reach = reach, reach
	if err := p.decks.note(ctx, p.store); err != nil {
		return 0, &waitFor{"the deck", err, balance.Temporary(err)}
	}
	if err := p.mappings.note(ctx, p.store); err != nil {
		return 0, &waitFor{"the mapping", err, balance.Temporary(err)}
	}
	return partitions, nil
}

// ready returns what is waited for in words that anybody may read: /readyz needs no
// token, and errors of Kafka and Redis have addresses and names in them.
func (p *processor) ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w, is := errors.AsType[*waitFor](p.startup); is {
		return errors.New("waiting for " + w.what)
	}
	if p.startup != nil {
		return p.startup
	}
	return p.consumer.Ready()
}

// ensureTimeout is how long topics may take to appear before start-up says what it
// waits for, and tries again.
const ensureTimeout = 10 * time.Second

// topics returns what is created if it is missing.
func (p *processor) topics() []kafka.TopicSpec {
	t := &p.cfg.Topics
	millis := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	spec := func(name string, configs map[string]string) kafka.TopicSpec {
		configs["cleanup.policy"] = "delete"
		return kafka.TopicSpec{Name: name, Partitions: p.cfg.Partitions, Replication: p.cfg.Replication, Configs: configs}
	}
	const appendTime = "LogAppendTime" // what a record means depends on it (design rule 7)
	record := strconv.Itoa(p.cfg.MaxRecordBytes)
	return []kafka.TopicSpec{
		spec(t.CDRs, map[string]string{
			"message.timestamp.type": appendTime, "retention.ms": millis(p.cfg.CDRRetention), "retention.bytes": "-1", "max.message.bytes": record,
		}),
		spec(t.Commands, map[string]string{"message.timestamp.type": appendTime, "retention.ms": "-1", "retention.bytes": "-1"}),
		spec(t.Rated, map[string]string{"retention.ms": millis(p.cfg.OutRetention)}),
		spec(t.RechargeRequests, map[string]string{"retention.ms": millis(p.cfg.OutRetention)}),
		spec(t.Alerts, map[string]string{"retention.ms": millis(p.cfg.OutRetention)}),
		spec(t.DeadLetters, map[string]string{
			"retention.ms": millis(p.cfg.OutRetention), "max.message.bytes": strconv.Itoa(p.cfg.MaxRecordBytes + 64<<10),
		}),
	}
}

// checkTopics refuses topics that would lose what balances are made from.
func (p *processor) checkTopics(infos map[string]kafka.TopicInfo) error {
	t := &p.cfg.Topics
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	for _, name := range []string{t.CDRs, t.Commands} {
		c := infos[name].Configs
		if c["cleanup.policy"] != "delete" {
			bad("topic %s: cleanup.policy is %q: a compacted log is no log of events: set it to delete", name, c["cleanup.policy"])
		}
		if c["message.timestamp.type"] != "LogAppendTime" {
			p.log.Warn("a topic carries producers' timestamps: set message.timestamp.type=LogAppendTime", slog.String("topic", name))
		}
	}
	c := infos[t.Commands].Configs
	for _, name := range []string{"retention.ms", "retention.bytes"} {
		if v, err := strconv.ParseInt(c[name], 10, 64); err == nil && v >= 0 {
			bad("topic %s: %s is %d: commands are kept for ever: set it to -1", t.Commands, name, v)
		}
	}
	c = infos[t.CDRs].Configs
	if v, err := strconv.ParseInt(c["retention.ms"], 10, 64); err == nil && v >= 0 && time.Duration(v)*time.Millisecond < p.cfg.Window {
		bad("topic %s: retention.ms is %d (%s): at least the id window of %s is needed, and the age of the oldest Redis backup on top",
			t.CDRs, v, days(time.Duration(v)*time.Millisecond), days(p.cfg.Window))
	}
	if v, err := strconv.ParseInt(c["retention.bytes"], 10, 64); err == nil && v >= 0 {
		p.log.Warn("cdrs are also deleted by size: make sure that the id window fits, or set retention.bytes to -1",
			slog.String("topic", t.CDRs), slog.Int64("retention_bytes", v))
	}
	if partitions := infos[t.Commands].Partitions; partitions > p.cfg.Shards {
		bad("topic %s has %d partitions and the store %d shards: at least as many shards are needed", t.Commands, partitions, p.cfg.Shards)
	}
	if err := errors.Join(errs...); err != nil {
		return &waitFor{"Kafka", err, false}
	}
	return nil
}

// waitFor is why start-up does not go on.
type waitFor struct {
	what      string
	err       error
	temporary bool
}

func (w *waitFor) Error() string {
	if w.temporary {
		return "waiting for " + w.what + ": " + w.err.Error()
	}
	return w.what + " cannot be used as it is: " + w.err.Error()
}

func (w *waitFor) Unwrap() error { return w.err }
