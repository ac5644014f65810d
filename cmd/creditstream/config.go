package main

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// Limits of settings, beyond those that their types have.
const (
	maxPartitions = 10_000
	maxShards     = 16_384
	longest       = 3650 * day
	maxRecord     = 16 << 20
	maxFetch      = 64 << 20
)

// logConfig says what is logged to stderr, and how.
type logConfig struct{ format, level string }

func (c *logConfig) settings(s *settings, level string) {
	s.add("log-format", "text", oneOf(&c.format, "text", "json"), "how log lines on stderr look")
	s.add("log-level", level, oneOf(&c.level, "debug", "info", "warn", "error"), "the least severe log lines that are written")
}

func (c *logConfig) logger(w io.Writer) *slog.Logger {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	opt := &slog.HandlerOptions{Level: levels[c.level]}
	if c.format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

// runConfig is what `creditstream run` is told.
type runConfig struct {
	processorConfig
	logConfig
	formatConfig

	access accessConfig
}

func (c *runConfig) settings() *settings {
	s := newSettings()
	s.add("brokers", "", addresses(&c.Brokers), "Kafka brokers to start from")
	s.add("group", "creditstream", matching(&c.Group, `[!-~]{1,249}`, "1 to 249 visible ASCII characters"),
		"consumer group; its members share the work")
	s.add("redis", "", addresses(&c.Redis), "Redis; several addresses are nodes of one cluster")
	s.add("redis-db", "0", whole(&c.RedisDB, 0, 1<<20), "database of a Redis that is no cluster")
	s.add("deck", "", directory(&c.DeckDir), "directory of the rate deck, or of several, one in each directory; read again on a change and on SIGHUP")
	s.add("accept-past-decks", "false", truth(&c.AcceptPastDecks),
		"take decks that are valid already though the store does not know them: to add a rate that was missing, or after Redis was restored from an older backup")
	c.formatConfig.settings(s)
	s.add("accept-past-mappings", "false", truth(&c.AcceptPastMappings),
		"take sources of the mapping, and versions of them, that are active already though the store does not know them: after Redis was restored from an older backup")
	s.add("accept-empty-redis", "false", truth(&c.AcceptEmptyRedis),
		"start on a Redis without balances, or with a part of them, though processors have worked before, and make the rest anew from the logs")
	s.add("http", "127.0.0.1:8080", listenAddress(&c.HTTP), "address of the API, health and metrics; with --tls-cert or --plain-http also one that others can reach")
	c.access.settings(s)
	c.logConfig.settings(s, "info")
	c.authorizeSettings(s)
	c.topicSettings(s)
	c.streamSettings(s)
	return s
}

// What becomes of calls that a switch asks about while Redis is away.
const (
	authorizeDeny  = "deny"
	authorizeAllow = "allow"
)

func (c *processorConfig) authorizeSettings(s *settings) {
	s.add("authorize-max-seconds", "14400", whole(&c.AuthorizeSeconds, 1, int(day/time.Second)), "the longest call that POST /v1/authorize allows, and never longer than --max-duration; emergency and internal ones excepted")
	s.add("authorize-when-away", authorizeDeny, oneOf(&c.AuthorizeAway, authorizeDeny, authorizeAllow),
		"its answer while Redis is away; emergency and internal calls are always allowed, high-risk destinations denied")
}

func (c *runConfig) topicSettings(s *settings) {
	s.add("topic-cdrs", "cdrs", topicName(&c.Topics.CDRs), "topic with the CDRs")
	s.add("topic-commands", "credit-commands", topicName(&c.Topics.Commands), "topic with what changes accounts; written by creditstream alone")
	s.add("topic-rated", "rated-cdrs", topicName(&c.Topics.Rated), "topic for rated CDRs")
	s.add("topic-recharge-requests", "recharge-requests", topicName(&c.Topics.RechargeRequests), "topic for a payment service")
	s.add("topic-alerts", "credit-alerts", topicName(&c.Topics.Alerts), "topic for a notification service")
	s.add("topic-dead-letters", "cdrs.dlq", topicName(&c.Topics.DeadLetters), "topic for CDRs that were parked")
	s.add("cloudevents", string(alerts.Binary), oneOf(&c.EventMode, alerts.Modes()...),
		"how alerts and payment requests are written: attributes in headers, or in the value with the data")
	c.shapeSettings(s)
	s.add("replication", "0", whole(&c.Replication, 0, 100), "copies of a topic that is created; 0: the brokers' default")
	s.add("cdr-retention", "42d", duration(&c.CDRRetention, time.Hour, longest),
		"how long cdrs is kept if it is created: the id window and the age of the oldest Redis backup")
	s.add("out-retention", "42d", duration(&c.OutRetention, time.Minute, longest), "how long what leaves is kept in topics that are created")
}

// shapeSettings are fixed once topics and store exist.
func (c *processorConfig) shapeSettings(s *settings) {
	s.add("partitions", "8", whole(&c.Partitions, 1, maxPartitions), "partitions of a topic that is created")
	s.add("shards", "64", whole(&c.Shards, 1, maxShards), "shards of the balances in Redis; fixed when they are created")
}

func (c *runConfig) streamSettings(s *settings) {
	s.add("slice-width", "10m", duration(&c.SliceWidth, time.Second, day), "answer time that shares one set of CDR ids; fixed when the balances are created")
	s.add("id-window", "35d", duration(&c.Window, time.Minute, longest), "how long the ids of CDRs are remembered; older CDRs are parked; fixed when the balances are created")
	s.add("expiry-grace", "6h", duration(&c.ExpiryGrace, time.Second, 30*day), "how long expired credit waits for calls made in time")
	s.add("max-duration", "24h", duration(&c.MaxDuration, time.Second, 30*day), "longer calls are parked; fixed when the balances are created")
	s.add("max-charge", "10000.00", amount(&c.MaxCharge, 1, rating.MaxTotal), "calls that cost more are parked, in units of their currency; fixed when the balances are created")
	s.add("max-purchase", "100000.00", amount(&c.MaxPurchase, 1, balance.MaxPurchase), "the most that one top-up, grant or recharge of the API may be, in units of its currency")
	s.add("session-timeout", "10s", duration(&c.SessionTimeout, time.Second, 30*time.Minute), "after which Kafka gives the partitions of a silent member to others; brokers set limits of their own, 6s at least by default")
	s.add("fetch-bytes", "1048576", whole(&c.FetchBytes, 4<<10, maxFetch), "bytes that are fetched from a partition at once")
	s.add("max-record-bytes", "1048576", whole(&c.MaxRecordBytes, 1<<10, maxRecord), "largest record of cdrs, if it is created")
}

// checkAPI returns what is wrong with the settings of the API.
func (c *runConfig) checkAPI(s *settings) []string {
	return append(s.required("tokens"), c.access.check(s, c.HTTP)...)
}

// check returns what is wrong with the others, that are right one by one.
func (c *runConfig) check(s *settings) (problems []string) {
	bad := func(name, format string, a ...any) {
		problems = append(problems, s.where(name)+": "+fmt.Sprintf(format, a...))
	}
	problems = append(problems, s.required("brokers", "redis", "deck")...)
	if s.read("redis", "redis-db") && len(c.Redis) > 1 && c.RedisDB != 0 {
		bad("redis-db", "\"%d\" is not possible with several addresses of --redis: a cluster has database 0 alone", c.RedisDB)
	}
	problems = append(problems, c.checkShape(s)...)
	if s.read("id-window", "cdr-retention") && c.Window > c.CDRRetention {
		bad("cdr-retention", "%q is shorter than the id window: expected at least %s (%s), and the age of the oldest Redis backup on top",
			days(c.CDRRetention), days(c.Window), s.where("id-window"))
	}
	if s.read("id-window", "slice-width") && c.SliceWidth > c.Window {
		bad("slice-width", "%q is longer than the id window: expected at most %s (%s)", days(c.SliceWidth), days(c.Window), s.where("id-window"))
	}
	used := map[string]string{}
	for _, t := range []struct{ name, topic string }{
		{"topic-cdrs", c.Topics.CDRs},
		{"topic-commands", c.Topics.Commands},
		{"topic-rated", c.Topics.Rated},
		{"topic-recharge-requests", c.Topics.RechargeRequests},
		{"topic-alerts", c.Topics.Alerts},
		{"topic-dead-letters", c.Topics.DeadLetters},
	} {
		if !s.read(t.name) {
			continue
		}
		if other := used[t.topic]; other != "" {
			bad(t.name, "%q is taken (%s): expected a topic of its own", t.topic, s.where(other))
		}
		used[t.topic] = t.name
	}
	return problems
}

func (c *processorConfig) checkShape(s *settings) []string {
	if !s.read("partitions", "shards") || c.Shards >= c.Partitions {
		return nil
	}
	return []string{fmt.Sprintf("%s: \"%d\" is less than the partitions: expected at least %d (%s)",
		s.where("shards"), c.Shards, c.Partitions, s.where("partitions"))}
}

// sandboxConfig is what `creditstream sandbox` is told.
type sandboxConfig struct {
	runConfig

	kafka    string
	dataDir  string
	simulate bool
	rate     int
	decline  []string
}

func (c *sandboxConfig) settings() *settings {
	// The sandbox has the defaults of run for what it has no flags of its own.
	for _, one := range c.runConfig.settings().list {
		if one.initial != "" {
			_ = one.set(one.initial) // tests see to it that defaults are valid
		}
	}
	s := newSettings()
	s.add("http", "127.0.0.1:8080", loopbackAddress(&c.HTTP), "address of the API, health and metrics; loopback only")
	c.access.tokenSettings(s, "file of the tokens that may use the API, as creditstream token makes them; default: everybody on this machine may")
	s.add("kafka", "127.0.0.1:9092", listenAddress(&c.kafka), "address of the embedded Kafka broker")
	s.add("data-dir", ".data", anyText(&c.dataDir, "dir"), "directory for everything that is kept; created if missing")
	s.add("simulate", "true", truth(&c.simulate), "start a simulated switch and a simulated payment service")
	s.add("rate", "20", whole(&c.rate, 1, 2000), "calls per second of the simulated switch")
	s.add("decline", "", allMatching(&c.decline, "account,...", `[A-Za-z0-9._@-]{1,64}`, "account names of 1 to 64 letters, digits and ._@-"),
		"accounts whose payments the simulated payment service declines: expired_card")
	s.add("redis", "", addresses(&c.Redis), "a Redis to use; default: a redis-server is started")
	s.add("deck", "", directory(&c.DeckDir), "directory of the rate deck; default: a sample with invented prices")
	c.formatConfig.settings(s)
	c.logConfig.settings(s, "warn")
	c.shapeSettings(s)
	return s
}

func (c *sandboxConfig) check(s *settings) (problems []string) {
	problems = c.checkShape(s)
	if len(c.Redis) > 1 {
		problems = append(problems, s.where("redis")+": names several addresses: expected one")
	}
	if s.read("http", "kafka") && c.HTTP == c.kafka {
		problems = append(problems, s.where("kafka")+": is the address of --http too: expected another")
	}
	return problems
}
