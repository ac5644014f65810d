package main

import (
	"fmt"
	"os"
)

// stdinName is the file name that means stdin.
const stdinName = "-"

// checkInputs looks whether files are there, before anything is done with one.
func checkInputs(files []string) error {
	for _, name := range files {
		if name == stdinName {
			continue
		}
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return err
		case info.IsDir():
			return fmt.Errorf("%s is a directory: expected a file with CDRs", name)
		}
	}
	return nil
}
