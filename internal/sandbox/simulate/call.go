package simulate

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/creditstream/creditstream/rating"
)

// call is a CDR as switches write it.
type call struct {
	ID         string `json:"id"`
	Source     string `json:"source"`
	Account    string `json:"account,omitempty"`
	User       string `json:"user,omitempty"`
	Kind       string `json:"kind"`
	Caller     string `json:"caller,omitempty"`
	Callee     string `json:"callee,omitempty"`
	AnsweredAt string `json:"answered_at,omitempty"`
	DurationMS int64  `json:"duration_ms"`
}

// answered makes it a call that lasted d and ends at now.
func (c *call) answered(now time.Time, d time.Duration) {
	c.DurationMS = max(d.Milliseconds(), 1)
	c.AnsweredAt = now.Add(-d).UTC().Format("2006-01-02T15:04:05.000Z")
}

// mix is how often a kind of call occurs, and how long it lasts in the middle.
type mix struct {
	kind   rating.Kind
	share  float64
	median time.Duration
	paid   bool // by credits: not placed for a depleted account
}

// callMix is a small company's day.
func callMix() []mix {
	return []mix{
		{rating.UserOut, 0.34, 95 * time.Second, true},
		{rating.Internal, 0.20, 60 * time.Second, false},
		{rating.UserIn, 0.12, 80 * time.Second, false},
		{rating.TollFreeIn, 0.12, 150 * time.Second, true},
		{rating.ConferenceOut, 0.08, 12 * time.Minute, true},
		{rating.ConferenceCallMe, 0.04, 15 * time.Minute, true},
		{rating.ForwardOut, 0.04, 70 * time.Second, true},
		{rating.TransferOut, 0.02, 110 * time.Second, true},
		{rating.VoiceAppIn, 0.025, 45 * time.Second, true},
		{rating.VoiceAppOut, 0.01, 40 * time.Second, true},
		{rating.TollIn, 0.004, 90 * time.Second, false},
		{rating.Emergency, 0.001, 120 * time.Second, false},
	}
}

const (
	unansweredShare = 0.15
	oddShare        = 0.005
	// spread is the sigma of the log-normal durations.
	spread      = 0.9
	longestCall = 4 * time.Hour
	source      = "fs-sandbox-1"
)

// caller makes up calls.
type caller struct {
	rng       *rand.Rand
	ids       *rand.ChaCha8
	customers []customer
	mix       []mix
}

func newCaller(seed [32]byte) *caller {
	src := rand.NewChaCha8(seed)
	return &caller{rng: rand.New(src), ids: src, customers: customers(), mix: callMix()} //nolint:gosec // calls are no secrets
}

// next returns a call that ends at now. mayPay says which accounts may make calls
// that credits pay for.
func (c *caller) next(now time.Time, mayPay func(account string) bool) (key, value []byte) {
	who := pick(c.rng, c.customers, func(c customer) float64 { return c.share })
	what := pick(c.rng, c.mix, func(m mix) float64 { return m.share })
	if what.paid && !mayPay(who.id) {
		what = mix{kind: rating.Internal, median: time.Minute}
	}
	id := uuid.Must(uuid.NewRandomFromReader(c.ids)).String() // reading from ChaCha8 does not fail
	user := fmt.Sprintf("%s-u%03d", who.id, c.rng.IntN(who.extension))
	cdr := call{ID: id, Source: source, Account: who.id, User: user, Kind: string(what.kind)}
	c.numbers(&cdr, what.kind, who.home)
	if c.rng.Float64() >= unansweredShare {
		d := min(time.Duration(float64(what.median)*math.Exp(spread*c.rng.NormFloat64())), longestCall)
		cdr.answered(now, d)
	}
	if c.rng.Float64() < oddShare {
		if text := c.odd(&cdr, now); text != "" {
			return []byte(id), []byte(text)
		}
	}
	value, err := json.Marshal(cdr)
	if err != nil {
		panic(err) // strings and a number
	}
	return []byte(id), value
}

// numbers fills in who calls whom.
func (c *caller) numbers(cdr *call, kind rating.Kind, home string) {
	own := "+" + home + c.digits(9)
	switch kind {
	case rating.Internal:
		cdr.Caller, cdr.Callee = "1"+c.digits(2), "1"+c.digits(2)
	case rating.Emergency:
		cdr.Caller, cdr.Callee = own, "911"
		if home != "1" {
			cdr.Callee = "112"
		}
	case rating.TollFreeIn:
		cdr.Caller, cdr.Callee = c.abroad(), "+"+choose(c.rng, "1800", "1888", "1855", "44800", "44808", "49800", "33800")+c.digits(7)
	case rating.TollIn, rating.UserIn, rating.VoiceAppIn:
		cdr.Caller, cdr.Callee = c.abroad(), own
	case rating.UserOut, rating.ForwardOut, rating.TransferOut, rating.ConferenceOut, rating.ConferenceCallMe, rating.VoiceAppOut:
		cdr.Caller, cdr.Callee = own, c.abroad()
	}
}

// abroad returns a number somewhere, more often where more people are called.
func (c *caller) abroad() string {
	prefix := choose(
		c.rng, "1212", "1415", "1312", "1604", "44207", "44161", "447911", "447700", "3314", "336", "4930", "49151",
		"3120", "316", "3491", "3906", "393", "5255", "6129", "8135", "9122", "2721", "1876", "1809",
	)
	return "+" + prefix + c.digits(7)
}

func (c *caller) digits(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789"[c.rng.IntN(10)]
	}
	b[0] = "23456789"[c.rng.IntN(8)]
	return string(b)
}

// odd spoils a CDR so that it is parked; a text that is returned is sent instead.
func (c *caller) odd(cdr *call, now time.Time) string {
	switch c.rng.IntN(6) {
	case 0: // the deck has no price for it
		cdr.Kind, cdr.Callee = string(rating.TollFreeIn), "+999"+c.digits(8)
		cdr.answered(now, time.Minute)
	case 1:
		cdr.Kind = "fax"
	case 2:
		cdr.Account = "nobody"
	case 3:
		cdr.DurationMS = -1
	case 4:
		cdr.Kind, cdr.Callee = string(rating.UserOut), "anonymous"
		cdr.answered(now, time.Minute)
	case 5:
		return `{"id":"` + cdr.ID + `","source":"` + source + `","account":"` + cdr.Account + `","ki`
	}
	return ""
}

// pick returns one of list, each as often as its share says.
func pick[T any](rng *rand.Rand, list []T, share func(T) float64) T {
	total := 0.0
	for _, one := range list {
		total += share(one)
	}
	at := rng.Float64() * total
	for _, one := range list {
		if at -= share(one); at < 0 {
			return one
		}
	}
	return list[len(list)-1]
}

func choose(rng *rand.Rand, words ...string) string { return words[rng.IntN(len(words))] }
