package balance

import (
	"strings"

	"github.com/creditstream/creditstream/rating"
)

// ValidCurrency reports whether s looks like an ISO 4217 code.
func ValidCurrency(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// MinorUnit is the smallest amount that can be paid in a currency, by the minor
// unit of ISO 4217: a hundredth where the standard says nothing else.
func MinorUnit(currency string) rating.Micros {
	switch currency {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF":
		return 1_000_000
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 1_000
	case "CLF", "UYW":
		return 100
	}
	return 10_000
}
