package httpapi

import (
	"encoding/json"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/creditstream/creditstream/rating"
)

// What the OpenAPI document shows of bodies. Answers are values of their types, so
// that an example has all members.

const jsonType = "application/json"

//nolint:gochecknoglobals // immutable
var exampleTime = time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)

// answers describes an answer of 200; huma adds the schema.
func answers(description string, example any) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: description, Content: map[string]*huma.MediaType{jsonType: {Example: example}},
	}}
}

// asks describes a body; huma adds the schema.
func asks(example string) *huma.RequestBody {
	return &huma.RequestBody{Content: map[string]*huma.MediaType{jsonType: {Example: json.RawMessage(example)}}}
}

func exampleAccount() *account {
	trigger, amount, count := rating.Micros(20_000_000), rating.Micros(50_000_000), int64(3)
	return &account{
		ID: "acme", Currency: "USD", Balance: 12_345_600, Status: "active", HighRisk: true,
		Lots: []lot{{Amount: 100_000_000, Remaining: 12_345_600, PurchasedAt: exampleTime, ExpiresAt: exampleTime.AddDate(1, 0, 0)}},
		AutoRecharge: &autoRecharge{
			Enabled: true, Trigger: &trigger, Amount: &amount, PaymentMethod: "pm_1", Caps: &caps{PerDay: &bound{Count: &count}},
			State: "pending", Pending: "acme/7",
		},
	}
}

func exampleQuote() *quote {
	return &quote{
		Charge: rating.Charge{
			Destination: "United Kingdom London", Prefix: "4420", ChargedSeconds: 90, Amount: 18_000, Currency: "USD", Deck: "0dfb45e094057ec2", Rule: 5,
		},
		Kind: "user_out", AnsweredAt: exampleTime,
		Explain: &rating.Explanation{
			Why: "rule 5 of deck.yaml: scope international, table outbound.csv", Table: "outbound.csv", DurationMillis: 90_000, Seconds: 90,
			Steps: []rating.Part{{Seconds: 90, Increments: 90, Increment: 1, Price: "0.012", Amount: "0.018"}},
			Sum:   "0.018", Rounded: "0.018000",
		},
	}
}
