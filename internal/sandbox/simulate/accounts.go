package simulate

import (
	"context"
	"fmt"
	"net/http"
)

// customer is an account that the switch makes calls for.
type customer struct {
	id, home  string // home: the country code that its users are in
	share     float64
	firstTop  string
	low       []string
	trigger   string // empty: no auto-recharge
	recharge  string
	extension int // users
}

// customers of the simulated switch. Triggers lie a little below the first
// top-ups, so that recharges are seen soon; hooli never recharges by itself.
func customers() []customer {
	return []customer{
		{id: "acme", home: "1", share: 0.40, firstTop: "12.00", low: []string{"5.00"}, trigger: "11.00", recharge: "15.00", extension: 120},
		{id: "globex", home: "44", share: 0.25, firstTop: "8.00", low: []string{"4.00", "1.00"}, trigger: "7.00", recharge: "10.00", extension: 60},
		{id: "initech", home: "1", share: 0.20, firstTop: "6.00", low: []string{"2.50"}, trigger: "5.00", recharge: "10.00", extension: 40},
		{id: "umbrella", home: "49", share: 0.12, firstTop: "5.00", low: []string{"2.00"}, trigger: "3.00", recharge: "5.00", extension: 25},
		{id: "hooli", home: "33", share: 0.03, firstTop: "2.00", low: []string{"1.00"}, extension: 8},
	}
}

// OpenAccounts creates the accounts of the simulated switch, gives each its first
// money and then switches its alerts and its auto-recharge on. On accounts that
// it has opened before it changes nothing.
func OpenAccounts(ctx context.Context, api *API, currency string) error {
	for _, c := range customers() {
		settings := map[string]any{"low_balance": c.low}
		if c.trigger != "" {
			settings["auto_recharge"] = map[string]any{
				"enabled": true, "trigger": c.trigger, "amount": c.recharge, "payment_method": "pm_" + c.id,
			}
		}
		// One key for all starts: what somebody has changed since stays.
		for _, step := range []struct {
			method, path, key string
			body              any
		}{
			{http.MethodPut, accountPath(c.id), "sandbox-open", map[string]string{"currency": currency}},
			{http.MethodPost, accountPath(c.id) + "/top-ups", "sandbox-first", map[string]string{"amount": c.firstTop}},
			{http.MethodPut, accountPath(c.id), "sandbox-settings", settings},
		} {
			if err := api.send(ctx, step.method, step.path, step.key, step.body); err != nil {
				return fmt.Errorf("open account %s: %w", c.id, err)
			}
		}
	}
	return nil
}
