package cdr

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/creditstream/creditstream/rating"
)

// maxColumns bounds the columns of a line of CSV.
const maxColumns = 64

// A column is where the text of one column stands, its quotes taken off.
type column struct {
	from, to int
	doubled  bool // holds quotes, each written twice
}

// fillCSV reads the fields of a row that is one line of CSV: RFC 4180, with line
// ends of either kind inside quotes, and texts without quotes as they stand.
func (r *row) fillCSV() {
	r.trimMark()
	trimmed := bytes.TrimLeft(r.doc, "\r\n")
	r.base += len(r.doc) - len(trimmed)
	r.doc = bytes.TrimRight(trimmed, "\r\n")
	if len(r.doc) == 0 {
		r.skipped("a blank line")
		return
	}
	if !utf8.Valid(r.doc) {
		r.failRow(rating.NotCSV, r.base+invalidAt(r.doc), "is not valid UTF-8")
		return
	}
	var columns [maxColumns]column
	n, rest, problem := cutLine(r.doc, &columns)
	switch {
	case problem != "":
		r.failRow(rating.NotCSV, r.base+rest, problem)
		return
	case rest < len(r.doc):
		r.several()
		return
	}
	layout := r.plan.layouts[n]
	if layout == nil {
		r.failRow(rating.NotCSV, -1, "has "+strconv.Itoa(n)+" columns; expected "+r.plan.spec.expected)
		return
	}
	if isHeader(r.doc, columns[:n], r.plan.headers[n]) {
		r.skipped("a header line")
		return
	}
	for i, slot := range layout {
		if slot >= 0 {
			r.store(slot, r.base+columns[i].from, r.unquoted(columns[i]))
		}
	}
}

// invalidAt returns where data stops being UTF-8.
func invalidAt(data []byte) int {
	at := 0
	for at < len(data) {
		c, width := utf8.DecodeRune(data[at:])
		if c == utf8.RuneError && width == 1 {
			break
		}
		at += width
	}
	return at
}

// isHeader reports whether the first two columns of a line that have names are
// those. One is not enough: a value may be the same word.
func isHeader(line []byte, columns []column, names []string) bool {
	named := 0
	for i := range min(len(columns), len(names)) {
		if names[i] == "" {
			continue
		}
		if string(line[columns[i].from:columns[i].to]) != names[i] {
			return false
		}
		if named++; named == 2 {
			return true
		}
	}
	return false
}

func (r *row) unquoted(c column) []byte {
	raw := r.doc[c.from:c.to]
	if !c.doubled {
		return raw
	}
	from := len(r.arena)
	for i := 0; i < len(raw); i++ {
		r.arena = append(r.arena, raw[i])
		if raw[i] == '"' {
			i++
		}
	}
	return r.arena[from:]
}

// cutLine cuts the line that data begins with into columns. end is the offset
// after the line's end, or of what is wrong.
func cutLine(data []byte, columns *[maxColumns]column) (n, end int, problem string) {
	for at := 0; ; at++ {
		if n == maxColumns {
			return n, at, "has more than " + strconv.Itoa(maxColumns) + " columns"
		}
		c := &columns[n]
		n++
		if at < len(data) && data[at] == '"' {
			at = quoted(data, at, c)
			if at < 0 {
				return n, len(data), "the record ends inside a quoted column; expected a closing double quote"
			}
		} else {
			at = bare(data, at, c)
		}
		switch {
		case at >= len(data):
			return n, at, ""
		case data[at] == ',':
		case data[at] == '\n' || data[at] == '\r':
			return n, len(data) - len(bytes.TrimLeft(data[at:], "\r\n")), ""
		default:
			return n, at, strconv.QuoteToASCII(string(data[at:at+1])) + " after a closing double quote; expected a comma or the line's end"
		}
	}
}

// bare reads the column without quotes that begins at from and returns its end.
func bare(data []byte, from int, c *column) int {
	c.from, c.to = from, len(data)
	if n := bytes.IndexAny(data[from:], ",\r\n"); n >= 0 {
		c.to = from + n
	}
	return c.to
}

// quoted reads the column whose opening quote is at from and returns the offset
// after its closing quote, or -1 when there is none.
func quoted(data []byte, from int, c *column) int {
	c.from = from + 1
	for i := c.from; i < len(data); i++ {
		if data[i] != '"' {
			continue
		}
		if i+1 < len(data) && data[i+1] == '"' {
			c.doubled = true
			i++
			continue
		}
		c.to = i
		return i + 1
	}
	return -1
}
