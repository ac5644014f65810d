package main

import (
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/creditstream/creditstream/internal/verify"
	"github.com/creditstream/creditstream/rating"
)

// What `verify --json` writes. Members may be added.
type (
	verifiedJSON struct {
		Verdict     verify.Verdict   `json:"verdict"`
		Unverified  string           `json:"unverified,omitempty"`
		Accounts    int              `json:"accounts"`
		Commands    int64            `json:"commands"`
		CDRs        int64            `json:"cdrs"`
		Rated       int64            `json:"rated"`
		Doubtful    int              `json:"doubtful"`
		Seconds     float64          `json:"seconds"`
		Differences []differenceJSON `json:"differences"`
	}
	differenceJSON struct {
		Account string             `json:"account"`
		Shard   int                `json:"shard"`
		Field   verify.Field       `json:"field"`
		Logs    string             `json:"logs"`
		Redis   string             `json:"redis"`
		Off     *rating.Micros     `json:"off,omitempty"` // how much more Redis has
		Found   string             `json:"found,omitempty"`
		Count   int                `json:"count"`
		Records []foundRecordsJSON `json:"records"`
	}
	foundRecordsJSON struct {
		Topic     string        `json:"topic"`
		Partition int           `json:"partition"`
		Offset    int64         `json:"offset"`
		ID        string        `json:"id"`
		Amount    rating.Micros `json:"amount"`
		Rated     string        `json:"rated,omitempty"`
	}
)

func (p *verified) json(rep *verify.Report) {
	v := verifiedJSON{
		Verdict: rep.Verdict(), Unverified: rep.Unverified, Accounts: rep.Accounts, Commands: rep.Commands, CDRs: rep.CDRs, Rated: rep.Rated,
		Doubtful: rep.Doubtful, Seconds: rep.Took.Seconds(), Differences: []differenceJSON{},
	}
	for i := range rep.Differences {
		d := &rep.Differences[i]
		one := differenceJSON{
			Account: d.Account, Shard: d.Shard, Field: d.Field, Logs: d.Logs, Redis: d.Redis, Found: d.Found, Count: d.Count, Records: []foundRecordsJSON{},
		}
		if m, ok := d.Money(); ok {
			one.Off = &m
		}
		for _, r := range d.Records {
			one.Records = append(one.Records, foundRecordsJSON{r.Source.Topic, r.Source.Partition, r.Offset, r.ID, r.Amount, r.Rated})
		}
		v.Differences = append(v.Differences, one)
	}
	text, err := json.Marshal(v)
	if err != nil {
		p.err = err
		return
	}
	p.line("%s", text)
}

// writeVerified writes what a comparison found; rep is nil when there was none. The
// metrics are gauges of the last comparison: one that could not be made leaves its
// time of success out.
func writeVerified(file string, rep *verify.Report, now time.Time) error {
	reg := prometheus.NewRegistry()
	f := promauto.With(reg)
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: "creditstream_verify_" + name, Help: help}, labels)
	}
	verdicts := gauge("verdict", "1 for the verdict of the last comparison of balances with the logs, 0 for the others.", "verdict")
	verdict := verify.Unknown
	if rep != nil {
		verdict = rep.Verdict()
	}
	for _, v := range []verify.Verdict{verify.Well, verify.Differs, verify.Unknown} {
		is := 0.0
		if v == verdict {
			is = 1
		}
		verdicts.WithLabelValues(string(v)).Set(is)
	}
	gauge("run_timestamp_seconds", "When balances were last compared, or could not be.").WithLabelValues().Set(float64(now.UnixMilli()) / 1000)
	if rep != nil {
		accounts := gauge("differing_accounts", "Accounts of which this differs between logs and Redis.", "field")
		drift := gauge("drift_units", "Sum of what differs, regardless of sign, in units of the accounts' currencies. Not a ledger: it is a float.", "field")
		for _, field := range verify.Fields() {
			accounts.WithLabelValues(string(field))
		}
		for _, field := range []verify.Field{verify.Funded, verify.Spent, verify.Forfeited} {
			drift.WithLabelValues(string(field))
		}
		for i := range rep.Differences {
			d := &rep.Differences[i]
			accounts.WithLabelValues(string(d.Field)).Inc()
			if d.Off != nil {
				units, _ := new(big.Float).SetInt(new(big.Int).Abs(d.Off)).Float64()
				drift.WithLabelValues(string(d.Field)).Add(units / 1e6)
			}
		}
		gauge("compared_accounts", "Accounts that were compared.").WithLabelValues().Set(float64(rep.Accounts))
		gauge("duration_seconds", "How long the last comparison took.").WithLabelValues().Set(rep.Took.Seconds())
	}
	if err := prometheus.WriteToTextfile(file, reg); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}
