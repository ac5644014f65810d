package cdr_test

import (
	"strings"
	"testing"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

// A refusal is a document and the fault it must meet.
type refusal struct {
	name   string
	doc    string
	reason rating.Reason
	field  string
	at     string // the fault's place is where this begins, last in the document; "" is -1
	says   string // part of the message
}

// end as a refusal's place is the end of the document.
const end = "<end>"

func refusals(tb testing.TB) []refusal {
	tb.Helper()
	var all []refusal
	all = append(all, notJSON(tb)...)
	all = append(all, missing()...)
	all = append(all, badText(tb)...)
	all = append(all, badTime()...)
	return append(all, badDuration()...)
}

func notJSON(tb testing.TB) []refusal {
	tb.Helper()
	tests := []refusal{
		{name: "nothing", doc: "", at: end, says: "the record ends here; expected {"},
		{name: "space only", doc: " \n", at: end, says: "ends here"},
		{name: "an array", doc: `[` + least + `]`, at: "[", says: "a CDR is a JSON object"},
		{name: "null", doc: `null`, at: "null", says: `"n"; expected {`},
		{name: "a byte order mark", doc: "\ufeff" + least, at: "\ufeff", says: `"\xef"; expected {`},
		{name: "trailing data", doc: least + " ~", at: "~", says: "nothing after"},
		{name: "two records", doc: least + "\n" + `{"x":1}`, at: `{"x"`, says: "nothing after"},
		{name: "cut short in a string", doc: `{"id":"1`, at: end, says: "ends inside a string"},
		{name: "cut short after a value", doc: `{"id":"1"`, at: end, says: "a comma or }"},
		{name: "cut short after a name", doc: `{"id"`, at: end, says: "a colon"},
		{name: "cut short after a colon", doc: `{"id":`, at: end, says: "a JSON value"},
		{name: "a comma too many", doc: `{"id":"1",}`, at: "}", says: "a member name"},
		{name: "a comma too many in an array", doc: plus(`"x":[1,~]`), at: "~", says: "a JSON value"},
		{name: "no comma", doc: `{"id":"1" "x":1}`, at: `"x"`, says: "a comma or }"},
		{name: "no comma in an array", doc: plus(`"x":[1 ~]`), at: "~", says: "a comma or ]"},
		{name: "no colon", doc: plus(`"x" ~1`), at: "~", says: "a colon"},
		{name: "a bare name", doc: plus(`~x:1`), at: "~", says: "a member name"},
		{name: "single quotes", doc: plus(`"x":'a'`), at: `'a'`, says: "a JSON value"},
		{name: "a comment", doc: plus(`"x":1 /* */`), at: `/* */`, says: "a comma or }"},
		{name: "a word", doc: plus(`"x":nil`), at: "nil", says: "a JSON value"},
		{name: "a word in upper case", doc: plus(`"x":TRUE`), at: "TRUE", says: "a JSON value"},
		{name: "a word cut short", doc: `{"x":tru`, at: "tru", says: "a JSON value"},
		{name: "NaN", doc: plus(`"x":NaN`), at: "NaN", says: "a JSON value"},
		{name: "a leading zero", doc: plus(`"x":0~1`), at: "~", says: "a comma or }"},
		{name: "a leading zero of a duration", doc: strings.Replace(sample, "317250", "0317250", 1), at: "317250", says: "a comma or }"},
		{name: "a plus sign", doc: plus(`"x":+1`), at: "+1", says: "a JSON value"},
		{name: "a minus alone", doc: plus(`"x":-~`), at: "~", says: "a digit"},
		{name: "a point without digits", doc: plus(`"x":1.~`), at: "~", says: "a digit"},
		{name: "a point first", doc: plus(`"x":.5`), at: ".5", says: "a JSON value"},
		{name: "an exponent without digits", doc: plus(`"x":1e+~`), at: "~", says: "a digit"},
		{name: "a hexadecimal number", doc: plus(`"x":0x1F`), at: "x1F", says: "a comma or }"},
		{name: "a raw control character", doc: plus("\"x\":\"a\nb\""), at: "\nb", says: "unescaped control character"},
		{name: "a raw NUL", doc: with(tb, "9f1c", "9f\x001c"), at: "\x001c", says: "unescaped control character"},
		{name: "no such escape", doc: plus(`"x":"\q"`), at: `\q`, says: "no escape sequence"},
		{name: "a short unicode escape", doc: plus(`"x":"\u12"`), at: `\u12`, says: "no escape sequence"},
		{name: "an unpaired high surrogate", doc: plus(`"user":"\ud83d!"`), at: `\ud83d`, says: "unpaired surrogate"},
		{name: "an unpaired low surrogate", doc: plus(`"user":"\ude00"`), at: `\ude00`, says: "unpaired surrogate"},
		{name: "two high surrogates", doc: plus(`"user":"\ud83d\ud83d"`), at: `\ud83d\ud83d`, says: "unpaired surrogate"},
		{name: "an unpaired surrogate in a name", doc: plus(`"\ud83d":1`), at: `\ud83d`, says: "unpaired surrogate"},
		{name: "an unpaired surrogate before another escape", doc: plus(`"\ud83d12345\\":1`), at: `\ud83d`, says: "unpaired surrogate"},
		{name: "invalid UTF-8", doc: with(tb, "u-1042", "Zo\xeb"), at: "\xeb", says: "not valid UTF-8"},
		{name: "invalid UTF-8 in an unknown member", doc: plus("\"x\":\"\xff\""), at: "\xff", says: "not valid UTF-8"},
		{name: "invalid UTF-8 in a name", doc: plus("\"\xff\":1"), at: "\xff", says: "not valid UTF-8"},
		{name: "an overlong NUL", doc: with(tb, "u-1042", "\xc0\x80"), at: "\xc0\x80", says: "not valid UTF-8"},
		{name: "a surrogate in UTF-8", doc: with(tb, "u-1042", "\xed\xa0\x80"), at: "\xed\xa0\x80", says: "not valid UTF-8"},
		{name: "UTF-8 cut short", doc: with(tb, "u-1042", "\xe2\x82"), at: "\xe2\x82", says: "not valid UTF-8"},
		{name: "nested too deep", doc: plus(`"x":` + strings.Repeat("[", 63) + "[~"), at: "[~", says: "deeper than 64"},
		{name: "objects nested too deep", doc: plus(`"x":` + strings.Repeat(`{"a":`, 63) + `{"z"`), at: `{"z"`, says: "deeper than 64"},
		{name: "a byte too long", doc: least + strings.Repeat(" ", cdr.MaxRecordBytes-len(least)+1), says: "1048577 bytes long; expected at most 1048576"},
		{name: "not JSON wins over a bad field", doc: `{"id":7,"account":"acme"`, at: end, says: "a comma or }"},
	}
	for i := range tests {
		tests[i].reason = rating.NotJSON
	}
	return tests
}

func missing() []refusal {
	tests := []refusal{
		{name: "an empty object", doc: `{}`, field: "id"},
		{name: "no id", doc: strings.Replace(least, `"id"`, `"di"`, 1), field: "id"},
		{name: "an id in upper case", doc: strings.Replace(least, `"id"`, `"ID"`, 1), field: "id"},
		{name: "no source", doc: strings.Replace(least, `"source"`, `"src"`, 1), field: "source"},
		{name: "no account", doc: strings.Replace(least, `"account"`, `"Account"`, 1), field: "account"},
		{name: "no kind", doc: strings.Replace(least, `"kind"`, `"type"`, 1), field: "kind"},
		{name: "no duration", doc: strings.Replace(least, `"duration_ms"`, `"duration"`, 1), field: "duration_ms"},
		{name: "a required member only inside another", doc: `{"x":` + least + `}`, field: "id"},
	}
	for i := range tests {
		tests[i].reason, tests[i].says = rating.MissingField, "is absent; expected "
	}
	return tests
}

func badText(tb testing.TB) []refusal {
	tb.Helper()
	long := func(n int) string { return strings.Repeat("7", n) }
	tests := []refusal{
		{name: "id a number", doc: with(tb, `"9f1c"`, `917`), field: "id", at: "917", says: "is a number; expected a string"},
		{name: "id null", doc: with(tb, `"9f1c"`, `null`), field: "id", at: "null", says: "is null; expected a string"},
		{name: "id empty", doc: with(tb, `"9f1c"`, `""`), field: "id", at: `""`, says: "is empty; expected a string of at most 256"},
		{name: "id too long", doc: with(tb, `9f1c`, long(257)), field: "id", at: `"` + long(257), says: "too long"},
		{name: "id too long in escapes", doc: with(tb, `9f1c`, strings.Repeat(`\u0037`, 257)), field: "id", at: `"\u0037`, says: "too long"},
		{name: "id too long in bytes", doc: with(tb, `9f1c`, strings.Repeat("é", 129)), field: "id", at: `"é`, says: "too long"},
		{name: "id with an escaped NUL", doc: with(tb, `9f1c`, `9f\u00001c`), field: "id", at: `"9f\u`, says: "control characters"},
		{name: "id with a DEL", doc: with(tb, `9f1c`, "9f\x7f"), field: "id", at: "\"9f\x7f", says: "control characters"},
		{name: "id with a C1 control character", doc: with(tb, `9f1c`, "9f\u0085"), field: "id", at: "\"9f\u0085", says: "control characters"},
		{name: "id twice", doc: plus(`"id":"1"`), field: "id", at: `"id":"1"}`, says: "more than once"},
		{name: "id twice, once escaped", doc: plus(`"\u0069d":"1"`), field: "id", at: `"\u0069d"`, says: "more than once"},
		{name: "source an object", doc: with(tb, `"fs-par-1"`, `{"n":1}`), field: "source", at: `{"n"`, says: "is an object; expected a string"},
		{name: "source too long", doc: with(tb, `fs-par-1`, long(129)), field: "source", at: `"` + long(129), says: "at most 128"},
		{name: "source with a line break", doc: with(tb, `fs-par-1`, `fs\n`), field: "source", at: `"fs\n"`, says: "control characters"},
		{name: "account an array", doc: with(tb, `"acme"`, `["acme"]`), field: "account", at: `["acme"]`, says: "is an array; expected a string"},
		{name: "account null", doc: with(tb, `"acme"`, `null`), field: "account", at: `null`, says: "is null; expected a string"},
		{name: "account empty", doc: with(tb, `"acme"`, `""`), field: "account", at: `""`, says: "is empty; expected 1 to 64 of"},
		{name: "account with a space", doc: with(tb, `acme`, `ac me`), field: "account", at: `"ac me"`, says: "1 to 64 of A-Z"},
		{name: "account with a brace", doc: with(tb, `acme`, `{acme}`), field: "account", at: `"{acme}"`, says: "1 to 64 of A-Z"},
		{name: "account not ASCII", doc: with(tb, `acme`, `acmé`), field: "account", at: `"acmé"`, says: "1 to 64 of A-Z"},
		{name: "account too long", doc: with(tb, `acme`, long(65)), field: "account", at: `"` + long(65), says: "1 to 64"},
		{name: "account twice", doc: plus(`"account":"other"`), field: "account", at: `"account":"other"`, says: "more than once"},
		{name: "user a boolean", doc: with(tb, `"u-1042"`, `true`), field: "user", at: `true`, says: "is a boolean; expected a string"},
		{name: "user too long", doc: with(tb, `u-1042`, long(257)), field: "user", at: `"` + long(257), says: "at most 256"},
		{name: "user with a tab", doc: with(tb, `u-1042`, `u\t`), field: "user", at: `"u\t"`, says: "control characters"},
		{name: "user null and then given", doc: plus(`"user":null,"user":"u"`), field: "user", at: `"user":"u"`, says: "more than once"},
		{name: "caller a number", doc: with(tb, `"+33142685300"`, `33142685300`), field: "caller", at: `33142685300`, says: "is a number"},
		{name: "caller too long", doc: with(tb, `+33142685300`, long(257)), field: "caller", at: `"` + long(257), says: "at most 256"},
		{name: "callee too long", doc: with(tb, `+442071838750`, long(257)), field: "callee", at: `"` + long(257), says: "at most 256"},
		{name: "country of three letters", doc: with(tb, `"US"`, `"USA"`), field: "home_country", at: `"USA"`, says: "two letters"},
		{name: "country of one letter", doc: with(tb, `"US"`, `"U"`), field: "home_country", at: `"U"`, says: "two letters"},
		{name: "country of digits", doc: with(tb, `"US"`, `"33"`), field: "home_country", at: `"33"`, says: "two letters"},
		{name: "country of two bytes", doc: with(tb, `"US"`, `"é"`), field: "home_country", at: `"é"`, says: "two letters"},
		{name: "kind a number", doc: with(tb, `"user_out"`, `3`), field: "kind", at: `3,"caller"`, says: "is a number; expected a string"},
		{name: "kind null", doc: with(tb, `"user_out"`, `null`), field: "kind", at: `null`, says: "is null; expected a string"},
		{name: "kind empty", doc: with(tb, `"user_out"`, `""`), field: "kind", at: `""`, says: "is empty; expected a kind of call"},
		{name: "the first of two bad fields", doc: with(tb, `"acme","user":"u-1042"`, `"","user":7`), field: "account", at: `"","user"`, says: "is empty"},
		{name: "a bad field wins over a missing one", doc: `{"kind":7}`, field: "kind", at: "7", says: "is a number"},
	}
	for i := range tests {
		tests[i].reason = rating.BadField
	}
	return append(tests,
		refusal{"kind not of the set", with(tb, "user_out", "fax_out"), rating.UnknownKind, "kind", `"fax_out"`, `"fax_out" is no kind of call`},
		refusal{"kind in upper case", with(tb, "user_out", "USER_OUT"), rating.UnknownKind, "kind", `"USER_OUT"`, `"USER_OUT" is no kind`},
		refusal{"kind with a space", with(tb, "user_out", "user_out "), rating.UnknownKind, "kind", `"user_out "`, `"user_out " is no kind`},
		refusal{"kind very long", with(tb, "user_out", long(1000)), rating.UnknownKind, "kind", `"` + long(1000), `"` + long(32) + `" is no kind`},
	)
}

func badTime() []refusal {
	times := []struct{ at, says string }{
		{`7`, "is a number; expected a string"},
		{`"x"`, "not a time of RFC 3339"},
		{`"2026-11-22"`, "not a time of RFC 3339"},
		{`"2026-11-22 07:00:00Z"`, "not a time of RFC 3339"},
		{`"2026-11-22t07:00:00Z"`, "not a time of RFC 3339"},
		{`"1795330800"`, "not a time of RFC 3339"},
		{`"+026-11-22T07:00:00Z"`, "four digits"},
		{`"2026-11-22T07:00:00"`, "not a time of RFC 3339"},
		{`"2026-11-22T07:00:00.5"`, "no zone"},
		{`"2026-11-22T07:00:00z"`, "no zone"},
		{`"2026-11-22T07:00:00ZZ"`, "no zone"},
		{`"2026-11-22T07:00:00+0100"`, "no zone"},
		{`"2026-11-22T07:00:00+01"`, "no zone"},
		{`"2026-11-22T07:00:00+24:00"`, "no zone"},
		{`"2026-11-22T07:00:00+01:60"`, "no zone"},
		{`"2026-11-22T07:00:00,125Z"`, "no zone"},
		{`"2026-11-22T07:00:00.Z"`, "1 to 9 digits"},
		{`"2026-11-22T07:00:00.1234567890Z"`, "1 to 9 digits"},
		{`"2026-00-22T07:00:00Z"`, "in no calendar"},
		{`"2026-13-22T07:00:00Z"`, "in no calendar"},
		{`"2026-11-00T07:00:00Z"`, "in no calendar"},
		{`"2026-11-31T07:00:00Z"`, "in no calendar"},
		{`"2026-02-29T07:00:00Z"`, "in no calendar"},
		{`"2100-02-29T07:00:00Z"`, "in no calendar"},
		{`"2026-11-22T24:00:00Z"`, "time of day"},
		{`"2026-11-22T07:60:00Z"`, "time of day"},
		{`"2026-11-22T23:59:60Z"`, "time of day"},
		{`"2026-11-22T 7:00:00Z"`, "time of day"},
		{`"1999-12-31T23:59:59.999999999Z"`, "outside 2000 to 9999"},
		{`"2000-01-01T00:59:59+01:00"`, "outside 2000 to 9999"},
		{`"9999-12-31T23:00:00-01:00"`, "outside 2000 to 9999"},
		{`"0000-01-01T00:00:00Z"`, "outside 2000 to 9999"},
	}
	var tests []refusal
	for _, tt := range times {
		tests = append(tests, refusal{
			"answered " + tt.at, plus(`"answered_at":` + tt.at), rating.BadField, "answered_at", tt.at, tt.says,
		})
	}
	return append(tests, refusal{
		"answered twice", plus(`"answered_at":"","answered_at":null`), rating.BadField, "answered_at",
		`"answered_at":null`, "more than once",
	})
}

func badDuration() []refusal {
	values := []struct {
		at     string
		reason rating.Reason
		says   string
	}{
		{`"317250"`, rating.BadField, "is a string; expected a whole number"},
		{`null`, rating.BadField, "is null; expected a whole number"},
		{`[1]`, rating.BadField, "is an array; expected a whole number"},
		{`1.0`, rating.BadField, "a fraction or an exponent"},
		{`1e3`, rating.BadField, "a fraction or an exponent"},
		{`0.5`, rating.BadField, "a fraction or an exponent"},
		{`-1.5`, rating.BadField, "a fraction or an exponent"},
		{`1E400`, rating.BadField, "a fraction or an exponent"},
		{`-1`, rating.BadDuration, "is negative"},
		{`-9223372036854775808`, rating.BadDuration, "beyond 64 bits"},
		{`9223372036854775808`, rating.BadDuration, "beyond 64 bits"},
		{`18446744073709551617`, rating.BadDuration, "beyond 64 bits"},
		{strings.Repeat("9", 5000), rating.BadDuration, "beyond 64 bits"},
	}
	var tests []refusal
	for _, tt := range values {
		tests = append(tests, refusal{
			"duration " + tt.at[:min(len(tt.at), 30)], strings.Replace(sample, "317250", tt.at, 1),
			tt.reason, "duration_ms", tt.at, tt.says,
		})
	}
	return append(tests, refusal{
		"duration twice", plus(`"duration_ms":0`), rating.BadField, "duration_ms", `"duration_ms":0}`, "more than once",
	})
}

func TestCanonicalRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range refusals(t) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at := -1
			switch tt.at {
			case "":
			case end:
				at = len(tt.doc)
			default:
				if at = strings.LastIndex(tt.doc, tt.at); at < 0 {
					t.Fatalf("%q is not in the document", tt.at)
				}
			}
			_, fault := decode(t, tt.doc)
			if fault == nil {
				t.Fatalf("accepted, want %s", tt.reason)
			}
			if fault.Reason != tt.reason || fault.Field != tt.field || fault.At != at {
				t.Errorf("got %s of %q at %d, want %s of %q at %d",
					fault.Reason, fault.Field, fault.At, tt.reason, tt.field, at)
			}
			if !strings.Contains(fault.Message, tt.says) {
				t.Errorf("message %q does not say %q", fault.Message, tt.says)
			}
			if len(fault.Error()) > 250 {
				t.Errorf("message of %d bytes", len(fault.Error()))
			}
		})
	}
}

func TestFaultReadsWell(t *testing.T) {
	t.Parallel()
	tests := []struct{ doc, want string }{
		{with(t, `"9f1c"`, `9`), `bad_field: id at byte 6: is a number; expected a string`},
		{`{}`, `missing_field: id is absent; expected a string of at most 256 bytes without control characters`},
		{`{]`, `not_json: at byte 1: "]"; expected a member name in double quotes`},
		{with(t, "user_out", "fax"), `unknown_kind: kind at byte 73: "fax" is no kind of call`},
		{with(t, "317250", "-5"), `bad_duration: duration_ms at byte 208: is negative; expected a whole number of milliseconds, in digits only`},
	}
	for _, tt := range tests {
		_, fault := decode(t, tt.doc)
		if fault == nil || fault.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", fault, tt.want)
		}
	}
}

// A faulty record must still find the shard of its account, and must not be
// sent to the shard of an account that is in doubt.
func TestFaultKeepsTheAccount(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, doc, want string }{
		{"fault before", `{"id":7,"source":[],"kind":"?","account":"acme"}`, "acme"},
		{"fault after", `{"account":"acme","id":7}`, "acme"},
		{"members missing", `{"account":"acme"}`, "acme"},
		{"invalid UTF-8 before", "{\"user\":\"Zo\xeb\",\"account\":\"acme\"}", "acme"},
		{"unpaired surrogate before", `{"\ud83d":"\ude00","account":"acme"}`, "acme"},
		{"cut short after", `{"account":"acme","id":"1`, "acme"},
		{"trailing data", least + "}", "acme"},
		{"nested too deep after", `{"account":"acme","x":` + strings.Repeat("[", 100), "acme"},
		{"account not valid", `{"account":"ac me","id":"1"}`, ""},
		{"account not UTF-8", "{\"account\":\"acme\xff\"}", ""},
		{"account twice", `{"account":"acme","account":"evil"}`, ""},
		{"account twice, first not valid", `{"account":"","account":"acme"}`, ""},
		{"account three times", `{"account":"acme","account":"evil","account":"acme"}`, ""},
		{"account inside another member", `{"x":{"account":"acme"}}`, ""},
		{"account after the end of JSON", `{"x":nil,"account":"acme"}`, ""},
		{"account cut short", `{"account":"acme`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, fault := decode(t, tt.doc)
			if fault == nil {
				t.Fatal("accepted")
			}
			if c.Account != tt.want {
				t.Errorf("account %q, want %q", c.Account, tt.want)
			}
		})
	}
}

func TestFaultKeepsWhatIsValid(t *testing.T) {
	t.Parallel()
	got, fault := decode(t, with(t, `"u-1042"`, `7`))
	if fault == nil || fault.Field != "user" {
		t.Fatalf("got %v, want a fault of user", fault)
	}
	want := sampleCDR()
	want.User = ""
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// No message may tell whom a record is about: messages are logged.
func TestFaultTellsNoNumbers(t *testing.T) {
	t.Parallel()
	secret := "+33 142 685 300"
	for _, member := range []string{"id", "source", "account", "user", "caller", "callee", "home_country", "answered_at"} {
		for _, value := range []string{secret, secret + `\n`, strings.Repeat(secret, 30)} {
			_, fault := decode(t, `{"`+member+`":"`+value+`"}`)
			if fault == nil || strings.Contains(fault.Error(), secret) {
				t.Errorf("%s: %v", member, fault)
			}
		}
	}
}

func TestCanonicalIsBounded(t *testing.T) {
	tests := []struct{ name, doc, says string }{
		{"10 MB of one string", `{"id":"` + strings.Repeat("x", 10<<20) + `"}`, "at most 1048576"},
		{"10,000 arrays", `{"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, "deeper than 64"},
		{"10,000 objects", strings.Repeat(`{"x":`, 10_000) + "1" + strings.Repeat("}", 10_000), "deeper than 64"},
		{"an id of 1 MB in escapes", `{"id":"` + strings.Repeat(`\u0041`, 170_000) + `"}`, "too long"},
		{"names of 1 MB in escapes", `{` + strings.Repeat(`"\u0041\u0041":1,`, 60_000) + `"id":7}`, "is a number"},
		{"1 MB of members twice", `{` + strings.Repeat(`"id":"x",`, 100_000) + `"id":"x"}`, "more than once"},
		{"1 MB of bytes that are not UTF-8", `{"x":"` + strings.Repeat("\xff", 1_000_000) + `"}`, "UTF-8"},
	}
	for _, tt := range tests {
		data := []byte(tt.doc)
		var c rating.CDR
		var err error
		allocs := testing.AllocsPerRun(1, func() { err = cdr.Canonical(data, &c) })
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want it to say %q", tt.name, err, tt.says)
		}
		if allocs > 16 {
			t.Errorf("%s: %v allocations", tt.name, allocs)
		}
	}
}
