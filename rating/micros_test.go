package rating_test

import (
	"encoding/json"
	"math"
	"regexp"
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/creditstream/creditstream/rating"
)

func TestParseMicros(t *testing.T) {
	for s, want := range map[string]rating.Micros{
		"0":                                      0,
		"-0":                                     0,
		"-0.000000":                              0,
		"1":                                      1_000_000,
		"12.3456":                                12_345_600,
		"-0.000001":                              -1,
		"007.5":                                  7_500_000,
		"9000000000":                             rating.MaxTotal,
		"-9000000000.000000":                     -rating.MaxTotal,
		"00000000000000000000000000000000000001": 1_000_000,
	} {
		if got, err := rating.ParseMicros(s); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "-", ".", "1.", ".5", "-.5", "1.2.3", "1..2", "+1", "--1", "1e3", "1E-2", "0x1", "1,000", "1_000", " 1", "1 ", "1\n",
		"NaN", "Inf", "\u22121", "\u0661", "\uff11", "1.\u0661", "1.0000000", "1.1234567",
		"9000000000.000001", "-9000000000.000001", "9000000001", "18446744073709.551616", "99999999999999999999999999",
	} {
		if got, err := rating.ParseMicros(s); err == nil {
			t.Errorf("%q: got %d, want an error", s, got)
		}
	}
}

func TestMicrosString(t *testing.T) {
	for m, want := range map[rating.Micros]string{
		0:               "0.000000",
		-1:              "-0.000001",
		12_345_600:      "12.345600",
		-1_000_000:      "-1.000000",
		math.MinInt64:   "-9223372036854.775808",
		math.MaxInt64:   "9223372036854.775807",
		rating.MaxTotal: "9000000000.000000",
	} {
		if got := m.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestMicrosJSON(t *testing.T) {
	type wire struct{ Amount rating.Micros }
	text, err := json.Marshal(wire{-1_500_000})
	if err != nil || string(text) != `{"Amount":"-1.500000"}` {
		t.Errorf("got %s, %v", text, err)
	}
	var back wire
	if err := json.Unmarshal(text, &back); err != nil || back.Amount != -1_500_000 {
		t.Errorf("got %d, %v", back.Amount, err)
	}
	for _, bad := range []string{`{"Amount":1.5}`, `{"Amount":"1.5e3"}`, `{"Amount":""}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestMicrosGoRoundAndAgreeWithDecimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rating.Micros(rapid.Int64Range(int64(-rating.MaxTotal), int64(rating.MaxTotal)).Draw(t, "micros"))
		s := m.String()
		if want := decimal.New(int64(m), -6).StringFixed(6); s != want {
			t.Fatalf("got %s, want %s", s, want)
		}
		if back, err := rating.ParseMicros(s); err != nil || back != m {
			t.Fatalf("%s came back as %d, %v", s, back, err)
		}
	})
}

func TestParseMicrosReadsItsGrammarAlone(t *testing.T) {
	grammar := regexp.MustCompile(`\A-?[0-9]+(\.[0-9]{1,6})?\z`)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.RuneFrom([]rune("0019.-+e ")), 0, 9, -1).Draw(t, "s")
		if _, err := rating.ParseMicros(s); (err == nil) != grammar.MatchString(s) {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

func TestAppendToDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 32)
	if n := testing.AllocsPerRun(100, func() { buf = rating.Micros(-12_345_678).AppendTo(buf[:0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
