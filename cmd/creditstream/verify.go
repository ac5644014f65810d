package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/verify"
	"github.com/creditstream/creditstream/rating"
)

// verifyConfig is what `creditstream verify` is told.
type verifyConfig struct {
	runConfig // for where everything is, and how records are read

	json    bool
	metrics string
}

func (c *verifyConfig) verifySettings() *settings {
	s := newSettings()
	s.borrow(c.settings(), "brokers", "redis", "redis-db", "deck", "format", "zone", "mapping", "topic-rated")
	s.add("json", "false", truth(&c.json), "one JSON object instead of text")
	s.add("metrics", "", anyText(&c.metrics, "file"), "write what was found to this file too, for the textfile collector of node_exporter")
	c.logConfig.settings(s, "warn")
	return s
}

func newVerify(environ func() []string) *cobra.Command {
	var c verifyConfig
	s := c.verifySettings()
	cmd := &cobra.Command{
		Use: "verify", Short: "Recompute all balances from the logs and compare them with Redis", Args: noArgs,
		Long: `Reads what every account holds in Redis, then credit-commands and cdrs from their
beginnings as far as Redis has applied them, recomputes what every account must hold, and
tells of each that holds something else, with the records that explain it. Processors may
run meanwhile. Give the same decks, format, zone and mapping as they have. Nothing is changed.

Where the beginning of cdrs is gone, what those calls cost is taken from rated-cdrs, if that
still has its own.

The exit code is 0 when every account holds what the logs say, 1 when one does not, and 2
when nobody can tell: something could not be read, or not all can be recomputed any more.`,
		Example: `  creditstream verify --brokers kafka-1:9092 --redis redis-1:6379 --deck /etc/creditstream/deck
  creditstream verify --config /etc/creditstream/creditstream.yaml --metrics /var/lib/node_exporter/creditstream-verify.prom`,
	}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		problems := append(s.resolve(cmd.Flags(), environ, isSetting), s.required("brokers", "redis", "deck")...)
		decks, more := loadDeck(s, c.DeckDir, nil)
		formats, wrong := c.load(s)
		if err := problemsError(append(append(problems, more...), wrong...)); err != nil {
			return err
		}
		return c.run(cmd.Context(), formats, decks, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// cannotTell is an error that leaves open whether all is well.
type cannotTell struct{ error }

func (e cannotTell) Unwrap() error { return e.error }

func (c *verifyConfig) run(ctx context.Context, formats cdr.Options, decks *rating.Decks, stdout, stderr io.Writer) error {
	rep, err := c.compare(ctx, formats, decks, stderr)
	if err != nil && ctx.Err() != nil { // what the last one has written stays
		return cannotTell{errors.New("interrupted: nothing was compared to the end")}
	}
	if c.metrics != "" {
		if err := errors.Join(err, writeVerified(c.metrics, rep, time.Now())); err != nil {
			return cannotTell{err}
		}
	}
	if err != nil {
		return cannotTell{err}
	}
	p := verified{printer: printer{out: stdout}}
	if c.json {
		p.json(rep)
	} else {
		p.text(rep)
	}
	switch {
	case p.err != nil:
		return cannotTell{p.err}
	case rep.Verdict() == verify.Differs:
		return errSomeDiffer(len(rep.Differences))
	case rep.Verdict() == verify.Unknown:
		return cannotTell{errors.New("not all could be recomputed: " + rep.Unverified)}
	}
	return nil
}

// errSomeDiffer is the error of a comparison that has told of each difference.
type errSomeDiffer int

func (e errSomeDiffer) Error() string { return count(int(e), "difference") + ": see above" }

// compare connects and compares, with a bar.
func (c *verifyConfig) compare(ctx context.Context, formats cdr.Options, decks *rating.Decks, stderr io.Writer) (*verify.Report, error) {
	log := c.logger(stderr)
	redis.SetLogger(redisLog{log}) // else go-redis writes lines of its own to stderr
	client, err := kafka.New(kafka.Config{Brokers: c.Brokers, ClientID: "creditstream-verify", Logger: log})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	rdb := balance.Client(&redis.UniversalOptions{Addrs: c.Redis, DB: c.RedisDB})
	defer func() { _ = rdb.Close() }()
	store, err := balance.Attach(ctx, rdb, time.Now)
	if err != nil {
		return nil, err
	}
	bar := newProgress(stderr, 0, time.Now())
	defer bar.clear()
	var mu sync.Mutex
	return verify.Run(ctx, &verify.Config{
		Client: client, Store: store, RatedTopic: c.Topics.Rated, Decoder: cdr.NewDecoder(formats), Mappings: mappingVersions(&formats),
		Decks: decks, Now: time.Now, Progress: func(done, total int64) {
			mu.Lock()
			defer mu.Unlock()
			bar.total = total
			bar.show(done, int(done), time.Now())
		},
	})
}

// verified tells of a comparison.
type verified struct{ printer }

func (p *verified) text(rep *verify.Report) {
	for i := range rep.Differences {
		p.difference(&rep.Differences[i])
	}
	if rep.Unverified != "" {
		p.line("not compared: %s", rep.Unverified)
	}
	speed := float64(rep.Commands+rep.CDRs+rep.Rated) / max(rep.Took.Seconds(), 0.001)
	p.line("%s: %s compared with %s and %s in %s (%.0f/s), %s", rep.Verdict(), count(rep.Accounts, "account"),
		count(int(rep.Commands), "command"), count(int(rep.CDRs), "CDR"), rep.Took.Round(time.Millisecond), speed, count(len(rep.Differences), "difference"))
	if rep.Rated > 0 {
		p.line("the CDRs of %s are gone: what they cost was taken from rated-cdrs, so that a wrong price there is not found",
			count(int(rep.Rated), "call"))
	}
	if rep.Doubtful > 0 {
		p.line("%s came in copies that differ in price: whichever was applied first counts, and each price was taken for right",
			count(rep.Doubtful, "call"))
	}
}

func (p *verified) difference(d *verify.Difference) {
	off := ""
	if m, ok := d.Money(); ok {
		off = fmt.Sprintf("  (%s more in Redis)", m)
		if m < 0 {
			off = fmt.Sprintf("  (%s less in Redis)", -m)
		}
	}
	p.line("%s  shard %d  %s: the logs say %s, Redis has %s%s", safe(d.Account), d.Shard, d.Field, safe(d.Logs), safe(d.Redis), off)
	switch {
	case d.Found != "":
		p.line("    %s: %s", d.Found, count(d.Count, "record"))
	case d.Off != nil:
		p.line("    no record, and no run of records of one partition, explains it")
	}
	for _, r := range d.Records {
		rated := ""
		if r.Rated != "" {
			rated = "  rated as " + r.Rated
		}
		p.line("    %s/%d  %s  %s%s", safe(r.Source.String()), r.Offset, safe(r.ID), r.Amount, rated)
	}
	if d.Count > len(d.Records) {
		p.line("    and %d more", d.Count-len(d.Records))
	}
}
