package simulate_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/deploy/decks"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/broker"
	"github.com/creditstream/creditstream/internal/sandbox/simulate"
	"github.com/creditstream/creditstream/rating"
)

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// newTopic starts a broker with one topic.
func newTopic(t *testing.T, topic string) *kafka.Client {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	c, err := kafka.New(kafka.Config{Brokers: []string{b.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.EnsureTopics(testContext(t), []kafka.TopicSpec{{Name: topic, Partitions: 4}}); err != nil {
		t.Fatal(err)
	}
	return c
}

// read returns the values of all partitions once there are n of them at least.
func read(t *testing.T, c *kafka.Client, topic string, n int) []string {
	t.Helper()
	ctx := testContext(t)
	var values []string
	var next [4]int64
	for len(values) < n {
		for p := range next {
			f, err := c.Fetch(ctx, topic, p, next[p], kafka.FetchOptions{MaxWait: 20 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			for i := range f.Records {
				values = append(values, string(f.Records[i].Value))
			}
			next[p] = f.Next
		}
	}
	return values
}

// calls runs a switch until it has written n calls, or a little more.
func calls(t *testing.T, seed byte, n int, account http.HandlerFunc) []string {
	t.Helper()
	client := newTopic(t, "cdrs")
	api := httptest.NewServer(account)
	t.Cleanup(api.Close)
	var mu sync.Mutex
	now := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	sw := simulate.NewSwitch(simulate.SwitchOptions{
		Client: client, Topic: "cdrs", API: simulate.NewAPI(api.URL, ""), Rate: 1000, Seed: [32]byte{seed},
		Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { // every look sees the same time go by
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(500 * time.Millisecond)
			return now
		},
	})
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	go func() { ended <- sw.Run(ctx) }()
	values := read(t, client, "cdrs", n)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return values
}

func active(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte(`{"balance":"10.000000","status":"active"}`))
}

func TestCallMix(t *testing.T) {
	t.Parallel()
	loaded, err := rating.Load(decks.Sample())
	if err != nil {
		t.Fatal(err)
	}
	const n = 5000
	kinds, accounts, ids := map[rating.Kind]int{}, map[string]int{}, map[string]int{}
	unanswered, parked, free, charged := 0, 0, 0, 0
	for _, value := range calls(t, 1, n, active) {
		var c rating.CDR
		if cdr.Canonical([]byte(value), &c) != nil {
			parked++
			continue
		}
		ids[c.ID]++
		kinds[c.Kind]++
		accounts[c.Account]++
		if !c.Answered() {
			unanswered++
		}
		charge, err := loaded.Price(&c)
		switch {
		case err != nil || c.Account == "nobody":
			parked++
		case charge.Amount == 0:
			free++
		default:
			charged++
		}
	}
	for _, k := range rating.Kinds() {
		if kinds[k] == 0 && k != rating.Emergency && k != rating.TollIn {
			t.Errorf("no %s", k)
		}
	}
	twice := 0
	for _, times := range ids {
		if times > 1 {
			twice++
		}
	}
	for _, tt := range []struct {
		what      string
		got       int
		low, high float64
	}{
		{"unanswered", unanswered, 0.12, 0.18},
		{"parked", parked, 0.002, 0.012},
		{"sent twice", twice, 0.004, 0.02},
		{"charged", charged, 0.35, 0.65},
		{"free", free, 0.3, 0.6},
		{"of acme", accounts["acme"], 0.35, 0.45},
	} {
		if share := float64(tt.got) / n; share < tt.low || share > tt.high {
			t.Errorf("%s: %.3f of all, want %.3f to %.3f", tt.what, share, tt.low, tt.high)
		}
	}
}

func TestSeedDecidesCalls(t *testing.T) {
	t.Parallel()
	idsOf := func(seed byte) map[string]bool {
		ids := map[string]bool{}
		for _, value := range calls(t, seed, 1000, active) {
			var c rating.CDR
			if cdr.Canonical([]byte(value), &c) == nil {
				ids[c.ID] = true
			}
		}
		return ids
	}
	first, same, other := idsOf(2), idsOf(2), idsOf(3)
	shared, foreign := 0, 0
	for id := range first {
		if same[id] {
			shared++
		}
		if other[id] {
			foreign++
		}
	}
	if shared < 900 || foreign > 0 {
		t.Errorf("%d of %d ids are those of the same seed, %d those of another", shared, len(first), foreign)
	}
}

// An account that is depleted makes only calls that need no credit.
func TestDepletedAccountsMakeNoPaidCalls(t *testing.T) {
	t.Parallel()
	seen := make(chan struct{}, 1)
	depleted := func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"balance":"-1.000000","status":"depleted"}`))
		if strings.HasSuffix(r.URL.Path, "/hooli") { // the last of a round
			select {
			case seen <- struct{}{}:
			default:
			}
		}
	}
	values := calls(t, 4, 5000, depleted)
	<-seen
	paid := 0
	for _, value := range values[len(values)-1000:] {
		var c struct{ Kind rating.Kind }
		if json.Unmarshal([]byte(value), &c) == nil && (c.Kind == rating.ConferenceOut || c.Kind == rating.ForwardOut) {
			paid++
		}
	}
	if paid > 0 {
		t.Errorf("%d of the last 1000 calls need credit", paid)
	}
}
