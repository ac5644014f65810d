package cdr_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

// cut returns what a splitter makes of a text, each piece as line:offset:data.
func cut(t *testing.T, from io.Reader, f cdr.Format) (all []string) {
	t.Helper()
	s := cdr.NewSplitter(from, f)
	for {
		p, err := s.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data := string(p.Data)
		if p.Fault != nil {
			data = string(p.Fault.Reason)
		}
		all = append(all, strings.Join([]string{strconv.Itoa(p.Line), strconv.FormatInt(p.Offset, 10), data}, ":"))
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		format cdr.Format
		text   string
		want   []string
	}{
		"nothing":                 {cdr.CanonicalJSON, "", nil},
		"white space":             {cdr.CanonicalJSON, "\ufeff \n\t", nil},
		"one object":              {cdr.CanonicalJSON, `{"a":1}`, []string{`1:0:{"a":1}`}},
		"lines":                   {cdr.CanonicalJSON, "{\"a\":1}\n\n{\"b\":2}\r\n", []string{`1:0:{"a":1}`, `3:9:{"b":2}`}},
		"one behind another":      {cdr.CanonicalJSON, `{"a":1}{"b":2}`, []string{`1:0:{"a":1}`, `1:7:{"b":2}`}},
		"over lines":              {cdr.CanonicalJSON, "{\n\"a\":\n1}\n{}", []string{"1:0:{\n\"a\":\n1}", "4:10:{}"}},
		"an array":                {cdr.AsteriskJSON, "[\n{\"a\":[1,{}]},\n {}\n]\n{}", []string{`2:2:{"a":[1,{}]}`, `3:17:{}`, `5:22:{}`}},
		"braces in strings":       {cdr.CanonicalJSON, `{"a":"}\"{"} {}`, []string{`1:0:{"a":"}\"{"}`, `1:13:{}`}},
		"a page":                  {cdr.GraphPSTN, `{"x":["value",{"value":[1]}],"value":[{"a":1},{"value":2}],"n":{"value":[{}]}}{"b":1}`, []string{`1:38:{"a":1}`, `1:46:{"value":2}`, `1:78:{"b":1}`}},
		"an empty page":           {cdr.GraphPSTN, `{"value":[]} {"value":[ ]}`, nil},
		"no page":                 {cdr.AsteriskJSON, `{"value":[{"a":1}]}`, []string{`1:0:{"value":[{"a":1}]}`}},
		"cut off":                 {cdr.CanonicalJSON, `{"a":{"b":1}`, []string{`1:0:{"a":{"b":1}`}},
		"a broken line":           {cdr.CanonicalJSON, "{\"a\":{\n{\"b\":1}\n{\"c\":1}", []string{`1:0:{"a":{`, `2:7:{"b":1}`, `3:15:{"c":1}`}},
		"a line end in a string":  {cdr.CanonicalJSON, "{\"a\":\"x\n{\"b\":1}\n", []string{`1:0:{"a":"x`, `2:8:{"b":1}`}},
		"words":                   {cdr.CanonicalJSON, "null\n{}\n]\n", []string{"1:0:null", "2:5:{}", "3:8:]"}},
		"lines of CSV":            {cdr.AsteriskCSV, "\ufeffa,b\r\n\r\nc,d", []string{"1:3:a,b", "3:10:c,d"}},
		"line ends in columns":    {cdr.AsteriskCSV, "a,\"b\nc\"\nd,e\n", []string{"1:0:a,\"b\nc\"", "3:8:d,e"}},
		"quotes in columns":       {cdr.AsteriskCSV, "5\",\"a\"\"\nb\",\"\"\nc", []string{"1:0:5\",\"a\"\"\nb\",\"\"", "3:14:c"}},
		"a quote that stays open": {cdr.AsteriskCSV, "a,\"b\nc,d\n", []string{"1:0:a,\"b", "2:5:c,d"}},
		"two that meet":           {cdr.AsteriskCSV, "a,\"b\nc,\"d\"\n", []string{"1:0:a,\"b", "2:5:c,\"d\""}},
		"a header":                {cdr.AsteriskCSV, "accountcode,src\naccountcode,x\n", []string{"1:0:accountcode,src", "2:16:accountcode,x"}},
		"a header of the format":  {cdr.FreeSWITCHCSV, strings.Join(fsColumns(), ",") + "\nx\n", []string{"2:174:x"}},
	} {
		if got := cut(t, strings.NewReader(tt.text), tt.format); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, tt.want)
		}
		if got := cut(t, iotest.OneByteReader(strings.NewReader(tt.text)), tt.format); !slices.Equal(got, tt.want) {
			t.Errorf("%s, byte by byte:\n got %q\nwant %q", name, got, tt.want)
		}
	}
}

func fsColumns() []string {
	return []string{
		"caller_id_name", "caller_id_number", "destination_number", "context", "start_stamp", "answer_stamp", "end_stamp",
		"duration", "billsec", "hangup_cause", "uuid", "bleg_uuid", "accountcode", "read_codec", "write_codec",
	}
}

// endless is a file of one character, which ends with another text.
type endless struct {
	char byte
	left int
	tail string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		n := copy(p, e.tail)
		if e.tail = e.tail[n:]; n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}
	n := min(len(p), e.left)
	for i := range n {
		p[i] = e.char
	}
	e.left -= n
	return n, nil
}

// A record of 10 MB, however it is made, is one fault, and the next is found; no
// more than a record is kept of it.
func TestSplitTooLong(t *testing.T) {
	t.Parallel()
	const ten = 10 << 20
	for name, tt := range map[string]struct {
		format     cdr.Format
		head, tail string
		char       byte
	}{
		"a string":             {cdr.CanonicalJSON, `{"a":"`, `"}` + "\n" + `{"b":1}`, 'x'},
		"a word":               {cdr.CanonicalJSON, `x`, "\n" + `{"b":1}`, 'x'},
		"white space":          {cdr.CanonicalJSON, `{`, `}{"b":1}`, ' '},
		"in an array":          {cdr.CanonicalJSON, `[{"a":"`, `"},{"b":1}]`, 'x'},
		"nested":               {cdr.CanonicalJSON, `{"a":`, strings.Repeat("]", ten) + `}{"b":1}`, '['},
		"in a page":            {cdr.GraphPSTN, `{"value":[{"a":"`, `"},{"b":1}],"x":1}`, 'x'},
		"a line of CSV":        {cdr.AsteriskCSV, `a`, "\n" + `{"b":1}`, 'x'},
		"a quoted line of CSV": {cdr.AsteriskCSV, `"a`, "\"\n" + `{"b":1}`, 'x'},
	} {
		s := cdr.NewSplitter(io.MultiReader(strings.NewReader(tt.head), &endless{tt.char, ten, tt.tail}), tt.format)
		var got []string
		for {
			p, err := s.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if p.Fault != nil {
				p.Data = []byte(p.Fault.Reason)
			}
			got = append(got, string(p.Data))
		}
		if want := []string{string(rating.NotJSON), `{"b":1}`}; !slices.Equal(got, want) {
			t.Errorf("%s: %.80q, want %q", name, got, want)
		}
	}
}

// A file of nothing but broken lines takes no longer than another.
func TestSplitBrokenLines(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"{\n", "{\n{}\n", "{\"a\":[\n"} {
		text := strings.Repeat(line, 1<<17)
		if got := cut(t, strings.NewReader(text), cdr.CanonicalJSON); len(got) < 1<<16 {
			t.Errorf("%q: %d pieces", line, len(got))
		}
	}
	text := strings.Repeat("a,\"b\n", 1<<17)
	if got := cut(t, strings.NewReader(text), cdr.AsteriskCSV); len(got) < 1<<16 {
		t.Errorf("CSV: %d pieces", len(got))
	}
}

// A page may be larger than a record: it is never whole in memory.
func TestSplitLargePage(t *testing.T) {
	t.Parallel()
	row := `{"id":"` + strings.Repeat("x", 900) + `"},`
	page := `{"@odata.nextLink":"y","value":[` + strings.TrimSuffix(strings.Repeat(row, 5000), ",") + `],"z":[1,2]}`
	if got := cut(t, strings.NewReader(page), cdr.GraphPSTN); len(got) != 5000 {
		t.Errorf("%d rows, want 5000", len(got))
	}
	page = `{"value":[{"a":1}],"z":"` + strings.Repeat("y", 5<<20) + `"}`
	if got := cut(t, strings.NewReader(page), cdr.GraphPSTN); len(got) != 1 {
		t.Errorf("%d rows, want 1", len(got))
	}
}

// What was read before an error of the reader may be half a record: it is not one.
func TestSplitReadError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for text, whole := range map[string]int{"": 0, `{"a":1}` + "\n" + `{"b":1`: 1, "{\"a\":1}\n": 1} {
		for _, f := range []cdr.Format{cdr.CanonicalJSON, cdr.AsteriskCSV} {
			s := cdr.NewSplitter(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), f)
			n := 0
			var err error
			for ; err == nil; n++ {
				_, err = s.Next()
			}
			if !errors.Is(err, broken) || n-1 > whole {
				t.Errorf("%s %q: %d pieces, %v", f, text, n-1, err)
			}
		}
	}
}

// FuzzSplit: whatever a file holds, every byte that is no separator comes out once,
// in order, and it makes no difference how the file is read.
func FuzzSplit(f *testing.F) {
	for _, text := range []string{
		"{\"a\":1}\n[{},{}]\n", `{"value":[{"a":1},{}],"b":"c"}`, "a,\"b\n\"\"c\",d\r\n\r\ne", "{\"a\":{\n{\"b\":1}", "\ufeff[1,{},]", "{\"a\":\"\n\"}",
	} {
		for i := range cdr.Formats() {
			f.Add([]byte(text), byte(i))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, format byte) {
		name := cdr.Formats()[int(format)%len(cdr.Formats())]
		got := cut(t, bytes.NewReader(data), name)
		if again := cut(t, iotest.HalfReader(iotest.OneByteReader(bytes.NewReader(data))), name); !slices.Equal(got, again) {
			t.Fatalf("%s %q: %q, and byte by byte %q", name, data, got, again)
		}
		at := 0
		for _, piece := range got {
			_, rest, _ := strings.Cut(piece, ":")
			_, rest, _ = strings.Cut(rest, ":")
			i := bytes.Index(data[at:], []byte(rest))
			if i < 0 || rest == "" {
				t.Fatalf("%s %q: piece %q is not there after %d", name, data, rest, at)
			}
			at += i + len(rest)
		}
	})
}
