package consumer_test

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

func TestStreamEndToEnd(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	until(t, "ready", func() bool { return r.Ready() == nil })
	w.create("acme", "globex")
	twice := w.call("acme", 7)
	w.produce(0, w.call("acme", 1000), twice, w.call("globex", 3))
	w.produce(1, w.call("acme", 20), twice, []byte("{no json"), w.call("acme", 5, `,"callee":"none"`))
	w.produce(1, w.call("nobody", 5), []byte(strings.Replace(string(w.call("nobody", 5)), "user_out", "emergency", 1)))
	until(t, "charged", func() bool { return w.spent("acme") == 1027 && w.spent("globex") == 3 })
	until(t, "all handled", func() bool { return r.figure(t, "creditstream_consumer_records_total") == 9 })
	outcomes := map[string]int{}
	for _, x := range w.rated() {
		outcomes[x.Outcome]++
	}
	// the duplicate member "callee" is a bad field; nobody is parked once the commands are past it
	if outcomes["charged"] != 4 || outcomes["duplicate"] != 1 || outcomes["free"] != 1 {
		t.Errorf("outcomes %v", outcomes)
	}
	reasons := map[string]int{}
	for _, d := range w.all(w.topics.DeadLetters) {
		reasons[header(&d, "cs-reason")]++
	}
	if len(reasons) != 3 || reasons[string(rating.NotJSON)] != 1 || reasons[string(rating.BadField)] != 1 || reasons[string(rating.UnknownAccount)] != 1 {
		t.Errorf("reasons %v", reasons)
	}
	until(t, "committed", func() bool { return r.figure(t, "creditstream_consumer_outbox_entries") == 0 })
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if a := r.figure(t, "creditstream_consumer_take_overs_total"); a != 0 {
		t.Errorf("%v take-overs without a fault", a)
	}
}

// recharging creates an account that buys 50 micros at 20.
func recharging(account string) *balance.Command {
	on, pm, trigger, amount := true, "pm_1", rating.Micros(20), rating.Micros(50)
	return &balance.Command{Type: balance.PutAccount, Account: account, ID: "create", Put: &balance.Settings{
		Currency: "USD", AutoRecharge: &balance.Nullable[balance.AutoRecharge]{Value: balance.AutoRecharge{
			Enabled: &on, PaymentMethod: &pm, Trigger: &trigger, Amount: &amount,
		}},
	}}
}

func TestRechargeGoesRoundTheLog(t *testing.T) {
	w := newWorld(t)
	w.start()
	amount := rating.Micros(50)
	w.command(recharging("acme"))
	until(t, "request", func() bool { return len(w.all(w.topics.RechargeRequests)) == 1 })
	req := w.all(w.topics.RechargeRequests)[0]
	if header(&req, "ce_id") != "acme/1" {
		t.Errorf("%s", header(&req, "ce_id"))
	}
	w.command(&balance.Command{Type: balance.Result, Account: "acme", N: 1, Status: "succeeded", Amount: &amount, Currency: "USD"})
	until(t, "credit", func() bool { a, err := w.store.Account(t.Context(), "acme"); return err == nil && a.Balance() == 50 })
	w.produce(0, w.call("acme", 30))
	until(t, "second request", func() bool { return len(w.all(w.topics.RechargeRequests)) == 2 })
}

// A member that is given no partitions has nothing to wait for: it is ready.
func TestMembersWithoutPartitionsAreReady(t *testing.T) {
	w := newWorld(t)
	var all []*running
	for range partitions + 1 { // of two topics, which the group assigns alike
		all = append(all, w.start())
	}
	idle := func() (n int) {
		for _, r := range all {
			if r.figure(t, "creditstream_consumer_partitions_held") == 0 {
				n++
			}
		}
		return n
	}
	until(t, "all are ready, one of them without partitions", func() bool {
		for _, r := range all {
			if r.Ready() != nil {
				return false
			}
		}
		return idle() == 1
	})
}

// lent is a client whose group gives the member all partitions, and none once it is told to.
type lent struct {
	*kafka.Client

	all  []kafka.TopicPartition
	none chan struct{}
}

func (l *lent) RunGroup(ctx context.Context, _ kafka.GroupConfig, run func(context.Context, *kafka.Generation) error) error {
	first, end := context.WithCancel(ctx)
	defer end()
	go func() {
		<-l.none
		end()
	}()
	commit := func(map[string]map[int]int64) error { return nil }
	if err := run(first, kafka.NewGeneration(first, 1, l.all, commit)); err != nil {
		return err
	}
	return run(ctx, kafka.NewGeneration(ctx, 2, nil, commit))
}

// severed has calls to Redis fail while it is on.
type severed struct{ on atomic.Bool }

func (*severed) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*severed) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (s *severed) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if !s.on.Load() {
			return next(ctx, cmds)
		}
		for _, c := range cmds {
			c.SetErr(io.ErrUnexpectedEOF)
		}
		return io.ErrUnexpectedEOF
	}
}

// What a member waited for when it lost its partitions, it waits for no more.
func TestAMemberThatLostItsPartitionsIsReady(t *testing.T) {
	w := newWorld(t)
	member := &lent{Client: w.client, none: make(chan struct{})}
	for p := range partitions {
		for _, topic := range []string{w.cdrs, w.topics.Commands} {
			member.all = append(member.all, kafka.TopicPartition{Topic: topic, Partition: p})
		}
	}
	w.member = member
	s := &severed{}
	w.rdb.AddHook(s)
	r := w.start()
	until(t, "it is ready", func() bool { return r.Ready() == nil })
	s.on.Store(true)
	until(t, "it waits for Redis", func() bool { err := r.Ready(); return err != nil && strings.Contains(err.Error(), "waiting for Redis") })
	close(member.none)
	until(t, "it is ready without partitions", func() bool { return r.Ready() == nil })
}
