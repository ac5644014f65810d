package cdr

import (
	"bytes"

	"github.com/creditstream/creditstream/rating"
)

// byteOrderMark may stand before a text; it is none of its characters.
const byteOrderMark = "\ufeff"

// trimMark drops a byte order mark.
func (r *row) trimMark() {
	if rest, ok := bytes.CutPrefix(r.doc, []byte(byteOrderMark)); ok {
		r.doc, r.base = rest, r.base+len(byteOrderMark)
	}
}

// A node is a step on the paths that a plan looks at.
type node struct {
	slot int              // of what stands here, or -1
	once bool             // counts where it stands first only
	page bool             // an array here holds records
	next map[string]*node // by member name; nil: nothing within is looked at
}

// A walker reads the fields of one JSON record into its row.
type walker struct {
	row  *row
	scan scanner
	met  bool // the node that counts once was met
	page page
}

// A page is an array of records.
type page struct {
	found    bool
	rows     int
	from, to int // of the first
}

// fillJSON reads the fields of a row that is one object, or a page of one.
func (r *row) fillJSON() {
	r.trimMark()
	for nested := false; ; nested = true {
		w := walker{row: r, scan: scanner{data: r.doc}}
		ok := w.document()
		if f := w.scan.fault; f != nil {
			f.At += r.base
			r.fault = f // that it is not JSON goes first
			return
		}
		switch {
		case !ok || !w.page.found:
			return
		case nested:
			r.failRow(rating.BadField, r.base, "a page within a page; expected a record")
			return
		case w.page.rows == 0:
			r.skipped("a page without calls")
			return
		case w.page.rows > 1:
			r.several()
			return
		}
		r.doc, r.base = r.doc[w.page.from:w.page.to], r.base+w.page.from
		clear(r.vals[:])
		r.fault = nil
	}
}

func (r *row) several() {
	r.failRow(rating.SeveralCalls, -1, "holds several calls, and only one can be told what became of it; "+
		"expected one call in a record: have `creditstream load` cut files and pages")
}

// document reads all of the data.
func (w *walker) document() bool {
	s := &w.scan
	s.space()
	var ok bool
	switch s.peek() {
	case '{':
		ok = w.object(w.row.plan.root, 1)
	case '[':
		ok = w.rows(1)
	default:
		return s.unexpected("{ of a record, or [ of a page of one")
	}
	if !ok {
		return false
	}
	s.space()
	if b := s.peek(); b == '{' || b == '[' {
		w.row.several()
		return false
	}
	return s.pos >= len(s.data) || s.unexpected("nothing after the record")
}

// object reads an object on the paths of the plan, so that these bound how deep it
// is; what is not on them, the scanner does.
func (w *walker) object(n *node, depth int) bool {
	s := &w.scan
	if s.open('}') {
		return true
	}
	for {
		name, ok := s.name()
		if !ok {
			return false
		}
		if child := n.next[string(w.plain(name))]; child == nil {
			_, ok = s.value(depth)
		} else {
			ok = w.member(child, depth)
		}
		if !ok {
			return false
		}
		if again, ok := s.more('}', "a comma or }"); !again {
			return ok
		}
	}
}

// member reads a value that is looked at.
func (w *walker) member(n *node, depth int) bool {
	s := &w.scan
	switch b := s.peek(); {
	case b == '{' && n.next != nil && (!n.once || !w.met):
		w.met = w.met || n.once
		return w.object(n, depth+1)
	case b == '[' && n.page:
		return w.rows(depth + 1)
	case b == '[' && n.next != nil:
		return w.firstOf(n, depth+1)
	}
	t, ok := s.value(depth)
	if ok && n.slot >= 0 {
		w.store(n.slot, t)
	}
	return ok
}

// firstOf reads the first element of an array and checks the others.
func (w *walker) firstOf(n *node, depth int) bool {
	s := &w.scan
	if depth > MaxDepth {
		return s.tooDeep()
	}
	if s.open(']') {
		return true
	}
	for first := true; ; first = false {
		var ok bool
		if first {
			ok = w.member(n, depth)
		} else {
			_, ok = s.value(depth)
		}
		if !ok {
			return false
		}
		if again, ok := s.more(']', "a comma or ]"); !again {
			return ok
		}
	}
}

// rows checks the records of a page and notes where the first is.
func (w *walker) rows(depth int) bool {
	s := &w.scan
	w.page.found = true
	if s.open(']') {
		return true
	}
	for {
		from := s.pos
		if _, ok := s.value(depth); !ok {
			return false
		}
		if w.page.rows++; w.page.rows == 1 {
			w.page.from, w.page.to = from, s.pos
		}
		if again, ok := s.more(']', "a comma or ]"); !again {
			return ok
		}
	}
}

func (w *walker) store(slot int, t token) {
	at := w.row.base + t.at
	switch t.shape {
	case null:
		w.row.store(slot, at, []byte{}) // there, and empty
	case text:
		if t.marks&broken == 0 { // else it is not JSON, as the scanner has noted
			w.row.store(slot, at, w.plain(t))
		}
	case number, boolean:
		w.row.store(slot, at, w.scan.data[t.at:w.scan.pos])
	case array, object:
		w.row.failAt(rating.BadField, slot, at, "is "+t.shape.String()+"; expected a string or a number")
	}
}

// maxText is longer than every text that is of use: what is cut to it is refused,
// or is no member that is looked at.
const maxText = 1 << 10

// plain returns what a string says.
func (w *walker) plain(t token) []byte {
	raw := w.scan.data[t.at+1 : t.end-1]
	if t.marks&escaped == 0 || t.marks&broken != 0 {
		return raw
	}
	from := len(w.row.arena)
	w.row.arena = unescape(w.row.arena, raw, from+maxText)
	return w.row.arena[from:]
}
