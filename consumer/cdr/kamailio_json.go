package cdr

import (
	"time"

	"github.com/creditstream/creditstream/rating"
)

const (
	kamCallID = iota
	kamFromTag
	kamToTag
	kamMethod
	kamCode
	kamStart
	kamEnd
	kamSeconds
)

// kamailioJSON is a CDR of Kamailio's acc_json module: three fields of its own,
// under their default names, and whatever cdr_extra adds.
func kamailioJSON() spec {
	return spec{
		fields: []string{
			"callid|call_id|callId", "from_tag|fromtag", "to_tag|totag", "method", "sip_code|sip_status", "start_time", "end_time", "duration",
		},
		read: readKamailio,
	}
}

// readKamailio reads a record. Calls that failed are written too, with a duration
// of zero. The start is taken to be the answer: see Mapping on start_on_confirmed.
func readKamailio(r *row) {
	if r.has(kamMethod) && !r.has(kamSeconds) {
		r.skipped("a transaction; the call has a record of its own, with a duration")
		return
	}
	r.dialog(kamCallID, kamFromTag, kamToTag)
	if r.has(kamCode) && !r.succeeded(kamCode) {
		return
	}
	r.duration(measure{kamSeconds, time.Second})
	if r.over() || r.millis == 0 || !r.ended(kamEnd) {
		return
	}
	start, ok := r.instant(kamStart, r.plan.zone)
	if !ok {
		r.fail(rating.MissingField, kamStart, "is absent from a call that was answered; expected when that was")
		return
	}
	r.answeredAt = start
}
