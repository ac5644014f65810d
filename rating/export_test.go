package rating

// Normalise is normalise with a buffer of its own.
func Normalise(s string) (string, bool) {
	var buf [maxDigits]byte
	digits, ok := normalise(s, &buf)
	return string(digits), ok
}
