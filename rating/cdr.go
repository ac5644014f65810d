package rating

import (
	"slices"
	"time"
)

// A Kind says what sort of call a CDR describes. The set is closed: see Kinds.
type Kind string

// The kinds of call.
const (
	TollFreeIn       Kind = "toll_free_in"
	TollIn           Kind = "toll_in"
	ConferenceOut    Kind = "conference_out"
	ConferenceCallMe Kind = "conference_call_me"
	UserOut          Kind = "user_out"
	UserIn           Kind = "user_in"
	ForwardOut       Kind = "forward_out"
	TransferOut      Kind = "transfer_out"
	VoiceAppIn       Kind = "voice_app_in"
	VoiceAppOut      Kind = "voice_app_out"
	Emergency        Kind = "emergency"
	Internal         Kind = "internal"
)

// Kinds returns every kind, in the order of the documentation.
func Kinds() []Kind {
	return []Kind{
		TollFreeIn, TollIn, ConferenceOut, ConferenceCallMe, UserOut, UserIn,
		ForwardOut, TransferOut, VoiceAppIn, VoiceAppOut, Emergency, Internal,
	}
}

// PaidKinds returns the kinds that are not AlwaysFree: calls of these are refused
// to an account without money, unless the deck in force makes them free.
func PaidKinds() []Kind {
	return slices.DeleteFunc(Kinds(), Kind.AlwaysFree)
}

// Valid reports whether k is one of Kinds.
func (k Kind) Valid() bool {
	switch k {
	case TollFreeIn, TollIn, ConferenceOut, ConferenceCallMe, UserOut, UserIn,
		ForwardOut, TransferOut, VoiceAppIn, VoiceAppOut, Emergency, Internal:
		return true
	}
	return false
}

// AlwaysFree reports whether calls of this kind cost nothing and are never
// refused, whatever the account or the deck says: emergency and internal calls.
func (k Kind) AlwaysFree() bool { return k == Emergency || k == Internal }

// Outbound reports whether the callee of such a call is one that somebody chose to
// dial, not a number of the account's own: what may be blocked as a destination.
func (k Kind) Outbound() bool {
	switch k {
	case ConferenceOut, ConferenceCallMe, UserOut, ForwardOut, TransferOut, VoiceAppOut:
		return true
	case TollFreeIn, TollIn, UserIn, VoiceAppIn, Emergency, Internal:
	}
	return false
}

// A CDR is one finished call as a switch told it, in canonical form.
type CDR struct {
	ID      string // unique within Source
	Source  string // the switch that wrote it
	Account string // [A-Za-z0-9._@-]{1,64}
	User    string // optional
	Kind    Kind
	Caller  string // optional, as dialled
	Callee  string // as dialled; required where the deck matches on it
	Home    string // home country, two letters; empty means the deck's

	// AnsweredAt is when the call was answered, in UTC. The zero time means
	// that it never was: then it costs nothing.
	AnsweredAt time.Time
	// DurationMillis is the time from answer to end, in milliseconds, >= 0.
	DurationMillis int64
}

// Answered reports whether the call was answered.
func (c *CDR) Answered() bool { return !c.AnsweredAt.IsZero() }

// A Charge is what one call costs and why. Its JSON form is a part of what the
// API and the command line answer.
type Charge struct {
	Destination    string `json:"destination"` // name of the matched rate
	Prefix         string `json:"prefix"`      // matched prefix, digits
	Band           string `json:"band"`        // band of the matched rate; empty: it is for any time
	ChargedSeconds int64  `json:"charged_seconds"`
	Amount         Micros `json:"charge"`   // >= 0; zero means free
	Currency       string `json:"currency"` // ISO 4217; empty when no price was looked up
	Deck           string `json:"deck"`     // version of the deck: its content hash
	Rule           int    `json:"rule"`     // of deck.yaml, from 1; 0 when none matched or none was looked for
}

// A Reason says why a record was parked. The set is closed: see Reasons.
type Reason string

// Reasons to park a record.
const (
	NotParked        Reason = ""
	NotJSON          Reason = "not_json"
	MissingField     Reason = "missing_field"
	BadField         Reason = "bad_field"
	UnknownAccount   Reason = "unknown_account"
	UnknownKind      Reason = "unknown_kind"
	BadNumber        Reason = "bad_number"
	NoRate           Reason = "no_rate"
	BadDuration      Reason = "bad_duration" // negative, or longer than the limit
	TooOld           Reason = "too_old"      // older than the id window
	CurrencyMismatch Reason = "currency_mismatch"
	OutOfBounds      Reason = "out_of_bounds"
	BadCommand       Reason = "bad_command" // a record of credit-commands that is no command

	// Of records in a format other than the canonical one.
	NotCSV        Reason = "not_csv"
	BadFormat     Reason = "bad_format"     // in a format, or of a source, that is not configured
	SeveralCalls  Reason = "several_calls"  // a page or a file where one call is expected
	PartialRecord Reason = "partial_record" // of a call that had not ended
	NoZone        Reason = "no_zone"        // a time without zone, of a source without one
)

// Reasons returns every reason to park a record.
func Reasons() []Reason {
	return []Reason{
		NotJSON, MissingField, BadField, UnknownAccount, UnknownKind, BadNumber, NoRate,
		BadDuration, TooOld, CurrencyMismatch, OutOfBounds, BadCommand,
		NotCSV, BadFormat, SeveralCalls, PartialRecord, NoZone,
	}
}
