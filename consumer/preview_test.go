package consumer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

func TestPreview(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	limits := consumer.Limits{Window: 48 * time.Hour, MaxDuration: time.Hour, MaxCharge: 2_000_000}
	call := `{"id":"1","source":"s","account":"acme","kind":"user_out","callee":"+1","answered_at":"2026-11-22T06:59:00Z","duration_ms":1000}`
	for name, tt := range map[string]struct {
		old, new string // what is replaced in call
		later    time.Duration
		outcome  balance.Outcome
		reason   rating.Reason
	}{
		"charged":        {outcome: balance.Charged},
		"free":           {old: `,"answered_at":"2026-11-22T06:59:00Z"`, outcome: balance.Free},
		"no CDR":         {old: "}", outcome: balance.Parked, reason: rating.NotJSON},
		"no rate":        {old: "+1", new: "none", outcome: balance.Parked, reason: rating.NoRate},
		"too long":       {old: ":1000}", new: ":3600001}", outcome: balance.Parked, reason: rating.BadDuration},
		"too dear":       {old: ":1000}", new: ":2000001}", outcome: balance.Parked, reason: rating.OutOfBounds},
		"still believed": {later: 48*time.Hour - time.Minute, outcome: balance.Charged},
		"too old":        {later: 48*time.Hour - time.Minute + time.Millisecond, outcome: balance.Parked, reason: rating.TooOld},
		"too new":        {later: -25 * time.Hour, outcome: balance.Parked, reason: rating.BadField},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := &kafka.Record{AppendMillis: at.Add(tt.later).UnixMilli(), Value: []byte(strings.Replace(call, tt.old, tt.new, 1))}
			v := consumer.Preview(cdr.NewDecoder(cdr.Options{}), flat{}, limits, rec)
			if v.Outcome != tt.outcome || v.Reason != tt.reason || v.CDR.Account != "acme" || (v.Message == "") != (tt.reason == "") {
				t.Errorf("%+v, want %s %s", v, tt.outcome, tt.reason)
			}
			if tt.outcome == balance.Charged && v.Charge.Amount != 1000 {
				t.Errorf("charge %s", v.Charge.Amount)
			}
		})
	}
}
