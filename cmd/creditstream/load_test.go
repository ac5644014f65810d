package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Last night's exports: twice, with lines that are broken, in two formats.
func TestLoadOfFiles(t *testing.T) {
	p := newPlant(t)
	canonical := p.file("a.jsonl")
	wants(t, p.tool(1, "load", canonical), "topic cdrs: there is no such topic: a processor creates it")
	run := p.processor(p.http, "--mapping", p.file("mapping.yaml", "sources:", "  - source: pbx-1", "    format: asterisk-csv", "    zone: UTC", "    kind: {value: user_out}"))
	awaitReady(t, run, "http://"+p.http)
	p.create("acme", "")
	answered := time.Now().Add(-time.Hour).UTC()
	var lines []string
	for i := range 3000 {
		lines = append(lines, fmt.Sprintf(`{"id":"%d","source":"pbx-2","account":"acme","kind":"user_out","callee":"+33142685300","answered_at":%q,"duration_ms":1000}`, i, answered.Format(time.RFC3339)))
	}
	canonical = p.file("a.jsonl", append(lines, "{", lines[0])...)
	at := func(d time.Duration) string { return answered.Add(d).Format(time.DateTime) }
	csv := p.file("Master.csv", fmt.Sprintf(`"acme","1042","0033142685300","ctx","clid","ch","dch","Dial","x","%s","%s","%s",71,60,"ANSWERED","DOCUMENTATION","1.1",""`,
		at(0), at(11*time.Second), at(71*time.Second)))
	wants(t, p.tool(1, "load", canonical, "/nowhere"), "a.jsonl:3001: not_json: ", "open /nowhere: no such file", "3001 records sent, 2 not sent", "2 failures: see above")
	wants(t, p.tool(0, "load", "--format=asterisk-csv", "--zone=UTC", "--source=pbx-1", csv), "1 record sent")
	wants(t, p.tool(0, "load", "--format=asterisk-csv", "--zone=UTC", "--source=pbx-1", csv), "1 record sent")
	await(t, 60*time.Second, "each call to be charged once", func() error {
		if b := p.balance(); b != "-300.100000" {
			return fmt.Errorf("balance %s", b)
		}
		return nil
	})
	p.settled()
	outcomes := map[string]int{}
	for _, r := range p.read("rated-cdrs") {
		outcomes[string(r.Value[bytes.Index(r.Value, []byte(`"outcome":`))+11:][:4])]++
	}
	if outcomes["char"] != 3001 || outcomes["dupl"] != 2 || len(p.read("cdrs.dlq")) != 0 {
		t.Errorf("%v, %d dead letters", outcomes, len(p.read("cdrs.dlq")))
	}
	run.stop(t)
}

func TestProgress(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	p := newProgress(&out, 1000, began)
	p.show(10, 1, began.Add(time.Second)) // no terminal
	p.clear()
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
	if got, want := p.line(500, 4000, began.Add(2*time.Second)), "["+strings.Repeat("=", 15)+strings.Repeat(" ", 15)+"]  50 %  4000 records, 2000/s, about 2s left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.out = &out
	p.show(500, 4000, began.Add(2*time.Second))
	p.show(600, 4001, began.Add(2*time.Second+progressEvery/2)) // too soon
	p.clear()
	if got := out.String(); strings.Count(got, "records") != 1 || !strings.HasPrefix(got, "\r\x1b[K[") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("%q", got)
	}
	p.total = 0
	if got := p.line(5, 1, began.Add(time.Second)); got != "1 record, 1/s" {
		t.Errorf("%q", got)
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if newProgress(file, 1, began).out != nil {
		t.Error("a file is taken for a terminal")
	}
}
