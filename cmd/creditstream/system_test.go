package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

// The whole system, attacked: processors are real processes, Kafka and Redis those
// of the suite unless the attack is on them. What comes out is compared with an
// oracle that shares no code with the product.

const plantPartitions = 4

// plant is a Kafka and a Redis that outlive the processors of a test.
type plant struct {
	t       *testing.T
	kafka   *testserver.Kafka // has the names of topics and groups
	brokers []string
	redis   []string // addresses
	redisDB int
	client  *kafka.Client
	writer  *kafka.Writer
	deck    string
	http    string // of the processor that answers the API

	mu   sync.Mutex
	sent int
}

func newPlant(t *testing.T) *plant {
	t.Helper()
	r := testserver.NewRedis(t)
	return newPlantOn(t, r.Addrs(), r.DB())
}

// newPlantOn makes a plant with a Redis that the test attacks.
func newPlantOn(t *testing.T, addrs []string, db int) *plant {
	t.Helper()
	p := &plant{t: t, kafka: testserver.NewKafka(t), redis: addrs, redisDB: db, deck: t.TempDir(), http: freeAddr(t)}
	for name, text := range map[string]string{
		"deck.yaml": "id: test\ncurrency: USD\nvalid_from: 2020-01-01T00:00:00Z\nhome_country: US\nrules:\n" +
			"  - {kinds: [user_out, conference_out, toll_free_in], scope: any, table: out.csv, match: callee}\n" +
			"  - {kinds: [user_in, toll_in], charge: free}\n",
		"out.csv": "prefix,destination,country,setup_fee,price,first,next\n33,France,FR,0,0.10,60,60\n44,Britain,GB,0.02,0.06,30,6\n",
	} {
		if err := os.WriteFile(filepath.Join(p.deck, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.useKafka(p.kafka.Brokers())
	return p
}

// useKafka has everybody use these brokers from now on.
func (p *plant) useKafka(brokers []string) {
	p.t.Helper()
	client, err := kafka.New(kafka.Config{Brokers: brokers})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(client.Close)
	p.brokers, p.client, p.writer = brokers, client, kafka.NewWriter(client, kafka.WriterOptions{})
}

// topic returns the name that a topic has in this test.
func (p *plant) topic(name string) string { return p.kafka.Name(name) }

// environ has the settings of all topics, of the group and of the database, as
// environment.
func (p *plant) environ() []string {
	env := []string{envPrefix + "REDIS_DB=" + strconv.Itoa(p.redisDB)}
	for setting, name := range map[string]string{
		"TOPIC_CDRS": "cdrs", "TOPIC_COMMANDS": "credit-commands", "TOPIC_RATED": "rated-cdrs", "TOPIC_ALERTS": "credit-alerts",
		"TOPIC_RECHARGE_REQUESTS": "recharge-requests", "TOPIC_DEAD_LETTERS": "cdrs.dlq", "GROUP": "creditstream",
	} {
		env = append(env, envPrefix+setting+"="+p.kafka.Name(name))
	}
	return env
}

// processor starts one; the API is at http, or at a port of its own when empty.
func (p *plant) processor(http string, more ...string) *process {
	p.t.Helper()
	if http == "" {
		http = freeAddr(p.t)
	}
	return start(p.t, p.environ(), append([]string{
		"run", "--brokers", strings.Join(p.brokers, ","), "--redis", strings.Join(p.redis, ","), "--deck", p.deck,
		"--http", http, "--tokens", tokenFile, "--session-timeout", "1s", "--partitions", strconv.Itoa(plantPartitions), "--shards", "16",
	}, more...)...)
}

// retry calls the API until it answers 200; a refusal fails the test.
func (p *plant) retry(method, path string, header http.Header, body string) {
	p.t.Helper()
	await(p.t, 60*time.Second, method+" "+path, func() error {
		code, answer, err := request(p.t, method, "http://"+p.http+path, header, body)
		if err == nil && code >= 400 && code < 500 {
			p.t.Errorf("%s %s: %d %s", method, path, code, answer)
			return nil
		}
		if err == nil && code != http.StatusOK && code != http.StatusAccepted {
			err = fmt.Errorf("%d %s", code, answer)
		}
		return err
	})
}

func (p *plant) create(account, more string) {
	p.t.Helper()
	p.retry(http.MethodPut, "/v1/accounts/"+account, nil, `{"currency":"USD"`+more+`}`)
}

func (p *plant) topUp(account, key, amount string) {
	p.t.Helper()
	p.retry(http.MethodPost, "/v1/accounts/"+account+"/top-ups", http.Header{"Idempotency-Key": {key}}, `{"amount":"`+amount+`"}`)
}

// cdr makes a random call of an account; about one in fifty is garbage or has no
// rate.
func (p *plant) cdr(r *rand.Rand, account string) []byte {
	p.mu.Lock()
	p.sent++
	id := p.sent
	p.mu.Unlock()
	callee := "+3314268" + strconv.Itoa(r.IntN(9999))
	switch x := r.IntN(200); {
	case x < 2:
		return fmt.Appendf(nil, `{"id":"c%d", broken`, id)
	case x < 4:
		callee = "+999123"
	case x < 100:
		callee = "+44207" + strconv.Itoa(r.IntN(99999))
	}
	kind, answered := "user_out", `,"answered_at":"`+time.Now().Add(-time.Duration(r.IntN(3600))*time.Second).UTC().Format(time.RFC3339Nano)+`"`
	switch x := r.IntN(20); x {
	case 0:
		kind = "user_in"
	case 1:
		answered = ""
	}
	return fmt.Appendf(nil, `{"id":"c%d","source":"s%d","account":%q,"kind":%q,"callee":%q%s,"duration_ms":%d}`,
		id, id%3, account, kind, callee, answered, r.IntN(400_000))
}

// send writes CDRs to random partitions, repeat of them a second time.
func (p *plant) send(r *rand.Rand, repeat float64, cdrs ...[]byte) {
	p.t.Helper()
	var msgs []kafka.Message
	add := func(c []byte) {
		msgs = append(msgs, kafka.Message{Topic: p.topic("cdrs"), Partition: r.IntN(plantPartitions), Value: c})
	}
	for _, c := range cdrs {
		add(c)
		if r.Float64() < repeat {
			add(c)
		}
	}
	r.Shuffle(len(msgs), func(i, j int) { msgs[i], msgs[j] = msgs[j], msgs[i] })
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	if err := p.writer.WriteAll(ctx, msgs); err != nil {
		p.t.Error(err)
	}
}

// read returns a whole topic.
func (p *plant) read(name string) []kafka.Record {
	p.t.Helper()
	topic := p.topic(name)
	ends, err := p.client.Ends(p.t.Context(), topic)
	if err != nil {
		p.t.Fatal(err)
	}
	var out []kafka.Record
	for partition, end := range ends {
		for from := int64(0); from < end; {
			f, err := p.client.Fetch(p.t.Context(), topic, partition, from, kafka.FetchOptions{MaxWait: time.Second, MaxBytes: 8 << 20})
			if err != nil {
				p.t.Fatal(err)
			}
			out = append(out, f.Records...)
			from = f.Next
		}
	}
	return out
}

// pay starts the payment service; the caller calls stop, which waits for its end.
func (p *plant) pay(r *rand.Rand, declined string) (stop func()) {
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		p.payments(done, r, declined)
	}()
	return func() { close(done); <-over }
}

// payments answers every recharge request over the API until done is closed: some
// twice, some late, one account never successfully.
func (p *plant) payments(done <-chan struct{}, r *rand.Rand, declined string) {
	seen := map[string]bool{}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		for _, rec := range p.read("recharge-requests") {
			var q struct {
				ID       string `json:"recharge_id"`
				Amount   string `json:"amount"`
				Currency string `json:"currency"`
			}
			if err := json.Unmarshal(rec.Value, &q); err != nil {
				p.t.Errorf("recharge request %s: %v", rec.Value, err)
			}
			if seen[q.ID] || r.IntN(4) == 0 {
				continue
			}
			body := fmt.Sprintf(`{"status":"succeeded","amount":%q,"currency":%q}`, q.Amount, q.Currency)
			if strings.HasPrefix(q.ID, declined+"/") {
				body = `{"status":"declined","code":"expired_card"}`
			}
			for range 1 + r.IntN(2) {
				code, _, err := request(p.t, http.MethodPost, "http://"+p.http+"/v1/recharges/"+q.ID+"/result", nil, body)
				seen[q.ID] = seen[q.ID] || err == nil && code == http.StatusOK
			}
		}
	}
}

// settled waits until the whole log is applied, published and committed and no
// recharge is on its way.
func (p *plant) settled() {
	p.t.Helper()
	await(p.t, 60*time.Second, "an end of work", func() error {
		var first int
		for i := range 2 { // what is published may be a command
			sum, err := p.backlog()
			if err != nil {
				return err
			}
			if i == 1 && sum != first {
				return fmt.Errorf("the logs still grow: %d records, then %d", first, sum)
			}
			first = sum
		}
		for _, a := range judgeLogs(p).accounts {
			if a.pending {
				return fmt.Errorf("recharge of %s is pending", a.id)
			}
		}
		return nil
	})
}

// backlog returns the size of both input logs once both are committed to the end.
func (p *plant) backlog() (size int, err error) {
	for _, name := range []string{"cdrs", "credit-commands"} {
		topic := p.topic(name)
		ends, err := p.client.Ends(p.t.Context(), topic)
		if err != nil {
			return 0, err
		}
		for partition, end := range ends {
			size += int(end)
			if c := p.committed(topic, partition); c != end && (end > 0 || c > 0) {
				return 0, fmt.Errorf("%s/%d: committed %d of %d", topic, partition, c, end)
			}
		}
	}
	return size, nil
}

// verify compares everything that came out with the oracle.
func (p *plant) verify() {
	p.t.Helper()
	o := judgeLogs(p)
	for _, a := range o.accounts {
		code, body, err := request(p.t, http.MethodGet, "http://"+p.http+"/v1/accounts/"+a.id, nil, "")
		if err != nil || code != http.StatusOK {
			p.t.Errorf("GET %s: %d %s %v", a.id, code, body, err)
			continue
		}
		var got struct{ Balance string }
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			p.t.Error(err)
		}
		if want := decimal(a.balance()); got.Balance != want {
			p.t.Errorf("%s: balance %s, want %s (funded %s, spent %s)", a.id, got.Balance, want, decimal(a.funded), decimal(a.spent))
		}
	}
	p.verifyRated(o)
	p.verifyDeadLetters(o)
	p.verifyEvents(o)
}

func (p *plant) verifyRated(o *oracle) {
	p.t.Helper()
	named := map[place]bool{}
	counted := map[string]bool{}
	sums := map[string]int64{}
	for _, rec := range p.read("rated-cdrs") {
		var x struct {
			ID, Source, Account, Charge, Outcome, Topic string
			AnsweredAt                                  string `json:"answered_at"`
			Partition                                   int
			Offset                                      int64
		}
		if err := json.Unmarshal(rec.Value, &x); err != nil {
			p.t.Fatal(err)
		}
		if string(rec.Key) != x.Account {
			p.t.Errorf("key %s of a rated record of %s", rec.Key, x.Account)
		}
		at := place{x.Partition, x.Offset}
		named[at] = true
		if _, bad := o.parked[at]; bad {
			p.t.Errorf("%v is rated and should be parked", at)
		}
		if id := x.Source + "/" + x.ID + "/" + x.Account + "/" + x.AnsweredAt; !counted[id] {
			counted[id] = true
			m, err := strconv.ParseInt(strings.Replace(x.Charge, ".", "", 1), 10, 64)
			if err != nil {
				p.t.Error(err)
			}
			sums[x.Account] += m
		}
	}
	for at := range o.cdrs {
		if _, bad := o.parked[at]; !bad && !named[at] {
			p.t.Errorf("no rated record names %v", at)
		}
	}
	for _, a := range o.accounts {
		if a.spent.Int64() != sums[a.id] {
			p.t.Errorf("%s: rated records sum to %d, spent %d", a.id, sums[a.id], a.spent)
		}
	}
}

func (p *plant) verifyDeadLetters(o *oracle) {
	p.t.Helper()
	got := map[place]string{}
	for _, rec := range p.read("cdrs.dlq") {
		h := map[string]string{}
		for _, x := range rec.Headers {
			h[x.Key] = string(x.Value)
		}
		partition, err1 := strconv.Atoi(h["cs-partition"])
		offset, err2 := strconv.ParseInt(h["cs-offset"], 10, 64)
		if err1 != nil || err2 != nil || h["cs-topic"] != p.topic("cdrs") || h["cs-message"] == "" {
			p.t.Fatalf("dead letter %v", h)
		}
		at := place{partition, offset}
		got[at] = h["cs-reason"]
		if !bytes.Equal(rec.Value, o.cdrs[at]) {
			p.t.Errorf("%v: the dead letter has other bytes", at)
		}
	}
	for at, reason := range o.parked {
		if got[at] != reason {
			p.t.Errorf("%v: dead letter says %q, want %q", at, got[at], reason)
		}
	}
	for at := range got {
		if _, bad := o.parked[at]; !bad {
			p.t.Errorf("%v is parked as %s and should be charged", at, got[at])
		}
	}
}

func (p *plant) verifyEvents(o *oracle) {
	p.t.Helper()
	said := map[string][]byte{}
	type state struct {
		kind string
		seq  int64
	}
	last := map[string]state{}
	funded := map[string]bool{}
	for _, rec := range slices.Concat(p.read("credit-alerts"), p.read("recharge-requests")) {
		var id, kind string
		for _, h := range rec.Headers {
			switch h.Key {
			case "ce_id":
				id = string(h.Value)
			case "ce_type":
				kind = string(h.Value)
			}
		}
		if before, ok := said[kind+id]; ok && !bytes.Equal(before, rec.Value) {
			p.t.Errorf("event %s says two things: %s and %s", id, before, rec.Value)
		}
		said[kind+id] = rec.Value
		var x struct {
			Account, Reference string
			Sequence           int64
		}
		if err := json.Unmarshal(rec.Value, &x); err != nil {
			p.t.Fatal(err)
		}
		if x.Reference != "" {
			funded[x.Account+" "+x.Reference] = true
		}
		if (strings.Contains(kind, "depleted") || strings.Contains(kind, "restored")) && x.Sequence > last[x.Account].seq {
			last[x.Account] = state{kind, x.Sequence}
		}
	}
	for _, a := range o.accounts {
		negative := strings.Contains(last[a.id].kind, "depleted")
		if negative != (a.balance().Sign() < 0) {
			p.t.Errorf("%s: balance %s, but the last event is %q", a.id, decimal(a.balance()), last[a.id].kind)
		}
		for key := range a.topUps {
			if !funded[a.id+" "+strings.TrimPrefix(key, "top-up/")] {
				p.t.Errorf("%s: no event of top-up %s", a.id, key)
			}
		}
	}
}
