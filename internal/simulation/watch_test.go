package simulation_test

import (
	"context"
	"encoding/json"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// What is checked while a world lives: what readers of the topics see, payment
// requests, commits, and entries when they are made.

// published is what readers of the topics have seen.
type published struct {
	rated   map[place]usage
	letters map[place]string
	events  map[string]string // id -> data
}

// usage is what rated records say of a CDR.
type usage struct {
	identity, account string
	charges, outcomes []string // of all of them
}

func (w *world) watch() {
	w.seen = published{map[place]usage{}, map[place]string{}, map[string]string{}}
	w.log.told[ratedTopic] = w.sawRated
	w.log.told[alertTopic] = w.sawEvent
	w.log.told[letterTopic] = w.sawLetter
	w.log.told[requestTopic] = w.pay
}

func (w *world) sawRated(r *kafka.Record) {
	var x struct {
		ID, Account, Topic, Outcome, Charge, Kind string
		AnsweredAt                                string `json:"answered_at"`
		Partition                                 int
		Offset                                    int64
	}
	if err := json.Unmarshal(r.Value, &x); err != nil {
		w.violation("rated-unreadable", "%s: %v", r.Value, err)
		return
	}
	at := place{balance.Source{Topic: x.Topic, Partition: x.Partition}, x.Offset}
	u := w.seen.rated[at]
	u.identity, u.account = x.ID+x.AnsweredAt+x.Kind, x.Account
	u.charges, u.outcomes = append(u.charges, x.Charge), append(u.outcomes, x.Outcome)
	w.seen.rated[at] = u
}

func (w *world) sawEvent(r *kafka.Record) {
	id := header(r, "ce_id")
	if was, ok := w.seen.events[id]; ok && was != string(r.Value) {
		w.violation("event-id-reused", "%s says %s and %s", id, was, r.Value)
	}
	w.seen.events[id] = string(r.Value)
}

func (w *world) sawLetter(r *kafka.Record) {
	src := balance.Source{Topic: header(r, "cs-topic"), Partition: int(whole(header(r, "cs-partition")))}
	w.seen.letters[place{src, whole(header(r, "cs-offset"))}] = header(r, "cs-reason")
}

func header(r *kafka.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// asks checks payment requests at the moment that an instance sends them: none is
// for what the log had answered when the take-over began. What came before the
// request was accepted, or pays in another currency, is no answer.
func (i *instance) asks(msgs []kafka.Message) {
	w := i.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range msgs {
		var p struct {
			Account string `json:"account"`
			N       int64  `json:"n"`
			In      string `json:"currency"`
		}
		if err := json.Unmarshal(m.Value, &p); err != nil {
			w.violation("request-unreadable", "%s", m.Value)
			continue
		}
		part := w.partitionOf(p.Account)
		for _, r := range w.log.all[balance.Source{Topic: commandTopic, Partition: part}].records[:i.ends[part]] {
			c, err := balance.DecodeCommand(r.Value)
			if err != nil || c.Type != balance.Result || c.Account != p.Account || c.N != p.N || c.Status == "succeeded" && c.Currency != p.In {
				continue
			}
			if r.Offset > w.redis.askedAt(p.Account, p.N) {
				w.violation("asked-though-answered", "%s asks for %s/%d, answered at %d", i.name, p.Account, p.N, r.Offset)
			}
		}
	}
}

// committing checks a commit when it is sent: not beyond any mark that there ever
// was, none that a shard has refused to confirm, and all below it is published. By the time that it arrives a failover may
// have undone what it stands for.
func (i *instance) committing(src balance.Source, offset int64) {
	w := i.w
	for sh := range w.shards {
		if src.Topic == commandTopic && sh%w.commands != src.Partition {
			continue
		}
		if i.refused[mark{sh, src}] {
			w.violation("commit-of-refused", "%s commits %s %d, though shard %d has refused its mark", i.name, src, offset, sh)
		}
		if offset > w.redis.highest[mark{sh, src}] {
			w.violation("commit-beyond-mark", "%s %d, shard %d was never past %d", src, offset, sh, w.redis.highest[mark{sh, src}])
		}
	}
	for o := w.group.committed[src]; o < offset; o++ {
		at := place{src, o}
		_, rated := w.seen.rated[at]
		_, letter := w.seen.letters[at]
		if w.calls[at] != nil && !rated && !letter {
			w.violation("commit-before-publish", "%s %d: nothing is said of the record", src, o)
		}
	}
	for _, e := range w.redis.entries {
		if e.source != src || e.undone || e.end > offset {
			continue
		}
		for _, x := range e.events {
			if _, ok := w.seen.events[x.id]; !ok {
				w.violation("commit-before-publish", "%s at %d commits %d: %s is not out", src, e.first, offset, x.id)
			}
		}
	}
}

// applies checks a call when it is sent: when it began, its records meant the same to
// all. What a server did not know the script of is sent again a while later, in the
// time of the call.
func (i *instance) applies(ctx context.Context, what string) {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	ends, _ := ctx.Deadline()
	if began := ends.Add(-callTimeout); i.unsureNow() && !began.Before(i.puzzled) {
		i.w.violation("applied-unsure", "%s: %s", i.name, what)
	}
}

// callTimeout is that of balance.Options, the default.
const callTimeout = 5 * time.Second

// laggard is how long a call may be under way with the clock of its caller's start,
// and how much later another's clock may show the same.
func (w *world) laggard() time.Duration {
	return 6*time.Second + 2*maxSkew/time.Duration(w.speed)
}

// applied checks an entry when it is made: no CDR goes before a command that was
// in the log before it (rule 5), and a reader who keeps the event of the highest
// sequence keeps one of this timeline, and not what a failover undid (rule 9).
func (w *world) applied(e *entry) {
	if e.source.Topic == cdrTopic {
		p := e.shard % w.commands
		at := w.redis.mark(e.shard, balance.Source{Topic: commandTopic, Partition: p})
		for o := e.first; o < e.end; o++ {
			x := place{e.source, o}
			if c := w.calls[x]; c != nil && c.parked != "not_json" && w.shardOf(c.account) == e.shard && at < w.ends[x][p] {
				w.violation("before-commands", "%s %d is applied to shard %d, whose commands are applied up to %d of %d", e.source, o, e.shard, at, w.ends[x][p])
			}
		}
	}
	for _, x := range e.events {
		for _, old := range w.redis.entries {
			if !old.undone || e.at.Sub(old.at) < w.laggard() {
				continue
			}
			for _, y := range old.events {
				if y.account == x.account && y.sequence >= x.sequence {
					w.violation("event-older-than-undone", "%s after %s", x.id, y.id)
				}
			}
		}
	}
}
