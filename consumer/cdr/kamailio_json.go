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

// readKamailio reads a record. Calls that failed are written too, mostly with a
// duration of zero; none that lasted is believed to have been answered without the
// code that cdr_extra adds. The start is taken to be the answer: see Mapping on
// start_on_confirmed.
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
	if r.over() || r.millis == 0 {
		return
	}
	if !r.has(kamCode) {
		r.fail(rating.MissingField, kamCode, "is absent, and a duration alone does not say that the call was answered; "+
			"expected the code of the final answer, which cdr_extra has to add")
		return
	}
	if !r.ended(kamEnd) {
		return
	}
	start, ok := r.instant(kamStart, r.plan.zone)
	if !ok {
		r.fail(rating.MissingField, kamStart, "is absent from a call that was answered; expected when that was")
		return
	}
	r.answeredAt = start
	r.ordered(kamEnd)
}
