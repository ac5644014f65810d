package rating

import "strings"

// maxDigits is the longest number that is read. E.164 allows 15 digits; the
// rest is room for what switches append to it.
const maxDigits = 32

// Digits reads a dialled number as Price does: its international digits, without
// "+" or "00"; of one with a masked tail those that are visible. It reports false
// if s cannot be read.
func Digits(s string) (string, bool) {
	var buf [maxDigits]byte
	digits, ok := normalise(s, &buf)
	return string(digits), ok
}

// normalise reads a dialled number into its international digits, without "+"
// or "00", and returns the part of buf that it filled. Digits without either
// are international already. It reports false if s cannot be read: no digits, a
// letter, a country code that begins with 0, anything unexpected.
//
// It takes a tel: URI; the user part of a sip: or sips: URI; drops parameters
// after ";"; skips spaces, dashes, dots and parentheses; and of a number with a
// masked tail (+33123456****) it returns the digits that are visible.
func normalise(s string, buf *[maxDigits]byte) ([]byte, bool) {
	s, ok := dialled(s)
	if !ok {
		return nil, false
	}
	n := 0
	plus, masked := false, false
	for i := range len(s) {
		switch b := s[i]; {
		case '0' <= b && b <= '9':
			if masked || n == maxDigits {
				return nil, false
			}
			buf[n] = b
			n++
		case b == '+':
			if plus || n > 0 {
				return nil, false
			}
			plus = true
		case b == '*':
			masked = true
		case b == '(' && strings.HasPrefix(s[i:], "(0)"):
			// +44 (0)20 drops that zero, +39 (0)6 keeps it: it cannot be told.
			return nil, false
		case b == ' ', b == '-', b == '.', b == '(', b == ')':
		default:
			return nil, false
		}
	}
	digits := buf[:n]
	if !plus && n >= 2 && digits[0] == '0' && digits[1] == '0' {
		digits, plus = digits[2:], true
	}
	if plus && len(digits) > 0 && digits[0] == '0' {
		return nil, false // no country code begins with 0
	}
	return digits, len(digits) > 0
}

// dialled returns what was dialled: s without a URI's scheme, host and
// parameters. It reports false if a SIP URI has no user part.
func dialled(s string) (string, bool) {
	if scheme, rest, found := strings.Cut(s, ":"); found {
		switch {
		case strings.EqualFold(scheme, "tel"):
			s = rest
		case strings.EqualFold(scheme, "sip"), strings.EqualFold(scheme, "sips"):
			// Without "@" it is a host, and an IP address looks like a number.
			if s, _, found = strings.Cut(rest, "@"); !found {
				return "", false
			}
		default:
			return "", false
		}
	}
	s, _, _ = strings.Cut(s, ";")
	return s, true
}
