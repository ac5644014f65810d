package cdr

import (
	"strconv"
	"unicode/utf8"

	"github.com/creditstream/creditstream/rating"
)

// A shape is the JSON type of a value.
type shape uint8

const (
	null shape = iota
	boolean
	number
	text
	array
	object
)

func (s shape) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[s]
}

// marks say more about a token.
type marks uint8

const (
	escaped   marks = 1 << iota // text: holds escapes
	broken                      // text: not valid Unicode; the scanner has the fault
	fractured                   // number: has a fraction or an exponent
)

// A token is one JSON value as it stands in the record. It is kept small: it
// is returned for every value.
type token struct {
	shape   shape
	marks   marks
	at, end int // first byte and the one after the last; end is set for texts and numbers only
}

// A scanner walks once over a record and checks that it is JSON. Its methods
// return false when they cannot go on; fault then says why. Invalid Unicode in
// a string sets fault too, but as the string's end is certain the walk goes on.
type scanner struct {
	data  []byte
	pos   int
	fault *Fault // the first one, always not_json
}

// fail keeps the first fault and returns false.
func (s *scanner) fail(at int, message string) bool {
	if s.fault == nil {
		s.fault = &Fault{Reason: rating.NotJSON, At: at, Message: message}
	}
	return false
}

// unexpected fails at the current byte.
func (s *scanner) unexpected(expected string) bool {
	if s.pos >= len(s.data) {
		return s.fail(len(s.data), "the record ends here; expected "+expected)
	}
	return s.fail(s.pos, strconv.QuoteToASCII(string(s.data[s.pos:s.pos+1]))+"; expected "+expected)
}

// peek returns the current byte, or 0 at the end, which is no byte of JSON
// outside strings.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// open steps over the first byte of an object or array and reports whether it
// is empty, in which case it steps over the last byte too.
func (s *scanner) open(closer byte) (empty bool) {
	s.pos++
	s.space()
	if s.peek() == closer {
		s.pos++
		return true
	}
	return false
}

// more steps from the end of a member or element to the next one, or over the
// closing byte.
func (s *scanner) more(closer byte, expected string) (again, ok bool) {
	s.space()
	switch s.peek() {
	case ',':
		s.pos++
		s.space()
		return true, true
	case closer:
		s.pos++
		return false, true
	}
	return false, s.unexpected(expected)
}

// name reads a member's name and steps to its value.
func (s *scanner) name() (token, bool) {
	if s.peek() != '"' {
		return token{}, s.unexpected("a member name in double quotes")
	}
	t, ok := s.text()
	if !ok {
		return t, false
	}
	s.space()
	if s.peek() != ':' {
		return t, s.unexpected("a colon after the member name")
	}
	s.pos++
	s.space()
	return t, true
}

// value reads one value that stands inside depth objects and arrays.
func (s *scanner) value(depth int) (token, bool) {
	t := token{at: s.pos}
	switch s.peek() {
	case '"':
		return s.text()
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return s.number()
	case '{':
		t.shape = object
		return t, s.object(depth + 1)
	case '[':
		t.shape = array
		return t, s.array(depth + 1)
	case 't':
		t.shape = boolean
		return t, s.literal("true")
	case 'f':
		t.shape = boolean
		return t, s.literal("false")
	case 'n':
		t.shape = null
		return t, s.literal("null")
	}
	return t, s.unexpected("a JSON value")
}

func (s *scanner) literal(word string) bool {
	end := s.pos + len(word)
	if end > len(s.data) || string(s.data[s.pos:end]) != word {
		return s.unexpected("a JSON value")
	}
	s.pos = end
	return true
}

func (s *scanner) tooDeep() bool {
	return s.fail(s.pos, "nested deeper than "+strconv.Itoa(MaxDepth)+" levels")
}

func (s *scanner) object(depth int) bool {
	if depth > MaxDepth {
		return s.tooDeep()
	}
	if s.open('}') {
		return true
	}
	for {
		if _, ok := s.name(); !ok {
			return false
		}
		if _, ok := s.value(depth); !ok {
			return false
		}
		if again, ok := s.more('}', "a comma or }"); !again {
			return ok
		}
	}
}

func (s *scanner) array(depth int) bool {
	if depth > MaxDepth {
		return s.tooDeep()
	}
	if s.open(']') {
		return true
	}
	for {
		if _, ok := s.value(depth); !ok {
			return false
		}
		if again, ok := s.more(']', "a comma or ]"); !again {
			return ok
		}
	}
}

// digits steps over digits and reports whether there was one.
func (s *scanner) digits() bool {
	from := s.pos
	for s.pos < len(s.data) && s.data[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > from || s.unexpected("a digit")
}

func (s *scanner) number() (token, bool) {
	t := token{shape: number, at: s.pos}
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return t, false
	}
	if s.peek() == '.' {
		t.marks |= fractured
		s.pos++
		if !s.digits() {
			return t, false
		}
	}
	if b := s.peek(); b == 'e' || b == 'E' {
		t.marks |= fractured
		s.pos++
		if b := s.peek(); b == '+' || b == '-' {
			s.pos++
		}
		if !s.digits() {
			return t, false
		}
	}
	t.end = s.pos
	return t, true
}

// text reads a string: here one that is plain ASCII, as nearly all are.
func (s *scanner) text() (token, bool) {
	data, from := s.data, s.pos+1
	for i := from; i < len(data); i++ {
		b := data[i]
		if b == '"' {
			at := s.pos
			s.pos = i + 1
			return token{shape: text, at: at, end: i + 1}, true
		}
		if b < ' ' || b == '\\' || b >= utf8.RuneSelf {
			break
		}
	}
	return s.richText()
}

// richText reads any string.
func (s *scanner) richText() (token, bool) {
	t := token{shape: text, at: s.pos}
	for i := s.pos + 1; i < len(s.data); {
		switch b := s.data[i]; {
		case b == '"':
			s.pos = i + 1
			t.end = s.pos
			return t, true
		case b == '\\':
			width, paired := escape(s.data[i:])
			if width == 0 {
				return t, s.fail(i, "is no escape sequence of JSON")
			}
			if !paired {
				t.marks |= broken
				s.fail(i, "unpaired surrogate; expected \\u escapes that make a character")
			}
			t.marks |= escaped
			i += width
		case b < ' ':
			return t, s.fail(i, "unescaped control character in a string; expected it as a \\u escape")
		case b < utf8.RuneSelf:
			i++
		default:
			r, width := utf8.DecodeRune(s.data[i:])
			if r == utf8.RuneError && width == 1 {
				t.marks |= broken
				s.fail(i, "is not valid UTF-8")
			}
			i += width
		}
	}
	return t, s.fail(len(s.data), "the record ends inside a string")
}
