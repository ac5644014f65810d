package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// A clerk does what people do to accounts: over the API; only corrections of calls,
// which have no route, by the command that `creditstream correct` appends.
type clerk struct {
	api     *api
	log     *kgo.Client
	topic   string
	people  *people
	rng     *rand.Rand
	now     func() time.Time
	done    int
	failed  int
	created int // to be made before the load
}

// prepare makes the first accounts.
func (c *clerk) prepare(ctx context.Context) error {
	for range c.created {
		if err := c.open(ctx); err != nil {
			return err
		}
	}
	return nil
}

// work goes on until ctx ends, one thing after the other.
func (c *clerk) work(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.done++
		if err := c.something(ctx); err != nil && ctx.Err() == nil {
			c.failed++
		}
	}
}

// open makes an account: every third recharges by itself, with caps on some; for
// every fifth the first settings are refused.
func (c *clerk) open(ctx context.Context) error {
	name := c.people.add()
	n := len(c.people.all())
	settings := `{"currency":"USD","low_balance":["10","25%"]}`
	if n%3 == 0 {
		settings = `{"currency":"USD","low_balance":["30","5"],"auto_recharge":` +
			`{"enabled":true,"trigger":"20.00","amount":"50.00","payment_method":"pm_1"}}`
	}
	if n%5 == 0 {
		if err := c.put(ctx, name, "refused", `{"currency":"EUR","auto_recharge":{"enabled":true}}`); err != nil {
			return err
		}
	}
	code, answer, err := c.api.send(ctx, http.MethodPut, "/v1/accounts/"+name, "open", settings)
	if err == nil {
		c.api.acknowledge(code, commandName(name, "put/open"))
	}
	if err == nil && code >= 300 {
		err = fmt.Errorf("open %s: %d %s", name, code, answer)
	}
	if err == nil && n%6 == 0 {
		err = c.put(ctx, name, "caps", c.caps())
	}
	if err == nil && n%3 == 1 {
		err = c.topUp(ctx, name, "first", "40.00")
	}
	return err
}

func (c *clerk) topUp(ctx context.Context, account, key, amount string) error {
	return c.post(ctx, account, "/top-ups", key, `{"amount":"`+amount+`"}`)
}

// verbs are how ids of commands begin, by the route of the API.
//
//nolint:gochecknoglobals // immutable
var verbs = map[string]string{"/top-ups": "top-up", "/grants": "grant", "/adjustments": "adjust", "/close": "close", "/resume": "resume"}

// post sends a change, one time in ten twice under its key.
func (c *clerk) post(ctx context.Context, account, route, key, body string) error {
	for range 1 + c.rng.IntN(10)/9 {
		code, _, err := c.api.send(ctx, http.MethodPost, "/v1/accounts/"+account+route, key, body)
		if err != nil {
			return err
		}
		c.api.acknowledge(code, commandName(account, verbs[route]+"/"+key))
	}
	return nil
}

func (c *clerk) put(ctx context.Context, account, key, settings string) error {
	code, _, err := c.api.send(ctx, http.MethodPut, "/v1/accounts/"+account, key, settings)
	if err == nil {
		c.api.acknowledge(code, commandName(account, "put/"+key))
	}
	return err
}

func (c *clerk) something(ctx context.Context) error {
	names := c.people.all()
	name := names[c.rng.IntN(len(names))]
	key := strconv.Itoa(c.rng.IntN(3*c.done/2 + 10)) // some are used again, which changes nothing
	switch x := c.rng.IntN(100); {
	case x < 40:
		return c.topUp(ctx, name, key, strconv.Itoa(5+c.rng.IntN(60))+".25")
	case x < 50:
		expires := c.now().Add(time.Duration(10+c.rng.IntN(50)) * time.Second).UTC().Format(time.RFC3339)
		return c.post(ctx, name, "/grants", key, fmt.Sprintf(`{"amount":"%d.07","expires_at":%q,"reason":"chaos"}`, c.rng.IntN(60), expires))
	case x < 60:
		amount := []string{"", "-"}[c.rng.IntN(2)] + strconv.Itoa(c.rng.IntN(60)) + ".123457"
		return c.post(ctx, name, "/adjustments", key, `{"amount":"`+amount+`","currency":"USD","reason":"chaos","operator":"clerk"}`)
	case x < 65:
		return c.correct(ctx, name, key)
	case x < 75:
		return c.put(ctx, name, "s"+key, c.settings())
	case x < 82:
		return c.put(ctx, name, "caps"+key, c.caps())
	case x < 86:
		return c.open(ctx)
	case x < 88:
		return c.post(ctx, name, "/close", key, fmt.Sprintf(`{"force":%t}`, c.rng.IntN(2) == 0))
	case x < 90:
		return c.abandon(ctx, name)
	default:
		return c.post(ctx, name, "/resume", key, "")
	}
}

func (c *clerk) settings() string {
	switch c.rng.IntN(8) {
	case 0:
		return `{"reopen":true}`
	case 1, 2:
		return `{"low_balance":["` + strconv.Itoa(1+c.rng.IntN(50)) + `"]}`
	}
	return fmt.Sprintf(`{"auto_recharge":{"enabled":%t,"trigger":"%d.00","amount":"%d.00","payment_method":"pm_%d"}}`,
		c.rng.IntN(4) > 0, 5+c.rng.IntN(30), 30+c.rng.IntN(50), c.rng.IntN(3))
}

// caps bounds what an account buys.
func (c *clerk) caps() string {
	return fmt.Sprintf(`{"auto_recharge":{"caps":{"per_day":{"count":%d},"per_month":{"amount":"500.00"}}}}`, 2+c.rng.IntN(30))
}

// abandon gives up the recharge that an account waits for in vain: the payment
// service answers some never.
func (c *clerk) abandon(ctx context.Context, account string) error {
	_, answer, err := c.api.send(ctx, http.MethodGet, "/v1/accounts/"+account, "", "")
	if err != nil {
		return err
	}
	var a struct {
		AutoRecharge struct{ State, Pending string } `json:"auto_recharge"`
	}
	if err := json.Unmarshal(answer, &a); err != nil || a.AutoRecharge.State != "unresolved" {
		return err
	}
	_, _, err = c.api.send(ctx, http.MethodPost, "/v1/recharges/"+a.AutoRecharge.Pending+"/abandon", "", "")
	return err
}

// correct gives or takes what a call was charged wrongly, one time in ten twice.
func (c *clerk) correct(ctx context.Context, account, key string) error {
	amount := rating.Micros(c.rng.Int64N(2_000_000) - 1_000_000)
	cmd := balance.Command{
		Type: balance.Adjust, Account: account, ID: "correct/" + key + "/1", Amount: &amount, Currency: "USD", Reason: "chaos", Operator: "clerk",
		CDR: &balance.CDRName{Source: "chaos", ID: key, AnsweredAt: c.now().UTC().Truncate(time.Second)},
	}
	value, err := cmd.Encode()
	if err != nil {
		return err
	}
	for range 1 + c.rng.IntN(10)/9 {
		rec := &kgo.Record{Topic: c.topic, Partition: c.people.partition(account), Key: []byte(account), Value: value}
		if err := c.log.ProduceSync(ctx, rec).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}
