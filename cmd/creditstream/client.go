package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxAnswerBytes bounds an answer of the API: a page of accounts has 20 KB.
const maxAnswerBytes = 4 << 20

// apiClient talks to the HTTP API, as anybody could. It never repeats a request by
// itself.
type apiClient struct {
	base  string
	token string
	http  *http.Client
}

// newAPIClient returns a client of the API as c says, with the token.
func newAPIClient(c *apiConfig, token string) (*apiClient, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, usageError{err}
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usageError{fmt.Errorf("%s: holds no certificate in PEM", c.ca)}
		}
	}
	if c.cert != "" || c.certKey != "" {
		cert, err := tls.LoadX509KeyPair(c.cert, c.certKey)
		if err != nil {
			return nil, usageError{fmt.Errorf("client-cert %q with client-key %q: %w: expected a certificate and its key, both in PEM", c.cert, c.certKey, err)}
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return &apiClient{base: c.url, token: token, http: &http.Client{
		Timeout:       20 * time.Second, // more than an answer may take
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a token is for one address
	}}, nil
}

// An apiRequest is one request. body is nil for none.
type apiRequest struct {
	method, path string
	key          string // Idempotency-Key; "": none
	body         any
}

// again says how to repeat a change of which nobody knows what became.
func (r *apiRequest) again() string {
	if r.key == "" {
		return "run the same command again: it counts once"
	}
	return "run the same command again with --key " + r.key + ": it counts once"
}

// An unknownError is the error of a change that may be applied, or may be later.
type unknownError struct {
	err   error
	again string
}

func (e *unknownError) Error() string { return e.err.Error() + "\n  " + e.again }
func (e *unknownError) Unwrap() error { return e.err }

var errAccepted = errors.New("accepted, and will be applied; that is not known to be done yet")

// get reads.
func (a *apiClient) get(ctx context.Context, path string) ([]byte, error) {
	status, body, err := a.send(ctx, &apiRequest{method: http.MethodGet, path: path})
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, problemOf(status, body)
	}
	return body, nil
}

// change makes a change and returns what the API answers when it is applied. An
// *unknownError says that it may be applied all the same.
func (a *apiClient) change(ctx context.Context, r *apiRequest) ([]byte, error) {
	status, body, err := a.send(ctx, r)
	switch {
	case err != nil && neverSent(err):
		return nil, err
	case err != nil && status == http.StatusOK:
		return nil, unreadable(r, err)
	case err != nil:
		return nil, &unknownError{fmt.Errorf("%w: nothing is known about this change", err), r.again()}
	case status == http.StatusOK:
		return body, nil
	case status == http.StatusAccepted:
		return nil, &unknownError{errAccepted, r.again() + ", and says what became of it"}
	}
	p := problemOf(status, body)
	if p.unknown() {
		return nil, &unknownError{p, r.again()}
	}
	return nil, p
}

// unreadable is the error of a change that was answered with 200, of which nothing
// else is known.
func unreadable(r *apiRequest, err error) error {
	return &unknownError{fmt.Errorf("answered with 200, so probably applied, but what was answered is lost: %w", err), r.again()}
}

// neverSent reports whether no connection was made, or the name of the host or the
// certificate was wrong.
func neverSent(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	return verify || plain
}

// send sends a request. With an error the status is that of the answer, if one has
// begun.
func (a *apiClient) send(ctx context.Context, r *apiRequest) (status int, answer []byte, err error) {
	var body io.Reader = http.NoBody
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return 0, nil, fmt.Errorf("encode %s: %w", r.path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, a.base+r.path, body)
	if err != nil {
		return 0, nil, fmt.Errorf("make request: %w", err)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	res, err := a.http.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("ask the API (--url %s): %w", a.base, err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	if err != nil {
		return res.StatusCode, nil, fmt.Errorf("read the answer of the API: %w", err)
	}
	if len(answer) > maxAnswerBytes {
		return res.StatusCode, nil, fmt.Errorf("read the answer of the API: it is longer than %d MiB, the most that is read", maxAnswerBytes>>20)
	}
	return res.StatusCode, answer, nil
}

// A problemError is an answer of the API that is none of success.
type problemError struct {
	Status int    `json:"status"`
	Type   string `json:"type"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct {
		Location string `json:"location"`
		Message  string `json:"message"`
	} `json:"errors"`
}

// problemOf reads a problem; what is none, from a proxy perhaps, is quoted.
func problemOf(status int, body []byte) *problemError {
	p := new(problemError)
	if json.Unmarshal(body, p) != nil || p.Detail == "" {
		const most = 200
		p = &problemError{Detail: fmt.Sprintf("not an answer of creditstream: %q: is --url right?", body[:min(len(body), most)])}
	}
	p.Status = status
	return p
}

func (p *problemError) reason() string {
	return strings.TrimPrefix(p.Type, "urn:creditstream:problem:")
}

// unknown reports whether the change may be in the log all the same.
func (p *problemError) unknown() bool {
	return p.reason() == "log_unavailable" || p.Status >= http.StatusInternalServerError && p.Status != http.StatusServiceUnavailable ||
		p.Status == http.StatusServiceUnavailable && p.Type == ""
}

// flagged names flags of the command where the API names members of a body.
func flagged(detail string) string {
	return strings.NewReplacer(`close it all the same with {"force": true}`, "close it all the same with --force",
		`send "reopen": true to open it again`, "give --reopen to open it again").Replace(detail)
}

// Error implements error: what the API says, and what to do here about it.
func (p *problemError) Error() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(p.Status))
	if r := p.reason(); r != "" {
		b.WriteString(" " + safe(r))
	}
	b.WriteString(": " + safe(flagged(p.Detail)))
	for _, e := range p.Errors {
		b.WriteString("\n  " + safe(e.Location) + ": " + safe(e.Message))
	}
	if p.Status == http.StatusUnauthorized {
		b.WriteString("\n  give a token in a file (--token-file), or in the environment (" + envName("token") + ")")
	}
	return b.String()
}
