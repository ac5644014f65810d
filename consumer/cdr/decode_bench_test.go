package cdr_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

// typical is a trap of each format whose record is as they mostly are.
var typical = map[cdr.Format]string{
	cdr.GraphPSTN: "seven-digits", cdr.GraphDirectRouting: "ringing-in-duration", cdr.TeamsCSV: "masked-number",
	cdr.FreeSWITCHJSON: "url-encoded", cdr.FreeSWITCHCSV: "zone", cdr.AsteriskCSV: "columns-18",
	cdr.AsteriskJSON: "manager-event", cdr.OpenSIPS: "duration-is-rounded-up", cdr.KamailioJSON: "seconds-and-millis",
}

func typicalOf(tb testing.TB, f cdr.Format) (d *cdr.Decoder, data []byte) {
	tb.Helper()
	if f == cdr.CanonicalJSON {
		return cdr.NewDecoder(cdr.Options{}), []byte(sample)
	}
	tr := readTrap(tb, filepath.Join("testdata", "traps", string(f), typical[f]+".txt"))
	zone, err := rating.LoadZone("Europe/Paris")
	if err != nil {
		tb.Fatal(err)
	}
	opt := cdr.Options{Format: f, Lenient: true, Zone: zone}
	if tr.mapping != nil {
		if opt.Mapping, err = cdr.LoadMapping("m", tr.mapping, nil); err != nil {
			tb.Fatal(err)
		}
	}
	return cdr.NewDecoder(opt), bytes.TrimSpace(tr.input)
}

func BenchmarkDecode(b *testing.B) {
	for _, f := range cdr.Formats() {
		b.Run(string(f), func(b *testing.B) {
			d, data := typicalOf(b, f)
			rec := cdr.Record{Value: data}
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var c rating.CDR
			for b.Loop() {
				if err := d.Decode(&rec, &c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecodeStandard reads the same fields of the same records with
// encoding/json and encoding/csv, and checks and converts nothing.
func BenchmarkDecodeStandard(b *testing.B) {
	for _, f := range cdr.Formats() {
		b.Run(string(f), func(b *testing.B) {
			_, data := typicalOf(b, f)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := standard(f, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func standard(f cdr.Format, data []byte) error {
	switch f {
	case cdr.CanonicalJSON:
		return json.Unmarshal(data, new(wireCDR))
	case cdr.GraphPSTN, cdr.GraphDirectRouting:
		return json.Unmarshal(data, new(struct {
			ID, UserID, StartDateTime, EndDateTime, CallType, CallerNumber, CalleeNumber string
			UsageCountryCode, TenantCountryCode, InventoryType, UserCountryCode          string
			Duration                                                                     int
			SuccessfulCall                                                               bool
		}))
	case cdr.FreeSWITCHJSON:
		return json.Unmarshal(data, new(struct {
			SwitchName string
			Variables  map[string]string
			Callflow   []struct {
				Profile struct {
					Caller string `json:"caller_id_number"`
					Callee string `json:"destination_number"`
					ANI    string
				} `json:"caller_profile"`
			}
		}))
	case cdr.AsteriskJSON:
		return json.Unmarshal(data, new(struct {
			AccountCode, Source, Destination, AnswerTime, EndTime, BillableSeconds, Disposition, UniqueID, SystemName string
		}))
	case cdr.OpenSIPS:
		return json.Unmarshal(data, new(struct {
			Method string
			Params struct {
				CallID, Account, Src, Dst string
				FromTag                   string `json:"from_tag"`
				ToTag                     string `json:"to_tag"`
				Code                      string `json:"sip_code"`
				Time                      int64
				Millis                    int64 `json:"ms_duration"`
			}
		}))
	case cdr.KamailioJSON:
		return json.Unmarshal(data, new(struct {
			CallID, Account, Src, Dst, Duration string
			Start                               string `json:"start_time"`
			End                                 string `json:"end_time"`
			Code                                string `json:"sip_code"`
		}))
	case cdr.TeamsCSV, cdr.FreeSWITCHCSV, cdr.AsteriskCSV:
		_, err := csv.NewReader(bytes.NewReader(data)).Read()
		return err
	}
	return errors.New(string(f))
}

// The budget: 3 allocations for a canonical CDR, 8 for any other.
func TestAllocations(t *testing.T) {
	for _, f := range cdr.Formats() {
		d, data := typicalOf(t, f)
		rec := cdr.Record{Value: data}
		var c rating.CDR
		n := testing.AllocsPerRun(200, func() {
			if err := d.Decode(&rec, &c); err != nil {
				t.Fatal(err)
			}
		})
		limit := 8.0
		if f == cdr.CanonicalJSON {
			limit = 3
		}
		if n > limit {
			t.Errorf("%s: %v allocations, want at most %v", f, n, limit)
		}
	}
}
