package auth

import (
	"crypto/sha256"
	"crypto/tls"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Options says what a gate reads. Tokens, Rate and Now are required.
type Options struct {
	Tokens  string // file of tokens
	Secrets string // file of secrets for signatures; "": nothing may be signed
	Rate    int    // requests a second of each token and each secret; as many at once

	Cert, Key string // files of the certificate for TLS; "": no TLS
	ClientCA  string // file of the authorities that sign clients' certificates; "": clients need none

	Now func() time.Time
}

// A Gate tells who a caller is. Its methods may be called by many goroutines.
type Gate struct {
	opt     Options
	sources []*source

	tokens  atomic.Pointer[[]token]
	secrets atomic.Pointer[[]secret]
	tls     atomic.Pointer[tls.Config]

	mu     sync.Mutex
	own    []token // of this process: in no file
	meters map[meterKey]*rate.Limiter
	uses   *prometheus.CounterVec
	loads  *prometheus.CounterVec
}

// meterKey names whose requests are counted. There are no more of them than names
// in the files.
type meterKey struct {
	how  How
	name string
}

// Collectors returns the gate's metrics.
func (g *Gate) Collectors() []prometheus.Collector { return []prometheus.Collector{g.uses, g.loads} }

// Token says whose token the values of the header Authorization hold. The error is
// a *RefusedError.
func (g *Gate) Token(authorization []string) (Caller, error) {
	secret, refusal := bearer(authorization)
	if refusal != nil {
		return Caller{}, refusal
	}
	t := find(*g.tokens.Load(), sha256.Sum256([]byte(secret)))
	if t == nil {
		return Caller{}, refused(UnknownToken, "This token is not known here. Ask whoever runs this service for one; it may have been replaced.")
	}
	return g.pass(Caller{How: ByToken, Name: t.name, Scopes: t.scopes})
}

// Signature reads the values of the header SignatureHeader, and whether its time
// is within the window. The error is a *RefusedError.
func (g *Gate) Signature(values []string) (Signature, error) {
	if len(values) != 1 {
		return Signature{}, refused(BadSignature, "There is more than one header %s: send one.", SignatureHeader)
	}
	s, err := parseSignature(values[0])
	if err != nil {
		return Signature{}, refused(BadSignature, "The header %s cannot be read: %s.", SignatureHeader, err)
	}
	if off := g.opt.Now().Sub(s.at).Abs(); off > SignatureWindow {
		return Signature{}, refused(StaleSignature,
			"The signature's time is more than %s from ours: sign each attempt anew, with a clock that is right.", SignatureWindow)
	}
	return s, nil
}

// Signer says who has signed the result of a recharge. The error is a
// *RefusedError.
func (g *Gate) Signer(s Signature, rechargeID string, body []byte) (Caller, error) {
	by := s.by(*g.secrets.Load(), rechargeID, body)
	if by == nil {
		return Caller{}, refused(UnknownSignature,
			"The signature is of no secret that is known here: expected the HMAC-SHA256 of time, recharge id and body, exactly as sent, with a newline between them.")
	}
	return g.pass(Caller{How: BySignature, Name: by.name, Scopes: Signed})
}

// pass counts a request of the caller.
func (g *Gate) pass(c Caller) (Caller, error) {
	now := g.opt.Now()
	r := g.meter(meterKey{c.How, c.Name}).ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		refusal := refused(TooMany, "More than %d requests a second of %s: wait as long as Retry-After says. Nothing changed.", g.opt.Rate, c.Name)
		refusal.RetryAfter = time.Duration(math.Ceil(wait.Seconds())) * time.Second
		return c, refusal
	}
	g.uses.WithLabelValues(string(c.How), c.Name).Inc()
	return c, nil
}

func (g *Gate) meter(key meterKey) *rate.Limiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.meters[key]
	if m == nil {
		m = rate.NewLimiter(rate.Limit(g.opt.Rate), g.opt.Rate)
		g.meters[key] = m
	}
	return m
}
