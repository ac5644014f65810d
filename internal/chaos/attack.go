package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// attack carries out the schedule, each lane by itself.
func (r *run) attack(ctx context.Context) error {
	var wg sync.WaitGroup
	schedule := Schedule(r.cfg.Seed, r.cfg.Faults, r.cfg.Span)
	for l := range lanes {
		wg.Go(func() {
			for i := range schedule {
				if schedule[i].Kind.lane() != l {
					continue
				}
				if sleep(ctx, schedule[i].At-r.cfg.Now().Sub(r.began)) != nil {
					return
				}
				r.inject(ctx, &schedule[i])
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// inject carries out one fault and prints its line.
func (r *run) inject(ctx context.Context, f *Fault) {
	if f.Kind.lane() == laneRedis && !r.hasBackup() {
		if err := r.servers.backup(ctx); err != nil {
			r.trouble("back up: %s", err)
		}
		if f.Kind == Restore && sleep(ctx, f.between(8, 10*time.Second, 20*time.Second)) != nil {
			return // the copy is to be older
		}
	}
	r.watch.fault(f.Kind)
	what, err := r.hurt(ctx, f)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		r.say("%-15s FAILED: %s", f.Kind, err)
		r.trouble("%s: %s", f.Kind, err)
		return
	}
	r.say("%-15s %s", f.Kind, what)
	if f.Kind == Restore { // the next one takes another copy
		if err := os.RemoveAll(filepath.Join(r.cfg.Dir, "backup")); err != nil {
			r.trouble("remove a copy: %s", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Faults[f.Kind]++
}

func (r *run) hasBackup() bool {
	found, _ := filepath.Glob(filepath.Join(r.cfg.Dir, "backup", "*", "nodes.conf"))
	return len(found) > 0
}

func (r *run) hurt(ctx context.Context, f *Fault) (string, error) {
	switch f.Kind {
	case ProcessorKill:
		return r.processorKill(ctx, f)
	case Zombie:
		return r.zombie(ctx, f)
	case Rebalance:
		return r.rebalance(ctx, f)
	case BrokerKill:
		return r.brokerKill(ctx, f)
	case LeaderMove:
		return r.leaderMove(ctx, f)
	case RedisKill:
		return r.servers.redisKill(ctx, f)
	case AOFCut:
		return r.servers.aofCut(ctx, f)
	case Failover:
		return r.servers.failover(ctx, f)
	case Restore:
		return r.servers.restore(ctx)
	case SlotMove:
		return r.servers.slotMove(ctx, f, r.cfg.Shards)
	case LostReply, Reset, Stall, Slow, Sliced:
	}
	return r.network(ctx, f)
}

var errNobody = errors.New("too few processors run")

func (r *run) processorKill(ctx context.Context, f *Fault) (string, error) {
	p := r.fleet.pick(f.of(0, 1000), 0)
	if p == nil {
		return "", errNobody
	}
	select {
	case <-p.exited: // just before the guard would have seen it
		r.find(CheckProcess, "processor %d ended by itself with status %d", p.number, p.cmd.ProcessState.ExitCode())
	default:
	}
	p.kill()
	down := f.between(1, 0, 2*time.Second)
	if err := sleep(ctx, down); err != nil {
		return "", err
	}
	next, err := r.fleet.start(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("processor %d; %d comes %s later", p.number, next.number, down.Round(time.Millisecond)), nil
}

// zombie stops a processor until others own its partitions, and has it go on.
func (r *run) zombie(ctx context.Context, f *Fault) (string, error) {
	p := r.fleet.pick(f.of(0, 1000), 1)
	if p == nil {
		return "", errNobody
	}
	defer r.fleet.put(p)
	p.signal(syscall.SIGSTOP)
	stopped := f.between(1, 2*sessionTimeout, 3*sessionTimeout)
	err := sleep(ctx, stopped)
	p.signal(syscall.SIGCONT)
	return fmt.Sprintf("processor %d sleeps %s", p.number, stopped.Round(time.Millisecond)), err
}

// rebalance has an instance go, or come when few run.
func (r *run) rebalance(ctx context.Context, f *Fault) (string, error) {
	if n := len(r.fleet.all()); n < r.cfg.Processors || n == r.cfg.Processors && f.of(0, 2) == 0 {
		p, err := r.fleet.start(ctx)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("processor %d comes", p.number), nil
	}
	p := r.fleet.pick(f.of(1, 1000), 1)
	if p == nil {
		return "", errNobody
	}
	if err := p.stop(ctx); err != nil {
		r.find(CheckProcess, "%s: see %s/logs", err, r.cfg.Dir)
	}
	return fmt.Sprintf("processor %d goes", p.number), nil
}

func (r *run) brokerKill(ctx context.Context, f *Fault) (string, error) {
	b := &r.servers.brokers[f.of(0, len(r.servers.brokers))]
	if err := b.kill(ctx); err != nil {
		return "", err
	}
	down := f.between(1, time.Second, 6*time.Second)
	if err := sleep(ctx, down); err != nil {
		return "", err
	}
	return fmt.Sprintf("broker of port %d, started after %s", b.port, down.Round(time.Millisecond)), r.servers.startKafka(ctx)
}

// leaderMove has a broker hand over what it leads and end, and then elects the
// preferred leaders again.
func (r *run) leaderMove(ctx context.Context, f *Fault) (string, error) {
	b := &r.servers.brokers[f.of(0, len(r.servers.brokers))]
	pid, err := b.pid()
	if err == nil {
		err = b.signal(syscall.SIGTERM) // it hands its partitions over
	}
	if err == nil {
		err = until(ctx, 30*time.Second, "end of "+b.dir, func() error {
			return gone(pid)
		})
	}
	if err == nil {
		err = r.servers.startKafka(ctx)
	}
	if err != nil {
		return "", err
	}
	moved := 0
	for _, topic := range []string{topicCDRs, topicCommands, topicRated, topicRequests, topicAlerts, topicLetters} {
		partitions := make([]int, r.cfg.Partitions)
		for i := range partitions {
			partitions[i] = i
		}
		res, err := r.watch.offsets.ElectLeaders(ctx, &kafkago.ElectLeadersRequest{Topic: topic, Partitions: partitions, Timeout: 5 * time.Second})
		if err != nil {
			return "", err
		}
		for _, p := range res.PartitionResults {
			if p.Error == nil {
				moved++
			}
		}
	}
	return fmt.Sprintf("broker of port %d hands over and is back, %d partitions have another leader again", b.port, moved), nil
}

// network spoils the way to one server, of Kafka or Redis, or to all of one of them.
func (r *run) network(ctx context.Context, f *Fault) (string, error) {
	nodes := r.servers.brokers
	kind := "Kafka"
	if f.of(0, 2) == 0 {
		nodes, kind = r.servers.nodes, "Redis"
	}
	if f.of(1, 2) == 0 {
		i := f.of(2, len(nodes))
		nodes = nodes[i : i+1]
	}
	lasts := f.between(3, 500*time.Millisecond, 6*time.Second)
	var ports []string
	for i := range nodes {
		nodes[i].proxy.spoil(f.Kind, lasts)
		ports = append(ports, strconv.Itoa(nodes[i].port))
	}
	return fmt.Sprintf("%s at %s for %s", kind, strings.Join(ports, ", "), lasts.Round(time.Millisecond)), sleep(ctx, lasts)
}
