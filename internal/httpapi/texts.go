package httpapi

import (
	"github.com/danielgtaylor/huma/v2"

	"github.com/creditstream/creditstream/balance"
)

// The texts that requests carry, each with its grammar in the OpenAPI document.
type (
	accountID      string // as balance.ValidAccount has it
	amount         string // a decimal text, never a JSON number: those are floats to many
	signedAmount   string // an amount that may be below zero
	level          string // an amount, or a percentage of the last purchase
	prefix         string // what international numbers begin with
	currencyCode   string
	idempotencyKey string // shorter than a word: a command's id has something before it
	word           string // one word of visible ASCII
	oneLine        string // for people, on one line
)

const (
	visible            = `^[!-~]+$`
	visibleDescription = "visible ASCII characters without spaces"
)

// Schema implements huma.SchemaProvider.
func (accountID) Schema(huma.Registry) *huma.Schema {
	return text(`^[A-Za-z0-9._@-]{1,64}$`, "an account: 1 to 64 letters, digits and ._@-", "acme", 64)
}

// Schema says what rating.ParseMicros reads, without a sign.
func (amount) Schema(huma.Registry) *huma.Schema {
	return text(`^[0-9]+(\.[0-9]{1,6})?$`, `an amount such as "12.50": digits, and at most six after the dot`, "20.00", 32)
}

// Schema says what rating.ParseMicros reads.
func (signedAmount) Schema(huma.Registry) *huma.Schema {
	return text(`^-?[0-9]+(\.[0-9]{1,6})?$`, `an amount such as "12.50" or "-12.50": digits, and at most six after the dot`, "-4.20", 32)
}

// Schema says what balance.ParseLevel reads, without a sign.
func (level) Schema(huma.Registry) *huma.Schema {
	return text(`^([0-9]+(\.[0-9]{1,6})?|[1-9][0-9]?%|100%)$`, `an amount such as "12.50", or a percentage of the last purchase such as "15%"`, "20.00", 32)
}

// Schema implements huma.SchemaProvider.
func (prefix) Schema(huma.Registry) *huma.Schema {
	return text(`^[0-9]+$`, "the first digits of an international number, without +", "882", balance.MaxPrefixDigits)
}

// Schema implements huma.SchemaProvider.
func (currencyCode) Schema(huma.Registry) *huma.Schema {
	return text(`^[A-Z]{3}$`, "three capital letters (ISO 4217)", "USD", 3)
}

// Schema implements huma.SchemaProvider.
func (idempotencyKey) Schema(huma.Registry) *huma.Schema {
	return text(visible, visibleDescription, "invoice-2026-0117", 100)
}

// Schema implements huma.SchemaProvider.
func (word) Schema(huma.Registry) *huma.Schema {
	return text(visible, visibleDescription, "pm_1", balance.MaxTextBytes)
}

// Schema implements huma.SchemaProvider. Control characters are refused when the
// command is made.
func (oneLine) Schema(huma.Registry) *huma.Schema {
	return text(`\S`, "a text on one line", "ticket 4711", balance.MaxReasonBytes)
}

func text(pattern, description, example string, longest int) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Pattern: pattern, PatternDescription: description, MaxLength: &longest, Examples: []any{example},
	}
}
