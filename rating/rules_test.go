package rating_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/rating"
)

// Each directory of testdata/rules is a complete deck about one rule, calls to
// try it on, and what they cost and why.
func TestRules(t *testing.T) {
	dirs, err := os.ReadDir("testdata/rules")
	if err != nil || len(dirs) < 6 {
		t.Fatal(dirs, err)
	}
	for _, dir := range dirs {
		t.Run(dir.Name(), func(t *testing.T) {
			root := "testdata/rules/" + dir.Name()
			d := load(t, os.DirFS(root))
			calls, err := os.ReadFile(root + "/calls.txt")
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for line := range strings.Lines(string(calls)) {
				out.WriteString(line)
				if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
					out.WriteString(explained(t, d, line))
				}
			}
			golden(t, "rules/"+dir.Name()+"/calls.golden", out.String())
		})
	}
}

// explained prices a line "kind callee answered_at duration_ms [home]" and says
// how the charge comes about.
func explained(t *testing.T, d *rating.Decks, line string) string {
	t.Helper()
	words := strings.Fields(line)
	c := &rating.CDR{Kind: rating.Kind(words[0])}
	if words[1] != "-" {
		c.Callee = words[1]
	}
	var err error
	if words[2] != "-" {
		if c.AnsweredAt, err = time.Parse(time.RFC3339, words[2]); err != nil {
			t.Fatal(err)
		}
	}
	if c.DurationMillis, err = strconv.ParseInt(words[3], 10, 64); err != nil {
		t.Fatal(err)
	}
	if len(words) > 4 {
		c.Home = words[4]
	}
	charge, why, err := d.Explain(c)
	if plain, plainErr := d.Price(c); plain != charge || fmt.Sprint(plainErr) != fmt.Sprint(err) {
		t.Errorf("%s: Price says %+v, %v; Explain says %+v, %v", line, plain, plainErr, charge, err)
	}
	if err != nil {
		return "    " + err.Error() + "\n"
	}
	charge.Deck = "" // a hash of the files beside this one
	text, _ := json.Marshal(charge)
	var out strings.Builder
	out.WriteString("    " + string(text) + "\n    " + why.Why)
	if why.Sum != "" {
		out.WriteString("; fee " + why.SetupFee)
	}
	for _, p := range why.Steps {
		fmt.Fprintf(&out, " + %s %d x %d s at %s from %d = %s", p.Band, p.Increments, p.Increment, p.Price, p.From, p.Amount)
	}
	if why.Sum != "" {
		fmt.Fprintf(&out, " = %s, %s: %s", why.Sum, why.Rounding, why.Rounded)
	}
	if why.MaxCharge != "" {
		out.WriteString(", at most " + why.MaxCharge)
	}
	return out.String() + "\n"
}
