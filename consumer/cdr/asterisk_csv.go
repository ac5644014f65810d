package cdr

import (
	"bytes"
	"strings"
	"time"

	"github.com/creditstream/creditstream/rating"
)

// Slots of Asterisk's records.
const (
	astAccount = iota
	astCaller
	astCallee
	astAnswer
	astEnd
	astBillSeconds
	astDisposition
	astUniqueID
	astUserField
	astLinkedID
	astChannel
	astSystem
)

// asteriskCSV is what cdr_csv writes: 16 columns, and up to 5 more.
func asteriskCSV() spec {
	return spec{
		fields: []string{
			"accountcode", "src", "dst", "answer", "end", "billsec", "disposition", "uniqueid", "userfield", "linkedid", "channel", "systemname",
		},
		columns: asteriskColumns, expected: "16 to 21, as cdr_csv writes them, or columns in the mapping",
		prepare: settleUniqueID, read: readAsterisk,
	}
}

// asteriskColumns names the columns: loguniqueid, loguserfield and newcdrcolumns
// add their own to the 16 that are always there.
func asteriskColumns(n int) []string {
	columns := []string{
		"accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata",
		"start", "answer", "end", "duration", "billsec", "disposition", "amaflags",
	}
	more := []string{"peeraccount", "linkedid", "sequence"}
	switch n {
	case 16:
		return columns
	case 17: // either of the two: see settleUniqueID
		return append(columns, "uniqueid")
	case 18:
		return append(columns, "uniqueid", "userfield")
	case 19:
		return append(columns, more...)
	case 20:
		return append(append(columns, "uniqueid"), more...)
	case 21:
		return append(append(columns, "uniqueid", "userfield"), more...)
	}
	return nil
}

// settleUniqueID tells a unique id from a user field in records of 17 and 20
// columns, which have one of them: an id is two numbers with a dot between, and
// before them perhaps the system's name and a dash.
func settleUniqueID(r *row) {
	v := r.vals[astUniqueID]
	if r.vals[astUserField].text != nil || len(v.text) == 0 {
		return // both are there, or none is
	}
	text := v.text[bytes.LastIndexByte(v.text, '-')+1:]
	if seconds, count, ok := strings.Cut(string(text), "."); !ok || !isDigits(seconds) || !isDigits(count) {
		r.vals[astUserField] = value{v.text, v.at, astUserField}
		r.vals[astUniqueID] = value{}
	}
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// readAsterisk reads one record. Its disposition decides whether the call was
// answered: an answer time stands in records of calls that failed too. Its id names
// the channel, without the sequence that tells forks apart: they have one answer time
// too, so that one of them is billed. Parts that follow one another have not.
func readAsterisk(r *row) {
	r.take(account, astAccount)
	r.take(callee, astCallee)
	r.take(caller, astCaller)
	r.take(source, astSystem)
	r.members[caller].text = withinAngles(r.members[caller].text)
	r.take(id, astUniqueID)
	if !r.has(astUniqueID) {
		r.members[id] = r.joined([]int{astLinkedID, astChannel})
	}
	if !r.answeredBy(astDisposition) || r.over() || !r.ended(astEnd) {
		return
	}
	r.duration(measure{astBillSeconds, time.Second})
	if r.over() {
		return
	}
	answered, ok := r.instant(astAnswer, r.plan.zone)
	switch {
	case ok:
		r.answeredAt = answered
		r.ordered(astEnd)
	case r.millis > 0:
		r.fail(rating.MissingField, astAnswer, "is absent from a call that was answered; expected when that was")
	}
}

// answeredBy reads a disposition, as a word or as the number behind it.
func (r *row) answeredBy(slot int) bool {
	switch strings.ToUpper(string(r.text(slot))) {
	case "ANSWERED", "8":
		return true
	case "NO ANSWER", "NOANSWER", "NULL", "FAILED", "BUSY", "CONGESTION", "CANCEL", "0", "1", "2", "4", "16":
		return false
	case "":
		r.fail(rating.MissingField, slot, "is absent; expected ANSWERED, NO ANSWER, BUSY, FAILED, CONGESTION or CANCEL")
	default:
		r.fail(rating.BadField, slot, "is no disposition; expected ANSWERED, NO ANSWER, BUSY, FAILED, CONGESTION or CANCEL")
	}
	return false
}

// withinAngles returns the number of a caller id such as "Zoe" <1001>, and any
// other text as it is.
func withinAngles(text []byte) []byte {
	from, to := bytes.LastIndexByte(text, '<'), len(text)-1
	if from < 0 || text[to] != '>' {
		return text
	}
	return text[from+1 : to]
}
