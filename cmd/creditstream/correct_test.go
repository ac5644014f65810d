package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

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
		return p.tool(code, append([]string{"correct", "--redis", strings.Join(p.redis, ","), "--redis-db", strconv.Itoa(p.redisDB), "--deck", p.deck, "--operator=ann"}, args...)...)
	}
	fixed := p.file("fixed.jsonl", call("1", 120), "{", call("2", 60), call("3", 60))
	wants(t, correct(1, "--dry-run", fixed),
		`{"line":1,"source":"pbx-1","id":"1","account":"acme","was":"1.000000","now":"0.200000","adjusted":"0.800000","currency":"USD","outcome":"would_adjust","command":"correct/`,
		`{"line":3,"source":"pbx-1","id":"2","account":"acme","was":"0.100000","now":"0.100000","adjusted":"0.000000","currency":"USD","outcome":"unchanged"}`,
		"fixed.jsonl:2: not_json: ", "fixed.jsonl:4: the call was never rated: nothing to correct", "1 call would be adjusted, 1 unchanged, 2 not corrected", "2 failures: see above")
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
	empty := ownRedis(t)
	wants(t, p.tool(1, "correct", "--redis", empty.Addr(), "--deck", p.deck, fixed), "this Redis holds no balances")
	wants(t, p.tool(2, "correct", "--redis", strings.Join(p.redis, ","), "--redis-db", strconv.Itoa(p.redisDB), "--deck", p.deck, "/nowhere"), "open /nowhere: no such file")
}
