package cdr

import "bytes"

// nextLine returns the next record of CSV that is not blank.
func (s *Splitter) nextLine() (Piece, error) {
	for {
		if len(s.buf) == 0 && !s.more() {
			return Piece{}, s.ended()
		}
		if s.state == dropping {
			s.dropLine()
			continue
		}
		if blank := len(s.buf) - len(bytes.TrimLeft(s.buf, "\r\n")); blank > 0 {
			s.drop(blank)
			continue
		}
		top := s.offset == 0 || s.offset == int64(len(byteOrderMark))
		p := s.cutRecord()
		if !top || !s.isHeader(p.Data) {
			return p, nil
		}
		s.drop(s.used)
		s.used = 0
	}
}

// isHeader reports whether a line names the columns.
func (s *Splitter) isHeader(line []byte) bool {
	var columns [maxColumns]column
	n, _, problem := cutLine(line, &columns)
	return problem == "" && isHeader(line, columns[:n], s.names(n))
}

// dropLine drops the rest of a line, or what is there of it.
func (s *Splitter) dropLine() {
	end := bytes.IndexByte(s.buf, '\n')
	if end < 0 {
		s.drop(len(s.buf))
		return
	}
	s.state = betweenRecords
	s.drop(end)
}

// cutRecord cuts the record that buf begins with.
func (s *Splitter) cutRecord() Piece {
	var q quotes
	for !q.scan(s.buf) {
		if !s.full() && s.more() {
			continue
		}
		first := bytes.IndexByte(s.buf, '\n')
		switch {
		case first >= 0 && q.inside:
			return s.piece(first) // a quote that is never closed: its line alone is broken
		case s.full():
			s.state = dropping
			return s.tooLong()
		}
		return s.piece(len(s.buf)) // the last, without a line end
	}
	var columns [maxColumns]column
	if first := bytes.IndexByte(s.buf[:q.at], '\n'); first >= 0 {
		if _, _, problem := cutLine(s.buf[:q.at], &columns); problem != "" {
			return s.piece(first)
		}
	}
	return s.piece(q.at)
}

// quotes finds the end of a record of CSV, bit by bit.
type quotes struct {
	at     int
	inside bool // of the quotes of a column
	within bool // of a column
	quoted bool // the column began with a quote; else quotes are characters
}

// scan goes on in data, which has grown, and reports whether the record's line end
// is at q.at.
func (q *quotes) scan(data []byte) bool {
	for ; q.at < len(data); q.at++ {
		switch b := data[q.at]; {
		case q.inside:
			q.inside = b != '"' // a doubled quote opens it again
		case b == '\n':
			return true
		case b == ',':
			q.within = false
		case b == '"':
			q.quoted = q.quoted && q.within || !q.within
			q.inside = q.quoted && (!q.within || data[q.at-1] == '"')
			q.within = true
		default:
			q.quoted = q.quoted && q.within
			q.within = true
		}
	}
	return false
}
