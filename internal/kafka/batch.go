package kafka

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// The layout of a record batch, message format version 2:
// https://kafka.apache.org/documentation/#recordbatch
const (
	batchLengthAt     = 8
	batchMagicAt      = 16
	batchCRCAt        = 17
	batchAttributesAt = 21 // the CRC covers everything from here
	batchLastDeltaAt  = 23
	batchFirstTimeAt  = 27
	batchMaxTimeAt    = 35
	batchProducerAt   = 43
	batchCountAt      = 57
	batchRecordsAt    = 61

	batchPrefix = 12 // base offset and length, which the length does not count
	batchMagic  = 2

	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20

	// leastRecord is the size of the smallest possible record.
	leastRecord = 7
)

// BatchError says that a record batch of a partition could not be decoded. It
// is never temporary.
type BatchError struct {
	TopicPartition

	// Offset is the base offset of the batch, or the asked one if not even that
	// could be read.
	Offset int64
	Err    error
}

// Error implements error.
func (e *BatchError) Error() string {
	return fmt.Sprintf("%s: record batch at offset %d: %v", e.TopicPartition, e.Offset, e.Err)
}

// Unwrap returns what is wrong with the batch.
func (e *BatchError) Unwrap() error { return e.Err }

// batch is one record batch with its header decoded.
type batch struct {
	base, last          int64
	attributes          int16
	firstTime, maxTime  int64
	producer            int64
	count               int
	records             []byte // compressed as attributes say
	uncompressedRecords []byte
}

// batchDecoder turns the record set of one partition into committed records.
type batchDecoder struct {
	at     TopicPartition
	from   int64 // the asked offset
	codecs *codecs

	aborted []abortedTxn       // ordered by first offset, not yet reached
	void    map[int64]struct{} // producers inside an aborted transaction

	next          int64
	records       []Record
	logAppendTime bool
}

// decode decodes all whole batches of set. A cut-off batch at the end is left
// for the next fetch; if it is the only one, fetching again would not help and
// it is an error.
func (d *batchDecoder) decode(set []byte) error {
	last := int64(-1)
	for rest := set; len(rest) > 0; {
		raw, whole, err := cutBatch(rest)
		if err != nil {
			return d.fail(rest, err)
		}
		if !whole {
			if len(rest) == len(set) {
				return d.fail(rest, fmt.Errorf("cut off after %d bytes, and alone in the answer", len(rest)))
			}
			return nil
		}
		b, err := parseBatch(raw)
		if err == nil && b.base <= last {
			err = fmt.Errorf("offsets go back: the batch before it ends at %d", last)
		}
		if err == nil {
			last = b.last
			err = d.take(b)
		}
		if err != nil {
			return d.fail(raw, err)
		}
		rest = rest[len(raw):]
	}
	return nil
}

func (d *batchDecoder) fail(raw []byte, err error) error {
	offset := d.next
	if len(raw) >= batchLengthAt {
		offset = wireInt64(raw)
	}
	return &BatchError{TopicPartition: d.at, Offset: offset, Err: err}
}

// cutBatch returns the first batch of set, or false if set ends before it does.
func cutBatch(set []byte) (raw []byte, whole bool, err error) {
	if len(set) <= batchMagicAt {
		return nil, false, nil
	}
	if magic := set[batchMagicAt]; magic != batchMagic {
		return nil, false, fmt.Errorf("message format version %d: only version 2 is supported (Kafka 0.11 or newer)", magic)
	}
	length := int64(wireInt32(set[batchLengthAt:]))
	if length < batchRecordsAt-batchPrefix {
		return nil, false, fmt.Errorf("length %d is less than a batch header", length)
	}
	if size := length + batchPrefix; size <= int64(len(set)) {
		return set[:size], true, nil
	}
	return nil, false, nil
}

// parseBatch checks a whole batch and decodes its header.
func parseBatch(raw []byte) (batch, error) {
	sum := crc32.Checksum(raw[batchAttributesAt:], crc32.MakeTable(crc32.Castagnoli))
	if want := binary.BigEndian.Uint32(raw[batchCRCAt:]); sum != want {
		return batch{}, fmt.Errorf("CRC-32C is %08x, the batch says %08x", sum, want)
	}
	b := batch{
		base:       wireInt64(raw),
		attributes: wireInt16(raw[batchAttributesAt:]),
		firstTime:  wireInt64(raw[batchFirstTimeAt:]),
		maxTime:    wireInt64(raw[batchMaxTimeAt:]),
		producer:   wireInt64(raw[batchProducerAt:]),
		count:      int(wireInt32(raw[batchCountAt:])),
		records:    raw[batchRecordsAt:],
	}
	delta := int64(wireInt32(raw[batchLastDeltaAt:]))
	b.last = b.base + delta
	switch {
	case b.base < 0 || delta < 0 || b.base > math.MaxInt64-delta-1:
		return batch{}, fmt.Errorf("last offset delta %d", delta)
	case b.count < 0 || int64(b.count) > delta+1:
		return batch{}, fmt.Errorf("%d records in %d offsets", b.count, delta+1)
	}
	return b, nil
}

// take appends what is committed of a batch and moves next past it.
func (d *batchDecoder) take(b batch) error {
	d.reachAborted(b.last)
	if b.attributes&attrControl != 0 {
		if err := d.control(b); err != nil {
			return err
		}
	} else if !d.isVoid(b) && b.last >= d.from {
		had := len(d.records)
		if err := d.appendRecords(b); err != nil {
			d.records = append(d.records[:had], d.unreadable(b, err))
		}
	}
	d.next = max(d.next, b.last+1)
	return nil
}

// unreadable stands for the records of a batch that arrived as it was sent (its
// checksum is right) and still makes no sense. It lies at the last offset, so that
// it is the same wherever the fetch begins.
func (d *batchDecoder) unreadable(b batch, err error) Record {
	if b.attributes&attrLogAppendTime == 0 {
		d.logAppendTime = false
	}
	return Record{
		Topic: d.at.Topic, Partition: d.at.Partition, Offset: b.last, AppendMillis: b.maxTime,
		Unreadable: fmt.Errorf("a batch of %d records at offsets %d to %d cannot be read: %w", b.count, b.base, b.last, err),
	}
}

// reachAborted notes the producers whose aborted transactions begin no later
// than offset last.
func (d *batchDecoder) reachAborted(last int64) {
	for len(d.aborted) > 0 && d.aborted[0].firstOffset <= last {
		if d.void == nil {
			d.void = make(map[int64]struct{})
		}
		d.void[d.aborted[0].producer] = struct{}{}
		d.aborted = d.aborted[1:]
	}
}

func (d *batchDecoder) isVoid(b batch) bool {
	_, ok := d.void[b.producer]
	return ok && b.attributes&attrTransactional != 0
}

// control ends an aborted transaction at its marker. Other control records say
// nothing about records.
func (d *batchDecoder) control(b batch) error {
	const abort = 0
	if err := d.uncompress(&b); err != nil {
		return err
	}
	if b.count == 0 { // compaction keeps the empty batch
		delete(d.void, b.producer)
		return nil
	}
	rest := b.uncompressedRecords
	rec, _, err := decodeRecord(&rest)
	if err != nil {
		return fmt.Errorf("control record: %w", err)
	}
	if len(rec.key) < 4 {
		return fmt.Errorf("control record: key of %d bytes", len(rec.key))
	}
	if wireInt16(rec.key[2:]) == abort {
		delete(d.void, b.producer)
	}
	return nil
}

func (d *batchDecoder) uncompress(b *batch) error {
	plain, err := d.codecs.decompress(b.attributes&attrCodec, b.records)
	if err != nil {
		return fmt.Errorf("decompress: %w", err)
	}
	if b.count > len(plain)/leastRecord {
		return fmt.Errorf("%d records in %d bytes", b.count, len(plain))
	}
	b.uncompressedRecords = plain
	return nil
}

func (d *batchDecoder) appendRecords(b batch) error {
	if b.count == 0 {
		return nil
	}
	if err := d.uncompress(&b); err != nil {
		return err
	}
	d.grow(b.count)
	appended := b.attributes&attrLogAppendTime != 0
	rest := b.uncompressedRecords
	before := int64(-1)
	for i := range b.count {
		rec, headers, err := decodeRecord(&rest)
		if err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		if rec.offsetDelta <= before || rec.offsetDelta > b.last-b.base {
			return fmt.Errorf("record %d: offset delta %d after %d", i, rec.offsetDelta, before)
		}
		before = rec.offsetDelta
		offset := b.base + rec.offsetDelta
		if offset < d.from {
			continue // the batch begins before the asked offset
		}
		millis := b.maxTime // where brokers put the time of a LogAppendTime topic
		if !appended {
			millis = b.firstTime + rec.timeDelta
			d.logAppendTime = false
		}
		d.records = append(d.records, Record{
			Topic:        d.at.Topic,
			Partition:    d.at.Partition,
			Offset:       offset,
			AppendMillis: millis,
			Key:          rec.key,
			Value:        rec.value,
			Headers:      headers,
		})
	}
	if len(rest) != 0 {
		return fmt.Errorf("%d bytes after the last of %d records", len(rest), b.count)
	}
	return nil
}

// grow makes room for count records; twice what was there, so that many small
// batches do not copy at every step.
func (d *batchDecoder) grow(count int) {
	if need := len(d.records) + count; need > cap(d.records) {
		grown := make([]Record, len(d.records), max(need, 2*cap(d.records)))
		copy(grown, d.records)
		d.records = grown
	}
}
