package corrections

import (
	"errors"
	"fmt"
	"io"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

// Read reads corrected CDRs, records of a format one after the other, as decode has
// them. Its error is that of the reader, or that there are too many; a record that is
// no CDR is a Line with an error.
func Read(from io.Reader, format cdr.Format, decode func(*cdr.Piece, *rating.CDR) error) ([]Line, error) {
	var lines []Line
	pieces := cdr.NewSplitter(from, format)
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
		l := Line{Line: p.Line}
		l.Err = decode(&p, &l.CDR)
		lines = append(lines, l)
	}
}
