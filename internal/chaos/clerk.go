package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// A clerk does what people do to accounts: over the API where it has a route, else
// by the command that a route would append.
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

// open makes an account: every third recharges by itself, with caps on some.
func (c *clerk) open(ctx context.Context) error {
	name := c.people.add()
	n := len(c.people.all())
	settings := `{"currency":"USD","low_balance":["10","25%"]}`
	if n%3 == 0 {
		settings = `{"currency":"USD","low_balance":["30","5"],"auto_recharge":` +
			`{"enabled":true,"trigger":"20.00","amount":"50.00","payment_method":"pm_1"}}`
	}
	code, answer, err := c.api.send(ctx, http.MethodPut, "/v1/accounts/"+name, "open", settings)
	if err == nil && code >= 300 {
		err = fmt.Errorf("open %s: %d %s", name, code, answer)
	}
	if err == nil && n%6 == 0 {
		err = c.caps(ctx, name, "caps")
	}
	if err == nil && n%3 == 1 {
		err = c.topUp(ctx, name, "first", "40.00")
	}
	return err
}

func (c *clerk) topUp(ctx context.Context, account, key, amount string) error {
	_, _, err := c.api.send(ctx, http.MethodPost, "/v1/accounts/"+account+"/top-ups", key, `{"amount":"`+amount+`"}`)
	return err
}

func (c *clerk) something(ctx context.Context) error {
	names := c.people.all()
	name := names[c.rng.IntN(len(names))]
	key := strconv.Itoa(c.rng.IntN(3*c.done/2 + 10)) // some are used again, which changes nothing
	amount := rating.Micros(1 + c.rng.Int64N(60_000_000))
	cmd := balance.Command{Account: name, Reason: "chaos", Operator: "clerk", Currency: "USD"}
	switch x := c.rng.IntN(100); {
	case x < 40:
		return c.topUp(ctx, name, key, strconv.Itoa(5+c.rng.IntN(60))+".25")
	case x < 50:
		cmd.Type, cmd.ID, cmd.Amount = balance.Grant, "grant/"+key, &amount
		cmd.Expires = c.now().Add(time.Duration(10+c.rng.IntN(50)) * time.Second).Truncate(time.Second)
	case x < 65:
		if c.rng.IntN(2) == 0 {
			amount = -amount
		}
		cmd.Type, cmd.ID, cmd.Amount = balance.Adjust, "adjust/"+key, &amount
	case x < 75:
		_, _, err := c.api.send(ctx, http.MethodPut, "/v1/accounts/"+name, "s"+key, c.settings())
		return err
	case x < 82:
		return c.caps(ctx, name, "caps/"+key)
	case x < 86:
		return c.open(ctx)
	case x < 88:
		cmd = balance.Command{Type: balance.CloseAccount, Account: name, ID: "close/" + key}
	default:
		cmd = balance.Command{Type: balance.Resume, Account: name, ID: "resume/" + key}
	}
	return c.append(ctx, &cmd)
}

func (c *clerk) settings() string {
	if c.rng.IntN(4) == 0 {
		return `{"low_balance":["` + strconv.Itoa(1+c.rng.IntN(50)) + `"]}`
	}
	return fmt.Sprintf(`{"auto_recharge":{"enabled":%t,"trigger":"%d.00","amount":"%d.00","payment_method":"pm_%d"}}`,
		c.rng.IntN(4) > 0, 5+c.rng.IntN(30), 30+c.rng.IntN(50), c.rng.IntN(3))
}

// caps bounds what an account buys.
func (c *clerk) caps(ctx context.Context, account, key string) error {
	count, month := int64(2+c.rng.IntN(30)), rating.Micros(500_000_000)
	set := balance.AutoRecharge{Caps: &balance.Nullable[balance.Caps]{Value: balance.Caps{
		PerDay: &balance.Cap{Count: &count}, PerMonth: &balance.Cap{Amount: &month},
	}}}
	return c.append(ctx, &balance.Command{
		Type: balance.PutAccount, Account: account, ID: "put/" + key,
		Put: &balance.Settings{AutoRecharge: &balance.Nullable[balance.AutoRecharge]{Value: set}},
	})
}

// append writes a command, one time in ten twice.
func (c *clerk) append(ctx context.Context, cmd *balance.Command) error {
	value, err := cmd.Encode()
	if err != nil {
		return err
	}
	for range 1 + c.rng.IntN(10)/9 {
		rec := &kgo.Record{Topic: c.topic, Partition: c.people.partition(cmd.Account), Key: []byte(cmd.Account), Value: value}
		if err := c.log.ProduceSync(ctx, rec).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}
