package verify

import (
	"context"
	"fmt"
	"math/big"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/oracle"
)

// A shard is what is known of one shard.
type shard struct {
	number int
	listed marks    // the lowest at which accounts were listed
	pages  []*marks // at which accounts were read, and listed

	mu       sync.Mutex
	accounts map[string]*account
	calls    map[uint64]int64 // that count, by their id: what one costs (micros)
}

// marks say what of the logs was applied at one moment.
type marks struct{ next map[balance.Source]int64 }

func marksOf(m balance.Marks) marks {
	out := marks{next: make(map[balance.Source]int64, len(m))}
	for src, mark := range m {
		out.next[src] = mark.Next
	}
	return out
}

// holds reports whether the record at an offset was applied.
func (m *marks) holds(src balance.Source, offset int64) bool { return offset < m.next[src] }

// An account is what Redis holds of it and what the logs say.
type account struct {
	id    string
	marks *marks           // of the moment at which it was read, or else was not listed
	held  *balance.Account // nil: it is not in Redis
	model *oracle.Account  // nil: no command made it

	calls    big.Int            // what calls cost that count and are not doubtful
	doubtful map[uint64][]int64 // calls whose copies differ: what each costs
}

// snapshot reads Redis.
func (r *run) snapshot(ctx context.Context) error {
	r.shards = make([]*shard, r.store.Shards())
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for n := range r.shards {
		s := &shard{number: n, accounts: map[string]*account{}, calls: map[uint64]int64{}}
		r.shards[n] = s
		g.Go(func() error { return r.readShard(ctx, s) })
	}
	return g.Wait()
}

func (r *run) readShard(ctx context.Context, s *shard) error {
	for after, first := "", true; first || after != ""; first = false {
		p, err := r.store.Page(ctx, s.number, after, r.PageSize)
		if err != nil {
			return fmt.Errorf("read balances: %w", err)
		}
		listed, at := marksOf(p.Listed), marksOf(p.Marks)
		if first {
			s.listed = listed
			s.pages = append(s.pages, &s.listed)
		}
		for src, next := range s.listed.next {
			s.listed.next[src] = min(next, listed.next[src])
		}
		s.pages = append(s.pages, &at)
		for _, a := range p.Accounts {
			s.accounts[a.ID] = &account{id: a.ID, marks: &at, held: a}
		}
		for _, id := range p.Absent {
			s.accounts[id] = &account{id: id, marks: &at} // listed, and nothing was stored when it was read
		}
		after = p.Last
	}
	return nil
}

// account returns that of an id, which may be in the logs alone.
func (s *shard) account(id string) *account {
	a := s.accounts[id]
	if a == nil {
		a = &account{id: id, marks: &s.listed}
		s.accounts[id] = a
	}
	return a
}

func (r *run) shardOf(account string) *shard { return r.shards[r.store.ShardOf(account)] }
