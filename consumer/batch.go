package consumer

import (
	"errors"
	"fmt"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// A batch is what one fetch brought, judged.
type batch struct {
	records  []kafka.Record
	verdicts []balance.Verdict // of record i
	byLane   [][]int           // of lane i: indexes of its records
	next     int64             // offset after the batch
	last     balance.Last      // its last record
	ends     []int64           // of the commands partitions, read after the fetch; nil for commands
	orders   map[int]*balance.Command
}

// judgeCDRs sorts fetched CDRs into lanes.
func (w *worker) judgeCDRs(f *kafka.Fetched) *batch {
	b := w.newBatch(f)
	for i := range b.records {
		shard := w.judge.judge(&b.records[i], &b.verdicts[i])
		b.byLane[w.laneOf[shard]] = append(b.byLane[w.laneOf[shard]], i)
	}
	return b
}

// judgeCommands sorts fetched commands into lanes. A record that is no command is
// parked; one of a newer version stops the worker.
func (w *worker) judgeCommands(f *kafka.Fetched) (*batch, error) {
	b := w.newBatch(f)
	b.orders = make(map[int]*balance.Command, len(b.records))
	for i := range b.records {
		rec := &b.records[i]
		c, err := balance.DecodeCommand(rec.Value)
		if errors.Is(err, balance.ErrNewerCommand) {
			return nil, fmt.Errorf("%s offset %d: %w", w.source, rec.Offset, err)
		}
		shard := w.source.Partition
		switch {
		case err != nil:
			park(&b.verdicts[i], rating.BadCommand, err.Error())
		case c.Type == balance.Tick:
			continue
		case w.store().CommandPartition(w.store().ShardOf(c.Account)) != w.source.Partition:
			park(&b.verdicts[i], rating.BadCommand, "the account belongs to another partition of the commands topic")
		default:
			shard = w.store().ShardOf(c.Account)
			b.orders[i] = c
		}
		b.byLane[w.laneOf[shard]] = append(b.byLane[w.laneOf[shard]], i)
	}
	return b, nil
}

func (w *worker) newBatch(f *kafka.Fetched) *batch {
	b := &batch{
		records: f.Records, verdicts: make([]balance.Verdict, len(f.Records)),
		byLane: make([][]int, len(w.lanes)), next: f.Next, last: w.readTo,
	}
	if n := len(f.Records); n > 0 {
		b.last = lastOf(&f.Records[n-1])
		w.readTo = b.last
	}
	return b
}

// A part is what one call of a lane carries of a batch: a run of its records.
type part struct {
	lane    int
	indexes []int
	next    int64
	last    balance.Last
	trimmed int // how many entries the call was told to trim
}

// part cuts what is left of a lane's records into the next call. indexes are
// those not below the mark; cut says how many of them a call may carry.
func (b *batch) part(lane int, indexes []int, cut int) part {
	if cut == len(indexes) {
		return part{lane: lane, indexes: indexes, next: b.next, last: b.last}
	}
	r := &b.records[indexes[cut-1]]
	return part{lane: lane, indexes: indexes[:cut], next: r.Offset + 1, last: lastOf(r)}
}

// lastOf is what a mark keeps of the last record before it.
func lastOf(r *kafka.Record) balance.Last {
	return balance.Last{Offset: r.Offset, Digest: balance.RecordDigest(r.Key, r.Value), AppendMillis: r.AppendMillis}
}
