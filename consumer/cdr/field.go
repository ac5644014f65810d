package cdr

import "strconv"

// A field is a known member of a canonical CDR.
type field uint8

// The fields, in the order in which absent ones are reported.
const (
	id field = iota
	source
	account
	kind
	durationMillis
	user
	caller
	callee
	homeCountry
	answeredAt
	unknown // every other member
)

// fieldNamed returns the field of that exact name, or unknown.
func fieldNamed(name []byte) field {
	switch string(name) {
	case "id":
		return id
	case "source":
		return source
	case "account":
		return account
	case "kind":
		return kind
	case "duration_ms":
		return durationMillis
	case "user":
		return user
	case "caller":
		return caller
	case "callee":
		return callee
	case "home_country":
		return homeCountry
	case "answered_at":
		return answeredAt
	}
	return unknown
}

// A rule says what a field may hold.
type rule struct {
	name     string
	required bool
	maxBytes uint16 // texts only
	content  content
}

// ruleOf returns the rule of a field other than unknown.
func ruleOf(f field) rule {
	switch f {
	case id:
		return rule{"id", true, MaxIDBytes, printable}
	case source:
		return rule{"source", true, MaxSourceBytes, printable}
	case account:
		return rule{"account", true, MaxAccountBytes, accountID}
	case kind:
		return rule{"kind", true, 0, kindOfCall}
	case durationMillis:
		return rule{"duration_ms", true, 0, millis}
	case user:
		return rule{"user", false, MaxUserBytes, printable}
	case caller:
		return rule{"caller", false, MaxNumberBytes, anything}
	case callee:
		return rule{"callee", false, MaxNumberBytes, anything}
	case homeCountry:
		return rule{"home_country", false, countryBytes, country}
	case answeredAt:
		return rule{"answered_at", false, 0, instant}
	case unknown:
	}
	return rule{}
}

// A content is what the value of a field is made of.
type content uint8

const (
	anything content = iota
	printable
	accountID
	country
	kindOfCall // checked by decoder.kind
	millis     // checked by decoder.duration
	instant    // checked by decoder.answered
)

// expected says what the rule asks for, to follow the word "expected".
func (r rule) expected() string {
	switch r.content {
	case anything:
		return "a string of at most " + strconv.Itoa(int(r.maxBytes)) + " bytes"
	case printable:
		return "a string of at most " + strconv.Itoa(int(r.maxBytes)) + " bytes without control characters"
	case accountID:
		return "1 to " + strconv.Itoa(int(r.maxBytes)) + " of A-Z a-z 0-9 . _ @ -"
	case country:
		return "two letters A-Z a-z"
	case kindOfCall:
		return "a kind of call"
	case millis:
		return "a whole number of milliseconds"
	case instant:
		return "a time of RFC 3339"
	}
	return ""
}

// allows reports whether raw, valid UTF-8 that is neither empty nor too long,
// is made of what the rule asks for.
func (r rule) allows(raw []byte) bool {
	switch r.content {
	case printable:
		return !hasControl(raw)
	case accountID:
		return isAccount(raw)
	case country:
		return len(raw) == countryBytes && isLetter(raw[0]) && isLetter(raw[1])
	case anything, kindOfCall, millis, instant:
	}
	return true
}

func isLetter(b byte) bool { return b|0x20-'a' < 26 }

func isAccount(raw []byte) bool {
	for _, b := range raw {
		switch {
		case isLetter(b), '0' <= b && b <= '9', b == '.', b == '_', b == '@', b == '-':
		default:
			return false
		}
	}
	return true
}

// hasControl reports whether raw holds a control character: C0, DEL or C1.
func hasControl(raw []byte) bool {
	for i, b := range raw {
		// In valid UTF-8 a 0xC2 has a next byte, and below 0xA0 that makes C1.
		if b < ' ' || b == 0x7f || b == 0xc2 && i+1 < len(raw) && raw[i+1] < 0xa0 {
			return true
		}
	}
	return false
}

// A fieldSet is a set of fields.
type fieldSet uint16

func (s *fieldSet) has(f field) bool { return *s&(1<<f) != 0 }
func (s *fieldSet) add(f field)      { *s |= 1 << f }
