// Command cmd runs the fault harness: see docs/chaos.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/creditstream/creditstream/internal/chaos"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // main of the harness
	defer stop()
	code, err := run(ctx, os.Args[1:])
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	stop()
	os.Exit(code) //nolint:forbidigo // main of the harness
}

// Exit statuses: the product has failed, or the harness has.
const (
	exitFound = 1
	exitError = 2
)

func run(ctx context.Context, args []string) (int, error) {
	set := flag.NewFlagSet("chaos", flag.ContinueOnError)
	cfg := short()
	long := set.Bool("long", false, "the long run: a million CDRs in 50 minutes")
	none := set.Bool("no-faults", false, "the load alone")
	only := set.String("only", "", "one kind of fault alone")
	without := set.String("without", "", "kinds of faults to leave out, with commas between")
	times := set.Int("times", 3, "how often the one kind of -only is injected")
	set.Uint64Var(&cfg.Seed, "seed", 1, "of the schedule")
	set.StringVar(&cfg.Dir, "dir", "", "directory for data and logs, kept; default: a temporary one, kept after a failure")
	set.StringVar(&cfg.Root, "root", ".", "directory of the repository")
	set.StringVar(&cfg.Binary, "binary", "", "creditstream to attack; default: it is built")
	cdrs := set.Int("cdrs", 0, "how many CDRs; 0: as the run has")
	span := set.Duration("span", 0, "how long the load lasts; 0: as the run has")
	brokers := set.Int("brokers", 0, "1 or 3; 0: as the run has")
	if err := set.Parse(args); err != nil {
		return exitError, err
	}
	if *long {
		l := longRun()
		l.Seed, l.Dir, l.Root, l.Binary = cfg.Seed, cfg.Dir, cfg.Root, cfg.Binary
		cfg = l
	}
	if *cdrs > 0 {
		cfg.CDRs = *cdrs
	}
	if *span > 0 {
		cfg.Span = *span
	}
	if *brokers > 0 {
		cfg.Brokers = *brokers
	}
	if *none {
		cfg.Faults = nil
	}
	for _, k := range strings.FieldsFunc(*only+","+*without, func(r rune) bool { return r == ',' }) {
		if !slices.Contains(chaos.Kinds(), chaos.Kind(k)) {
			return exitError, fmt.Errorf("%q is no kind of fault; there are %v", k, chaos.Kinds())
		}
	}
	for k := range strings.SplitSeq(*without, ",") {
		delete(cfg.Faults, chaos.Kind(k))
	}
	if *only != "" {
		cfg.Faults = map[chaos.Kind]int{chaos.Kind(*only): *times}
	}
	return attack(ctx, cfg)
}

func attack(ctx context.Context, cfg chaos.Config) (code int, err error) {
	cfg.Out, cfg.Now = os.Stdout, time.Now //nolint:forbidigo // main of the harness
	if cfg.Root, err = filepath.Abs(cfg.Root); err != nil {
		return exitError, err
	}
	temporary := cfg.Dir == ""
	if temporary {
		if cfg.Dir, err = os.MkdirTemp("", "creditstream-chaos-"); err != nil {
			return exitError, err
		}
		defer func() {
			if code == 0 {
				err = errors.Join(err, os.RemoveAll(cfg.Dir))
			}
		}()
	}
	if cfg.Binary == "" {
		cfg.Binary = filepath.Join(cfg.Dir, "creditstream")
		build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", cfg.Binary, "./cmd/creditstream") //nolint:gosec // our own path
		build.Dir = cfg.Root
		if out, err := build.CombinedOutput(); err != nil {
			return exitError, fmt.Errorf("build creditstream: %w: %s", err, out)
		}
	}
	report, err := chaos.Run(ctx, cfg)
	if err != nil {
		return exitError, fmt.Errorf("%w; data and logs are in %s", err, cfg.Dir)
	}
	report.Write(cfg.Out)
	if !report.OK() {
		return exitFound, fmt.Errorf("violations; data and logs are in %s", cfg.Dir)
	}
	if missing := report.Missing(cfg.Faults); len(missing) > 0 {
		return exitError, fmt.Errorf("not all faults could be injected: %v; data and logs are in %s", missing, cfg.Dir)
	}
	if blind := report.Blind(cfg.Span); len(blind) > 0 {
		return exitError, fmt.Errorf("not enough was seen: %v; data and logs are in %s", blind, cfg.Dir)
	}
	return 0, nil
}

// short is the run of CI.
func short() chaos.Config {
	return chaos.Config{
		CDRs: 50_000, Span: 180 * time.Second, LagLimit: 60 * time.Second,
		Mix:      chaos.Mix{Twice: 50_000, Late: 10_000, Garbage: 1_000, Aborted: 20_000},
		Accounts: 40, Partitions: 4, Shards: 16, Processors: min(3, runtime.NumCPU()+1), Brokers: 3,
		Faults: map[chaos.Kind]int{
			chaos.ProcessorKill: 8, chaos.Zombie: 2, chaos.Rebalance: 10, chaos.BrokerKill: 1, chaos.LeaderMove: 1,
			chaos.RedisKill: 2, chaos.AOFCut: 1, chaos.Failover: 1, chaos.Restore: 1, chaos.SlotMove: 1,
			chaos.LostReply: 2, chaos.Reset: 2, chaos.Stall: 2, chaos.Slow: 2, chaos.Sliced: 2,
		},
	}
}

// longRun is that of `make chaos-long`.
func longRun() chaos.Config {
	cfg := short()
	cfg.CDRs, cfg.Span, cfg.LagLimit = 1_000_000, 50*time.Minute, 5*time.Minute
	cfg.Mix = chaos.Mix{Twice: 100_000, Late: 20_000, Garbage: 5_000, Aborted: 20_000}
	cfg.Accounts, cfg.Partitions, cfg.Shards = 300, 6, 32
	cfg.Faults = map[chaos.Kind]int{
		chaos.ProcessorKill: 150, chaos.Zombie: 20, chaos.Rebalance: 60, chaos.BrokerKill: 12, chaos.LeaderMove: 8,
		chaos.RedisKill: 20, chaos.AOFCut: 10, chaos.Failover: 10, chaos.Restore: 3, chaos.SlotMove: 10,
		chaos.LostReply: 20, chaos.Reset: 20, chaos.Stall: 20, chaos.Slow: 20, chaos.Sliced: 20,
	}
	return cfg
}
