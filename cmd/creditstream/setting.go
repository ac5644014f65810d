package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/rating"
)

// A setting is one thing that can be configured, by a flag, an environment
// variable or a key in a file, all of one name.
type setting struct {
	value

	name    string
	initial string
	usage   string
}

// A value says how the text of a setting is read.
type value struct {
	kind string // shown by --help
	list bool   // comma-separated; the flag may be repeated
	bare string // the text of a flag without one, if that is allowed
	// set reads text. Its error completes the sentence `"text" ...`: what is wrong
	// with it and what is expected.
	set func(text string) error
}

func whole(at *int, low, high int) value {
	return value{kind: "number", set: func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("is not a whole number: expected %d to %d", low, high)
		}
		if n < low || n > high {
			return fmt.Errorf("is out of range: expected %d to %d", low, high)
		}
		*at = n
		return nil
	}}
}

func duration(at *time.Duration, low, high time.Duration) value {
	return value{kind: "duration", set: func(text string) error {
		d, err := parseDuration(text)
		if err != nil {
			return fmt.Errorf("is not a duration: expected %s to %s, in units of d, h, m, s or ms, such as 1d12h", days(low), days(high))
		}
		if d < low || d > high {
			return fmt.Errorf("is out of range: expected a duration from %s to %s", days(low), days(high))
		}
		*at = d
		return nil
	}}
}

const day = 24 * time.Hour

// parseDuration reads a Go duration that may begin with days.
func parseDuration(text string) (time.Duration, error) {
	number, rest, found := strings.Cut(text, "d")
	if !found {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseUint(number, 10, 16) // 179 years
	if err != nil {
		return 0, err
	}
	d := time.Duration(n) * day
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	if more < 0 || strings.HasPrefix(rest, "+") {
		err = errors.New("a sign within")
	}
	return d + more, err
}

// days writes d as parseDuration reads it.
func days(d time.Duration) string {
	if d >= 2*day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = strings.TrimSuffix(text, zero[1:])
		}
	}
	return text
}

func amount(at *rating.Micros, low, high rating.Micros) value {
	return value{kind: "amount", set: func(text string) error {
		m, err := rating.ParseMicros(text)
		if err != nil {
			return fmt.Errorf("is not an amount: expected %s to %s, with a dot and at most 6 digits after it", low, high)
		}
		if m < low || m > high {
			return fmt.Errorf("is out of range: expected an amount from %s to %s", low, high)
		}
		*at = m
		return nil
	}}
}

func truth(at *bool) value {
	return value{kind: "bool", bare: "true", set: func(text string) error {
		if text != "true" && text != "false" {
			return errors.New("is neither: expected true or false")
		}
		*at = text == "true"
		return nil
	}}
}

func oneOf(at *string, words ...string) value {
	return value{kind: strings.Join(words, "|"), set: func(text string) error {
		if !slices.Contains(words, text) {
			return fmt.Errorf("is not known: expected one of %s", strings.Join(words, ", "))
		}
		*at = text
		return nil
	}}
}

// matching reads a text that pattern matches; expected says so in words.
func matching(at *string, pattern, expected string) value {
	re := regexp.MustCompile(`\A(?:` + pattern + `)\z`)
	return value{kind: "name", set: func(text string) error {
		if !re.MatchString(text) {
			return errors.New("is not allowed: expected " + expected)
		}
		*at = text
		return nil
	}}
}

const (
	topicPattern  = `[A-Za-z0-9_-][A-Za-z0-9._-]{0,248}`
	topicExpected = "1 to 249 letters, digits, '.', '_' or '-', the first of them not a '.'"
)

func topicName(at *string) value { return matching(at, topicPattern, topicExpected) }

// allMatching reads a list of texts that pattern matches.
func allMatching(at *[]string, kind, pattern, expected string) value {
	re := regexp.MustCompile(`\A(?:` + pattern + `)\z`)
	return value{kind: kind, list: true, set: func(text string) error {
		*at = nil
		if text == "" {
			return nil
		}
		for _, word := range split(text) {
			if !re.MatchString(word) {
				return fmt.Errorf("names %q: expected %s, separated by commas", word, expected)
			}
			*at = append(*at, word)
		}
		return nil
	}}
}

func split(text string) []string {
	words := strings.Split(text, ",")
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
	}
	return words
}

const expectedAddress = "HOST:PORT with a port from 1 to 65535"

func checkAddress(text string, low uint64) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n < low {
		return fmt.Errorf("port %q", port)
	}
	if host == "" || strings.ContainsAny(host, " /@") {
		return fmt.Errorf("host %q", host)
	}
	return nil
}

// addresses reads one or more addresses to connect to.
func addresses(at *[]string) value {
	return value{kind: "host:port,...", list: true, set: func(text string) error {
		words := split(text)
		for _, word := range words {
			if checkAddress(word, 1) != nil {
				return fmt.Errorf("names %q: expected %s, several separated by commas", word, expectedAddress)
			}
		}
		*at = words
		return nil
	}}
}

// listenAddress reads an address to listen on; port 0 is a free one.
func listenAddress(at *string) value {
	return value{kind: "host:port", set: func(text string) error {
		if checkAddress(text, 0) != nil {
			return errors.New("is not an address to listen on: expected HOST:PORT with a port from 0 to 65535")
		}
		*at = text
		return nil
	}}
}

// loopbackAddress reads an address of this machine alone to listen on.
func loopbackAddress(at *string) value {
	v := listenAddress(at)
	parse := v.set
	v.set = func(text string) error {
		if err := parse(text); err != nil {
			return err
		}
		if !isLoopback(text) {
			return errors.New("can be reached from outside, which the sandbox is not made for: " +
				"expected an address of the loopback, such as 127.0.0.1:8080")
		}
		return nil
	}
	return v
}

// directory reads the path of a directory that exists.
func directory(at *string) value {
	return value{kind: "dir", set: func(text string) error {
		info, err := os.Stat(text)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return errors.New("does not exist: expected a directory")
		case err != nil:
			return fmt.Errorf("cannot be read: %w: expected a directory", err)
		case !info.IsDir():
			return errors.New("is a file: expected a directory")
		}
		*at = text
		return nil
	}}
}

// moment reads a point in time: RFC 3339, a day in UTC, or how long before now.
func moment(at *time.Time, now time.Time) value {
	return value{kind: "time", set: func(text string) error {
		if d, err := parseDuration(text); err == nil && d >= 0 {
			*at = now.Add(-d)
			return nil
		}
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if t, err := time.Parse(layout, text); err == nil {
				*at = t.UTC()
				return nil
			}
		}
		return errors.New("is not a time: expected RFC 3339 such as 2026-11-22T07:00:00Z, a day in UTC such as 2026-11-22, or how long ago, such as 1d12h")
	}}
}

// reasons reads reasons to park a record.
func reasons(at *[]rating.Reason) value {
	return value{kind: "reason,...", list: true, set: func(text string) error {
		*at = nil
		for _, word := range split(text) {
			if !slices.Contains(rating.Reasons(), rating.Reason(word)) {
				return fmt.Errorf("names %q: expected some of %s", word, joined(rating.Reasons()))
			}
			*at = append(*at, rating.Reason(word))
		}
		return nil
	}}
}

func joined[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

// letterIDs reads ids of dead letters.
func letterIDs(at *[]alerts.LetterID) value {
	return value{kind: "id,...", list: true, set: func(text string) error {
		*at = nil
		for _, word := range split(text) {
			id, err := alerts.ParseLetterID(word)
			if err != nil {
				return fmt.Errorf("names one that is none: %w", err)
			}
			*at = append(*at, id)
		}
		return nil
	}}
}

// anyText reads any text but none at all.
func anyText(at *string, kind string) value {
	return value{kind: kind, set: func(text string) error {
		if text == "" {
			return errors.New("is empty: expected a " + kind)
		}
		*at = text
		return nil
	}}
}
