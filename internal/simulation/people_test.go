package simulation_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// command appends a command, as the API does.
func (w *world) command(c *balance.Command) {
	value, err := c.Encode()
	if err != nil {
		panic(fmt.Sprintf("%+v: %v", c, err))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log.append(balance.Source{Topic: commandTopic, Partition: w.partitionOf(c.Account)},
		kafka.Message{Key: []byte(c.Account), Value: value})
}

const unit = rating.Micros(1_000_000)

func micros(units int) *rating.Micros { return new(rating.Micros(units) * unit) }

func (w *world) id() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids++
	return strconv.Itoa(w.ids)
}

// settings are those that an account begins with.
func (w *world) settings(r *rand.Rand, account, currency string) *balance.Command {
	s := &balance.Settings{Currency: currency}
	if r.IntN(2) == 0 {
		s.LowBalance = to([]balance.Level{{Amount: *micros(10)}, {Percent: 20}})
	}
	if r.IntN(4) > 0 {
		a := balance.AutoRecharge{
			Enabled: new(r.IntN(5) > 0), Trigger: micros(5 + r.IntN(20)), Amount: micros(20 + r.IntN(40)), PaymentMethod: new(fmt.Sprintf("pm_%d", r.IntN(2))),
		}
		if r.IntN(3) == 0 {
			a.Caps = to(balance.Caps{PerDay: someCap(r), PerMonth: someCap(r)})
		}
		if r.IntN(4) == 0 {
			a.Most = micros(60 + r.IntN(60))
		}
		s.AutoRecharge = to(a)
	}
	return w.put(account, s)
}

// incomplete are settings that an account cannot begin with.
func (w *world) incomplete(r *rand.Rand, account string) *balance.Command {
	return w.put(account, &balance.Settings{
		Currency: []string{"USD", "EUR"}[r.IntN(2)], AutoRecharge: to(balance.AutoRecharge{Enabled: new(true), Amount: micros(30)}),
	})
}

func (w *world) put(account string, s *balance.Settings) *balance.Command {
	return &balance.Command{Type: balance.PutAccount, Account: account, ID: "put/" + w.id(), Put: s}
}

func to[T any](v T) *balance.Nullable[T] { return &balance.Nullable[T]{Value: v} }

// someCap is none, or one of them that recharges reach; now and then less than one
// recharge, which is refused.
func someCap(r *rand.Rand) *balance.Cap {
	switch r.IntN(3) {
	case 0:
		return &balance.Cap{Count: new(int64(1 + r.IntN(3)))}
	case 1:
		return &balance.Cap{Amount: micros(50 + r.IntN(150))}
	}
	return nil
}

// change is one change of settings.
func (w *world) change(r *rand.Rand, account string) *balance.Command {
	s := &balance.Settings{}
	auto := func(a balance.AutoRecharge) { s.AutoRecharge = to(a) }
	switch r.IntN(10) {
	case 0:
		s.LowBalance = &balance.Nullable[[]balance.Level]{Null: true}
	case 1:
		s.LowBalance = to([]balance.Level{{Percent: 1 + r.IntN(100)}, {Percent: 10}, {Amount: *micros(1 + r.IntN(30))}})
	case 2:
		s.AutoRecharge = &balance.Nullable[balance.AutoRecharge]{Null: true}
	case 3:
		auto(balance.AutoRecharge{Enabled: new(r.IntN(2) == 0)})
	case 4:
		auto(balance.AutoRecharge{Trigger: micros(5 + r.IntN(20)), PaymentMethod: new("pm_" + w.id())})
	case 5:
		auto(balance.AutoRecharge{Caps: &balance.Nullable[balance.Caps]{Null: true}})
	case 6:
		s.LotMonths = to(1 + r.IntN(3))
	case 7:
		s.OverdraftLimit = to(*micros(r.IntN(20)))
	case 8:
		s.Currency, s.BlockHighRisk = "EUR", new(true) // which is fixed
	default:
		return w.settings(r, account, "")
	}
	return w.put(account, s)
}

// byHand has a person do something, now and then twice.
func (w *world) byHand(r *rand.Rand) {
	a := w.names[r.IntN(len(w.names))]
	amount := micros(1 + r.IntN(60))
	n := int64(1 + r.IntN(3))
	var c *balance.Command
	switch k := r.IntN(18); {
	case k < 4:
		c = &balance.Command{Type: balance.TopUp, Account: a, ID: "top-up/" + w.id(), Amount: amount}
	case k < 7:
		life := w.business(time.Duration(500+r.IntN(9000)) * time.Millisecond)
		c = &balance.Command{
			Type: balance.Grant, Account: a, ID: "grant/" + w.id(), Amount: amount, Reason: "welcome", Operator: "ann",
			Expires: w.now().Add(life).Truncate(time.Millisecond),
		}
	case k < 8:
		*amount *= rating.Micros(1 - 2*r.IntN(2))
		c = &balance.Command{Type: balance.Adjust, Account: a, ID: "adjust/" + w.id(), Amount: amount, Currency: "USD", Reason: "mistake", Operator: "ann"}
	case k < 9:
		c = &balance.Command{Type: balance.CloseAccount, Account: a, ID: "close/" + w.id()}
		if r.IntN(3) > 0 {
			w.later(time.Duration(r.Int64N(int64(3*time.Second))), w.put(a, &balance.Settings{Reopen: true}))
		}
	case k < 10:
		c = &balance.Command{Type: balance.Resume, Account: a, ID: "resume/" + w.id()}
	case k < 11:
		c = &balance.Command{Type: balance.Abandon, Account: a, ID: "abandon/" + w.id(), N: n}
	case k < 12: // somebody has paid, or not, whoever asked
		c = &balance.Command{Type: balance.Result, Account: a, N: n, Status: "succeeded", Amount: amount, Currency: []string{"USD", "EUR"}[r.IntN(6)/5]}
		if r.IntN(3) == 0 {
			c = declined(a, n, "do_not_honor")
		}
	case k < 13:
		w.mu.Lock()
		w.log.append(balance.Source{Topic: commandTopic, Partition: r.IntN(w.commands)}, kafka.Message{Value: []byte("no command")})
		w.mu.Unlock()
		return
	default:
		c = w.change(r, a)
	}
	w.command(c)
	if r.IntN(4) == 0 {
		w.later(w.latency(r), c)
	}
}

// later has a command appended after d.
func (w *world) later(d time.Duration, c *balance.Command) {
	w.mu.Lock()
	w.underWay++
	w.mu.Unlock()
	w.after(d, func() {
		w.command(c)
		w.mu.Lock()
		w.underWay--
		w.mu.Unlock()
	})
}

func declined(account string, n int64, code string) *balance.Command {
	return &balance.Command{Type: balance.Result, Account: account, N: n, Status: "declined", Code: code, Class: balance.ClassOf(code)}
}

// A call is what the checks know of a CDR without decoding it.
type call struct {
	account, identity string
	charge            int64
	currency          string
	parked            string // for a reason that is in the record itself
	free              bool   // whatever its account
	claims            bool
	answered          int64
	value             []byte
}

// before are the ends of the commands partitions when a record was appended: none
// of these commands may be applied after it.
func (w *world) before() []int64 {
	ends := make([]int64, w.commands)
	for p := range ends {
		ends[p] = w.log.end(balance.Source{Topic: commandTopic, Partition: p})
	}
	return ends
}

// ring appends a CDR, or one that was there before.
func (w *world) ring(r *rand.Rand) {
	w.mu.Lock()
	var old *call
	if len(w.sent) > 0 && r.IntN(6) == 0 {
		old = w.sent[r.IntN(len(w.sent))]
	}
	w.mu.Unlock()
	c := old
	if c == nil {
		c = w.newCall(r)
	}
	w.ringOf(r, c)
}

// ringOf appends the CDR of a call.
func (w *world) ringOf(r *rand.Rand, c *call) {
	src := balance.Source{Topic: cdrTopic, Partition: r.IntN(w.cdrs)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.sent, c) {
		w.sent = append(w.sent, c)
	}
	base, _ := w.log.append(src, kafka.Message{Value: c.value})
	w.calls[place{src, base}] = c
	w.ends[place{src, base}] = w.before()
}

func (w *world) newCall(r *rand.Rand) *call {
	if r.IntN(25) == 0 {
		return &call{parked: "not_json", value: []byte("garbage " + w.id())}
	}
	a := w.names[r.IntN(len(w.names))]
	if r.IntN(30) == 0 {
		a = "nobody"
	}
	return w.newCallOf(r, a)
}

func (w *world) newCallOf(r *rand.Rand, a string) *call {
	id := w.id()
	age := w.business(time.Duration(r.Int64N(int64(2 * time.Second))))
	if r.IntN(12) == 0 {
		age = w.window() * time.Duration(r.IntN(14)) / 10
	}
	answered := w.now().Add(-age).UTC()
	units := []int64{0, 1, 3, 8, 20, 45}[r.IntN(6)]
	c := &call{
		account: a, identity: id + a, charge: units * int64(unit), currency: "USD", claims: units > 0,
	}
	kind, callee := rating.UserOut, "+1"
	switch k := r.IntN(40); {
	case k == 0:
		kind, c.free, c.charge = rating.Emergency, true, 0
		c.identity += " free"
	case k < 3:
		callee, c.currency = "+44", "EUR"
	case k == 3:
		callee, c.parked = "+0", "no_rate"
	case k == 4: // the clock of its switch is ahead
		answered = answered.Add(age + w.window()/20)
	case k == 5:
		answered = answered.Add(age + 25*time.Hour)
	}
	c.answered = answered.UnixNano()
	value, err := json.Marshal(map[string]any{
		"id": "c" + id, "source": "switch", "account": a, "kind": kind, "callee": callee, "answered_at": answered.Format(time.RFC3339Nano),
		"duration_ms": units * 1000,
	})
	if err != nil {
		panic(err)
	}
	c.value = value
	return c
}

// pay is the payment service: it gets a request, and answers when it likes; it
// remembers what it has said. The caller holds mu.
func (w *world) pay(rec *kafka.Record) {
	var p struct {
		Account string        `json:"account"`
		N       int64         `json:"n"`
		Amount  rating.Micros `json:"amount"`
		In      string        `json:"currency"`
	}
	if err := json.Unmarshal(rec.Value, &p); err != nil {
		panic(err)
	}
	q := request{account: p.Account, n: p.N, amount: int64(p.Amount)}
	again := slices.Contains(w.requests, q)
	w.requests = append(w.requests, q)
	if again {
		return
	}
	r := rand.New(rand.NewPCG(w.opt.seed, uint64(p.N)<<32|uint64(len(p.Account)+int(p.Account[1]))))
	c := &balance.Command{Type: balance.Result, Account: p.Account, N: p.N, Status: "succeeded", Amount: &p.Amount, Currency: p.In}
	copies := 1 + r.IntN(5)/4
	switch r.IntN(8) {
	case 0:
		c = declined(p.Account, p.N, "try_again_later")
	case 1:
		c = declined(p.Account, p.N, "expired_card")
	case 2:
		copies = 0
	}
	for range copies {
		d := time.Duration(r.Int64N(int64(3 * time.Second)))
		go w.later(d, c)
	}
}
