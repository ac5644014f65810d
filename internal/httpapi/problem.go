package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// The reasons of problems other than refusals of a command: the last part of a
// problem's type. Problems with the form of a request (400, 408, 413, 415, 422)
// that huma finds have no type of their own.
const (
	reasonInternal        = "internal_error"
	reasonNoRoute         = "no_such_route"
	reasonHead            = "head_too_large"
	reasonMethod          = "method_not_allowed"
	reasonCrossOrigin     = "cross_origin"
	reasonUnknown         = "unknown_account"
	reasonNeedsCurrency   = "currency_required"
	reasonTwoKeys         = "idempotency_key_twice"
	reasonBody            = "body_unreadable"
	reasonNotApplied      = "not_applied"
	reasonInvalid         = "invalid"
	reasonKeyConflict     = "idempotency_key_reused"
	reasonAboveLimit      = "above_max_purchase"
	reasonNotPayable      = "amount_not_payable"
	reasonMoneyLeft       = "money_left"
	reasonRechargePending = "recharge_pending"
	reasonLogAway         = "log_unavailable"
	reasonStoreAway       = "balances_unavailable"
	reasonNotReady        = "not_ready"
)

// reasonOf returns the last part of a problem's type; "" if it has none of ours.
func reasonOf(p *huma.ErrorModel) string {
	reason, _ := strings.CutPrefix(p.Type, problemPrefix)
	return reason
}

const problemPrefix = "urn:creditstream:problem:"

func problem(status int, reason, format string, a ...any) *huma.ErrorModel {
	return &huma.ErrorModel{
		Type: problemPrefix + reason, Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, a...),
	}
}

// writeProblem answers where huma does not: before and after its routes.
func writeProblem(w http.ResponseWriter, p *huma.ErrorModel) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone: nobody is left to be told
}
