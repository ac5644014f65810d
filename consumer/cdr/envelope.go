package cdr

import (
	"bytes"
	"encoding/base64"
	"errors"

	"github.com/creditstream/creditstream/rating"
)

// MediaType returns the content-type that says of a record that it is of format f.
func (f Format) MediaType() string {
	if f.isCSV() {
		return mediaPrefix + string(f) + "+csv"
	}
	return mediaPrefix + string(f) + "+json"
}

const (
	mediaPrefix    = "application/vnd.creditstream."
	eventMediaType = "application/cloudevents+json"
)

// An envelope is what stands around a record.
type envelope struct {
	doc    []byte
	base   int // where doc begins in the record; -1: nowhere, it was encoded
	format Format
	source []byte
}

// open reads a content-type, and takes a record out of its CloudEvent.
func (e *envelope) open(contentType []byte) *Fault {
	media := mediaType(contentType)
	if string(media) != eventMediaType {
		return e.named(media)
	}
	if fault := e.event(); fault != nil {
		return fault
	}
	return nil
}

// mediaType returns a content-type without its parameters, in lower case.
func mediaType(contentType []byte) []byte {
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	return bytes.ToLower(bytes.TrimSpace(media))
}

// named takes the format that a media type names. One that says no more than
// JSON or text leaves it to the configuration.
func (e *envelope) named(media []byte) *Fault {
	switch string(media) {
	case "", "application/json", "text/json", "text/csv", "text/plain", "application/octet-stream":
		return nil
	}
	if name, ok := bytes.CutPrefix(media, []byte(mediaPrefix)); ok {
		for _, f := range Formats() {
			if rest, ok := bytes.CutPrefix(name, []byte(f)); ok && string(rest) == f.MediaType()[len(mediaPrefix)+len(f):] {
				e.format = f
				return nil
			}
		}
	}
	return badFormat("the content-type is none that is known; expected one such as " + AsteriskJSON.MediaType() +
		", or none for what is configured")
}

// Slots of a CloudEvent.
const (
	eventSpec = iota
	eventSource
	eventMedia
	eventBase64
	eventSlots
)

// eventFields are the attributes of a CloudEvent in JSON that are read.
func eventField(name []byte) int {
	switch string(name) {
	case "specversion":
		return eventSpec
	case "source":
		return eventSource
	case "datacontenttype":
		return eventMedia
	case "data_base64":
		return eventBase64
	}
	return -1
}

// event takes the record out of a CloudEvent in structured mode.
func (e *envelope) event() *Fault {
	if len(e.doc) > MaxRecordBytes {
		return tooLong(len(e.doc))
	}
	var attributes [eventSlots][]byte
	data, fault := e.attributes(&attributes)
	if fault != nil {
		return fault
	}
	if attributes[eventSpec] == nil {
		return &Fault{Reason: rating.MissingField, Field: "specversion", At: -1, Message: "is absent from a CloudEvent; expected 1.0"}
	}
	if e.source == nil && len(attributes[eventSource]) > 0 {
		e.source = attributes[eventSource]
	}
	switch encoded := attributes[eventBase64]; {
	case encoded != nil:
		plain, err := base64.StdEncoding.AppendDecode(nil, encoded)
		if err != nil {
			return &Fault{Reason: rating.BadField, Field: "data_base64", At: -1, Message: "is not base64: " + err.Error()}
		}
		e.doc, e.base = plain, -1
	case data.end == 0:
		return &Fault{Reason: rating.MissingField, Field: "data", At: -1, Message: "is absent from a CloudEvent; expected the record"}
	case data.shape == text && data.marks&escaped != 0: // a line of CSV, mostly
		e.doc, e.base = unescape(nil, e.doc[data.at+1:data.end-1], len(e.doc)), -1
	case data.shape == text:
		e.doc, e.base = e.doc[data.at+1:data.end-1], data.at+1
	default:
		e.doc, e.base = e.doc[data.at:data.end], data.at
	}
	return e.named(mediaType(attributes[eventMedia]))
}

// attributes reads an event and returns where its data is; end is 0 when it has
// none.
func (e *envelope) attributes(attributes *[eventSlots][]byte) (data token, fault *Fault) {
	s := scanner{data: e.doc}
	s.space()
	if s.peek() != '{' {
		s.unexpected("{ of a CloudEvent")
		return data, s.fault
	}
	if !s.open('}') && !e.members(&s, attributes, &data) {
		return data, s.fault
	}
	if s.space(); s.pos < len(s.data) {
		s.unexpected("nothing after the CloudEvent's closing brace")
	}
	return data, s.fault
}

func (e *envelope) members(s *scanner, attributes *[eventSlots][]byte, data *token) bool {
	for {
		name, ok := s.name()
		if !ok {
			return false
		}
		t, ok := s.value(1)
		if !ok {
			return false
		}
		switch raw := unquote(e.doc, name); {
		case string(raw) == "data" && t.shape != null:
			*data = t
			data.end = s.pos
		case t.shape == text && eventField(raw) >= 0:
			attributes[eventField(raw)] = unquote(e.doc, t)
		}
		if again, ok := s.more('}', "a comma or }"); !again {
			return ok
		}
	}
}

// unquote returns what a string says.
func unquote(data []byte, t token) []byte {
	raw := data[t.at+1 : t.end-1]
	if t.marks&escaped == 0 || t.marks&broken != 0 {
		return raw
	}
	return unescape(nil, raw, len(raw))
}

// moved returns the error of a canonical record with its place in the envelope.
func (e *envelope) moved(err error) error {
	fault, ok := errors.AsType[*Fault](err)
	if !ok || fault.At < 0 {
		return err
	}
	if e.base < 0 {
		fault.At = -1
	} else {
		fault.At += e.base
	}
	return fault
}
