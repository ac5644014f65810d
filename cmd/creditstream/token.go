package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/internal/auth"
)

func newToken() *cobra.Command {
	var scopes string
	var signing bool
	cmd := &cobra.Command{
		Use: "token NAME", Short: "Make a token for the API, or a secret for signatures", Args: exactly("NAME"),
		Long: `Makes a token of 256 random bits. stdout has two lines: the token, for the caller that
will use it and shown this once, and the line for the file of --tokens, which has its
SHA-256 alone. NAME says in logs and metrics who the caller is.

Scopes: read (accounts, ledgers, quotes, metrics), authorize (may this call be made),
fund (top-ups, results of recharges), admin (everything). To replace a token, add one with
another name, give it to the caller, and take the line of the old one away: processors
read the file again within 5 seconds.

With --signing it makes a secret with which a payment service signs the results of
recharges: the first line is for the service, the second for the file of --signing-secrets.`,
		Example: `  creditstream token billing --scopes read,fund
  creditstream token payments-2026 --signing`,
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&scopes, "scopes", "", "what the token may do: one or more of the `scope`s read, authorize, fund, admin, separated by commas")
	cmd.Flags().BoolVar(&signing, "signing", false, "make a secret for signatures instead")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if signing == (scopes != "") {
			return usageError{errors.New("expected either --scopes or --signing: see creditstream token --help")}
		}
		if signing {
			return printSecret(cmd.OutOrStdout(), args[0])
		}
		return printToken(cmd.OutOrStdout(), args[0], scopes)
	}
	return cmd
}

func printToken(out io.Writer, name, names string) error {
	scopes, err := auth.ParseScopes(names)
	if err != nil {
		return usageError{fmt.Errorf("flag --scopes: %w", err)}
	}
	secret, line, err := auth.NewToken(name, scopes)
	if err != nil {
		return usageError{fmt.Errorf("name: %w", err)}
	}
	_, err = fmt.Fprintf(out, "%s\n%s\n", secret, line)
	return err
}

func printSecret(out io.Writer, name string) error {
	key, line, err := auth.NewSecret(name)
	if err != nil {
		return usageError{fmt.Errorf("name: %w", err)}
	}
	_, err = fmt.Fprintf(out, "%s\n%s\n", key, line)
	return err
}
