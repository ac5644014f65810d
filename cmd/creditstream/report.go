package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// figures are what the metrics say at one moment, counted since the start.
type figures struct {
	calls      float64
	outcomes   map[string]float64
	money      map[string]float64 // by currency; for people, not a ledger
	lag        float64            // records
	lagSeconds float64            // of the slowest partition
	events     map[string]float64
}

func gather(g prometheus.Gatherer) (figures, error) {
	f := figures{outcomes: map[string]float64{}, money: map[string]float64{}, events: map[string]float64{}}
	families, err := g.Gather()
	if err != nil {
		return f, fmt.Errorf("gather metrics: %w", err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			f.add(family.GetName(), m)
		}
	}
	return f, nil
}

func (f *figures) add(name string, m *dto.Metric) {
	switch name {
	case "creditstream_consumer_records_total":
		f.calls += m.GetCounter().GetValue()
		f.outcomes[label(m, "outcome")] += m.GetCounter().GetValue()
	case "creditstream_consumer_charged_units_total":
		f.money[label(m, "currency")] += m.GetCounter().GetValue()
	case "creditstream_consumer_lag_records":
		f.lag += m.GetGauge().GetValue()
	case "creditstream_consumer_lag_seconds":
		f.lagSeconds = max(f.lagSeconds, m.GetGauge().GetValue())
	case "creditstream_alerts_events_total":
		f.events[label(m, "type")] += m.GetCounter().GetValue()
	}
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// line says in one line what happened since last and since the start.
func (f *figures) line(last *figures, since time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "calls %.0f/s %.0f", (f.calls-last.calls)/since.Seconds(), f.calls)
	if f.calls > 0 {
		fmt.Fprintf(&b, ": %s", counts(f.outcomes, "%s %.0f"))
	}
	fmt.Fprintf(&b, " | lag %.0f", f.lag)
	if f.lagSeconds >= 0.1 {
		fmt.Fprintf(&b, " (%.1f s)", f.lagSeconds)
	}
	fmt.Fprintf(&b, " | charged %s", cmp.Or(counts(f.money, "%s %.2f"), "0"))
	fmt.Fprintf(&b, " | recharges asked %.0f paid %.0f failed %.0f",
		f.events["payment.requested"], f.events["recharge.succeeded"], f.events["recharge.failed"])
	rest := map[string]float64{}
	for kind, n := range f.events {
		switch kind {
		case "payment.requested", "recharge.requested", "recharge.succeeded", "recharge.failed": // told above
		default:
			rest[kind] = n
		}
	}
	fmt.Fprintf(&b, " | events %s", cmp.Or(counts(rest, "%s %.0f"), "0"))
	return b.String()
}

// equal reports whether nothing was counted between f and last.
func (f *figures) equal(last *figures) bool {
	return maps.Equal(f.outcomes, last.outcomes) && maps.Equal(f.events, last.events)
}

// counts lists what is not zero, by name.
func counts(by map[string]float64, format string) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		if by[name] != 0 {
			words = append(words, fmt.Sprintf(format, strings.TrimPrefix(name, "balance."), by[name]))
		}
	}
	return strings.Join(words, ", ")
}

const reportEvery = time.Second

// report writes a line every second until ctx ends (nil) or a part of the sandbox
// fails. Without simulated calls it writes one when something has happened: the
// commands to try stay in sight.
func (s *sandbox) report(ctx context.Context) error {
	last, err := gather(s.processor.registry)
	if err != nil {
		return err
	}
	lastAt := s.now()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.failed:
			return err
		case <-tick.C:
		}
		f, err := gather(s.processor.registry)
		if err != nil {
			return err
		}
		now := s.now()
		if s.calls != nil || !f.equal(&last) {
			s.say("%s  %s%s", now.Format("15:04:05"), f.line(&last, now.Sub(lastAt)), s.balances())
		}
		last, lastAt = f, now
	}
}

// balances says how the simulated accounts stand.
func (s *sandbox) balances() string {
	if s.calls == nil {
		return ""
	}
	var words []string
	below := 0
	for _, c := range s.calls.Customers() {
		units, cents, _ := strings.Cut(c.Balance, ".")
		words = append(words, c.Account+" "+units+"."+cents[:min(2, len(cents))])
		if c.Depleted {
			below++
		}
	}
	return fmt.Sprintf(" | %s | below zero %d", strings.Join(words, ", "), below)
}
