package chaos_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/chaos"
)

func TestWatchObjectsToACommitBeyondAMark(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_795_600_000, 0)
	w := chaos.NewWatch(func() time.Time { return now })
	w.Note(5, 5, 9)
	w.Fault(chaos.Failover)
	w.Note(5, 3, 9) // Redis has gone back
	now = now.Add(time.Minute)
	w.Note(5, 4, 9) // and has not caught up
	if len(w.Findings()) > 0 {
		t.Error(w.Findings())
	}
	w.Note(5, 6, 9) // and is past it
	if len(w.Findings()) > 0 {
		t.Error(w.Findings())
	}
	w.Fault(chaos.ProcessorKill)
	w.Note(8, 7, 9)
	if f := w.Findings(); len(f) != 1 || f[0].Check != chaos.CheckCommits || !strings.Contains(f[0].Text, "8 is committed, a mark is at 7") {
		t.Error(f)
	}
}

// What was committed before Redis went back may lie beyond a mark; nothing more.
func TestWatchObjectsToACommitWhileMarksAreBack(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_795_600_000, 0)
	w := chaos.NewWatch(func() time.Time { return now })
	w.Note(5, 5, 9)
	w.Fault(chaos.Failover)
	w.Note(5, 3, 9)
	now = now.Add(time.Minute)
	w.Note(6, 4, 9)
	if f := w.Findings(); len(f) != 1 || !strings.Contains(f[0].Text, "6 is committed, a mark is at 4") {
		t.Error(f)
	}
}

func TestReportSaysThatItIsBlind(t *testing.T) {
	t.Parallel()
	r := &chaos.Report{Looks: 12, Insights: 12}
	if b := r.Blind(time.Minute); len(b) > 0 {
		t.Error(b)
	}
	r.Insights = 11
	if b := r.Blind(time.Minute); len(b) != 1 || !strings.Contains(b[0], "11 looks into outboxes, at least 12") {
		t.Error(b)
	}
}

func TestWatchTimesAFaultUntilWhatWasInTheLogIsCommitted(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_795_600_000, 0)
	w := chaos.NewWatch(func() time.Time { return now })
	w.Fault(chaos.Zombie)
	for _, committed := range []int64{2, 8, 9, 10} {
		now = now.Add(time.Second)
		w.Note(committed, committed, committed+7)
	}
	if h := w.Healed(); !slices.Equal(h, []time.Duration{3 * time.Second}) {
		t.Error(h)
	}
}

func TestScheduleFollowsFromItsSeed(t *testing.T) {
	t.Parallel()
	counts := map[chaos.Kind]int{}
	for i, k := range chaos.Kinds() {
		counts[k] = i
	}
	a, b := chaos.Schedule(7, counts, time.Minute), chaos.Schedule(7, counts, time.Minute)
	if !slices.Equal(a, b) {
		t.Error("two schedules of one seed differ")
	}
	if slices.Equal(a, chaos.Schedule(8, counts, time.Minute)) {
		t.Error("another seed gives the same schedule")
	}
	for _, f := range a {
		counts[f.Kind]--
		if f.At < 0 || f.At >= time.Minute {
			t.Errorf("%+v is not within the span", f)
		}
	}
	for k, n := range counts {
		if n != 0 {
			t.Errorf("%s: %d too few", k, n)
		}
	}
}

func TestWatchObjectsToWhatNeverLeftAnOutbox(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_795_600_000, 0)
	w := chaos.NewWatch(func() time.Time { return now })
	w.Hold("abc\n7 9 1795600000000000\no 7 duplicate\ne acme balance.depleted 12 -5 USD 8 1795600000000\nw acme 1 50000000 USD 3\n")
	// the id is what package balance makes of the line
	id := "acme/balance.depleted/12-6c75989eecb3"
	event := chaos.Record{Headers: map[string]string{"ce_id": id}}
	request := chaos.Record{Value: []byte(`{"type":"recharge.request","account":"acme","n":1,"amount":"50.000000","currency":"USD","seen":3}`)}
	for name, tt := range map[string]struct {
		logs *chaos.Logs
		want string
	}{
		"all":      {&chaos.Logs{Alerts: []chaos.Record{event}, Commands: []chaos.Record{request}}, ""},
		"no event": {&chaos.Logs{Commands: []chaos.Record{request}}, "event " + id},
		"no wish":  {&chaos.Logs{Alerts: []chaos.Record{event}}, "wish acme 1 50000000 3"},
	} {
		f := w.Unpublished(tt.logs)
		if (tt.want == "") != (len(f) == 0) || len(f) > 0 && !strings.HasSuffix(f[0].Text, tt.want) {
			t.Errorf("%s: %v, want %q", name, f, tt.want)
		}
	}
	now = now.Add(time.Second)
	w.Fault(chaos.Restore)
	if f := w.Unpublished(&chaos.Logs{}); len(f) > 0 {
		t.Errorf("Redis went back, and still: %v", f)
	}
}
