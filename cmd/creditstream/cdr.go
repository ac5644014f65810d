package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

func newCDR(environ func() []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "cdr", Short: "Look at call detail records", Args: cobra.ArbitraryArgs,
		Example:                    "  creditstream cdr check --format asterisk-csv --zone Europe/Paris Master.csv",
		SuggestionsMinimumDistance: 2,
		RunE:                       helpOrUnknown,
	}
	cmd.AddCommand(newCDRCheck(environ))
	return cmd
}

// checkConfig is what `creditstream cdr check` is told.
type checkConfig struct {
	formatConfig

	source   string
	appended time.Time // zero: now
}

func (c *checkConfig) settings() *settings {
	s := bareSettings()
	c.formatConfig.settings(s)
	s.add("source", "", anyText(&c.source, "name"), "source of the CDRs, as a header cdr-source would name it")
	s.add("appended-at", "", moment(&c.appended, time.Now()), "read records as if they were appended then: to see what a version of the mapping does before it is active; default: now")
	return s
}

func newCDRCheck(environ func() []string) *cobra.Command {
	var c checkConfig
	s := c.settings()
	cmd := &cobra.Command{
		Use: "check [FILE...]", Short: "Show what is read from records of a format",
		Long: `Reads files, or stdin (-), and prints one line of JSON for each record: the canonical
CDR; {"skip":"why"} for what is no call of its own; or {"error":{"code","message"}}.
It accepts lines of CSV, and JSON objects one after another, in arrays and in
Graph's pages. Nothing is sent anywhere.

With --mapping it shows exactly what the stream would make of records that are
appended now, or at --appended-at. Without, it shows what the record itself says, and leaves out what
only a mapping could tell.

It ends with 0 when every record was answered, also with an error, and with 2 when
a file cannot be read.`,
		Example: `  creditstream cdr check --format asterisk-csv --zone Europe/Paris Master.csv
  creditstream cdr check --format freeswitch-json --mapping mapping.yaml < call.json
  creditstream cdr check --format asterisk-csv --mapping new.yaml --source pbx-2 --appended-at 2026-12-01 Master.csv`,
	}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		problems := s.resolve(cmd.Flags(), environ, isSetting)
		opt, more := c.load(s)
		if err := problemsError(append(problems, more...)); err != nil {
			return err
		}
		opt.Lenient = opt.Mapping == nil
		check := checker{decoder: cdr.NewDecoder(opt), format: opt.Format, source: c.source, appended: c.appended, out: cmd.OutOrStdout()}
		if c.appended.IsZero() {
			check.appended = time.Now()
		}
		if len(files) == 0 {
			files = []string{stdinName}
		}
		for _, name := range files {
			if name == stdinName {
				if err := check.read(cmd.Context(), "stdin", cmd.InOrStdin()); err != nil {
					return err
				}
				continue
			}
			if err := check.file(cmd.Context(), name); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// A checker prints what is read from records.
type checker struct {
	decoder  *cdr.Decoder
	format   cdr.Format
	source   string
	appended time.Time
	out      io.Writer
}

// file reads one file. Its errors end the command with 2, as usage errors do.
func (c *checker) file(ctx context.Context, name string) error {
	f, err := os.Open(name) //nolint:gosec // the file that we were told to read
	if err != nil {
		return usageError{err}
	}
	return errors.Join(c.read(ctx, name, f), f.Close())
}

func (c *checker) read(ctx context.Context, name string, from io.Reader) error {
	pieces := cdr.NewSplitter(from, c.format)
	for ctx.Err() == nil {
		piece, err := pieces.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return usageError{fmt.Errorf("read %s: %w", name, err)}
		}
		line, err := json.Marshal(c.answer(&piece, fmt.Sprintf("%s:%d: ", name, piece.Line)))
		if err != nil {
			return fmt.Errorf("write %s:%d: %w", name, piece.Line, err)
		}
		if _, err := c.out.Write(append(line, '\n')); err != nil {
			return usageError{err}
		}
	}
	return nil
}

// An answer is what is printed of one record: a CDR, why it is skipped, or what is
// wrong with it.
type answer struct {
	*canonical

	Skip  string       `json:"skip,omitempty"`
	Error *answerError `json:"error,omitempty"`
}

type answerError struct {
	Code    rating.Reason `json:"code"`
	Message string        `json:"message"`
}

// canonical is a CDR as package cdr documents it.
type canonical struct {
	ID             string      `json:"id,omitempty"`
	Source         string      `json:"source,omitempty"`
	Account        string      `json:"account,omitempty"`
	User           string      `json:"user,omitempty"`
	Kind           rating.Kind `json:"kind,omitempty"`
	Caller         string      `json:"caller,omitempty"`
	Callee         string      `json:"callee,omitempty"`
	HomeCountry    string      `json:"home_country,omitempty"`
	AnsweredAt     string      `json:"answered_at,omitempty"`
	DurationMillis int64       `json:"duration_ms"`
}

func (c *checker) answer(piece *cdr.Piece, place string) answer {
	var call rating.CDR
	err := decodePiece(c.decoder, piece, c.source, c.appended, &call)
	if skip, ok := errors.AsType[*cdr.Skip](err); ok {
		return answer{Skip: skip.Why}
	}
	if fault, ok := errors.AsType[*cdr.Fault](err); ok {
		return answer{Error: &answerError{fault.Reason, place + fault.Text()}}
	}
	shown := &canonical{
		ID: call.ID, Source: call.Source, Account: call.Account, User: call.User, Kind: call.Kind,
		Caller: call.Caller, Callee: call.Callee, HomeCountry: call.Home, DurationMillis: call.DurationMillis,
	}
	if call.Answered() {
		shown.AnsweredAt = call.AnsweredAt.Format(time.RFC3339Nano)
	}
	return answer{canonical: shown}
}
