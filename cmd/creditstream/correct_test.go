package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
)

// file writes lines to a file.
func (p *plant) file(name string, lines ...string) string {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

func TestCorrections(t *testing.T) {
	p := newPlant(t)
	run := p.processor(p.http)
	awaitReady(t, run, "http://"+p.http)
	p.create("acme", "")
	p.topUp("acme", "k", "10.00")
	answered := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	call := func(id string, seconds int) string {
		return fmt.Sprintf(`{"id":%q,"source":"pbx-1","account":"acme","kind":"user_out","callee":"+33142685300","answered_at":%q,"duration_ms":%d}`, id, answered, seconds*1000)
	}
	if _, err := p.client.Write(t.Context(), p.topic("cdrs"), 0, []kafka.Message{{Value: []byte(call("1", 600))}, {Value: []byte(call("2", 60))}}); err != nil {
		t.Fatal(err)
	}
	awaitBalance := func(want string) {
		t.Helper()
		await(t, 30*time.Second, "a balance of "+want, func() error {
			if b := p.balance(); b != want {
				return fmt.Errorf("it is %s", b)
			}
			return nil
		})
	}
	awaitBalance("8.900000")
	await(t, 30*time.Second, "rated records", func() error {
		if n := len(p.read("rated-cdrs")); n != 2 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	correct := func(code int, args ...string) string {
		return p.tool(code, append([]string{"correct", "--redis", strings.Join(p.redis, ","), "--deck", p.deck, "--operator=ann"}, args...)...)
	}
	if _, err := p.client.Write(t.Context(), p.topic("rated-cdrs"), 0, []kafka.Message{{Key: []byte("acme"), Value: []byte("hello")}}); err != nil {
		t.Fatal(err)
	}
	fixed := p.file("fixed.jsonl", call("1", 120), "{", call("2", 60), call("3", 60))
	wants(t, correct(1, "--dry-run", fixed),
		`{"line":1,"source":"pbx-1","id":"1","account":"acme","was":"1.000000","now":"0.200000","adjusted":"0.800000","currency":"USD","outcome":"would_adjust","command":"correct/`,
		`{"line":3,"source":"pbx-1","id":"2","account":"acme","was":"0.100000","now":"0.100000","adjusted":"0.000000","currency":"USD","outcome":"unchanged"}`,
		"fixed.jsonl:2: not_json: ", "fixed.jsonl:4: the call was never rated: nothing to correct", "1 call would be adjusted, 1 unchanged, 2 not corrected", "2 failures: see above",
		"left out of topic rated-cdrs: 1 record of somebody else; the first is rated-cdrs/0/")
	awaitBalance("8.900000")
	fixed = p.file("fixed.jsonl", call("1", 120), call("2", 60))
	wants(t, correct(0, fixed), `"adjusted":"0.800000","currency":"USD","outcome":"adjusted"`, "1 call adjusted, 1 unchanged, 0 not corrected")
	awaitBalance("9.700000")
	wants(t, correct(0, fixed), "0 calls adjusted, 2 unchanged, 0 not corrected")
	wants(t, correct(0, "--reason-text", "it was right", p.file("again.jsonl", call("1", 600))), `"adjusted":"-0.800000"`)
	awaitBalance("8.900000")
	var lots struct {
		Lots []struct{ Amount, Remaining string }
	}
	if err := json.Unmarshal([]byte(must(t, http.MethodGet, "http://"+p.http+"/v1/accounts/acme", nil, "")), &lots); err != nil || len(lots.Lots) != 2 {
		t.Errorf("%+v %v", lots, err)
	}
	var said []string
	for _, r := range p.read("credit-commands") {
		if strings.Contains(string(r.Value), "funds.adjust") {
			said = append(said, string(r.Value))
		}
	}
	wants(t, strings.Join(said, "\n"), `/1","amount":"0.800000"`, `"reason":"corrected CDR","operator":"ann","cdr":{"source":"pbx-1","id":"1","answered_at":"`, `"reason":"it was right"`)
	run.stop(t)
	late := p.file("late.jsonl", call("1", 300), call("2", 60))
	out := p.tool(1, "correct", "--redis", strings.Join(p.redis, ","), "--deck", p.deck, "--wait=100ms", late)
	wants(t, out, `"adjusted":"0.500000","currency":"USD","outcome":"accepted"`, "late.jsonl:1: it is in the log, and not known to be applied yet; to run this again is safe",
		"0 calls adjusted, 1 accepted and not yet applied, 1 unchanged, 0 not corrected", "1 failure: see above")
	wants(t, p.tool(0, "correct", "--redis", strings.Join(p.redis, ","), "--deck", p.deck, "--wait=0", p.file("later.jsonl", call("1", 360))),
		`"was":"0.500000","now":"0.600000","adjusted":"-0.100000","currency":"USD","outcome":"accepted"`, "0 calls adjusted, 1 accepted and not yet applied")
	wants(t, p.tool(1, "correct", "--redis", ownRedis(t).Addr(), "--redis-db=0", "--deck", p.deck, fixed), "this Redis holds no balances")
	wants(t, p.tool(2, "correct", "--redis", strings.Join(p.redis, ","), "--deck", p.deck, "/nowhere"), "open /nowhere: no such file")
}

// The file - is stdin, as of the other commands.
func TestCorrectionsOfStdin(t *testing.T) {
	t.Parallel()
	var c correctConfig
	lines, err := c.file("-", strings.NewReader(answered+"\n"+failed), &cdr.Options{Format: cdr.AsteriskCSV, Zone: time.UTC, Lenient: true})
	if err != nil || len(lines) != 2 || lines[0].CDR.ID != "1.1" || lines[1].CDR.ID != "1.2" {
		t.Errorf("%+v %v", lines, err)
	}
}

// Corrected CDRs may have any format, as the processors read it.
func TestCorrectionsOfAnyFormat(t *testing.T) {
	p := newPlant(t)
	mapping := p.file("mapping.yaml", "sources:", "- {source: pbx-1, format: asterisk-csv, zone: UTC, kind: {value: user_out}, skip: {field: dst, equals: \"9\", value: voicemail}}",
		"- {source: pbx-1, format: asterisk-csv, active_from: "+time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)+", zone: UTC, kind: {value: internal}}",
		"- {source: pbx-2, format: asterisk-csv, zone: UTC, kind: {value: user_out}}")
	run := p.processor(p.http, "--mapping", mapping)
	awaitReady(t, run, "http://"+p.http)
	p.create("acme", "")
	p.topUp("acme", "k", "10.00")
	answered := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	canonical := fmt.Sprintf(`{"id":"1.1","source":"pbx-1","account":"acme","kind":"user_out","callee":"+33142685300","answered_at":%q,"duration_ms":600000}`,
		answered.Format(time.RFC3339))
	if _, err := p.client.Write(t.Context(), p.topic("cdrs"), 0, []kafka.Message{{Value: []byte(canonical)}}); err != nil {
		t.Fatal(err)
	}
	await(t, 30*time.Second, "a rated record", func() error {
		if n := len(p.read("rated-cdrs")); n != 1 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	line := func(callee string) string {
		return fmt.Sprintf(`"acme","1042",%q,"ctx","clid","ch","dch","Dial","x",%q,%q,%q,120,120,"ANSWERED","DOCUMENTATION","1.1",""`,
			callee, answered.Format(time.DateTime), answered.Format(time.DateTime), answered.Add(2*time.Minute).Format(time.DateTime))
	}
	file := p.file("Master.csv", line("+33142685300"), line("9"))
	correct := func(code int, args ...string) string {
		return p.tool(code, append([]string{"correct", "--redis", strings.Join(p.redis, ","), "--deck", p.deck, "--format=asterisk-csv", "--mapping", mapping, file}, args...)...)
	}
	const refused = "nothing is corrected, as processors read records otherwise: "
	wants(t, p.tool(1, "correct", "--redis", strings.Join(p.redis, ","), "--deck", p.deck, "--format=asterisk-csv", file), refused+"source pbx-")
	wants(t, correct(1, "--zone=Europe/Paris"), refused+"records of this store are read with format and zone canonical")
	wants(t, correct(1), "Master.csv:1: bad_format: 2 sources of the mapping have the format asterisk-csv")
	wants(t, correct(1, "--source=pbx-2"), `Master.csv:1: no call of this name was charged, but one that differs in source costs 1.000000 USD: source "pbx-1", id "1.1"`)
	wants(t, correct(0, "--source=pbx-1", "--dry-run"), `"was":"1.000000","now":"0.000000"`)
	wants(t, correct(0, "--source=pbx-1", "--appended-at=30m"), `"id":"1.1","account":"acme","was":"1.000000","now":"0.200000"`, `"outcome":"adjusted"`,
		"1 call adjusted, 0 unchanged, 0 not corrected, 1 skipped: no calls of their own")
	if b := p.balance(); b != "9.800000" {
		t.Errorf("balance %s", b)
	}
	run.stop(t)
}
