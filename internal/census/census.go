// Package census counts for the metrics what no single record tells: how many accounts
// are below zero, how many recharges are without an answer, how full Redis is.
//
// Each process counts the accounts of the shards whose commands it applies, so that the
// sum over all processes is that of all accounts. It reads slowly, it changes nothing,
// and nothing waits for it: a count is as old as a round takes.
package census

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/creditstream/creditstream/balance"
)

const (
	stepEvery  = time.Second
	stepReads  = 1000             // accounts read in a step, at most: about 2 ms of Redis
	roundEvery = 10 * time.Second // between the beginnings of two rounds, at least
)

// Config is what a census needs; all of it is required.
type Config struct {
	Store      *balance.Store
	Held       func() []int // partitions of the commands topic that this process holds
	Registerer prometheus.Registerer
	Now        func() time.Time
	Logger     *slog.Logger
}

// A Census counts; Run does so again and again.
type Census struct {
	cfg Config

	accounts, recharges             *prometheus.GaugeVec
	used, limit, largestSet, intset prometheus.Gauge
	errors                          prometheus.Counter

	shards []int // that are counted
	round  round
	told   bool // that it fails; until a round was without an error
}

// A round is one count of all shards.
type round struct {
	began time.Time
	left  []int  // shards that are not counted yet; the first may be begun
	after string // the last account of the first one that is counted
	tally balance.Tally

	failed bool
}

// New returns a census. Its metrics of accounts appear after the first round.
func New(cfg Config) *Census {
	f := promauto.With(cfg.Registerer)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: "creditstream_census_" + name, Help: help})
	}
	return &Census{
		cfg: cfg,
		accounts: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "creditstream_census_accounts", Help: "Accounts by balance, as of the last round; each is counted by one process.",
		}, []string{"standing"}),
		recharges: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "creditstream_census_recharge_accounts", Help: "Accounts by the state of their auto-recharge, as of the last round; each is counted by one process.",
		}, []string{"state"}),
		used:       gauge("redis_used_bytes", "Memory used by the server of Redis that uses the most."),
		limit:      gauge("redis_limit_bytes", "How much memory that server may use (maxmemory); 0: it has no limit."),
		largestSet: gauge("slice_ids", "CDR ids in the largest set of a shard and slice, of the slices around now."),
		intset:     gauge("slice_ids_compact", "Up to how many ids a set takes 9 bytes an id; beyond it some 65 (set-max-intset-entries)."),
		errors: f.NewCounter(prometheus.CounterOpts{
			Name: "creditstream_census_errors_total", Help: "Times that Redis could not be asked.",
		}),
	}
}

// Run counts until ctx ends.
func (c *Census) Run(ctx context.Context) {
	tick := time.NewTicker(stepEvery)
	defer tick.Stop()
	for {
		err := c.step(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.round.failed = true
			c.errors.Inc()
			if !c.told {
				c.cfg.Logger.WarnContext(ctx, "cannot count accounts and memory: tried again", slog.Any("error", err))
			}
			c.told = true
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// step goes on with the round, or begins the next one when it is time.
func (c *Census) step(ctx context.Context) error {
	now := c.cfg.Now()
	if shards := c.held(); !slices.Equal(shards, c.shards) {
		c.accounts.Reset() // others count some of them from now on
		c.recharges.Reset()
		c.shards, c.round = shards, round{}
	}
	var full error // keeps nobody from being counted
	if len(c.round.left) == 0 {
		if now.Sub(c.round.began) < roundEvery {
			return nil
		}
		full = c.weigh(ctx, now)
		c.round = round{began: now, left: slices.Clone(c.shards)}
	}
	err := c.read(ctx)
	if err == nil && len(c.round.left) == 0 {
		c.show()
		c.told = c.told && (c.round.failed || full != nil)
	}
	return errors.Join(err, full)
}

// held returns the shards whose commands this process applies.
func (c *Census) held() (shards []int) {
	partitions := c.cfg.Held()
	for sh := range c.cfg.Store.Shards() {
		if slices.Contains(partitions, c.cfg.Store.CommandPartition(sh)) {
			shards = append(shards, sh)
		}
	}
	return shards
}

func (c *Census) read(ctx context.Context) error {
	r := &c.round
	for budget := stepReads; budget > 0 && len(r.left) > 0; {
		last, n, err := c.cfg.Store.Tally(ctx, r.left[0], r.after, budget, &r.tally)
		if err != nil {
			return err
		}
		budget -= n
		if r.after = last; last == "" {
			r.left = r.left[1:]
		}
	}
	return nil
}

func (c *Census) show() {
	if len(c.shards) == 0 {
		return // others count them
	}
	t := &c.round.tally
	c.accounts.WithLabelValues("at_or_above_zero").Set(float64(t.AtOrAboveZero))
	c.accounts.WithLabelValues("below_zero").Set(float64(t.BelowZero))
	for _, state := range balance.RechargeStates() {
		c.recharges.WithLabelValues(state).Set(float64(t.Recharges[state]))
	}
}

// weigh asks how full Redis is: every process does.
func (c *Census) weigh(ctx context.Context, now time.Time) error {
	used, limit, err := c.cfg.Store.Memory(ctx)
	if err != nil {
		return err
	}
	c.used.Set(float64(used))
	c.limit.Set(float64(limit))
	largest, compact, err := c.cfg.Store.SliceIDs(ctx, now)
	if err != nil {
		return err
	}
	c.largestSet.Set(float64(largest))
	c.intset.Set(float64(compact))
	return nil
}
