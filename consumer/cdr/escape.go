package cdr

import (
	"unicode/utf16"
	"unicode/utf8"
)

// escape returns the width of the escape sequence, or surrogate pair of them,
// that b begins with: 0 when it is none, and paired false when it is half a pair.
func escape(b []byte) (width int, paired bool) {
	if len(b) < 2 {
		return 0, false
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, true
	case 'u':
		r := hex4(b[2:])
		switch {
		case r < 0:
			return 0, false
		case !utf16.IsSurrogate(r):
			return 6, true
		case pair(r, b[6:]) != utf8.RuneError:
			return 12, true
		}
		return 6, false
	}
	return 0, false
}

// pair returns the character that the surrogate high and the escape sequence
// at the start of b make together, or utf8.RuneError when they make none.
func pair(high rune, b []byte) rune {
	if len(b) < 2 || b[0] != '\\' || b[1] != 'u' {
		return utf8.RuneError
	}
	return utf16.DecodeRune(high, hex4(b[2:]))
}

// hex4 returns the value of the four hex digits that b begins with, or -1.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, d := range b[:4] {
		switch {
		case '0' <= d && d <= '9':
			d -= '0'
		case 'a' <= d && d <= 'f':
			d -= 'a' - 10
		case 'A' <= d && d <= 'F':
			d -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(d)
	}
	return r
}

// unescape appends to dst the characters that raw, the inside of a checked
// string, stands for. It stops soon after dst is longer than limit.
func unescape(dst, raw []byte, limit int) []byte {
	for i := 0; i < len(raw) && len(dst) <= limit; {
		b := raw[i]
		if b != '\\' {
			dst = append(dst, b)
			i++
			continue
		}
		b = raw[i+1]
		i += 2
		switch b {
		case 'b':
			b = '\b'
		case 'f':
			b = '\f'
		case 'n':
			b = '\n'
		case 'r':
			b = '\r'
		case 't':
			b = '\t'
		case 'u':
			r := hex4(raw[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				r = pair(r, raw[i:])
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, b)
	}
	return dst
}
