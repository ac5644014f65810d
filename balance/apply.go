package balance

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Status says what an apply call answered.
type Status int

// Statuses of an apply call.
const (
	Unavailable Status = iota // no answer, see Err: whether it was applied is not known
	Applied
	Refused // the mark is not the expected one: take over
	Behind  // commands are in the log that the shard has not applied: wait
	Unknown // an account is not known yet: append a tick later than Until, and wait
)

// A Reply is the answer to one apply call.
type Reply struct {
	Status Status
	Entry  *Entry // Applied: what was decided
	Mark   Mark   // Applied: the new mark; Refused: the mark that was found
	Until  int64  // Unknown: append time, in milliseconds, that the commands must pass
	Err    error  // Unavailable
}

// ErrBounds is wrapped by the error of a call that would take a total past 9.0e15
// micros: nothing was written, and nothing but a person can help.
var ErrBounds = errors.New("a total would pass 9.0e15 micros")

// A Position is what every apply call says of the log.
type Position struct {
	Shard  int
	Source Source
	Expect Mark
	Next   int64 // the mark's offset after the call
	Last   Last  // the last record before Next
	Trim   []string
	Apart  []ApartRecord // of this shard, parked or skipped before any account was looked at
}

// An ApartRecord is a record that never reaches an account. The entry keeps what it
// was, so that a record which means something else by then is noticed.
type ApartRecord struct {
	Offset int64
	Exception
}

func (p *Position) apartLines() string {
	var b strings.Builder
	for i := range p.Apart {
		r := &p.Apart[i]
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString("o ")
		b.WriteString(strconv.FormatInt(r.Offset, 10))
		b.WriteByte(' ')
		b.WriteString(string(r.Outcome))
		if r.Outcome == Parked {
			b.WriteByte(' ')
			b.WriteString(string(r.Reason))
		}
	}
	return b.String()
}

func (s *Store) reply(p *Position, raw any, err error) Reply {
	if err != nil {
		return Reply{Status: Unavailable, Err: err}
	}
	bad := func(err error) Reply {
		return Reply{Status: Unavailable, Err: faultf("reply for shard %d, %s: %w", p.Shard, p.Source, err)}
	}
	words, err := texts(raw)
	if err != nil {
		return bad(err)
	}
	if len(words) != 2 {
		return bad(fmt.Errorf("%d words", len(words)))
	}
	switch words[0] {
	case "OK":
		e, err := parseEntry(p.Shard, p.Source, words[1])
		if err != nil {
			return bad(err)
		}
		return Reply{Status: Applied, Entry: e, Mark: Mark{Next: p.Next, Name: e.Name, Last: p.Last}}
	case "REFUSED":
		m, err := parseMark(words[1])
		if err != nil {
			return bad(err)
		}
		return Reply{Status: Refused, Mark: m}
	case "BEHIND":
		return Reply{Status: Behind}
	case "UNKNOWN":
		until, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return bad(err)
		}
		return Reply{Status: Unknown, Until: until}
	case "BOUNDS":
		return bad(fmt.Errorf("account %s: %w", words[1], ErrBounds))
	}
	return bad(fmt.Errorf("status %q", words[0]))
}

// apply runs calls that each belong to a position.
func (s *Store) apply(ctx context.Context, positions []*Position, calls []call) []Reply {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	raw, errs := s.run(ctx, calls)
	replies := make([]Reply, len(calls))
	for i := range calls {
		replies[i] = s.reply(positions[i], raw[i], errs[i])
	}
	return replies
}
