package cdr_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

func loaded(t *testing.T, text string, zone *time.Location) *cdr.Mapping {
	t.Helper()
	m, err := cdr.LoadMapping("m", []byte(text), zone)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// versionOf returns the id of the one source of a mapping.
func versionOf(t *testing.T, text string, zone *time.Location) string {
	t.Helper()
	opt := cdr.Options{Mapping: loaded(t, text, zone)}
	versions := opt.Versions()
	if len(versions) != 2 || versions[1].Source != "a" {
		t.Fatalf("%s: %+v", text, versions)
	}
	return versions[1].ID
}

// A version is named by what it means, not by how it is written.
func TestVersionIDs(t *testing.T) {
	t.Parallel()
	paris, err := rating.LoadZone("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	const plain = `sources:
- source: a
  format: asterisk-csv
  active_from: 2026-12-01T00:00:00Z
  zone: Europe/Paris
  account: {field: accountcode, values: {"7001": globex, "7002": initech}}
  user: {field: src}
  home_country: {value: FR}
  numbers: {country_code: "33", international_prefix: ["00"], national_prefix: "0", national_digits: 9}
  kind: [{field: dst, equals: ["112", "15"], value: emergency}, {field: [dcontext, dst], prefix: [conf-], value: conference_out}, {value: user_out}]
  skip: {field: dst, equals: "", value: nothing was dialled}
`
	const id = "06344b38966b3302" // stores keep it: it stays
	if got := versionOf(t, plain, nil); got != id {
		t.Errorf("id %s, want %s", got, id)
	}
	replaced := func(from, to string) string {
		t.Helper()
		text := strings.Replace(plain, from, to, 1)
		if text == plain {
			t.Fatalf("no %q", from)
		}
		return text
	}
	for name, text := range map[string]string{
		"a comment":      "# ours\n" + plain,
		"another order":  replaced("  user: {field: src}\n", "") + "  user: {field: src}\n",
		"a table's":      replaced(`{"7001": globex, "7002": initech}`, `{"7002": initech, "7001": globex}`),
		"a list of one":  replaced("{field: src}", "[{field: [src]}]"),
		"another zone":   replaced("00:00:00Z", "01:00:00+01:00"),
		"one in a list":  replaced(`["00"]`, `"00"`),
		"another source": plain + "- {source: \"\u00e9\", format: opensips}\n",
	} {
		opt := cdr.Options{Mapping: loaded(t, text, nil)}
		if got := opt.Versions()[1].ID; got != id {
			t.Errorf("%s: id %s, want %s", name, got, id)
		}
	}
	if got := versionOf(t, replaced("  zone: Europe/Paris\n", ""), paris); got != id {
		t.Errorf("the zone of --zone: id %s, want %s", got, id)
	}
	seen := map[string]string{id: "plain"}
	for _, change := range [][2]string{
		{"asterisk-csv", "freeswitch-csv\n  columns: [accountcode, src, dst, dcontext]"},
		{"2026-12-01", "2026-12-02"},
		{"  active_from: 2026-12-01T00:00:00Z\n", ""},
		{"Europe/Paris", "Europe/Berlin"},
		{"  zone: Europe/Paris\n", ""},
		{"  zone", "  columns: [accountcode, src, dst, dcontext]\n  zone"},
		{"  zone", "  columns: [src, accountcode, dst, dcontext]\n  zone"},
		{"7001", "7003"},
		{"globex", "acme"},
		{", \"7002\": initech", ""},
		{"user:", "id:"},
		{"field: src", "field: dst"},
		{"FR", "DE"},
		{`"33"`, `"34"`},
		{`["00"]`, `["00", "000"]`},
		{`prefix: "0"`, `prefix: "1"`},
		{"digits: 9", "digits: 8"},
		{`"112", "15"`, `"112"`},
		{`"112", "15"`, `"11215"`},
		{"emergency", "internal"},
		{"equals: [", "prefix: ["},
		{"[dcontext, dst]", "[dst, dcontext]"},
		{"conf-", "konf-"},
		{", {value: user_out}", ""},
		{"  skip", "  caller"},
		{"nothing was", "none was"},
		{"  skip: {field: dst, equals: \"\", value: nothing was dialled}\n", ""},
	} {
		got := versionOf(t, replaced(change[0], change[1]), nil)
		if other, taken := seen[got]; taken {
			t.Errorf("%q has the id of %s", change, other)
		}
		seen[got] = fmt.Sprintf("%q", change)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	paris, err := rating.LoadZone("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	names := func(opt cdr.Options) (all []string) {
		for _, v := range opt.Versions() {
			from := ""
			if !v.ActiveFrom.IsZero() {
				from = v.ActiveFrom.Format(time.DateOnly)
			}
			all = append(all, v.Source+"|"+cmp.Or(from, "ever"))
			if v.Source == "" {
				all[len(all)-1] = v.ID
			}
		}
		return all
	}
	m := loaded(t, `sources:
- {source: b, format: opensips, active_from: 2027-01-01T00:00:00Z}
- {source: a, format: opensips, active_from: 2026-01-01T00:00:00Z}
- {source: b, format: opensips}
`, nil)
	for _, tt := range []struct {
		opt  cdr.Options
		want []string
	}{
		{cdr.Options{}, []string{"canonical"}},
		{cdr.Options{Format: cdr.CanonicalJSON}, []string{"canonical"}},
		{cdr.Options{Format: cdr.TeamsCSV, Zone: paris}, []string{"teams-csv,Europe/Paris"}},
		{cdr.Options{Mapping: m}, []string{"canonical", "a|2026-01-01", "b|ever", "b|2027-01-01"}},
	} {
		if got := names(tt.opt); !slices.Equal(got, tt.want) {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	d := cdr.NewDecoder(cdr.Options{Mapping: m})
	first, second := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	for _, tt := range []struct {
		after, until int64
		want         []int64
	}{
		{0, second, []int64{first, second}}, {first - 1, first, []int64{first}}, {first, second - 1, nil}, {second, second + 1, nil},
	} {
		if got := d.Changes(tt.after, tt.until); !slices.Equal(got, tt.want) {
			t.Errorf("%d to %d: %v, want %v", tt.after, tt.until, got, tt.want)
		}
	}
	if got := cdr.NewDecoder(cdr.Options{}).Changes(0, second); got != nil {
		t.Errorf("without a mapping: %v", got)
	}
}

// Until a source begins, every record means what it meant without it, whatever its
// header, its content-type and the configured format are.
func TestASourceThatIsAddedChangesNothingBefore(t *testing.T) {
	t.Parallel()
	const added = "\n- {source: new, format: opensips, active_from: 2026-12-01T00:00:00Z, account: {value: other}, kind: {value: user_in}}\n" +
		"- {source: new2, format: asterisk-json, active_from: 2026-12-02T00:00:00Z, account: {value: other}, kind: {value: user_in}}\n"
	const old = "sources:\n- {source: old, format: opensips, account: {value: a}, kind: {value: user_out}}" +
		"\n- {source: new, format: kamailio-json, start_on_confirmed: true, active_from: 2027-01-01T00:00:00Z, account: {value: late}, kind: {value: user_out}}"
	from := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	canonical := `{"id":"1","source":"new","account":"a","kind":"user_out","callee":"+442071838750","answered_at":"2026-11-22T07:00:00Z","duration_ms":1}`
	missed := `{"method":"E_ACC_MISSED_EVENT","params":{"callid":"c","sip_code":"487"}}`
	event := `{"specversion":"1.0","source":"new","datacontenttype":"` + cdr.OpenSIPS.MediaType() + `","data":` + opensips + `}`
	for name, before := range map[string]*cdr.Mapping{"a second": loaded(t, old, nil), "the first": nil} {
		text := "sources:" + added
		if before != nil {
			text = old + added
		}
		after := loaded(t, text, nil)
		differ := 0
		for _, f := range []cdr.Format{cdr.CanonicalJSON, cdr.OpenSIPS, cdr.AsteriskJSON, cdr.KamailioJSON} {
			was, is := cdr.NewDecoder(cdr.Options{Format: f, Mapping: before}), cdr.NewDecoder(cdr.Options{Format: f, Mapping: after})
			for _, value := range []string{opensips, missed, canonical, event} {
				for _, media := range []string{"", "application/json", cdr.OpenSIPS.MediaType(), cdr.CanonicalJSON.MediaType(), "application/cloudevents+json"} {
					for _, source := range []string{"", "old", "new", "new2", "nobody"} {
						read := func(d *cdr.Decoder, at int64) string {
							rec := cdr.Record{Value: []byte(value), ContentType: []byte(media), Source: []byte(source), AppendMillis: at}
							var c rating.CDR
							err := d.Decode(&rec, &c)
							return fmt.Sprintf("%+v %v", c, err)
						}
						if got, want := read(is, from-1), read(was, from-1); got != want {
							t.Errorf("%s, as %s, %s from %q, before: %s\nwant %s", name, f, media, source, got, want)
						}
						if read(is, from) != read(was, from) {
							differ++
						}
					}
				}
			}
		}
		if differ < 10 {
			t.Errorf("%s: only %d records mean something else once it has begun", name, differ)
		}
	}
}
