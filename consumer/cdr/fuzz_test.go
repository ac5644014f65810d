package cdr_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

// fataler is what *testing.T and *rapid.T have in common here.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// compare checks Canonical on any bytes against encoding/json and against what
// it promises about faults.
func compare(t fataler, data []byte) {
	t.Helper()
	var got rating.CDR
	err := cdr.Canonical(data, &got)
	if err != nil {
		compareFault(t, data, got, err)
		return
	}
	want, err := reference(data)
	if err != nil {
		t.Fatalf("accepted %q; encoding/json: %v", data, err)
	}
	if got != want {
		t.Fatalf("%q\ngot  %+v\nwant %+v", data, got, want)
	}
	if !got.Kind.Valid() || got.ID == "" || got.Source == "" || got.Account == "" || got.DurationMillis < 0 {
		t.Fatalf("accepted %q as %+v", data, got)
	}
	if y := got.AnsweredAt.Year(); got.Answered() && (y < 2000 || y > 9999) {
		t.Fatalf("accepted %q with year %d", data, y)
	}
}

func compareFault(t fataler, data []byte, got rating.CDR, err error) {
	t.Helper()
	var fault *cdr.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("%q: a %T, want a *cdr.Fault", data, err)
	}
	reasons := []rating.Reason{
		rating.NotJSON, rating.MissingField, rating.BadField, rating.UnknownKind, rating.BadDuration,
	}
	if !slices.Contains(reasons, fault.Reason) || fault.At < -1 || fault.At > len(data) || fault.Message == "" {
		t.Fatalf("%q: fault %+v", data, fault)
	}
	if (fault.Field == "") != (fault.Reason == rating.NotJSON) {
		t.Fatalf("%q: %s of field %q", data, fault.Reason, fault.Field)
	}
	if fault.Reason != rating.NotJSON && (!json.Valid(data) || !utf8.Valid(data)) {
		t.Fatalf("%q is not JSON, got %v", data, fault)
	}
	// Text that was kept came whole out of the record.
	for _, s := range []string{got.ID, got.Source, got.Account, got.User, got.Caller, got.Callee, got.Home} {
		if !utf8.ValidString(s) || len(s) > 256 {
			t.Fatalf("%q: kept %q", data, s)
		}
	}
}

// FuzzCanonical feeds any bytes: no panic, and what is accepted encoding/json
// accepts with the same values.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(least))
	for _, r := range refusals(f) {
		if len(r.doc) < 4096 {
			f.Add([]byte(r.doc))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, data) })
}
