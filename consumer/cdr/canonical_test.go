package cdr_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

// sample is the record of the package comment.
const sample = `{"id":"9f1c","source":"fs-par-1","account":"acme","user":"u-1042",` +
	`"kind":"user_out","caller":"+33142685300","callee":"+442071838750","home_country":"US",` +
	`"answered_at":"2026-11-22T07:00:00.125Z","duration_ms":317250}`

// least holds the required members and nothing else.
const least = `{"id":"1","source":"s","account":"acme","kind":"internal","duration_ms":0}`

func sampleCDR() rating.CDR {
	return rating.CDR{
		ID: "9f1c", Source: "fs-par-1", Account: "acme", User: "u-1042", Kind: rating.UserOut,
		Caller: "+33142685300", Callee: "+442071838750", Home: "US",
		AnsweredAt:     time.Date(2026, 11, 22, 7, 0, 0, 125e6, time.UTC),
		DurationMillis: 317250,
	}
}

func leastCDR() rating.CDR {
	return rating.CDR{ID: "1", Source: "s", Account: "acme", Kind: rating.Internal}
}

// with returns the sample with one piece of it replaced, which must be there.
func with(tb testing.TB, old, replacement string) string {
	tb.Helper()
	if strings.Count(sample, old) != 1 {
		tb.Fatalf("the sample has %q %d times, want once", old, strings.Count(sample, old))
	}
	return strings.Replace(sample, old, replacement, 1)
}

// plus returns the least record with members appended.
func plus(members string) string {
	return strings.TrimSuffix(least, "}") + "," + members + "}"
}

func decode(t fataler, doc string) (rating.CDR, *cdr.Fault) {
	t.Helper()
	c := rating.CDR{ID: "stale", Account: "stale", Home: "ZZ", DurationMillis: 7}
	err := cdr.Canonical([]byte(doc), &c)
	if err == nil {
		return c, nil
	}
	var fault *cdr.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("Canonical returned a %T, want a *cdr.Fault", err)
	}
	return c, fault
}

func TestCanonicalAccepts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		doc    string
		change func(c *rating.CDR) // from the least CDR
	}{
		{"required members only", least, func(*rating.CDR) {}},
		{"optional members null", plus(`"user":null,"caller":null,"callee":null,"home_country":null,"answered_at":null`), func(*rating.CDR) {}},
		{"optional members empty", plus(`"user":"","caller":"","callee":"","home_country":"","answered_at":""`), func(*rating.CDR) {}},
		{"space around every token", " \t\r\n" + strings.NewReplacer(":", " : ", ",", "\n,\t", "{", "{ ", "}", "\r}").Replace(least) + "\n", func(*rating.CDR) {}},
		{"unknown members", plus(`"x":{"id":"2","y":[1,-2.5e+3,true,false,null,"\u00e9",{},[]]},"":[]`), func(*rating.CDR) {}},
		{"an unknown member twice", plus(`"x":1,"x":2`), func(*rating.CDR) {}},
		{"names in another case are other members", plus(`"ID":"2","Account":7,"ACCOUNT":"evil","Kind":"?","duration_MS":-1`), func(*rating.CDR) {}},
		{"a Kelvin sign is no k", plus("\"\u212aind\":7"), func(*rating.CDR) {}},
		{"an escaped name is the name", strings.Replace(least, `"id"`, `"\u0069\u0064"`, 1), func(*rating.CDR) {}},
		{"a very long unknown name", plus(`"` + strings.Repeat(`\u0069`, 2000) + `":1`), func(*rating.CDR) {}},
		{
			"escapes", plus(`"user":"\"\\\/\u00e9\uD83D\uDE00\u20ac","caller":"a\b\f\n\r\t\u0000z"`),
			func(c *rating.CDR) { c.User, c.Caller = `"\/é😀€`, "a\b\f\n\r\t\x00z" },
		},
		{"a written U+FFFD", plus(`"user":"\ufffd�"`), func(c *rating.CDR) { c.User = "\ufffd\ufffd" }},
		{"not ASCII", plus(`"user":"Zoë 漢字 😀"`), func(c *rating.CDR) { c.User = "Zoë 漢字 😀" }},
		{"a no-break space is no control character", plus(`"user":"a` + "\u00a0" + `b"`), func(c *rating.CDR) { c.User = "a\u00a0b" }},
		{
			"every text as long as it may be",
			`{"id":"` + strings.Repeat("i", 256) + `","source":"` + strings.Repeat("s", 128) +
				`","account":"` + strings.Repeat("a", 64) + `","kind":"conference_call_me","duration_ms":0,"user":"` +
				strings.Repeat("u", 256) + `","caller":"` + strings.Repeat("1", 256) + `","callee":"` + strings.Repeat(`\u0032`, 256) + `"}`,
			func(c *rating.CDR) {
				*c = rating.CDR{
					ID: strings.Repeat("i", 256), Source: strings.Repeat("s", 128), Account: strings.Repeat("a", 64),
					Kind: rating.ConferenceCallMe, User: strings.Repeat("u", 256),
					Caller: strings.Repeat("1", 256), Callee: strings.Repeat("2", 256),
				}
			},
		},
		{"every byte an account may have", strings.Replace(least, "acme", "AZaz09._@-", 1), func(c *rating.CDR) { c.Account = "AZaz09._@-" }},
		{"a country as it is written", plus(`"home_country":"fR"`), func(c *rating.CDR) { c.Home = "fR" }},
		{"the longest duration", strings.Replace(least, `_ms":0`, `_ms":9223372036854775807`, 1), func(c *rating.CDR) { c.DurationMillis = 1<<63 - 1 }},
		{"a minus zero", strings.Replace(least, `_ms":0`, `_ms":-0`, 1), func(*rating.CDR) {}},
		{"nested as deep as allowed", plus(`"x":` + strings.Repeat("[", 63) + strings.Repeat("]", 63)), func(*rating.CDR) {}},
		{"as long as allowed", least + strings.Repeat(" ", cdr.MaxRecordBytes-len(least)), func(*rating.CDR) {}},
		{
			"nanoseconds and an offset", plus(`"answered_at":"2026-01-01T00:30:00.123456789+01:00"`),
			func(c *rating.CDR) { c.AnsweredAt = time.Date(2025, 12, 31, 23, 30, 0, 123456789, time.UTC) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, fault := decode(t, tt.doc)
			if fault != nil {
				t.Fatalf("refused: %v", fault)
			}
			want := leastCDR()
			tt.change(&want)
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestCanonicalReadsTheSample(t *testing.T) {
	t.Parallel()
	data := []byte(sample)
	var got rating.CDR
	if err := cdr.Canonical(data, &got); err != nil {
		t.Fatal(err)
	}
	// The bytes belong to the caller, who may read the next record into them.
	for i := range data {
		data[i] = 'X'
	}
	if got != sampleCDR() {
		t.Errorf("got  %+v\nwant %+v", got, sampleCDR())
	}
}

func TestCanonicalKnowsEveryKind(t *testing.T) {
	t.Parallel()
	for _, k := range rating.Kinds() {
		got, fault := decode(t, with(t, "user_out", string(k)))
		if fault != nil || got.Kind != k {
			t.Errorf("%s: got %q, %v", k, got.Kind, fault)
		}
	}
}

func TestCanonicalAllocates(t *testing.T) {
	escaped := strings.NewReplacer("9f1c", `\u0039f1c`, "u-1042", `u\u002d1042`, "acme", `\u0061cme`,
		"+33", `\u002b33`, "+44", `\u002b44`, "user_out", `user\u005fout`, `"US"`, `"\u0055S"`).Replace(sample)
	for name, doc := range map[string]string{"sample": sample, "escaped": escaped, "least": least} {
		data := []byte(doc)
		var c rating.CDR
		allocs := testing.AllocsPerRun(200, func() {
			if err := cdr.Canonical(data, &c); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > 3 {
			t.Errorf("%s: %v allocations, want at most 3", name, allocs)
		}
	}
}
