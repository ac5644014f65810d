package alerts_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// ratedJSON is the rated record as encoding/json has it.
type ratedJSON struct {
	ID             string          `json:"id"`
	Source         string          `json:"source"`
	Account        string          `json:"account"`
	User           string          `json:"user,omitempty"`
	Kind           rating.Kind     `json:"kind"`
	Callee         string          `json:"callee,omitempty"`
	Destination    string          `json:"destination,omitempty"`
	Prefix         string          `json:"prefix,omitempty"`
	Band           string          `json:"band,omitempty"`
	AnsweredAt     string          `json:"answered_at,omitempty"`
	DurationMillis int64           `json:"duration_ms"`
	ChargedSeconds int64           `json:"charged_seconds"`
	Charge         rating.Micros   `json:"charge"`
	Currency       string          `json:"currency,omitempty"`
	Outcome        balance.Outcome `json:"outcome"`
	Deck           string          `json:"deck,omitempty"`
	Topic          string          `json:"topic"`
	Partition      int             `json:"partition"`
	Offset         int64           `json:"offset"`
}

func TestRatedLikeEncodingJSON(t *testing.T) {
	t.Parallel()
	// Any bytes, any runes, and those that need an escape.
	text := rapid.OneOf(
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.StringOf(rapid.RuneFrom([]rune("a\"\\/<>&\x00\x1f\b\f\n\r\t\x7f\u0080\u2027\u2028\u2029\ufffd\U0001f600"))),
	)
	rapid.Check(t, func(t *rapid.T) {
		r := kafka.Record{
			Topic: text.Draw(t, "topic"), Partition: rapid.IntRange(0, 1<<31-1).Draw(t, "partition"),
			Offset: rapid.Int64Min(0).Draw(t, "offset"),
		}
		v := balance.Verdict{
			CDR: rating.CDR{
				ID: text.Draw(t, "id"), Source: text.Draw(t, "source"), Account: text.Draw(t, "account"), User: text.Draw(t, "user"),
				Kind: rating.Kind(text.Draw(t, "kind")), Callee: text.Draw(t, "callee"),
				DurationMillis: rapid.Int64Min(0).Draw(t, "millis"),
			},
			Charge: rating.Charge{
				Amount: rating.Micros(rapid.Int64Range(0, int64(rating.MaxTotal)).Draw(t, "amount")), Currency: text.Draw(t, "currency"),
				ChargedSeconds: rapid.Int64Min(0).Draw(t, "seconds"), Destination: text.Draw(t, "destination"),
				Prefix: text.Draw(t, "prefix"), Band: text.Draw(t, "band"), Deck: text.Draw(t, "deck"),
			},
			Outcome: rapid.SampledFrom([]balance.Outcome{balance.Charged, balance.Free, balance.Duplicate}).Draw(t, "outcome"),
		}
		want := ratedJSON{
			v.CDR.ID, v.CDR.Source, v.CDR.Account, v.CDR.User, v.CDR.Kind, v.CDR.Callee, v.Charge.Destination, v.Charge.Prefix, v.Charge.Band, "", v.CDR.DurationMillis,
			v.Charge.ChargedSeconds, v.Charge.Amount, v.Charge.Currency, v.Outcome, v.Charge.Deck, r.Topic, r.Partition, r.Offset,
		}
		if rapid.Bool().Draw(t, "answered") {
			zone := time.FixedZone("", rapid.IntRange(-12, 14).Draw(t, "zone")*3600)
			seconds, nanos := rapid.Int64Range(946_684_800, 32_503_000_000).Draw(t, "at"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos")
			v.CDR.AnsweredAt = time.Unix(seconds, nanos).In(zone)
			want.AnsweredAt = time.Unix(seconds, nanos).UTC().Format(time.RFC3339Nano)
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(want); err != nil {
			t.Fatal(err)
		}
		got := string(alerts.AppendRated(nil, &r, &v)) + "\n"
		if got != b.String() {
			t.Errorf("got  %swant %s", got, b.String())
		}
	})
}

func BenchmarkRated(b *testing.B) {
	r, v := call()
	buf := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		buf = alerts.AppendRated(buf[:0], &r, &v)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkPublish(b *testing.B) {
	const n = 1000
	records, verdicts := make([]kafka.Record, n), make([]balance.Verdict, n)
	for i := range records {
		records[i], verdicts[i] = call()
	}
	w := new(recorder)
	p := alerts.New(w, topics(), partitionOf, nil)
	b.ReportAllocs()
	for b.Loop() {
		w.calls = w.calls[:0]
		if err := p.Publish(b.Context(), records, verdicts, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
}
