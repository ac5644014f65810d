package rating_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/creditstream/creditstream/rating"
)

// reachBySteps finds how long a call may last by pricing every length.
func reachBySteps(t *rapid.T, d *rating.Decks, c rating.CDR, money rating.Micros, limit int64) (seconds int64, free bool) {
	price := func(seconds int64) rating.Micros {
		c.DurationMillis = seconds * 1000
		charge, err := d.Price(&c)
		if reasonOf(err) == rating.OutOfBounds {
			return math.MaxInt64
		}
		if err != nil {
			t.Fatal(err)
		}
		return charge.Amount
	}
	if price(limit) == 0 {
		return limit, true
	}
	if money <= 0 {
		return 0, false
	}
	for seconds < limit && price(seconds+1) <= money {
		seconds++
	}
	return seconds, false
}

func TestReachAgreesWithEveryLength(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ref := drawRefDeck(t)
		if len(ref.rows) == 0 {
			return // nothing valid was drawn
		}
		more, table := ref.files()
		more += fmt.Sprintf("rounding: {digits: %d, mode: %s}\n",
			rapid.SampledFrom([]int{6, 6, 2, 0}).Draw(t, "digits"), rapid.SampledFrom([]string{"half_up", "half_even", "up", "down"}).Draw(t, "mode"))
		d, err := rating.Load(oneTable(more, table))
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			c := rating.CDR{
				Kind: rating.UserOut, Callee: "+" + rapid.SampledFrom([]string{"123456", "129999", "199999", "299999"}).Draw(t, "callee"),
				AnsweredAt: time.Date(2026, 3, 28, 23, 0, 0, 0, time.UTC).Add(time.Duration(rapid.Int64Range(0, int64(14*time.Hour)).Draw(t, "after"))),
			}
			limit := rapid.Int64Range(1, 4000).Draw(t, "limit")
			money := rating.Micros(rapid.OneOf(rapid.Int64Range(-5, 100), rapid.Int64Range(0, 20_000_000), rapid.Int64Range(0, 400_000_000)).Draw(t, "money"))
			got, err := d.Reach(&c, money, limit)
			if reasonOf(err) == rating.NoRate {
				if _, err := d.Price(&rating.CDR{Kind: c.Kind, Callee: c.Callee, AnsweredAt: c.AnsweredAt, DurationMillis: 1}); reasonOf(err) != rating.NoRate {
					t.Fatalf("no rate, but a price: %v", err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			seconds, free := reachBySteps(t, d, c, money, limit)
			if got.Seconds != seconds || got.Free != free {
				t.Fatalf("%s of at most %d s: got %d s, free %v; want %d s, free %v", money, limit, got.Seconds, got.Free, seconds, free)
			}
			// To the micro: what the longest call costs is enough for it.
			if seconds > 0 && !free {
				c.DurationMillis = seconds * 1000
				if charge, _ := d.Price(&c); charge.Amount > 0 {
					if again, _ := d.Reach(&c, charge.Amount, limit); again.Seconds < seconds {
						t.Fatalf("%s pays for %d s, want %d", charge.Amount, again.Seconds, seconds)
					}
				}
			}
		}
	})
}

func TestReachByExample(t *testing.T) {
	table := "prefix,destination,country,setup_fee,price,first,next,grace,max_charge\n" +
		"33,France,FR,0,0.60,60,6,0,\n44,Britain,GB,0.20,0.60,1,1,0,\n49,Germany,DE,0,0.60,60,60,5,\n" +
		"1,America,US,0,0.60,60,60,0,3.00\n7,Free,RU,0,0,60,60,0,\n8,Small,VN,0,0.000001,1,1,0,\n9,Dear,IN,1000000,1000000,86400,86400,0,\n"
	d := load(t, oneTable("", table))
	for _, test := range []struct {
		callee string
		money  rating.Micros
		limit  int64
		want   int64
		free   bool
	}{
		{"33", 599_999, 3600, 0, false},  // the first increment is a minute
		{"33", 600_000, 3600, 60, false}, // to the micro
		{"33", 659_999, 3600, 60, false}, // the next six seconds cost 0.06
		{"33", 660_000, 3600, 66, false}, //
		{"33", 660_000, 65, 65, false},   // the limit comes first
		{"33", 660_000, 66, 66, false},   //
		{"44", 200_000, 3600, 0, false},  // the setup fee alone buys no second
		{"44", 210_000, 3600, 1, false},  //
		{"49", 0, 3600, 0, false},        // no grace for those who cannot pay
		{"49", 1, 3600, 5, false},        // the grace
		{"49", 1, 5, 5, true},            // a call that ends within the grace is free
		{"49", -1, 5, 5, true},           //
		{"1", 2_999_999, 36_000, 240, false},
		{"1", 3_000_000, 36_000, 36_000, false}, // max_charge: as long as one likes
		{"7", -5, 3600, 3600, true},             // a price of 0
		{"8", 0, 3600, 0, false},                // 0.00 for the first half minute, but not for the whole call
		{"8", 1, 3600, 89, false},               // 1.5 micros round up
		{"8", 0, 29, 29, true},                  //
		{"9", rating.MaxTotal, 31 * 86_400, 6 * 86_400, false},
		{"9", 2 * rating.MaxTotal, 31 * 86_400, 6 * 86_400, false}, // the rest is out of bounds
	} {
		c := &rating.CDR{Kind: rating.UserOut, Callee: "+" + test.callee + "1234567", AnsweredAt: answered, DurationMillis: -1}
		got, err := d.Reach(c, test.money, test.limit)
		if err != nil || got.Seconds != test.want || got.Free != test.free {
			t.Errorf("+%s with %s, at most %d s: got %d s, free %v, %v; want %d, %v", test.callee, test.money, test.limit, got.Seconds, got.Free, err, test.want, test.free)
		}
	}
}

func TestReachShowsTheRate(t *testing.T) {
	d := load(t, os.DirFS("testdata/example"))
	got, err := d.Reach(&rating.CDR{Kind: rating.UserOut, Callee: "+442079460000", AnsweredAt: answered}, 1_000_000, 3600)
	if err != nil {
		t.Fatal(err)
	}
	charge, err := d.Price(userOut(1000))
	if err != nil {
		t.Fatal(err)
	}
	r := got.Rate
	if r.Deck != charge.Deck || r.Rule != charge.Rule || r.Currency != charge.Currency || r.Destination != charge.Destination || r.Prefix != charge.Prefix || got.Home != "US" {
		t.Errorf("got %+v of %s, want what %+v says", r, got.Home, charge)
	}
	table := "prefix,destination,setup_fee,steps,grace,max_charge\n44,Britain,0.0200,0:0.40/30;60:0.200/10,3,7.50\n"
	got, err = load(t, oneTable("", table)).Reach(&rating.CDR{Kind: rating.UserOut, Callee: "0044 20", Home: "gb", AnsweredAt: answered}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	got.Rate.Deck = "d"
	b, _ := json.Marshal(got.Rate)
	const want = `{"deck":"d","rule":1,"currency":"USD","destination":"Britain","prefix":"44","setup_fee":"0.02","grace":3,` +
		`"steps":[{"from":0,"price":"0.4","increment":30},{"from":60,"price":"0.2","increment":10}],"max_charge":"7.500000"}`
	if string(b) != want || got.Home != "GB" {
		t.Errorf("%s\ngot  %s\nwant %s", got.Home, b, want)
	}
}

func TestReachOfCallsThatNeedNoMoney(t *testing.T) {
	d := load(t, os.DirFS("testdata/example"))
	for _, kind := range []rating.Kind{rating.Emergency, rating.Internal, rating.UserIn} {
		got, err := d.Reach(&rating.CDR{Kind: kind, Callee: "112", AnsweredAt: answered}, -1_000_000, 77)
		if err != nil || got.Seconds != 77 || !got.Free || (got.Rate == nil) != kind.AlwaysFree() {
			t.Errorf("%s: got %+v, %v", kind, got, err)
		}
	}
	if got, err := new(rating.Decks).Reach(&rating.CDR{Kind: rating.Emergency}, 0, 77); err != nil || !got.Free {
		t.Errorf("without a deck: %+v, %v", got, err)
	}
}

func TestCallsWithoutReach(t *testing.T) {
	d := load(t, flat("", "0", "1", 60, 60))
	for _, test := range []struct {
		cdr  rating.CDR
		want rating.Reason
	}{
		{rating.CDR{Kind: "fax", AnsweredAt: answered}, rating.UnknownKind},
		{rating.CDR{Kind: rating.UserOut, Callee: "+1"}, rating.MissingField},
		{rating.CDR{Kind: rating.UserOut, AnsweredAt: answered}, rating.MissingField},
		{rating.CDR{Kind: rating.UserOut, Callee: "alice", AnsweredAt: answered}, rating.BadNumber},
		{rating.CDR{Kind: rating.TollIn, Callee: "+1", AnsweredAt: answered}, rating.NoRate},
		{rating.CDR{Kind: rating.UserOut, Callee: "+1", AnsweredAt: time.Unix(0, 0)}, rating.NoRate},
	} {
		if got, err := d.Reach(&test.cdr, 1_000_000, 60); reasonOf(err) != test.want {
			t.Errorf("%+v: got %+v, %v, want %s", test.cdr, got, err, test.want)
		}
	}
}

func TestOutboundKinds(t *testing.T) {
	got := map[rating.Kind]bool{}
	for _, kind := range rating.Kinds() {
		got[kind] = kind.Outbound()
	}
	for kind, outbound := range got {
		// Of the kinds that cost, those whose callee is dialled end in _out, or call back.
		want := len(kind) > 4 && kind[len(kind)-4:] == "_out" || kind == rating.ConferenceCallMe
		if outbound != want {
			t.Errorf("%s: %v, want %v", kind, outbound, want)
		}
	}
}
