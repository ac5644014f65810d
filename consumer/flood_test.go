package consumer_test

import (
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

const floodAccounts = 10_000

func floodAccount(i int) string { return fmt.Sprintf("acme%d", i%floodAccounts) }

// BenchmarkFlood drains a log in which every good record has a bad one beside it,
// and says how many good ones a second that makes. One operation is one good record.
// The aim: with any of the floods at least half of the rate without one. What counts
// on a machine that does other work too is cpu-us/op: the time that Redis and this
// process (broker, consumer and client together) have computed for a good record.
func BenchmarkFlood(b *testing.B) {
	for _, f := range floods {
		b.Run(f.name, func(b *testing.B) {
			w := newWorld(b)
			var names []string
			for i := range floodAccounts {
				names = append(names, floodAccount(i))
			}
			w.create(names...)
			creating := w.start()
			until(b, "accounts", func() bool {
				return w.spent(names[len(names)-1]) == 0 && creating.figure(b, "creditstream_consumer_lag_records") == 0
			})
			if err := creating.stop(); err != nil {
				b.Fatal(err)
			}
			bad := 0
			msgs := make([]kafka.Message, 0, 2*b.N)
			for i := range b.N {
				msgs = append(msgs, kafka.Message{Topic: w.cdrs, Partition: i % partitions, Value: w.call(floodAccount(i), 1000)})
				if f.bad != nil {
					bad++
					msgs = append(msgs, kafka.Message{Topic: w.cdrs, Partition: i % partitions, Value: f.bad(w, i)})
				}
			}
			if err := kafka.NewWriter(w.client, kafka.WriterOptions{}).WriteAll(b.Context(), msgs); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			began, computed := time.Now(), w.computed()
			r := w.start()
			until(b, "all handled", func() bool {
				return r.figure(b, "creditstream_consumer_records_total") >= float64(b.N+bad)
			})
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "good/s")
			b.ReportMetric(float64((w.computed()-computed).Microseconds())/float64(b.N), "cpu-us/op")
			if got := r.figure(b, "creditstream_consumer_records_total", "outcome", "parked"); int(got) != bad {
				b.Errorf("%v parked, want %d", got, bad)
			}
			b.StopTimer()
			if err := r.stop(); err != nil {
				b.Error(err)
			}
		})
	}
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
