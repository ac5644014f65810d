package cdr

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/creditstream/creditstream/rating"
)

// Limits of a canonical CDR. Lengths are bytes of UTF-8, escapes decoded.
const (
	MaxRecordBytes  = 1 << 20
	MaxDepth        = 64 // objects and arrays inside each other, the record's own included
	MaxIDBytes      = 256
	MaxSourceBytes  = 128
	MaxAccountBytes = 64
	MaxUserBytes    = 256
	MaxNumberBytes  = 256 // caller and callee, each
)

const (
	maxKindBytes = 32 // longer than every kind: what is cut to it is none
	countryBytes = 2
	// maxTextBytes bounds the texts of one CDR together: each is kept once.
	maxTextBytes = MaxIDBytes + MaxSourceBytes + MaxAccountBytes + MaxUserBytes +
		2*MaxNumberBytes + maxKindBytes + countryBytes
	// maxUnescaped is longer than every limit, so that what is cut is refused.
	maxUnescaped = 320
)

// Canonical decodes one canonical CDR, as the package comment shows it, into c.
// It overwrites all of c and keeps no reference to data. The limit on the
// length of a call is the caller's to check.
//
// An error is always a *Fault. When there are several, the one returned is: that
// the record is not JSON; else the first member at fault; else the first
// required member that is absent. On a fault c still holds every member that was
// read and is valid, and zero for the others: c.Account is the account of the
// record, wherever in it the fault is, or empty when it is absent or not valid,
// or stands behind a place where the record stops being JSON.
func Canonical(data []byte, c *rating.CDR) error {
	*c = rating.CDR{}
	if len(data) > MaxRecordBytes {
		return &Fault{
			Reason: rating.NotJSON, At: -1,
			Message: "the record is " + strconv.Itoa(len(data)) + " bytes long; expected at most " +
				strconv.Itoa(MaxRecordBytes),
		}
	}
	d := decoder{scan: scanner{data: data}, cdr: c}
	d.text.Grow(min(len(data), maxTextBytes))
	d.record()
	switch {
	case d.scan.fault != nil:
		return d.scan.fault
	case d.fault != nil:
		return d.fault
	}
	return d.missing()
}

// A decoder carries the state of one call of Canonical.
type decoder struct {
	scan    scanner
	cdr     *rating.CDR
	seen    fieldSet
	fault   *Fault          // the first of a member; scan has the faults of JSON
	text    strings.Builder // backs every string of the CDR; never grows past its first allocation
	scratch []byte          // the last string that had escapes, decoded
}

// record reads all of the data.
func (d *decoder) record() {
	s := &d.scan
	s.space()
	if s.peek() != '{' {
		s.unexpected("{, as a CDR is a JSON object")
		return
	}
	if !s.open('}') && !d.members() {
		return
	}
	s.space()
	if s.pos < len(s.data) {
		s.unexpected("nothing after the record's closing brace")
	}
}

func (d *decoder) members() bool {
	for {
		name, ok := d.scan.name()
		if !ok {
			return false
		}
		f := fieldNamed(d.decoded(name))
		v, ok := d.scan.value(1)
		if !ok {
			return false
		}
		if f != unknown {
			d.member(f, name, v)
		}
		if again, ok := d.scan.more('}', "a comma or }"); !again {
			return ok
		}
	}
}

// member takes the value of a known field.
func (d *decoder) member(f field, name, v token) {
	if d.seen.has(f) {
		// Two values for one thing leave none: which is meant is a guess.
		d.clear(f)
		d.fail(f, rating.BadField, name.at, "occurs more than once; expected once")
		return
	}
	d.seen.add(f)
	if f == durationMillis {
		d.duration(v)
		return
	}
	r := ruleOf(f)
	switch {
	case v.shape == null && !r.required:
		return
	case v.shape != text:
		d.fail(f, rating.BadField, v.at, "is "+v.shape.String()+"; expected a string")
		return
	case v.marks&broken != 0: // not JSON, as the scanner has noted
		return
	}
	raw := d.decoded(v)
	switch {
	case len(raw) == 0 && r.required:
		d.fail(f, rating.BadField, v.at, "is empty; expected "+r.expected())
	case len(raw) == 0:
		return
	case f == answeredAt:
		d.answered(v.at, raw)
	case f == kind:
		d.kind(v.at, raw)
	case len(raw) > int(r.maxBytes):
		d.fail(f, rating.BadField, v.at, "is too long; expected "+r.expected())
	case !r.allows(raw):
		d.fail(f, rating.BadField, v.at, "holds something else; expected "+r.expected())
	default:
		*d.slot(f) = d.keep(raw)
	}
}

func (d *decoder) kind(at int, raw []byte) {
	shown := raw[:min(len(raw), maxKindBytes)]
	k := rating.Kind(d.keep(shown))
	if !k.Valid() {
		d.fail(kind, rating.UnknownKind, at, strconv.QuoteToASCII(string(k))+" is no kind of call")
		return
	}
	d.cdr.Kind = k
}

func (d *decoder) answered(at int, raw []byte) {
	t, problem := parseRFC3339(raw)
	if problem != "" {
		d.fail(answeredAt, rating.BadField, at, problem)
		return
	}
	d.cdr.AnsweredAt = t
}

func (d *decoder) duration(v token) {
	const expected = "; expected a whole number of milliseconds, in digits only"
	switch {
	case v.shape != number:
		d.fail(durationMillis, rating.BadField, v.at, "is "+v.shape.String()+expected)
		return
	case v.marks&fractured != 0:
		d.fail(durationMillis, rating.BadField, v.at, "has a fraction or an exponent"+expected)
		return
	}
	digits := d.scan.data[v.at:v.end]
	negative := digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	millis := int64(0)
	for _, b := range digits {
		digit := int64(b - '0')
		if millis > (math.MaxInt64-digit)/10 {
			d.fail(durationMillis, rating.BadDuration, v.at, "is beyond 64 bits"+expected)
			return
		}
		millis = millis*10 + digit
	}
	if negative && millis > 0 {
		d.fail(durationMillis, rating.BadDuration, v.at, "is negative"+expected)
		return
	}
	d.cdr.DurationMillis = millis
}

// missing returns the fault of a required member that is absent, or nil.
func (d *decoder) missing() error {
	for f := range unknown {
		if !d.seen.has(f) && ruleOf(f).required {
			return &Fault{
				Reason: rating.MissingField, Field: ruleOf(f).name, At: -1,
				Message: "is absent; expected " + ruleOf(f).expected(),
			}
		}
	}
	return nil
}

func (d *decoder) fail(f field, reason rating.Reason, at int, message string) {
	if d.fault == nil {
		d.fault = &Fault{Reason: reason, Field: ruleOf(f).name, At: at, Message: message}
	}
}

// decoded returns what the string t says. It is good until the next call.
func (d *decoder) decoded(t token) []byte {
	raw := d.scan.data[t.at+1 : t.end-1]
	if t.marks&escaped == 0 || t.marks&broken != 0 {
		return raw
	}
	if d.scratch == nil {
		d.scratch = make([]byte, 0, maxUnescaped+1)
	}
	d.scratch = unescape(d.scratch[:0], raw, maxUnescaped)
	return d.scratch
}

// keep returns raw as a string that lives as long as the CDR.
func (d *decoder) keep(raw []byte) string {
	from := d.text.Len()
	d.text.Write(raw)
	return d.text.String()[from:]
}

// slot returns where the text of f goes, or nil for fields that are not text.
func (d *decoder) slot(f field) *string {
	switch f {
	case id:
		return &d.cdr.ID
	case source:
		return &d.cdr.Source
	case account:
		return &d.cdr.Account
	case user:
		return &d.cdr.User
	case caller:
		return &d.cdr.Caller
	case callee:
		return &d.cdr.Callee
	case homeCountry:
		return &d.cdr.Home
	case kind:
		return (*string)(&d.cdr.Kind)
	case answeredAt, durationMillis, unknown:
	}
	return nil
}

func (d *decoder) clear(f field) {
	switch slot := d.slot(f); {
	case slot != nil:
		*slot = ""
	case f == answeredAt:
		d.cdr.AnsweredAt = time.Time{}
	case f == durationMillis:
		d.cdr.DurationMillis = 0
	}
}
