package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/user"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/letters"
	"github.com/creditstream/creditstream/rating"
)

// dlqConfig is what `creditstream dlq` is told.
type dlqConfig struct {
	runConfig // for what the dead letters were made with

	filter   letters.Filter
	all      bool
	limit    int
	json     bool
	metrics  string
	raw      bool
	dryRun   bool
	another  bool
	unsure   bool
	operator string
	text     string
}

// dlqSettings returns the settings that all of its commands have, from which each
// adds its own.
func (c *dlqConfig) dlqSettings() *settings {
	s := newSettings()
	s.borrow(c.settings(), "brokers", "topic-dead-letters", "format", "zone", "mapping")
	c.logConfig.settings(s, "warn")
	return s
}

func (c *dlqConfig) filterSettings(s *settings) {
	now := time.Now()
	s.add("reason", "", reasons(&c.filter.Reasons), "only those parked for one of these reasons")
	s.add("account", "", anyText(&c.filter.Account, "account"), "only those of this account, as far as the records can be read")
	s.add("source", "", anyText(&c.filter.Source, "source"), "only those that this switch wrote, as far as the records can be read")
	s.add("since", "", moment(&c.filter.Since, now), "only records appended at this time or later")
	s.add("until", "", moment(&c.filter.Until, now), "only records appended before this time")
	s.add("id", "", letterIDs(&c.filter.IDs), "only these dead letters")
}

func (c *dlqConfig) listSettings() *settings {
	s := c.dlqSettings()
	c.filterSettings(s)
	s.add("all", "false", truth(&c.all), "count and show those too that were replayed or dropped")
	s.add("limit", "20", whole(&c.limit, 0, letters.MaxLetters), "how many are shown, the newest first")
	s.add("json", "false", truth(&c.json), "one JSON object instead of text")
	s.add("metrics", "", anyText(&c.metrics, "file"), "write the counts to this file too, for the textfile collector of node_exporter")
	return s
}

func (c *dlqConfig) showSettings() *settings {
	s := c.dlqSettings()
	s.add("raw", "false", truth(&c.raw), "write the value alone, byte for byte")
	return s
}

func (c *dlqConfig) replaySettings() *settings {
	s := c.dlqSettings()
	c.filterSettings(s)
	s.borrow(c.settings(), "topic-cdrs", "deck", "redis", "redis-db", "id-window", "max-duration", "max-charge")
	s.byName["deck"].usage = "rate deck: then each line says what a processor would make of the record now"
	s.byName["redis"].usage = "Redis of the processors: nothing is sent unless format, zone and mapping are theirs"
	s.add("another-call", "false", truth(&c.another), "send those too of which the mapping makes another call now than since they were appended")
	s.add("unchecked", "false", truth(&c.unsure), "send without --redis: a call is charged twice if format, zone or mapping are not those of the processors")
	actSettings(s, &c.operator, &c.dryRun)
	return s
}

func (c *dlqConfig) dropSettings() *settings {
	s := c.dlqSettings()
	c.filterSettings(s)
	s.add("reason-text", "", matching(&c.text, oneLine, oneLineExpected), "why nobody needs these records")
	actSettings(s, &c.operator, &c.dryRun)
	return s
}

const (
	oneLine         = `[^\x00-\x1f\x7f-\x{9f}]{1,256}`
	oneLineExpected = "1 to 256 characters on one line"
)

// actSettings are those of commands that change something.
func actSettings(s *settings, operator *string, dryRun *bool) {
	s.add("operator", "", operatorName(operator), "who does this; default: the user of the operating system")
	s.add("dry-run", "false", truth(dryRun), "only say what would be done")
}

// chosen returns what is wrong with a choice of dead letters.
func (c *dlqConfig) chosen(s *settings) []string {
	if c.filter.IsZero() && s.read("reason", "account", "source", "since", "until", "id") {
		return []string{"nothing is chosen: give at least one of --reason, --account, --source, --since, --until and --id"}
	}
	return nil
}

// actor returns the operator as he was named, else the user of the operating system.
func actor(operator string) (string, error) {
	if operator != "" {
		return operator, nil
	}
	u, err := user.Current()
	if err != nil {
		return "", usageError{fmt.Errorf("the user of the operating system is not known (%w): give --operator", err)}
	}
	var name string
	if err := operatorName(&name).set(u.Username); err != nil {
		return "", usageError{fmt.Errorf("the user of the operating system, %q, %w: give --operator", u.Username, err)}
	}
	return name, nil
}

// operatorName reads what a command or a marker may carry of who did it.
func operatorName(at *string) value {
	return matching(at, `[!-~]{1,128}`, "1 to 128 visible ASCII characters")
}

// box connects to the dead-letter topic. The caller closes the client.
func (c *dlqConfig) box(formats cdr.Options, log *slog.Logger) (*letters.Box, error) {
	client, err := kafka.New(kafka.Config{Brokers: c.Brokers, ClientID: "creditstream-dlq", Logger: log})
	if err != nil {
		return nil, err
	}
	return &letters.Box{Client: client, Topic: c.Topics.DeadLetters, Decoder: cdr.NewDecoder(formats), Now: time.Now}, nil
}

// A dlqCommand is one command of `creditstream dlq`.
type dlqCommand struct {
	cobra.Command

	settings *settings
	check    func() []string
	run      func(ctx context.Context, box *letters.Box, args []string, out io.Writer) error
}

func (d *dlqCommand) build(c *dlqConfig, environ func() []string) *cobra.Command {
	cmd := &d.Command
	if cmd.Args == nil {
		cmd.Args = noArgs
	}
	d.settings.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		problems := append(d.settings.resolve(cmd.Flags(), environ, isSetting), d.settings.required("brokers")...)
		formats, wrong := c.load(d.settings)
		problems = append(problems, wrong...)
		c.Formats = formats
		if d.check != nil {
			problems = append(problems, d.check()...)
		}
		if err := problemsError(problems); err != nil {
			return err
		}
		box, err := c.box(formats, c.logger(cmd.ErrOrStderr()))
		if err != nil {
			return err
		}
		defer box.Client.Close()
		return d.run(cmd.Context(), box, args, cmd.OutOrStdout())
	}
	return cmd
}

func newDLQ(environ func() []string) *cobra.Command {
	dlq := &cobra.Command{
		Use: "dlq", Short: "Work with records that were parked", Args: cobra.ArbitraryArgs,
		Long: `Lists the records that could not be charged, shows one, sends them back to their
topic, or closes those that nobody needs. A dead letter is named by the place of its
record in the log: topic/partition/offset.`,
		Example: `  creditstream dlq list --brokers kafka-1:9092
  creditstream dlq show --brokers kafka-1:9092 cdrs/3/81723
  creditstream dlq replay --brokers kafka-1:9092 --redis redis-1:6379 --deck /etc/creditstream/deck --reason no_rate --since 2d --dry-run
  creditstream dlq drop --brokers kafka-1:9092 --source lab-1 --reason-text "calls of the test bench"`,
		RunE:                       helpOrUnknown,
		SuggestionsMinimumDistance: 2,
	}
	dlq.AddCommand(newDLQList(environ), newDLQShow(environ), newDLQReplay(environ), newDLQDrop(environ))
	return dlq
}

func newDLQList(environ func() []string) *cobra.Command {
	var c dlqConfig
	d := dlqCommand{settings: c.listSettings(), Command: cobra.Command{
		Use: "list", Short: "Count parked records, and show the newest",
		Long: `Counts the open dead letters by reason, source and hour, and shows the newest with
what is wrong and where. Open means: neither replayed nor dropped.`,
		Example: `  creditstream dlq list --brokers kafka-1:9092
  creditstream dlq list --brokers kafka-1:9092 --reason no_rate,bad_number --since 12h --limit 100
  creditstream dlq list --brokers kafka-1:9092 --json --all --account acme
  creditstream dlq list --brokers kafka-1:9092 --limit 0 --metrics /var/lib/node_exporter/creditstream.prom`,
	}}
	d.run = func(ctx context.Context, box *letters.Box, _ []string, out io.Writer) error {
		return c.list(ctx, box, out)
	}
	return d.build(&c, environ)
}

func newDLQShow(environ func() []string) *cobra.Command {
	var c dlqConfig
	d := dlqCommand{settings: c.showSettings(), Command: cobra.Command{
		Use: "show ID", Short: "Show one parked record",
		Long: `Shows why a record was parked, its headers and its bytes: as text, with everything
escaped that could control a terminal, or as hexadecimal when they are no text.`,
		Example: `  creditstream dlq show --brokers kafka-1:9092 cdrs/3/81723
  creditstream dlq show --brokers kafka-1:9092 --raw cdrs/3/81723 >record.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("expected the id of one dead letter, such as cdrs/3/81723: see %s --help", cmd.CommandPath())}
			}
			_, err := alerts.ParseLetterID(args[0])
			if err != nil {
				err = usageError{err}
			}
			return err
		},
	}}
	d.run = func(ctx context.Context, box *letters.Box, args []string, out io.Writer) error {
		id, err := alerts.ParseLetterID(args[0])
		if err != nil {
			return err
		}
		return c.show(ctx, box, id, out)
	}
	return d.build(&c, environ)
}

func newDLQReplay(environ func() []string) *cobra.Command {
	var c dlqConfig
	var decks *rating.Decks
	s := c.replaySettings()
	d := dlqCommand{settings: s, Command: cobra.Command{
		Use: "replay", Short: "Send parked records back to their topic",
		Long: `Sends open dead letters back to the topic and partition that they came from, byte
for byte, and marks each as replayed. To repeat it is safe: the id of
a call is claimed with its charge. With --deck each line says what a processor would
make of the record now; whether the account exists, and whether the call was charged
before, is not looked at. A record that is parked again is a new dead letter.
With --id, closed ones are sent again too.

A record that is sent again is appended anew, and means what the mapping says then.
One that would become another call than it was at any time since it was first
appended is not sent without --another-call: the id that makes a repeat safe would
be another, too. Give the same --format, --zone and --mapping as the processors
have, and --redis: nothing is sent unless they are. A dry run may do without.`,
		Example: `  creditstream dlq replay --brokers kafka-1:9092 --redis redis-1:6379 --deck /etc/creditstream/deck --reason no_rate --since 2026-11-20 --dry-run
  creditstream dlq replay --brokers kafka-1:9092 --redis redis-1:6379 --mapping mapping.yaml --reason unknown_account --account acme
  creditstream dlq replay --config /etc/creditstream/creditstream.yaml --id cdrs/3/81723,cdrs/0/9`,
	}}
	d.check = func() []string {
		var wrong []string
		decks, wrong = loadDeck(s, c.DeckDir, nil)
		if c.dryRun && c.DeckDir == "" && s.read("deck", "dry-run") {
			wrong = append(wrong, "a dry run says what would become of each record: give --deck, the directory that the processors have")
		}
		if len(c.Redis) == 0 && !c.dryRun && !c.unsure && s.read("redis", "dry-run", "unchecked") {
			wrong = append(wrong, "redis is required, to see that format, zone and mapping are those of the processors: else a call may be charged twice; "+
				"--unchecked sends without it")
		}
		return append(wrong, c.chosen(s)...)
	}
	d.run = func(ctx context.Context, box *letters.Box, _ []string, out io.Writer) error {
		return c.replay(ctx, box, decks, out)
	}
	return d.build(&c, environ)
}

func newDLQDrop(environ func() []string) *cobra.Command {
	var c dlqConfig
	s := c.dropSettings()
	d := dlqCommand{settings: s, Command: cobra.Command{
		Use: "drop", Short: "Close parked records that nobody needs",
		Long: `Marks open dead letters as dropped, with who did it, when and why. Nothing is
deleted: dlq list --all and dlq show still have them until their retention is over, and
dlq replay --id sends one after all.`,
		Example: `  creditstream dlq drop --brokers kafka-1:9092 --source lab-1 --reason-text "calls of the test bench" --dry-run
  creditstream dlq drop --brokers kafka-1:9092 --id cdrs/3/81723 --reason-text "credited by hand, ticket 4711" --operator support`,
	}}
	d.check = func() []string { return append(s.required("reason-text"), c.chosen(s)...) }
	d.run = func(ctx context.Context, box *letters.Box, _ []string, out io.Writer) error {
		return c.drop(ctx, box, out)
	}
	return d.build(&c, environ)
}

func (c *dlqConfig) replay(ctx context.Context, box *letters.Box, decks *rating.Decks, out io.Writer) error {
	by, err := actor(c.operator)
	if err != nil {
		return err
	}
	if len(c.Redis) > 0 {
		if err := c.checkMappings(ctx, box.Now); err != nil {
			return err
		}
	}
	index, err := box.Index(ctx, &c.filter)
	if err != nil {
		return err
	}
	entries := index.Open()
	if len(c.filter.IDs) > 0 {
		entries = index.OldestFirst()
	}
	verb := "sent"
	if c.dryRun {
		verb = "would be sent"
	}
	p := newReplayed(out, len(entries), verb)
	if len(c.Redis) == 0 {
		p.line("format, zone and mapping are not compared with those of the processors: give --redis; else what is said here may be wrong")
	}
	r := letters.Replay{
		Box: box, CDRTopic: c.Topics.CDRs, Operator: by, DryRun: c.dryRun, AnotherCall: c.another, Decks: decks,
		Limits: consumer.Limits{Window: c.Window, MaxDuration: c.MaxDuration, MaxCharge: c.MaxCharge}, Report: p.print,
	}
	if err := r.Run(ctx, entries); err != nil {
		return errors.Join(err, p.err)
	}
	p.missing(c.filter.IDs, index)
	return p.end(index)
}

// checkMappings returns an error when records are read otherwise than by processors.
func (c *dlqConfig) checkMappings(ctx context.Context, now func() time.Time) error {
	rdb := balance.Client(&redis.UniversalOptions{Addrs: c.Redis, DB: c.RedisDB})
	defer func() { _ = rdb.Close() }()
	store, err := balance.Attach(ctx, rdb, now)
	if err != nil {
		return err
	}
	// What was appended before the id window is too old to be charged, whatever it means.
	if err := store.CheckMappings(ctx, mappingVersions(&c.Formats), store.Window()); err != nil {
		return fmt.Errorf("nothing is sent, as processors read records otherwise: %w", err)
	}
	return nil
}

func (c *dlqConfig) drop(ctx context.Context, box *letters.Box, out io.Writer) error {
	by, err := actor(c.operator)
	if err != nil {
		return err
	}
	index, err := box.Index(ctx, &c.filter)
	if err != nil {
		return err
	}
	open := index.Open()
	verb := "dropped"
	p := printer{out: out}
	tell := func(e *letters.Entry) { p.line("%s  %s", verb, entryLine(e)) }
	if c.dryRun {
		verb = "would drop"
		for _, e := range open {
			tell(e)
		}
	} else if err := box.Drop(ctx, open, by, c.text, tell); err != nil {
		return errors.Join(err, p.err)
	}
	p.line("%s %s", verb, count(len(open), "dead letter"))
	p.unread(index)
	for _, id := range c.filter.IDs {
		switch e := index.Find(id); {
		case e == nil:
			p.fail("%s: %w", id, letters.ErrUnknown)
		case e.Marker != nil:
			p.fail("%s: is not open: it was %s by %s at %s", id, e.Marker.Done, e.Marker.By, e.Marker.At.Format(time.RFC3339))
		}
	}
	return p.end()
}
