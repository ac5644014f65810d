package cdr

import "bytes"

// nextValue returns the next record of JSON.
func (s *Splitter) nextValue() (Piece, error) {
	for {
		s.drop(s.gap())
		if len(s.buf) == 0 {
			if !s.more() {
				return Piece{}, s.ended()
			}
			continue
		}
		switch b := s.buf[0]; {
		case s.state >= dropping:
			s.dropValue()
		case b == '[' && s.state == betweenRecords:
			s.drop(1)
			s.state = inArray
		case b == ']' && s.state == inArray:
			s.drop(1)
			s.state = betweenRecords
		case b == ']' && s.state == inPage:
			s.drop(1)
			s.state, s.dropped = dropping, extent{depth: 1} // of the page's object
		case b == '{':
			if p, ok := s.cutObject(); ok {
				return p, nil
			}
		default:
			return s.cutWord(), nil
		}
	}
}

// gap returns the length of what stands before a record.
func (s *Splitter) gap() int {
	if s.state >= dropping {
		return 0
	}
	for i, b := range s.buf {
		switch b {
		case ' ', '\t', '\r', '\n':
		case ',':
			if s.state == betweenRecords {
				return i
			}
		default:
			return i
		}
	}
	return len(s.buf)
}

// dropValue drops what is there of a value that is left out.
func (s *Splitter) dropValue() {
	x := &s.dropped
	switch {
	case x.word:
		x.at = bytes.IndexByte(s.buf, '\n')
	default:
		if x.at = 0; !x.scan(s.buf, false) && !x.broken {
			x.at = -1
		}
	}
	if x.at < 0 { // it goes on
		s.drop(len(s.buf))
		return
	}
	s.drop(x.at)
	s.state -= dropping
}

// cutWord cuts what is no object: up to the line's end.
func (s *Splitter) cutWord() Piece {
	for {
		if end := bytes.IndexByte(s.buf, '\n'); end >= 0 {
			return s.piece(end)
		}
		switch {
		case s.full():
			s.state, s.dropped = s.state+dropping, extent{word: true}
			return s.tooLong()
		case !s.more():
			return s.piece(len(s.buf))
		}
	}
}

// cutObject cuts the object that buf begins with. ok is false when it is a page:
// its rows come next.
func (s *Splitter) cutObject() (p Piece, ok bool) {
	x := extent{byLine: s.byLine}
	for !x.scan(s.buf, s.paged && s.state == betweenRecords) {
		if x.page {
			s.drop(x.at)
			s.state = inPage
			return p, false
		}
		if !x.broken && !s.full() && s.more() {
			continue
		}
		// It is broken. Where objects stand on lines of their own, the next is whole.
		if end := bytes.Index(s.buf[:x.at], []byte("\n{")); end >= 0 {
			s.byLine = true // else every line that is broken would be searched to the end of what may be a record
			return s.piece(end), true
		}
		switch {
		case x.broken:
			return s.piece(x.at), true
		case s.full():
			s.state, s.dropped = s.state+dropping, x
			p = s.tooLong()
			s.used = len(s.buf)
			return p, true
		}
		return s.piece(len(s.buf)), true
	}
	return s.piece(x.at), true
}

// extent finds the end of an object, bit by bit, and not more: whether it is JSON
// is not its question.
type extent struct {
	at      int
	depth   int
	inside  bool // of a string
	escaped bool
	word    bool // what ends with its line, instead

	name   int  // where the last string began
	valued bool // the last member's name was "value"
	page   bool // data[at] is after the opening bracket of a page's rows
	byLine bool // an object that begins a line is one of its own
	broken bool // data[at] is a line end within a string, or begins the next object
}

// scan goes on in data, which has grown, and reports whether the object's end is
// at x.at. pages says that an array named value ends it too.
func (x *extent) scan(data []byte, pages bool) bool {
	for ; x.at < len(data); x.at++ {
		if x.inside {
			if x.text(data) {
				return false
			}
			continue
		}
		switch b := data[x.at]; b {
		case '"':
			x.inside, x.name = true, x.at
		case '{', '[':
			if x.broken = x.byLine && b == '{' && x.at > 0 && data[x.at-1] == '\n'; x.broken {
				return false
			}
			x.depth++
			if x.page = pages && x.depth == 2 && b == '[' && x.valued; x.page {
				x.at++
				return false
			}
		case ',':
			x.valued = x.valued && x.depth > 1
		case '}', ']':
			if x.depth--; x.depth <= 0 {
				x.at++
				return true
			}
		}
	}
	return false
}

// text takes a byte of a string, and reports whether the string is broken by it.
func (x *extent) text(data []byte) bool {
	switch b := data[x.at]; {
	case x.escaped:
		x.escaped = false
	case b == '\\':
		x.escaped = true
	case b == '"':
		x.inside = false
		if x.depth == 1 && x.name < x.at { // else it began in what is dropped
			x.valued = string(data[x.name:x.at+1]) == `"value"`
		}
	case b == '\n':
		x.broken = true
	}
	return x.broken
}
