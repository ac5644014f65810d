package cdr

import "slices"

// A Format names a way to write CDRs. The set is closed: see Formats.
type Format string

// The formats. What each reads is in docs/formats.md.
const (
	CanonicalJSON      Format = "canonical"
	GraphPSTN          Format = "graph-pstn"
	GraphDirectRouting Format = "graph-direct-routing"
	TeamsCSV           Format = "teams-csv"
	FreeSWITCHJSON     Format = "freeswitch-json"
	FreeSWITCHCSV      Format = "freeswitch-csv"
	AsteriskCSV        Format = "asterisk-csv"
	AsteriskJSON       Format = "asterisk-json"
	OpenSIPS           Format = "opensips"
	KamailioJSON       Format = "kamailio-json"
)

// Formats returns every format, in the order of the documentation.
func Formats() []Format {
	return []Format{
		CanonicalJSON, GraphPSTN, GraphDirectRouting, TeamsCSV, FreeSWITCHJSON, FreeSWITCHCSV,
		AsteriskCSV, AsteriskJSON, OpenSIPS, KamailioJSON,
	}
}

// Valid reports whether f is one of Formats.
func (f Format) Valid() bool { return slices.Contains(Formats(), f) }

// isCSV reports whether records of f are lines of CSV; all others are JSON.
func (f Format) isCSV() bool {
	return f == TeamsCSV || f == FreeSWITCHCSV || f == AsteriskCSV
}

// isPaged reports whether a page of records of f is an object with an array
// named value, as the Graph API answers.
func (f Format) isPaged() bool { return f == GraphPSTN || f == GraphDirectRouting }

// A spec is how records of one format, other than canonical, are read.
type spec struct {
	// fields are what read looks at: slot i holds fields[i]. In JSON a name is a
	// path, its steps parted by dots; other spellings of it follow after "|".
	fields []string
	// columns returns the names of the columns of a CSV record that has n, or nil
	// when none has n. Expected says in words what it takes.
	columns  func(n int) []string
	expected string
	// once is a path of JSON that counts where it stands first only.
	once string
	// prepare, if not nil, mends texts before rules and read see them.
	prepare func(*row)
	// read finds members, answer time and duration, or stops the row.
	read func(*row)
}

func specOf(f Format) spec {
	switch f {
	case GraphPSTN:
		return graphPSTN()
	case GraphDirectRouting:
		return graphDirectRouting()
	case TeamsCSV:
		return teamsCSV()
	case FreeSWITCHJSON:
		return freeSWITCHJSON()
	case FreeSWITCHCSV:
		return freeSWITCHCSV()
	case AsteriskCSV:
		return asteriskCSV()
	case AsteriskJSON:
		return asteriskJSON()
	case OpenSIPS:
		return openSIPS()
	case KamailioJSON:
		return kamailioJSON()
	case CanonicalJSON: // has a decoder of its own
	}
	return spec{}
}
