package rating_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/creditstream/creditstream/rating"
)

var answered = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// load reads a deck that must be right.
func load(tb testing.TB, fsys fs.FS) *rating.Decks {
	tb.Helper()
	d, err := rating.Load(fsys)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// oneTable is a deck in which user_out is priced by one table; more is added to
// its deck.yaml.
func oneTable(more, table string) fstest.MapFS {
	return fstest.MapFS{
		"deck.yaml": {Data: []byte("id: one\ncurrency: USD\nvalid_from: 2020-01-01T00:00:00Z\nhome_country: US\n" +
			"rules: [{kinds: [user_out], table: out.csv}]\n" + more)},
		"out.csv": {Data: []byte(table)},
	}
}

// flat is a deck with one rate for everything.
func flat(more, fee, price string, first, next int) fstest.MapFS {
	return oneTable(more, fmt.Sprintf("prefix,destination,country,setup_fee,price,first,next\n,All,,%s,%s,%d,%d\n", fee, price, first, next))
}

func userOut(millis int64) *rating.CDR {
	return &rating.CDR{Kind: rating.UserOut, Callee: "+442079460000", AnsweredAt: answered, DurationMillis: millis}
}

func reasonOf(err error) rating.Reason {
	if fault, ok := errors.AsType[*rating.Fault](err); ok {
		return fault.Reason
	}
	return rating.NotParked
}

// V1 to V6 and V14 to V18: published examples of other engines, by the
// remainder method and exact.
func TestPublishedExamples(t *testing.T) {
	for _, v := range []struct {
		name        string
		fee, price  string
		first, next int
		rounding    string
		millis      int64
		seconds     int64
		amount      string
	}{
		{"V1", "0", "0.05", 30, 6, "", 45_000, 48, "0.040000"},
		{"V2 short", "0", "0.60", 30, 6, "", 10_000, 30, "0.300000"},
		{"V2 long", "0", "0.60", 30, 6, "", 31_000, 36, "0.360000"},
		{"V3 5", "0", "0.60", 6, 6, "", 5_000, 6, "0.060000"},
		{"V3 8", "0", "0.60", 6, 6, "", 8_000, 12, "0.120000"},
		{"V3 10", "0", "0.60", 6, 6, "", 10_000, 12, "0.120000"},
		{"V3 15", "0", "0.60", 6, 6, "", 15_000, 18, "0.180000"},
		{"V4 10", "0", "0.01", 60, 60, "", 10_000, 60, "0.010000"},
		{"V4 61", "0", "0.01", 60, 60, "", 61_000, 120, "0.020000"},
		{"V4 80, V5 each leg", "0", "0.01", 60, 60, "", 80_000, 120, "0.020000"},
		{"V6 6/6", "0", "0.01", 6, 6, "", 5_000, 6, "0.001000"},
		{"V6 60/60", "0", "0.01", 60, 60, "", 5_000, 60, "0.010000"},
		{"V14", "0", "60", 1, 1, "rounding: {digits: 4, mode: up}", 90_000, 90, "90.000000"},
		{"V14 zero", "0", "60", 1, 1, "rounding: {digits: 4, mode: up}", 0, 0, "0.000000"},
		{"V15", "0", "0.1", 1, 1, "", 180_000, 180, "0.300000"},
		{"V16", "0.5", "0.01", 60, 60, "", 1_000, 60, "0.510000"},
		{"V17", "0", "0.05", 20, 6, "", 45_000, 50, "0.041667"},
		{"V18", "0", "0.01", 60, 60, "", 60_002, 120, "0.020000"},
	} {
		t.Run(v.name, func(t *testing.T) {
			got, err := load(t, flat(v.rounding, v.fee, v.price, v.first, v.next)).Price(userOut(v.millis))
			if err != nil {
				t.Fatal(err)
			}
			if got.ChargedSeconds != v.seconds || got.Amount.String() != v.amount {
				t.Errorf("got %d s, %s, want %d s, %s", got.ChargedSeconds, got.Amount, v.seconds, v.amount)
			}
		})
	}
}

func TestDurationIsRoundedUpOnceFromMillis(t *testing.T) {
	d := load(t, flat("", "0", "60", 1, 1))
	for millis, want := range map[int64]int64{0: 0, 1: 1, 999: 1, 1000: 1, 1001: 2, 59_999: 60, 60_000: 60, 60_001: 61} {
		got, err := d.Price(userOut(millis))
		if err != nil || got.ChargedSeconds != want || int64(got.Amount) != want*1_000_000 {
			t.Errorf("%d ms: got %+v, %v, want %d s", millis, got, err, want)
		}
	}
}

func TestRounding(t *testing.T) {
	for _, test := range []struct{ rounding, fee, want string }{
		{"", "0.0000005", "0.000001"},
		{"", "0.000000499999", "0.000000"},
		{"rounding: {digits: 2}", "0.125", "0.130000"},
		{"rounding: {digits: 2, mode: half_up}", "0.124999999999", "0.120000"},
		{"rounding: {digits: 2, mode: half_even}", "0.125", "0.120000"},
		{"rounding: {digits: 2, mode: half_even}", "0.135", "0.140000"},
		{"rounding: {digits: 2, mode: half_even}", "0.125000000001", "0.130000"},
		{"rounding: {digits: 2, mode: up}", "0.120000000001", "0.130000"},
		{"rounding: {digits: 2, mode: up}", "0.12", "0.120000"},
		{"rounding: {digits: 2, mode: down}", "0.129999999999", "0.120000"},
		{"rounding: {digits: 0, mode: up}", "0.000000000001", "1.000000"},
		{"rounding: {digits: 0, mode: half_even}", "2.5", "2.000000"},
		{"rounding: {mode: down}", "0.0000019", "0.000001"},
	} {
		got, err := load(t, flat(test.rounding, test.fee, "0", 60, 60)).Price(userOut(1))
		if err != nil || got.Amount.String() != test.want {
			t.Errorf("%s of %s: got %s, %v, want %s", test.rounding, test.fee, got.Amount, err, test.want)
		}
	}
}

// A third of a pico must reach the rounding: 1 s at 0.000030 per minute is
// exactly half a micro, and the next price below is less.
func TestNothingIsRoundedBeforeTheEnd(t *testing.T) {
	for price, want := range map[string]rating.Micros{"0.00003": 1, "0.000029999999": 0, "0.000089999999": 1, "0.00009": 2} {
		if got, err := load(t, flat("", "0", price, 1, 1)).Price(userOut(1000)); err != nil || got.Amount != want {
			t.Errorf("%s: got %d, %v, want %d", price, got.Amount, err, want)
		}
	}
	got, err := load(t, flat("", "0.0000003", "0.000012", 1, 1)).Price(userOut(1000))
	if err != nil || got.Amount != 1 {
		t.Errorf("fee and minutes are rounded together: got %d, %v, want 1", got.Amount, err)
	}
}

func TestChargesOutOfBounds(t *testing.T) {
	for _, test := range []struct {
		name, fee, price, rounding string
		millis                     int64
		want                       rating.Reason
		amount                     rating.Micros
	}{
		{"the longest call at the highest price", "1000000", "1000000", "", math.MaxInt64, rating.OutOfBounds, 0},
		{"whole units", "1000000", "1000000", "rounding: {digits: 0}", math.MaxInt64, rating.OutOfBounds, 0},
		{"the bound", "0", "1000000", "", 540_000_000, rating.NotParked, rating.MaxTotal},
		{"one micro above", "0.000001", "1000000", "", 540_000_000, rating.OutOfBounds, 0},
		{"rounded up above", "0.000000000001", "1000000", "rounding: {mode: up}", 540_000_000, rating.OutOfBounds, 0},
		{"rounded down to it", "0.000000999999", "1000000", "rounding: {mode: down}", 540_000_000, rating.NotParked, rating.MaxTotal},
		{"the longest call for nothing", "0", "0", "", math.MaxInt64, rating.NotParked, 0},
	} {
		got, err := load(t, flat(test.rounding, test.fee, test.price, 60, 60)).Price(userOut(test.millis))
		if reasonOf(err) != test.want || got.Amount != test.amount || (err != nil && got != rating.Charge{}) {
			t.Errorf("%s: got %+v, %v", test.name, got, err)
		}
	}
}

// The example deck in testdata, call by call.
func TestExampleDeck(t *testing.T) {
	d := load(t, os.DirFS("testdata/example"))
	version := d.Versions()[0].Version
	at := func(month time.Month, day, hour int) time.Time {
		return time.Date(2026, month, day, hour, 0, 0, 0, time.UTC)
	}
	may := at(5, 1, 12)
	for _, test := range []struct {
		kind         rating.Kind
		home, callee string
		at           time.Time
		millis       int64
		want         string // amount seconds destination prefix, or free, or a reason
	}{
		// Domestic and international, by the table of the rule.
		{rating.UserOut, "", "+14255550123", may, 10_000, "0.002000 12 US and Canada 1"},
		{rating.UserOut, "CA", "+14255550123", may, 10_000, "0.002000 12 US and Canada 1"},
		{rating.UserOut, "ca", "+14165550123", may, 10_000, "0.002000 12 US and Canada 1"},
		{rating.UserOut, "GB", "+14255550123", may, 10_000, "0.025000 30 US and Canada 1"},
		{rating.UserOut, "", "+18765550123", may, 10_000, "0.250000 60 Jamaica 1876"},
		{rating.UserOut, "JM", "+18765550123", may, 10_000, "0.000000 60 Jamaica 1876"},
		{rating.UserOut, "GB", "+442079460000", may, 1_000, "0.000333 1 UK 44"},
		{rating.ForwardOut, "", "+442079460000", may, 61_000, "0.520000 120 UK inner London 44207"},
		{rating.UserOut, "USA", "+14255550123", may, 10_000, "bad_field"},
		{rating.ConferenceOut, "USA", "+14255550123", may, 10_000, "0.025000 30 US and Canada 1"},

		// The longest prefix, from every way to write a number.
		{rating.ConferenceOut, "", "+44 (161) 496-0000", may, 45_000, "0.041667 50 UK 44"},
		{rating.ConferenceOut, "", "0044 20 3946 0000", may, 45_000, "0.030000 45 UK London 4420"},
		{rating.ConferenceCallMe, "", "442079460000", may, 45_000, "0.510000 60 UK inner London 44207"},
		{rating.TransferOut, "", "sip:+442079460000@example.com;user=phone", may, 45_000, "0.510000 60 UK inner London 44207"},
		{rating.TransferOut, "", "tel:+44207****", may, 45_000, "0.510000 60 UK inner London 44207"},
		{rating.TransferOut, "", "+4420****", may, 45_000, "0.030000 45 UK London 4420"},
		{rating.TransferOut, "", "+4", may, 45_000, "no_rate"},
		{rating.TransferOut, "", "+15551234567890123456", may, 30_000, "0.025000 30 US and Canada 1"},
		{rating.TollFreeIn, "", "+18005550100", may, 61_000, "0.044000 120 US toll-free 1800"},

		// Validity: half-open, at the answer time; the newest; then a shorter prefix.
		{rating.UserOut, "", "+33123456789", at(1, 31, 23), 60_000, "0.100000 60 France 33"},
		{rating.UserOut, "", "+33123456789", at(2, 1, 0), 60_000, "0.200000 60 France 33"},
		{rating.UserOut, "", "+33612345678", at(2, 28, 23), 60_000, "0.200000 60 France 33"},
		{rating.UserOut, "", "+33612345678", at(3, 1, 0), 60_000, "0.015000 60 France mobile offer 336"},
		{rating.UserOut, "", "+33612345678", at(3, 7, 23), 60_000, "0.015000 60 France mobile offer 336"},
		{rating.UserOut, "", "+33612345678", at(3, 8, 0), 60_000, "0.200000 60 France 33"},
		{rating.UserOut, "", "+33123456789", time.Date(2025, 12, 31, 23, 59, 59, 999, time.UTC), 1000, "no_rate"},

		// No country is nobody's home.
		{rating.UserOut, "", "+870123456789", may, 1_000, "8.500000 60 Satellite 870"},

		// Free, and why it cannot be priced.
		{rating.TollIn, "", "", may, 1_000, "free"},
		{rating.UserIn, "", "anonymous", may, 1_000, "free"},
		{rating.UserOut, "", "", may, 1_000, "missing_field"},
		{rating.UserOut, "", "anonymous", may, 1_000, "bad_number"},
		{rating.UserOut, "", "+99912345", may, 1_000, "no_rate"},
		{rating.VoiceAppOut, "", "+14255550123", may, 1_000, "no_rate"},
	} {
		c := &rating.CDR{Kind: test.kind, Home: test.home, Callee: test.callee, AnsweredAt: test.at, DurationMillis: test.millis}
		got, err := d.Price(c)
		var text string
		switch {
		case err != nil:
			text = string(reasonOf(err))
		case got == rating.Charge{Currency: "USD", Deck: version, Rule: 1}:
			text = "free"
		case got.Currency == "USD" && got.Deck == version:
			text = fmt.Sprintf("%s %d %s %s", got.Amount, got.ChargedSeconds, got.Destination, got.Prefix)
		}
		if text != test.want {
			t.Errorf("%s from %q to %q at %s: got %q, %v, want %q", test.kind, test.home, test.callee, test.at, text, err, test.want)
		}
	}
}

func TestFreeWithoutLookup(t *testing.T) {
	for name, d := range map[string]*rating.Decks{"no deck": {}, "a deck": load(t, flat("", "1", "1", 60, 60))} {
		for _, c := range []rating.CDR{
			{Kind: rating.UserOut, DurationMillis: 5000},
			{Kind: rating.UserOut, DurationMillis: -1},
			{Kind: rating.UserOut, AnsweredAt: answered},
			{Kind: rating.Emergency, AnsweredAt: answered, DurationMillis: 5000, Callee: "112"},
			{Kind: rating.Emergency, AnsweredAt: answered, DurationMillis: -1},
			{Kind: rating.Internal, AnsweredAt: answered, DurationMillis: math.MaxInt64, Callee: "bob"},
		} {
			if got, err := d.Price(&c); err != nil || got != (rating.Charge{}) {
				t.Errorf("%s: %+v: got %+v, %v", name, c, got, err)
			}
		}
	}
}

func TestFaultsBeforeLookup(t *testing.T) {
	d := load(t, flat("unrated: free", "1", "1", 60, 60))
	for _, test := range []struct {
		cdr  rating.CDR
		want rating.Reason
	}{
		{rating.CDR{}, rating.UnknownKind},
		{rating.CDR{Kind: "fax"}, rating.UnknownKind},
		{rating.CDR{Kind: "fax", AnsweredAt: answered, DurationMillis: -1}, rating.UnknownKind},
		{rating.CDR{Kind: rating.UserOut, AnsweredAt: answered, DurationMillis: -1}, rating.BadDuration},
		{rating.CDR{Kind: rating.UserOut, AnsweredAt: answered, DurationMillis: 1}, rating.MissingField},
		{rating.CDR{Kind: rating.TollIn, AnsweredAt: answered.AddDate(-10, 0, 0), DurationMillis: 1}, rating.NoRate},
	} {
		if got, err := d.Price(&test.cdr); reasonOf(err) != test.want || got != (rating.Charge{}) {
			t.Errorf("%+v: got %+v, %v, want %s", test.cdr, got, err, test.want)
		}
	}
}

func TestUnrated(t *testing.T) {
	table := "prefix,destination,country,setup_fee,price\n33,France,FR,0,1\n"
	calls := []*rating.CDR{
		{Kind: rating.UserOut, Callee: "+4912345", AnsweredAt: answered, DurationMillis: 1}, // no rate
		{Kind: rating.TollIn, AnsweredAt: answered, DurationMillis: 1},                      // no rule
	}
	for _, c := range calls {
		if _, err := load(t, oneTable("", table)).Price(c); reasonOf(err) != rating.NoRate {
			t.Errorf("%s is parked by default: got %v", c.Kind, err)
		}
		d := load(t, oneTable("unrated: free", table))
		want := rating.Charge{Currency: "USD", Deck: d.Versions()[0].Version}
		if got, err := d.Price(c); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want free", c.Kind, got, err)
		}
	}
}

func TestDefaultIncrementsAreAMinute(t *testing.T) {
	d := load(t, oneTable("", "price,setup_fee,country,destination,prefix\n0.6,0,,All,\n"))
	for millis, want := range map[int64]int64{1: 60, 60_000: 60, 60_001: 120} {
		if got, err := d.Price(userOut(millis)); err != nil || got.ChargedSeconds != want {
			t.Errorf("%d ms: got %+v, %v", millis, got, err)
		}
	}
}

// What a Fault says must be fit for a log.
func TestFaultsNameNoNumber(t *testing.T) {
	d := load(t, os.DirFS("testdata/example"))
	for _, callee := range []string{"+99912345", "12*34", "anonymous"} {
		_, err := d.Price(&rating.CDR{Kind: rating.UserOut, Account: "acme", Callee: callee, AnsweredAt: answered, DurationMillis: 1})
		var fault *rating.Fault
		if !errors.As(err, &fault) || fault.Message == "" {
			t.Fatalf("%s: got %v", callee, err)
		}
		for _, secret := range []string{callee, "99912345", "acme"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q names %q", err, secret)
			}
		}
	}
}
