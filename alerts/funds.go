package alerts

import (
	"slices"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/creditstream/creditstream/balance"
)

// maxCurrencies bounds the label: the API takes any three letters for a currency,
// there are some 180, and a further one counts as other.
const maxCurrencies = 200

// funds count the money that was added to accounts. It is safe for concurrent use.
type funds struct {
	units *prometheus.CounterVec

	mu         sync.Mutex
	currencies map[string]bool
}

func newFunds(f promauto.Factory) *funds {
	return &funds{currencies: map[string]bool{}, units: f.NewCounterVec(prometheus.CounterOpts{
		Name: "creditstream_alerts_funds_added_units_total",
		Help: "Money added to accounts, in units of the currency, by where it came from; repeats after a take-over included. Not a ledger: it is a float.",
	}, []string{"kind", "currency"})}
}

// fundKinds are what money is added by.
func fundKinds() []string { return []string{"top_up", "promotion", "recharge", "adjustment"} }

// add counts the money of an event that adds some.
func (f *funds) add(e *balance.Event) {
	var kind string
	switch e.Kind {
	case "funds.added":
		kind = e.Get("kind")
	case "recharge.succeeded":
		kind = "recharge"
	case "funds.adjusted":
		kind = "adjustment"
	default:
		return
	}
	// The event was encoded from the same field, so it is a number; below zero it
	// takes money away.
	micros, err := strconv.ParseInt(e.Get("amount"), 10, 64)
	if err != nil || micros <= 0 {
		return
	}
	f.of(kind, e.Currency).Add(float64(micros) / 1e6)
}

// of returns the counter of a kind and a currency. The first money of a currency
// brings the counters of all kinds.
func (f *funds) of(kind, currency string) prometheus.Counter {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.currencies[currency] {
		if len(f.currencies) >= maxCurrencies {
			currency = other
		}
		f.currencies[currency] = true
		for _, k := range append(fundKinds(), other) {
			f.units.WithLabelValues(k, currency)
		}
	}
	if !slices.Contains(fundKinds(), kind) {
		kind = other // a newer version wrote it
	}
	return f.units.WithLabelValues(kind, currency)
}
