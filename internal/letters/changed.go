package letters

import (
	"fmt"
	"strings"
	"time"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/rating"
)

// An AnotherCallError says that a mapping that has changed makes another call of a
// record than it was at a time at which it may have been charged: it would not be
// known as a repeat (design rule 8).
type AnotherCallError struct {
	At      time.Time // the append time of then
	Members []string  // of the CDR that tell calls apart, and differ; none: it is no call now
}

// Error implements error.
func (e *AnotherCallError) Error() string {
	differs := "it is no call any more"
	if len(e.Members) > 0 {
		differs = "its " + strings.Join(e.Members, ", ") + " would differ"
	}
	return fmt.Sprintf("the mapping has changed: appended now, it is not the call that it was at %s (%s); "+
		"if it was not sent then, and this is what you want, give --another-call", e.At.UTC().Format(time.RFC3339Nano), differs)
}

// changed returns an *AnotherCallError when a record would become another call than
// it was, or would have been, since it was appended. A record that could not be read
// was no call, and what a mended mapping says of the same call may differ: neither
// makes that a call is charged twice.
//
// A version that begins within writeTimeout counts too, as a batch may take that
// long.
func (r *Replay) changed(l *alerts.Letter) error {
	now := r.Box.Now()
	times := r.Box.Decoder.Changes(l.Appended.UnixMilli(), now.Add(writeTimeout).UnixMilli())
	if len(times) == 0 {
		return nil
	}
	rec := original(l)
	rec.AppendMillis = now.UnixMilli()
	is, readable := consumer.Decode(r.Box.Decoder, rec)
	for _, at := range append(times, l.Appended.UnixMilli()) {
		rec.AppendMillis = at
		was, ok := consumer.Decode(r.Box.Decoder, rec)
		if !ok {
			continue
		}
		e := &AnotherCallError{At: time.UnixMilli(at)}
		if readable {
			e.Members = apart(&was.CDR, &is.CDR)
		}
		if !readable || len(e.Members) > 0 {
			return e
		}
	}
	return nil
}

// apart names the members by which two CDRs are told to be different calls; none if
// they are one.
func apart(a, b *rating.CDR) (members []string) {
	if balance.CDRDigest(a) == balance.CDRDigest(b) {
		return nil
	}
	for _, m := range [...]struct {
		name string
		same bool
	}{
		{"id", a.ID == b.ID},
		{"source", a.Source == b.Source},
		{"account", a.Account == b.Account},
		{"kind", a.Kind.AlwaysFree() == b.Kind.AlwaysFree()},
		{"answered_at", a.AnsweredAt.Equal(b.AnsweredAt)},
	} {
		if !m.same {
			members = append(members, m.name)
		}
	}
	return members
}
