package cdr

import (
	"bytes"
	"strings"
	"time"

	"github.com/creditstream/creditstream/rating"
)

// Slots of FreeSWITCH's records.
const (
	fsUUID = iota
	fsAccount
	fsUser
	fsSwitch
	fsDirection
	fsCallUUID
	fsOriginator
	fsOriginatingLeg
	fsCaller
	fsCallee
	fsCIDFlipped
	fsOriginationCaller
	fsANI
	fsPreTransferCaller
	fsFromUser
	fsRequestUser
	fsStartStamp
	fsAnswerStamp
	fsEndStamp
	fsAnswerMicros
	fsAnswerEpoch
	fsEndMicros
	fsEndEpoch
	fsBillMicros
	fsBillMillis
	fsBillSeconds
)

// freeSWITCHJSON is what mod_json_cdr writes. Where a call was transferred, the
// first of its caller profiles, which is the newest, tells the numbers.
func freeSWITCHJSON() spec {
	const profile = "callflow.caller_profile."
	return spec{
		fields: []string{
			"variables.uuid", "variables.accountcode", "variables.user_name", "switchname",
			"variables.direction|channel_data.direction", "variables.call_uuid", "variables.originator", "variables.originating_leg_uuid",
			profile + "caller_id_number", profile + "destination_number", "variables.channel_cid_flipped",
			"variables.origination_caller_id_number", profile + "ani", "variables.pre_transfer_caller_id_number",
			"variables.sip_from_user", "variables.sip_req_user",
			"variables.start_stamp", "variables.answer_stamp", "variables.end_stamp",
			"variables.answer_uepoch", "variables.answer_epoch", "variables.end_uepoch", "variables.end_epoch",
			"variables.billusec", "variables.billmsec", "variables.billsec",
		},
		once:    "callflow", // old versions write it once for each profile, the newest first
		prepare: decodeVariables, read: readFreeSWITCH,
	}
}

// decodeVariables undoes the URL encoding of variables, if there is one: stamps
// hold a space, and tell by it. Where there is no stamp, texts that can be URL
// encoded are taken to be.
func decodeVariables(r *row) {
	for _, slot := range [...]int{fsStartStamp, fsEndStamp, fsAnswerStamp} {
		if bytes.IndexByte(r.text(slot), ' ') >= 0 {
			return
		}
	}
	for i, name := range r.plan.names {
		if v := &r.vals[i]; strings.HasPrefix(name, "variables.") && bytes.IndexByte(v.text, '%') >= 0 {
			v.text = r.urlDecoded(v.text)
		}
	}
}

// urlDecoded returns text with its %XX decoded, or text itself when a % is none
// of these or what they make is not UTF-8. A plus sign is a plus sign.
func (r *row) urlDecoded(text []byte) []byte {
	from := len(r.arena)
	for i := 0; i < len(text); i++ {
		b := text[i]
		if b == '%' {
			if i+2 >= len(text) {
				return text
			}
			x := hex4([]byte{'0', '0', text[i+1], text[i+2]})
			if x < 0 {
				return text
			}
			b = byte(x & 0xff)
			i += 2
		}
		r.arena = append(r.arena, b)
	}
	if invalidAt(r.arena[from:]) < len(r.arena)-from {
		return text
	}
	return r.arena[from:]
}

// readFreeSWITCH reads the record of one leg. Answered is what has an answer time;
// the hangup cause is not looked at, it says NORMAL_CLEARING of others too. The
// leg that the switch itself made to reach the other side is none to bill.
func readFreeSWITCH(r *row) {
	direction := string(r.text(fsDirection))
	made := r.has(fsOriginator) || r.has(fsOriginatingLeg) ||
		direction == "outbound" && r.has(fsCallUUID) && !bytes.Equal(r.text(fsCallUUID), r.text(fsUUID))
	if made && direction != "inbound" {
		r.skipped("the second leg of a call: the leg that came in is billed")
		return
	}
	r.take(id, fsUUID)
	r.take(source, fsSwitch)
	r.take(account, fsAccount)
	r.take(user, fsUser)
	r.take(callee, fsCallee, fsRequestUser)
	r.take(caller, fsCaller, fsFromUser)
	if flipped := string(r.text(fsCIDFlipped)); flipped == "yes" || flipped == "true" {
		// the caller's number and the callee's have changed places
		r.take(caller, fsOriginationCaller, fsANI, fsPreTransferCaller)
	}
	answered, ok := r.epoch(fsAnswerMicros, time.Microsecond)
	if !ok {
		answered, ok = r.epoch(fsAnswerEpoch, time.Second)
	}
	end := fsEndEpoch
	if !ok && !r.has(fsAnswerMicros) && !r.has(fsAnswerEpoch) {
		answered, ok = r.instant(fsAnswerStamp, r.plan.zone)
		if !r.has(end) {
			end = fsEndStamp
		}
	}
	if !ok || r.over() {
		return
	}
	r.answeredAt = answered
	if r.ended(fsEndMicros, fsEndEpoch, fsEndStamp) {
		r.lasted(end)
	}
}

// lasted reads how long a call of FreeSWITCH's was that has ended: coarse is the
// slot of its end in whole seconds. billsec is a difference of whole seconds, and
// wrong by up to one.
func (r *row) lasted(coarse int) {
	seconds := measure{fsBillSeconds, time.Second}
	millis := measure{fsBillMillis, time.Millisecond}
	end, ended := r.epoch(fsEndMicros, time.Microsecond)
	exact := ended && r.has(fsAnswerMicros)
	switch {
	case ended && end.Before(r.answeredAt):
		r.backwards(fsEndMicros)
	case exact && !r.has(fsBillMicros):
		r.between(end, fsEndMicros)
		r.agrees(fsEndMicros, millis, seconds)
	default:
		if !ended {
			r.ordered(coarse)
		}
		r.duration(measure{fsBillMicros, time.Microsecond}, millis, seconds)
		if exact && r.millis == 0 && end.Sub(r.answeredAt) >= 2*time.Second {
			r.fail(rating.BadDuration, fsBillMicros, "tells of no length, and the times of one; expected both to tell of the same")
		}
	}
}
