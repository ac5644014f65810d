package cdr

import (
	"bytes"
	"time"

	"github.com/creditstream/creditstream/rating"
)

// Slots of rows of Microsoft's calls to and from telephone numbers, as Graph and
// as the export of the admin centre write them.
const (
	pstnID = iota
	pstnUser
	pstnStart
	pstnEnd
	pstnDuration
	pstnCallType
	pstnCaller
	pstnCallee
	pstnCountry
	pstnTenantCountry
	pstnInventory
	pstnMeasuredBy
)

// graphPSTN is the pstnCallLogRow of Microsoft Graph.
func graphPSTN() spec {
	return spec{
		fields: []string{
			"id", "userId", "startDateTime", "endDateTime", "duration", "callType", "callerNumber", "calleeNumber",
			"usageCountryCode", "tenantCountryCode", "inventoryType", "callDurationSource",
		},
		prepare: wordlessNulls, read: readPSTN,
	}
}

// wordlessNulls drops texts that say that there is none, as tools between Graph
// and us write them.
func wordlessNulls(r *row) {
	for i := range r.plan.names {
		if v := &r.vals[i]; string(v.text) == "None" || string(v.text) == "null" {
			*v = value{}
		}
	}
}

// readPSTN reads a row. It says nowhere whether the call was answered; rows are
// of what was connected and charged, and one of a call that was not lasts no time.
func readPSTN(r *row) {
	r.take(id, pstnID)
	r.take(user, pstnUser)
	r.take(caller, pstnCaller)
	r.take(callee, pstnCallee)
	r.take(homeCountry, pstnCountry, pstnTenantCountry)
	r.kind(pstnCallType, pstnKind(r.text(pstnCallType), isTollFree(r.text(pstnInventory))))
	r.duration(measure{pstnDuration, time.Second})
	if !r.over() {
		r.timed()
	}
}

// timed reads the times of a row, and how long the call was from them: they are finer
// than the whole seconds of its duration, unless they tell of something else. What
// the operator measured is what it charges.
func (r *row) timed() {
	seconds := r.millis
	start, began := r.instant(pstnStart, time.UTC)
	end, ended := r.instant(pstnEnd, time.UTC)
	operator := string(r.text(pstnMeasuredBy)) == "operator"
	switch whole := end.Sub(start); {
	case r.over():
		return
	case seconds == 0 && (operator || !began || !ended || whole < time.Millisecond || whole >= time.Second):
		return
	case !began:
		r.fail(rating.MissingField, pstnStart, "is absent from a call that lasted; expected when it began")
		return
	}
	r.answeredAt = start
	switch {
	case !r.ended(pstnEnd) || operator && !ended:
		return
	case !ended:
		r.partial(pstnEnd)
		return
	}
	if r.between(end, pstnEnd); operator || r.millis >= seconds+1000 || r.millis <= seconds-1000 {
		r.millis = seconds
	}
}

// pstnKind returns the kind of a type of call, or none.
func pstnKind(callType []byte, tollFree bool) rating.Kind { //nolint:revive // what the row says, not a mode
	inbound := func(k rating.Kind) rating.Kind {
		if tollFree {
			return rating.TollFreeIn
		}
		return k
	}
	switch string(callType) {
	case "user_in":
		return rating.UserIn
	case "user_out", "user_out_conf":
		return rating.UserOut
	case "user_out_transfer":
		return rating.TransferOut
	case "user_out_forwarding":
		return rating.ForwardOut
	case "conf_in":
		return inbound(rating.TollIn)
	case "conf_out":
		return rating.ConferenceOut
	case "ucap_in":
		return inbound(rating.VoiceAppIn)
	case "ucap_out":
		return rating.VoiceAppOut
	case "unassigned_in":
		return inbound(rating.UserIn)
	}
	return ""
}

// isTollFree reports whether a type of number is one that is free to call,
// however it is spelt.
func isTollFree(inventory []byte) bool {
	var buf [64]byte
	letters := buf[:0]
	for _, c := range inventory {
		if isLetter(c) && len(letters) < len(buf) {
			letters = append(letters, c|0x20)
		}
	}
	return bytes.Contains(letters, []byte("tollfree"))
}
