package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/balance"
)

// apiConfig is what commands are told that talk to the API.
type apiConfig struct {
	url, token, tokenFile, ca, cert, certKey string

	json bool
	key  string // Idempotency-Key
}

// apiSettings returns the settings that all of them have.
func (c *apiConfig) apiSettings() *settings {
	s := newSettings()
	s.add("url", "http://127.0.0.1:8080", baseURL(&c.url), "where the API is")
	s.add("token-file", "", anyText(&c.tokenFile, "file"), "file that holds the token, and nothing else")
	s.add("token", "", anyText(&c.token, "token"), "the token itself; others on this machine may see a command line: better give "+envName("token")+" or --token-file")
	s.add("ca", "", anyText(&c.ca, "file"), "certificates in PEM, one of which has signed that of the API; default: those that this machine trusts")
	s.add("client-cert", "", anyText(&c.cert, "file"), "certificate in PEM to show to an API that asks for one (--tls-client-ca of run)")
	s.add("client-key", "", anyText(&c.certKey, "file"), "key of --client-cert in PEM")
	s.add("json", "false", truth(&c.json), "print what the API answers instead of text; of lists, an object a line")
	return s
}

// changeSettings returns those of commands that make a change.
func (c *apiConfig) changeSettings() *settings {
	s := c.apiSettings()
	s.add("key", "", matching(&c.key, `[!-~]{1,100}`, "1 to 100 visible ASCII characters"),
		"Idempotency-Key: that of a command whose answer was lost makes its repeat harmless; default: a new one, which is printed")
	return s
}

// baseURL reads where the API is.
func baseURL(at *string) value {
	return value{kind: "url", set: func(text string) error {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
			return errors.New("is no address of an API: expected one such as http://127.0.0.1:8080 or https://credit.example.com")
		}
		*at = strings.TrimSuffix(text, "/")
		return nil
	}}
}

// client returns a client of the API, with the token that was given.
func (c *apiConfig) client() (*apiClient, error) {
	if c.token != "" && c.tokenFile != "" {
		return nil, usageError{errors.New("token and token-file are both given: expected one of them")}
	}
	if c.tokenFile != "" {
		b, err := os.ReadFile(c.tokenFile)
		if err != nil {
			return nil, usageError{err}
		}
		words := strings.Fields(string(b))
		if len(words) != 1 {
			return nil, usageError{fmt.Errorf("%s: holds %s: expected the token alone", c.tokenFile, count(len(words), "word"))}
		}
		c.token = words[0]
	}
	return newAPIClient(c, c.token)
}

// An apiCommand is a command that talks to the API.
type apiCommand struct {
	cobra.Command

	settings *settings
	required []string
	check    func() []string // what is wrong with settings that are right one by one; nil: nothing
	run      func(ctx context.Context, api *apiClient, args []string, p *apiPrinter) error
}

func (a *apiCommand) build(c *apiConfig, environ func() []string) *cobra.Command {
	cmd := &a.Command
	a.settings.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		problems := append(a.settings.resolve(cmd.Flags(), environ, isSetting), a.settings.required(a.required...)...)
		if a.check != nil {
			problems = append(problems, a.check()...)
		}
		if err := problemsError(problems); err != nil {
			return err
		}
		api, err := c.client()
		if err != nil {
			return err
		}
		p := &apiPrinter{printer: printer{out: cmd.OutOrStdout()}, stderr: cmd.ErrOrStderr(), cfg: c}
		if err := a.run(cmd.Context(), api, args, p); err != nil {
			return errors.Join(err, p.err)
		}
		return p.err
	}
	return cmd
}

// oneAccount wants the id of an account.
func oneAccount(cmd *cobra.Command, args []string) error {
	if err := exactly("ACCOUNT")(cmd, args); err != nil {
		return err
	}
	if !balance.ValidAccount(args[0]) {
		return usageError{fmt.Errorf("%q is no account: expected 1 to 64 letters, digits and ._@-", args[0])}
	}
	return nil
}

func accountPath(id string) string { return "/v1/accounts/" + url.PathEscape(id) }

// newKey returns the key of a change, and says on stderr what a new one is: whoever
// loses the answer needs it.
func (p *apiPrinter) newKey() string {
	if p.cfg.key == "" {
		p.cfg.key = uuid.NewString()
		_, _ = fmt.Fprintf(p.stderr, "Idempotency-Key: %s\n", p.cfg.key) // a stderr that is gone must not stop it
	}
	return p.cfg.key
}

// change makes a change with a key, and prints the account as it is then.
func (p *apiPrinter) change(ctx context.Context, api *apiClient, method, path string, body any) error {
	return p.carryOut(ctx, api, &apiRequest{method: method, path: path, key: p.newKey(), body: body})
}

// carryOut makes a change, and prints the account as it is then. When that cannot be
// shown the change is made all the same.
func (p *apiPrinter) carryOut(ctx context.Context, api *apiClient, r *apiRequest) error {
	b, err := api.change(ctx, r)
	if err != nil {
		return err
	}
	if err := p.account(b); err != nil {
		p.err = nil // said here
		return unreadable(r, err)
	}
	return nil
}

func (p *apiPrinter) post(ctx context.Context, api *apiClient, path string, body any) error {
	return p.change(ctx, api, http.MethodPost, path, body)
}

// raw prints JSON on one line.
func (p *apiPrinter) raw(b []byte) {
	var line bytes.Buffer
	if err := json.Compact(&line, b); err != nil {
		p.err = fmt.Errorf("read the answer of the API: %w", err)
		return
	}
	p.line("%s", line.Bytes())
}
