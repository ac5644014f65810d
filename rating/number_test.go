package rating_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/creditstream/creditstream/rating"
)

func TestNormalise(t *testing.T) {
	for s, want := range map[string]string{
		"+442079460000":     "442079460000",
		"00442079460000":    "442079460000",
		"442079460000":      "442079460000",
		" +44 20 7946-0000": "442079460000",
		"+1 (425) 555.0123": "14255550123",
		"(+44) 20 7946":     "44207946",
		"tel:+44-20-7946;phone-context=example.com": "44207946",
		"TEL:0044207946": "44207946",
		"sip:+14255550123@example.com;user=phone":    "14255550123",
		"sips:+14255550123;ext=1@192.0.2.1:5061;x=y": "14255550123",
		"+14255550123;npdi":                          "14255550123",
		"+33123456****":                              "33123456",
		"+33 12 ** **":                               "3312",
		"112":                                        "112",
		"0":                                          "0",
		"0800123":                                    "0800123",
		strings.Repeat("1", 32):                      strings.Repeat("1", 32),
	} {
		if got, ok := rating.Digits(s); !ok || got != want {
			t.Errorf("%q: got %q, %v, want %q", s, got, ok, want)
		}
	}
}

func TestNormaliseRefuses(t *testing.T) {
	for _, s := range []string{
		"", " ", "+", "00", "000", "+00", "+0033123456789", "0000331", "tel:+0", "+*", "****", "anonymous", "+1-800-FLOWERS", "1x", "++1", "1+1", "*67123", "12*34", "12*+",
		"sip:anonymous@example.com", "sip:@example.com", "sip:192.0.2.1", "sip:+1", "mailto:1@example.com", "tel:", "tel:;x=1",
		"+44\u00a020", "\u0661\u0662", "1/2", "#31#", "12@example.com", "+44 (0)20 7946", "1\t2", strings.Repeat("1", 33),
	} {
		if got, ok := rating.Digits(s); ok {
			t.Errorf("%q was read as %q", s, got)
		}
	}
}

func TestNormaliseWritesDigitsAlone(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("0123+*() -.;:@sip"))))
	rapid.Check(t, func(t *rapid.T) {
		s := text.Draw(t, "s")
		got, ok := rating.Digits(s)
		if ok != (got != "") || strings.Trim(got, "0123456789") != "" {
			t.Fatalf("%q: got %q, %v", s, got, ok)
		}
		if again, _ := rating.Digits(got); ok && !strings.HasPrefix(got, "00") && again != got {
			t.Fatalf("%q: %q became %q", s, got, again)
		}
	})
}
