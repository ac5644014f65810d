package chaos

import (
	"math/rand/v2"
	"strconv"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// people are the accounts of a run. New ones come while it goes on, and CDRs of
// theirs may be there first.
type people struct {
	shards, partitions int // of balances; of the commands topic

	mu    sync.Mutex
	names []string
}

func (p *people) add() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := "tenant-" + strconv.Itoa(len(p.names))
	p.names = append(p.names, name)
	return name
}

func (p *people) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.names...)
}

// anybody picks an account, the first ones more often; now and then the one that
// comes next.
func (p *people) anybody(r *rand.Rand) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.names)
	if r.IntN(200) == 0 || n == 0 {
		return "tenant-" + strconv.Itoa(n)
	}
	if r.IntN(2) == 0 {
		n = (n + 3) / 4
	}
	return p.names[r.IntN(n)]
}

// partition is where the commands of an account go (design section 4).
func (p *people) partition(account string) int32 {
	return int32(p.shard(account) % p.partitions) //nolint:gosec // few partitions
}

func (p *people) shard(account string) int {
	return int(xxhash.Sum64String(account) % uint64(p.shards)) //nolint:gosec // small and positive
}
