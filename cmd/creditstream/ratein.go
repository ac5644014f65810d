package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

// stdinName is the file name that means stdin.
const stdinName = "-"

// A format is a way to write CDRs into a file.
type format struct {
	records func(io.Reader) nextRecord
	decode  func(record []byte, c *rating.CDR) error
}

// A nextRecord returns the next record of an input, good until the next call, and
// the line that it begins in, from 1. The error is io.EOF at the end, a *cdr.Fault
// for a record that cannot be handed out, after which the next one can, and else
// one of the input.
type nextRecord func() (record []byte, line int, err error)

func formats() map[string]format {
	return map[string]format{"canonical": {lines, cdr.Canonical}}
}

// lines takes each line that is not blank for a record. It keeps no more of a line
// in memory than a record may have.
func lines(in io.Reader) nextRecord {
	const lineEnd = len("\r\n")
	buffered := bufio.NewReaderSize(in, cdr.MaxRecordBytes+lineEnd)
	number := 0
	return func() ([]byte, int, error) {
		for {
			number++
			line, err := buffered.ReadSlice('\n')
			if errors.Is(err, bufio.ErrBufferFull) {
				return nil, number, skipLine(buffered)
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, number, err
			}
			if line = bytes.TrimSpace(line); len(line) > 0 {
				return line, number, nil // an end is there next time too
			}
			if err != nil {
				return nil, number, err
			}
		}
	}
}

// skipLine reads up to the end of a line that is too long.
func skipLine(in *bufio.Reader) error {
	for {
		_, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil && !errors.Is(err, io.EOF):
			return err
		default:
			return &cdr.Fault{
				Reason: rating.NotJSON, At: -1,
				Message: "the line is too long; expected at most " + strconv.Itoa(cdr.MaxRecordBytes) + " bytes",
			}
		}
	}
}

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
