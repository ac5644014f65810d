package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/load"
)

// loadConfig is what `creditstream load` is told.
type loadConfig struct {
	runConfig // for where the records go and how they are read

	source string
}

func (c *loadConfig) loadSettings() *settings {
	s := newSettings()
	s.borrow(c.settings(), "brokers", "topic-cdrs", "format", "zone", "mapping")
	s.byName["format"].usage = strings.Replace(s.byName["format"].usage, "CDRs whose content-type names none", "the files", 1)
	s.add("source", "", anyText(&c.source, "name"), "source of the CDRs, sent as the header cdr-source: it chooses the rules of the mapping")
	c.logConfig.settings(s, "warn")
	return s
}

func newLoad(environ func() []string) *cobra.Command {
	var c loadConfig
	s := c.loadSettings()
	cmd := &cobra.Command{
		Use: "load FILE...", Short: "Send files of CDRs to Kafka",
		Long: `Cuts files into records and sends them to the topic with the CDRs, each under its
account, with the content-type of the format. The file - is stdin. Give the same --zone
and --mapping as the processors have: a record that they could not read is told of with
its file and line, is not sent, keeps nothing else from being sent, and makes the exit
code 1. What is no call of its own is left out.

To repeat it is safe, so an interrupted load is simply run again: the id of a call is
claimed with its charge, and a repeat is a duplicate that costs nothing. Calls older
than ids are remembered (--id-window of the processors) are parked.`,
		Example: `  creditstream load --brokers kafka-1:9092 calls.jsonl
  creditstream load --brokers kafka-1:9092 --format asterisk-csv --zone Europe/Paris --mapping mapping.yaml --source pbx-1 /var/log/asterisk/cdr-csv/Master.csv
  creditstream dlq show --raw cdrs/3/81723 | sed s/user_outt/user_out/ | creditstream load --brokers kafka-1:9092 -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{fmt.Errorf("expected files: see %s --help", cmd.CommandPath())}
			}
			return nil
		},
	}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		problems := append(s.resolve(cmd.Flags(), environ, isSetting), s.required("brokers")...)
		opt, more := c.load(s)
		if err := problemsError(append(problems, more...)); err != nil {
			return err
		}
		opt.Lenient = opt.Mapping == nil // the processors may have one
		return c.run(cmd.Context(), opt, files, cmd.InOrStdin(), cmd.ErrOrStderr())
	}
	return cmd
}

func (c *loadConfig) run(ctx context.Context, opt cdr.Options, files []string, stdin io.Reader, stderr io.Writer) error {
	client, err := kafka.New(kafka.Config{Brokers: c.Brokers, ClientID: "creditstream-load", Logger: c.logger(stderr)})
	if err != nil {
		return err
	}
	defer client.Close()
	loader, err := load.New(ctx, client, &load.Options{
		Topic: c.Topics.CDRs, Format: opt.Format, Decoder: cdr.NewDecoder(opt), Source: c.source, Now: time.Now,
	})
	if err != nil {
		return err
	}
	l := loaded{printer: printer{out: stderr}, loader: loader, stdin: stdin, bar: newProgress(stderr, sizeOf(files), time.Now())}
	for _, name := range files {
		if err := l.file(ctx, name); err != nil {
			return err
		}
	}
	return l.end()
}

// sizeOf returns the bytes of all files, or 0 when that is not known.
func sizeOf(files []string) (sum int64) {
	for _, name := range files {
		stat, err := os.Stat(name)
		if err != nil || !stat.Mode().IsRegular() {
			return 0
		}
		sum += stat.Size()
	}
	return sum
}

// loaded tells of a load.
type loaded struct {
	printer

	loader *load.Loader
	stdin  io.Reader
	bar    *progress
	before load.Sum // of the files that are done
}

// file sends one file. One that cannot be read is told of, and the next is sent; its
// error is one of Kafka, or the end of ctx.
func (l *loaded) file(ctx context.Context, name string) error {
	from := l.stdin
	if name != stdinName {
		f, err := os.Open(name) //nolint:gosec // the file that we were told to read
		if err != nil {
			l.fail("%w", err)
			return nil
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	read := reading{from: from}
	sum, err := l.loader.File(ctx, &read, func(line int, why error) {
		l.bar.clear()
		l.fail("%s:%d: %w", name, line, why)
	}, func(s load.Sum) { l.bar.show(l.before.Bytes+s.Bytes, l.before.Sent+s.Sent, time.Now()) })
	l.before.Sent, l.before.Skipped, l.before.Bytes = l.before.Sent+sum.Sent, l.before.Skipped+sum.Skipped, l.before.Bytes+sum.Bytes
	l.bar.clear()
	switch {
	case err == nil:
	case read.err != nil && ctx.Err() == nil:
		l.fail("%s: %w", name, read.err)
	default:
		return fmt.Errorf("stopped in %s after line %d, %s sent: %w: run the same again, what was sent is not charged twice",
			name, sum.Line, count(l.before.Sent, "record"), err)
	}
	return nil
}

// reading keeps the error of a file apart from those of Kafka.
type reading struct {
	from io.Reader
	err  error
}

func (r *reading) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

func (l *loaded) end() error {
	text := count(l.before.Sent, "record") + " sent"
	if l.before.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped: no calls of their own", l.before.Skipped)
	}
	if l.failed > 0 {
		text += fmt.Sprintf(", %d not sent", l.failed)
	}
	l.line("%s", text)
	return l.printer.end()
}
