package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/corrections"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// correctConfig is what `creditstream correct` is told.
type correctConfig struct {
	runConfig // for where everything is

	operator string
	text     string
	dryRun   bool
}

func (c *correctConfig) correctSettings() *settings {
	s := newSettings()
	s.borrow(c.settings(), "brokers", "redis", "redis-db", "deck", "topic-rated")
	c.logConfig.settings(s, "warn")
	s.add("reason-text", "corrected CDR", matching(&c.text, oneLine, oneLineExpected), "why, for the log")
	actSettings(s, &c.operator, &c.dryRun)
	return s
}

func newCorrect(environ func() []string) *cobra.Command {
	var c correctConfig
	s := c.correctSettings()
	cmd := &cobra.Command{
		Use: "correct FILE", Short: "Make charges what corrected CDRs say",
		Long: `Reads corrected CDRs, in canonical JSON one after the other, finds what each call (source,
id, account and answer time) has cost so far, rates the corrected one, and appends an
adjustment of the difference. It prints a line of JSON for each; what cannot be
corrected goes to stderr with its line, and makes the exit code 1.

To repeat it is safe: the same file twice changes nothing. Of two runs at the same time
one counts, and the other says so. An adjustment counts when a processor has applied it.`,
		Example: `  creditstream correct --brokers kafka-1:9092 --redis redis-1:6379 --deck /etc/creditstream/deck --dry-run fixed.jsonl
  creditstream correct --config /etc/creditstream/creditstream.yaml --reason-text "wrong rate, ticket 4711" --operator support fixed.jsonl`,
		Args: exactly("FILE"),
	}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		problems := append(s.resolve(cmd.Flags(), environ, isSetting), s.required("brokers", "redis", "deck")...)
		decks, more := loadDeck(s, c.DeckDir, nil)
		if err := problemsError(append(problems, more...)); err != nil {
			return err
		}
		lines, err := readCorrections(args[0])
		if err != nil {
			return err
		}
		return c.run(cmd.Context(), args[0], lines, decks, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

func readCorrections(file string) ([]corrections.Line, error) {
	f, err := os.Open(file) //nolint:gosec // the file that we were told to read
	if err != nil {
		return nil, usageError{err}
	}
	lines, err := corrections.Read(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return lines, nil
}

func (c *correctConfig) run(ctx context.Context, file string, lines []corrections.Line, decks *rating.Decks, stdout, stderr io.Writer) error {
	by, err := actor(c.operator)
	if err != nil {
		return err
	}
	log := c.logger(stderr)
	redis.SetLogger(redisLog{log}) // else go-redis writes lines of its own to stderr
	client, err := kafka.New(kafka.Config{Brokers: c.Brokers, ClientID: "creditstream-correct", Logger: log})
	if err != nil {
		return err
	}
	defer client.Close()
	rdb := balance.Client(&redis.UniversalOptions{Addrs: c.Redis, DB: c.RedisDB})
	defer func() { _ = rdb.Close() }()
	store, err := balance.Attach(ctx, rdb, time.Now)
	if err != nil {
		return err
	}
	partitionOf := func(account string) int { return store.CommandPartition(store.ShardOf(account)) }
	cfg := &corrections.Config{
		Client: client, Store: store, Commands: alerts.NewCommands(client, store.CommandTopic(), partitionOf), RatedTopic: c.Topics.Rated,
		Decks: decks, Operator: by, Reason: c.text, DryRun: c.dryRun,
	}
	p := corrected{printer: printer{out: stderr}, stdout: printer{out: stdout}, file: file, dryRun: c.dryRun}
	if err := corrections.Run(ctx, cfg, lines, p.print); err != nil {
		return err
	}
	return p.end()
}

// corrected tells of corrections: JSON on stdout, faults and a sum on stderr.
type corrected struct {
	printer

	stdout              printer
	file                string
	dryRun              bool
	adjusted, unchanged int
}

// correctionJSON is a line of `creditstream correct`. Members may be added.
type correctionJSON struct {
	Line     int           `json:"line"`
	Source   string        `json:"source"`
	ID       string        `json:"id"`
	Account  string        `json:"account"`
	Was      rating.Micros `json:"was"`
	Now      rating.Micros `json:"now"`
	Adjusted rating.Micros `json:"adjusted"`
	Currency string        `json:"currency,omitempty"`
	Outcome  string        `json:"outcome"` // adjusted, would_adjust, unchanged
	Command  string        `json:"command,omitempty"`
}

func (p *corrected) print(r corrections.Result) {
	if r.Err != nil {
		p.fail("%s:%d: %w", p.file, r.Line.Line, r.Err)
		return
	}
	c := &r.Line.CDR
	v := correctionJSON{
		Line: r.Line.Line, Source: c.Source, ID: c.ID, Account: c.Account, Was: r.Was, Now: r.Now, Adjusted: r.Adjusted,
		Currency: r.Currency, Outcome: "adjusted", Command: r.ID,
	}
	switch {
	case r.Adjusted == 0:
		v.Outcome = "unchanged"
		p.unchanged++
	case p.dryRun:
		v.Outcome = "would_adjust"
		p.adjusted++
	default:
		p.adjusted++
	}
	text, err := json.Marshal(v)
	if err != nil {
		p.fail("%s:%d: %w", p.file, r.Line.Line, err)
		return
	}
	p.stdout.line("%s", text)
}

func (p *corrected) end() error {
	verb := "adjusted"
	if p.dryRun {
		verb = "would be adjusted"
	}
	p.line("%s %s, %d unchanged, %d not corrected", count(p.adjusted, "call"), verb, p.unchanged, p.failed)
	return errors.Join(p.stdout.err, p.printer.end())
}
