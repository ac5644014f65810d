package cdr

import (
	"time"

	"github.com/creditstream/creditstream/rating"
)

const (
	sipsEvent = iota
	sipsCallID
	sipsFromTag
	sipsToTag
	sipsCode
	sipsTime
	sipsMillis
	sipsSeconds
)

// openSIPS is the event E_ACC_CDR of OpenSIPS's acc module, as event_kafka
// publishes it: a JSON-RPC notification.
func openSIPS() spec {
	return spec{
		fields: []string{
			"method", "params.callid", "params.from_tag", "params.to_tag", "params.sip_code", "params.time",
			"params.ms_duration", "params.duration",
		},
		read: readOpenSIPS,
	}
}

// readOpenSIPS reads an event. With accounting by legs it is raised once for each
// leg; as they have one id and one answer time, all but the first are duplicates.
func readOpenSIPS(r *row) {
	switch event := string(r.text(sipsEvent)); event {
	case "E_ACC_CDR":
	case "E_ACC_MISSED_EVENT":
		r.skipped("E_ACC_MISSED_EVENT: a call that nobody answered")
		return
	case "E_ACC_EVENT":
		r.skipped("E_ACC_EVENT: a transaction; the call has an E_ACC_CDR of its own")
		return
	case "":
		r.fail(rating.MissingField, sipsEvent, "is absent; expected E_ACC_CDR")
		return
	default:
		r.fail(rating.BadField, sipsEvent, "is another event; expected E_ACC_CDR")
		return
	}
	r.dialog(sipsCallID, sipsFromTag, sipsToTag)
	if !r.succeeded(sipsCode) {
		return
	}
	answered, ok := r.epoch(sipsTime, time.Second)
	if !ok {
		r.fail(rating.MissingField, sipsTime, "is absent from a call that was answered; expected when that was")
		return
	}
	r.answeredAt = answered
	r.duration(measure{sipsMillis, time.Millisecond}, measure{sipsSeconds, time.Second})
}

// dialog takes as id what names a SIP dialog: its Call-ID, with its tags if they
// are there.
func (r *row) dialog(callID, fromTag, toTag int) {
	if r.has(fromTag) && r.has(toTag) {
		r.members[id] = r.joined([]int{callID, fromTag, toTag})
		return
	}
	r.take(id, callID)
}

// succeeded reads the code of the final answer of SIP: 2xx is success.
func (r *row) succeeded(slot int) bool {
	code := r.text(slot)
	switch {
	case len(code) == 0:
		r.fail(rating.MissingField, slot, "is absent; expected the code of the final answer")
	case len(code) != 3 || code[0]-'1' > 5:
		r.fail(rating.BadField, slot, "is no code of SIP; expected 100 to 699")
	}
	return r.fault == nil && code[0] == '2'
}
