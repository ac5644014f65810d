// Package decks carries the sample deck, so that the program can rate calls
// before anybody has written a deck. Its prices are invented.
package decks

import (
	"embed"
	"io/fs"
)

//go:embed sample
var files embed.FS

// Sample returns the sample deck, for rating.Load. It is not for billing.
func Sample() fs.FS {
	sample, _ := fs.Sub(files, "sample") // fails for an invalid path only
	return sample
}
