package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A cashier is the payment service. It keeps its contract, to give a recharge id
// one answer however often it is asked, and is a nuisance apart from that: it
// answers twice, late, out of order, and some requests never. What it does with an
// id follows from the seed.
type cashier struct {
	api     *api
	brokers []string
	topic   string
	seed    uint64

	mu       sync.Mutex
	requests int
	answers  int
	silent   int
}

// run takes requests until open ends, and returns when no answer is on its way.
func (c *cashier) run(ctx, open context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...), kgo.ConsumeTopics(c.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond), kgo.MetadataMinAge(250*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	var answering sync.WaitGroup
	defer answering.Wait()
	room := make(chan struct{}, 200) // answers that are on their way
	for open.Err() == nil {
		fetches := client.PollFetches(open)
		fetches.EachRecord(func(rec *kgo.Record) {
			room <- struct{}{}
			answering.Go(func() {
				defer func() { <-room }()
				c.answer(ctx, rec.Value)
			})
		})
	}
	return nil
}

// answer decides and answers.
func (c *cashier) answer(ctx context.Context, value []byte) {
	var q struct {
		ID       string `json:"recharge_id"`
		Amount   string `json:"amount"`
		Currency string `json:"currency"`
	}
	if json.Unmarshal(value, &q) != nil || q.ID == "" {
		return // the judge reads the same record and says so
	}
	c.count(&c.requests)
	h := fnv.New64a()
	_, _ = h.Write([]byte(q.ID))
	r := rand.New(rand.NewPCG(c.seed, h.Sum64())) //nolint:gosec // no secret
	body := fmt.Sprintf(`{"status":"succeeded","amount":%q,"currency":%q}`, q.Amount, q.Currency)
	switch x := r.IntN(100); {
	case x < 3:
		c.count(&c.silent)
		return
	case x < 6:
		body = `{"status":"declined","code":"expired_card"}`
	case x < 9:
		body = `{"status":"declined","code":"try_again_later"}`
	}
	late := time.Duration(r.IntN(1000)) * time.Millisecond
	if r.IntN(20) == 0 {
		late *= 12
	}
	times := 1 + r.IntN(4)/3
	for range times {
		if sleep(ctx, late) != nil {
			return
		}
		code, _, err := c.api.send(ctx, http.MethodPost, "/v1/recharges/"+q.ID+"/result", "", body)
		if err != nil {
			return // ctx has ended: it stays unanswered
		}
		c.api.acknowledge(code, resultName(q.ID))
		c.count(&c.answers)
		late = time.Duration(r.IntN(3000)) * time.Millisecond
	}
}

func (c *cashier) count(what *int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*what++
}
