package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

// formatConfig says how CDRs are read.
type formatConfig struct {
	format  string
	zone    *time.Location
	mapping string
}

func (c *formatConfig) settings(s *settings) {
	names := make([]string, 0, len(cdr.Formats()))
	for _, f := range cdr.Formats() {
		names = append(names, string(f))
	}
	format := oneOf(&c.format, names...)
	format.kind = "format"
	s.add("format", string(cdr.CanonicalJSON), format, "format of CDRs whose content-type names none: "+strings.Join(names, ", "))
	s.add("zone", "", timeZone(&c.zone), "time zone of CDRs that have times without one, such as Europe/Paris")
	s.add("mapping", "", anyText(&c.mapping, "file"), "YAML file that says how the fields of each source give account, user, kind and home country")
}

// timeZone reads a time zone of the IANA database.
func timeZone(at **time.Location) value {
	return value{kind: "zone", set: func(text string) error {
		zone, err := rating.LoadZone(text)
		if err != nil {
			return errors.New("is no time zone of the IANA database: expected one such as Europe/Paris or UTC")
		}
		*at = zone
		return nil
	}}
}

// decodePiece reads a record of a file, as the stream would read it if it were
// appended now. Its error is that of cdr.Decoder.Decode.
func decodePiece(d *cdr.Decoder, piece *cdr.Piece, source string, now time.Time, c *rating.CDR) error {
	if piece.Fault != nil {
		return piece.Fault
	}
	rec := cdr.Record{Value: piece.Data, AppendMillis: now.UnixMilli()}
	if source != "" {
		rec.Source = []byte(source)
	}
	return d.Decode(&rec, c)
}

// load reads the mapping, and returns it with everything that is wrong with it.
func (c *formatConfig) load(s *settings) (opt cdr.Options, problems []string) {
	opt = cdr.Options{Format: cdr.Format(c.format), Zone: c.zone}
	if c.mapping == "" || !s.read("mapping", "zone") {
		return opt, nil // none, or reported already
	}
	content, err := os.ReadFile(c.mapping)
	if err != nil {
		if path, ok := errors.AsType[*os.PathError](err); ok {
			err = path.Err
		}
		return opt, []string{fmt.Sprintf("%s: %q cannot be read: %s", s.where("mapping"), c.mapping, err)}
	}
	if opt.Mapping, err = cdr.LoadMapping(c.mapping, content, c.zone); err != nil {
		text := strings.ReplaceAll(err.Error(), "\n", "\n    ")
		return opt, []string{fmt.Sprintf("%s: %q is no valid mapping:\n    %s", s.where("mapping"), c.mapping, text)}
	}
	return opt, nil
}
