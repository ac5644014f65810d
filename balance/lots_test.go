package balance_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
)

// monthsAfter is the rule of an expiry by other means: package time goes on to the
// next month where the day does not exist, so the day is cut back until it does.
func monthsAfter(t time.Time, months int) time.Time {
	first := time.Date(t.Year(), t.Month(), 1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC).AddDate(0, months, 0)
	for day := t.Day(); ; day-- {
		if e := first.AddDate(0, 0, day-1); e.Month() == first.Month() {
			return e
		}
	}
}

func TestWhatIsBoughtExpiresInCalendarMonths(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	rnd := rand.New(rand.NewPCG(1, 2))
	dates := []time.Time{
		time.Date(2028, 2, 29, 23, 59, 59, 998e6, time.UTC), time.Date(2026, 8, 31, 0, 0, 0, 0, time.UTC),
		time.Date(2027, 12, 31, 12, 0, 0, 0, time.UTC), time.Date(2099, 2, 28, 12, 0, 0, 0, time.UTC),
	}
	for range 300 {
		dates = append(dates, time.UnixMilli(rnd.Int64N(4_102_444_800_000*2)).UTC()) // until 2100 and beyond
	}
	for i, at := range dates {
		months := 12
		if i%2 == 1 {
			months = 1 + rnd.IntN(balance.MaxLotMonths)
		}
		w.command(&balance.Command{Type: balance.PutAccount, Account: "acme", Put: &balance.Settings{LotMonths: &balance.Nullable[int]{Value: months}}})
		w.now = at
		w.command(topUp("acme", "k"+i64(int64(i)), int64(i+1)))
		want, found := monthsAfter(w.now.Truncate(time.Millisecond), months), false
		for _, l := range w.account("acme").Lots {
			if int64(l.Amount) == int64(i+1) {
				found = true
				if !l.ExpireAt.Equal(want) {
					t.Errorf("bought %s for %d months: expires %s, want %s", w.now, months, l.ExpireAt, want)
				}
			}
		}
		if !found {
			t.Fatalf("no lot of %d", i+1)
		}
	}
}
