package chaos

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// A Kind names a fault.
type Kind string

// The faults.
const (
	ProcessorKill Kind = "processor_kill" // kill -9; started again soon
	Zombie        Kind = "zombie"         // SIGSTOP until others own its partitions, then SIGCONT
	Rebalance     Kind = "rebalance"      // an instance comes or goes
	BrokerKill    Kind = "broker_kill"    // kill -9; started again soon
	LeaderMove    Kind = "leader_move"    // the preferred leaders are elected
	RedisKill     Kind = "redis_kill"     // kill -9 of a master, started again at once
	AOFCut        Kind = "aof_cut"        // a master and its replica die, and the end of its file is gone
	Failover      Kind = "failover"       // a master dies with writes that its replica never got
	Restore       Kind = "restore"        // all nodes get an older copy of their data
	SlotMove      Kind = "slot_move"      // the slot of a shard goes to another master, key by key

	LostReply Kind = "net_lost_reply" // a request arrives, its answer does not
	Reset     Kind = "net_reset"      // connections end at once
	Stall     Kind = "net_stall"      // connections stay open and nothing goes through
	Slow      Kind = "net_slow"
	Sliced    Kind = "net_sliced" // a few bytes at a time
)

// Kinds returns every fault, in the order of reports.
func Kinds() []Kind {
	return []Kind{
		ProcessorKill, Zombie, Rebalance, BrokerKill, LeaderMove, RedisKill, AOFCut, Failover, Restore, SlotMove,
		LostReply, Reset, Stall, Slow, Sliced,
	}
}

// A lane is a sequence of faults that do not overlap: two brokers are not down at
// once, nor two masters of Redis. Faults of different lanes do overlap.
type lane int

const (
	laneProcessors lane = iota
	laneKafka
	laneRedis
	laneNetwork
	lanes
)

func (k Kind) lane() lane {
	switch k {
	case ProcessorKill, Zombie, Rebalance:
		return laneProcessors
	case BrokerKill, LeaderMove:
		return laneKafka
	case RedisKill, AOFCut, Failover, Restore, SlotMove:
		return laneRedis
	case LostReply, Reset, Stall, Slow, Sliced:
	}
	return laneNetwork
}

// goesBack reports whether Redis may forget what it has acknowledged.
func (k Kind) goesBack() bool {
	switch k {
	case RedisKill, AOFCut, Failover, Restore:
		return true
	case ProcessorKill, Zombie, Rebalance, BrokerKill, LeaderMove, SlotMove, LostReply, Reset, Stall, Slow, Sliced:
	}
	return false
}

// A Fault is one step of a schedule.
type Fault struct {
	At   time.Duration // since the begin of the load
	Kind Kind
	Pick uint64 // what it hits, and how hard
}

// of picks one of n things; each of them by another part of Pick.
func (f *Fault) of(part, n int) int {
	return rand.New(rand.NewPCG(f.Pick, uint64(part))).IntN(n) //nolint:gosec // a schedule, not a secret
}

// between picks a duration.
func (f *Fault) between(part int, low, high time.Duration) time.Duration {
	return low + time.Duration(f.of(part, int(high-low)))
}

// Schedule returns the faults of a seed, spread over a span: the same seed and
// counts give the same schedule. The faults of each lane are evenly spaced, with
// a random order.
func Schedule(seed uint64, counts map[Kind]int, span time.Duration) []Fault {
	var out []Fault
	for l := range lanes {
		r := rand.New(rand.NewPCG(seed, uint64(l))) //nolint:gosec // a schedule, not a secret
		var kinds []Kind
		for _, k := range Kinds() {
			if k.lane() == l {
				kinds = append(kinds, slices.Repeat([]Kind{k}, counts[k])...)
			}
		}
		r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		for i, k := range kinds {
			step := span / time.Duration(len(kinds))
			at := time.Duration(i)*step + time.Duration(r.Int64N(max(1, int64(step)*3/4)))
			out = append(out, Fault{At: at, Kind: k, Pick: r.Uint64()})
		}
	}
	slices.SortStableFunc(out, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return out
}
