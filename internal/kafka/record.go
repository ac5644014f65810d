package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	errRecordCut  = errors.New("cut off")
	errRecordLong = errors.New("bytes left over")
)

// rawRecord is a record as a batch holds it.
type rawRecord struct {
	timeDelta   int64
	offsetDelta int64
	key, value  []byte
}

// decodeRecord decodes the record at the beginning of rest and moves rest past
// it. Keys and values alias rest.
func decodeRecord(rest *[]byte) (rawRecord, []Header, error) {
	outer := recordBytes{b: *rest}
	length := outer.varint()
	if outer.bad || length < 0 || length > int64(len(outer.b)) {
		return rawRecord{}, nil, fmt.Errorf("length: %w", errRecordCut)
	}
	in := recordBytes{b: outer.b[:length:length]}
	*rest = outer.b[length:]

	in.skip() // attributes, unused
	rec := rawRecord{timeDelta: in.varint(), offsetDelta: in.varint()}
	rec.key = in.nullable()
	rec.value = in.nullable()
	headers := in.headers()
	switch {
	case in.bad:
		return rawRecord{}, nil, errRecordCut
	case len(in.b) != 0:
		return rawRecord{}, nil, fmt.Errorf("%d %w", len(in.b), errRecordLong)
	}
	return rec, headers, nil
}

// recordBytes reads the fields of a record; bad is set, and stays, once the
// bytes do not hold what they say.
type recordBytes struct {
	b   []byte
	bad bool
}

func (r *recordBytes) fail() {
	r.b, r.bad = nil, true
}

func (r *recordBytes) skip() {
	if len(r.b) == 0 {
		r.fail()
		return
	}
	r.b = r.b[1:]
}

// varint reads a zigzag varint.
func (r *recordBytes) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// nullable reads bytes behind their length; -1 is nil.
func (r *recordBytes) nullable() []byte {
	n := r.varint()
	switch {
	case n == -1:
		return nil
	case n < 0 || n > int64(len(r.b)):
		r.fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *recordBytes) headers() []Header {
	n := r.varint()
	if n < 0 || n > int64(len(r.b)/2) { // a header takes two bytes at least
		r.fail()
		return nil
	}
	if n == 0 {
		return nil
	}
	headers := make([]Header, 0, n)
	for range n {
		key := r.nullable()
		if key == nil {
			r.fail()
			return nil
		}
		headers = append(headers, Header{Key: string(key), Value: r.nullable()})
	}
	return headers
}
