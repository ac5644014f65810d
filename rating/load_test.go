package rating_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/creditstream/creditstream/rating"
)

const header = "prefix,destination,country,setup_fee,price\n"

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
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
		t.Errorf("got:\n%s\nwant, as in %s:\n%s", got, path, want)
	}
}

func TestLoadReportsEveryProblemWithItsPlace(t *testing.T) {
	for _, name := range []string{"broken", "broken_bands"} {
		d, err := rating.Load(os.DirFS("testdata/" + name))
		var problems rating.Problems
		if d != nil || !errors.As(err, &problems) {
			t.Fatalf("%s: got %v, %v", name, d, err)
		}
		golden(t, name+".golden", err.Error()+"\n")
	}
}

func TestLoadProblems(t *testing.T) {
	deckWith := func(id, from string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("id: " + id + "\ncurrency: USD\nvalid_from: " + from +
			"\nhome_country: US\nrules: [{kinds: [user_in], charge: free}]\n")}
	}
	newYear := "2026-01-01T00:00:00Z"
	for _, test := range []struct {
		name string
		fsys fs.FS
		want []string // the start of each problem
	}{
		{"nothing there", fstest.MapFS{}, []string{".: no deck here"}},
		{"a directory that is no deck", fstest.MapFS{"a/deck.yaml": deckWith("a", newYear), "b/x.csv": {}}, []string{"b/deck.yaml: read the deck"}},
		{
			"two decks from the same time on",
			fstest.MapFS{"a/deck.yaml": deckWith("a", newYear), "b/deck.yaml": deckWith("b", "2026-01-01T01:00:00+01:00")},
			[]string{"b/deck.yaml:3:13: valid_from: a/deck.yaml has the same"},
		},
		{"no YAML", fstest.MapFS{"deck.yaml": {Data: []byte("id: x\n  bad: [\n")}}, []string{"deck.yaml:2: not YAML"}},
		{"an empty file", fstest.MapFS{"deck.yaml": {}}, []string{"deck.yaml: the file is empty"}},
		{"a list", fstest.MapFS{"deck.yaml": {Data: []byte("[]")}}, []string{"deck.yaml:1:1: want a mapping"}},
		{"two documents", fstest.MapFS{"deck.yaml": {Data: append(deckWith("a", newYear).Data, "---\nid: b\n"...)}}, []string{"deck.yaml: want one YAML document"}},
		{"an alias of nothing", oneTable("unrated: *free\n", header+",All,,0,1\n"), []string{"deck.yaml: not YAML"}},
		{"a key twice", oneTable("id: b\n", header+",All,,0,1\n"), []string{"deck.yaml:6:1: id is there twice"}},
		{"keys missing", fstest.MapFS{"deck.yaml": {Data: []byte("unrated: park\n")}}, []string{
			"deck.yaml:1:1: id is missing", "deck.yaml:1:1: currency is missing", "deck.yaml:1:1: valid_from is missing",
			"deck.yaml:1:1: home_country is missing", "deck.yaml:1:1: rules is missing",
		}},
		{"no rules", fstest.MapFS{"deck.yaml": {Data: []byte("id: x\ncurrency: USD\nvalid_from: 2026-01-01T00:00:00Z\nhome_country: US\nrules: []\n")}}, []string{"deck.yaml:5:8: rules: want a list"}},
		{"a table of nothing", oneTable("", header), []string{"out.csv: no rates"}},
		{"a column twice", oneTable("", "prefix,prefix,destination,country,setup_fee,price\n1,1,A,,0,1\n"), []string{"out.csv:1:8: column prefix is there twice"}},
		{"the same time written otherwise", oneTable("", strings.Replace(header, "\n", ",valid_from\n", 1)+
			"44,A,,0,1,2026-01-01T00:00:00Z\n+4 4,A,,0,1,2026-01-01T02:00:00+02:00\n"), []string{"out.csv:3:1: prefix: line 2 has the same"}},
		{"overlap that ends otherwise", oneTable("", strings.Replace(header, "\n", ",valid_to\n", 1)+
			"44,A,,0,1,2026-01-01T00:00:00Z\n44,A,,0,1,\n"), []string{"out.csv:3:1: prefix: line 2 has the same"}},
		{"control characters", oneTable("", "prefix, price ,destination\n44,1,\"a\x1b[1m\"\n"), []string{"out.csv:2:6: destination: want a name without control"}},
		{"an open quote", oneTable("", header+"44,\"A,,0,1\n"), []string{"out.csv: no rates", "out.csv:2:12: not CSV"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := rating.Load(test.fsys)
			var problems rating.Problems
			if d != nil || !errors.As(err, &problems) || len(problems) != len(test.want) {
				t.Fatalf("got %v, %v, want %q", d, err, test.want)
			}
			for i, want := range test.want {
				if got := problems[i].String(); !strings.HasPrefix(got, want) {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
}

func TestRulesThatCannotBeMeant(t *testing.T) {
	for rules, want := range map[string]string{
		"[{kinds: [user_in], charge: free}, {kinds: [user_in], table: out.csv}]":                        "user_in never gets here",
		"[{kinds: [user_in, user_in], charge: free}]":                                                   "",
		"[{kinds: [user_out], scope: domestic, table: out.csv}, {kinds: [user_out], table: out.csv}]":   "",
		"[{kinds: [internal], table: out.csv}]":                                                         "internal is free whatever",
		"[{kinds: [user_in]}]":                                                                          "want either table or charge: free",
		"[{kinds: [user_in], charge: free, table: out.csv}]":                                            "want either table or charge: free",
		"[{kinds: [user_in], charge: free, match: callee}]":                                             "scope and match need a table",
		"[{kinds: user_in, charge: free}]":                                                              "want a list of kinds",
		"[user_in]":                                                                                     "want a mapping",
		"[{kinds: [user_in], table: /etc/passwd}]":                                                      "table: want the path",
		"[{kinds: [user_in], table: deck.yaml}]":                                                        "table: want the path",
		"[{kinds: [user_in], table: sub/none.csv}]":                                                     "table: read sub/none.csv",
		"[{kinds: [user_out], table: out.csv, match: callee, scope: any}]":                              "",
		"[{kinds: [user_out], table: [out.csv], match: callee, scope: any}]":                            "table: want the path",
		"[{kinds: [user_out], &x table: out.csv}, {kinds: [user_in], *x : out.csv}]":                    "unknown key",
		"[{kinds: [user_out], charge: &free free}, {kinds: [user_in], charge: *free}]":                  "charge: want free",
		"[{kinds: [user_out], scope: international, table: out.csv}, {kinds: [toll_in], charge: free}]": "",
	} {
		deck := "id: one\ncurrency: USD\nvalid_from: 2020-01-01T00:00:00Z\nhome_country: US\nrules: " + rules + "\n"
		_, err := rating.Load(fstest.MapFS{"deck.yaml": {Data: []byte(deck)}, "out.csv": {Data: []byte(header + ",All,,0,1\n33,France,FR,0,1\n")}})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", rules, err, want)
		}
	}
}

func TestTablesAsSpreadsheetsWriteThem(t *testing.T) {
	d := load(t, oneTable("", "\ufeffprefix,destination,country,setup_fee,price\r\n\"+44 20\",\"London, \"\"inner\"\"\",gb,0,1\r\n"))
	got, err := d.Price(userOut(1))
	if err != nil || got.Destination != `London, "inner"` || got.Prefix != "4420" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDeckIsChosenByAnswerTime(t *testing.T) {
	deckFrom := func(from, price string) fstest.MapFS {
		fsys := flat("", "0", price, 60, 60)
		fsys["deck.yaml"].Data = []byte(strings.Replace(string(fsys["deck.yaml"].Data), "2020-01-01T00:00:00Z", from, 1))
		return fsys
	}
	root := fstest.MapFS{".hidden/x": {}, "README": {}}
	for dir, deck := range map[string]fstest.MapFS{
		"b": deckFrom("2026-01-01T00:00:00Z", "1"), "a": deckFrom("2026-03-01T00:00:00+01:00", "3"), "c": deckFrom("2026-02-01T00:00:00Z", "2"),
	} {
		for name, file := range deck {
			root[dir+"/"+name] = file
		}
	}
	d := load(t, root)
	var from []string
	for _, v := range d.Versions() {
		from = append(from, v.ValidFrom.Format(time.RFC3339))
	}
	if want := []string{"2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-02-28T23:00:00Z"}; !reflect.DeepEqual(from, want) {
		t.Errorf("got %v, want %v", from, want)
	}
	for at, want := range map[string]rating.Micros{
		"2026-01-01T00:00:00Z": 1_000_000, "2026-01-31T23:59:59Z": 1_000_000, "2026-02-01T00:00:00Z": 2_000_000,
		"2026-02-28T22:59:59Z": 2_000_000, "2026-02-28T23:00:00Z": 3_000_000, "2030-01-01T00:00:00Z": 3_000_000,
	} {
		c := userOut(1)
		c.AnsweredAt, _ = time.Parse(time.RFC3339, at)
		if got, err := d.Price(c); err != nil || got.Amount != want {
			t.Errorf("%s: got %+v, %v, want %s", at, got, err, want)
		}
	}
	c := userOut(1)
	c.AnsweredAt = time.Date(2025, 12, 31, 23, 59, 59, 0, time.UTC)
	if _, err := d.Price(c); reasonOf(err) != rating.NoRate {
		t.Errorf("before the first deck: got %v", err)
	}
}

// The version is stored with charges: it must not change for the same files.
func TestVersionIsAContentHash(t *testing.T) {
	versionOf := func(fsys fstest.MapFS) string { return load(t, fsys).Versions()[0].Version }
	base := versionOf(oneTable("", header+",All,,0,1\n"))
	if want := "6a1638f773e729e3"; base != want {
		t.Errorf("got %s, want %s", base, want)
	}
	other := oneTable("", header+",All,,0,1\n")
	other["unused.csv"] = &fstest.MapFile{Data: []byte("x")}
	if got := versionOf(other); got != base {
		t.Errorf("a file that no rule names changed it to %s", got)
	}
	if got := versionOf(oneTable("", header+",All,,0,2\n")); got == base {
		t.Error("a price did not change it")
	}
	if got := versionOf(oneTable("# more\n", header+",All,,0,1\n")); got == base {
		t.Error("deck.yaml did not change it")
	}
}

func TestVersions(t *testing.T) {
	got := load(t, os.DirFS("testdata/example")).Versions()
	if len(got) != 1 || len(got[0].Version) != 16 {
		t.Fatalf("got %+v", got)
	}
	got[0].Version = ""
	want := rating.DeckVersion{ID: "example", ValidFrom: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Currency: "USD", Rows: 14, Prefixes: 13, Countries: 4}
	if got[0] != want {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
}
