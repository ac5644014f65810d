package cdr

import (
	"strconv"

	"github.com/creditstream/creditstream/rating"
)

// A Fault says why a record is not a CDR. The same bytes, append time and
// configuration always give the same Fault: reading the record again is no use.
type Fault struct {
	Reason  rating.Reason
	Field   string // the member at fault, as the record's format names it; empty when it is the record
	At      int    // byte offset into the record, or -1 when there is no one place
	Message string // what is wrong and what was expected, for a human
}

// Error returns the fault as one line: reason, member, place and message.
func (f *Fault) Error() string { return string(f.Reason) + ": " + f.Text() }

// Text returns the fault as one line without its reason.
func (f *Fault) Text() string {
	text := ""
	if f.Field != "" {
		text += f.Field + " "
	}
	if f.At >= 0 {
		text += "at byte " + strconv.Itoa(f.At) + ": "
	}
	return text + f.Message
}

// A Skip says why a record is right and still no call of its own: a second leg, a
// header line, an event of a call that has another record. There is nothing to
// rate and nothing to mend.
type Skip struct{ Why string }

// Error implements error.
func (s *Skip) Error() string { return "skipped: " + s.Why }
