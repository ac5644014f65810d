package consumer_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

func TestWhoIsKnownNotToExist(t *testing.T) {
	a := consumer.NewAbsent(250 * time.Millisecond)
	a.Note(&balance.Entry{Unknown: map[string]int64{"nobody": 10_000}})
	a.Note(&balance.Entry{Unknown: map[string]int64{"": 10_000}}) // what is free whatever its account names none
	for _, tt := range []struct {
		account string
		at      int64
		want    bool
	}{
		{"nobody", 9_749, true},
		{"nobody", 9_750, false}, // a broker's clock may be that far behind
		{"nobody", 20_000, false},
		{"acme", 0, false},
		{"", 0, false},
	} {
		if got := a.Covers(tt.account, tt.at); got != tt.want {
			t.Errorf("%q at %d: %t", tt.account, tt.at, got)
		}
	}
	a.Note(&balance.Entry{Unknown: map[string]int64{"nobody": 20_000}})
	if !a.Covers("nobody", 19_000) {
		t.Error("what was learned later does not count")
	}
	for i := range consumer.MaxAbsent {
		a.Note(&balance.Entry{Unknown: map[string]int64{strconv.Itoa(i): 1}})
	}
	if a.Covers("nobody", 0) {
		t.Error("accounts are remembered without bound")
	}
}

// What was parked for want of an account says nothing about records that come after
// the account was made; nor does one that piled up with it lose its reason.
func TestAnAccountThatComesLater(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	const n = 8_000 // more than a fetch
	for range n / 1000 {
		var msgs []kafka.Message
		for range 1000 {
			msgs = append(msgs, kafka.Message{Value: w.call("nobody", 1)})
		}
		if _, err := w.client.Write(t.Context(), w.cdrs, 0, msgs); err != nil {
			t.Fatal(err)
		}
	}
	r := w.start()
	parked := func() int {
		return int(r.figure(t, "creditstream_consumer_parked_total", "reason", string(rating.UnknownAccount)))
	}
	until(t, "all parked", func() bool { return parked() == n })
	messages := map[string]int{}
	for _, rec := range w.all(w.topics.DeadLetters) {
		messages[header(&rec, "cs-message")]++
	}
	if len(messages) != 1 {
		t.Errorf("%v", messages)
	}
	w.create("nobody")
	until(t, "the account", func() bool { return w.spent("nobody") == 0 })
	w.produce(0, w.call("nobody", 7))
	until(t, "charged", func() bool { return w.spent("nobody") == 7 })
	if parked() != n {
		t.Errorf("%d parked, want %d", parked(), n)
	}
}
