package chaos

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
)

// ratedRecord is what a reader of rated-cdrs gets.
type ratedRecord struct {
	call

	Charge, Outcome, Topic string
	Partition              int
	Offset                 int64
}

// rated compares rated-cdrs with what must be charged.
func (j *judge) rated() {
	charged := map[string]map[place]int64{} // by the name of a call, where it was said to be charged, and when last
	for i := range j.logs.Rated {
		j.ratedOne(&j.logs.Rated[i], charged)
	}
	told := map[string]*big.Int{}
	counted := map[string]bool{}
	for at, v := range j.calls {
		if v.reason != "" {
			continue
		}
		switch v.told {
		case "":
			j.find(CheckRated, "%s is not parked, and no rated record names it", at)
			continue
		case "charged":
			j.tally.Charged++
		case "free":
			j.tally.Free++
		case "duplicate":
			j.tally.Duplicates++
		}
		if !v.claims() || v.Kind == "internal" || counted[v.name()] {
			continue
		}
		counted[v.name()] = true
		places := charged[v.name()]
		if len(places) == 0 {
			j.find(CheckRated, "%s: no copy of this call is said to be charged or free", at)
			continue
		}
		if told[v.Account] == nil {
			told[v.Account] = new(big.Int)
		}
		told[v.Account].Add(told[v.Account], big.NewInt(v.charge))
		j.chargedOnce(at, places)
	}
	for id, s := range j.accounts {
		stored := j.logs.Accounts[id]
		spent := stored.number("spent")
		spent.Sub(spent, s.Taken())
		sum := told[id]
		if sum == nil {
			sum = new(big.Int)
		}
		if sum.Cmp(spent) != 0 {
			j.find(CheckRated, "%s: its rated calls sum to %s, its calls have taken %s in Redis", id, decimal(sum), decimal(spent))
		}
	}
}

// chargedOnce checks that of the copies of a call one was told to be charged; more,
// each by another timeline.
func (j *judge) chargedOnce(at place, places map[place]int64) {
	if len(places) < 2 {
		return
	}
	first, last := int64(math.MaxInt64), int64(0)
	for _, when := range places {
		first, last = min(first, when), max(last, when)
	}
	if !j.logs.excused(first, last) {
		j.find(CheckRated, "%s: %d copies of this call are said to be charged: %v", at, len(places), slices.Collect(maps.Keys(places)))
		return
	}
	j.tally.Retold++
}

func (j *judge) ratedOne(rec *Record, charged map[string]map[place]int64) {
	var r ratedRecord
	if err := json.Unmarshal(rec.Value, &r); err != nil {
		j.find(CheckRated, "rated-cdrs/%d/%d: %s", rec.Partition, rec.Offset, err)
		return
	}
	at := place{r.Partition, r.Offset}
	v := j.calls[at]
	switch {
	case r.Topic != topicCDRs || v == nil:
		j.find(CheckRated, "rated-cdrs/%d/%d names %s of topic %q, which is no CDR", rec.Partition, rec.Offset, at, r.Topic)
		return
	case v.reason != "":
		j.find(CheckRated, "%s is rated, and must be parked as %s", at, v.reason)
		return
	case string(rec.Key) != v.Account || r.Account != v.Account || r.ID != v.ID || r.Source != v.Source:
		j.find(CheckRated, "%s: the rated record is of another call: %s", at, rec.Value)
		return
	}
	if m, err := moneyOf(r.Charge); err != nil || m.Cmp(big.NewInt(v.charge)) != 0 {
		j.find(CheckRated, "%s: charge is %s, must be %s", at, r.Charge, decimal(big.NewInt(v.charge)))
	}
	if v.told != "" {
		j.tally.RatedAgain++
	}
	v.told = r.Outcome
	want := "charged"
	if v.charge == 0 {
		want = "free"
	}
	switch {
	case r.Outcome == want:
		if charged[v.name()] == nil {
			charged[v.name()] = map[place]int64{}
		}
		charged[v.name()][at] = rec.AppendMillis
	case r.Outcome != "duplicate" || !v.claims():
		j.find(CheckRated, "%s: outcome is %q, must be %s or perhaps duplicate", at, r.Outcome, want)
	}
}

// letters compares dead letters with what must be parked.
func (j *judge) letters() {
	seen := map[place]bool{}
	for i := range j.logs.Letters {
		rec := &j.logs.Letters[i]
		partition, err := strconv.Atoi(rec.Headers["cs-partition"])
		offset, err2 := strconv.ParseInt(rec.Headers["cs-offset"], 10, 64)
		at := place{partition, offset}
		v := j.calls[at]
		if err != nil || err2 != nil || rec.Headers["cs-topic"] != topicCDRs || v == nil {
			j.find(CheckParked, "dead letter %d/%d is of no CDR: %v", rec.Partition, rec.Offset, rec.Headers)
			continue
		}
		if seen[at] {
			j.tally.LettersAgain++
		}
		seen[at] = true
		if got := rec.Headers["cs-reason"]; got != v.reason {
			j.find(CheckParked, "%s is parked as %q, must be %q (empty: not at all)", at, got, v.reason)
		}
		if !bytes.Equal(rec.Value, v.Value) {
			j.find(CheckParked, "%s: the dead letter has other bytes", at)
		}
	}
	for at, v := range j.calls {
		if v.reason == "" {
			continue
		}
		j.tally.Parked++
		if !seen[at] {
			j.find(CheckParked, "%s must be parked as %s, and no dead letter says so", at, v.reason)
		}
	}
}
