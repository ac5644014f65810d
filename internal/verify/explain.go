package verify

import (
	"cmp"
	"context"
	"fmt"
	"math/big"
	"slices"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/oracle"
	"github.com/creditstream/creditstream/rating"
)

// How records explain a difference.
const (
	FoundMissing   = "in the logs and not in Redis"
	FoundAbove     = "at or above the mark, and applied"
	FoundDuplicate = "repeats or parked, and charged"
	FoundTwice     = "charged twice"
	FoundOneOf     = ", one of these" // added to the others
	FoundAll       = "its records"
)

// A step is what one record does to an account.
type step struct {
	Record

	call  bool // it is of a CDR
	class stepClass
	money [3]int64 // funded, spent, forfeited; of a call that does not count: what it would cost
}

type stepClass int

const (
	counted stepClass = iota
	apart             // a repeat, or parked
	above             // not below the mark
)

// A story is all records of an account that differs.
type story struct {
	account *account
	again   *oracle.Account
	ids     map[uint64]bool
	steps   map[balance.Source][]step
}

// explain reads the logs again for the accounts that differ.
func (r *run) explain(ctx context.Context, rep *Report) error {
	stories := map[string]*story{}
	for i := range rep.Differences {
		d := &rep.Differences[i]
		if stories[d.Account] == nil && len(stories) < r.Explain {
			stories[d.Account] = &story{
				account: r.shards[d.Shard].accounts[d.Account], again: oracle.New(d.Account), ids: map[uint64]bool{}, steps: map[balance.Source][]step{},
			}
		}
	}
	if len(stories) == 0 {
		return nil
	}
	if err := r.tell(ctx, stories); err != nil {
		return fmt.Errorf("look for what explains the differences: %w", err)
	}
	for i := range rep.Differences {
		if s := stories[rep.Differences[i].Account]; s != nil {
			s.explain(&rep.Differences[i])
		}
	}
	return nil
}

// tell collects the records of stories, one log after the other, up to their ends.
func (r *run) tell(ctx context.Context, stories map[string]*story) error {
	rated, err := r.ratedOf(ctx, stories)
	if err != nil {
		return err
	}
	for _, logs := range [][]log{r.commands, r.cdrs} {
		for i := range logs {
			l := logs[i]
			l.limit = l.end
			take := func(rec *kafka.Record) error { return r.tellCommand(&l, rec, stories) }
			if l.source.Topic == r.Store.CDRTopic() {
				take = func(rec *kafka.Record) error { r.tellCDR(&l, rec, stories, rated); return nil }
			}
			if err := r.scan(ctx, &l, take); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) tellCommand(l *log, rec *kafka.Record, stories map[string]*story) error {
	c, err := r.command(l, rec)
	if err != nil || c == nil || stories[c.Account] == nil {
		return err
	}
	s := stories[c.Account]
	before := [3]*big.Int{s.again.Funded(), s.again.Spent(), s.again.Forfeited()}
	s.again.Command(c, rec.AppendMillis)
	st := step{Record: Record{Source: l.source, Offset: rec.Offset, ID: string(c.Type)}}
	if c.ID != "" {
		st.ID += " " + c.ID
	}
	if c.Amount != nil {
		st.Amount = *c.Amount
	}
	for i, after := range [3]*big.Int{s.again.Funded(), s.again.Spent(), s.again.Forfeited()} {
		st.money[i] = after.Sub(after, before[i]).Int64()
	}
	s.add(&st)
	return nil
}

func (r *run) tellCDR(l *log, rec *kafka.Record, stories map[string]*story, rated map[string]string) {
	v := r.judge(rec)
	s := stories[v.CDR.Account]
	if s == nil || v.Outcome == balance.Skipped || v.CDR.Kind.AlwaysFree() {
		return
	}
	st := step{call: true, Record: Record{
		Source: l.source, Offset: rec.Offset, ID: v.CDR.Source + "/" + v.CDR.ID, Amount: v.Charge.Amount,
		Rated: rated[place(l.source, rec.Offset)],
	}}
	st.money[1] = int64(v.Charge.Amount)
	id := r.idOf(&v.CDR)
	switch {
	case v.Outcome == balance.Parked || r.parks(s.account, rec, &v) || claims(&v.CDR) && s.ids[id]:
		st.class = apart
	case claims(&v.CDR) && s.account.marks.holds(l.source, rec.Offset):
		s.ids[id] = true
	}
	s.add(&st)
}

func (s *story) add(st *step) {
	if !s.account.marks.holds(st.Source, st.Offset) {
		st.class = above
	}
	s.steps[st.Source] = append(s.steps[st.Source], *st)
}

func place(src balance.Source, offset int64) string { return fmt.Sprint(src, "/", offset) }

// ratedOf returns what rated-cdrs says of the CDRs of the accounts, by their place.
func (r *run) ratedOf(ctx context.Context, stories map[string]*story) (map[string]string, error) {
	infos, err := r.Client.Topics(ctx, r.RatedTopic)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for p := range infos[r.RatedTopic].Partitions {
		for rec, err := range r.Client.Scan(ctx, r.RatedTopic, p, 0) {
			if err != nil {
				return nil, err
			}
			if stories[string(rec.Key)] == nil {
				continue
			}
			v, err := readRated(rec)
			if err != nil {
				return nil, err
			}
			at, says := place(v.source(), v.Offset), string(v.Outcome)
			if out[at] != "" && out[at] != says {
				says = out[at] + ", then " + says
			}
			out[at] = says
		}
	}
	return out, nil
}

// explain looks for the fewest records that lie together and whose money is the
// difference.
func (s *story) explain(d *Difference) {
	column := map[Field]int{Funded: 0, Spent: 1, Forfeited: 2}
	if d.Field == Existence {
		d.Found = FoundAll
		d.list(s.all())
	}
	at, ok := column[d.Field]
	if !ok || d.Off == nil || !d.Off.IsInt64() {
		return
	}
	off := d.Off.Int64()
	type try struct {
		class stepClass
		found string
	}
	tries := []try{{counted, FoundMissing}}
	if off > 0 {
		tries = []try{{above, FoundAbove}, {apart, FoundDuplicate}, {counted, FoundTwice}}
	}
	for _, t := range tries {
		if run, alone := s.shortest(t.class, at, max(off, -off)); len(run) > 0 {
			d.Found = t.found
			if alone = doubted(alone, t.class); len(alone) > 1 {
				d.Found, run = t.found+FoundOneOf, alone
			} else if len(alone) == 1 {
				run = alone
			}
			d.list(run)
			return
		}
	}
}

// all returns the steps of all logs, commands first.
func (s *story) all() []step {
	var out []step
	for _, steps := range s.steps {
		out = append(out, steps...)
	}
	slices.SortFunc(out, func(a, b step) int {
		if a.call != b.call {
			return map[bool]int{false: -1, true: 1}[a.call]
		}
		return cmp.Or(cmp.Compare(a.Source.Partition, b.Source.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return out
}

func (d *Difference) list(steps []step) {
	d.Count += len(steps)
	for i := range steps[:min(len(steps), MaxRecords-len(d.Records))] {
		d.Records = append(d.Records, steps[i].Record)
	}
}

// shortest returns the shortest run of steps of one source whose money is the sum;
// and, if that is one step, all such steps.
func (s *story) shortest(class stepClass, column int, sum int64) (run, alone []step) {
	for _, steps := range s.steps {
		var of []step
		for i := range steps {
			if steps[i].class == class && steps[i].money[column] != 0 {
				of = append(of, steps[i])
				if steps[i].money[column] == sum {
					alone = append(alone, steps[i])
				}
			}
		}
		upTo, last := int64(0), map[int64]int{0: 0}
		for i := range of {
			upTo += of[i].money[column]
			if from, ok := last[upTo-sum]; ok && (run == nil || i+1-from < len(run)) {
				run = of[from : i+1]
			}
			last[upTo] = i + 1
		}
	}
	return run, alone
}

// doubted keeps, of the calls that could each explain a difference, those of which
// rated-cdrs says something else than they cost, if there are any.
func doubted(steps []step, class stepClass) []step {
	var out []step
	for i := range steps {
		if charged := steps[i].Rated == string(balance.Charged); steps[i].call && charged != (class == counted) {
			out = append(out, steps[i])
		}
	}
	if len(out) > 0 {
		return out
	}
	return steps
}

// Money is the difference as an amount, if it is one.
func (d *Difference) Money() (m rating.Micros, ok bool) {
	if d.Off == nil || !d.Off.IsInt64() {
		return 0, false
	}
	return rating.Micros(d.Off.Int64()), true
}
