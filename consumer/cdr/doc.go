// Package cdr decodes call detail records from the bytes of a topic.
//
// A [Decoder] reads records of every [Format] and makes canonical CDRs of them,
// with the help of a [Mapping]; a [Splitter] cuts files into records. What each
// format is read for, and how its traps are met, is in docs/formats.md; each trap is a
// file of testdata/traps.
//
// A canonical CDR is one JSON object:
//
//	{"id":"9f1c...","source":"fs-par-1","account":"acme","user":"u-1042",
//	 "kind":"user_out","caller":"+33142685300","callee":"+442071838750",
//	 "home_country":"US","answered_at":"2026-11-22T07:00:00.125Z",
//	 "duration_ms":317250}
//
// The members id, source, account, kind and duration_ms are required. The
// others are optional, and for each of them absent, null and "" say the same:
// not known, or for answered_at, not answered. Other members are ignored, but
// they must be JSON. docs/schemas/cdr.schema.json says the same to other tools.
//
// What the package promises:
//
//   - A record is accepted whole, skipped with a [Skip] that says why, or refused
//     with a [Fault] that names the reason, the member and the byte.
//   - What a record means follows from its bytes and headers, its append time and
//     the configuration, and from nothing else.
//   - The account of a canonical CDR is found wherever it stands in the record, so
//     that a faulty record can still reach the shard of its account.
//   - Member names are matched exactly, unlike encoding/json, which folds case;
//     a known member that occurs twice is a fault, never a silent last one wins. (In
//     formats of others, only if the values differ.)
//   - Bytes that are not UTF-8 and unpaired surrogates are faults, never
//     replaced by U+FFFD: an id must not change while it is read.
//   - Time and memory are bounded by the limits below, whatever the bytes are.
//
// A record goes: envelope -> plan (the format, and the mapping's version) -> fields
// by slot (walk.go for JSON, line.go for CSV) -> rules to skip -> the format's own
// reading -> rules for members -> the rules of canonical CDRs.
//
// It never keeps the bytes it is given, never logs, never looks at a clock, and
// no message of a Fault holds an account, a user, a number or an id.
package cdr
