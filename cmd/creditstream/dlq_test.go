package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/kafka"
)

// tool runs a command against the plant's Kafka and returns what it wrote, with
// bare names of topics.
func (p *plant) tool(wantCode int, args ...string) string {
	p.t.Helper()
	c := start(p.t, p.environ(), append(args, "--brokers", strings.Join(p.brokers, ","))...)
	if code := c.wait(p.t, 30*time.Second); code != wantCode {
		p.t.Errorf("creditstream %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, wantCode, c.out.String())
	}
	return p.kafka.Bare(c.out.String())
}

// list returns dlq list --json.
func (p *plant) list(args ...string) (l listJSON) {
	p.t.Helper()
	out := p.tool(0, append([]string{"dlq", "list", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		p.t.Fatalf("%s: %v", out, err)
	}
	return l
}

func (p *plant) awaitOpen(n int) {
	p.t.Helper()
	await(p.t, 30*time.Second, fmt.Sprintf("%d open dead letters", n), func() error {
		if l := p.list("--limit=0"); l.Open != n {
			return fmt.Errorf("%d are open", l.Open)
		}
		return nil
	})
}

// balance is that of acme.
func (p *plant) balance() string {
	p.t.Helper()
	var a struct{ Balance string }
	if err := json.Unmarshal([]byte(must(p.t, http.MethodGet, "http://"+p.http+"/v1/accounts/acme", nil, "")), &a); err != nil {
		p.t.Fatal(err)
	}
	return a.Balance
}

func wants(t *testing.T, out string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("no %q in\n%s", w, out)
		}
	}
}

// addRate makes p.deck a directory of two decks: the one that it was, and a copy
// with one rate more that is valid a second later.
func (p *plant) addRate(line string) {
	p.t.Helper()
	decks := p.t.TempDir()
	for _, name := range []string{"deck.yaml", "out.csv"} {
		b, err := os.ReadFile(filepath.Join(p.deck, name))
		if err != nil {
			p.t.Fatal(err)
		}
		text := string(b)
		mended := strings.Replace(text, "valid_from: 2020-01-01T00:00:00Z", "valid_from: 2020-01-01T00:00:01Z", 1)
		if name == "out.csv" {
			mended = text + line + "\n"
		}
		if mended == text {
			p.t.Fatalf("%s is as it was:\n%s", name, text)
		}
		for dir, text := range map[string]string{"first": text, "mended": mended} {
			if err := os.MkdirAll(filepath.Join(decks, dir), 0o700); err != nil {
				p.t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(decks, dir, name), []byte(text), 0o600); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	p.deck = decks
}

// An operator on Monday: lists, looks, mends the deck, replays, drops the rest.
func TestDeadLettersOfAWeekend(t *testing.T) {
	p := newPlant(t)
	run := p.processor(p.http)
	awaitReady(t, run, "http://"+p.http)
	p.create("acme", "")
	p.topUp("acme", "k", "10.00")
	answered := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	call := func(id, callee string) string {
		return fmt.Sprintf(`{"id":%q,"source":"pbx-1","account":"acme","kind":"user_out","callee":%q,"answered_at":%q,"duration_ms":60000}`, id, callee, answered)
	}
	bench := "{\"source\":\"bench\",\"id\":\"3\x1b[31m\","
	msgs := []kafka.Message{
		{Value: []byte(call("1", "+49301234")), Headers: []kafka.Header{{Key: "h", Value: []byte("1")}}},
		{Value: []byte(call("2", "+49301235"))},
		{Value: []byte(bench)},
		{Value: []byte(call("4", "+33142685300"))},
	}
	if _, err := p.client.Write(t.Context(), p.topic("cdrs"), 1, msgs); err != nil {
		t.Fatal(err)
	}
	p.awaitOpen(3)
	if got := p.balance(); got != "9.900000" {
		t.Errorf("balance %s", got)
	}

	l := p.list("--reason=no_rate", "--account", "acme")
	if l.Open != 2 || l.ByReason["no_rate"].Open != 2 || l.BySource["pbx-1"].Open != 2 || len(l.ByHour) == 0 || len(l.Letters) != 2 {
		t.Errorf("%+v", l)
	}
	wants(t, p.tool(0, "dlq", "list"), "3 dead letters open, 0 replayed, 0 dropped", "       2  no_rate", "       2  pbx-1", "cdrs/1/0", "at byte ")
	show := p.tool(0, "dlq", "show", p.topic("cdrs/1/2"))
	wants(t, show, "reason    not_json", `"3\x1b[31m"`, "at byte ", "source    bench")
	if strings.Contains(show, "\x1b") {
		t.Errorf("a control character reaches the terminal: %q", show)
	}
	if raw := p.tool(0, "dlq", "show", "--raw", p.topic("cdrs/1/2")); raw != bench {
		t.Errorf("%q", raw)
	}
	wants(t, p.tool(1, "dlq", "show", p.topic("cdrs/1/3")), "cdrs/1/3: there is no such dead letter")

	wants(t, p.tool(2, "dlq", "replay", "--reason=no_rate", "--deck", p.deck), "redis is required, to see that format, zone and mapping are those of the processors")
	wants(t, p.tool(2, "dlq", "replay", "--reason=no_rate", "--dry-run"), "a dry run says what would become of each record: give --deck")
	wants(t, p.tool(0, "dlq", "replay", "--reason=no_rate", "--config", writeFile(t, "deck: "+p.deck+"\n"), "--dry-run"), "/2  cdrs/1/0  would be sent: would be parked again as no_rate")
	p.addRate("49,Germany,DE,0,0.30,60,60")
	wants(t, p.tool(0, "dlq", "replay", "--reason=no_rate", "--deck", p.deck, "--dry-run"),
		"/2  cdrs/1/0  would be sent: would be charged 0.300000 USD for 60 s, Germany", "2 charged, in sum 0.600000 USD")
	p.awaitOpen(3)
	run.stop(t)
	run = p.processor(p.http, "--accept-past-decks")
	awaitReady(t, run, "http://"+p.http)
	wants(t, p.tool(0, "dlq", "replay", "--redis", strings.Join(p.redis, ","), "--reason=no_rate", "--operator", "ann"), "/2  cdrs/1/1  sent\n", "2 dead letters: 2 sent")
	await(t, 30*time.Second, "both calls are charged", func() error {
		if b := p.balance(); b != "9.300000" {
			return fmt.Errorf("balance %s", b)
		}
		return nil
	})
	wants(t, p.tool(0, "dlq", "replay", "--unchecked", "--id", p.topic("cdrs/1/0")+","+p.topic("cdrs/1/1")), "are not compared with those of the processors", "2 sent") // twice is safe
	wants(t, p.tool(1, "dlq", "replay", "--redis", strings.Join(p.redis, ","), "--id", p.topic("cdrs/1/0")+","+p.topic("cdrs/1/99")), "1 sent", "cdrs/1/99: there is no such dead letter", "1 failure: see above")

	wants(t, p.tool(2, "dlq", "drop", "--source=bench"), "reason-text is required")
	wants(t, p.tool(0, "dlq", "drop", "--source=bench", "--reason-text", "the test bench", "--dry-run"), "would drop 1 dead letter")
	p.awaitOpen(1)
	file := filepath.Join(t.TempDir(), "letters.prom")
	p.list("--metrics", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, string(text), `creditstream_letters_open_records{reason="not_json"} 1`, `creditstream_letters_oldest_open_timestamp_seconds{reason="not_json"} 1.`)
	wants(t, p.tool(0, "dlq", "drop", "--source=bench", "--reason-text", "the test bench", "--operator=ann"), "dropped 1 dead letter")
	wants(t, p.tool(1, "dlq", "drop", "--id="+p.topic("cdrs/1/2"), "--reason-text=x"), "cdrs/1/2: is not open: it was dropped by ann at ")
	p.awaitOpen(0)
	wants(t, p.tool(0, "dlq", "show", p.topic("cdrs/1/2")), "state     dropped by ann at ", ": the test bench\n")
	all := p.list("--all")
	states := map[string]int{}
	for _, x := range all.Letters {
		states[x.State]++
	}
	if !maps.Equal(states, map[string]int{"replayed": 2, "dropped": 1}) || all.Replayed != 2 || all.Dropped != 1 {
		t.Errorf("%v %+v", states, all)
	}
	if got := p.balance(); got != "9.300000" {
		t.Errorf("balance %s after replays of what was charged", got)
	}
	run.stop(t)
}

func TestShownBytesControlNoTerminal(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain é 日本\n\tx\n":  "plain é 日本\n\tx\n",
		"a\x1b[2Jb\r":        `a\x1b[2Jb\r` + "\n",
		"\u202e\u009b\u2028": `\u202e\u009b\u2028` + "\n",
		"":                   "",
	} {
		if got := shown([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := shown([]byte("ab\xff")); !strings.HasPrefix(got, "00000000  61 62 ff ") {
		t.Errorf("%q", got)
	}
	if got := safe("a\"b\\c\x1b\n"); got != `a"b\c\x1b\n` {
		t.Errorf("%q", got)
	}
}

func TestMoments(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-11-20": now.AddDate(0, 0, -2).Add(-7 * time.Hour), "1d12h": now.Add(-36 * time.Hour), "0": now,
		"2026-11-22T08:00:00+01:00": now,
	} {
		var at time.Time
		if err := moment(&at, now).set(text); err != nil || !at.Equal(want) {
			t.Errorf("%s: %s %v, want %s", text, at, err, want)
		}
	}
	for _, text := range []string{"", "-1h", "yesterday", "2026-11-31", "07:00"} {
		var at time.Time
		if err := moment(&at, now).set(text); err == nil {
			t.Errorf("%q is taken for %s", text, at)
		}
	}
}

// One file serves all commands.
func TestFileOfAnotherCommand(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "brokers: b:1\nredis: r:1\nshards: 9\nlimit: 3\ntokens: x\n")
	if _, problems := resolved(t, []string{"--config", file, "--deck=."}, nil); len(problems) > 0 {
		t.Error(slices.Collect(slices.Values(problems)))
	}
}
