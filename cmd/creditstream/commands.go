package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/deploy/decks"
	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/rating"
)

const settingsHelp = `Flags win over environment variables (%s for
--%s), those over the keys of a YAML file (--config), and those over
the defaults. Durations have units: d, h, m, s, ms.`

func newRoot(environ func() []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "creditstream",
		Short: "Rate telephone calls and take them from prepaid balances",
		Long: `creditstream rates call detail records (CDRs) from Kafka, takes each exactly once
from a prepaid balance in Redis, and asks for a recharge when the balance reaches
its trigger.`,
		Example: `  creditstream sandbox
  creditstream run --brokers kafka-1:9092 --redis redis-1:6379 --deck /etc/creditstream/deck`,
		SilenceErrors:     true, // main writes them
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,

		SuggestionsMinimumDistance: 2,
		RunE:                       helpOrUnknown,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w: see %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(newRun(environ), newSandbox(environ), newRate(environ), newDeck(), newCDR(environ), newDLQ(environ),
		newCorrect(environ), newLoad(environ), newVerify(environ), newRebuild(environ), newAccount(environ), newRecharge(environ), newToken(), newVersion())
	return root
}

// helpOrUnknown is what a command does that only has commands of its own.
func helpOrUnknown(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(cmd, args[0])
	}
	return cmd.Help()
}

func unknownCommand(cmd *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %q", name)
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		text += ": did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{fmt.Errorf("%s: see %s --help", text, cmd.CommandPath())}
}

// noArgs refuses what is left when the flags are taken away.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q: see %s --help", args[0], cmd.CommandPath())}
	}
	return nil
}

// exactly refuses any other number of arguments than there are names.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usageError{fmt.Errorf("expected %s, not %d arguments: see %s --help", strings.Join(names, " and "), len(args), cmd.CommandPath())}
		}
		return nil
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		Example: "  creditstream version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "creditstream %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

func newRun(environ func() []string) *cobra.Command {
	var c runConfig
	s := c.settings()
	for _, name := range []string{"format", "zone"} { // other commands read other records, too
		s.byName[name].usage += "; fixed when the balances are created"
	}
	cmd := &cobra.Command{
		Use: "run", Short: "Run a processor against Kafka and Redis", Args: noArgs,
		Long: `Runs one processor. Start as many as the CDR topic has partitions, with the same
--group. Topics that are missing are created. It stops on SIGINT or SIGTERM within
10 seconds, with everything that it has in hand published.

` + fmt.Sprintf(settingsHelp, envName("max-charge"), "max-charge"),
		Example: `  creditstream run --brokers kafka-1:9092,kafka-2:9092 --redis redis-1:6379 --deck /etc/creditstream/deck
  CREDITSTREAM_SHARDS=256 creditstream run --config /etc/creditstream/creditstream.yaml`,
	}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		problems := s.resolve(cmd.Flags(), environ, isSetting)
		loaded, more := loadDeck(s, c.DeckDir, nil)
		formats, wrong := c.load(s)
		gate, refused := c.access.load(s)
		if err := problemsError(slices.Concat(problems, c.check(s), c.checkAPI(s), more, wrong, refused)); err != nil {
			return err
		}
		c.Formats = formats
		lines := &lineWriter{w: cmd.ErrOrStderr()}
		return runProcessor(cmd.Context(), &c, loaded, gate, c.logger(lines), c.auditLogger(lines))
	}
	return cmd
}

func runProcessor(ctx context.Context, c *runConfig, loaded *rating.Decks, gate *auth.Gate, log, audit *slog.Logger) error {
	ln, err := listen(ctx, c.HTTP)
	if err != nil {
		return err
	}
	secure := gate.TLS()
	if secure != nil {
		ln = tls.NewListener(ln, secure)
	}
	log.InfoContext(ctx, "API listens", slog.String("addr", ln.Addr().String()), slog.Bool("tls", secure != nil))
	p := newProcessor(c.processorConfig, log, loaded)
	p.gate, p.audit = gate, audit
	err = p.run(ctx, ln)
	if err == nil {
		log.InfoContext(ctx, "processor has stopped")
	}
	return err
}

func newSandbox(environ func() []string) *cobra.Command {
	var c sandboxConfig
	s := c.settings()
	cmd := &cobra.Command{
		Use: "sandbox", Short: "Run everything on this machine, with simulated calls and payments", Args: noArgs,
		Long: `Starts a Kafka broker, Redis, a processor, a simulated switch and a simulated
payment service, says what to try, and then shows what happens, every second while calls are simulated. It
keeps everything in the data directory: stop it with Ctrl-C, and the next start
with the same directory goes on where it was. Not for production.

Redis is a redis-server from PATH; without one, balances are kept in memory, which
is not safe for money.

` + fmt.Sprintf(settingsHelp, envName("data-dir"), "data-dir"),
		Example: `  creditstream sandbox
  creditstream sandbox --simulate=false --data-dir /tmp/try
  creditstream sandbox --rate 200 --decline acme,globex --http 127.0.0.1:18080 --kafka 127.0.0.1:19092`,
	}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		problems := s.resolve(cmd.Flags(), environ, isSetting)
		loaded, more := loadDeck(s, c.DeckDir, decks.Sample())
		formats, wrong := c.load(s)
		gate, refused := c.access.load(s)
		if err := problemsError(slices.Concat(problems, c.check(s), more, wrong, refused)); err != nil {
			return err
		}
		c.Formats = formats
		return runSandbox(cmd.Context(), &c, loaded, gate, cmd.OutOrStdout(), c.logger(cmd.ErrOrStderr()))
	}
	return cmd
}

// isSetting reports whether any command has a setting of this name.
func isSetting(name string) bool {
	var has func(cmd *cobra.Command) bool
	has = func(cmd *cobra.Command) bool {
		if f := cmd.Flags().Lookup(name); f != nil {
			if _, ours := f.Value.(*flagText); ours {
				return true
			}
		}
		return slices.ContainsFunc(cmd.Commands(), has)
	}
	return has(newRoot(nil))
}

// loadDeck loads the decks in dir, or those of otherwise when dir is empty.
func loadDeck(s *settings, dir string, otherwise fs.FS) (*rating.Decks, []string) {
	from := otherwise
	if dir != "" {
		from = os.DirFS(dir)
	}
	if from == nil || !s.read("deck") {
		return nil, nil // reported already
	}
	loaded, err := rating.Load(from)
	if err != nil {
		text := strings.ReplaceAll(err.Error(), "\n", "\n    ")
		return nil, []string{fmt.Sprintf("%s: %q holds no valid deck:\n    %s", s.where("deck"), cmp.Or(dir, "sample"), text)}
	}
	return loaded, nil
}

// listen opens the address of the API.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, addressError("http", addr, err)
	}
	return ln, nil
}

// addressError says which flag to change when an address cannot be listened on.
func addressError(flag, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("cannot listen on %s: another program does: stop it, or choose another address with --%s", addr, flag)
	}
	return fmt.Errorf("cannot listen on %s: %w: choose another address with --%s", addr, err, flag)
}
