package simulate_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/simulate"
)

const topic = "recharge-requests"

// payApp is a payment service and the API that it answers to.
type payApp struct {
	client *kafka.Client
	file   string
	code   atomic.Int32 // what the API answers
	heard  chan string  // path and body of each result
	url    string
}

func newPayApp(t *testing.T) *payApp {
	t.Helper()
	p := &payApp{client: newTopic(t, topic), file: filepath.Join(t.TempDir(), "payments.json"), heard: make(chan string, 100)}
	p.code.Store(http.StatusOK)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(int(p.code.Load()))
		p.heard <- r.URL.Path + " " + string(body)
	}))
	t.Cleanup(api.Close)
	p.url = api.URL
	return p
}

// run starts the service; the function returned stops it.
func (p *payApp) run(t *testing.T) (stop func()) {
	t.Helper()
	s, err := simulate.NewPayments(simulate.PaymentOptions{
		Client: p.client, Topic: topic, API: simulate.NewAPI(p.url, ""), File: p.file, Decline: []string{"poor"},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func (p *payApp) request(t *testing.T, account string, n int, amount string) {
	t.Helper()
	value := fmt.Appendf(nil, `{"recharge_id":"%s/%d","account":"%s","n":%d,"amount":"%s","currency":"USD","payment_method":"pm_1"}`, account, n, account, n, amount)
	if _, err := p.client.Write(testContext(t), topic, 0, []kafka.Message{{Key: []byte(account), Value: value}}); err != nil {
		t.Fatal(err)
	}
}

func (p *payApp) hear(t *testing.T) string {
	t.Helper()
	select {
	case s := <-p.heard:
		return s
	case <-time.After(15 * time.Second):
		t.Fatal("no result")
		return ""
	}
}

const (
	richFirst = `/v1/recharges/rich/1/result {"status":"succeeded","amount":"5.000000","currency":"USD"}`
	poorFirst = `/v1/recharges/poor/1/result {"status":"declined","code":"expired_card"}`
)

func TestPaymentsAreMadeOnce(t *testing.T) {
	t.Parallel()
	p := newPayApp(t)
	stop := p.run(t)
	p.request(t, "rich", 1, "5.000000")
	p.request(t, "poor", 1, "7.000000")
	p.request(t, "rich", 1, "9.000000") // the same number, whatever it says now
	got := []string{p.hear(t), p.hear(t), p.hear(t)}
	if want := []string{richFirst, poorFirst, richFirst}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	stop()
	stop = p.run(t) // goes on behind what is answered
	p.request(t, "rich", 2, "6.000000")
	const second = `/v1/recharges/rich/2/result {"status":"succeeded","amount":"6.000000","currency":"USD"}`
	for heard := p.hear(t); heard != second; heard = p.hear(t) {
		if heard != richFirst { // the last one may have been cut off before it was noted
			t.Fatalf("after a restart: %s", heard)
		}
	}
	stop()
}

// A result that was not taken is sent again, the same one, also after a crash.
func TestPaymentsRepeatTheirAnswer(t *testing.T) {
	t.Parallel()
	p := newPayApp(t)
	p.code.Store(http.StatusServiceUnavailable)
	stop := p.run(t)
	p.request(t, "rich", 1, "5.000000")
	for range 2 {
		if got := p.hear(t); got != richFirst {
			t.Error(got)
		}
	}
	stop()
	p.code.Store(http.StatusAccepted)
	stop = p.run(t)
	if got := p.hear(t); got != richFirst {
		t.Error(got)
	}
	stop()
}

// What is refused or cannot be read does not hold up the others.
func TestPaymentsGoOn(t *testing.T) {
	t.Parallel()
	p := newPayApp(t)
	p.code.Store(http.StatusNotFound)
	defer p.run(t)()
	if _, err := p.client.Write(testContext(t), topic, 0, []kafka.Message{{Value: []byte("{")}}); err != nil {
		t.Fatal(err)
	}
	p.request(t, "rich", 1, "5.000000")
	p.request(t, "poor", 1, "5.000000")
	if got := []string{p.hear(t), p.hear(t)}; !slices.Equal(got, []string{richFirst, poorFirst}) {
		t.Errorf("got %q", got)
	}
}

func TestPaymentsDoNotForget(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "payments.json")
	if err := os.WriteFile(file, []byte(`{"answers":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := simulate.NewPayments(simulate.PaymentOptions{File: file}); err == nil {
		t.Error("a file that cannot be read was taken for an empty one")
	}
}
