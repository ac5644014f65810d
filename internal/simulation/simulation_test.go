package simulation_test

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	seedsFlag = flag.String("seeds", "0:40", "seeds to run, from:to; `make simulate` runs more")
	seedFlag  = flag.Int64("seed", -1, "one seed to run, and to make as short as it gets when it fails")
	childFlag = flag.String("child", "", "from:to:step; a process that TestSeeds starts")
	stopFlag  = flag.Bool("stop", false, "stop at the first seed that fails, without a trace")
	traceFlag = flag.Bool("trace", false, "with -seed: show the trace of a run that holds too")
)

// A verdict is what a child says of one seed that failed, and at its end how many it ran.
type verdict struct {
	Seed    uint64
	Wrong   []string
	Runs    int
	Entries int
	Faults  int
}

// TestSeeds runs many seeds, in a process for each core: within one, one goroutine
// at a time runs, so that a seed is one run.
func TestSeeds(t *testing.T) {
	switch {
	case *childFlag != "":
		runChild(t)
		return
	case *seedFlag >= 0:
		runOne(t, uint64(*seedFlag))
		return
	}
	from, to := span(t, *seedsFlag)
	began := time.Now()
	n := min(runtime.NumCPU(), to-from)
	verdicts := make(chan verdict)
	done := make(chan error)
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	for k := range n {
		go func() { done <- startChild(ctx, fmt.Sprintf("%d:%d:%d", from+k, to, n), verdicts) }()
	}
	var failed []verdict
	var sum verdict
	for ended := 0; ended < n; {
		select {
		case v := <-verdicts:
			if len(v.Wrong) > 0 {
				failed = append(failed, v)
				if *stopFlag {
					enough()
				}
			}
			sum.Runs += v.Runs
			sum.Entries += v.Entries
			sum.Faults += v.Faults
		case err := <-done:
			ended++
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	}
	slices.SortFunc(failed, func(a, b verdict) int { return int(a.Seed) - int(b.Seed) })
	for _, v := range failed[:min(len(failed), 20)] {
		t.Errorf("seed %d: %s", v.Seed, v.Wrong[0])
	}
	t.Logf("%d seeds, %d failed; %d result entries, %d events and faults; %s", sum.Runs, len(failed), sum.Entries, sum.Faults, time.Since(began).Round(time.Second))
	if sum.Runs != to-from && ctx.Err() == nil {
		t.Errorf("%d seeds were run, %d were to be", sum.Runs, to-from)
	}
	if len(failed) > 0 && !*stopFlag {
		t.Logf("the shortest trace of seed %d (make simulate SEED=%d):\n%s", failed[0].Seed, failed[0].Seed, shortest(failed[0].Seed))
	}
}

func span(t *testing.T, text string) (from, to int) {
	t.Helper()
	a, b, _ := strings.Cut(text, ":")
	from, err := strconv.Atoi(a)
	to, err2 := strconv.Atoi(b)
	if err != nil || err2 != nil || from < 0 || to <= from {
		t.Fatalf("seeds %q: from:to is expected, such as 0:2000", text)
	}
	return from, to
}

func startChild(ctx context.Context, which string, verdicts chan<- verdict) error {
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestSeeds$", "-test.timeout=0", "-child="+which, fmt.Sprintf("-stop=%t", *stopFlag))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var rest []string
	at := "" // the seed that it is at
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), verdictMark); ok {
			var v verdict
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				return err
			}
			verdicts <- v
		} else if text, ok := strings.CutPrefix(lines.Text(), seedMark); ok {
			at = text
		} else if len(rest) < 60 {
			rest = append(rest, lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("seed %s: panic, or worse, of seeds %s: %w\n%s", at, which, err, strings.Join(rest, "\n"))
	}
	return nil
}

// How lines of a child begin that its parent reads.
const (
	verdictMark = "verdict "
	seedMark    = "at seed "
)

func say(v verdict) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintf(os.Stdout, "%s%s\n", verdictMark, b)
}

// maxFailed is how many seeds of a child may fail: then it is enough.
const maxFailed = 50

func runChild(t *testing.T) {
	t.Helper()
	f := strings.Split(*childFlag, ":")
	from, to, step := int(whole(f[0])), int(whole(f[1])), int(whole(f[2]))
	failed := 0
	sum := verdict{}
	for s := from; s < to; s += step {
		sum.Runs++
		if failed >= maxFailed || failed > 0 && *stopFlag {
			continue
		}
		_, _ = fmt.Fprintf(os.Stdout, "%s%d\n", seedMark, s)
		r := simulate(t, options{seed: uint64(s)})
		sum.Entries += r.entries
		sum.Faults += len(r.fired)
		if len(r.wrong) > 0 {
			failed++
			say(verdict{Seed: uint64(s), Wrong: r.wrong[:1]})
		}
	}
	say(sum)
}

func runOne(t *testing.T, seed uint64) {
	t.Helper()
	runtime.GOMAXPROCS(1)
	r := simulate(t, options{seed: seed, trace: true})
	if len(r.wrong) == 0 {
		if *traceFlag {
			t.Log(strings.Join(r.trace, "\n"))
		}
		t.Logf("seed %d holds: %+v, %d result entries, %d events and faults", seed, r.shape, r.entries, len(r.fired))
		return
	}
	short := shrink(t, r, seed)
	t.Errorf("seed %d: %s\nthe shortest run found has %d of %d events and faults:\n%s\n%s", seed, strings.Join(r.wrong, "\n"), len(short.fired), len(r.fired), strings.Join(short.trace, "\n"), strings.Join(short.wrong, "\n"))
}

func shortest(seed uint64) string {
	cmd := exec.Command(os.Args[0], "-test.run=^TestSeeds$", fmt.Sprintf("-seed=%d", seed))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	out, _ := cmd.CombinedOutput() // it fails: that is why we look
	return string(out)
}
