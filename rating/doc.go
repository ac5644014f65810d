// Package rating says what a call costs: a CDR and the decks go in, a Charge
// or a Fault comes out.
//
// A deck is one immutable version of a rate table: a deck.yaml with rules, and
// the CSV tables that the rules name. Load reads decks from an fs.FS and
// reports every problem with its place; a deck with a problem is never used.
//
// What holds:
//   - The result depends on the CDR and the decks alone, so rating a record
//     again gives the same charge. The deck is chosen by the answer time.
//   - Arithmetic is exact; a call is rounded once, to the digits and by the
//     mode of its deck. Nothing wraps: what does not fit is out_of_bounds.
//   - A charge is never negative and never falls when the call gets longer.
//   - Unanswered calls, calls of zero length, emergency and internal calls cost
//     nothing, whatever the deck says.
//   - The longest prefix that is valid at the answer time wins, then the newest
//     valid_from.
//   - What money reaches for (Decks.Reach) is the longest call that it pays for by
//     the same prices, to the second.
//   - Price does not allocate, unless it reports a Fault.
//
// It never reads a clock, logs, waits, or changes what Load returned, and it
// never puts a phone number into a message. Everything here is safe for
// concurrent use.
package rating
