package consumer_test

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/kafka"
)

// A flood is what comes beside every good record.
var floods = []struct {
	name string
	bad  func(w *world, i int) []byte // nil: nothing
}{
	{"none", nil},
	{"not_json", func(_ *world, i int) []byte {
		return fmt.Appendf(nil, `{"id":"bad%d","source":"test","account":%s`, i, strings.Repeat("x", 100))
	}},
	{"no_rate", func(w *world, i int) []byte { return w.call(floodAccount(i), 1000, `,"caller":"none"`) }},
	{"unknown_account", func(w *world, i int) []byte { return w.call(fmt.Sprintf("nobody%d", i%floodAccounts), 1000) }},
	{"mixed", func(w *world, i int) []byte {
		switch i % 3 {
		case 0:
			return []byte(`{`)
		case 1:
			return w.call(floodAccount(i), 1000, `,"caller":"none"`)
		}
		return w.call(fmt.Sprintf("nobody%d", i%floodAccounts), 1000)
	}},
}

// floodKept is asked for by name, so that no other run depends on what a machine does.
var floodKept = flag.Float64("flood-kept", 0, "BenchmarkFlood fails when a flood leaves less of the rate, in per cent; the goal is 50; 0: never")

const floodAccounts = 1_000 // few: debits of one account in a batch cost little, and the normal rate is high

func floodAccount(i int) string { return fmt.Sprintf("acme%d", i%floodAccounts) }

// floodRecords is how many good records are drained at a time: enough for the start
// of a consumer not to count.
const floodRecords = 200_000

// BenchmarkFlood drains a log in which every good record has a bad one beside it,
// and says how many good ones a second that makes. One operation is a whole log.
// What counts on a machine that does other work too is cpu-us/good, the time that Redis
// and this process (broker, consumer and client together) have computed for a good
// record, and kept-%, which is that of none as a part of it.
//
// The goal is that every flood keeps 50 % (kept-% of 50). As a busy machine may make any
// one run worse, less fails only who asks for it: go test -bench Flood ./consumer
// -flood-kept 50.
func BenchmarkFlood(b *testing.B) {
	normal := 0.0 // cpu-us/good of none
	for _, f := range floods {
		b.Run(f.name, func(b *testing.B) {
			var took, computed time.Duration
			good := 0.0
			for b.Loop() {
				b.StopTimer()
				w := newWorld(b)
				w.confirm = time.Second // the default
				bad := w.flood(f.bad)
				began, before := time.Now(), w.computed()
				b.StartTimer()
				r := w.start()
				until(b, "all published", func() bool { return int(w.gate.published.Load()) >= floodRecords+bad })
				took, computed, good = took+time.Since(began), computed+w.computed()-before, good+floodRecords
				if err := r.stop(); err != nil {
					b.Error(err)
				}
				if got := r.figure(b, "creditstream_consumer_records_total", "outcome", "parked"); int(got) != bad {
					b.Errorf("%v parked, want %d", got, bad)
				}
			}
			cpu := computed.Seconds() * 1e6 / good
			b.ReportMetric(good/took.Seconds(), "good/s")
			b.ReportMetric(cpu, "cpu-us/good")
			if f.bad == nil {
				normal = cpu
				return
			}
			if normal == 0 {
				if *floodKept > 0 {
					b.Errorf("-flood-kept compares with the flood none: run that, too")
				}
				return
			}
			kept := 100 * normal / cpu
			b.ReportMetric(kept, "kept-%")
			if kept < *floodKept {
				b.Errorf("a good record keeps %.1f %% of the rate without a flood, want at least %v %%", kept, *floodKept)
			}
		})
	}
}

// flood creates accounts and writes a log of their calls, with a bad record beside each
// if there is to be one. It returns how many bad ones that makes.
func (w *world) flood(bad func(w *world, i int) []byte) (written int) {
	w.t.Helper()
	var names []string
	for i := range floodAccounts {
		names = append(names, floodAccount(i))
	}
	w.create(names...)
	creating := w.start()
	until(w.t, "accounts", func() bool {
		return w.spent(names[len(names)-1]) == 0 && creating.figure(w.t, "creditstream_consumer_lag_records") == 0
	})
	if err := creating.stop(); err != nil {
		w.t.Fatal(err)
	}
	msgs := make([]kafka.Message, 0, 2*floodRecords)
	for i := range floodRecords {
		msgs = append(msgs, kafka.Message{Topic: w.cdrs, Partition: i % partitions, Value: w.call(floodAccount(i), 1000)})
		if bad != nil {
			written++
			msgs = append(msgs, kafka.Message{Topic: w.cdrs, Partition: i % partitions, Value: bad(w, i)})
		}
	}
	if err := kafka.NewWriter(w.client, kafka.WriterOptions{}).WriteAll(w.t.Context(), msgs); err != nil {
		w.t.Fatal(err)
	}
	return written
}

// computed is the processor time that Redis and this process have taken so far.
func (w *world) computed() time.Duration {
	w.t.Helper()
	info, err := w.rdb.Info(w.t.Context(), "cpu").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	var sum float64
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "used_cpu_user" && name != "used_cpu_sys" {
			continue
		}
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			w.t.Fatal(err)
		}
		sum += seconds
	}
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		w.t.Fatal(err)
	}
	return time.Duration(sum*1e9) + time.Duration(use.Utime.Nano()+use.Stime.Nano())
}
