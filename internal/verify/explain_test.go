package verify_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/verify"
)

// Which records of cdrs cost something, and how often: as Redis has it.
func TestWhatCounts(t *testing.T) {
	w := newWorld(t)
	euro := create("euro")
	euro.Put.Currency = "EUR"
	w.append(create("acme"), euro, topUp("nobody", "1", 5_000_000))
	emergency := func(s string) string { return strings.Replace(s, "user_out", "emergency", 1) }
	w.produce(0,
		call("early", "late", 64),                                // no such account yet
		call("1", "nobody", 60),                                  // nor ever
		call("1", "euro", 60),                                    // of another currency
		emergency(call("2", "acme", 60)),                         // another call than the next
		call("2", "acme", 61),                                    //
		call("3", "acme", 0),                                     // of no length, claims no id
		call("3", "acme", 62),                                    //
		call("3", "acme", 62),                                    // a repeat
		strings.Replace(call("4", "acme", 63), "+33", "+999", 1), // no rate
		"no call")
	w.applied()
	w.append(create("late"))
	w.produce(1, call("3", "acme", 62), call("5", "late", 60))
	w.applied()
	if rep := w.well(3); rep.Doubtful != 0 || rep.CDRs != 12 {
		t.Errorf("%d doubtful, %d CDRs", rep.Doubtful, rep.CDRs)
	}
	for account, spent := range map[string]string{"acme": "0.123000", "euro": "0.000000", "late": "0.060000"} {
		a, err := w.store.Account(t.Context(), account)
		if err != nil || a.Spent.String() != spent {
			t.Errorf("%s spent %v (%v), want %s", account, a, err, spent)
		}
	}
}

// Where the beginning of cdrs is gone, rated-cdrs says what those calls cost, as far as
// a shard has applied them; and where that is gone too, nobody does.
func TestBeginningOfCDRsIsGone(t *testing.T) {
	w := newWorld(t)
	acme, other := w.apart()
	w.append(create(acme), create(other))
	w.produce(0, call("1", acme, 60), call("2", other, 61))
	w.applied()
	older := w.copyOf(acme)
	w.produce(0, call("3", acme, 62), call("4", other, 63), call("5", other, 64), call("2", other, 61))
	w.applied()
	w.kafka.DeleteRecords(w.cdrs, 0, 5) // the repeat is left
	if rep := w.well(2); rep.Rated != 5 || rep.CDRs != 1 {
		t.Errorf("%d rated, %d CDRs", rep.Rated, rep.CDRs)
	}
	w.put(acme, older)
	w.well(2)
	w.add(other, "spent", 500)
	w.differ(w.report(w.config()), other+" spent 500")

	w.kafka.DeleteRecords(w.topics.Rated, int32(w.ratedOf(other, "").Partition), 1)
	rep := w.report(w.config())
	if rep.Verdict() != verify.Unknown || !strings.Contains(w.kafka.Bare(rep.Unverified), "cdrs/0 begins at 5, and rated-cdrs/") {
		t.Errorf("%s: %s %v", rep.Verdict(), rep.Unverified, told(rep))
	}
	w.add(other, "funded", 7)
	w.differ(w.report(w.config()), other+" funded 7")
}

// The records that are told are those whose money is the difference.
func TestWhatExplainsADifference(t *testing.T) {
	w := newWorld(t)
	w.append(create("acme"), topUp("acme", "one", 5_000_000), topUp("acme", "two", 6_000_000))
	w.produce(0, call("1", "acme", 1), call("2", "acme", 2), call("3", "acme", 4), call("4", "acme", 8))
	w.produce(0, call("5", "acme", 100), call("6", "acme", 100), call("7", "acme", 100))
	w.applied()
	w.produce(1, call("1", "acme", 1), call("6", "acme", 100), call("7", "acme", 100)) // repeats
	w.applied()
	differs := func(field string, off int64, want string) {
		t.Helper()
		w.add("acme", field, off)
		if want != "" {
			want = " " + want
		}
		w.differ(w.report(w.config()), fmt.Sprintf("acme %s %d%s", field, off, want))
		w.add("acme", field, -off)
	}
	differs("spent", -2_000, "in the logs and not in Redis: pbx/2")
	differs("spent", -6_000, "in the logs and not in Redis: pbx/2 pbx/3") // a run of them
	differs("spent", -10_000, "")                                         // 2 and 4 do not lie together
	differs("spent", -100_000, "in the logs and not in Redis, one of these: pbx/5 pbx/6 pbx/7")
	differs("spent", 8_000, "charged twice: pbx/4")
	differs("spent", 1_000, "repeats or parked, and charged: pbx/1")
	differs("spent", 100_000, "repeats or parked, and charged, one of these: pbx/6 pbx/7")
	differs("spent", 101_000, "repeats or parked, and charged: pbx/1 pbx/6")
	differs("funded", -5_000_000, "in the logs and not in Redis: funds.top_up one")
	differs("funded", 6_000_000, "charged twice: funds.top_up two")
	differs("funded", 11_000_001, "")

	// Of several that fit, the one of which rated-cdrs says something else.
	rated := w.ratedOf("acme", "6")
	again := kafka.Message{Topic: w.topics.Rated, Partition: rated.Partition, Key: rated.Key, Value: bytes.Replace(rated.Value, []byte(`"charged"`), []byte(`"duplicate"`), 1)}
	if _, err := w.client.Write(t.Context(), w.topics.Rated, rated.Partition, []kafka.Message{again}); err != nil {
		t.Fatal(err)
	}
	differs("spent", -100_000, "in the logs and not in Redis: pbx/6")
	w.add("acme", "spent", -100_000)
	if r := w.report(w.config()).Differences[0].Records[0]; r.Rated != "charged, then duplicate" {
		t.Errorf("rated as %s", r.Rated)
	}
}

// ratedOf returns the first rated record of an account whose id begins so.
func (w *world) ratedOf(account, id string) *kafka.Record {
	w.t.Helper()
	for p := range partitions {
		for rec, err := range w.client.Scan(w.t.Context(), w.topics.Rated, p, 0) {
			if err != nil {
				w.t.Fatal(err)
			}
			if string(rec.Key) == account && bytes.Contains(rec.Value, []byte(`"id":"`+id)) {
				return rec
			}
		}
	}
	w.t.Fatalf("call %q of %s was not rated", id, account)
	return nil
}
