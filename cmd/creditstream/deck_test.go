package main

import (
	"strings"
	"testing"
)

const decksOfRating = "../../rating/testdata/"

func TestDeckCheck(t *testing.T) {
	t.Parallel()
	out, errs, err := execute(t, "deck", "check", tryDeck)
	if err != nil || errs != "" {
		t.Error(err, errs)
	}
	golden(t, "deck_check.golden", out)
	out, _, err = execute(t, "deck", "check", decksOfRating+"diff")
	if lines := strings.Split(out, "\n"); err != nil || len(lines) != 4 ||
		!strings.HasPrefix(lines[1], "standard-2026  ") || !strings.HasPrefix(lines[2], "standard-2027  ") {
		t.Errorf("two versions: %v\n%s", err, out)
	}
}

func TestDeckCheckProblems(t *testing.T) {
	t.Parallel()
	out, errs, code := piped(t, nil, "deck", "check", decksOfRating+"broken_bands")
	golden(t, "../"+decksOfRating+"broken_bands.golden", out)
	if want := `creditstream: "../../rating/testdata/broken_bands" holds no valid deck: problems: `; code != 2 || !strings.HasPrefix(errs, want) {
		t.Errorf("code %d: %s", code, errs)
	}
	for dir, want := range map[string]string{
		"/nowhere/deck": "creditstream: \"/nowhere/deck\" does not exist: expected a directory\n",
		"deck.go":       "creditstream: \"deck.go\" is a file: expected a directory\n",
	} {
		if out, errs, code := piped(t, nil, "deck", "check", dir); code != 2 || out != "" || errs != want {
			t.Errorf("%s: code %d\n%s%s", dir, code, out, errs)
		}
	}
}

func TestDeckDiff(t *testing.T) {
	t.Parallel()
	a, b := decksOfRating+"diff/a", decksOfRating+"diff/b"
	for name, args := range map[string][]string{
		"deck_diff.golden":      {a, b},
		"deck_diff_same.golden": {"--at=2026-01-15T00:00:00+01:00", a, a},
	} {
		out, errs, err := execute(t, append([]string{"deck", "diff"}, args...)...)
		if err != nil || errs != "" {
			t.Errorf("%s: %v %s", name, err, errs)
		}
		golden(t, name, out)
	}
	out, _, err := execute(t, "deck", "diff", a, decksOfRating+"example")
	if err != nil || !strings.Contains(out, "\nPrices are not compared: the currencies differ.\n") || !strings.HasSuffix(out, ", the rest not compared\n") {
		t.Errorf("two currencies: %v\n%s", err, out)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--at=yesterday", a, b}, `flag --at: "yesterday" is not a time: expected RFC 3339, such as 2026-07-01T00:00:00Z`},
		{[]string{"--at=2026-06-01T00:00:00Z", a, b}, "after: no deck is valid at 2026-06-01T00:00:00Z: the first is from 2027-01-01T00:00:00Z"},
		{[]string{a, "/nowhere"}, `"/nowhere" does not exist: expected a directory`},
		{[]string{decksOfRating + "broken", b}, "\"../../rating/testdata/broken\" holds no valid deck:\n    columns.csv:1:14: "},
	} {
		out, errs, code := piped(t, nil, append([]string{"deck", "diff"}, tt.args...)...)
		if code != 2 || out != "" || !strings.HasPrefix(errs, "creditstream: "+tt.want) {
			t.Errorf("%s: code %d\n%s%s", tt.args, code, out, errs)
		}
	}
}
