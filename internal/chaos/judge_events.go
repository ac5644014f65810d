package chaos

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cause names a record that an event may have been caused by.
func cause(topic, account string, millis int64) string {
	return topic + " " + account + " " + strconv.FormatInt(millis, 10)
}

// expectedKey says an event of the oracle ("event account kind balance currency
// name=value ...") as a reader of the topic would: its kind, when its command was
// appended, and its details. Balance and sequence are left out: what they are
// depends on how calls and commands interleaved.
func expectedKey(account string, f []string, at int64) string {
	details := map[string]string{}
	for _, field := range f[5:] {
		name, value, _ := strings.Cut(field, "=")
		switch n, ok := new(big.Int).SetString(value, 10); {
		case name == "n":
			name, value = "recharge_id", account+"/"+value
		case name == "reason":
			value, _ = url.QueryUnescape(value)
		case name == "paid_currency" && value == "-":
			continue
		case !ok:
		case strings.HasSuffix(name, "_at") || name == "until":
			value = time.UnixMilli(n.Int64()).UTC().Format("2006-01-02T15:04:05.000Z")
		case name == "amount" || name == "requested" || name == "cap_amount":
			if value = decimal(n); n.Sign() == 0 && f[2] == "recharge.mismatched" {
				continue
			}
		}
		details[name] = value
	}
	return eventKey(f[2], at, details)
}

func eventKey(kind string, at int64, details map[string]string) string {
	words := []string{kind, strconv.FormatInt(at, 10)}
	for _, name := range slices.Sorted(maps.Keys(details)) {
		words = append(words, name+"="+details[name])
	}
	return strings.Join(words, " ")
}

// An event as a reader gets it.
type event struct {
	id, kind, account string
	at                int64 // of its cause
	told              int64 // when it was appended
	sequence          int64
	balance           *big.Int
	details           map[string]string
}

func readEvent(rec *Record) (*event, error) {
	e := &event{told: rec.AppendMillis, id: rec.Headers["ce_id"], account: rec.Headers["ce_subject"], details: map[string]string{}}
	e.kind = strings.TrimSuffix(strings.TrimPrefix(rec.Headers["ce_type"], "creditstream."), ".v1")
	at, err := time.Parse(time.RFC3339, rec.Headers["ce_time"])
	if err != nil {
		return nil, err
	}
	e.at = at.UnixMilli()
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(rec.Value))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		return nil, err
	}
	for name, v := range fields {
		text := fmt.Sprint(v)
		switch name {
		case "account":
			if text != e.account || text != string(rec.Key) {
				return nil, fmt.Errorf("of %s, %s and %s", text, e.account, rec.Key)
			}
		case "sequence":
			e.sequence, err = strconv.ParseInt(text, 10, 64)
		case "balance":
			e.balance, err = moneyOf(text)
		case "currency", "blocked_kinds":
		default:
			e.details[name] = text
		}
		if err != nil {
			return nil, err
		}
	}
	if e.id == "" || e.balance == nil || e.sequence == 0 {
		return nil, fmt.Errorf("id, balance or sequence is missing: %s", rec.Value)
	}
	return e, nil
}

// A telling is an event that was told, and when.
type telling struct {
	id string
	at int64
}

// events compares credit-alerts with what the commands and balances say.
func (j *judge) events() {
	said := map[string][]byte{}  // by id
	told := map[string]telling{} // by account and key
	all := map[string][]*event{} // by account
	for i := range j.logs.Alerts {
		rec := &j.logs.Alerts[i]
		e, err := readEvent(rec)
		if err != nil {
			j.find(CheckEvents, "credit-alerts/%d/%d: %s", rec.Partition, rec.Offset, err)
			continue
		}
		j.tally.Events++
		if before, ok := said[e.id]; ok {
			j.tally.EventsAgain++
			if !bytes.Equal(before, rec.Value) {
				j.find(CheckEvents, "%s says two things: %s and %s", e.id, before, rec.Value)
			}
			continue
		}
		said[e.id] = rec.Value
		j.eventOne(rec, e, told)
		all[e.account] = append(all[e.account], e)
	}
	for id, s := range j.accounts {
		for key := range s.expected {
			if told[id+" "+key].id == "" {
				j.find(CheckEvents, "%s: no event says %s", id, key)
			}
		}
		j.crossed(s, all[id])
		j.warned(s, all[id])
	}
}

// eventOne checks an event that has not been seen before.
func (j *judge) eventOne(rec *Record, e *event, told map[string]telling) {
	s := j.accounts[e.account]
	topic := strings.TrimPrefix(rec.Headers["ce_source"], "/creditstream/")
	if s == nil || !j.times[cause(topic, e.account, e.at)] {
		j.find(CheckEvents, "%s has no cause: no record of %s in %s at %d", e.id, e.account, topic, e.at)
		return
	}
	threshold, err := moneyOf(cmp.Or(e.details["threshold"], "0"))
	if err != nil {
		j.find(CheckEvents, "%s: %s", e.id, err)
		return
	}
	wrong := false
	switch e.kind {
	case "balance.low":
		wrong = e.balance.Cmp(threshold) > 0
	case "balance.recovered":
		wrong = e.balance.Cmp(threshold) <= 0
	case "balance.depleted":
		wrong = e.balance.Sign() >= 0
	case "balance.restored":
		wrong = e.balance.Sign() < 0
	default:
		key := eventKey(e.kind, e.at, e.details)
		if !s.expected[key] {
			j.find(CheckEvents, "%s: no command causes %s", e.id, key)
		}
		if before := told[e.account+" "+key]; before.id != "" {
			j.tally.EventsAbandoned++
			if !j.logs.excused(before.at, rec.AppendMillis) {
				j.find(CheckEvents, "%s and %s say the same thing: %s", before.id, e.id, key)
			}
		}
		told[e.account+" "+key] = telling{e.id, rec.AppendMillis}
	}
	if wrong {
		j.find(CheckEvents, "%s: a balance of %s is none for it (%v)", e.id, decimal(e.balance), e.details)
	}
}

// crossed checks that the newest crossing of zero says where an account is, and that
// it went there and back in turns. After Redis went back, the newest may be of a
// history that is no more; then an event that is newer must tell a balance on the
// right side: see docs/chaos.md.
func (j *judge) crossed(s *subject, all []*event) {
	slices.SortFunc(all, func(a, b *event) int { return cmp.Compare(a.sequence, b.sequence) })
	under := s.Balance().Sign() < 0
	below, superseded := false, false
	var crossings []*event
	for _, e := range all {
		switch e.kind {
		case "balance.depleted", "balance.restored":
			crossings = append(crossings, e)
			below, superseded = e.kind == "balance.depleted", false
		default:
			superseded = superseded || (e.balance.Sign() < 0) == under
		}
	}
	if below != under && (!superseded || len(j.logs.Backs) == 0) {
		j.find(CheckEvents, "%s has %s, and the newest event says below zero: %t", s.ID, decimal(s.Balance()), below)
	}
	if len(j.logs.Backs) > 0 {
		return
	}
	for i, e := range crossings {
		want := "balance.depleted"
		if i%2 == 1 {
			want = "balance.restored"
		}
		if e.kind != want {
			j.find(CheckEvents, "%s: %s is expected in its turn", e.id, want)
			return
		}
	}
}

// warned checks that who is at or below a level in the end was told of it, and not
// taken back since, unless Redis went back after that. What else must have been told
// depends on how calls and commands interleaved. all is in the order of sequences.
func (j *judge) warned(s *subject, all []*event) {
	level := s.Reached()
	if level == nil {
		return
	}
	for _, e := range slices.Backward(all) {
		if e.kind != "balance.low" && e.kind != "balance.recovered" {
			continue
		}
		at, err := moneyOf(e.details["threshold"])
		if err == nil && (at.Cmp(level) < 0 || at.Cmp(level) == 0 && e.kind == "balance.low") {
			return
		}
		if j.logs.excused(e.told, math.MaxInt64) { // told by a timeline that is no more
			j.tally.LevelsAbandoned++
			return
		}
		break
	}
	j.find(CheckEvents, "%s has %s, at or below its level of %s, and the newest event does not say so", s.ID, decimal(s.Balance()), decimal(level))
}
