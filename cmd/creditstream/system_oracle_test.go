package main

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// place is a record of cdrs.
type place struct {
	partition int
	offset    int64
}

// oracle is what the logs alone say must be.
type oracle struct {
	accounts map[string]*holder
	cdrs     map[place][]byte
	parked   map[place]string
}

type holder struct {
	id            string
	created       int64 // append time of its first settings; no test has them refused
	funded, spent *big.Int
	topUps        map[string]bool
	requested     map[int]bool
	pending       bool
	last          int
}

func (h *holder) balance() *big.Int { return new(big.Int).Sub(h.funded, h.spent) }

// decimal writes micros as the API does.
func decimal(m *big.Int) string {
	s := new(big.Int).Abs(m).String()
	s = strings.Repeat("0", max(0, 7-len(s))) + s
	s = s[:len(s)-6] + "." + s[len(s)-6:]
	if m.Sign() < 0 {
		s = "-" + s
	}
	return s
}

func micros(text string) *big.Int {
	r, _ := new(big.Rat).SetString(text)
	r.Mul(r, big.NewRat(1_000_000, 1))
	return new(big.Int).Set(r.Num())
}

// judgeLogs reads both input logs and says what follows.
func judgeLogs(p *plant) *oracle {
	o := &oracle{accounts: map[string]*holder{}, cdrs: map[place][]byte{}, parked: map[place]string{}}
	for _, rec := range p.read("credit-commands") {
		var c struct {
			Type, Account, ID, Amount, Status string
			N                                 int
		}
		if err := json.Unmarshal(rec.Value, &c); err != nil {
			p.t.Fatalf("command %s: %v", rec.Value, err)
		}
		h := o.accounts[c.Account]
		switch {
		case c.Account == "":
		case h == nil && c.Type == "account.put":
			o.accounts[c.Account] = &holder{
				id: c.Account, created: rec.AppendMillis, funded: new(big.Int), spent: new(big.Int),
				topUps: map[string]bool{}, requested: map[int]bool{},
			}
		case h == nil:
		case c.Type == "funds.top_up" && !h.topUps[c.ID]:
			h.topUps[c.ID] = true // the id is "top-up/<Idempotency-Key>"
			h.funded.Add(h.funded, micros(c.Amount))
		case c.Type == "recharge.result" && c.Status == "succeeded" && !h.requested[c.N]:
			h.requested[c.N] = true // the test's payment service answers only what was requested
			h.funded.Add(h.funded, micros(c.Amount))
			h.pending = h.pending && c.N != h.last
		case c.Type == "recharge.result":
			h.pending = h.pending && c.N != h.last
		case c.Type == "recharge.request" && c.N == h.last+1 && !h.pending:
			// not all that the product looks at, but enough to see an end
			h.last, h.pending = p.requested(c.Account, h.last, c.N)
		}
	}
	counted := map[string]bool{}
	for _, rec := range p.read("cdrs") {
		at := place{rec.Partition, rec.Offset}
		o.cdrs[at] = rec.Value
		o.charge(at, rec.Value, rec.AppendMillis, counted)
	}
	return o
}

// requested reports whether number n was really asked for: a wish may be stale.
func (p *plant) requested(account string, last, n int) (int, bool) {
	for _, rec := range p.read("recharge-requests") {
		var q struct {
			ID string `json:"recharge_id"`
		}
		if json.Unmarshal(rec.Value, &q) == nil && q.ID == account+"/"+strconv.Itoa(n) {
			return n, true
		}
	}
	return last, false
}

func (o *oracle) charge(at place, value []byte, appended int64, counted map[string]bool) {
	var c struct {
		ID, Source, Account, Kind, Callee string
		Answered                          string `json:"answered_at"`
		Duration                          int64  `json:"duration_ms"`
	}
	if err := json.Unmarshal(value, &c); err != nil {
		o.parked[at] = "not_json"
		return
	}
	price := int64(0)
	if c.Answered != "" && c.Duration > 0 && c.Kind != "user_in" {
		seconds := (c.Duration + 999) / 1000
		switch {
		case strings.HasPrefix(c.Callee, "+33"): // 0.10 a minute, 60/60
			price = (seconds + 59) / 60 * 100_000
		case strings.HasPrefix(c.Callee, "+44"): // 0.02 and 0.06 a minute, 30/6
			price = 20_000 + (30+(max(0, seconds-30)+5)/6*6)*1000
		default:
			o.parked[at] = "no_rate"
			return
		}
	}
	h := o.accounts[c.Account]
	if h == nil || h.created > appended+250 {
		o.parked[at] = "unknown_account"
		return
	}
	if id := strings.Join([]string{c.Source, c.ID, c.Account, c.Answered}, "/"); !counted[id] {
		counted[id] = true
		h.spent.Add(h.spent, big.NewInt(price))
	}
}

// committed returns the offset that the group has committed; -1: none.
func (p *plant) committed(topic string, partition int) int64 {
	p.t.Helper()
	c := kafkago.Client{Addr: kafkago.TCP(p.brokers...), Timeout: 5 * time.Second}
	r, err := c.OffsetFetch(p.t.Context(), &kafkago.OffsetFetchRequest{GroupID: p.kafka.Name("creditstream"), Topics: map[string][]int{topic: {partition}}})
	if err != nil {
		p.t.Fatal(err)
	}
	if len(r.Topics[topic]) == 0 {
		return -1 // the group does not exist yet
	}
	return r.Topics[topic][0].CommittedOffset
}
