package broker

import (
	"encoding/binary"
	"hash/crc32"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// How append times get in. kfake does know attribute bit 3, but it then replaces
// the batch's timestamps after it has checked the CRC and stores the old CRC:
// clients refuse the batch, and the next start cuts the log off there. So the
// batch is stamped before kfake sees it, with a valid CRC and, in place of bit
// 3, a bit that Kafka does not use; on the way out that bit becomes bit 3.
const (
	attrLogAppendTime = 0x0008
	attrStamped       = 0x8000

	crcAt        = 17
	attributesAt = 21 // the CRC covers everything from here
	maxTimeAt    = 35
	recordsAt    = 61
	lengthAt     = 8
	lengthAfter  = 12

	// keptStamps is how many append times of a partition wait for the answer to
	// their request; connections have one request at a time, so it bounds the
	// connections that write to one partition at once.
	keptStamps = 256
)

// appendTimes stamps batches and remembers the times for the answers.
type appendTimes struct {
	now func() time.Time

	mu     sync.Mutex
	last   int64
	stamps map[stampKey][]stamp // the newest last
}

// stampKey is a partition as requests and answers of one version name it: by
// name or by id.
type stampKey struct {
	topic     string
	id        [16]byte
	partition int32
}

type stamp struct {
	offset int64
	millis int64
}

func newAppendTimes(now func() time.Time) *appendTimes {
	return &appendTimes{now: now, stamps: make(map[stampKey][]stamp)}
}

// stamp puts the append time into the batches of req that go to topics with
// LogAppendTime. kfake calls it in its one goroutine just before the append, so
// the high watermark is the offset that the batch will get.
func (a *appendTimes) stamp(cluster *kfake.Cluster, req *kmsg.ProduceRequest) {
	for _, t := range req.Topics {
		info := cluster.TopicInfo(t.Topic)
		if req.Version >= 13 { // topics have ids only
			info = cluster.TopicIDInfo(t.TopicID)
		}
		if info == nil {
			continue
		}
		if kind := info.Configs["message.timestamp.type"]; kind == nil || *kind != "LogAppendTime" {
			continue
		}
		for _, p := range t.Partitions {
			part := cluster.PartitionInfo(info.Topic, p.Partition)
			if part == nil || !isSound(p.Records) {
				continue // kfake answers with the right error
			}
			millis := a.next()
			stampBatch(p.Records, millis)
			a.remember(stampKey{topic: t.Topic, id: t.TopicID, partition: p.Partition}, stamp{offset: part.HighWatermark, millis: millis})
		}
	}
}

// next returns the clock's time, or the last one if the clock went back.
func (a *appendTimes) next() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = max(a.last, a.now().UnixMilli())
	return a.last
}

func (a *appendTimes) remember(key stampKey, s stamp) {
	a.mu.Lock()
	defer a.mu.Unlock()
	kept := a.stamps[key]
	for n := len(kept); n > 0 && kept[n-1].offset >= s.offset; n-- {
		kept = kept[:n-1] // that append failed, or the topic was made anew
	}
	if len(kept) == keptStamps {
		kept = append(kept[:0], kept[1:]...)
	}
	a.stamps[key] = append(kept, s)
}

// at returns the append time of the batch at an offset, or -1.
func (a *appendTimes) at(key stampKey, offset int64) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.stamps[key] {
		if s.offset == offset {
			return s.millis
		}
	}
	return -1
}

// isSound says whether raw is one whole batch as its producer meant it: a CRC
// computed anew would hide damage.
func isSound(raw []byte) bool {
	return len(raw) >= recordsAt &&
		int64(binary.BigEndian.Uint32(raw[lengthAt:])) == int64(len(raw)-lengthAfter) &&
		binary.BigEndian.Uint32(raw[crcAt:]) == checksum(raw)
}

func checksum(raw []byte) uint32 {
	return crc32.Checksum(raw[attributesAt:], crc32.MakeTable(crc32.Castagnoli))
}

func stampBatch(raw []byte, millis int64) {
	attributes := binary.BigEndian.Uint16(raw[attributesAt:])
	binary.BigEndian.PutUint16(raw[attributesAt:], attributes&^attrLogAppendTime|attrStamped)
	binary.BigEndian.PutUint64(raw[maxTimeAt:], uint64(millis)) //nolint:gosec // after 1970
	binary.BigEndian.PutUint32(raw[crcAt:], checksum(raw))
}

// reveal turns the marks of stored batches into attribute bit 3, in place.
func reveal(set []byte) {
	for len(set) >= recordsAt {
		size := int64(binary.BigEndian.Uint32(set[lengthAt:])) + lengthAfter
		if size < recordsAt || size > int64(len(set)) {
			return
		}
		raw := set[:size]
		if attributes := binary.BigEndian.Uint16(raw[attributesAt:]); attributes&attrStamped != 0 {
			binary.BigEndian.PutUint16(raw[attributesAt:], attributes&^attrStamped|attrLogAppendTime)
			binary.BigEndian.PutUint32(raw[crcAt:], checksum(raw))
		}
		set = set[size:]
	}
}
