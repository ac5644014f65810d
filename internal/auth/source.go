package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// lookEvery is how often the files are looked at. A change is taken when the next
// look finds it the same, so that no half-written file is read.
const lookEvery = 2 * time.Second

// A source is files that are read together, and again when they change.
type source struct {
	kind   string
	files  []string
	take   func(contents [][]byte) error // changes nothing when it returns an error
	seen   [sha256.Size]byte             // what the files held when they were taken or refused
	before [sha256.Size]byte             // at the last look
}

// The outcomes of reading a source again.
const (
	loadOK      = "ok"
	loadInvalid = "invalid"
)

// Load reads the files and returns everything that is wrong with them.
func Load(opt Options) (*Gate, error) {
	g := &Gate{
		opt: opt, meters: map[meterKey]*rate.Limiter{},
		uses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "creditstream_auth_requests_total", Help: "Requests by the name of the token or secret they came with; limited ones are not counted.",
		}, []string{"how", "name"}),
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "creditstream_auth_reloads_total", Help: "Times that changed files of tokens, secrets or certificates were read again, by outcome.",
		}, []string{"files", "outcome"}),
	}
	g.secrets.Store(new([]secret))
	g.sources = append(g.sources, &source{kind: "tokens", files: []string{opt.Tokens}, take: g.takeTokens})
	if opt.Secrets != "" {
		g.sources = append(g.sources, &source{kind: "secrets", files: []string{opt.Secrets}, take: g.takeSecrets})
	}
	if opt.Cert != "" {
		files := []string{opt.Cert, opt.Key}
		if opt.ClientCA != "" {
			files = append(files, opt.ClientCA)
		}
		g.sources = append(g.sources, &source{kind: "certificates", files: files, take: g.takeCertificates})
	}
	var errs []error
	for _, s := range g.sources {
		g.loads.WithLabelValues(s.kind, loadOK)
		g.loads.WithLabelValues(s.kind, loadInvalid)
		contents, sum, err := s.read()
		if err == nil {
			err = s.take(contents)
		}
		s.seen, s.before = sum, sum
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return g, nil
}

// Run reads files again that have changed, until ctx ends.
func (g *Gate) Run(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.look(ctx, log)
		}
	}
}

// look looks once at every source.
func (g *Gate) look(ctx context.Context, log *slog.Logger) {
	for _, s := range g.sources {
		changed, err := s.look()
		switch {
		case err != nil:
			g.loads.WithLabelValues(s.kind, loadInvalid).Inc()
			log.ErrorContext(ctx, "changed files are not taken: what they held before stays in force", slog.String("files", s.kind), slog.Any("error", err))
		case changed:
			g.loads.WithLabelValues(s.kind, loadOK).Inc()
			log.InfoContext(ctx, "changed files are in force", slog.String("files", s.kind))
		}
	}
}

// look takes the files if they have changed since they were taken, and not since
// the last look. What is wrong with them is returned once.
func (s *source) look() (changed bool, err error) {
	contents, sum, err := s.read()
	settled := sum == s.before
	s.before = sum
	if !settled || sum == s.seen {
		return false, nil
	}
	s.seen = sum
	if err == nil {
		err = s.take(contents)
	}
	return err == nil, err
}

// read returns what the files hold, and its fingerprint; that of files that cannot be
// read is the error's.
func (s *source) read() (contents [][]byte, sum [sha256.Size]byte, err error) {
	h := sha256.New()
	var errs []error
	for _, name := range s.files {
		b, err := readFile(name)
		errs = append(errs, err)
		contents = append(contents, b)
		_, _ = fmt.Fprintf(h, "%d %v\n", len(b), err) // a hash takes everything
		h.Write(b)
	}
	h.Sum(sum[:0])
	return contents, sum, errors.Join(errs...)
}

// readFile returns errors that name the file.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name) //nolint:gosec // the operator says which
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(b) > maxFileBytes {
		return nil, fmt.Errorf("%s: is larger than 1 MiB: expected a file of lines", name)
	}
	return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), nil // a mark that some editors put there
}

func (g *Gate) takeTokens(contents [][]byte) error {
	list, err := parseTokens(g.opt.Tokens, contents[0])
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	list = append(list, g.own...)
	g.tokens.Store(&list)
	g.forgetUnless(ByToken, func(name string) bool {
		return slices.ContainsFunc(list, func(t token) bool { return t.name == name })
	})
	return nil
}

func (g *Gate) takeSecrets(contents [][]byte) error {
	list, err := parseSecrets(g.opt.Secrets, contents[0])
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.secrets.Store(&list)
	g.forgetUnless(BySignature, func(name string) bool {
		return slices.ContainsFunc(list, func(s secret) bool { return s.name == name })
	})
	return nil
}

// forgetUnless drops what is kept of names that are in the file no more. A request that
// is on its way may bring one of them back; it goes at the next change.
func (g *Gate) forgetUnless(how How, listed func(name string) bool) {
	for key := range g.meters {
		if key.how == how && !listed(key.name) {
			delete(g.meters, key)
			g.uses.DeleteLabelValues(string(how), key.name)
		}
	}
}

// Issue makes a token that only this process knows of: no file has it.
func (g *Gate) Issue(name string, scopes Scope) (secret string) {
	secret = tokenPrefix + random()
	t := token{name: name, scopes: scopes, hash: sha256.Sum256([]byte(secret))}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.own = append(g.own, t)
	list := append([]token{t}, *g.tokens.Load()...)
	g.tokens.Store(&list)
	return secret
}
