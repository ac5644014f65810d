package corrections

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// MaxCalls is how many CDRs one run corrects.
const MaxCalls = 100_000

// Why a call is not corrected.
var (
	ErrNeverRated = errors.New("the call was never rated: nothing to correct; send it with creditstream load")
	ErrOvertaken  = errors.New("another correction of the call came first: run this again")
	errNotThere   = errors.New("it was appended but is not in the log: was the commands topic made anew?")
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
}

// A Line is one corrected CDR, as it was read.
type Line struct {
	Line  int
	CDR   rating.CDR
	Value []byte
	Err   error // why it is none; then there is no CDR
}

// A Result is what became of a Line.
type Result struct {
	Line     *Line
	Was, Now rating.Micros // what the call cost before, and costs
	Adjusted rating.Micros // what the customer is given; below zero, what is taken
	Currency string
	ID       string // of the command; empty when there is no difference
	Err      error
}

// A run corrects the calls of some lines.
type run struct {
	Config

	decoder  *cdr.Decoder
	calls    map[string]*call // by name
	accounts map[string]bool
	from     time.Time
	read     map[int]int64 // of the commands topic: how far a partition was read
}

// Run corrects, in their order, and tells report of each line. Its error is one
// that concerns no single line.
func Run(ctx context.Context, cfg *Config, lines []Line, report func(Result)) error {
	r := run{
		Config: *cfg, decoder: cdr.NewDecoder(cdr.Options{}), calls: map[string]*call{}, accounts: map[string]bool{}, read: map[int]int64{},
	}
	for i := range lines {
		r.expect(&lines[i])
	}
	if err := r.readRated(ctx); err != nil {
		return err
	}
	for account := range r.accounts {
		if err := r.readCommands(ctx, r.partitionOf(account)); err != nil {
			return err
		}
	}
	if err := r.readRefused(ctx); err != nil {
		return err
	}
	for i := range lines {
		if err := ctx.Err(); err != nil {
			return err
		}
		res := Result{Line: &lines[i], Err: lines[i].Err}
		if res.Err == nil {
			res.Err = r.correct(ctx, &res)
		}
		report(res)
	}
	return nil
}

// margin is more than an answer time may lie after the time at which the call is
// rated, and clocks may differ.
const margin = 25 * time.Hour

func (r *run) expect(l *Line) {
	if l.Err != nil {
		return
	}
	c := &l.CDR
	r.calls[nameOf(c.Source, c.ID, c.Account, c.AnsweredAt)] = &call{account: c.Account, steps: map[int]step{}}
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

// readRated finds what the calls were charged.
func (r *run) readRated(ctx context.Context) error {
	infos, err := r.Client.Topics(ctx, r.RatedTopic)
	if err != nil {
		return fmt.Errorf("look for topic %s: %w", r.RatedTopic, err)
	}
	info, ok := infos[r.RatedTopic]
	if !ok {
		return fmt.Errorf("topic %s does not exist: check the name and the brokers", r.RatedTopic)
	}
	if len(r.calls) == 0 {
		return nil
	}
	for p := range info.Partitions { // all of them: their number may have changed since
		from, err := r.Client.OffsetAt(ctx, r.RatedTopic, p, r.from)
		if err != nil {
			return err
		}
		for rec, err := range r.Client.Scan(ctx, r.RatedTopic, p, from) {
			if err == nil {
				err = r.takeRated(rec)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) takeRated(rec *kafka.Record) error {
	if !r.accounts[string(rec.Key)] {
		return nil
	}
	var v struct {
		ID         string          `json:"id"`
		Source     string          `json:"source"`
		Account    string          `json:"account"`
		AnsweredAt time.Time       `json:"answered_at"`
		Millis     int64           `json:"duration_ms"`
		Charge     rating.Micros   `json:"charge"`
		Outcome    balance.Outcome `json:"outcome"`
	}
	if err := json.Unmarshal(rec.Value, &v); err != nil {
		return fmt.Errorf("rated record at %s/%d/%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	}
	if c := r.calls[nameOf(v.Source, v.ID, v.Account, v.AnsweredAt)]; c != nil {
		c.takeRated(v.Outcome, v.Charge, v.Millis)
	}
	return nil
}

// readCommands reads the corrections of a partition, from where it was read to.
func (r *run) readCommands(ctx context.Context, partition int) error {
	topic := r.Store.CommandTopic()
	from, again := r.read[partition]
	if !again {
		var err error
		if from, err = r.Client.OffsetAt(ctx, topic, partition, r.from); err != nil {
			return err
		}
		r.read[partition] = from
	}
	for rec, err := range r.Client.Scan(ctx, topic, partition, from) {
		if err != nil {
			return err
		}
		r.read[partition] = rec.Offset + 1
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
		for number, s := range c.steps {
			was, found, err := r.Store.CommandResult(ctx, c.account, commandID(name, number))
			if err != nil {
				return err
			}
			s.refused = found && was.Refused != ""
			c.steps[number] = s
		}
	}
	return nil
}

func (r *run) correct(ctx context.Context, res *Result) error {
	c := &res.Line.CDR
	name := nameOf(c.Source, c.ID, c.Account, c.AnsweredAt)
	x := r.calls[name]
	if !x.rated {
		return ErrNeverRated
	}
	charge, err := r.price(res.Line)
	if err != nil {
		return err
	}
	res.Was, res.Now, res.Currency = x.cost(), charge.Amount, charge.Currency
	res.Adjusted = res.Was - res.Now
	if res.Adjusted == 0 {
		return nil
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
	res.ID = commandID(name, number)
	if r.DryRun {
		x.takeStep(number, res.Adjusted)
		return nil
	}
	return r.append(ctx, x, number, res)
}

// append appends the adjustment, and looks whether it was the first of its id.
func (r *run) append(ctx context.Context, x *call, number int, res *Result) error {
	c := &res.Line.CDR
	cmd := &balance.Command{
		Type: balance.Adjust, Account: c.Account, ID: res.ID, Amount: &res.Adjusted, Currency: res.Currency,
		Reason: r.Reason, Operator: r.Operator, CDR: &balance.CDRName{Source: c.Source, ID: c.ID, AnsweredAt: c.AnsweredAt},
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
	return nil
}

// price says what a call costs by the decks; its age does not matter.
func (r *run) price(l *Line) (rating.Charge, error) {
	longest, dearest := r.Store.Limits()
	limits := consumer.Limits{Window: r.Store.Window(), MaxDuration: longest, MaxCharge: dearest}
	rec := &kafka.Record{Value: l.Value, AppendMillis: l.CDR.AnsweredAt.UnixMilli()}
	v := consumer.Preview(r.decoder, r.Decks, limits, rec)
	if v.Outcome == balance.Parked {
		return rating.Charge{}, fmt.Errorf("%s: %s", v.Reason, v.Message)
	}
	return v.Charge, nil
}
