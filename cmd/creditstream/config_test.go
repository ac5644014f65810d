package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/creditstream/creditstream/rating"
)

// resolved reads the settings of run.
func resolved(t *testing.T, args, environ []string) (*runConfig, []string) {
	t.Helper()
	var c runConfig
	s := c.settings()
	set := pflag.NewFlagSet("run", pflag.ContinueOnError)
	s.flags(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	problems := s.resolve(set, func() []string { return environ }, isSetting)
	return &c, append(append(problems, c.check(s)...), c.checkAPI(s)...)
}

// complete gives what is required.
func complete(t *testing.T) []string {
	t.Helper()
	return []string{"--brokers=b:9092", "--redis=r:6379", "--deck=" + t.TempDir(), "--tokens=" + tokenFile}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "shards: 128\nid-window: 20d\nmax-charge: 12.50\nbrokers: [f1:1, f2:2]\n")
	for name, tt := range map[string]struct {
		args, environ []string
		shards        int
		window        time.Duration
		charge        rating.Micros
		brokers       string
	}{
		"defaults": {shards: 64, window: 35 * day, charge: rating.MaxCharge, brokers: "b:9092"},
		"file over defaults": {
			args:   []string{"--config", file},
			shards: 128, window: 20 * day, charge: 12_500_000, brokers: "b:9092",
		},
		"environment over file": {
			args:    []string{"--config", file},
			environ: []string{"CREDITSTREAM_SHARDS=256", "CREDITSTREAM_ID_WINDOW=1d12h"},
			shards:  256, window: 36 * time.Hour, charge: 12_500_000, brokers: "b:9092",
		},
		"flags over environment": {
			args:    []string{"--shards", "512", "--brokers=x:1,y:2", "--brokers", "z:3"},
			environ: []string{"CREDITSTREAM_CONFIG=" + file, "CREDITSTREAM_SHARDS=256", "CREDITSTREAM_BROKERS=e:1"},
			shards:  512, window: 20 * day, charge: 12_500_000, brokers: "b:9092 x:1 y:2 z:3",
		},
		"what sandbox knows is not unknown to run": {
			environ: []string{"CREDITSTREAM_DATA_DIR=/x", "HOME=/root"},
			shards:  64, window: 35 * day, charge: rating.MaxCharge, brokers: "b:9092",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, problems := resolved(t, append(complete(t), tt.args...), tt.environ)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if c.Shards != tt.shards || c.Window != tt.window || c.MaxCharge != tt.charge || strings.Join(c.Brokers, " ") != tt.brokers {
				t.Errorf("got %d %s %s %s", c.Shards, c.Window, c.MaxCharge, c.Brokers)
			}
		})
	}
}

func TestListsOfEveryLayer(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "brokers: [f1:1, f2:2]\nredis: f3:3\ndeck: .\ntokens: x\n")
	c, problems := resolved(t, []string{"--config", file}, []string{"CREDITSTREAM_REDIS=e1:1, e2:2"})
	if len(problems) > 0 || strings.Join(c.Brokers, " ") != "f1:1 f2:2" || strings.Join(c.Redis, " ") != "e1:1 e2:2" {
		t.Errorf("got %s %s %s", c.Brokers, c.Redis, problems)
	}
}

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what was expected (-update writes it anew):\n%s", path, got)
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	file := writeFile(t, `shard: 8
group: "with space"
max-charge: 1e4
max-duration: 25h
expiry-grace: six hours
topic: {cdrs: calls}
topic-rated: cdrs
brokers: [kafka-1:9092, kafka-2]
partitions: 3
partitions: 4
replication:
config: other.yaml
`)
	_, problems := resolved(t, []string{
		"--config", file, "--http", "0.0.0.0:8080", "--shards=2", "--session-timeout=500ms", "--id-window=43d",
		"--redis=a:1,b:2", "--redis-db=3", "--log-level=loud", "--deck=/nowhere/deck", "--max-record-bytes=1MB", "--slice-width=-1d",
	}, []string{
		"CREDITSTREAM_BROKER=x:1", "CREDITSTREAM_fetch_bytes=1", "CREDITSTREAM_FETCH_BYTES=", "CREDITSTREAM_OUT_RETENTION=1w",
		"CREDITSTREAM_TOPIC_ALERTS=..",
	})
	got := strings.ReplaceAll(problemsError(problems).Error(), file, "c.yaml")
	golden(t, "problems.golden", got+"\n")
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args []string
		file string
		want string
	}{
		"nothing is given":   {want: "brokers is required (Kafka brokers to start from): give the flag --brokers, the environment variable CREDITSTREAM_BROKERS or a key in the file"},
		"no file":            {args: []string{"--config=/nowhere.yaml"}, want: "file /nowhere.yaml: cannot be read: no such file or directory"},
		"no YAML":            {file: "a: [", want: "c.yaml: cannot be read: yaml: line 1: did not find expected node content"},
		"no mapping":         {file: "- a", want: "c.yaml:1: expected lines of the form name: value"},
		"list of lists":      {file: "redis: [[a]]", want: "c.yaml:1: key redis: expected a value or a list of values"},
		"no value":           {file: "redis:", want: "c.yaml:1: key redis: expected a value or a list of values"},
		"host is missing":    {args: []string{"--redis=:6379"}, want: `flag --redis: ":6379" names ":6379": expected HOST:PORT with a port from 1 to 65535`},
		"a call of two days": {args: []string{"--authorize-max-seconds=172800"}, want: `flag --authorize-max-seconds: "172800" is out of range: expected 1 to 86400`},
		"neither":            {args: []string{"--authorize-when-away=maybe"}, want: `flag --authorize-when-away: "maybe"`},
		"amount as a float":  {args: []string{"--max-charge=0.0000001"}, want: `flag --max-charge: "0.0000001" is not an amount: expected 0.000001 to 9000000000.000000, with a dot and at most 6 digits after it`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := tt.args
			if tt.file != "" {
				args = append(args, "--config="+writeFile(t, tt.file))
			}
			_, problems := resolved(t, args, nil)
			if !strings.Contains(strings.Join(problems, "\n"), tt.want) {
				t.Errorf("got %q", problems)
			}
		})
	}
}

// Every default is valid and fits the others.
func TestDefaults(t *testing.T) {
	t.Parallel()
	if _, problems := resolved(t, complete(t), nil); len(problems) > 0 {
		t.Error(problems)
	}
	var c sandboxConfig
	s := c.settings()
	set := pflag.NewFlagSet("sandbox", pflag.ContinueOnError)
	s.flags(set)
	problems := s.resolve(set, func() []string { return nil }, isSetting)
	if problems = append(problems, c.check(s)...); len(problems) > 0 {
		t.Error(problems)
	}
	if c.Window != 35*day || c.Topics.CDRs != "cdrs" || c.SessionTimeout != 10*time.Second || !c.simulate {
		t.Errorf("defaults of the sandbox: %+v", c)
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for addr, allowed := range map[string]bool{
		"127.0.0.1:0": true, "127.8.0.1:80": true, "[::1]:8080": true, "localhost:8080": true,
		"0.0.0.0:8080": false, "[::]:8080": false, ":8080": false, "10.0.0.1:80": false, "example.org:80": false,
		"127.0.0.1": false, "127.0.0.1:http": false, "127.0.0.1:65536": false, "127.0.0.1.example.org:80": false,
	} {
		var at string
		if err := loopbackAddress(&at).set(addr); (err == nil) != allowed {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"35d": 35 * day, "1d12h": 36 * time.Hour, "0d1s": time.Second, "90m": 90 * time.Minute, "1.5h": 90 * time.Minute, "0": 0,
	} {
		if d, err := parseDuration(text); err != nil || d != want {
			t.Errorf("%s: %s %v", text, d, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "1d-1h", "1d+1h", "1d2d", "10", "1w", "99999d"} {
		if d, err := parseDuration(text); err == nil {
			t.Errorf("%q is taken for %s", text, d)
		}
	}
	for d, want := range map[time.Duration]string{
		35 * day: "35d", 24 * time.Hour: "24h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 6 * time.Second: "6s", 100*time.Hour + 1: "100h0m0.000000001s",
	} {
		if got := days(d); got != want {
			t.Errorf("%d is written %s, want %s", d, got, want)
		}
	}
}

// output of the command line itself.
func execute(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = run(context.Background(), args, &out, &errs)
	return out.String(), errs.String(), err
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"help.golden": {"--help"}, "help_run.golden": {"run", "--help"}, "help_sandbox.golden": {"help", "sandbox"},
		"help_version.golden": {"version", "-h"}, "help_rate.golden": {"rate", "--help"},
		"help_deck.golden": {"deck"}, "help_deck_check.golden": {"deck", "check", "-h"}, "help_deck_diff.golden": {"help", "deck", "diff"},
		"help_dlq.golden": {"dlq", "--help"}, "help_dlq_list.golden": {"dlq", "list", "--help"},
		"help_correct.golden": {"correct", "--help"}, "help_dlq_show.golden": {"dlq", "show", "--help"}, "help_dlq_replay.golden": {"dlq", "replay", "--help"}, "help_dlq_drop.golden": {"dlq", "drop", "--help"},
		"help_load.golden": {"load", "--help"}, "help_token.golden": {"token", "--help"},
		"help_account.golden": {"account"}, "help_account_show.golden": {"account", "show", "--help"}, "help_account_list.golden": {"account", "list", "--help"},
		"help_account_ledger.golden": {"account", "ledger", "--help"}, "help_account_set.golden": {"account", "set", "--help"},
		"help_account_top-up.golden": {"account", "top-up", "--help"}, "help_account_grant.golden": {"account", "grant", "--help"},
		"help_account_adjust.golden": {"account", "adjust", "--help"}, "help_account_close.golden": {"account", "close", "--help"},
		"help_recharge.golden": {"recharge"}, "help_recharge_result.golden": {"recharge", "result", "--help"},
		"help_recharge_abandon.golden": {"recharge", "abandon", "--help"}, "help_recharge_resume.golden": {"recharge", "resume", "--help"},
		"help_cdr.golden": {"cdr"}, "help_cdr_check.golden": {"cdr", "check", "--help"},
	} {
		out, errs, err := execute(t, args...)
		if err != nil || errs != "" {
			t.Errorf("%s: %v %s", args, err, errs)
		}
		golden(t, name, out)
	}
	if out, _, err := execute(t); err != nil || !strings.Contains(out, "Usage:") {
		t.Errorf("without arguments: %v %s", err, out)
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"sandbx"}, `unknown command "sandbx": did you mean sandbox?: see creditstream --help`},
		{[]string{"cdr", "chck"}, `unknown command "chck": did you mean check?: see creditstream cdr --help`},
		{[]string{"serve"}, `unknown command "serve": see creditstream --help`},
		{[]string{"--verbose"}, "unknown flag: --verbose: see creditstream --help"},
		{[]string{"run", "--broker=x"}, "unknown flag: --broker: see creditstream run --help"},
		{[]string{"deck", "chek"}, `unknown command "chek": did you mean check?: see creditstream deck --help`},
		{[]string{"deck", "check"}, "expected DIR, not 0 arguments: see creditstream deck check --help"},
		{[]string{"deck", "diff", "a"}, "expected A and B, not 1 arguments: see creditstream deck diff --help"},
		{[]string{"dlq", "lst"}, `unknown command "lst": did you mean list?: see creditstream dlq --help`},
		{[]string{"dlq", "show", "x"}, `"x" is no id of a dead letter: expected topic/partition/offset, such as cdrs/3/81723`},
		{[]string{"dlq", "show"}, `expected the id of one dead letter, such as cdrs/3/81723: see creditstream dlq show --help`},
		{[]string{"dlq", "replay", "--brokers=b:1", "--unchecked"}, "nothing is chosen: give at least one of --reason, "},
		{[]string{"dlq", "replay", "--brokers=b:1", "--reason=no_rate"}, "redis is required, to see that format, zone and mapping are those of the processors"},
		{[]string{"dlq", "list", "--brokers=b:1", "--reason=odd"}, `flag --reason: "odd" names "odd": expected some of not_json, `},
		{[]string{"dlq", "drop", "--brokers=b:1", "--reason-text=x", "--id=a/b/c"}, `flag --id: "a/b/c" names one that is none: "a/b/c" is no id`},
		{[]string{"account", "shw"}, `unknown command "shw": did you mean show or set?: see creditstream account --help`},
		{[]string{"account", "show"}, "expected ACCOUNT, not 0 arguments: see creditstream account show --help"},
		{[]string{"account", "show", "a/b"}, `"a/b" is no account: expected 1 to 64 letters, digits and ._@-`},
		{[]string{"account", "set", "a"}, "nothing is to be set: see creditstream account set --help"},
		{[]string{"account", "set", "a", "--auto-recharge=none", "--trigger=1"}, "flag --trigger: auto-recharge is to be removed"},
		{[]string{"account", "set", "a", "--low-balance=5,x"}, `flag --low-balance: "5,x" names "x": expected amounts such as 12.50, or percentages`},
		{[]string{"account", "set", "a", "--caps=day-count=x"}, `flag --caps: "day-count=x" names "day-count=x": expected some of day-count=3`},
		{[]string{"account", "set", "a", "--caps=week-count=1"}, `flag --caps: "week-count=1" names "week-count=1"`},
		{[]string{"account", "set", "a", "--auto-recharge=maybe"}, `flag --auto-recharge: "maybe" is not known: expected one of on, off`},
		{[]string{"account", "top-up", "a"}, "amount is required (what was paid, in the account's currency)"},
		{[]string{"account", "top-up", "a", "--amount=0"}, `flag --amount: "0" is out of range`},
		{[]string{"account", "grant", "a", "--amount=1", "--reason-text=x", "--expires-at=90d"}, `flag --expires-at: "90d" is not a time: expected RFC 3339`},
		{[]string{"account", "list", "--url=localhost:8080"}, `flag --url: "localhost:8080" is no address of an API: expected one such as http://127.0.0.1:8080`},
		{[]string{"account", "list", "--token-file=/none"}, "open /none: "},
		{[]string{"recharge", "result", "acme"}, `"acme" is no recharge: expected ACCOUNT/NUMBER, such as acme/7`},
		{[]string{"recharge", "result", "a/1", "--amount=1"}, "expected --amount and --currency of what was paid, or --declined alone"},
		{[]string{"recharge", "result", "a/1", "--amount=1", "--currency=USD", "--declined=x"}, "expected --amount and --currency"},
		{[]string{"recharge", "abandon", "a/0"}, `"a/0" is no recharge`},
		{[]string{"run", "now"}, `unexpected argument "now": see creditstream run --help`},
		{[]string{"version", "-x"}, "unknown shorthand flag: 'x' in -x: see creditstream version --help"},
		{[]string{"sandbox", "--http=0.0.0.0:80"}, `flag --http: "0.0.0.0:80" can be reached from outside, which the sandbox is not made for: expected an address of the loopback, such as 127.0.0.1:8080`},
		{[]string{"sandbox", "--simulate=maybe"}, `flag --simulate: "maybe" is neither: expected true or false`},
		{[]string{"sandbox", "--decline=a b"}, `flag --decline: "a b" names "a b": expected account names of 1 to 64 letters, digits and ._@-, separated by commas`},
		{[]string{"sandbox", "--deck=."}, "flag --deck: \".\" holds no valid deck:\n    testdata/deck.yaml: "},
	} {
		_, _, err := execute(t, tt.args...)
		var usage usageError
		if !errors.As(err, &usage) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.args, err)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "version")
	if code := p.wait(t, 10*time.Second); code != 0 || !strings.HasPrefix(p.out.String(), "creditstream "+builtVersion+" go") {
		t.Errorf("exit code %d, %s", code, p.out.String())
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		env  []string
		args []string
		code int
		want string
	}{
		{nil, []string{"run"}, 2, "creditstream: 4 problems with the settings:\n  brokers is required"},
		{[]string{"CREDITSTREAM_NO_SUCH=1"}, []string{"sandbox"}, 2, "creditstream: environment CREDITSTREAM_NO_SUCH: there is no such setting\n"},
		{nil, []string{"sandbox", "--data-dir", "/dev/null/x"}, 1, "creditstream: make data directory: mkdir /dev/null: not a directory\n"},
	} {
		p := start(t, tt.env, tt.args...)
		if code := p.wait(t, 10*time.Second); code != tt.code || !strings.HasPrefix(p.out.String(), tt.want) {
			t.Errorf("%s: code %d, %s", tt.args, code, p.out.String())
		}
	}
}

// A processor that finds no Kafka waits, says so and can be stopped.
func TestRunWaits(t *testing.T) {
	t.Parallel()
	nobody, addr := freeAddr(t), freeAddr(t)
	p := start(t, []string{"CREDITSTREAM_REDIS=" + nobody}, "run", "--brokers", nobody, "--deck", "../../deploy/decks/sample", "--http", addr, "--tokens", tokenFile)
	await(t, 10*time.Second, "what it waits for", func() error {
		code, answer, err := request(t, "GET", "http://"+addr+"/readyz", nil, "")
		if err == nil && (code != 503 || !strings.Contains(answer, `"waiting for Kafka"`)) { // no address: anybody may ask
			err = fmt.Errorf("%d %s", code, answer)
		}
		return err
	})
	p.stop(t)
}
