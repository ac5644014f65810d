package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/corrections"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// correctConfig is what `creditstream correct` is told.
type correctConfig struct {
	runConfig // for where everything is

	source   string
	appended time.Time // zero: now
	operator string
	text     string
	dryRun   bool
	wait     time.Duration
}

func (c *correctConfig) correctSettings() *settings {
	s := newSettings()
	s.borrow(c.settings(), "brokers", "redis", "redis-db", "deck", "topic-rated", "format", "zone", "mapping")
	s.byName["format"].usage = strings.Replace(s.byName["format"].usage, "CDRs whose content-type names none", "the file", 1)
	s.add("source", "", anyText(&c.source, "name"), "source of the CDRs, as a header cdr-source would name it: it chooses the rules of the mapping")
	s.add("appended-at", "", moment(&c.appended, time.Now()), "read records as if they were appended then, by the version of the mapping that was active; default: now")
	c.logConfig.settings(s, "warn")
	s.add("wait", "30s", duration(&c.wait, 0, time.Hour), "how long to wait until the adjustments are applied; 0: not at all")
	s.add("reason-text", "corrected CDR", matching(&c.text, oneLine, oneLineExpected), "why, for the log")
	actSettings(s, &c.operator, &c.dryRun)
	return s
}

func newCorrect(environ func() []string) *cobra.Command {
	var c correctConfig
	s := c.correctSettings()
	cmd := &cobra.Command{
		Use: "correct FILE", Short: "Make charges what corrected CDRs say",
		Long: `Reads corrected CDRs of any format, finds what each call (source, id, account and answer
time) has cost so far, rates the corrected one, and appends an adjustment of the
difference. Then it waits until the processors have applied it. It prints a line of JSON
for each; what cannot be corrected, was refused, or is not applied in time goes to
stderr with its line, and makes the exit code 1. What is no call of its own is left out.
The file - is stdin.

Give the same --zone and --mapping as the processors have: nothing is corrected unless
they are, as a call is found by its source, id, account and answer time.

To repeat it is safe: the same file twice changes nothing. Of two runs at the same time
one counts, and the other says so.`,
		Example: `  creditstream correct --brokers kafka-1:9092 --redis redis-1:6379 --deck /etc/creditstream/deck --dry-run fixed.jsonl
  creditstream correct --config /etc/creditstream/creditstream.yaml --format asterisk-csv --mapping mapping.yaml --source pbx-1 fixed.csv
  creditstream correct --config /etc/creditstream/creditstream.yaml --reason-text "wrong rate, ticket 4711" --operator support fixed.jsonl`,
		Args: exactly("FILE"),
	}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		problems := append(s.resolve(cmd.Flags(), environ, isSetting), s.required("brokers", "redis", "deck")...)
		decks, more := loadDeck(s, c.DeckDir, nil)
		opt, wrong := c.load(s)
		if err := problemsError(slices.Concat(problems, more, wrong)); err != nil {
			return err
		}
		c.Formats = opt
		lines, err := c.file(args[0], cmd.InOrStdin(), &opt)
		if err != nil {
			return err
		}
		return c.run(cmd.Context(), args[0], lines, decks, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// file reads a file of corrected CDRs.
func (c *correctConfig) file(name string, stdin io.Reader, opt *cdr.Options) ([]corrections.Line, error) {
	if name == stdinName {
		return c.read("stdin", stdin, opt)
	}
	f, err := os.Open(name) //nolint:gosec // the file that we were told to read
	if err != nil {
		return nil, usageError{err}
	}
	defer func() { _ = f.Close() }() // it is only read
	return c.read(name, f, opt)
}

func (c *correctConfig) read(name string, from io.Reader, opt *cdr.Options) ([]corrections.Line, error) {
	appended := c.appended
	if appended.IsZero() {
		appended = time.Now()
	}
	d := cdr.NewDecoder(*opt)
	lines, err := corrections.Read(from, opt.Format, func(p *cdr.Piece, call *rating.CDR) error {
		return decodePiece(d, p, c.source, appended, call)
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
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
	if err := checkFile(ctx, store, c.Formats); err != nil {
		return fmt.Errorf("nothing is corrected, as processors read records otherwise: %w", err)
	}
	partitionOf := func(account string) int { return store.CommandPartition(store.ShardOf(account)) }
	cfg := &corrections.Config{
		Client: client, Store: store, Commands: alerts.NewCommands(client, store.CommandTopic(), partitionOf), RatedTopic: c.Topics.Rated,
		Decks: decks, Operator: by, Reason: c.text, DryRun: c.dryRun, Wait: c.wait, Now: time.Now,
	}
	p := corrected{
		printer: printer{out: stderr}, stdout: printer{out: stdout}, file: file, dryRun: c.dryRun, counts: map[corrections.Outcome]int{},
	}
	strange, err := corrections.Run(ctx, cfg, lines, p.print)
	if err != nil {
		return err
	}
	if strange.Records > 0 {
		p.line("left out of topic %[2]s: %[1]s of somebody else; the first is %[3]s", count(strange.Records, "record"), c.Topics.Rated,
			safe(strange.First.Error()))
	}
	return p.end()
}

// corrected tells of corrections: JSON on stdout, faults and a sum on stderr.
type corrected struct {
	printer

	stdout  printer
	file    string
	dryRun  bool
	counts  map[corrections.Outcome]int
	late    int
	skipped int
}

// correctionJSON is a line of `creditstream correct`. Members may be added.
type correctionJSON struct {
	Line     int                 `json:"line"`
	Source   string              `json:"source"`
	ID       string              `json:"id"`
	Account  string              `json:"account"`
	Was      rating.Micros       `json:"was"`
	Now      rating.Micros       `json:"now"`
	Adjusted rating.Micros       `json:"adjusted"`
	Currency string              `json:"currency,omitempty"`
	Outcome  corrections.Outcome `json:"outcome"`
	Command  string              `json:"command,omitempty"`
}

func (p *corrected) print(r corrections.Result) {
	if _, ok := errors.AsType[*cdr.Skip](r.Err); ok {
		p.skipped++
		return
	}
	if r.Err != nil {
		p.fail("%s:%d: %w", p.file, r.Line.Line, r.Err)
		return
	}
	c := &r.Line.CDR
	text, err := json.Marshal(correctionJSON{
		Line: r.Line.Line, Source: c.Source, ID: c.ID, Account: c.Account, Was: r.Was, Now: r.Now, Adjusted: r.Adjusted,
		Currency: r.Currency, Outcome: r.Outcome, Command: r.ID,
	})
	if err != nil {
		p.fail("%s:%d: %w", p.file, r.Line.Line, err)
		return
	}
	p.stdout.line("%s", text)
	p.counts[r.Outcome]++
	if r.Late != nil {
		p.late++
		p.fail("%s:%d: %w", p.file, r.Line.Line, r.Late)
	}
}

func (p *corrected) end() error {
	text := count(p.counts[corrections.Adjusted], "call") + " adjusted"
	if p.dryRun {
		text = count(p.counts[corrections.WouldAdjust], "call") + " would be adjusted"
	}
	if n := p.counts[corrections.Accepted]; n > 0 {
		text += fmt.Sprintf(", %d accepted and not yet applied", n)
	}
	text += fmt.Sprintf(", %d unchanged, %d not corrected", p.counts[corrections.Unchanged], p.failed-p.late)
	if p.skipped > 0 {
		text += fmt.Sprintf(", %d skipped: no calls of their own", p.skipped)
	}
	p.line("%s", text)
	return errors.Join(p.stdout.err, p.printer.end())
}
