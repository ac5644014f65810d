package auth

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxFileBytes bounds a file of tokens or secrets.
const maxFileBytes = 1 << 20

var nameGrammar = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

const nameExpected = "a name of 1 to 64 letters, digits and ._-"

// readLines gives the words of each line to each, which returns what is wrong with
// them. Empty lines and those that begin with # are left out. The first word is a
// name, which may stand in one line only. All that is wrong is returned, with file and line.
func readLines(file string, b []byte, most int, each func(words []string) error) error {
	var errs []error
	names := map[string]int{}
	bad := func(line int, format string, a ...any) {
		errs = append(errs, fmt.Errorf("%s:%d: %w", file, line, fmt.Errorf(format, a...)))
	}
	line := 0
	for text := range strings.Lines(string(b)) {
		line++
		words := strings.Fields(text)
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
			continue
		case !nameGrammar.MatchString(words[0]):
			bad(line, "the first word is not allowed: expected %s", nameExpected)
			continue
		case names[words[0]] > 0:
			bad(line, "%s is in line %d already: expected another name", words[0], names[words[0]])
			continue
		}
		names[words[0]] = line
		if err := each(words); err != nil {
			bad(line, "%s: %w", words[0], err)
		}
	}
	if len(names) > most {
		errs = append(errs, fmt.Errorf("%s: has %d names: expected at most %d", file, len(names), most))
	}
	return errors.Join(errs...)
}
