package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/creditstream/creditstream/internal/kafka"
)

// SwitchOptions say how to simulate a switch. All are required.
type SwitchOptions struct {
	Client *kafka.Client
	Topic  string // of CDRs
	API    *API
	Rate   int      // calls per second, on average
	Seed   [32]byte // a seed used before makes the same calls with the same ids
	Now    func() time.Time
	Log    *slog.Logger
}

const (
	stride      = 50 * time.Millisecond // between looks for calls that are due
	statusEvery = time.Second
	twiceShare  = 0.01
	keptCalls   = 200 // that may be sent a second time
	// mostBehind bounds the calls that are made up for after the process was held.
	mostBehind = time.Second
)

// A Switch writes CDRs of calls that nobody made.
type Switch struct {
	opt    SwitchOptions
	caller *caller
	writer *kafka.Writer
	next   time.Time       // when the next call ends
	recent []kafka.Message // the last keptCalls

	mu       sync.Mutex
	statuses map[string]status // one for each customer
}

// NewSwitch returns a switch; Run starts it.
func NewSwitch(opt SwitchOptions) *Switch {
	return &Switch{
		opt: opt, caller: newCaller(opt.Seed), writer: kafka.NewWriter(opt.Client, kafka.WriterOptions{}),
		statuses: map[string]status{},
	}
}

// Run writes calls until ctx ends and then returns nil.
func (s *Switch) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.each(ctx, stride, s.writeDue) })
	group.Go(func() error { return s.each(ctx, statusEvery, s.look) })
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("simulated switch: %w", err)
	}
	return nil
}

// each calls do until ctx ends or do returns an error.
func (s *Switch) each(ctx context.Context, interval time.Duration, do func(ctx context.Context) error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := do(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// writeDue writes the calls that have ended since the last look.
func (s *Switch) writeDue(ctx context.Context) error {
	msgs := s.due(s.opt.Now())
	if len(msgs) == 0 {
		return nil
	}
	return s.writer.WriteAll(ctx, msgs)
}

func (s *Switch) due(now time.Time) (msgs []kafka.Message) {
	if now.Sub(s.next) > mostBehind {
		s.next = now
	}
	for ; !s.next.After(now); s.next = s.next.Add(time.Duration(s.caller.rng.ExpFloat64() * float64(time.Second) / float64(s.opt.Rate))) {
		key, value := s.caller.next(now, s.mayPay)
		m := kafka.Message{Topic: s.opt.Topic, Partition: kafka.AnyPartition, Key: key, Value: value}
		msgs = append(msgs, m)
		if s.caller.rng.Float64() < twiceShare && len(s.recent) > 0 {
			again := s.recent[s.caller.rng.IntN(len(s.recent))]
			again.Key = key // elsewhere in the topic, as a switch that repeats does
			msgs = append(msgs, again)
		}
		if len(s.recent) == keptCalls {
			s.recent = s.recent[1:]
		}
		s.recent = append(s.recent, m)
	}
	return msgs
}

// look asks for the accounts of all customers.
func (s *Switch) look(ctx context.Context) error {
	for _, c := range s.caller.customers {
		st, err := s.opt.API.account(ctx, c.id)
		if err != nil {
			s.opt.Log.DebugContext(ctx, "simulated switch keeps what it knew", slog.Any("error", err))
			continue
		}
		s.mu.Lock()
		s.statuses[c.id] = st
		s.mu.Unlock()
	}
	return nil
}

func (s *Switch) mayPay(account string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statuses[account].Status != "depleted"
}

// A Customer is an account of the switch as it last saw it.
type Customer struct {
	Account string
	Balance string // in major units
	// Depleted accounts make no calls that credits pay for.
	Depleted bool
}

// Customers returns the accounts that the switch has seen, always in one order.
func (s *Switch) Customers() []Customer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Customer
	for _, c := range s.caller.customers {
		if st, seen := s.statuses[c.id]; seen {
			list = append(list, Customer{Account: c.id, Balance: st.Balance, Depleted: st.Status == "depleted"})
		}
	}
	return list
}
