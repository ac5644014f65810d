package cdr_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/creditstream/creditstream/rating"
)

// A wireCDR is what one would write without this package.
type wireCDR struct {
	ID          string     `json:"id"`
	Source      string     `json:"source"`
	Account     string     `json:"account"`
	User        string     `json:"user"`
	Kind        string     `json:"kind"`
	Caller      string     `json:"caller"`
	Callee      string     `json:"callee"`
	HomeCountry string     `json:"home_country"`
	AnsweredAt  *time.Time `json:"answered_at"`
	DurationMS  int64      `json:"duration_ms"`
}

func (w *wireCDR) cdr() rating.CDR {
	c := rating.CDR{
		ID: w.ID, Source: w.Source, Account: w.Account, User: w.User, Kind: rating.Kind(w.Kind),
		Caller: w.Caller, Callee: w.Callee, Home: w.HomeCountry, DurationMillis: w.DurationMS,
	}
	if w.AnsweredAt != nil {
		c.AnsweredAt = w.AnsweredAt.UTC()
	}
	return c
}

// reference decodes with encoding/json, member by member, as its structs do not
// tell "id" from "ID".
func reference(data []byte) (rating.CDR, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return rating.CDR{}, err
	}
	var w wireCDR
	var at string
	for name, into := range map[string]any{
		"id": &w.ID, "source": &w.Source, "account": &w.Account, "user": &w.User, "kind": &w.Kind,
		"caller": &w.Caller, "callee": &w.Callee, "home_country": &w.HomeCountry,
		"answered_at": &at, "duration_ms": &w.DurationMS,
	} {
		raw, ok := members[name]
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return rating.CDR{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	if at != "" {
		t, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			return rating.CDR{}, err
		}
		w.AnsweredAt = &t
	}
	return w.cdr(), nil
}

// pad is JSON white space.
func pad() *rapid.Generator[string] { return rapid.StringMatching(`[ \t\r\n]{0,2}`) }

// quoted writes s as a JSON string, each character as itself or as an escape.
func quoted(t *rapid.T, s string) string {
	out := []byte{'"'}
	for _, r := range s {
		plain, err := json.Marshal(string(r))
		if err != nil {
			t.Fatal(err)
		}
		switch way := rapid.IntRange(0, 7).Draw(t, "way"); {
		case way > 0:
			out = append(out, plain[1:len(plain)-1]...)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04X`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return string(append(out, '"'))
}

// anyJSON draws any JSON value, at most depth deep.
func anyJSON(t *rapid.T, depth int) string {
	shape := rapid.IntRange(0, 6).Draw(t, "shape")
	if depth == 0 {
		shape %= 5
	}
	switch shape {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false"}).Draw(t, "word")
	case 1, 2:
		return rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,9})?([eE][-+]?[0-9]{1,2})?`).Draw(t, "number")
	case 3, 4:
		return quoted(t, rapid.StringN(0, 12, -1).Draw(t, "text"))
	}
	opener, closer := "[", "]"
	if shape == 6 {
		opener, closer = "{", "}"
	}
	var elements []string
	for range rapid.IntRange(0, 3).Draw(t, "elements") {
		name := ""
		if shape == 6 {
			name = quoted(t, rapid.StringN(0, 8, -1).Draw(t, "name")) + pad().Draw(t, "pad") + ":"
		}
		elements = append(elements, pad().Draw(t, "pad")+name+anyJSON(t, depth-1)+pad().Draw(t, "pad"))
	}
	return opener + strings.Join(elements, ",") + closer
}

// instant writes t, in a zone drawn, as RFC 3339 with a fraction drawn.
func instant(t *rapid.T, at time.Time) string {
	zone := time.FixedZone("", 60*rapid.IntRange(-23*60-59, 23*60+59).Draw(t, "zone"))
	layout := rapid.SampledFrom([]string{
		time.RFC3339Nano, "2006-01-02T15:04:05.000000000Z07:00", "2006-01-02T15:04:05.000000000-07:00",
	}).Draw(t, "layout")
	return at.In(zone).Format(layout)
}

// canonical draws a CDR and a document that says it.
func canonical(t *rapid.T) (rating.CDR, string) {
	printable := rapid.StringMatching(`[^\pC]{1,40}`)
	c := rating.CDR{
		ID:             printable.Draw(t, "id"),
		Source:         printable.Draw(t, "source"),
		Account:        rapid.StringMatching(`[A-Za-z0-9._@-]{1,64}`).Draw(t, "account"),
		Kind:           rapid.SampledFrom(rating.Kinds()).Draw(t, "kind"),
		DurationMillis: rapid.Int64Min(0).Draw(t, "duration"),
	}
	members := []string{
		`"id":` + quoted(t, c.ID), `"source":` + quoted(t, c.Source), `"account":` + quoted(t, c.Account),
		`"kind":` + quoted(t, string(c.Kind)), fmt.Sprintf(`"duration_ms": %d`, c.DurationMillis),
	}
	optional := func(name string, into *string, g *rapid.Generator[string]) {
		switch rapid.IntRange(0, 4).Draw(t, name+" given") {
		case 0:
		case 1:
			members = append(members, quoted(t, name)+`:`+rapid.SampledFrom([]string{`null`, `""`}).Draw(t, "none"))
		default:
			*into = g.Draw(t, name)
			members = append(members, quoted(t, name)+pad().Draw(t, "pad")+`:`+quoted(t, *into))
		}
	}
	optional("user", &c.User, printable)
	optional("caller", &c.Caller, rapid.StringN(1, 60, 256))
	optional("callee", &c.Callee, rapid.StringMatching(`\+[0-9]{7,15}`))
	optional("home_country", &c.Home, rapid.StringMatching(`[A-Za-z]{2}`))
	var at string
	optional("answered_at", &at, rapid.Custom(func(t *rapid.T) string {
		c.AnsweredAt = time.Unix(
			rapid.Int64Range(firstSecond, lastInAnyZone).Draw(t, "second"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos"),
		).UTC()
		return instant(t, c.AnsweredAt)
	}))
	for i := range rapid.IntRange(0, 3).Draw(t, "unknown members") {
		members = append(members, fmt.Sprintf(`"x%d":%s`, i, anyJSON(t, 5)))
	}
	members = rapid.Permutation(members).Draw(t, "order")
	for i, m := range members {
		members[i] = pad().Draw(t, "pad") + m + pad().Draw(t, "pad")
	}
	return c, pad().Draw(t, "pad") + "{" + strings.Join(members, ",") + "}" + pad().Draw(t, "pad")
}

func TestCanonicalAgreesWithEncodingJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want, doc := canonical(t)
		got, fault := decode(t, doc)
		if fault != nil {
			t.Fatalf("refused %s: %v", doc, fault)
		}
		if got != want {
			t.Fatalf("%s\ngot  %+v\nwant %+v", doc, got, want)
		}
		other, err := reference([]byte(doc))
		if err != nil || other != want {
			t.Fatalf("%s\nencoding/json %+v, %v\nwant          %+v", doc, other, err, want)
		}
	})
}

// One byte changed, taken out or put in: whatever is still accepted, encoding/json
// reads the same; whatever it refuses as JSON, Canonical refuses.
func TestCanonicalAgreesOnDamage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		_, doc := canonical(t)
		at := rapid.IntRange(0, len(doc)-1).Draw(t, "at")
		b := string([]byte{rapid.Byte().Draw(t, "byte")})
		if rapid.Bool().Draw(t, "of JSON") {
			b = rapid.SampledFrom([]string{`"`, `\`, `{`, `}`, `[`, `]`, `,`, `:`, `-`, `0`, `.`, `e`, "u", "\n"}).Draw(t, "mark")
		}
		switch rapid.IntRange(0, 2).Draw(t, "damage") {
		case 0:
			doc = doc[:at] + b + doc[at+1:]
		case 1:
			doc = doc[:at] + doc[at+1:]
		default:
			doc = doc[:at] + b + doc[at:]
		}
		compare(t, []byte(doc))
	})
}
