package cdr

import (
	"strconv"
	"strings"
	"time"

	"github.com/creditstream/creditstream/rating"
)

// A value is the text of one field and where it stands. A nil text is a field
// that the record does not have.
type value struct {
	text []byte
	at   int // byte offset into the record
	slot int // -1: not of the record, but of a mapping
}

// maxSlots bounds the fields that one plan looks at.
const maxSlots = 64

// A row is one record while it becomes a CDR: first its fields by slot, then the
// members of the CDR as texts.
type row struct {
	plan  *plan
	doc   []byte
	base  int    // where doc begins in what was given
	named []byte // the source that a header names
	vals  [maxSlots]value
	arena []byte // texts that do not stand in doc as they are

	members    [unknown]value // by field; of texts only
	callType   int            // slot of what no kind was found for, or -1
	answeredAt time.Time
	millis     int64

	fault *Fault
	skip  *Skip
}

func (r *row) reset(p *plan, doc, named []byte) {
	r.plan, r.doc, r.base, r.named = p, doc, 0, named
	clear(r.vals[:])
	clear(r.members[:])
	r.arena = r.arena[:0]
	r.callType = -1
	r.answeredAt, r.millis = time.Time{}, 0
	r.fault, r.skip = nil, nil
}

// over reports that nothing more is to be read.
func (r *row) over() bool { return r.fault != nil || r.skip != nil }

// text returns the text of a slot; nil when the record does not have it.
func (r *row) text(slot int) []byte { return r.vals[slot].text }

// has reports whether a slot has a text that is not empty.
func (r *row) has(slot int) bool { return len(r.vals[slot].text) > 0 }

// first returns the first of slots that has a text that is not empty.
func (r *row) first(slots ...int) value {
	for _, s := range slots {
		if r.has(s) {
			return r.vals[s]
		}
	}
	return value{}
}

// ended reports whether the call has ended, by the first of slots that has a text.
// One that stands for no time, or nothing but empty ones, says that it has not, and
// stops the row. A record that has none of the slots does not say it.
func (r *row) ended(slots ...int) bool {
	end := r.first(slots...)
	for i := 0; end.text == nil && i < len(slots); i++ {
		end = r.vals[slots[i]]
	}
	if end.text == nil || !none(end.text) {
		return true
	}
	r.partial(end.slot)
	return false
}

// partial stops a row that says of its call that it has not ended.
func (r *row) partial(slot int) {
	r.fail(rating.PartialRecord, slot, "says that the call has not ended: the record of the whole call is still to come; expected when it ended")
}

// joined returns the texts of slots with a slash between them, or no text when
// one is empty.
func (r *row) joined(slots []int) value {
	if len(slots) == 1 {
		return r.vals[slots[0]]
	}
	from := len(r.arena)
	for i, s := range slots {
		if !r.has(s) {
			return value{}
		}
		if i > 0 {
			r.arena = append(r.arena, '/')
		}
		r.arena = append(r.arena, r.vals[s].text...)
	}
	return value{r.arena[from:], r.vals[slots[0]].at, slots[0]}
}

// store keeps the text of a slot. Two texts for one slot are a fault unless they
// are the same, or one is empty.
func (r *row) store(slot, at int, text []byte) {
	v := &r.vals[slot]
	if len(v.text) > 0 && len(text) > 0 && string(v.text) != string(text) {
		r.failAt(rating.BadField, slot, at, "occurs more than once, with different values; expected it once")
		return
	}
	if len(v.text) == 0 {
		*v = value{text, at, slot}
	}
}

// failRow stops the row for a reason that is no one field's.
func (r *row) failRow(reason rating.Reason, at int, message string) {
	if r.fault == nil {
		r.fault = &Fault{Reason: reason, At: at, Message: message}
	}
}

func (r *row) failAt(reason rating.Reason, slot, at int, message string) {
	if r.fault == nil {
		r.fault = &Fault{Reason: reason, Field: r.plan.names[slot], At: at, Message: message}
	}
}

// fail stops the row for what a slot holds, or does not hold.
func (r *row) fail(reason rating.Reason, slot int, message string) {
	at := -1
	if r.vals[slot].text != nil && reason != rating.MissingField {
		at = r.vals[slot].at
	}
	r.failAt(reason, slot, at, message)
}

func (r *row) skipped(why string) { r.skip = &Skip{Why: why} }

// take gives a member the first of slots that has a text.
func (r *row) take(f field, slots ...int) { r.members[f] = r.first(slots...) }

// kind gives the CDR a kind, which the text of slot stands for.
func (r *row) kind(slot int, k rating.Kind) {
	if k == "" {
		r.callType = slot
		return
	}
	r.members[kind] = value{[]byte(k), r.vals[slot].at, slot}
}

// decode reads r.doc into c. It is the whole way of a record of a format other
// than canonical.
func (r *row) decode(c *rating.CDR) error {
	p := r.plan
	if len(r.doc) > MaxRecordBytes {
		return tooLong(len(r.doc))
	}
	if p.format.isCSV() {
		r.fillCSV()
	} else {
		r.fillJSON()
	}
	if !r.over() && p.lenient {
		r.resembles()
	}
	if !r.over() && p.spec.prepare != nil {
		p.spec.prepare(r)
	}
	if !r.over() {
		if why := r.ruled(p.skips); why.text != nil {
			r.skipped(string(why.text))
		}
	}
	if !r.over() {
		p.spec.read(r)
	}
	if !r.over() {
		r.mapped()
		r.finish(c)
	}
	switch {
	case r.fault != nil:
		*c = rating.CDR{}
		return r.fault
	case r.skip != nil:
		return r.skip
	}
	return nil
}

// resembles stops a record that has no field of its format: where members may be
// absent, any object would be one of a call that was not answered.
func (r *row) resembles() {
	for i := range r.plan.spec.fields {
		if r.vals[i].text != nil {
			return
		}
	}
	r.failRow(rating.MissingField, -1, "the record has no field of "+string(r.plan.format)+"; expected such as "+r.plan.names[0]+", or another format")
}

// tooLong is the fault of a record that has n bytes at least.
func tooLong(n int) *Fault {
	return &Fault{
		Reason: rating.NotJSON, At: -1,
		Message: "the record is " + strconv.Itoa(n) + " bytes long, or longer; expected at most " + strconv.Itoa(MaxRecordBytes),
	}
}

// finish checks the members and copies them into c.
func (r *row) finish(c *rating.CDR) {
	total := 0
	for f := range unknown {
		r.check(f)
		total += len(r.members[f].text)
	}
	if r.fault != nil {
		return
	}
	var b strings.Builder
	b.Grow(total)
	keep := func(f field) string {
		from := b.Len()
		b.Write(r.members[f].text)
		return b.String()[from:]
	}
	*c = rating.CDR{
		ID: keep(id), Source: keep(source), Account: keep(account), User: keep(user), Kind: rating.Kind(keep(kind)),
		Caller: keep(caller), Callee: keep(callee), Home: keep(homeCountry),
		AnsweredAt: r.answeredAt, DurationMillis: r.millis,
	}
}

// check holds one member against the rule of canonical CDRs.
func (r *row) check(f field) {
	rule, v := ruleOf(f), r.members[f]
	var problem string
	switch {
	case f == durationMillis || f == answeredAt:
		return
	case len(v.text) == 0:
		if rule.required && !r.plan.lenient {
			r.missing(f)
		}
		return
	case f == kind:
		if rating.Kind(v.text).Valid() {
			return
		}
		problem = "is no kind of call; expected one of the documentation"
	case len(v.text) > int(rule.maxBytes):
		problem = "is too long"
	case !rule.allows(v.text):
		problem = "holds something else"
	default:
		return
	}
	reason := rating.BadField
	if f == kind {
		reason = rating.UnknownKind
	} else {
		problem = "is the " + rule.name + " and " + problem + "; expected " + rule.expected()
	}
	if v.slot < 0 {
		r.failRow(reason, -1, "the configured "+rule.name+" "+problem)
		return
	}
	r.failAt(reason, v.slot, v.at, problem)
}

// missing stops the row for a required member that it does not have.
func (r *row) missing(f field) {
	if f == kind && r.callType >= 0 && r.has(r.callType) {
		shown := r.text(r.callType)
		shown = shown[:min(len(shown), maxKindBytes)]
		r.fail(rating.UnknownKind, r.callType, strconv.QuoteToASCII(string(shown))+
			" stands for no kind of call that is known; expected a rule for it in the mapping, under kind")
		return
	}
	name := ruleOf(f).name
	message := "is not in the record; expected a rule for it in the mapping, such as " + name + ": {value: ...} or " + name + ": {field: ...}"
	if f == source {
		message = "is not in the record; expected a mapping for its source, or a header cdr-source"
	}
	if r.fault == nil {
		r.fault = &Fault{Reason: rating.MissingField, Field: name, At: -1, Message: message}
	}
}
