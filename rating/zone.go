package rating

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
	"io/fs"
	"time"
)

// zoneinfo is the time zone database of the IANA, release 2025c, as lib/time of Go
// 1.26 has it. The time package would take the machine's own first, and a stamp or
// a band must mean the same on every machine.
//
//go:embed zoneinfo.zip
var zoneinfo []byte

// LoadZone returns a time zone of the IANA database by its name. It reads the
// database that is built in, never that of the machine. "" and "Local", which mean
// the machine's zone elsewhere, are no names.
func LoadZone(name string) (*time.Location, error) {
	if name == time.UTC.String() {
		return time.UTC, nil
	}
	zones, err := zip.NewReader(bytes.NewReader(zoneinfo), int64(len(zoneinfo)))
	if err != nil {
		return nil, fmt.Errorf("read the time zones that are built in: %w", err)
	}
	data, err := fs.ReadFile(zones, name)
	if err != nil {
		return nil, fmt.Errorf("%q is no time zone of the IANA database; expected one such as Europe/Paris", name)
	}
	return time.LoadLocationFromTZData(name, data)
}
