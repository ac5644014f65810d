package broker

import (
	"encoding/binary"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	requestHead = 12 // size, key, version, correlation id
	// maxAsked bounds the requests that are remembered until their answer:
	// those with acks=0 never get one.
	maxAsked = 64
)

// conn follows the requests that kfake reads and edits the answers that it
// writes, one whole answer in each Write.
type conn struct {
	net.Conn

	times *appendTimes

	// Read side: the head of the request under way and what is left of it.
	head    [requestHead]byte
	headLen int
	skip    int64

	mu    sync.Mutex
	asked []asked // in order of arrival, which is the order of the answers
}

type asked struct {
	correlation uint32
	key         kmsg.Key
	version     int16
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.follow(p[:n])
	return n, err
}

// follow notes which requests b, the next bytes of the stream, begins.
func (c *conn) follow(b []byte) {
	for len(b) > 0 {
		if c.skip > 0 {
			n := min(c.skip, int64(len(b)))
			c.skip -= n
			b = b[n:]
			continue
		}
		n := copy(c.head[c.headLen:], b)
		c.headLen += n
		b = b[n:]
		if c.headLen < requestHead {
			return
		}
		c.headLen = 0
		c.skip = max(0, int64(binary.BigEndian.Uint32(c.head[0:]))-(requestHead-4))
		c.note(asked{
			key:         kmsg.Key(binary.BigEndian.Uint16(c.head[4:])), //nolint:gosec // two's complement on the wire
			version:     int16(binary.BigEndian.Uint16(c.head[6:])),    //nolint:gosec // two's complement on the wire
			correlation: binary.BigEndian.Uint32(c.head[8:]),
		})
	}
}

func (c *conn) note(a asked) {
	if a.key != kmsg.Produce && a.key != kmsg.Fetch {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.asked) == maxAsked {
		c.asked = c.asked[1:]
	}
	c.asked = append(c.asked, a)
}

// answered returns the request that an answer belongs to and forgets it.
func (c *conn) answered(correlation uint32) (asked, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, a := range c.asked {
		if a.correlation == correlation {
			c.asked = c.asked[i+1:]
			return a, true
		}
	}
	return asked{}, false
}

// Write implements net.Conn. It may change p, which kfake fills anew each time.
func (c *conn) Write(p []byte) (int, error) {
	const head = 8 // size, correlation id
	if len(p) < head || int64(binary.BigEndian.Uint32(p)) != int64(len(p)-4) {
		return c.Conn.Write(p)
	}
	a, ok := c.answered(binary.BigEndian.Uint32(p[4:]))
	if !ok {
		return c.Conn.Write(p)
	}
	out := p
	if a.key == kmsg.Fetch {
		revealFetch(p[head:], a.version)
	} else {
		out = c.times.tellProduce(p, head, a.version)
	}
	if _, err := c.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// revealFetch edits the body of a fetch answer in place: kmsg's record sets
// alias what it reads, and no length changes.
func revealFetch(body []byte, version int16) {
	res := kmsg.NewPtrFetchResponse()
	res.SetVersion(version)
	if res.IsFlexible() {
		body = body[1:] // the empty tags of the header
	}
	if res.ReadFrom(body) != nil {
		return
	}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			reveal(p.RecordBatches)
		}
	}
}

// tellProduce returns a produce answer with the append times of its batches.
func (a *appendTimes) tellProduce(answer []byte, head int, version int16) []byte {
	res := kmsg.NewPtrProduceResponse()
	res.SetVersion(version)
	if res.IsFlexible() {
		head++
	}
	if len(answer) < head || res.ReadFrom(answer[head:]) != nil {
		return answer
	}
	for i := range res.Topics {
		t := &res.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if p.ErrorCode == 0 {
				p.LogAppendTime = a.at(stampKey{topic: t.Topic, id: t.TopicID, partition: p.Partition}, p.BaseOffset)
			}
		}
	}
	out := res.AppendTo(append(make([]byte, 0, len(answer)), answer[:head]...))
	binary.BigEndian.PutUint32(out, uint32(len(out)-4)) //nolint:gosec // an answer of kfake's with the same fields
	return out
}
