package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/rating"
)

func newDeck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "deck", Short: "Check and compare rate decks", Args: cobra.ArbitraryArgs,
		Long: `A deck is a directory with a deck.yaml and the CSV tables that it names. Where a
deck is expected, a directory that holds several, one in each directory, will do.`,
		Example: `  creditstream deck check ./new-deck
  creditstream deck diff /etc/creditstream/deck ./new-deck`,
		RunE: helpOrUnknown,

		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(newDeckCheck(), newDeckDiff())
	return cmd
}

func newDeckCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check DIR", Short: "Print every problem of a deck, or what it holds", Args: exactly("DIR"),
		Long: `Reads all of a deck. If anything is wrong it prints every problem on a line of its
own, as file:line:column: what is wrong, and the exit code is 2. Else it prints a
line for each version.`,
		Example: `  creditstream deck check ./new-deck`,
		RunE: func(cmd *cobra.Command, args []string) error {
			decks, err := readDeck(args[0])
			if problems, ok := errors.AsType[rating.Problems](err); ok {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), problems); err != nil {
					return err
				}
				return usageError{fmt.Errorf("%q holds no valid deck: problems: %d", args[0], len(problems))}
			}
			if err != nil {
				return usageError{err}
			}
			return writeVersions(cmd.OutOrStdout(), decks.Versions())
		},
	}
}

// readDeck loads what a directory holds. The error is rating.Problems, or one of
// the directory itself.
func readDeck(dir string) (*rating.Decks, error) {
	var found string
	if err := directory(&found).set(dir); err != nil {
		return nil, fmt.Errorf("%q %w", dir, err)
	}
	return rating.Load(os.DirFS(found))
}

func writeVersions(w io.Writer, versions []rating.DeckVersion) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "id\tversion\tvalid from\tcurrency\trows\tprefixes\tcountries") // Flush tells
	for _, v := range versions {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n",
			v.ID, v.Version, v.ValidFrom.Format(time.RFC3339), v.Currency, v.Rows, v.Prefixes, v.Countries)
	}
	return table.Flush()
}

func newDeckDiff() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use: "diff A B", Short: "Print what became dearer, cheaper, new and gone from one deck to another", Args: exactly("A", "B"),
		Long: `Compares two decks at one time, rate by rate: those of one table, prefix and band.

  dearer   some call costs more, and none less
  cheaper  some call costs less, and none more
  changed  other terms: dearer for some calls and cheaper for others, or for none
  new      it is in B alone; "before" is what its numbers were charged, if anything
  gone     it is in A alone; "after" is what its numbers are charged, if anything

Calls of 1, 30, 60, 180, 600 and 3600 seconds are compared, each within one band, at
the charges that their decks round to. Shown are the charge of a call of 60 seconds
and the terms: price a minute, first and next increment in seconds, or steps. What
deck.yaml says differently is printed first. Prices in two currencies are not
compared.`,
		Example: `  creditstream deck diff /etc/creditstream/deck ./new-deck
  creditstream deck diff --at 2026-07-01T00:00:00Z ./deck-2025 ./deck-2026`,
	}
	cmd.Flags().StringVar(&at, "at", "", "answer `time` of the calls, RFC 3339; default: the later of the newest valid_from of A and of B")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		diff, when, err := diffDecks(args[0], args[1], at)
		if err != nil {
			return usageError{err}
		}
		return writeDiff(cmd.OutOrStdout(), diff, when)
	}
	return cmd
}

// diffDecks compares two decks at a time, the default if it is empty.
func diffDecks(before, after, at string) (*rating.Difference, time.Time, error) {
	a, err := validDeck(before)
	if err != nil {
		return nil, time.Time{}, err
	}
	b, err := validDeck(after)
	if err != nil {
		return nil, time.Time{}, err
	}
	when := newest(a)
	if other := newest(b); other.After(when) {
		when = other
	}
	if at != "" {
		if when, err = time.Parse(time.RFC3339, at); err != nil {
			return nil, when, fmt.Errorf("flag --at: %q is not a time: expected RFC 3339, such as 2026-07-01T00:00:00Z", at)
		}
	}
	diff, err := rating.Diff(a, b, when)
	return diff, when, err
}

func validDeck(dir string) (*rating.Decks, error) {
	decks, err := readDeck(dir)
	if problems, ok := errors.AsType[rating.Problems](err); ok {
		return nil, fmt.Errorf("%q holds no valid deck:\n    %s", dir, strings.ReplaceAll(problems.Error(), "\n", "\n    "))
	}
	return decks, err
}

// newest returns the last valid_from. A valid directory holds a deck.
func newest(decks *rating.Decks) time.Time {
	versions := decks.Versions()
	return versions[len(versions)-1].ValidFrom
}

func writeDiff(w io.Writer, d *rating.Difference, when time.Time) error {
	var out strings.Builder
	fmt.Fprintf(&out, "Calls answered at %s: %s (%s, %s) to %s (%s, %s)\n", when.Format(time.RFC3339),
		d.Before.ID, d.Before.Version, d.Before.Currency, d.After.ID, d.After.Version, d.After.Currency)
	for _, line := range d.Terms {
		fmt.Fprintf(&out, "deck.yaml differs: %s\n", line)
	}
	if !d.Compared {
		out.WriteString("Prices are not compared: the currencies differ.\n")
	}
	counts := map[rating.ChangeKind]int{}
	if len(d.Changes) > 0 {
		table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "change\ttable\tprefix\tdestination\tband\tbefore\tafter") // a Builder takes all
		for i := range d.Changes {
			c := &d.Changes[i]
			counts[c.Kind]++
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Kind, c.Table, orDash(c.Prefix), orDash(c.Destination), orDash(c.Band),
				offered(c, c.Before), offered(c, c.After))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	for _, kind := range rating.ChangeKinds() {
		fmt.Fprintf(&out, "%s %d, ", kind, counts[kind])
	}
	if d.Compared {
		fmt.Fprintf(&out, "the same %d\n", d.Same)
	} else {
		out.WriteString("the rest not compared\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// offered writes what the numbers of a rate are charged, and by which other rate.
func offered(c *rating.Change, o *rating.Offer) string {
	if o == nil {
		return "-"
	}
	text := fmt.Sprintf("%s (%s)", o.Minute, o.Terms)
	if o.Prefix != c.Prefix || o.Band != c.Band {
		text += " by " + strings.TrimSpace(orDash(o.Prefix)+" "+o.Band)
	}
	return text
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
