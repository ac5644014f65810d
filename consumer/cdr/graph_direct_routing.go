package cdr

import (
	"bytes"
	"time"

	"github.com/creditstream/creditstream/rating"
)

const (
	routedID = iota
	routedUser
	routedStart
	routedEnd
	routedSuccess
	routedCallType
	routedCaller
	routedCallee
	routedCountry
)

// graphDirectRouting is the directRoutingLogRow of Microsoft Graph.
func graphDirectRouting() spec {
	return spec{
		fields: []string{
			"id", "userId", "startDateTime", "endDateTime", "successfulCall", "callType", "callerNumber", "calleeNumber", "userCountryCode",
		},
		prepare: wordlessNulls, read: readDirectRouting,
	}
}

// readDirectRouting reads a row. Its duration is not looked at: it may include
// the ringing. Its start alone says nothing: a call that failed has one too.
func readDirectRouting(r *row) {
	r.take(id, routedID)
	r.take(user, routedUser)
	r.take(caller, routedCaller)
	r.take(callee, routedCallee)
	r.take(homeCountry, routedCountry)
	r.kind(routedCallType, routedKind(r.text(routedCallType)))
	switch success := r.text(routedSuccess); {
	case !r.has(routedSuccess):
		r.fail(rating.MissingField, routedSuccess, "is absent; expected true or false")
		return
	case bytes.EqualFold(success, []byte("false")), bytes.EqualFold(success, []byte("no")):
		return
	case !bytes.EqualFold(success, []byte("true")) && !bytes.EqualFold(success, []byte("yes")):
		r.fail(rating.BadField, routedSuccess, "is neither; expected true or false")
		return
	}
	start, ok := r.instant(routedStart, time.UTC)
	if !ok {
		r.fail(rating.MissingField, routedStart, "is absent from a call that was answered; expected when it began")
		return
	}
	end, ok := r.instant(routedEnd, time.UTC)
	if !ok {
		r.partial(routedEnd)
		return
	}
	r.answeredAt = start
	r.between(end, routedEnd)
}

// routedKind returns the kind of a type of call, or none: ByotOutUserForwarding
// and dr_out_user_forwarding are the same.
func routedKind(callType []byte) rating.Kind {
	var buf [48]byte
	letters := buf[:0]
	for _, c := range callType {
		if isLetter(c) && len(letters) < len(buf) {
			letters = append(letters, c|0x20)
		}
	}
	rest, ok := bytes.CutPrefix(letters, []byte("byot"))
	if !ok {
		rest, ok = bytes.CutPrefix(letters, []byte("dr"))
	}
	if !ok {
		return ""
	}
	switch string(rest) {
	case "in", "unassignedin":
		return rating.UserIn
	case "out", "outuserconf":
		return rating.UserOut
	case "outuserforwarding":
		return rating.ForwardOut
	case "outusertransfer":
		return rating.TransferOut
	case "emergencyout", "outemergency":
		return rating.Emergency
	case "inucap", "inbot":
		return rating.VoiceAppIn
	case "outucap", "outbot":
		return rating.VoiceAppOut
	}
	return ""
}
