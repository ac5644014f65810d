package main

import (
	"fmt"
	"os"
)

// stdinName is the file name that means stdin.
const stdinName = "-"

// sizeOf returns how many bytes files hold together, or unknownSize with a stdin
// or a pipe among them. It is an error if one of them is not there.
func sizeOf(files []string) (int64, error) {
	total := int64(0)
	known := true
	for _, name := range files {
		if name == stdinName {
			known = false
			continue
		}
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return 0, err
		case info.IsDir():
			return 0, fmt.Errorf("%s is a directory: expected a file with CDRs", name)
		}
		known = known && info.Mode().IsRegular()
		total += info.Size()
	}
	if !known {
		return unknownSize, nil
	}
	return total, nil
}
