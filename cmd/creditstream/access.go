package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/creditstream/creditstream/internal/auth"
)

// accessConfig says who may use the API, and how it is reached.
type accessConfig struct {
	auth.Options

	plainHTTP bool
}

func (c *accessConfig) settings(s *settings) {
	c.tokenSettings(s, "file of the tokens that may use the API, as creditstream token makes them; read again on a change")
	s.add("signing-secrets", "", anyText(&c.Secrets, "file"),
		"file of secrets with which payment services sign the results of recharges; read again on a change; default: only tokens count")
	s.add("tls-cert", "", anyText(&c.Cert, "file"), "certificate of the API in PEM, with those that it was signed by: then it speaks TLS; read again on a change")
	s.add("tls-key", "", anyText(&c.Key, "file"), "key of --tls-cert in PEM")
	s.add("tls-client-ca", "", anyText(&c.ClientCA, "file"), "certificates in PEM of which one must have signed the certificate of each client; they need tokens too")
	s.add("plain-http", "false", truth(&c.plainHTTP), "listen on more than loopback without TLS: for a proxy in front that has it")
}

// tokenSettings are those that the sandbox has too.
func (c *accessConfig) tokenSettings(s *settings, usage string) {
	s.add("tokens", "", anyText(&c.Tokens, "file"), usage)
	s.add("token-rate", "5000", whole(&c.Rate, 1, 1_000_000), "requests a second that each token may send, and each secret")
}

// check returns what does not go together.
func (c *accessConfig) check(s *settings, listen string) (problems []string) {
	bad := func(name, format string, a ...any) {
		problems = append(problems, s.where(name)+": "+fmt.Sprintf(format, a...))
	}
	switch {
	case c.Cert != "" && c.Key == "":
		bad("tls-cert", "is given without --tls-key: give its key too")
	case c.Cert == "" && c.Key != "":
		bad("tls-key", "is given without --tls-cert: give its certificate too")
	case c.Cert == "" && c.ClientCA != "":
		bad("tls-client-ca", "is given without --tls-cert and --tls-key: clients show certificates over TLS only")
	}
	if s.read("http") && c.Cert == "" && !c.plainHTTP && !isLoopback(listen) {
		bad("http", "%q can be reached from outside, and tokens would be sent unencrypted: give --tls-cert and --tls-key, "+
			"an address of the loopback such as 127.0.0.1:8080, or --plain-http when a proxy in front has TLS", listen)
	}
	return problems
}

// load reads the files, and returns everything that is wrong with them. Without a
// file of tokens there is no gate.
func (c *accessConfig) load(s *settings) (*auth.Gate, []string) {
	if c.Tokens == "" || !s.read("tokens", "token-rate") || (c.Cert == "") != (c.Key == "") {
		return nil, nil // reported already, or the sandbox
	}
	c.Now = time.Now
	gate, err := auth.Load(c.Options)
	if err != nil {
		return nil, strings.Split(err.Error(), "\n")
	}
	return gate, nil
}

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// auditLogger writes the lines of changes, whatever the level of the others is.
func (c *logConfig) auditLogger(w io.Writer) *slog.Logger {
	return (&logConfig{format: c.format, level: "info"}).logger(w)
}

// lineWriter takes lines from several loggers.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write writes a line at once.
func (l *lineWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
