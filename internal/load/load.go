// Package load sends files of CDRs to Kafka, as a switch would.
//
// What it promises:
//
//   - A record is sent as it stands in the file, with the content-type of its
//     format, so that it is read right whatever the processors take for granted, and
//     under its account as key.
//   - A record that cannot be read, or is larger than the topic takes, is told of
//     with its place, is not sent, and keeps no other from being sent. What is no
//     call of its own is left out and counted.
//   - When File returns without an error, all in-sync replicas have what it counts as
//     sent.
//
// It keeps no account of what it has sent: to send a file again is safe, because the
// id of a call is claimed with its charge (design rule 8), for as long as ids are
// remembered; an older call is parked, not charged.
package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// What one batch may hold.
const (
	maxBatch      = 2000
	maxBatchBytes = 1 << 20
)

// overhead is more than a record takes beyond its key, value and header texts.
const overhead = 256

// ErrNoTopic means that there is nothing to send to.
var ErrNoTopic = errors.New("there is no such topic: a processor creates it, with the right settings, when it starts; check the name and the brokers")

// A Loader sends files to one topic.
type Loader struct {
	topic   string
	writer  *kafka.Writer
	decoder *cdr.Decoder
	format  cdr.Format
	source  string
	headers []kafka.Header
	most    int // bytes of a record
	now     func() time.Time
}

// Options say how files are read.
type Options struct {
	Topic   string
	Format  cdr.Format
	Decoder *cdr.Decoder // of the format
	Source  string       // sent as cdr-source; empty: none
	Now     func() time.Time
}

// New returns a loader. It returns ErrNoTopic when the topic is not there.
func New(ctx context.Context, client *kafka.Client, opt *Options) (*Loader, error) {
	infos, err := client.Topics(ctx, opt.Topic)
	if err != nil {
		return nil, fmt.Errorf("look for topic %s: %w", opt.Topic, err)
	}
	info, ok := infos[opt.Topic]
	if !ok {
		return nil, fmt.Errorf("topic %s: %w", opt.Topic, ErrNoTopic)
	}
	most, err := strconv.Atoi(info.Configs["max.message.bytes"])
	if err != nil {
		most = 1 << 20 // what Kafka takes by default
	}
	l := &Loader{
		topic: opt.Topic, writer: kafka.NewWriter(client, kafka.WriterOptions{}), decoder: opt.Decoder, format: opt.Format, source: opt.Source,
		most: most - overhead, now: opt.Now,
	}
	l.header("content-type", opt.Format.MediaType())
	if opt.Source != "" {
		l.header("cdr-source", opt.Source)
	}
	return l, nil
}

func (l *Loader) header(name, value string) {
	l.headers = append(l.headers, kafka.Header{Key: name, Value: []byte(value)})
	l.most -= len(name) + len(value)
}

// A Sum is what became of the records of a file so far.
type Sum struct {
	Sent, Skipped, Refused int
	Bytes                  int64 // of the file, up to the last record that was sent
	Line                   int   // of that record
}

// File sends what from holds. refused is told of each record that is not sent, and
// sent the sum after each batch. An error ends the file; what was sent before is in
// the sum, and what was in the batch may have been sent, too.
func (l *Loader) File(ctx context.Context, from io.Reader, refused func(line int, why error), sent func(Sum)) (Sum, error) {
	var sum Sum
	var batch []kafka.Message
	size, line, end := 0, 0, int64(0)
	flush := func() error {
		if len(batch) > 0 {
			if err := l.writer.WriteAll(ctx, batch); err != nil {
				return err
			}
		}
		sum.Sent, sum.Line, sum.Bytes = sum.Sent+len(batch), line, end
		batch, size = batch[:0:0], 0
		sent(sum)
		return nil
	}
	for pieces := cdr.NewSplitter(from, l.format); ctx.Err() == nil; {
		p, err := pieces.Next()
		if errors.Is(err, io.EOF) {
			return sum, flush()
		}
		if err != nil {
			return sum, errors.Join(err, flush())
		}
		m, err := l.message(&p)
		var skip *cdr.Skip
		switch {
		case errors.As(err, &skip):
			sum.Skipped++
		case err != nil:
			sum.Refused++
			refused(p.Line, err)
		default:
			batch = append(batch, m)
			size += len(m.Value)
		}
		line, end = p.Line, p.Offset+int64(len(p.Data))
		if len(batch) >= maxBatch || size >= maxBatchBytes {
			if err := flush(); err != nil {
				return sum, err
			}
		}
	}
	return sum, ctx.Err()
}

// message returns what is sent of a record, or why it is not sent: a *cdr.Skip when
// it is no call.
func (l *Loader) message(p *cdr.Piece) (m kafka.Message, err error) {
	if p.Fault != nil {
		return m, p.Fault
	}
	var c rating.CDR
	rec := cdr.Record{Value: p.Data, AppendMillis: l.now().UnixMilli(), ContentType: l.headers[0].Value}
	if l.source != "" {
		rec.Source = []byte(l.source)
	}
	if err := l.decoder.Decode(&rec, &c); err != nil {
		return m, err
	}
	m = kafka.Message{Topic: l.topic, Partition: kafka.AnyPartition, Value: bytes.Clone(p.Data), Headers: l.headers}
	if c.Account != "" {
		m.Key = []byte(c.Account)
	}
	if n := len(m.Key) + len(m.Value); n > l.most {
		return m, fmt.Errorf("the record has %d bytes: topic %s takes at most %d", n, l.topic, l.most)
	}
	return m, nil
}
