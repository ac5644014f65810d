package cdr_test

import (
	"encoding/json"
	"testing"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

func BenchmarkCanonical(b *testing.B) {
	data := []byte(sample)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var c rating.CDR
	for b.Loop() {
		if err := cdr.Canonical(data, &c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncodingJSON is the same record without any of the checks.
func BenchmarkEncodingJSON(b *testing.B) {
	data := []byte(sample)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var w wireCDR
		if err := json.Unmarshal(data, &w); err != nil {
			b.Fatal(err)
		}
		if c := w.cdr(); !c.Kind.Valid() {
			b.Fatal(c.Kind)
		}
	}
}
