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

func (w *world) settings(r *rand.Rand, account, currency string) *balance.Command {
	s := &balance.Settings{Currency: currency}
	if r.IntN(2) == 0 {
		s.LowBalance = &balance.Nullable[[]balance.Level]{Value: []balance.Level{{Amount: *micros(10)}, {Percent: 20}}}
	}
	if r.IntN(4) > 0 {
		a := balance.AutoRecharge{
			Enabled: new(r.IntN(5) > 0), Trigger: micros(5 + r.IntN(20)), Amount: micros(20 + r.IntN(40)), PaymentMethod: new(fmt.Sprintf("pm_%d", r.IntN(2))),
		}
		if r.IntN(4) == 0 {
			a.Caps = &balance.Nullable[balance.Caps]{Value: balance.Caps{PerDay: &balance.Cap{Count: new(int64(1 + r.IntN(3)))}}}
		}
		s.AutoRecharge = &balance.Nullable[balance.AutoRecharge]{Value: a}
	}
	return &balance.Command{Type: balance.PutAccount, Account: account, ID: "put/" + w.id(), Put: s}
}

// byHand has a person do something, now and then twice.
func (w *world) byHand(r *rand.Rand) {
	a := w.names[r.IntN(len(w.names))]
	amount := micros(1 + r.IntN(60))
	var c *balance.Command
	switch k := r.IntN(12); {
	case k < 4:
		c = &balance.Command{Type: balance.TopUp, Account: a, ID: "top-up/" + w.id(), Amount: amount}
	case k < 6:
		life := w.business(time.Duration(500+r.IntN(6000)) * time.Millisecond)
		c = &balance.Command{
			Type: balance.Grant, Account: a, ID: "grant/" + w.id(), Amount: amount, Reason: "welcome", Operator: "ann",
			Expires: w.now().Add(life).Truncate(time.Millisecond),
		}
	case k < 7:
		*amount *= rating.Micros(1 - 2*r.IntN(2))
		c = &balance.Command{Type: balance.Adjust, Account: a, ID: "adjust/" + w.id(), Amount: amount, Currency: "USD", Reason: "mistake", Operator: "ann"}
	case k < 8:
		c = &balance.Command{Type: balance.CloseAccount, Account: a, ID: "close/" + w.id()}
	case k < 9:
		c = &balance.Command{Type: balance.Resume, Account: a, ID: "resume/" + w.id()}
	case k < 10:
		c = &balance.Command{Type: balance.Abandon, Account: a, ID: "abandon/" + w.id(), N: int64(1 + r.IntN(3))}
	case k < 11:
		w.mu.Lock()
		w.log.append(balance.Source{Topic: commandTopic, Partition: r.IntN(w.commands)}, kafka.Message{Value: []byte("no command")})
		w.mu.Unlock()
		return
	default:
		c = w.settings(r, a, "")
	}
	w.command(c)
	if r.IntN(4) == 0 {
		w.after(w.latency(r), func() { w.command(c) })
	}
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
		account: a, identity: id + a, charge: units * int64(unit), currency: "USD", claims: units > 0, answered: answered.UnixNano(),
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
	}
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
	}
	if err := json.Unmarshal(rec.Value, &p); err != nil {
		panic(err)
	}
	q := request{p.Account, p.N, int64(p.Amount)}
	again := slices.Contains(w.requests, q)
	w.requests = append(w.requests, q)
	if again {
		return
	}
	r := rand.New(rand.NewPCG(w.opt.seed, uint64(p.N)<<32|uint64(len(p.Account)+int(p.Account[1]))))
	c := &balance.Command{Type: balance.Result, Account: p.Account, N: p.N, Status: "succeeded", Amount: &p.Amount, Currency: "USD"}
	copies := 1 + r.IntN(5)/4
	switch r.IntN(8) {
	case 0:
		c.Status, c.Code, c.Amount, c.Currency = "declined", "try_again_later", nil, ""
		c.Class = balance.ClassOf(c.Code)
	case 1:
		c.Status, c.Code, c.Amount, c.Currency = "declined", "expired_card", nil, ""
		c.Class = balance.ClassOf(c.Code)
	case 2:
		copies = 0
	}
	for range copies {
		w.answers++
		d := time.Duration(r.Int64N(int64(3 * time.Second)))
		go w.after(d, func() {
			w.command(c)
			w.mu.Lock()
			w.answers--
			w.mu.Unlock()
		})
	}
}
