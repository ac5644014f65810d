package letters_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/letters"
	"github.com/creditstream/creditstream/rating"
)

// A record whose source's mapping has changed since is sent only if it is the call
// that it has always been, or never was one.
func TestReplayOverAChangeOfTheMapping(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	hour := func(n int) string { return d.now.Add(time.Duration(n) * time.Hour).Format(time.RFC3339) }
	source := func(name, rest string, from int) string {
		return fmt.Sprintf("- {source: %s, format: opensips, kind: {value: user_out}, active_from: %s, %s}\n", name, hour(from), rest)
	}
	const acme, globex = "account: {value: acme}", "account: {value: globex}"
	text := "sources:\n" +
		source("same", acme, -2) + source("same", acme+", user: {value: u}, home_country: {value: FR}, numbers: {country_code: \"33\"}, skip: {field: params.callid, equals: x, value: a test}", 1) +
		source("moved", acme, -2) + source("moved", globex, 1) +
		source("back", acme, -2) + source("back", globex, 1) + source("back", acme, 2) +
		source("mended", "account: {field: params.nobody}", -2) + source("mended", globex, 1) +
		source("mended-twice", "account: {field: params.nobody}", -2) + source("mended-twice", acme, 1) + source("mended-twice", globex, 2) +
		source("ended", acme, -2) + source("ended", "account: {field: params.nobody}", 1) +
		source("soon", acme, -2) + fmt.Sprintf("- {source: soon, format: opensips, kind: {value: user_out}, active_from: %s, %s}\n",
		d.now.Add(3*time.Hour+30*time.Second).Format(time.RFC3339), globex) +
		source("later", acme, -2) + source("later", globex, 4) +
		source("before", acme, -2) + source("before", globex, -1)
	m, err := cdr.LoadMapping("m", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	d.box.Decoder = cdr.NewDecoder(cdr.Options{Mapping: m})
	event := `{"method":"E_ACC_CDR","params":{"callid":"c","from_tag":"f","to_tag":"t","sip_code":"200","time":1795330800,"ms_duration":1500}}`
	names := []string{"same", "moved", "back", "mended", "mended-twice", "ended", "soon", "later", "before", "nobody"}
	for _, name := range names {
		d.parked(d.produced(0, "", event, kafka.Header{Key: "cdr-source", Value: []byte(name)}), rating.NoRate)
	}
	d.parked(d.produced(0, "", call("1", "acme", "")), rating.NoRate)
	names = append(names, "canonical")
	d.now = d.now.Add(3 * time.Hour)

	refused := map[string][]string{"moved": {"account"}, "back": {"account"}, "mended-twice": {"account"}, "ended": nil, "soon": {"account"}}
	for _, dry := range []bool{true, false} {
		got := d.replay(letters.Replay{DryRun: dry}, d.index(letters.Filter{}).Open())
		for i, name := range names {
			r := got[fmt.Sprintf("cdrs/0/%d", i)]
			another, is := errors.AsType[*letters.AnotherCallError](r.Err)
			members, want := refused[name]
			if is != want || r.Err != nil && !is {
				t.Errorf("%s: %v", name, r.Err)
			} else if is && !slices.Equal(another.Members, members) {
				t.Errorf("%s: %q differ, want %q", name, another.Members, members)
			}
		}
	}
	d.wantOpen("cdrs/0/1", "cdrs/0/2", "cdrs/0/4", "cdrs/0/5", "cdrs/0/6")
	got := d.replay(letters.Replay{AnotherCall: true}, d.index(letters.Filter{}).Open())
	for id, r := range got {
		if r.Err != nil {
			t.Errorf("%s: %v", id, r.Err)
		}
	}
	d.wantOpen()
}

// Whatever member makes another call of it is named.
func TestWhatMakesAnotherCallIsNamed(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	change := d.now.Add(time.Hour).Format(time.RFC3339)
	m, err := cdr.LoadMapping("m", []byte(`sources:
- {source: pbx, format: asterisk-csv, zone: UTC, kind: {value: user_out}}
- {source: pbx, format: asterisk-csv, active_from: `+change+`, zone: Europe/Paris, kind: {value: internal}, account: {value: acme}, id: {field: linkedid},
   user: {field: src}, caller: {field: dst}, callee: {field: src}, home_country: {value: FR}}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	d.box.Decoder = cdr.NewDecoder(cdr.Options{Mapping: m})
	line := `"globex","1042","1043","ctx","clid","ch","dch","Dial","x","2026-11-02 10:15:00","2026-11-02 10:15:04","2026-11-02 10:16:04",64,60,"ANSWERED","DOCUMENTATION","1.1","","","1.0",7`
	d.parked(d.produced(0, "", line, kafka.Header{Key: "cdr-source", Value: []byte("pbx")}), rating.NoRate)
	d.now = d.now.Add(2 * time.Hour)
	r := d.replay(letters.Replay{}, d.index(letters.Filter{}).Open())["cdrs/0/0"]
	want := []string{"id", "account", "kind", "answered_at"}
	if another, ok := errors.AsType[*letters.AnotherCallError](r.Err); !ok || !slices.Equal(another.Members, want) || !another.At.Equal(d.now.Add(-2*time.Hour)) {
		t.Errorf("%v", r.Err)
	}
	d.wantOpen("cdrs/0/0")
}
