package cdr

import (
	"errors"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/creditstream/creditstream/rating"
)

// Options say how records are read that do not say it themselves.
type Options struct {
	Format  Format         // of records that name none; default: canonical
	Zone    *time.Location // of times without one, where no mapping has another; nil: they are refused
	Mapping *Mapping       // nil: none

	// Lenient leaves out members that the record and the mapping do not tell,
	// instead of refusing the record: for looking at samples.
	Lenient bool
}

// A Decoder decodes records of every format. It is safe for concurrent use.
type Decoder struct {
	opt   Options
	plans map[Format]*plan // without a mapping
	rows  sync.Pool        // of *row
}

// A Record is one record of a topic: one call, or a page of one.
type Record struct {
	Value        []byte
	AppendMillis int64  // the broker's append time, which chooses the version of a mapping
	ContentType  []byte // header content-type; nil: none
	Source       []byte // header cdr-source, else ce_source; nil: none
}

// NewDecoder returns a decoder. opt.Format must be valid or empty.
func NewDecoder(opt Options) *Decoder {
	if opt.Format == "" {
		opt.Format = CanonicalJSON
	}
	d := &Decoder{opt: opt, plans: map[Format]*plan{}}
	for _, f := range Formats() {
		if f != CanonicalJSON {
			p := newPlan(f, opt.Zone).compile()
			p.lenient = opt.Lenient
			d.plans[f] = p
		}
	}
	d.rows.New = func() any { return new(row) }
	return d
}

// Decode decodes one record into c, and overwrites all of it. It keeps no
// reference to the record. What it returns follows from the record, its headers
// and append time and the configuration alone.
//
// Its error is nil, a *Fault, or a *Skip. On a Fault of a format other than
// canonical c is zero.
func (d *Decoder) Decode(rec *Record, c *rating.CDR) error {
	if rec.ContentType == nil && rec.Source == nil && d.opt.Format == CanonicalJSON {
		return Canonical(rec.Value, c) // as nearly always
	}
	*c = rating.CDR{}
	if !utf8.Valid(rec.Source) {
		return &Fault{Reason: rating.BadField, Field: "source", At: -1, Message: "in the record's header is no UTF-8"}
	}
	e := envelope{doc: rec.Value, source: rec.Source}
	if len(e.source) == 0 {
		e.source = nil // an empty header says nothing
	}
	if fault := e.open(rec.ContentType); fault != nil {
		return fault
	}
	p, fault := d.plan(&e, rec.AppendMillis)
	switch {
	case fault != nil:
		return fault
	case p == nil:
		return e.moved(d.canonical(&e, rec.AppendMillis, c))
	}
	r, _ := d.rows.Get().(*row)
	defer d.rows.Put(r)
	r.reset(p, e.doc, e.source)
	err := e.moved(r.decode(c))
	r.reset(nil, nil, nil)
	return err
}

// canonical reads a canonical CDR. What is none, of a source that is named beside it,
// comes more likely from a source that is spelt otherwise in the mapping: a fault of a
// record that does not name its own source says so.
func (d *Decoder) canonical(e *envelope, appendMillis int64, c *rating.CDR) error {
	err := Canonical(e.doc, c)
	fault, ok := errors.AsType[*Fault](err)
	m := d.opt.Mapping
	if !ok || c.Source != "" || e.source == nil || e.format != "" || m == nil || appendMillis < m.begins {
		return err
	}
	return badFormat("the record is no canonical CDR (" + fault.Error() + "), and its source is not in the mapping at its append time; " +
		"expected an entry for it under sources")
}

// plan chooses how a record is read; nil without a fault is the canonical format.
func (d *Decoder) plan(e *envelope, appendMillis int64) (*plan, *Fault) {
	f := e.format
	if f == "" {
		f = d.opt.Format
	}
	m := d.opt.Mapping
	if m == nil || appendMillis < m.begins || f == CanonicalJSON && (e.format != "" || e.source == nil) {
		return d.plans[f], nil
	}
	if e.source == nil {
		v, n := m.only(f, appendMillis)
		if n != 1 {
			return nil, badFormat(strconv.Itoa(n) + " sources of the mapping have the format " + string(f) +
				"; expected one, or a header cdr-source that says which")
		}
		return v.plan, nil
	}
	v := m.active(e.source, appendMillis)
	switch {
	case v == nil && f == CanonicalJSON:
		return nil, nil
	case v == nil:
		return nil, badFormat("the record's source is not in the mapping at its append time; expected an entry for it under sources")
	case e.format != "" && e.format != v.format:
		return nil, badFormat("the record's content-type says " + string(e.format) + ", the mapping says that its source writes " + string(v.format))
	}
	return v.plan, nil
}

func badFormat(message string) *Fault {
	return &Fault{Reason: rating.BadFormat, At: -1, Message: message}
}
