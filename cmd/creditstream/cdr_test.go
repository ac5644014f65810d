package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write makes a file of a test's own.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	answered = `"acme","1042","00442070000002","ctx","clid","ch","dch","Dial","x","2026-11-02 10:15:00","2026-11-02 10:15:04","2026-11-02 10:16:04",64,60,"ANSWERED","DOCUMENTATION","1.1",""`
	failed   = `"acme","1042","00442070000002","ctx","clid","ch","dch","Dial","x","2026-11-02 10:15:00",,"2026-11-02 10:16:04",64,0,"BUSY","DOCUMENTATION","1.2",""`
)

func TestCDRCheck(t *testing.T) {
	t.Parallel()
	lines := write(t, "Master.csv", answered+"\r\n\r\n"+failed+"\r\n")
	page := write(t, "page.json", `{"value":[{"id":"a","duration":0,"callType":"user_in"}],"x":1} {"id":"b","duration":1}`)
	legs := write(t, "legs.json", `{"method":"E_ACC_MISSED_EVENT"}`)
	mapping := write(t, "mapping.yaml", "sources:\n- {source: pbx, format: asterisk-csv, zone: UTC, kind: {value: user_out}}\n- {source: pbx2, format: asterisk-csv, zone: Asia/Tokyo}\n")
	later := write(t, "later.yaml", "sources:\n- {source: pbx, format: asterisk-csv, active_from: 2100-01-01T00:00:00Z, zone: UTC, kind: {value: user_out}}\n")
	one := write(t, "one.csv", answered)
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"what the record says": {
			[]string{"--format", "asterisk-csv", "--zone", "Europe/Paris", lines},
			`{"id":"1.1","account":"acme","caller":"1042","callee":"00442070000002","answered_at":"2026-11-02T09:15:04Z","duration_ms":60000}
{"id":"1.2","account":"acme","caller":"1042","callee":"00442070000002","duration_ms":0}
`,
		},
		"no zone": {
			[]string{"--format", "asterisk-csv", lines},
			`{"error":{"code":"no_zone","message":"` + lines + `:1: answer at byte 89: has no time zone; expected the source's zone in the mapping (zone: Europe/Paris) or with --zone"}}
{"id":"1.2","account":"acme","caller":"1042","callee":"00442070000002","duration_ms":0}
`,
		},
		"several files": {
			[]string{"--format", "graph-pstn", page, page},
			strings.Repeat(`{"id":"a","kind":"user_in","duration_ms":0}
{"error":{"code":"missing_field","message":"`+page+`:1: startDateTime is absent from a call that lasted; expected when it began"}}
`, 2),
		},
		"a skip": {
			[]string{"--format", "opensips", legs},
			`{"skip":"E_ACC_MISSED_EVENT: a call that nobody answered"}
`,
		},
		"as the stream does": {
			[]string{"--format", "asterisk-csv", "--mapping", mapping, "--source", "pbx", lines},
			`{"id":"1.1","source":"pbx","account":"acme","kind":"user_out","caller":"1042","callee":"00442070000002","answered_at":"2026-11-02T10:15:04Z","duration_ms":60000}
{"id":"1.2","source":"pbx","account":"acme","kind":"user_out","caller":"1042","callee":"00442070000002","duration_ms":0}
`,
		},
		"a source that begins": {
			[]string{"--format", "asterisk-csv", "--mapping", later, "--source", "pbx", "--appended-at", "2100-01-02", lines},
			`{"id":"1.1","source":"pbx","account":"acme","kind":"user_out","caller":"1042","callee":"00442070000002","answered_at":"2026-11-02T10:15:04Z","duration_ms":60000}
{"id":"1.2","source":"pbx","account":"acme","kind":"user_out","caller":"1042","callee":"00442070000002","duration_ms":0}
`,
		},
		"and has not yet": {
			[]string{"--format", "asterisk-csv", "--mapping", later, "--source", "pbx", one},
			`{"error":{"code":"no_zone","message":"` + one + `:1: answer at byte 89: has no time zone; expected the source's zone in the mapping (zone: Europe/Paris) or with --zone"}}
`,
		},
		"a source too many": {
			[]string{"--format", "asterisk-csv", "--mapping", mapping, lines},
			strings.ReplaceAll(`{"error":{"code":"bad_format","message":"`+lines+`:N: 2 sources of the mapping have the format asterisk-csv; expected one, or a header cdr-source that says which"}}
`, ":N:", ":1:") + strings.ReplaceAll(`{"error":{"code":"bad_format","message":"`+lines+`:N: 2 sources of the mapping have the format asterisk-csv; expected one, or a header cdr-source that says which"}}
`, ":N:", ":3:"),
		},
	} {
		out, errs, err := execute(t, append([]string{"cdr", "check"}, tt.args...)...)
		if err != nil || errs != "" || out != tt.want {
			t.Errorf("%s: %v %s\ngot  %s\nwant %s", name, err, errs, out, tt.want)
		}
	}
}

// The file - is stdin, among others, and stdin is read without any.
func TestCDRCheckReadsStdin(t *testing.T) {
	t.Parallel()
	file := write(t, "one.csv", failed)
	for _, tt := range []struct{ files, want []string }{
		{nil, []string{"1.1"}}, {[]string{"-"}, []string{"1.1"}}, {[]string{file, "-"}, []string{"1.2", "1.1"}},
	} {
		var out bytes.Buffer
		cmd := newCDR(func() []string { return nil })
		cmd.SetArgs(append([]string{"check", "--format", "asterisk-csv", "--zone", "UTC"}, tt.files...))
		cmd.SetIn(strings.NewReader(answered))
		cmd.SetOut(&out)
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Errorf("%v: %v", tt.files, err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		for i, id := range tt.want {
			if len(lines) != len(tt.want) || !strings.Contains(lines[i], `"id":"`+id+`"`) {
				t.Errorf("%v: %s", tt.files, out.String())
			}
		}
	}
}

func TestCDRCheckRefuses(t *testing.T) {
	t.Parallel()
	bad := write(t, "mapping.yaml", "sources:\n- {source: pbx, format: asterisk, zone: Paris}\n")
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"no such file":   {[]string{filepath.Join(t.TempDir(), "none")}, []string{"no such file"}},
		"a directory":    {[]string{t.TempDir()}, []string{"read "}},
		"no such format": {[]string{"--format", "csv"}, []string{`"csv" is not known: expected one of canonical, graph-pstn`}},
		"mapping":        {[]string{"--mapping", bad, "--zone", "Local"}, []string{`"Local" is no time zone`}},
		"all at once": {
			[]string{"--mapping", bad, "--format", "x"},
			[]string{"2 problems", `"x" is not known`, bad + `:2:25: format: want one of graph-pstn`, bad + `:2:41: zone: want a time zone`},
		},
		"no such mapping": {[]string{"--mapping", bad + "x"}, []string{"cannot be read: no such file"}},
	} {
		out, _, err := execute(t, append([]string{"cdr", "check"}, tt.args...)...)
		if exitCode(err) != 2 || out != "" {
			t.Errorf("%s: exit code %d, output %s", name, exitCode(err), out)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
	}
}

// A stamp means the same on every machine: time zones are built in, whatever the
// machine's own database says, and whatever it has that is none.
func TestZonesOfTheMachineDoNotCount(t *testing.T) {
	t.Parallel()
	// A zone nine hours east of UTC ever since: a header with the counts of what follows, and one offset.
	east := "TZif" + strings.Repeat("\x00", 16) + strings.Repeat("\x00", 16) + "\x00\x00\x00\x01\x00\x00\x00\x04" + "\x00\x00\x7e\x90\x00\x00" + "JST\x00"
	if _, err := time.LoadLocationFromTZData("", []byte(east)); err != nil {
		t.Fatal(err) // it would be passed over
	}
	machine := t.TempDir()
	for _, zone := range []string{"Paris", "Nowhere"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(machine, "Europe"), 0o700), os.WriteFile(filepath.Join(machine, "Europe", zone), []byte(east), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	lines := write(t, "Master.csv", answered+"\n")
	for zone, want := range map[string]string{
		"Europe/Paris": `"answered_at":"2026-11-02T09:15:04Z"`, "Europe/Nowhere": "is no time zone",
	} {
		p := start(t, []string{"ZONEINFO=" + machine}, "cdr", "check", "--format", "asterisk-csv", "--zone", zone, lines)
		if p.wait(t, 10*time.Second); !strings.Contains(p.out.String(), want) {
			t.Errorf("%s: %s", zone, p.out.String())
		}
	}
}
