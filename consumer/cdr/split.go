package cdr

import (
	"bytes"
	"errors"
	"io"
)

// A Piece is one record as a Splitter cut it out.
type Piece struct {
	Data   []byte // good until the next call
	Line   int    // where it begins in the file, from 1
	Offset int64  // the same in bytes, from 0
	Fault  *Fault // why there is no Data: the record is too long
}

// A Splitter cuts a file, or the answer of an API, into records: lines of CSV,
// with line ends inside quotes; and in JSON objects one after another, with or
// without line ends between them, elements of arrays, and of Graph's pages the
// rows. A byte order mark, blank lines and a header line at the top are dropped.
//
// It cuts and does not judge: what is broken comes out as one piece, for a Decoder
// to refuse, and the cutting goes on at the next line where that helps. It keeps
// no more than one record, and of that no more than MaxRecordBytes.
type Splitter struct {
	from  io.Reader
	csv   bool
	names func(n int) []string // of columns
	paged bool
	err   error // of from, io.EOF included

	store  []byte // holds buf
	buf    []byte // read and not yet cut
	used   int    // of buf: returned by the last Next
	line   int    // of buf
	offset int64  // of buf
	begun  bool

	byLine  bool // objects stand on lines of their own, as was found
	state   splitState
	dropped extent // what is left out, while state says so
}

// A splitState is where in the JSON of a file a Splitter is.
type splitState uint8

const (
	betweenRecords splitState = iota
	inArray                   // of the whole file
	inPage                    // in the rows of a page
	dropping                  // in what is left of a page, or of a record that is too long
	droppingInArray
	droppingInPage
)

// NewSplitter returns a splitter of what from holds, records of format f.
func NewSplitter(from io.Reader, f Format) *Splitter {
	return &Splitter{from: from, csv: f.isCSV(), names: specOf(f).columns, paged: f.isPaged(), line: 1}
}

// Next returns the next record, io.EOF after the last, or the error of the reader.
func (s *Splitter) Next() (Piece, error) {
	s.drop(s.used)
	s.used = 0
	if !s.begun {
		s.begun = true
		for len(s.buf) < len(byteOrderMark) && s.more() { //nolint:revive // reads until there is enough
		}
		if bytes.HasPrefix(s.buf, []byte(byteOrderMark)) {
			s.drop(len(byteOrderMark))
		}
	}
	next := s.nextValue
	if s.csv {
		next = s.nextLine
	}
	p, err := next()
	if err == nil && s.used == len(s.buf) && s.err != nil && !errors.Is(s.err, io.EOF) {
		return Piece{}, s.err // what is there of the record may not be all of it
	}
	return p, err
}

// readBytes is how much is read at once.
const readBytes = 64 << 10

// more reads more into buf, and reports whether there is more.
func (s *Splitter) more() bool {
	if s.err != nil {
		return false
	}
	have := len(s.buf)
	if cap(s.buf)-have < readBytes {
		if cap(s.store) < 2*(have+readBytes) {
			s.store = make([]byte, 0, 2*(have+readBytes))
		}
		s.buf = append(s.store[:0], s.buf...)
	}
	n, err := s.from.Read(s.buf[have:min(cap(s.buf), have+readBytes)])
	s.buf, s.err = s.buf[:have+n], err
	return n > 0 || err == nil
}

// full reports that buf holds more than a record may have.
func (s *Splitter) full() bool { return len(s.buf) > MaxRecordBytes }

// ended returns why there is no next record.
func (s *Splitter) ended() error {
	if s.err == nil || errors.Is(s.err, io.EOF) {
		return io.EOF
	}
	return s.err
}

// drop takes n bytes off buf.
func (s *Splitter) drop(n int) {
	s.line += bytes.Count(s.buf[:n], []byte{'\n'})
	s.offset += int64(n)
	s.buf = s.buf[n:]
}

// piece returns the first n bytes of buf as a record.
func (s *Splitter) piece(n int) Piece {
	s.used = n
	return Piece{Data: bytes.TrimRight(s.buf[:n], "\r\n"), Line: s.line, Offset: s.offset}
}

// tooLong stands for a record that begins in buf and is longer than may be.
func (s *Splitter) tooLong() Piece {
	return Piece{Line: s.line, Offset: s.offset, Fault: tooLong(len(s.buf))}
}
