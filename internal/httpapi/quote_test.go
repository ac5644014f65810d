package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/deploy/decks"
	"github.com/creditstream/creditstream/rating"
)

// quotedAt is now, for quotes.
var quotedAt = time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)

func sampleDeck(t *testing.T) *rating.Decks {
	t.Helper()
	d, err := rating.Load(decks.Sample())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAQuoteIsWhatTheCallWouldCost(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	for _, test := range []struct {
		query string
		cdr   rating.CDR
	}{
		{"kind=user_out&callee=%2B442079460000&seconds=61", rating.CDR{Kind: rating.UserOut, Callee: "+442079460000", AnsweredAt: quotedAt, DurationMillis: 61_000}},
		{"kind=user_out&callee=+442079460000&seconds=61", rating.CDR{Kind: rating.UserOut, Callee: "+442079460000", AnsweredAt: quotedAt, DurationMillis: 61_000}},
		{
			"kind=user_out&callee=442079460000&seconds=61&home_country=gb&at=2026-01-01T01:00:00%2B01:00",
			rating.CDR{Kind: rating.UserOut, Callee: "+442079460000", Home: "GB", AnsweredAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), DurationMillis: 61_000},
		},
		{"kind=user_out&callee=442079460000&seconds=0", rating.CDR{Kind: rating.UserOut, Callee: "+442079460000", AnsweredAt: quotedAt}},
		{"kind=emergency&callee=112&seconds=5", rating.CDR{Kind: rating.Emergency, AnsweredAt: quotedAt, DurationMillis: 5000}},
	} {
		want, why, err := sampleDeck(t).Explain(&test.cdr)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			rating.Charge

			Kind       string
			AnsweredAt time.Time `json:"answered_at"`
			Explain    struct{ Why, Sum string }
		}
		if err := json.Unmarshal([]byte(c.do("GET /v1/quote?"+test.query, "").is(200).text), &got); err != nil {
			t.Fatal(err)
		}
		if got.Charge != want || got.Kind != string(test.cdr.Kind) || !got.AnsweredAt.Equal(test.cdr.AnsweredAt) ||
			got.Explain.Why != why.Why || got.Explain.Sum != why.Sum {
			t.Errorf("%s: got %+v, want %+v because %s", test.query, got, want, why.Why)
		}
	}
}

func TestWhatCannotBeQuoted(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	for query, want := range map[string]string{
		"kind=fax&seconds=1":                                                   "unknown_kind",
		"kind=user_out&seconds=1":                                              "missing_field",
		"kind=user_out&callee=alice&seconds=1":                                 "bad_number",
		"kind=user_out&callee=1&seconds=1&at=1999-01-01T00:00:00Z":             "no_rate",
		"callee=1&seconds=1":                                                   "query.kind",
		"kind=user_out&callee=1":                                               "query.seconds",
		"kind=user_out&callee=1&seconds=-1":                                    "query.seconds",
		"kind=user_out&callee=1&seconds=86401":                                 "query.seconds",
		"kind=user_out&callee=1&seconds=1.5":                                   "query.seconds",
		"kind=user_out&callee=1&seconds=1&at=yesterday":                        "query.at",
		"kind=user_out&callee=1&seconds=1&home_country=USA":                    "query.home_country",
		"kind=user_out&seconds=1&callee=" + strings.Repeat("1", 257):           "query.callee",
		"kind=user_out&seconds=1&callee=" + strings.Repeat("1", 33):            "bad_number",
		"kind=user_out&seconds=1&callee=%00":                                   "bad_number",
		"kind=user_out&seconds=1&callee=%2B44%20(0)20%207946%200000&other=new": "bad_number",
	} {
		if a := c.do("GET /v1/quote?"+query, "").is(422); !strings.Contains(a.text, want) {
			t.Errorf("%s: got %s, want %s", query, a.text, want)
		}
	}
}
