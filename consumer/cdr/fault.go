package cdr

import (
	"strconv"

	"github.com/creditstream/creditstream/rating"
)

// A Fault says why a record is not a CDR. It is the only type of error that
// Canonical returns. The same bytes always give the same Fault: reading the
// record again is no use.
type Fault struct {
	Reason  rating.Reason
	Field   string // the member at fault; empty when it is the record
	At      int    // byte offset into the record, or -1 when there is no one place
	Message string // what is wrong and what was expected, for a human
}

// Error returns the fault as one line: reason, member, place and message.
func (f *Fault) Error() string {
	text := string(f.Reason) + ": "
	if f.Field != "" {
		text += f.Field + " "
	}
	if f.At >= 0 {
		text += "at byte " + strconv.Itoa(f.At) + ": "
	}
	return text + f.Message
}
