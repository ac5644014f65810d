package simulation_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// mishap is one scheduled fault.
func (w *world) mishap(r *rand.Rand) {
	w.mu.Lock()
	live := w.live()
	w.mu.Unlock()
	if len(live) == 0 || w.quiet() {
		return
	}
	i := live[r.IntN(len(live))]
	long := time.Duration(r.Int64N(int64(5 * time.Second)))
	switch r.IntN(10) {
	case 9:
		w.mu.Lock()
		i.puzzled, i.unsure = time.Now(), time.Now().Add(long)
		w.say("FAULT %s does not know what records mean for %s", i.name, long)
		w.mu.Unlock()
	case 8:
		w.haunt(r, live, i)
	case 0:
		w.crash(i, long)
	case 1, 2:
		w.stall(i, long)
	case 3:
		w.group.rebalance("whim")
	case 4:
		w.leave(i, long)
	case 5:
		w.failover([]int{r.IntN(w.nodes)}, time.Duration(r.Int64N(int64(2*time.Second))))
	case 6:
		back := time.Duration(r.Int64N(int64(time.Since(w.begin)) + 1))
		w.failover(w.allNodes(), back)
	case 7:
		w.mu.Lock()
		n := r.IntN(w.nodes)
		w.redis.away[n] = time.Now().Add(long / 2)
		w.say("FAULT redis node %d is away for %s", n, long/2)
		w.mu.Unlock()
	}
}

func (w *world) crash(i *instance, down time.Duration) {
	w.mu.Lock()
	if i.dead || i.leaving {
		w.mu.Unlock()
		return
	}
	i.dead = true
	w.coming++
	w.say("FAULT %s crashes", i.name)
	w.mu.Unlock()
	i.cancel()
	w.after(down/2, func() { w.group.rebalance(i.name + " is gone") })
	w.after(down, func() { w.again(i) })
}

// again starts a process in the place of one that has ended.
func (w *world) again(i *instance) {
	base, n, _ := strings.Cut(i.name, ".")
	w.start(fmt.Sprintf("%s.%d", base, whole(n)+1))
	w.mu.Lock()
	w.coming--
	w.mu.Unlock()
	w.group.rebalance("a member has come")
}

func (w *world) stall(i *instance, long time.Duration) {
	w.mu.Lock()
	i.stalled = time.Now().Add(long)
	w.say("FAULT %s stands still for %s", i.name, long)
	w.mu.Unlock()
	if long > 2*time.Second { // past its session
		w.after(long/2, func() { w.group.rebalance(i.name + " is silent") })
	}
	w.after(long+time.Second, func() { w.group.rebalance(i.name + " is back") })
}

// haunt is what a name in the marks is for: while an instance stands still, what it
// did last is undone, others do it again but cannot publish it, and crash; and the
// first goes on, from the same offset, before anybody has taken over.
func (w *world) haunt(r *rand.Rand, live []*instance, ghost *instance) {
	long := 100*time.Millisecond + time.Duration(r.Int64N(int64(500*time.Millisecond)))
	w.mu.Lock()
	ghost.stalled = time.Now().Add(long)
	w.say("FAULT %s stands still for %s, and haunts", ghost.name, long)
	for _, i := range live {
		if i != ghost {
			i.mute = time.Now().Add(long + 4*time.Second)
		}
	}
	w.mu.Unlock()
	w.failover(w.allNodes(), time.Duration(r.Int64N(int64(time.Second))))
	w.group.rebalanceWithin(ghost.name+" is silent", 20*time.Millisecond)
	for _, i := range live {
		if i != ghost && r.IntN(4) > 0 {
			w.after(long/2+time.Duration(r.Int64N(int64(long))), func() { w.crash(i, 6*time.Second) })
		}
	}
	for n := range 4 {
		w.after(long+time.Duration(n*80+r.IntN(80))*time.Millisecond, func() { w.ring(r) })
	}
	w.after(long+5*time.Second, func() { w.group.rebalance(ghost.name + " is back") })
}

func (w *world) allNodes() []int {
	all := make([]int, w.nodes)
	for n := range all {
		all[n] = n
	}
	return all
}

func (w *world) leave(i *instance, down time.Duration) {
	w.mu.Lock()
	i.leaving = true
	w.coming++
	w.say("FAULT %s leaves", i.name)
	w.mu.Unlock()
	i.cancel()
	w.after(down/4, func() { w.group.rebalance(i.name + " leaves") })
	w.after(down, func() { w.again(i) })
}

func (w *world) failover(nodes []int, lost time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.say("FAULT redis nodes %v lose the last %s", nodes, lost)
	w.redis.back(nodes, time.Now().Add(-lost))
	for _, n := range nodes {
		w.redis.bare[n] = true // scripts are not replicated
	}
}
