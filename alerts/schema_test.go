package alerts_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// A described schema is the part of a schema file that is for readers.
type described struct {
	Title       string
	Description string
	Examples    []json.RawMessage
	Properties  map[string]struct {
		Description string
		Examples    []json.RawMessage
	}
}

func ours() []string {
	names := []string{"payment-requested.schema.json", "cloud-event.schema.json", "command.schema.json"}
	for _, kind := range balance.EventKinds() {
		names = append(names, eventSchema(kind))
	}
	return names
}

func TestSchemasDescribeThemselves(t *testing.T) {
	t.Parallel()
	for _, name := range ours() {
		d := readSchema(t, name)
		if d.Title == "" || d.Description == "" || len(d.Examples) < 2 {
			t.Errorf("%s: wants a title, a description and two examples", name)
		}
		for _, example := range d.Examples {
			conforms(t, name, example)
		}
		s := compile(t, name)
		for member, p := range d.Properties {
			if p.Description == "" || len(p.Examples) == 0 {
				t.Errorf("%s: %s wants a description and an example", name, member)
			}
			for _, example := range p.Examples {
				if err := s.Properties[member].Validate(decode(t, example)); err != nil {
					t.Errorf("%s: %s: example %s: %v", name, member, example, err)
				}
			}
		}
	}
}

// There is no schema of an event that is not published.
func TestSchemasAreAllUsed(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir(schemas)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "event-") && !slices.Contains(ours(), f.Name()) {
			t.Errorf("%s belongs to no kind of event", f.Name())
		}
	}
}

func readSchema(t *testing.T, name string) described {
	t.Helper()
	data, err := os.ReadFile(schemas + name)
	if err != nil {
		t.Fatal(err)
	}
	var d described
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

// commands has a command of each type, and of each shape where there are more.
func commands() []balance.Command {
	amount, zero, yes, method := rating.Micros(50_000_000), rating.Micros(0), true, "pm_1"
	no, count := false, int64(balance.MaxCapCount)
	most, least, taken := balance.MaxPurchase, rating.Micros(1), -balance.MaxPurchase
	return []balance.Command{
		{Type: balance.PutAccount, ID: "put/1", Put: &balance.Settings{
			Currency:   "EUR",
			LowBalance: &balance.Nullable[[]balance.Level]{Value: []balance.Level{{Amount: amount}, {Amount: zero}, {Amount: most}, {Percent: 15}}},
			AutoRecharge: &balance.Nullable[balance.AutoRecharge]{
				Value: balance.AutoRecharge{Enabled: &yes, Trigger: &zero, Amount: &least, PaymentMethod: &method},
			},
		}},
		{Type: balance.PutAccount, Put: &balance.Settings{
			LowBalance: &balance.Nullable[[]balance.Level]{Null: true}, AutoRecharge: &balance.Nullable[balance.AutoRecharge]{Null: true},
		}},
		{Type: balance.PutAccount, Put: &balance.Settings{}},
		{Type: balance.PutAccount, Put: &balance.Settings{
			LotMonths: &balance.Nullable[int]{Value: balance.MaxLotMonths}, OverdraftLimit: &balance.Nullable[rating.Micros]{Value: most},
			BlockedPrefixes: &balance.Nullable[[]string]{Value: []string{"8", strings.Repeat("9", balance.MaxPrefixDigits)}}, BlockHighRisk: &no,
			AutoRecharge: &balance.Nullable[balance.AutoRecharge]{Value: balance.AutoRecharge{Caps: &balance.Nullable[balance.Caps]{
				Value: balance.Caps{PerDay: &balance.Cap{Count: &count}, PerMonth: &balance.Cap{Count: &count, Amount: &least}},
			}}},
		}},
		{Type: balance.PutAccount, Put: &balance.Settings{
			LotMonths: &balance.Nullable[int]{Null: true}, OverdraftLimit: &balance.Nullable[rating.Micros]{Null: true},
			BlockedPrefixes: &balance.Nullable[[]string]{Null: true}, BlockHighRisk: &yes,
			AutoRecharge: &balance.Nullable[balance.AutoRecharge]{Value: balance.AutoRecharge{Caps: &balance.Nullable[balance.Caps]{Null: true}}},
		}},
		{Type: balance.PutAccount, Put: &balance.Settings{
			Reopen: true, AutoRecharge: &balance.Nullable[balance.AutoRecharge]{Value: balance.AutoRecharge{Most: &least}},
		}},
		{Type: balance.CloseAccount, ID: "close/1"},
		{Type: balance.CloseAccount, ID: "close/1", Force: true},
		{Type: balance.TopUp, ID: "top-up/1", Amount: &most},
		{Type: balance.TopUp, ID: "top-up/1", Amount: &least},
		{Type: balance.Grant, ID: "grant/1", Amount: &least, Expires: time.UnixMilli(at), Reason: "é", Operator: "ann"},
		{Type: balance.Grant, ID: "grant/1", Amount: &most, Currency: "EUR", Expires: time.UnixMilli(at).UTC(), Reason: "r", Operator: "o"},
		{Type: balance.Adjust, ID: "adjust/1", Amount: &most, Currency: "EUR", Reason: "goodwill, é", Operator: "ann"},
		{
			Type: balance.Adjust, ID: "correct/00/1", Amount: &taken, Currency: "EUR", Reason: "corrected CDR", Operator: "ann",
			CDR: &balance.CDRName{Source: "s", ID: "1", AnsweredAt: time.UnixMilli(at)},
		},
		{Type: balance.Adjust, ID: "a", Amount: &taken, Currency: "EUR", Reason: "r", Operator: "o", CDR: &balance.CDRName{Source: "s", ID: "1"}},
		{Type: balance.Request, N: 1 << 40, Amount: &amount, Currency: "EUR"},
		{Type: balance.Request, N: 7, Amount: &amount, Currency: "EUR", Seen: 3},
		{Type: balance.Result, N: 7, Status: "succeeded", Amount: &amount, Currency: "EUR", ID: "result/1"},
		{Type: balance.Result, N: 7, Status: "declined", Code: "expired_card", Class: balance.Hard, ID: "result/1"},
		{Type: balance.Unanswered, N: 7},
		{Type: balance.Retry, N: 7},
		{Type: balance.Abandon, N: 7, ID: "abandon/1"},
		{Type: balance.Resume, ID: "resume/1"},
		{Type: balance.ExpireLot, Lot: "r7:50000000:1763794800000", Amount: &zero},
		{Type: balance.WarnLot, Lot: "r7:50000000:1763794800000", Amount: &most, Days: balance.WarnDays()[0]},
		{Type: balance.Tick},
	}
}

func TestCommandSchema(t *testing.T) {
	t.Parallel()
	for _, c := range commands() {
		if c.Type != balance.Tick {
			c.Account = "acme"
		}
		doc, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		conforms(t, "command.schema.json", doc)
	}
}

// The schema accepts its examples as creditstream does, and refuses what it refuses.
func TestCommandSchemaAgrees(t *testing.T) {
	t.Parallel()
	s := compile(t, "command.schema.json")
	for _, example := range readSchema(t, "command.schema.json").Examples {
		if _, err := balance.DecodeCommand(example); err != nil {
			t.Errorf("%s: %v", example, err)
		}
	}
	for _, doc := range []string{
		`{}`,
		`{"type":"account.open","account":"acme"}`,
		`{"type":"account.put","account":"acme"}`,
		`{"type":"account.put","account":"a b","put":{}}`,
		`{"type":"account.put","account":"acme","put":{"limit":1}}`,
		`{"type":"account.put","account":"acme","put":{"currency":"eur"}}`,
		`{"type":"account.put","account":"acme","put":{"low_balance":["1","2","3","4","5","6"]}}`,
		`{"type":"account.put","account":"acme","put":{"low_balance":["-1"]}}`,
		`{"type":"account.put","account":"acme","put":{"auto_recharge":{"amount":"0.00"}}}`,
		`{"type":"account.put","account":"acme","put":{"auto_recharge":{"payment_method":""}}}`,
		`{"type":"account.put","account":"acme","put":{"auto_recharge":{"most":"0"}}}`,
		`{"type":"account.put","account":"acme","put":{"reopen":"yes"}}`,
		`{"type":"account.close","account":"acme","force":"yes"}`,
		`{"type":"account.put","account":"acme","put":{"low_balance":["0%"]}}`,
		`{"type":"account.put","account":"acme","put":{"low_balance":["101%"]}}`,
		`{"type":"account.put","account":"acme","put":{"low_balance":["05%"]}}`,
		`{"type":"account.put","account":"acme","put":{"auto_recharge":{"caps":{"per_day":{"count":0}}}}}`,
		`{"type":"account.put","account":"acme","put":{"auto_recharge":{"caps":{"per_day":{"count":1001}}}}}`,
		`{"type":"account.put","account":"acme","put":{"auto_recharge":{"caps":{"per_month":{"amount":"0"}}}}}`,
		`{"type":"account.put","account":"acme","put":{"auto_recharge":{"caps":{"per_week":{"count":1}}}}}`,
		`{"type":"account.put","account":"acme","put":{"lot_months":0}}`,
		`{"type":"account.put","account":"acme","put":{"lot_months":121}}`,
		`{"type":"account.put","account":"acme","put":{"overdraft_limit":"-1"}}`,
		`{"type":"account.put","account":"acme","put":{"blocked_prefixes":["+33"]}}`,
		`{"type":"account.put","account":"acme","put":{"blocked_prefixes":[""]}}`,
		`{"type":"account.put","account":"acme","put":{"blocked_prefixes":["1234567890123456"]}}`,
		`{"type":"account.put","account":"acme","put":{"block_high_risk":"no"}}`,
		`{"type":"funds.grant","account":"acme","id":"1","amount":"1","reason":"x","operator":"ann"}`,
		`{"type":"funds.grant","account":"acme","id":"1","amount":"0","expires":"2026-12-31T23:00:00Z","reason":"x","operator":"ann"}`,
		`{"type":"funds.grant","account":"acme","id":"1","amount":"1","expires":"2026-12-31","reason":"x","operator":"ann"}`,
		`{"type":"funds.grant","account":"acme","amount":"1","expires":"2026-12-31T23:00:00Z","reason":"x","operator":"ann"}`,
		`{"type":"lot.warn","account":"acme","lot":"t1","amount":"1"}`,
		`{"type":"lot.warn","account":"acme","lot":"t1","amount":"1","days":2}`,
		`{"type":"funds.top_up","account":"acme","amount":"1"}`,
		`{"type":"funds.top_up","account":"acme","id":"1"}`,
		`{"type":"funds.top_up","account":"acme","id":"1","amount":1}`,
		`{"type":"funds.top_up","account":"acme","id":"1","amount":"0.000000"}`,
		`{"type":"funds.top_up","account":"acme","id":"1","amount":"1000000000.000001"}`,
		`{"type":"funds.top_up","account":"acme","id":"1 2","amount":"1"}`,
		`{"type":"funds.adjust","account":"acme","id":"1","amount":"1","currency":"EUR","operator":"ann"}`,
		`{"type":"funds.adjust","account":"acme","id":"1","amount":"1","currency":"EUR","reason":"x"}`,
		`{"type":"funds.adjust","account":"acme","id":"1","amount":"1","reason":"x","operator":"ann"}`,
		`{"type":"funds.adjust","account":"acme","amount":"1","currency":"EUR","reason":"x","operator":"ann"}`,
		`{"type":"funds.adjust","account":"acme","id":"1","amount":"-0.000000","currency":"EUR","reason":"x","operator":"ann"}`,
		`{"type":"funds.adjust","account":"acme","id":"1","amount":"-1000000000.000001","currency":"EUR","reason":"x","operator":"ann"}`,
		`{"type":"funds.adjust","account":"acme","id":"1","amount":"1","currency":"EUR","reason":"a\u0000b","operator":"ann"}`,
		`{"type":"funds.adjust","account":"acme","id":"1","amount":"1","currency":"EUR","reason":"x","operator":"a b"}`,
		`{"type":"funds.adjust","account":"acme","id":"1","amount":"1","currency":"EUR","reason":"x","operator":"a","cdr":{"id":"1"}}`,
		`{"type":"recharge.request","account":"acme","n":0,"amount":"1","currency":"EUR"}`,
		`{"type":"recharge.result","account":"acme","n":1,"status":"succeeded","amount":"1"}`,
		`{"type":"recharge.result","account":"acme","n":1,"status":"declined","code":"x"}`,
		`{"type":"recharge.result","account":"acme","n":1,"status":"paid"}`,
		`{"type":"recharge.retry","account":"acme"}`,
		`{"type":"recharge.retry","account":"acme","n":1099511627777}`,
		`{"type":"lot.expire","account":"acme","amount":"1"}`,
		`{"type":"tick","extra":1}`,
	} {
		if _, err := balance.DecodeCommand([]byte(doc)); err == nil {
			t.Errorf("creditstream accepts %s", doc)
		}
		if s.Validate(decode(t, []byte(doc))) == nil {
			t.Errorf("the schema accepts %s", doc)
		}
	}
}

// The examples of docs/events.md: one of each kind of event, in the order of
// EventKinds, a structured CloudEvent, a payment request and a rated record.
func TestExamplesOfTheGuide(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := balance.EventKinds()
	for line := range strings.Lines(string(guide)) {
		switch {
		case strings.HasPrefix(line, `{"account":`):
			if len(kinds) == 0 {
				t.Fatalf("more examples than kinds: %s", line)
			}
			conforms(t, eventSchema(kinds[0]), []byte(line))
			kinds = kinds[1:]
		case strings.HasPrefix(line, `{"specversion":`):
			conforms(t, "cloud-event.schema.json", []byte(line))
		case strings.HasPrefix(line, `{"recharge_id":`):
			conforms(t, "payment-requested.schema.json", []byte(line))
		case strings.HasPrefix(line, `{"id":`):
			conforms(t, "rated-cdr.schema.json", []byte(line))
		}
	}
	if len(kinds) > 0 {
		t.Errorf("no examples of %v", kinds)
	}
	for _, reason := range rating.Reasons() {
		if !strings.Contains(string(guide), "`"+string(reason)+"`") {
			t.Errorf("reason %s is not explained", reason)
		}
	}
}
