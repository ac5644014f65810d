package rating

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// deckName is the file that makes a directory a deck.
const deckName = "deck.yaml"

// Load reads every deck of fsys: the root itself if it has a deck.yaml, else
// each directory in it (names that begin with a dot are skipped). It reads all
// of them before it reports: the error is Problems, with everything that is
// wrong, and then there are no decks.
func Load(fsys fs.FS) (*Decks, error) {
	var problems Problems
	var files []*deckFile
	for _, dir := range deckDirs(fsys, &problems) {
		files = append(files, loadDeck(fsys, dir, &problems))
	}
	slices.SortStableFunc(files, func(a, b *deckFile) int {
		return b.deck.ValidFrom.Compare(a.deck.ValidFrom)
	})
	decks := &Decks{}
	for i, f := range files {
		if i > 0 && !f.deck.ValidFrom.IsZero() && f.deck.ValidFrom.Equal(files[i-1].deck.ValidFrom) {
			f.at(f.validFrom.Line, f.validFrom.Column,
				"valid_from: %s has the same; a call could be priced by either, so change one", files[i-1].file)
		}
		decks.newestFirst = append(decks.newestFirst, f.deck)
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	return decks, nil
}

// deckDirs lists the directories that hold a deck each.
func deckDirs(fsys fs.FS, problems *Problems) []string {
	root := report{".", problems}
	if _, err := fs.Stat(fsys, deckName); err == nil {
		return []string{"."}
	} else if !errors.Is(err, fs.ErrNotExist) {
		root.at(0, 0, "look for %s: %v", deckName, err)
		return nil
	}
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		root.at(0, 0, "list the decks: %v", err)
		return nil
	}
	var dirs []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		found, err := fs.Stat(fsys, entry.Name()) // follows a link, unlike entry
		if err != nil {
			root.at(0, 0, "look at %s: %v", entry.Name(), err)
		} else if found.IsDir() {
			dirs = append(dirs, entry.Name())
		}
	}
	if len(dirs) == 0 && len(*problems) == 0 {
		root.at(0, 0, "no deck here: want a %s, or directories that have one", deckName)
	}
	return dirs
}

// loadDeck reads the deck in dir. What it returns is complete only if it
// reported nothing.
func loadDeck(fsys fs.FS, dir string, problems *Problems) *deckFile {
	f := &deckFile{report: report{path.Join(dir, deckName), problems}, deck: &deck{}}
	content, err := fs.ReadFile(fsys, f.file)
	if err != nil {
		f.at(0, 0, "read the deck: %v", err)
		return f
	}
	f.read(content)

	contents := map[string][]byte{deckName: content}
	tables := make(map[string]*table)
	for _, line := range f.rules {
		if line.table == "" {
			continue
		}
		if _, done := contents[line.table]; !done {
			file := path.Join(dir, line.table)
			content, err := fs.ReadFile(fsys, file)
			if err != nil {
				f.at(line.place.Line, line.place.Column, "table: read %s: %v", file, err)
				continue
			}
			contents[line.table] = content
			t := newTable(readTable(f, file, content))
			tables[line.table] = t
			f.deck.count(t)
		}
		f.checkScope(&line, tables[line.table])
	}
	f.deck.Version = version(contents)
	f.deck.rules = make(map[Kind][]rule)
	for i, line := range f.rules {
		for _, kind := range line.kinds {
			f.deck.rules[kind] = append(f.deck.rules[kind], rule{i + 1, line.scope, tables[line.table], line.table})
		}
	}
	return f
}

// checkScope reports a rule that asks for the country of destinations of a table
// that names none.
func (f *deckFile) checkScope(line *ruleLine, t *table) {
	if line.scope == anywhere || t == nil || len(t.rows) == 0 {
		return
	}
	if !slices.ContainsFunc(t.rows, func(r row) bool { return r.country != country{} }) {
		f.at(line.place.Line, line.place.Column, "table: %s names no country, so scope %s cannot be told: fill its column country",
			line.table, line.scope)
	}
}

// version is the content hash of a deck's files, by name: the first 16 hex
// digits of SHA-256. It is stored with charges, so what goes in must not change.
func version(contents map[string][]byte) string {
	var all bytes.Buffer
	for _, name := range slices.SortedFunc(maps.Keys(contents), cmp.Compare[string]) {
		fmt.Fprintf(&all, "%d:%s%d:%s", len(name), name, len(contents[name]), contents[name])
	}
	sum := sha256.Sum256(all.Bytes())
	return hex.EncodeToString(sum[:])[:16]
}
