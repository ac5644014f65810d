package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// finish waits for lag 0, has the processors stop, and judges.
func (r *run) finish(ctx context.Context) error {
	began := r.cfg.Now()
	r.say("waits for lag 0")
	const most = 5
	for try := 1; ; try++ {
		again, err := r.wind(ctx)
		if err != nil {
			return err
		}
		if !again {
			break
		}
		if try == most {
			r.find(CheckLag, "something was left in the logs each of %d times that the processors were stopped at lag 0", most)
			break
		}
	}
	r.report.LagTook = r.cfg.Now().Sub(began)
	r.say("reads the logs and Redis")
	logs, err := r.logs(ctx)
	if err != nil {
		return err
	}
	tally, findings := Judge(logs)
	r.conclude(tally, slices.Concat(findings, r.watch.findings, r.watch.unpublished(logs)))
	return r.verify(ctx)
}

// verify has the product compare its balances with its logs by itself.
func (r *run) verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	command := func(args ...string) *exec.Cmd { return exec.CommandContext(ctx, r.cfg.Binary, args...) } //nolint:gosec // the binary under test
	if help, err := command("verify", "--help").Output(); err != nil || !bytes.Contains(help, []byte("creditstream verify")) {
		r.say("this creditstream has no command verify")
		return nil
	}
	out, err := command("verify", "--brokers", outside(r.servers.brokers), "--redis", outside(r.servers.nodes),
		"--deck", filepath.Join(r.cfg.Dir, "deck")).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		r.find(CheckVerify, "exit status %d: %s", exit.ExitCode(), bytes.TrimSpace(out))
		return nil
	}
	r.say("creditstream verify agrees")
	return err
}

// wind has the processors work until lag 0 and then stop. again says that a timer
// appended a command meanwhile, which must be applied before anything is compared.
func (r *run) wind(ctx context.Context) (again bool, err error) {
	for len(r.fleet.all()) < 2 {
		if _, err := r.fleet.start(ctx); err != nil {
			return false, err
		}
	}
	err = r.watch.settled(ctx, r.cfg.LagLimit)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		r.find(CheckLag, "%s", err)
	}
	r.stopAll(ctx)
	if err != nil {
		return false, nil //nolint:nilerr // it is a finding: what is stored is compared as it is
	}
	var left int64
	err = until(ctx, time.Minute, "a look at offsets", func() error {
		p, err := r.watch.look(ctx)
		if err == nil {
			left = p.lag()
		}
		return err
	})
	return left > 0, err
}

func (r *run) stopAll(ctx context.Context) {
	for _, p := range r.fleet.ended() {
		r.find(CheckProcess, "processor %d ended by itself: see %s/logs/processor-%d.log", p.number, r.cfg.Dir, p.number)
	}
	for p := r.fleet.pick(0, 0); p != nil; p = r.fleet.pick(0, 0) {
		if err := p.stop(ctx); err != nil {
			r.find(CheckProcess, "%s: see %s/logs/processor-%d.log", err, r.cfg.Dir, p.number)
		}
	}
}

func (r *run) conclude(tally Tally, findings []Finding) {
	w := r.watch
	r.report.Tally = tally
	r.report.Findings = append(r.report.Findings, findings...)
	r.report.wounds, r.report.Looks, r.report.Insights = w.healed, w.looks, w.insights
	for _, x := range w.open {
		r.report.Findings = append(r.report.Findings, Finding{CheckLag, fmt.Sprintf("the stream never got past a %s", x.kind)})
	}
	r.report.Started = r.fleet.started
	r.report.Answers = maps.Clone(r.api.answers)
	if refused, all := r.api.refused(); 2*refused > all {
		r.report.Findings = append(r.report.Findings, Finding{CheckAPI, fmt.Sprintf("%d of %d answers of the API are refusals", refused, all)})
	}
	for _, path := range r.api.unknown {
		r.report.Findings = append(r.report.Findings, Finding{CheckAPI, "404 for " + path})
	}
}

// logs reads all topics and accounts.
func (r *run) logs(ctx context.Context) (*Logs, error) {
	l := &Logs{Acknowledged: r.api.acknowledged}
	for _, back := range r.watch.backs {
		l.Backs = append(l.Backs, back.UnixMilli())
	}
	for _, t := range []struct {
		topic string
		into  *[]Record
	}{
		{topicCDRs, &l.CDRs},
		{topicCommands, &l.Commands},
		{topicRated, &l.Rated},
		{topicLetters, &l.Letters},
		{topicAlerts, &l.Alerts},
		{topicRequests, &l.Requests},
	} {
		ends, err := r.watch.client.Ends(ctx, t.topic)
		if err != nil {
			return nil, err
		}
		if *t.into, err = readTopic(ctx, inside(r.servers.brokers), t.topic, ends); err != nil {
			return nil, err
		}
	}
	var err error
	l.Accounts, err = r.accounts(ctx)
	return l, err
}

// accounts reads what Redis holds, key by key.
func (r *run) accounts(ctx context.Context) (map[string]Stored, error) {
	out := map[string]Stored{}
	rdb := r.watch.rdb
	for s := range r.cfg.Shards {
		prefix := fmt.Sprintf("cs:{%d}:", s)
		ids, err := accountsOf(ctx, rdb, prefix)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			hash, err := rdb.HGetAll(ctx, prefix+"acct:"+id).Result()
			if err != nil {
				return nil, err
			}
			lots, err := rdb.ZRangeWithScores(ctx, prefix+"lots:"+id, 0, -1).Result()
			if err != nil {
				return nil, err
			}
			ledger, err := rdb.LRange(ctx, prefix+"ledger:"+id, 0, -1).Result()
			if err != nil {
				return nil, err
			}
			stored := Stored{Hash: hash, Ledger: ledger}
			for _, z := range lots {
				member, _ := z.Member.(string)
				stored.Lots = append(stored.Lots, StoredLot{member, int64(z.Score)})
			}
			out[id] = stored
		}
	}
	return out, nil
}

// accountsOf scans the master of a shard for accounts.
func accountsOf(ctx context.Context, rdb *redis.ClusterClient, prefix string) ([]string, error) {
	master, err := rdb.MasterForKey(ctx, prefix+"marks")
	if err != nil {
		return nil, err
	}
	var out []string
	it := master.Scan(ctx, 0, prefix+"acct:*", 1000).Iterator()
	for it.Next(ctx) {
		out = append(out, strings.TrimPrefix(it.Val(), prefix+"acct:"))
	}
	return out, it.Err()
}
