package corrections

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/creditstream/creditstream/consumer/cdr"
)

// Read reads corrected CDRs: canonical JSON, an object after the other. Its error is
// that of the reader, or that there are too many; a record that is no CDR is a Line
// with an error.
func Read(from io.Reader) ([]Line, error) {
	var lines []Line
	pieces := cdr.NewSplitter(from, cdr.CanonicalJSON)
	for {
		p, err := pieces.Next()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
		if len(lines) == MaxCalls {
			return nil, fmt.Errorf("line %d: more than %d CDRs: split the file", p.Line, MaxCalls)
		}
		l := Line{Line: p.Line, Value: bytes.Clone(p.Data)}
		if p.Fault != nil {
			l.Err = p.Fault
		} else {
			l.Err = cdr.Canonical(l.Value, &l.CDR)
		}
		lines = append(lines, l)
	}
}
