package chaos

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// An api is a client that does not give up: it goes from processor to processor
// until one answers.
type api struct {
	fleet *fleet
	token string
	next  atomic.Int64

	mu      sync.Mutex
	answers map[int]int // by status
	unknown []string    // accounts that exist and were said not to

	acknowledged []string
}

// send repeats a request until it is answered for good: 200, 202 or a refusal.
func (a *api) send(ctx context.Context, method, path, key, body string) (code int, answer []byte, err error) {
	for {
		code, answer, err = a.once(ctx, method, path, key, body)
		if err == nil && code < 500 && code != http.StatusTooManyRequests {
			a.count(code, path)
			return code, answer, nil
		}
		if err == nil {
			err = fmt.Errorf("%s %s: %d %s", method, path, code, bytes.TrimSpace(answer))
		}
		if wait := sleep(ctx, 100*time.Millisecond); wait != nil {
			return 0, nil, err
		}
	}
}

func (a *api) count(code int, path string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[code]++
	if code == http.StatusNotFound {
		a.unknown = append(a.unknown, path)
	}
}

// refused counts the answers that refused something, and all.
func (a *api) refused() (refused, all int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for code, n := range a.answers {
		all += n
		if code >= 300 {
			refused += n
		}
	}
	return refused, all
}

func (a *api) once(ctx context.Context, method, path, key, body string) (int, []byte, error) {
	live := a.fleet.all()
	if len(live) == 0 {
		return 0, nil, fmt.Errorf("%s %s: no processor runs", method, path)
	}
	p := live[int(a.next.Add(1))%len(live)]
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.http+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, answer, err
}
