package rating

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is one thing that is wrong with a deck.
type Problem struct {
	File    string // path below the root that was loaded
	Line    int    // from 1; 0 when it concerns the file as a whole
	Column  int    // from 1, in bytes; 0 when only the line is known
	Message string // what is wrong and what to write instead
}

// String writes file:line:column: message, without the parts that are zero.
func (p Problem) String() string {
	switch {
	case p.Line == 0:
		return p.File + ": " + p.Message
	case p.Column == 0:
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Problems is the error of Load: everything that is wrong, ordered by place.
type Problems []Problem

// Error writes one problem per line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// err returns the problems in order of their places, or nil if there are none.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return ps
}

// A report collects the problems of one file.
type report struct {
	file     string
	problems *Problems
}

func (r report) at(line, column int, format string, args ...any) {
	*r.problems = append(*r.problems, Problem{r.file, line, column, fmt.Sprintf(format, args...)})
}
