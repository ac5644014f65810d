package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/creditstream/creditstream/internal/kafka"
)

// API is a client of creditstream's HTTP API.
type API struct {
	base    string
	token   string // "": none is needed
	client  *http.Client
	backoff kafka.Backoff
}

// NewAPI returns a client of the API at base, such as http://127.0.0.1:8080. token
// may be empty where none is needed.
func NewAPI(base, token string) *API {
	return &API{
		base:    base,
		token:   token,
		client:  &http.Client{Timeout: 20 * time.Second}, // more than an answer may take
		backoff: kafka.Backoff{Base: 100 * time.Millisecond, Max: 2 * time.Second},
	}
}

// refusedError is an answer that will not change.
type refusedError struct {
	method, path string
	status       int
	body         string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("%s %s: status %d: %s", e.method, e.path, e.status, e.body)
}

// send sends a change until it is accepted (200 or 202), refused (a
// *refusedError) or ctx ends. key makes the repeats harmless; a result needs none.
func (a *API) send(ctx context.Context, method, path, key string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", method, path, err)
	}
	for attempt := 0; ; attempt++ {
		status, answer, err := a.once(ctx, method, path, key, b)
		switch {
		case err == nil && status < http.StatusMultipleChoices:
			return nil
		case err == nil && status < http.StatusInternalServerError && status != http.StatusTooManyRequests:
			return &refusedError{method, path, status, string(answer)}
		}
		if err := a.backoff.Wait(ctx, attempt); err != nil {
			return err
		}
	}
}

func (a *API) once(ctx context.Context, method, path, key string, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("make request %s: %w", path, err)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := a.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, nil, fmt.Errorf("read answer of %s: %w", path, err)
	}
	return res.StatusCode, answer, nil
}

// status is what the switch asks about an account before it places a call.
type status struct {
	ID      string `json:"id"`
	Balance string `json:"balance"`
	Status  string `json:"status"`
}

func (a *API) account(ctx context.Context, id string) (status, error) {
	path := accountPath(id)
	code, answer, err := a.once(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return status{}, err
	}
	if code != http.StatusOK {
		return status{}, fmt.Errorf("GET %s: status %d", path, code)
	}
	var s status
	if err := json.Unmarshal(answer, &s); err != nil {
		return status{}, fmt.Errorf("read account %s: %w", id, err)
	}
	return s, nil
}

func accountPath(id string) string { return "/v1/accounts/" + url.PathEscape(id) }
