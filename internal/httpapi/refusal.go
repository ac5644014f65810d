package httpapi

import (
	"net/http"

	"github.com/creditstream/creditstream/balance"
)

// refusal says what a command's refusal means to the client: nil when the command
// had been carried out before and a repeat is fine. A code that is not in the
// table comes from a newer version of the scripts and is passed on as it is.
func refusal(code string, c *balance.Command) error {
	status := http.StatusConflict
	var text string
	switch code {
	case "already_credited", "already_answered":
		return nil
	case "currency_is_fixed":
		text = "The currency of an account cannot be changed. Nothing changed."
	case "auto_recharge_incomplete":
		status = http.StatusUnprocessableEntity
		text = "Enabled auto_recharge needs trigger, amount and payment_method: give those that are missing. Nothing changed."
	case "out_of_bounds":
		text = "All money ever added to the account would exceed what can be counted exactly. Nothing changed."
	case "no_request":
		text = "No recharge of this number was requested. Nothing changed; an alert was published."
	case "currency_mismatch":
		text = "The payment is not in the account's currency. Nothing was credited; an alert was published."
	default:
		text = "The command " + string(c.Type) + " was refused: " + code + "."
	}
	return problem(status, code, "%s", text)
}
