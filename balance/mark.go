package balance

import (
	"fmt"
	"strconv"
	"strings"
)

// A Source is one partition of an input topic.
type Source struct {
	Topic     string
	Partition int
}

func (s Source) String() string { return s.Topic + "/" + strconv.Itoa(s.Partition) }

// A Mark says how far a shard has applied a source, and by which history.
type Mark struct {
	Next int64  // offset of the first record not yet applied
	Name string // of the last result entry: sha1 of the name before it and its text
	Last Last
}

// Last describes the last record before a mark.
type Last struct {
	Offset       int64 // -1: there is none
	Digest       string
	AppendMillis int64
}

// expected is the part of a mark that compare-and-set compares, as a prefix.
func (m Mark) expected() string { return strconv.FormatInt(m.Next, 10) + " " + m.Name + " " }

func (l Last) String() string {
	digest := l.Digest
	if digest == "" {
		digest = "-"
	}
	return fmt.Sprintf("%d %s %d", l.Offset, digest, l.AppendMillis)
}

func parseMark(s string) (Mark, error) {
	f := strings.Fields(s)
	if len(f) != 5 {
		return Mark{}, faultf("mark %q: want 5 fields, have %d", s, len(f))
	}
	var nums [3]int64
	for i, at := range [...]int{0, 2, 4} {
		n, err := strconv.ParseInt(f[at], 10, 64)
		if err != nil {
			return Mark{}, faultf("mark %q: %w", s, err)
		}
		nums[i] = n
	}
	return Mark{Next: nums[0], Name: f[1], Last: Last{Offset: nums[1], Digest: f[3], AppendMillis: nums[2]}}, nil
}
