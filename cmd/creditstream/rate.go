package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

// rateConfig is what `creditstream rate` is told.
type rateConfig struct {
	deck    string
	format  string
	explain bool
}

func (c *rateConfig) settings() *settings {
	s := newSettings()
	s.add("deck", "", directory(&c.deck), "directory of the rate deck, or of several, one in each directory")
	s.add("format", "canonical", oneOf(&c.format, "canonical"), "how the CDRs are written")
	s.add("explain", "false", truth(&c.explain), "say how each charge comes about")
	return s
}

func newRate(environ func() []string) *cobra.Command {
	var c rateConfig
	s := c.settings()
	cmd := &cobra.Command{
		Use: "rate --deck DIR [FILE...]", Short: "Say what the calls of a file cost",
		Long: `Reads CDRs, a JSON object on each line, from files, or from stdin without one or
where a file is "-". Writes a line of JSON on stdout for each CDR, in their order:
what it costs, or why it cannot be priced. Totals follow on stderr. Blank lines are
skipped. No Kafka, no Redis, no balances: what a processor looks at beyond the
price, such as the age of a CDR or its longest duration, is not looked at here.

The exit code is 0 when every CDR was answered, priced or not, and 2 when the deck
or a file could not be read.

` + fmt.Sprintf(settingsHelp, envName("deck"), "deck"),
		Example: `  creditstream rate --deck /etc/creditstream/deck calls.jsonl > rated.jsonl
  kcat -C -b kafka-1:9092 -t cdrs -e -q | creditstream rate --deck ./new-deck
  creditstream rate --deck ./new-deck --explain calls.jsonl | jq 'select(.error)'`,
	}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		problems := s.resolve(cmd.Flags(), environ, isSetting)
		loaded, more := loadDeck(s, c.deck, nil)
		problems = append(append(problems, s.required("deck")...), more...)
		if err := problemsError(problems); err != nil {
			return err
		}
		if err := rateFiles(cmd, &c, loaded, args); err != nil {
			return usageError{err} // exit code 2, as for the deck
		}
		return nil
	}
	return cmd
}

func rateFiles(cmd *cobra.Command, c *rateConfig, decks *rating.Decks, files []string) error {
	if len(files) == 0 {
		files = []string{stdinName}
	}
	size, err := sizeOf(files)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<16)
	r := &rater{
		decks: decks, explain: c.explain, format: formats()[c.format], out: out, encoder: json.NewEncoder(out),
		totals: newTotals(), progress: newProgress(cmd.ErrOrStderr(), size),
	}
	r.encoder.SetEscapeHTML(false)
	err = r.files(cmd.Context(), cmd.InOrStdin(), files)
	r.progress.end()
	if flushErr := out.Flush(); err == nil && flushErr != nil {
		err = fmt.Errorf("write: %w", flushErr)
	}
	if err != nil {
		return err
	}
	return r.totals.write(cmd.ErrOrStderr())
}

// A rater answers CDRs with their price.
type rater struct {
	decks    *rating.Decks
	explain  bool
	format   format
	out      *bufio.Writer
	encoder  *json.Encoder // to out
	totals   *totals
	progress *progress
}

func (r *rater) files(ctx context.Context, stdin io.Reader, names []string) error {
	for _, name := range names {
		if name == stdinName {
			if err := r.read(ctx, "stdin", stdin); err != nil {
				return err
			}
			continue
		}
		file, err := os.Open(name) //nolint:gosec // the user names it
		if err != nil {
			return err
		}
		err = r.read(ctx, name, file)
		_ = file.Close() // it was only read
		if err != nil {
			return err
		}
	}
	return nil
}

// read answers every record of one input.
func (r *rater) read(ctx context.Context, name string, in io.Reader) error {
	next := r.format.records(r.progress.reader(in))
	for {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: interrupted: not every CDR was read", name)
		}
		record, line, err := next()
		fault, unread := errors.AsType[*cdr.Fault](err)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !unread:
			return fmt.Errorf("read %s: %w", name, err)
		}
		if err := r.answer(recordPlace{name, line}, record, fault); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		r.progress.record()
	}
}

// A recordPlace is where a record begins.
type recordPlace struct {
	input string
	line  int // from 1
}

// An answer is the line that is written for one CDR.
type answer struct {
	ID      string      `json:"id"`
	Account string      `json:"account,omitempty"`
	Kind    rating.Kind `json:"kind,omitempty"`
	*rating.Charge

	Error   *answerError        `json:"error,omitempty"`
	Explain *rating.Explanation `json:"explain,omitempty"`
}

type answerError struct {
	Code    rating.Reason `json:"code"`
	Message string        `json:"message"`
}

// answer writes the line for one record. unread says why there is no record.
func (r *rater) answer(at recordPlace, record []byte, unread *cdr.Fault) error {
	var c rating.CDR
	var err error
	if unread != nil {
		err = unread
	} else {
		err = r.format.decode(record, &c)
	}
	a := answer{ID: c.ID}
	var charge rating.Charge
	switch {
	case err != nil:
	case r.explain:
		charge, a.Explain, err = r.decks.Explain(&c)
	default:
		charge, err = r.decks.Price(&c)
	}
	if err != nil {
		reason, message := faultOf(err)
		a.Error = &answerError{reason, fmt.Sprintf("%s:%d: %s", at.input, at.line, message)}
		r.totals.fail(reason)
	} else {
		a.Account, a.Kind, a.Charge = c.Account, c.Kind, &charge
		r.totals.add(&charge)
	}
	return r.encoder.Encode(&a)
}

// faultOf takes apart what Canonical and Price return.
func faultOf(err error) (rating.Reason, string) {
	if f, ok := errors.AsType[*cdr.Fault](err); ok {
		return f.Reason, strings.TrimPrefix(f.Error(), string(f.Reason)+": ")
	}
	if f, ok := errors.AsType[*rating.Fault](err); ok {
		return f.Reason, f.Message
	}
	return rating.NotJSON, err.Error()
}
