package balance

// A DeclineClass says what a declined payment means for the next one.
type DeclineClass string

// Decline classes: a soft one is tried again later, the others need a person.
const (
	Soft           DeclineClass = "soft"
	Hard           DeclineClass = "hard"
	RequiresAction DeclineClass = "requires_action"
)

// ClassOf classes the decline codes that payment services use. A code that is
// not known is soft: it is tried again, twice at the most.
func ClassOf(code string) DeclineClass {
	switch code {
	case "expired_card", "stolen_card", "lost_card", "pickup_card", "card_not_supported", "invalid_account",
		"invalid_number", "incorrect_number", "incorrect_cvc", "invalid_cvc", "restricted_card", "fraudulent",
		"payment_method_missing", "currency_not_supported", "no_such_payment_method", "do_not_try_again":
		return Hard
	case "authentication_required", "requires_action", "approve_with_id":
		return RequiresAction
	}
	return Soft
}
