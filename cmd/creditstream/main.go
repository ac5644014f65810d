// Command creditstream rates call detail records from Kafka and takes them from
// prepaid balances in Redis, each exactly once.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set when the binary is built: -ldflags "-X main.version=...".
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the process at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "creditstream:", err)
	}
	os.Exit(exitCode(err))
}

// run does what args say until it is done or ctx ends. An end by ctx is no error.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := newRoot(os.Environ)               //nolint:contextcheck // commands get ctx from ExecuteContext
	root.SetArgs(append([]string{}, args...)) // nil would mean os.Args
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(ctx)
}

// usageError is a mistake in what the command was told.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitCode is 0 for success, 2 for a usageError or cannotTell, 3 for a change of which
// nobody knows what became, and 1 for any other error.
func exitCode(err error) int {
	var usage usageError
	var unknown *unknownError
	var untold cannotTell
	switch {
	case errors.As(err, &unknown):
		return 3
	case err == nil:
		return 0
	case errors.As(err, &usage), errors.As(err, &untold):
		return 2
	}
	return 1
}
