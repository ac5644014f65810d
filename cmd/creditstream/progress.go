package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	unknownSize   = -1
	progressWidth = 40     // characters of a full bar
	progressEvery = 10_000 // records, where the size is unknown
)

// A progress shows on a terminal how much of the input was read. A nil one shows
// nothing.
type progress struct {
	w       io.Writer
	size    int64 // bytes, or unknownSize
	read    int64
	records int
	percent int64 // that is shown
}

// newProgress returns nil if w is no terminal.
func newProgress(w io.Writer, size int64) *progress {
	file, ok := w.(*os.File)
	if !ok {
		return nil
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return &progress{w: w, size: size, percent: -1}
}

// reader counts what is read from in.
func (p *progress) reader(in io.Reader) io.Reader {
	if p == nil {
		return in
	}
	return io.TeeReader(in, p)
}

// Write counts b as read.
func (p *progress) Write(b []byte) (int, error) {
	p.read += int64(len(b))
	return len(b), nil
}

// record counts a record and draws the bar anew if it has changed. The file may
// grow while it is read.
func (p *progress) record() {
	if p == nil {
		return
	}
	p.records++
	if p.size == unknownSize {
		if p.records%progressEvery == 0 {
			p.draw(fmt.Sprintf("%d CDRs", p.records))
		}
		return
	}
	percent := min(p.read, p.size) * 100 / max(p.size, 1)
	if percent == p.percent {
		return
	}
	p.percent = percent
	full := int(percent) * progressWidth / 100
	p.draw(fmt.Sprintf("[%s%s] %3d%%  %d CDRs", strings.Repeat("=", full), strings.Repeat(" ", progressWidth-full), percent, p.records))
}

// draw writes over the line that is there. That it cannot is no reason to stop.
func (p *progress) draw(text string) { _, _ = fmt.Fprintf(p.w, "\r%s\x1b[K", text) }

// end takes the bar away.
func (p *progress) end() {
	if p != nil {
		p.draw("")
	}
}
