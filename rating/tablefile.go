package rating

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// defaultIncrement is what first and next are when not given, in seconds.
const defaultIncrement = 60

// The columns of a table.
const (
	colPrefix      = "prefix"
	colDestination = "destination"
	colCountry     = "country"
	colSetupFee    = "setup_fee"
	colPrice       = "price"
	colFirst       = "first"
	colNext        = "next"
	colSteps       = "steps"
	colGrace       = "grace"
	colMaxCharge   = "max_charge"
	colBand        = "band"
	colValidFrom   = "valid_from"
	colValidTo     = "valid_to"
)

func columns() []string {
	return []string{
		colPrefix, colDestination, colCountry, colSetupFee, colPrice, colFirst, colNext,
		colSteps, colGrace, colMaxCharge, colBand, colValidFrom, colValidTo,
	}
}

// A tableFile is a CSV table while it is read. An empty cell says the same as a
// column that is left out.
type tableFile struct {
	report

	deck    *deckFile
	csv     *csv.Reader
	columns map[string]int // name -> index of the field
	row     []string
	seen    map[rateKey]int // -> line
	same    map[string]int  // prefix -> rates
}

// A rateKey is what tells two rates of a table apart.
type rateKey struct {
	prefix string
	band   int8
	from   int64
}

// readTable reads the rates of a CSV table of a deck. Lines that begin with "#"
// are comments. Fields are separated as those of the header: by semicolons if it
// has any, else by commas. What it returns is complete only if it reported
// nothing.
func readTable(deck *deckFile, file string, content []byte) []rate {
	content = bytes.TrimPrefix(content, []byte("\ufeff")) // spreadsheets write a byte order mark
	f := &tableFile{
		report: report{file, deck.problems}, deck: deck, csv: csv.NewReader(bytes.NewReader(content)),
		seen: make(map[rateKey]int), same: make(map[string]int),
	}
	f.csv.Comma = separator(content)
	f.csv.Comment = '#'
	f.csv.FieldsPerRecord = -1 // counted below, to name the place
	f.csv.ReuseRecord = true
	if !f.next() {
		f.at(0, 0, "no header: want the columns prefix and price, or prefix and steps, at least")
		return nil
	}
	if !f.readHeader() {
		return nil
	}
	var rates []rate
	rows := false
	for f.next() {
		rows = true
		if line, _ := f.csv.FieldPos(0); len(f.row) != len(f.columns) {
			f.at(line, 0, "%d fields, but the header has %d", len(f.row), len(f.columns))
			continue
		}
		if r, ok := f.readRate(); ok {
			rates = append(rates, r)
		}
	}
	if !rows {
		f.at(0, 0, "no rates below the header")
	}
	return rates
}

// separator returns what separates the fields of the first line that is no
// comment.
func separator(content []byte) rune {
	for line := range bytes.Lines(content) {
		if bytes.HasPrefix(line, []byte("#")) || len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if bytes.ContainsRune(line, ';') {
			return ';'
		}
		break
	}
	return ','
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
	f.columns = make(map[string]int)
	ok := true
	for i, name := range f.row {
		name = strings.TrimSpace(name)
		_, twice := f.columns[name]
		line, column := f.csv.FieldPos(i)
		switch {
		case twice:
			f.at(line, column, "column %s is there twice", name)
			ok = false
		case !slices.Contains(columns(), name):
			f.at(line, column, "unknown column %q: want some of %s", name, strings.Join(columns(), ", "))
			ok = false
		}
		f.columns[strings.Clone(name)] = i
	}
	line, _ := f.csv.FieldPos(0)
	if _, found := f.columns[colPrefix]; !found {
		f.at(line, 0, "column prefix is missing")
		ok = false
	}
	_, price := f.columns[colPrice]
	if _, steps := f.columns[colSteps]; !price && !steps {
		f.at(line, 0, "a column with prices is missing: want price or steps")
		ok = false
	}
	return ok
}

// wrong reports the cell of a column in the row that was read last.
func (f *tableFile) wrong(column, format string, args ...any) {
	line, at := f.csv.FieldPos(f.columns[column])
	f.at(line, at, column+": "+format, args...)
}

// cell returns the text of a column, and whether there is any.
func (f *tableFile) cell(column string) (string, bool) {
	i, found := f.columns[column]
	if !found {
		return "", false
	}
	return f.row[i], f.row[i] != ""
}

// readRate reads the row that was read last. It reports false if the prefix
// cannot be read.
func (f *tableFile) readRate() (rate, bool) {
	destination, _ := f.cell(colDestination)
	r := rate{
		destination: strings.Clone(strings.TrimSpace(destination)), // the row is used again
		country:     f.country(),
		band:        f.band(),
		validity:    f.validity(),
	}
	if strings.ContainsFunc(r.destination, unicode.IsControl) {
		f.wrong(colDestination, "want a name without control characters")
	}
	r.tariff, r.steps = f.tariff()
	prefix, ok := f.prefix()
	if !ok {
		return r, false
	}
	r.prefix = prefix
	key := rateKey{r.prefix, r.band, r.validity.from}
	line, _ := f.csv.FieldPos(0)
	if first, twice := f.seen[key]; twice {
		f.wrong(colPrefix, "line %d has the same prefix, band and valid_from: keep one", first)
	} else {
		f.seen[key] = line
	}
	if f.same[r.prefix]++; f.same[r.prefix] == maxRows+1 {
		f.wrong(colPrefix, "%d lines have this prefix before: at most %d may", maxRows, maxRows)
		return r, false
	}
	return r, true
}

func (f *tableFile) prefix() (string, bool) {
	s, _ := f.cell(colPrefix)
	digits := strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(s), "+"), " ", "")
	switch {
	case strings.Trim(digits, "0123456789") != "":
		f.wrong(colPrefix, "want digits, with a + before and spaces between at most, not %q", s)
	case len(digits) > maxPrefix:
		f.wrong(colPrefix, "want at most %d digits", maxPrefix)
	case strings.HasPrefix(digits, "00"):
		f.wrong(colPrefix, "want the country code without 00: no number would match")
	default:
		return strings.Clone(digits), true
	}
	return "", false
}

func (f *tableFile) country() country {
	s, given := f.cell(colCountry)
	if !given {
		return country{}
	}
	c, ok := parseCountry(s)
	if !ok {
		f.wrong(colCountry, "want two letters or nothing, not %q", s)
	}
	return c
}

func (f *tableFile) band() int8 {
	name, _ := f.cell(colBand)
	if name = strings.TrimSpace(name); name == "" {
		return noBand
	}
	bands := f.deck.deck.calendar.bands
	i := slices.IndexFunc(bands, func(b band) bool { return b.name == name })
	if i < 0 {
		f.wrong(colBand, "deck.yaml has no band %q: want one of [%s], or nothing for a rate at any time", name, bandNames(bands))
		return noBand
	}
	return int8(i) //nolint:gosec // at most maxBands
}

func bandNames(bands []band) string {
	names := make([]string, len(bands))
	for i := range bands {
		names[i] = bands[i].name
	}
	return strings.Join(names, ", ")
}

func (f *tableFile) validity() validity {
	v := validity{f.time(colValidFrom, always.from), f.time(colValidTo, always.to)}
	if v.from >= v.to {
		f.wrong(colValidTo, "want a time after valid_from; the end itself is not included")
	}
	return v
}

// time returns a time in microseconds since 1970, or otherwise if none is given.
func (f *tableFile) time(column string, otherwise int64) int64 {
	s, given := f.cell(column)
	if !given {
		return otherwise
	}
	t, ok := parseTime(s)
	if !ok {
		f.wrong(column, "want a time such as 2026-01-31T00:00:00Z (RFC 3339) or nothing, not %q", s)
		return otherwise
	}
	return t.UnixMicro()
}

// seconds returns a number of seconds, or otherwise if none is given.
func (f *tableFile) seconds(column string, low, otherwise uint32) uint32 {
	s, given := f.cell(column)
	if !given {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n < uint64(low) || n > maxIncrement {
		f.wrong(column, "want %d to %d seconds, not %q", low, maxIncrement, s)
		return otherwise
	}
	return uint32(n)
}
