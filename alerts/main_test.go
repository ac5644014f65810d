package alerts_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	at      = 1_795_330_800_250 // 2026-11-22T07:00:00.250Z
	schemas = "../docs/schemas/"
)

func topics() alerts.Topics {
	return alerts.Topics{
		Rated: "rated-cdrs", Alerts: "credit-alerts", RechargeRequests: "recharge-requests",
		Commands: "credit-commands", DeadLetters: "cdrs.dlq",
	}
}

// partitionOf stands in for the partition of an account's shard.
func partitionOf(account string) int { return len(account) }

// A recorder keeps what is written, call by call, and fails when told to.
type recorder struct {
	mu    sync.Mutex
	calls [][]kafka.Message
	err   error
}

func (r *recorder) WriteAll(_ context.Context, msgs []kafka.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, slices.Clone(msgs))
	return r.err
}

// only returns the messages of the only call.
func (r *recorder) only(t *testing.T) []kafka.Message {
	t.Helper()
	if len(r.calls) != 1 {
		t.Fatalf("%d calls of WriteAll, want 1", len(r.calls))
	}
	return r.calls[0]
}

func call() (kafka.Record, balance.Verdict) {
	answered := time.Date(2026, 11, 22, 7, 0, 0, 125_000_000, time.UTC)
	r := kafka.Record{
		Topic: "cdrs", Partition: 3, Offset: 81723, AppendMillis: at,
		Key: []byte("any key"), Value: []byte(`{"id":"9f1c"}`), Headers: []kafka.Header{{Key: "traceparent", Value: []byte("00-ab-cd-01")}},
	}
	v := balance.Verdict{
		CDR: rating.CDR{
			ID: "9f1c2c1e", Source: "fs-par-1", Account: "acme", User: "u-1042", Kind: rating.UserOut,
			Caller: "+33142685300", Callee: "+442071838750", AnsweredAt: answered, DurationMillis: 317_250,
		},
		Charge: rating.Charge{
			Amount: 325_000, Currency: "EUR", ChargedSeconds: 318, Destination: "United Kingdom, London", Prefix: "4420", Deck: "sha256:4b1f0c7a",
		},
		Outcome: balance.Charged,
	}
	return r, v
}

func commandSource() balance.Source { return balance.Source{Topic: "credit-commands", Partition: 2} }

// event makes an event whose id ends without a digest: only entries that balance
// has read give it one.
func event(kind string, bal rating.Micros, fields ...balance.Field) balance.Event {
	return balance.Event{
		Account: "acme", Kind: kind, Sequence: at*1000 + 7, Balance: bal, Currency: "EUR", Offset: 12, AtMillis: at, Fields: fields,
	}
}

// events has each kind with the fields that the scripts give it (balance/lua).
func events() []balance.Event {
	fields := func(words string) (list []balance.Field) {
		for word := range strings.FieldsSeq(words) {
			name, value, _ := strings.Cut(word, "=")
			list = append(list, balance.Field{Name: name, Value: value})
		}
		return list
	}
	var list []balance.Event
	for _, e := range []struct {
		kind    string
		balance rating.Micros
		fields  string // as in a line of an entry
	}{
		{"balance.low", 9_675_000, "threshold=10000000"},
		{"balance.recovered", 59_675_000, "threshold=10000000"},
		{"balance.recovered", 59_675_000, ""},
		{"balance.depleted", -325_000, ""},
		{"balance.depleted", -1, "overdraft_limit=2"},
		{"balance.depleted", -2, "overdraft_limit=2"},
		{"balance.restored", 0, ""},
		{"balance.restored", 0, "overdraft_limit=50000000"},
		{"funds.added", 100_000_000, `amount=100000000 expires_at=1826866800250 kind=top_up reference=a="b\c`},
		{"funds.added", 105_000_000, "amount=5000000 expires_at=253402300799000 kind=promotion reference=winter-2026 reason=winter+campaign operator=ann"},
		{"funds.adjusted", 106_000_000, "amount=1000000 expires_at=1826866800250 reference=ticket-1 reason=goodwill+100%25%2C+for+%22%C3%A9%22+%26+a%2Bb operator=ann"},
		{"funds.adjusted", -1, "amount=-106000001 reference=correct/6b1d/1 reason=corrected+CDR operator=ann"},
		{"recharge.requested", 9_675_000, "n=7 amount=150000000 requests_today=2"},
		{"recharge.succeeded", 59_675_000, "n=7 amount=50000000 expires_at=1826866800250"},
		{"recharge.failed", -rating.MaxTotal, "n=7 amount=50000000 code=expired_card class=hard next=suspended"},
		{"recharge.failed", 1, "n=8 amount=50000000 code=a+b%20 class=soft next=cooling retry_at=1795334400250"},
		{"recharge.suppressed", 1, "amount=50000000 reason=month_amount cap_amount=500000000 until=1796083200000"},
		{"recharge.suppressed", 1, "amount=50000000 reason=day_count cap_count=3 until=1795392000000"},
		{"recharge.unresolved", 1, "n=7 amount=50000000"},
		{"recharge.mismatched", 9_675_000, "n=7 reason=currency amount=20000000 paid_currency=USD requested=50000000"},
		{"recharge.mismatched", 9_675_000, "n=7 reason=out_of_bounds amount=50000000 paid_currency=EUR requested=50000000"},
		{"recharge.mismatched", 9_675_000, "n=9 reason=no_request amount=0 paid_currency=-"},
		{"credit.expiring", 30_000_000, "amount=4250000 expires_at=1795935600250 days=7"},
		{"credit.expired", 0, "amount=4250000 purchased_at=1763794800000 expires_at=1795330800000"},
		{"account.suspended", 1, "n=7 amount=50000000 code=expired_card class=hard reason=hard"},
		{"account.suspended", 1, "amount=50000000 reason=out_of_bounds"},
		{"account.resumed", 1, ""},
		{"account.closed", 12_500_000, ""},
	} {
		list = append(list, event(e.kind, e.balance, fields(e.fields)...))
	}
	return list
}

// compile compiles a schema of docs/schemas, formats asserted.
func compile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(schemas + name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func decode(t *testing.T, doc []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return v
}

// conforms checks a document against a schema, and that the schema names every
// member of it.
func conforms(t *testing.T, schema string, doc []byte) {
	t.Helper()
	s, v := compile(t, schema), decode(t, doc)
	if err := s.Validate(v); err != nil {
		t.Errorf("%s: %s: %v", schema, doc, err)
	}
	if len(s.OneOf) > 0 {
		return // additionalProperties is false in each
	}
	for name := range v.(map[string]any) {
		if s.Properties[name] == nil {
			t.Errorf("%s: %s: member %s is not in the schema", schema, doc, name)
		}
	}
}

func header(m kafka.Message, name string) string {
	for _, h := range m.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// dump writes messages for people.
func dump(msgs []kafka.Message) string {
	var b strings.Builder
	for _, m := range msgs {
		partition := "by key"
		if m.Partition != kafka.AnyPartition {
			partition = strconv.Itoa(m.Partition)
		}
		fmt.Fprintf(&b, "topic %s, partition %s, key %q\n", m.Topic, partition, m.Key)
		for _, h := range m.Headers {
			fmt.Fprintf(&b, "  %s: %s\n", h.Key, printable(h.Value))
		}
		fmt.Fprintf(&b, "%s\n\n", printable(m.Value))
	}
	return b.String()
}

// printable returns text as it is and quotes anything else.
func printable(b []byte) string {
	if s := string(b); strconv.CanBackquote(s) {
		return s
	}
	return strconv.Quote(string(b))
}

// golden compares got with a file in testdata; -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant, as in %s:\n%s", got, path, want)
	}
}
