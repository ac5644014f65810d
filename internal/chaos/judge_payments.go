package chaos

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
)

// lateRepeat is how long after the answer is in the log a request may come again:
// whoever sends it asked whether it is open, and may then have been stopped, or
// cut off from Kafka, for a while.
const lateRepeat = 60_000 // ms

// payments compares recharge-requests with what the commands ask for.
func (j *judge) payments() {
	seen := map[string]bool{}
	for i := range j.logs.Requests {
		rec := &j.logs.Requests[i]
		var q struct {
			ID       string `json:"recharge_id"`
			Account  string
			N        int64
			Amount   string
			Currency string
			Method   string `json:"payment_method"`
		}
		if err := json.Unmarshal(rec.Value, &q); err != nil {
			j.find(CheckPayments, "recharge-requests/%d/%d: %s", rec.Partition, rec.Offset, err)
			continue
		}
		j.tally.Requests++
		id := q.Account + "/" + strconv.FormatInt(q.N, 10)
		s := j.accounts[q.Account]
		if q.ID != id || rec.Headers["ce_id"] != id || s == nil || s.asked[q.N] == nil {
			j.find(CheckPayments, "%s is requested, and no accepted command asks for it", q.ID)
			continue
		}
		a := s.asked[q.N]
		amount, err := moneyOf(q.Amount)
		if err != nil || strings.Join([]string{amount.String(), q.Currency, q.Method}, " ") != a.text {
			j.find(CheckPayments, "%s: requested is %s %s of %s, must be %s", id, q.Amount, q.Currency, q.Method, a.text)
		}
		if seen[id] {
			j.tally.RequestsAgain++
			if a.answered > 0 && rec.AppendMillis > a.answered+lateRepeat {
				j.find(CheckPayments, "%s is requested again %d ms after its answer", id, rec.AppendMillis-a.answered)
			}
		}
		seen[id] = true
	}
	j.needed(seen)
}

// needed checks that what commands ask for is requested, and was needed.
func (j *judge) needed(seen map[string]bool) {
	for account, s := range j.accounts {
		for n, a := range s.asked {
			id := account + "/" + strconv.FormatInt(n, 10)
			if !seen[id] {
				j.find(CheckPayments, "%s is never requested", id)
			}
			// The balance was at or below the trigger with some of the calls before; so it is with all of them.
			least := new(big.Int).Set(a.least)
			for _, c := range s.calls {
				if c.at <= a.at+slack {
					least.Sub(least, big.NewInt(c.amount))
				}
			}
			if a.trigger == nil || least.Cmp(a.trigger) > 0 {
				j.find(CheckPayments, "%s is requested without need: with all calls before the balance was %s", id, decimal(least))
			}
		}
	}
}
