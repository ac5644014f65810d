package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

// rateConfig is what `creditstream rate` is told.
type rateConfig struct {
	formatConfig

	deck    string
	explain bool
}

func (c *rateConfig) settings() *settings {
	s := newSettings()
	s.add("deck", "", directory(&c.deck), "directory of the rate deck, or of several, one in each directory")
	c.formatConfig.settings(s)
	s.add("explain", "false", truth(&c.explain), "say how each charge comes about")
	return s
}

func newRate(environ func() []string) *cobra.Command {
	var c rateConfig
	s := c.settings()
	cmd := &cobra.Command{
		Use: "rate --deck DIR [FILE...]", Short: "Say what the calls of a file cost",
		Long: `Reads CDRs of a format from files, or from stdin without one or where a file is
"-". Writes a line of JSON on stdout for each CDR, in their order: what it costs,
why it cannot be priced, or {"skip":"why"} for what is no call of its own. Totals
follow on stderr. Without --mapping an account may be missing. No Kafka, no Redis,
no balances: what a processor looks at beyond the price, such as the age of a CDR
or its longest duration, is not looked at here.

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
		formats, wrong := c.load(s)
		if err := problemsError(slices.Concat(problems, s.required("deck"), more, wrong)); err != nil {
			return err
		}
		formats.Lenient = formats.Mapping == nil
		if err := rateFiles(cmd, &c, formats, loaded, args); err != nil {
			return usageError{err} // exit code 2, as for the deck
		}
		return nil
	}
	return cmd
}

func rateFiles(cmd *cobra.Command, c *rateConfig, formats cdr.Options, decks *rating.Decks, files []string) error {
	if len(files) == 0 {
		files = []string{stdinName}
	}
	if err := checkInputs(files); err != nil {
		return err
	}
	out := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<16)
	r := &rater{
		decks: decks, explain: c.explain, format: formats.Format, decoder: cdr.NewDecoder(formats), out: out, encoder: json.NewEncoder(out),
		totals: newTotals(), bar: newProgress(cmd.ErrOrStderr(), sizeOf(files), time.Now()), now: time.Now(),
	}
	r.encoder.SetEscapeHTML(false)
	err := r.files(cmd.Context(), cmd.InOrStdin(), files)
	r.bar.clear()
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
	decks   *rating.Decks
	explain bool
	format  cdr.Format
	decoder *cdr.Decoder
	out     *bufio.Writer
	encoder *json.Encoder // to out
	totals  *totals
	bar     *progress
	read    int64 // bytes of the files before
	records int
	now     time.Time // chooses the version of a mapping, as for records that are appended now
}

func (r *rater) files(ctx context.Context, stdin io.Reader, names []string) error {
	for _, name := range names {
		if name == stdinName {
			if err := r.input(ctx, "stdin", stdin); err != nil {
				return err
			}
			continue
		}
		file, err := os.Open(name) //nolint:gosec // the user names it
		if err != nil {
			return err
		}
		err = r.input(ctx, name, file)
		_ = file.Close() // it was only read
		if err != nil {
			return err
		}
	}
	return nil
}

// input answers every record of one input.
func (r *rater) input(ctx context.Context, name string, in io.Reader) error {
	pieces := cdr.NewSplitter(in, r.format)
	end := int64(0)
	defer func() { r.read += end }()
	for {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: interrupted: not every CDR was read", name)
		}
		piece, err := pieces.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read %s: %w", name, err)
		}
		if err := r.answer(name, &piece); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		r.records++
		end = piece.Offset + int64(len(piece.Data))
		r.bar.show(r.read+end, r.records, time.Now())
	}
}

// A priced is the line that is written for one CDR that has a price.
type priced struct {
	ID      string      `json:"id"`
	Account string      `json:"account"`
	Kind    rating.Kind `json:"kind"`
	rating.Charge

	Explain *rating.Explanation `json:"explain,omitempty"`
}

// An unpriced is the line for one that has none.
type unpriced struct {
	ID      string              `json:"id"`
	Error   answerError         `json:"error"`
	Explain *rating.Explanation `json:"explain,omitempty"`
}

// answer writes the line for one record of an input.
func (r *rater) answer(input string, piece *cdr.Piece) error {
	var c rating.CDR
	err := decodePiece(r.decoder, piece, "", r.now, &c)
	if skip, ok := errors.AsType[*cdr.Skip](err); ok {
		r.totals.skipped++
		return r.encoder.Encode(answer{Skip: skip.Why})
	}
	var charge rating.Charge
	var why *rating.Explanation
	switch {
	case err != nil:
	case r.explain:
		charge, why, err = r.decks.Explain(&c)
	default:
		charge, err = r.decks.Price(&c)
	}
	if err != nil {
		reason, message := faultOf(err)
		r.totals.fail(reason)
		return r.encoder.Encode(&unpriced{c.ID, answerError{reason, fmt.Sprintf("%s:%d: %s", input, piece.Line, message)}, why})
	}
	r.totals.add(&charge)
	return r.encoder.Encode(&priced{c.ID, c.Account, c.Kind, charge, why})
}

// faultOf takes apart what Decode and Price return.
func faultOf(err error) (rating.Reason, string) {
	if f, ok := errors.AsType[*cdr.Fault](err); ok {
		return f.Reason, f.Text()
	}
	if f, ok := errors.AsType[*rating.Fault](err); ok {
		return f.Reason, f.Message
	}
	return rating.NotJSON, err.Error()
}
