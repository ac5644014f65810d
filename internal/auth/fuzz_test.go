package auth_test

import (
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"github.com/creditstream/creditstream/internal/auth"
)

// What is read from the header is in it, is one visible word, and stands after the
// scheme.
func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{
		"Bearer cst_abc", "bearer x", "Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "Bearer \x00", "Bearer é", " Bearer x", "Bearer  x ",
		"Bearer " + strings.Repeat("a", 256), "Bearer " + strings.Repeat("a", 257),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		secret, ok := auth.Bearer([]string{header})
		if !ok {
			if secret != "" {
				t.Errorf("%q: refused, with %q", header, secret)
			}
			return
		}
		if len(secret) == 0 || len(secret) > 256 || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q: took %q", header, secret)
		}
		if rest := strings.Trim(header[len("bearer"):], " "); !strings.EqualFold(header[:len("bearer ")], "bearer ") || rest != secret {
			t.Errorf("%q: took %q, expected %q", header, secret, rest)
		}
	})
}

// A signature that is read says what the header says: written again it is the same
// but for case and spaces.
func FuzzSignature(f *testing.F) {
	mac := strings.Repeat("0a", 32)
	for _, seed := range []string{
		"t=1778068800,v1=" + mac, "t=1, v1=" + strings.ToUpper(mac), "t=01,v1=" + mac, "t=1,v1=", "v1=" + mac + ",t=1", "t=1,t=2,v1=" + mac,
		"t=1099511627775,v1=" + mac, "t=1099511627776,v1=" + mac, "t=1_0,v1=" + mac, "t=0x1,v1=" + mac,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		seconds, unix, mac, err := auth.ParseSignature(header)
		if err != nil {
			return
		}
		if again := "t=" + seconds + ",v1=" + hex.EncodeToString(mac); !strings.EqualFold(again, strings.ReplaceAll(header, " ", "")) {
			t.Errorf("%q was read as %q", header, again)
		}
		if trimmed := strings.TrimLeft(seconds, "0"); unix < 0 || (trimmed != strconv.FormatInt(unix, 10) && unix != 0) {
			t.Errorf("%q: seconds %q are %d", header, seconds, unix)
		}
	})
}
