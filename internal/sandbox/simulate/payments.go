package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/creditstream/creditstream/internal/kafka"
)

// PaymentOptions say how to simulate a payment service. All but Decline are
// required.
type PaymentOptions struct {
	Client  *kafka.Client
	Topic   string // of payment requests
	API     *API
	File    string   // what was answered, and how far the topic was read
	Decline []string // accounts whose cards have expired
	Seed    [32]byte
	Log     *slog.Logger
}

// Waits before an answer is given.
const (
	quickest = 200 * time.Millisecond
	slowest  = 2 * time.Second
)

// Payments answers payment requests. It reads the topic from its own position
// and remembers every answer: a request that comes again gets the same one, and
// nothing is charged twice.
type Payments struct {
	opt    PaymentOptions
	memory *memory

	mu  sync.Mutex
	rng *rand.Rand
}

// NewPayments reads what was answered before; Run starts the service.
func NewPayments(opt PaymentOptions) (*Payments, error) {
	m, err := recall(opt.File)
	if err != nil {
		return nil, err
	}
	return &Payments{opt: opt, memory: m, rng: rand.New(rand.NewChaCha8(opt.Seed))}, nil //nolint:gosec // waits are no secrets
}

// Run answers requests until ctx ends and then returns nil.
func (p *Payments) Run(ctx context.Context) error {
	err := p.run(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // told to stop
	}
	return fmt.Errorf("simulated payment service: %w", err)
}

func (p *Payments) run(ctx context.Context) error {
	ends, err := p.ends(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for partition := range ends {
		group.Go(func() error { return p.follow(ctx, partition) })
	}
	return group.Wait()
}

func (p *Payments) ends(ctx context.Context) (ends []int64, err error) {
	err = p.patiently(ctx, func() error {
		ends, err = p.opt.Client.Ends(ctx, p.opt.Topic)
		return err
	})
	return ends, err
}

// patiently repeats do until it succeeds, fails for good or ctx ends.
func (p *Payments) patiently(ctx context.Context, do func() error) error {
	for attempt := 0; ; attempt++ {
		err := do()
		if err == nil || !kafka.Temporary(err) {
			return err
		}
		if waitErr := p.opt.API.backoff.Wait(ctx, attempt); waitErr != nil {
			return errors.Join(waitErr, err)
		}
	}
}

// follow answers the requests of one partition, one after the other.
func (p *Payments) follow(ctx context.Context, partition int) error {
	at := p.memory.position(partition)
	for {
		var fetched kafka.Fetched
		err := p.patiently(ctx, func() (err error) {
			fetched, err = p.opt.Client.Fetch(ctx, p.opt.Topic, partition, at, kafka.FetchOptions{MaxWait: time.Second})
			return err
		})
		if outside, ok := errors.AsType[*kafka.OffsetOutOfRangeError](err); ok {
			// Another topic than the one that was read: what is in it is answered as
			// far as it has not been.
			p.opt.Log.WarnContext(ctx, "simulated payment service starts over", slog.Any("error", err))
			at = outside.Start
			continue
		}
		if err != nil {
			return err
		}
		for i := range fetched.Records {
			if err := p.answer(ctx, &fetched.Records[i]); err != nil {
				return err
			}
			if err := p.memory.pass(partition, fetched.Records[i].Offset+1); err != nil {
				return err
			}
		}
		at = fetched.Next
	}
}

// request is the data of a payment request.
type request struct {
	RechargeID string `json:"recharge_id"`
	Account    string `json:"account"`
	N          int64  `json:"n"`
	Amount     string `json:"amount"`
	Currency   string `json:"currency"`
}

// answer is the result of a recharge as the API takes it.
type answer struct {
	Status   string `json:"status"`
	Amount   string `json:"amount,omitempty"`
	Currency string `json:"currency,omitempty"`
	Code     string `json:"code,omitempty"`
}

// answer pays or declines one request and returns when the API has the result.
// Only then is the position moved, so that a crash repeats the answer.
func (p *Payments) answer(ctx context.Context, r *kafka.Record) error {
	var q request
	if err := json.Unmarshal(r.Value, &q); err != nil || q.Account == "" || q.N <= 0 {
		p.opt.Log.WarnContext(ctx, "simulated payment service cannot read a request",
			slog.Int("partition", r.Partition), slog.Int64("offset", r.Offset), slog.Any("error", err))
		return nil
	}
	given, repeated, err := p.memory.decide(q.RechargeID, func() answer { return p.decide(&q) })
	if err != nil {
		return err
	}
	if !repeated {
		if err := p.think(ctx); err != nil {
			return err
		}
	}
	path := "/v1/recharges/" + url.PathEscape(q.Account) + "/" + strconv.FormatInt(q.N, 10) + "/result"
	err = p.opt.API.send(ctx, http.MethodPost, path, "", given)
	if refused, ok := errors.AsType[*refusedError](err); ok {
		p.opt.Log.WarnContext(ctx, "simulated payment service was refused", slog.Int("status", refused.status), slog.String("answer", refused.body))
		return nil
	}
	return err
}

func (p *Payments) decide(q *request) answer {
	if slices.Contains(p.opt.Decline, q.Account) {
		return answer{Status: "declined", Code: "expired_card"}
	}
	return answer{Status: "succeeded", Amount: q.Amount, Currency: q.Currency}
}

// think waits as long as payments take.
func (p *Payments) think(ctx context.Context) error {
	p.mu.Lock()
	d := quickest + time.Duration(p.rng.Int64N(int64(slowest-quickest)))
	p.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
