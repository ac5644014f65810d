package letters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// MaxLetters is how many dead letters an Index may hold.
const MaxLetters = 1_000_000

// Errors that say what the caller can do about them.
var (
	ErrTooMany = fmt.Errorf("more than %d dead letters: pick fewer, by reason, account, source or time", MaxLetters)
	ErrNoTopic = errors.New("there is no such topic: a processor creates it when it starts; check the name and the brokers")
	ErrUnknown = errors.New("there is no such dead letter, or its retention is over")
)

// A Box is the dead-letter topic of a cluster.
type Box struct {
	Client  *kafka.Client
	Topic   string
	Decoder *cdr.Decoder // as the processors have it
	Now     func() time.Time
}

// An Entry is one dead letter, without its bytes.
type Entry struct {
	ID              alerts.LetterID
	Reason          rating.Reason
	Message         string // for people; names member and byte where it can
	Appended        time.Time
	First           time.Time      // it was appended, before it was sent again; Appended, if it was not
	Account, Source string         // as far as the record could be read
	Bytes           int            // of the value that is here
	Cut             bool           // the rest of the value is in the log alone
	Marker          *alerts.Marker // how it was closed, the last time; nil: it is open

	place place
}

// place is where a dead letter lies in the dead-letter topic.
type place struct {
	partition int
	offset    int64
}

// An Index is what the topic holds, each dead letter once.
type Index struct {
	Entries []Entry // that the filter picks, open or closed, the newest first
	Strange int     // records of the topic that are neither dead letter nor marker
	Unread  int     // open dead letters whose account or source cannot be read, and that the filter might pick for it
}

// Index reads the whole topic; twice, if it holds markers: they may lie before their
// dead letters, and there may be any number of others.
func (b *Box) Index(ctx context.Context, f *Filter) (*Index, error) {
	partitions, err := b.partitions(ctx)
	if err != nil {
		return nil, err
	}
	r := indexing{decoder: b.Decoder, filter: f, texts: map[string]string{}, at: map[alerts.LetterID]int{}, unread: map[alerts.LetterID]bool{}}
	if err := b.scan(ctx, partitions, r.takeLetter); err != nil {
		return nil, err
	}
	if r.markers && len(r.index.Entries)+len(r.unread) > 0 {
		if err := b.scan(ctx, partitions, r.takeMarker); err != nil {
			return nil, err
		}
	}
	r.index.Unread = len(r.unread)
	slices.SortFunc(r.index.Entries, func(x, y Entry) int {
		if c := y.Appended.Compare(x.Appended); c != 0 {
			return c
		}
		return y.ID.Compare(x.ID)
	})
	return &r.index, nil
}

// scan reads all partitions until take returns an error.
func (b *Box) scan(ctx context.Context, partitions int, take func(*kafka.Record) error) error {
	for p := range partitions {
		for rec, err := range b.Client.Scan(ctx, b.Topic, p, 0) {
			if err == nil {
				err = take(rec)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Box) partitions(ctx context.Context) (int, error) {
	infos, err := b.Client.Topics(ctx, b.Topic)
	if err != nil {
		return 0, fmt.Errorf("look for topic %s: %w", b.Topic, err)
	}
	info, ok := infos[b.Topic]
	if !ok {
		return 0, fmt.Errorf("topic %s: %w", b.Topic, ErrNoTopic)
	}
	return info.Partitions, nil
}

// indexing is the state of one Index.
type indexing struct {
	decoder *cdr.Decoder
	filter  *Filter
	index   Index
	texts   map[string]string       // each once: a thousand records have one fault and one account
	at      map[alerts.LetterID]int // of those in the index
	unread  map[alerts.LetterID]bool
	markers bool // there are some
}

// takeMarker gives a dead letter of the index its newest marker.
func (r *indexing) takeMarker(rec *kafka.Record) error {
	_, m, err := alerts.ReadLetter(rec)
	if err != nil || m == nil {
		return nil //nolint:nilerr // takeLetter has counted it
	}
	delete(r.unread, m.ID)
	i, ok := r.at[m.ID]
	if !ok {
		return nil
	}
	e := &r.index.Entries[i]
	if e.Marker != nil && !e.Marker.At.Before(m.At) {
		return nil
	}
	for _, s := range []*string{&m.ID.Topic, &m.Done, &m.By, &m.Text} {
		*s = r.once(*s)
	}
	e.Marker = m
	return nil
}

func (r *indexing) takeLetter(rec *kafka.Record) error {
	l, m, err := alerts.ReadLetter(rec)
	switch {
	case err != nil:
		r.index.Strange++
		return nil //nolint:nilerr // somebody else wrote into the topic: counted
	case m != nil:
		r.markers = true
		return nil
	}
	if _, again := r.at[l.ID]; again {
		return nil
	}
	e := r.entry(l)
	e.place = place{rec.Partition, rec.Offset}
	if !r.filter.mayPick(&e) {
		return nil
	}
	if len(r.index.Entries)+len(r.unread) == MaxLetters {
		return ErrTooMany
	}
	if !r.filter.picks(&e) {
		r.unread[e.ID] = true
		return nil
	}
	for _, s := range []*string{&e.ID.Topic, (*string)(&e.Reason), &e.Message, &e.Account, &e.Source} {
		*s = r.once(*s)
	}
	r.at[e.ID] = len(r.index.Entries)
	r.index.Entries = append(r.index.Entries, e)
	return nil
}

// once returns s, in memory that every equal text shares.
func (r *indexing) once(s string) string {
	if t, ok := r.texts[s]; ok {
		return t
	}
	r.texts[s] = s
	return s
}

func (r *indexing) entry(l *alerts.Letter) Entry {
	v, _ := consumer.Decode(r.decoder, original(l)) // whatever could be read
	return Entry{
		ID: l.ID, Reason: l.Reason, Message: l.Message, Appended: l.Appended, First: l.First,
		Account: v.CDR.Account, Source: v.CDR.Source, Bytes: len(l.Value), Cut: l.Cut != "",
	}
}

// original is the parked record as far as the dead letter has it.
func original(l *alerts.Letter) *kafka.Record {
	return &kafka.Record{
		Topic: l.ID.Topic, Partition: l.ID.Partition, Offset: l.ID.Offset, AppendMillis: l.Appended.UnixMilli(),
		Key: l.Key, Value: l.Value, Headers: l.Headers,
	}
}

// Letter returns one dead letter with its bytes, and what the index says of it.
func (b *Box) Letter(ctx context.Context, id alerts.LetterID) (*alerts.Letter, *Entry, error) {
	index, err := b.Index(ctx, &Filter{IDs: []alerts.LetterID{id}})
	if err != nil {
		return nil, nil, err
	}
	if len(index.Entries) == 0 {
		return nil, nil, fmt.Errorf("%s: %w", id, ErrUnknown)
	}
	e := &index.Entries[0]
	for rec, err := range b.Client.Scan(ctx, b.Topic, e.place.partition, e.place.offset) {
		if err != nil {
			return nil, nil, err
		}
		if l, _, err := alerts.ReadLetter(rec); err == nil && l != nil && l.ID == id {
			return l, e, nil
		}
	}
	return nil, nil, fmt.Errorf("%s: %w", id, ErrUnknown) // retention was faster
}

// Drop marks dead letters as dropped, some at a time, and tells report of each. After
// an error those that it was not told of may have been marked or not: they are open, or
// to drop them again is safe.
func (b *Box) Drop(ctx context.Context, entries []*Entry, by, text string, report func(*Entry)) error {
	for some := range slices.Chunk(entries, maxBatch) {
		if err := b.Close(ctx, some, alerts.Dropped, by, text); err != nil {
			return err
		}
		for _, e := range some {
			report(e)
		}
	}
	return nil
}

// Close marks dead letters: done is alerts.Replayed or alerts.Dropped. It takes
// writeTimeout at most.
func (b *Box) Close(ctx context.Context, entries []*Entry, done, by, text string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	at := b.Now()
	msgs := make([]kafka.Message, len(entries))
	for i, e := range entries {
		m := alerts.Marker{ID: e.ID, Done: done, By: by, At: at, Text: text}
		msgs[i] = m.Message(b.Topic, e.place.partition)
	}
	if err := kafka.NewWriter(b.Client, kafka.WriterOptions{}).WriteAll(ctx, msgs); err != nil {
		return fmt.Errorf("mark %d dead letters as %s: %w: some may be marked, and to mark them twice is safe", len(entries), done, err)
	}
	return nil
}

// A Sum counts open dead letters.
type Sum struct {
	Open, Replayed, Dropped int
	ByReason                map[rating.Reason]Count
	BySource                map[string]Count
	ByHour                  map[time.Time]Count // UTC
}

// A Count is how many dead letters are open, and since when the oldest of them: since
// its record came first, however often it was sent again.
type Count struct {
	Open   int
	Oldest time.Time
}

// Sum counts what is in the index.
func (x *Index) Sum() Sum {
	s := Sum{ByReason: map[rating.Reason]Count{}, BySource: map[string]Count{}, ByHour: map[time.Time]Count{}}
	for i := range x.Entries {
		e := &x.Entries[i]
		if m := e.Marker; m != nil {
			if m.Done == alerts.Dropped {
				s.Dropped++
			} else {
				s.Replayed++
			}
			continue
		}
		s.Open++
		add(s.ByReason, e.Reason, e)
		add(s.BySource, e.Source, e)
		add(s.ByHour, e.Appended.UTC().Truncate(time.Hour), e)
	}
	return s
}

func add[K comparable](to map[K]Count, key K, e *Entry) {
	n, again := to[key]
	if n.Open++; !again || e.First.Before(n.Oldest) {
		n.Oldest = e.First
	}
	to[key] = n
}

// OldestFirst returns all entries, the oldest first.
func (x *Index) OldestFirst() []*Entry {
	all := make([]*Entry, 0, len(x.Entries))
	for i := range x.Entries {
		all = append(all, &x.Entries[len(x.Entries)-1-i])
	}
	return all
}

// Open returns the entries that are open, the oldest first.
func (x *Index) Open() []*Entry {
	return slices.DeleteFunc(x.OldestFirst(), func(e *Entry) bool { return e.Marker != nil })
}

// Find returns the entry of an id, or nil.
func (x *Index) Find(id alerts.LetterID) *Entry {
	for i := range x.Entries {
		if x.Entries[i].ID == id {
			return &x.Entries[i]
		}
	}
	return nil
}
