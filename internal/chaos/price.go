package chaos

import (
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// writeDeck writes the deck of a run. What it says is said again by price, which
// shares no code with package rating.
func writeDeck(dir string) error {
	for name, text := range map[string]string{
		"deck.yaml": "id: chaos\ncurrency: USD\nvalid_from: 2020-01-01T00:00:00Z\nhome_country: US\nrules:\n" +
			"  - {kinds: [user_out, conference_out, toll_free_in], scope: any, table: out.csv, match: callee}\n" +
			"  - {kinds: [user_in, toll_in], charge: free}\n",
		"out.csv": "prefix,destination,country,setup_fee,price,first,next\n33,France,FR,0,0.10,60,60\n44,Britain,GB,0.02,0.06,30,6\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// A call is a CDR as the harness writes it.
type call struct {
	ID, Source, Account, Kind, Callee string
	Answered                          string `json:"answered_at"`
	Duration                          int64  `json:"duration_ms"`
}

// name is what makes two copies one call (design rule 8).
func (c *call) name() string {
	return strings.Join([]string{c.Source, c.ID, c.Account, c.Answered}, "/")
}

// claims reports whether a copy of the call would be a duplicate.
func (c *call) claims() bool { return c.Answered != "" && c.Duration > 0 }

const (
	window = 35 * 24 * time.Hour // the default of creditstream run
	slack  = 250                 // ms of the brokers' clocks
)

// readCall reads a CDR; reason says why it has to be parked, whatever its account.
func readCall(value []byte, appendMillis int64) (c call, charge int64, reason string) {
	if json.Unmarshal(value, &c) != nil {
		return c, 0, "not_json"
	}
	if c.Answered != "" {
		at, err := time.Parse(time.RFC3339Nano, c.Answered)
		if err != nil {
			return c, 0, "bad_field"
		}
		if time.UnixMilli(appendMillis).Sub(at) > window {
			return c, 0, "too_old"
		}
	}
	charge, ok := price(&c)
	if !ok {
		return c, 0, "no_rate"
	}
	return c, charge, ""
}

// price returns what a call costs, in micros; ok is false when the deck has no rate.
func price(c *call) (micros int64, ok bool) {
	if !c.claims() || c.Kind == "user_in" || c.Kind == "internal" {
		return 0, true
	}
	seconds := (c.Duration + 999) / 1000
	switch {
	case strings.HasPrefix(c.Callee, "+33"): // 0.10 a minute, by minutes
		return (seconds + 59) / 60 * 100_000, true
	case strings.HasPrefix(c.Callee, "+44"): // 0.02 and 0.06 a minute, 30 seconds and then by 6
		return 20_000 + (30+(max(0, seconds-30)+5)/6*6)*1000, true
	}
	return 0, false
}

// decimal writes micros as the product does.
func decimal(m *big.Int) string {
	s := new(big.Int).Abs(m).String()
	s = strings.Repeat("0", max(0, 7-len(s))) + s
	s = s[:len(s)-6] + "." + s[len(s)-6:]
	if m.Sign() < 0 {
		s = "-" + s
	}
	return s
}
