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
	case "already_credited", "already_answered", "already_closed":
		return nil
	case "account_closed":
		text = `The account is closed: send "reopen": true to open it again. Nothing changed.`
	case "currency_is_fixed":
		text = "The currency of an account cannot be changed. Nothing changed."
	case "auto_recharge_incomplete":
		status = http.StatusUnprocessableEntity
		text = "Enabled auto_recharge needs trigger, amount and payment_method: give those that are missing. Nothing changed."
	case "cap_below_amount":
		status = http.StatusUnprocessableEntity
		text = "A cap on money is lower than auto_recharge.amount, so nothing would ever be bought: raise the cap, or lower the amount. Nothing changed."
	case "already_expired":
		status = http.StatusUnprocessableEntity
		text = "expires_at has passed: give a time to come. Nothing changed."
	case "not_suspended":
		text = "Auto-recharge is neither suspended nor cooling, so there is nothing to resume. Nothing changed."
	case "not_unresolved":
		text = "This recharge is not the unresolved one of its account: it has its result, or was abandoned, or may still get one within 15 minutes of the request. Nothing changed."
	case "out_of_bounds":
		text = "All money ever added to the account, or all that adjustments took from it, would exceed what can be counted exactly. Nothing changed."
	case "no_request":
		text = "No recharge of this number was requested. Nothing changed; an alert was published."
	case "currency_mismatch":
		text = "The account is kept in another currency. Nothing changed."
		if c.Type != balance.Result {
			break
		}
		text = "The payment is not in the account's currency. Nothing was credited; an alert was published."
	default:
		text = "The command " + string(c.Type) + " was refused: " + code + "."
	}
	return problem(status, code, "%s", text)
}
