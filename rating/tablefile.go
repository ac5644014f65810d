package rating

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// defaultIncrement is what first and next are without a column, in seconds.
const defaultIncrement = 60

// A tableFile is a CSV table while it is read.
type tableFile struct {
	report

	csv     *csv.Reader
	columns map[string]int // name -> index of the field
	row     []string
	seen    map[rateKey]int // -> line
}

// A rateKey is what tells two rates of a table apart.
type rateKey struct {
	prefix string
	from   time.Time
}

func requiredColumns() []string {
	return []string{"prefix", "destination", "country", "setup_fee", "price"}
}

func optionalColumns() []string { return []string{"first", "next", "valid_from", "valid_to"} }

// readTable reads the rates of a CSV table. Lines that begin with "#" are
// comments. What it returns is complete only if it reported nothing.
func readTable(r report, content []byte) []rate {
	content = bytes.TrimPrefix(content, []byte("\ufeff")) // spreadsheets write a byte order mark
	f := &tableFile{report: r, csv: csv.NewReader(bytes.NewReader(content)), seen: make(map[rateKey]int)}
	f.csv.Comment = '#'
	f.csv.FieldsPerRecord = -1 // counted below, to name the place
	f.csv.ReuseRecord = true
	if !f.next() {
		f.at(0, 0, "no header: want the columns %s", strings.Join(requiredColumns(), ", "))
		return nil
	}
	if !f.readHeader() {
		return nil
	}
	var rates []rate
	for f.next() {
		if line, _ := f.csv.FieldPos(0); len(f.row) != len(f.columns) {
			f.at(line, 0, "%d fields, but the header has %d", len(f.row), len(f.columns))
			continue
		}
		rates = append(rates, f.readRate())
	}
	if len(rates) == 0 {
		f.at(0, 0, "no rates below the header")
	}
	return rates
}

// next reads a row into f.row; it reports and skips what is not CSV.
func (f *tableFile) next() bool {
	for {
		row, err := f.csv.Read()
		if errors.Is(err, io.EOF) {
			return false
		}
		if bad, ok := errors.AsType[*csv.ParseError](err); ok {
			f.at(bad.Line, bad.Column, "not CSV: %v", bad.Err)
			continue
		}
		if err != nil {
			f.at(0, 0, "read the table: %v", err)
			return false
		}
		f.row = row
		return true
	}
}

func (f *tableFile) readHeader() bool {
	known := slices.Concat(requiredColumns(), optionalColumns())
	f.columns = make(map[string]int)
	ok := true
	for i, name := range f.row {
		_, twice := f.columns[name]
		line, column := f.csv.FieldPos(i)
		switch {
		case twice:
			f.at(line, column, "column %s is there twice", name)
			ok = false
		case !slices.Contains(known, name):
			f.at(line, column, "unknown column %q: want %s", name, strings.Join(known, ", "))
			ok = false
		}
		f.columns[strings.Clone(name)] = i
	}
	for _, name := range requiredColumns() {
		if _, found := f.columns[name]; !found {
			line, _ := f.csv.FieldPos(0)
			f.at(line, 0, "column %s is missing", name)
			ok = false
		}
	}
	return ok
}

// wrong reports the cell of a column in the row that was read last.
func (f *tableFile) wrong(column, format string, args ...any) {
	line, at := f.csv.FieldPos(f.columns[column])
	f.at(line, at, column+": "+format, args...)
}

// cell returns the text of a column, or that it is left out.
func (f *tableFile) cell(column string) (string, bool) {
	i, found := f.columns[column]
	if !found {
		return "", false
	}
	return f.row[i], true
}

func (f *tableFile) readRate() rate {
	destination, _ := f.cell("destination")
	r := rate{
		destination: strings.Clone(strings.TrimSpace(destination)), // the row is used again
		country:     f.country(),
		fee:         f.money("setup_fee"),
		price:       f.money("price"),
		increments:  increments{f.seconds("first"), f.seconds("next")},
		from:        f.time("valid_from"),
		to:          f.time("valid_to"),
	}
	if r.destination == "" {
		f.wrong("destination", "want a name")
	}
	if !r.to.IsZero() && !r.from.Before(r.to) {
		f.wrong("valid_to", "want a time after valid_from; the end itself is not included")
	}
	prefix, ok := f.prefix()
	if !ok {
		return r
	}
	r.prefix = prefix
	key := rateKey{r.prefix, r.from}
	line, _ := f.csv.FieldPos(0)
	if first, twice := f.seen[key]; twice {
		f.wrong("prefix", "line %d has the same prefix and valid_from: keep one", first)
	} else {
		f.seen[key] = line
	}
	return r
}

func (f *tableFile) prefix() (string, bool) {
	s, _ := f.cell("prefix")
	digits := strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(s), "+"), " ", "")
	switch {
	case strings.Trim(digits, "0123456789") != "":
		f.wrong("prefix", "want digits, with a + before and spaces between at most, not %q", s)
	case len(digits) > maxPrefix:
		f.wrong("prefix", "want at most %d digits", maxPrefix)
	case strings.HasPrefix(digits, "00"):
		f.wrong("prefix", "want the country code without 00: no number would match")
	default:
		return strings.Clone(digits), true
	}
	return "", false
}

func (f *tableFile) country() country {
	s, _ := f.cell("country")
	if s == "" {
		return country{}
	}
	c, ok := parseCountry(s)
	if !ok {
		f.wrong("country", "want two letters or nothing, not %q", s)
	}
	return c
}

func (f *tableFile) money(column string) uint64 {
	s, _ := f.cell(column)
	picos, err := parseFixed(s, picoPlaces, maxPicos)
	if err != nil {
		f.wrong(column, "%q: %v", s, err)
	}
	return picos
}

func (f *tableFile) seconds(column string) uint64 {
	s, found := f.cell(column)
	if !found {
		return defaultIncrement
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n < 1 || n > maxIncrement {
		f.wrong(column, "want 1 to %d seconds, not %q", maxIncrement, s)
		return defaultIncrement
	}
	return n
}

func (f *tableFile) time(column string) time.Time {
	s, _ := f.cell(column)
	if s == "" {
		return time.Time{}
	}
	t, ok := parseTime(s)
	if !ok {
		f.wrong(column, "want a time such as 2026-01-31T00:00:00Z (RFC 3339) or nothing, not %q", s)
	}
	return t
}
