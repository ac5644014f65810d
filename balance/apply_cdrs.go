package balance

import (
	"context"
	"encoding/binary"
	"math"
	"strings"

	"github.com/creditstream/creditstream/rating"
)

// A Debit is one CDR that reaches an account, or that is free whatever its account.
type Debit struct {
	Offset       int64
	AppendMillis int64
	Account      string // "": free whatever the account (emergency, internal)
	Amount       rating.Micros
	Currency     string
	Claims       bool  // its id is remembered; not so for a call that was never answered or lasted no time
	Digest       int64 // CDRDigest
	Slice        int64 // of the answer time
}

// MaxBatch is the most records of one shard that one call may carry: a script
// blocks the server, and unpack has a limit of about 7,900 values.
const MaxBatch = 1000

// A CDRBatch is a run of records of one source that belong to one shard. Debits
// are in the order of the log, at most MaxBatch, and of one account all charged
// ones have one currency (see Cut).
type CDRBatch struct {
	Position
	CommandsEnd int64 // end of the shard's commands partition, read after the fetch
	Debits      []Debit
}

// Cut returns how many of debits one batch may carry.
func Cut(debits []Debit) int {
	n := min(len(debits), MaxBatch)
	if oneCurrency(debits[:n]) { // as ever
		return n
	}
	currency := map[string]string{}
	for i := range debits[:n] {
		d := &debits[i]
		if d.Account == "" || d.Amount == 0 {
			continue
		}
		if c, ok := currency[d.Account]; ok && c != d.Currency {
			return i
		}
		currency[d.Account] = d.Currency
	}
	return n
}

func oneCurrency(debits []Debit) bool {
	first := ""
	for i := range debits {
		if debits[i].Amount == 0 {
			continue
		}
		if first == "" {
			first = debits[i].Currency
		}
		if debits[i].Currency != first {
			return false
		}
	}
	return true
}

// ApplyCDRs applies batches, each to its shard, in one round trip. The caller has
// at most one call of a shard and source in flight. Replies are in the order of
// batches.
func (s *Store) ApplyCDRs(ctx context.Context, batches []*CDRBatch) []Reply {
	positions, calls := make([]*Position, len(batches)), make([]call, len(batches))
	for i, b := range batches {
		positions[i], calls[i] = &b.Position, s.cdrCall(b)
	}
	return s.apply(ctx, positions, calls)
}

// group is what a batch holds of one account.
type group struct {
	account  string
	currency string
	debits   []int // indexes
	sum      rating.Micros
	first    int64 // append time
	last     int64
	walk     bool
}

// slice is what a batch holds of one slice of answer time.
type slice struct {
	number  int64
	digests []int64
}

// grouping sorts the debits of a batch by account and by slice.
type grouping struct {
	groups []*group
	slices []*slice
	loose  []int            // records without account
	place  []int            // of debit i: position of its digest in its slice, or -1
	in     []int            // of debit i: index of its slice
	index  map[string]int   // account -> group
	slice  map[int64]int    // slice number -> slice
	known  map[[2]int64]int // slice number, digest -> place: a repeat within the batch
}

func arrange(debits []Debit) *grouping {
	g := &grouping{
		place: make([]int, len(debits)), in: make([]int, len(debits)),
		index: make(map[string]int, len(debits)), slice: map[int64]int{}, known: make(map[[2]int64]int, len(debits)),
	}
	for i := range debits {
		d := &debits[i]
		twice := g.claim(i, d)
		if d.Account == "" {
			g.loose = append(g.loose, i)
			continue
		}
		k, ok := g.index[d.Account]
		if !ok {
			k = len(g.groups)
			g.index[d.Account] = k
			g.groups = append(g.groups, &group{account: d.Account, first: d.AppendMillis, last: d.AppendMillis})
		}
		a := g.groups[k]
		a.debits = append(a.debits, i)
		a.sum += d.Amount
		a.first, a.last = min(a.first, d.AppendMillis), max(a.last, d.AppendMillis)
		a.walk = a.walk || twice
		if d.Amount > 0 {
			a.currency = d.Currency
		}
	}
	return g
}

// claim gives the digest of debit i a place in its slice, and reports whether the
// batch had it already.
func (g *grouping) claim(i int, d *Debit) (twice bool) {
	g.place[i] = -1
	if !d.Claims {
		return false
	}
	n, ok := g.slice[d.Slice]
	if !ok {
		n = len(g.slices)
		g.slice[d.Slice] = n
		g.slices = append(g.slices, &slice{number: d.Slice})
	}
	s := g.slices[n]
	key := [2]int64{d.Slice, d.Digest}
	place, twice := g.known[key]
	if !twice {
		place = len(s.digests)
		g.known[key] = place
		s.digests = append(s.digests, d.Digest)
	}
	g.place[i], g.in[i] = place, n
	return twice
}

// pack writes the records in the order of the groups, as apply_cdrs unpacks them.
func (g *grouping) pack(debits []Debit) string {
	before := make([]int, len(g.slices))
	for n := 1; n < len(g.slices); n++ {
		before[n] = before[n-1] + len(g.slices[n-1].digests)
	}
	b := make([]byte, 0, 26*len(debits))
	add := func(i int) {
		d := &debits[i]
		for _, x := range [...]int64{d.Offset, int64(d.Amount), d.AppendMillis} {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(x))) // exact: all are below 2^53
		}
		number := 0
		if g.place[i] >= 0 {
			number = before[g.in[i]] + g.place[i] + 1
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(number))
	}
	for _, i := range g.loose {
		add(i)
	}
	for _, a := range g.groups {
		for _, i := range a.debits {
			add(i)
		}
	}
	return string(b)
}

func (s *Store) cdrCall(b *CDRBatch) call {
	g := arrange(b.Debits)
	keys := make([]string, 0, 2+len(g.slices)+len(g.groups))
	keys = append(keys, marksKey(b.Shard), outboxKey(b.Shard, b.Source))
	args := make([]any, 0, 14+len(b.Debits)+len(g.slices)+7*len(g.groups))
	args = append(
		args, b.Source.String(), b.Expect.expected(), b.Next, b.Last.String(), s.clock(),
		s.commandSource(s.CommandPartition(b.Shard)).String(), b.CommandsEnd, s.opt.Slack.Milliseconds(),
		strings.Join(b.Trim, " "), b.apartLines(), g.pack(b.Debits), len(g.slices), len(g.groups), len(g.loose),
	)
	for _, sl := range g.slices {
		keys = append(keys, seenKey(b.Shard, sl.number))
		args = append(args, len(sl.digests))
		for _, d := range sl.digests {
			args = append(args, d)
		}
	}
	for _, a := range g.groups {
		keys = append(keys, accountKey(b.Shard, a.account))
		walk := 0
		if a.walk {
			walk = 1
		}
		args = append(args, a.account, len(a.debits), int64(a.sum), a.currency, a.first, a.last, walk)
	}
	return call{applyCDRs, keys, args}
}
