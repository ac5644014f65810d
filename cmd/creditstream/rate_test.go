package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

const (
	tryDeck  = "testdata/rate/deck"
	tryCalls = "testdata/rate/calls.jsonl"
)

func TestRate(t *testing.T) {
	t.Parallel()
	out, errs, err := execute(t, "rate", "--deck", tryDeck, tryCalls)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "rate/rated.golden", out)
	golden(t, "rate/totals.golden", errs)
	out, explainedTotals, err := execute(t, "rate", "--deck", tryDeck, "--explain", tryCalls)
	if err != nil || explainedTotals != errs {
		t.Errorf("%v: totals\n%s", err, explainedTotals)
	}
	golden(t, "rate/explained.golden", out)
}

// piped runs the binary with a text as stdin.
func piped(t *testing.T, stdin io.Reader, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	if err := cmd.Run(); err != nil {
		if _, ended := errors.AsType[*exec.ExitError](err); !ended {
			t.Fatal(err)
		}
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Stdin gives what the file gives, but for the name; and so do both together.
func TestRateStdin(t *testing.T) {
	t.Parallel()
	calls, err := os.ReadFile(tryCalls)
	if err != nil {
		t.Fatal(err)
	}
	fromFile, totals, code := piped(t, nil, "rate", "--deck="+tryDeck, tryCalls)
	if code != 0 {
		t.Fatal(code, totals)
	}
	want := strings.ReplaceAll(fromFile, tryCalls+":", "stdin:")
	for _, args := range [][]string{{}, {"-"}} {
		out, errs, code := piped(t, bytes.NewReader(calls), append([]string{"rate", "--deck=" + tryDeck}, args...)...)
		if code != 0 || out != want || errs != totals {
			t.Errorf("%s: code %d\n%s%s", args, code, out, errs)
		}
	}
	out, errs, code := piped(t, bytes.NewReader(calls), "rate", "--deck="+tryDeck, tryCalls, "-", tryCalls)
	if code != 0 || out != fromFile+want+fromFile || strings.Contains(errs, "\r") {
		t.Errorf("file, stdin, file: code %d\n%s%s", code, out, errs)
	}
}

// The total of a file is the sum of its lines, and the lines stay in order.
func TestRateTotals(t *testing.T) {
	t.Parallel()
	var calls strings.Builder
	for i := range 500 {
		callee := []string{"+33155500102", "+442055500101", "+49305550100"}[i%3]
		one, _ := json.Marshal(map[string]any{
			"id": string(rune('a'+i%26)) + "-" + callee, "source": "s", "account": "acme", "kind": "user_out",
			"callee": callee, "answered_at": "2026-03-02T09:00:00Z", "duration_ms": i * 977,
		})
		calls.Write(append(one, '\n'))
	}
	out, errs, code := piped(t, strings.NewReader(calls.String()), "rate", "--deck="+tryDeck)
	if code != 0 || strings.Count(out, "\n") != 500 {
		t.Fatalf("code %d, %d lines\n%s", code, strings.Count(out, "\n"), errs)
	}
	sum := rating.Micros(0)
	in := strings.Split(calls.String(), "\n")
	for i, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		var was, is struct {
			ID     string        `json:"id"`
			Charge rating.Micros `json:"charge"`
		}
		if err := errors.Join(json.Unmarshal([]byte(in[i]), &was), json.Unmarshal([]byte(line), &is)); err != nil || was.ID != is.ID {
			t.Fatalf("line %d: %s for %s: %v", i+1, line, in[i], err)
		}
		sum += is.Charge
	}
	words := strings.Fields(errs[strings.LastIndex(errs, "\ntotal"):])
	if sum == 0 || len(words) != 5 || words[1] != "499" || words[3] != sum.String() {
		t.Errorf("the lines add up to %s, the totals are\n%s", sum, errs)
	}
}

// Sums go on above the bound of a charge.
func TestTotalsAboveMaxTotal(t *testing.T) {
	t.Parallel()
	sums := newTotals()
	for range 2000 {
		sums.add(&rating.Charge{Destination: "x", ChargedSeconds: 1 << 60, Amount: rating.MaxTotal, Currency: "USD"})
	}
	var out strings.Builder
	if err := sums.write(&out); err != nil || !strings.Contains(out.String(), "2305843009213693952000  18000000000000.000000  USD") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// A line that is too long is answered, and so are those around it.
func TestRateLongLine(t *testing.T) {
	t.Parallel()
	call, _, _ := strings.Cut(string(must1(os.ReadFile(tryCalls))), "\n")
	padded := func(size int) string {
		const pad = `,"pad":""}`
		return strings.TrimSuffix(call, "}") + pad[:8] + strings.Repeat("x", size-len(call)-len(pad)+1) + pad[8:]
	}
	in := strings.Join([]string{call, padded(3 * cdr.MaxRecordBytes), call, padded(cdr.MaxRecordBytes + 1), padded(cdr.MaxRecordBytes), call}, "\n")
	out, errs, code := piped(t, strings.NewReader(in), "rate", "--deck="+tryDeck)
	lines := strings.Split(out, "\n")
	if code != 0 || len(lines) != 7 {
		t.Fatalf("code %d\n%s%s", code, out, errs)
	}
	for i, want := range []string{
		`"charge":"0.325000"`, `{"id":"","error":{"code":"not_json","message":"stdin:2: the record is `,
		`"charge":"0.325000"`, `stdin:4: the record is 1048577 bytes long; expected at most 1048576`, `"charge":"0.325000"`, `"charge":"0.325000"`,
	} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d: %s, want %s", i+1, lines[i], want)
		}
	}
}

func must1[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func TestRateErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := filepath.Join(dir, "deck")
	if err := errors.Join(os.Mkdir(broken, 0o700), os.WriteFile(filepath.Join(broken, "deck.yaml"), []byte("id: x\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no deck":        {[]string{"rate", tryCalls}, "creditstream: deck is required (directory of the rate deck"},
		"no such deck":   {[]string{"rate", "--deck", dir + "/no", tryCalls}, `creditstream: flag --deck: "` + dir + `/no" does not exist: expected a directory`},
		"broken deck":    {[]string{"rate", "--deck", broken, tryCalls}, `creditstream: flag --deck: "` + broken + "\" holds no valid deck:\n    deck.yaml:1:1: currency is missing\n"},
		"no such format": {[]string{"rate", "--deck", tryDeck, "--format=csv"}, `creditstream: flag --format: "csv" is not known: expected one of canonical`},
		"no such file":   {[]string{"rate", "--deck", tryDeck, tryCalls, dir + "/no"}, "creditstream: stat " + dir + "/no: no such file or directory\n"},
		"a directory":    {[]string{"rate", "--deck", tryDeck, dir}, "creditstream: " + dir + " is a directory: expected a file with CDRs\n"},
		"unreadable":     {[]string{"rate", "--deck", tryDeck, "/proc/self/mem"}, "creditstream: read /proc/self/mem: "},
	} {
		out, errs, code := piped(t, nil, tt.args...)
		if code != 2 || out != "" || !strings.HasPrefix(errs, tt.want) {
			t.Errorf("%s: code %d\n%s%s", name, code, out, errs)
		}
	}
}

// Whoever stops reading, or interrupts, is not told that all went well.
func TestRateIncomplete(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }()
	var errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, "rate", "--deck="+tryDeck, tryCalls)
	cmd.Stdout, cmd.Stderr = full, &errs
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 2 || !strings.Contains(errs.String(), "write: ") {
		t.Errorf("nowhere to write to: %v %s", err, errs.String())
	}
	calls := &endless{text: must1(os.ReadFile(tryCalls)), begun: make(chan struct{})}
	errs.Reset()
	cmd = exec.CommandContext(t.Context(), binary, "rate", "--deck="+tryDeck)
	cmd.Stdin, cmd.Stderr = calls, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-calls.begun
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // the exit code tells
	if cmd.ProcessState.ExitCode() != 2 || errs.String() != "creditstream: stdin: interrupted: not every CDR was read\n" {
		t.Errorf("interrupted: code %d: %s", cmd.ProcessState.ExitCode(), errs.String())
	}
}

// endless repeats a text. It closes begun when more was read than is buffered on
// the way.
type endless struct {
	text  []byte
	begun chan struct{}
	read  int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.text[e.read%len(e.text):])
	const buffered = 8 << 20
	if e.read <= buffered && e.read+n > buffered {
		close(e.begun)
	}
	e.read += n
	return n, nil
}
