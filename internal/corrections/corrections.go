package corrections

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// MaxCalls is how many CDRs one run corrects.
const MaxCalls = 100_000

// Why a call is not corrected.
var (
	ErrNeverRated = errors.New("the call was never rated: nothing to correct; send it with creditstream load")
	ErrOnlyFree   = errors.New("the call was rated only as internal or emergency, and a record of it that is paid for would still be charged " +
		"beside a correction: send this one with creditstream load, which charges it once")
	ErrOvertaken = errors.New("another correction of the call came first: run this again")
	errNotThere  = errors.New("it was appended but is not in the log: was the commands topic made anew?")
)

// commander appends a command to the log.
type commander interface {
	Append(ctx context.Context, c *balance.Command) (partition int, offset int64, err error)
}

// Config is what a run needs; all is required.
type Config struct {
	Client     *kafka.Client
	Store      *balance.Store
	Commands   commander
	RatedTopic string
	Decks      *rating.Decks
	Operator   string
	Reason     string
	DryRun     bool
	Wait       time.Duration // for what was appended to be applied; zero: not at all
	Now        func() time.Time
}

// A Line is one corrected CDR, as it was read.
type Line struct {
	Line int
	CDR  rating.CDR
	Err  error // why it is none; then there is no CDR
}

// An Outcome says what became of a call.
type Outcome string

// Outcomes of a call that can be corrected.
const (
	Unchanged   Outcome = "unchanged"    // it costs what it should
	WouldAdjust Outcome = "would_adjust" // in a dry run
	Accepted    Outcome = "accepted"     // the adjustment is in the log, and counts once it is applied
	Adjusted    Outcome = "adjusted"     // it is applied
)

// A Result is what became of a Line.
type Result struct {
	Line     *Line
	Outcome  Outcome       // empty when there is an error
	Was, Now rating.Micros // what the call cost before, and costs
	Adjusted rating.Micros // what the customer is given; below zero, what is taken
	Currency string
	ID       string // of the command; empty when there is no difference
	Err      error
	Late     error // of an Accepted one that was waited for: why it is not known to be applied
}

// A run corrects the calls of some lines.
type run struct {
	Config

	calls    map[string]*call // by name
	accounts map[string]bool  // of the lines
	from     time.Time
	whole    time.Time     // since when nothing of the rated records has been deleted
	patience time.Duration // for what is not applied; Wait, until that was in vain
	readTo   map[int]int64 // of the commands topic: how far a partition was read
	strange  Strange
}

// Run corrects, in their order, and tells report of each line. It returns what it left
// out of the rated records. Its error is one that concerns no single line.
func Run(ctx context.Context, cfg *Config, lines []Line, report func(Result)) (Strange, error) {
	r := run{
		Config: *cfg, calls: map[string]*call{}, accounts: map[string]bool{}, readTo: map[int]int64{}, patience: cfg.Wait,
	}
	for i := range lines {
		r.expect(&lines[i])
	}
	err := r.read(ctx)
	for err == nil && len(lines) > 0 {
		n := min(len(lines), maxAwaited)
		err = r.correctAll(ctx, lines[:n], report)
		lines = lines[n:]
	}
	return r.strange, err
}

// read reads what the logs say of the calls.
func (r *run) read(ctx context.Context) error {
	if err := r.readRated(ctx); err != nil {
		return err
	}
	partitions := map[int]bool{}
	for _, x := range r.calls {
		partitions[r.partitionOf(x.account)] = true
	}
	for p := range partitions {
		if err := r.readCommands(ctx, p); err != nil {
			return err
		}
	}
	return r.readRefused(ctx)
}

// correctAll corrects some lines, waits until what it appended is applied, and tells
// of them. When ctx ends it tells of what it has done.
func (r *run) correctAll(ctx context.Context, lines []Line, report func(Result)) error {
	results := make([]Result, 0, len(lines))
	for i := range lines {
		if ctx.Err() != nil {
			break
		}
		res := Result{Line: &lines[i], Err: lines[i].Err}
		if res.Err == nil {
			res.Err = r.correct(ctx, &res)
		}
		results = append(results, res)
	}
	r.await(ctx, results)
	for _, res := range results {
		report(res)
	}
	return ctx.Err()
}

// margin is more than an answer time may lie after the time at which the call is
// rated, and clocks may differ.
const margin = 25 * time.Hour

func (r *run) expect(l *Line) {
	if l.Err != nil {
		return
	}
	c := &l.CDR
	r.callOf(balance.CDRName{Source: c.Source, ID: c.ID, AnsweredAt: c.AnsweredAt}, c.Account)
	from := c.AnsweredAt
	if c.Answered() {
		from = from.Add(-margin)
	}
	if len(r.accounts) == 0 || from.Before(r.from) {
		r.from = from
	}
	r.accounts[c.Account] = true
}

func (r *run) partitionOf(account string) int {
	return r.Store.CommandPartition(r.Store.ShardOf(account))
}

// readCommands reads the corrections of a partition, from where it was read to.
func (r *run) readCommands(ctx context.Context, partition int) error {
	topic := r.Store.CommandTopic()
	from, again := r.readTo[partition]
	if !again {
		var err error
		if from, err = r.Client.OffsetAt(ctx, topic, partition, r.from); err != nil {
			return err
		}
		r.readTo[partition] = from
	}
	for rec, err := range r.Client.Scan(ctx, topic, partition, from) {
		if err != nil {
			return err
		}
		r.readTo[partition] = rec.Offset + 1
		if !bytes.Contains(rec.Value, []byte(idPrefix)) {
			continue
		}
		c, err := balance.DecodeCommand(rec.Value)
		if errors.Is(err, balance.ErrNewerCommand) {
			return fmt.Errorf("%s/%d/%d: %w", topic, partition, rec.Offset, err)
		}
		if err != nil || c.Type != balance.Adjust {
			continue // a processor parks what is no command
		}
		name, number, ok := parseID(c.ID)
		if x := r.calls[name]; ok && x != nil && x.account == c.Account {
			x.takeStep(number, *c.Amount)
		}
	}
	return nil
}

// readRefused asks which corrections were refused. One that is not applied yet
// counts: what it would be refused for is beyond all money.
func (r *run) readRefused(ctx context.Context) error {
	for name, c := range r.calls {
		for number := range c.steps {
			was, found, err := r.Store.CommandResult(ctx, c.account, commandID(name, number))
			if err != nil {
				return err
			}
			if found && was.Refused != "" {
				c.refuse(number)
			}
		}
	}
	return nil
}

func (r *run) correct(ctx context.Context, res *Result) error {
	c := &res.Line.CDR
	x, err := r.meant(c)
	if err != nil {
		return err
	}
	charge, err := r.price(c)
	if err != nil {
		return err
	}
	res.Was, res.Now, res.Currency = x.cost(), charge.Amount, charge.Currency
	res.Adjusted = res.Was - res.Now
	if res.Adjusted == 0 {
		res.Outcome = Unchanged
		return nil
	}
	if res.Now > 0 && !x.paid && r.Now().Sub(c.AnsweredAt) < r.Store.Window()+margin {
		return cmp.Or(x.chargedElsewhere(), ErrOnlyFree)
	}
	a, err := r.Store.Account(ctx, c.Account)
	switch {
	case errors.Is(err, balance.ErrUnknownAccount):
		return errors.New("there is no such account: create it first")
	case err != nil:
		return err
	case charge.Amount > 0 && charge.Currency != a.Currency:
		return fmt.Errorf("the call costs %s, and the account has %s: correct the deck, or credit it by hand", charge.Currency, a.Currency)
	}
	res.Currency = a.Currency
	number := x.next()
	res.ID = commandID(x.name(), number)
	if r.DryRun {
		x.takeStep(number, res.Adjusted)
		res.Outcome = WouldAdjust
		return nil
	}
	return r.append(ctx, x, number, res)
}

// append appends the adjustment, and looks whether it was the first of its id.
func (r *run) append(ctx context.Context, x *call, number int, res *Result) error {
	c := &res.Line.CDR
	cmd := &balance.Command{
		Type: balance.Adjust, Account: c.Account, ID: res.ID, Amount: &res.Adjusted, Currency: res.Currency,
		Reason: r.Reason, Operator: r.Operator, CDR: &x.of,
	}
	partition, _, err := r.Commands.Append(ctx, cmd)
	if err != nil {
		return err
	}
	if err := r.readCommands(ctx, partition); err != nil {
		return err
	}
	switch first, found := x.steps[number]; {
	case !found:
		return errNotThere
	case first.amount != res.Adjusted, x.next() != number+1: // other money, or corrected further
		return ErrOvertaken
	}
	res.Outcome = Accepted
	return nil
}

// price says what a call costs by the decks; its age does not matter.
func (r *run) price(c *rating.CDR) (rating.Charge, error) {
	longest, dearest := r.Store.Limits()
	limits := consumer.Limits{Window: r.Store.Window(), MaxDuration: longest, MaxCharge: dearest}
	v := consumer.Price(r.Decks, limits, c.AnsweredAt.UnixMilli(), c)
	if v.Outcome == balance.Parked {
		return rating.Charge{}, fmt.Errorf("%s: %s", v.Reason, v.Message)
	}
	return v.Charge, nil
}
