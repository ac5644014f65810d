package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const (
	progressEvery = 200 * time.Millisecond
	barWidth      = 30
)

// progress draws a bar on a terminal; elsewhere it draws nothing.
type progress struct {
	out   io.Writer // nil: nothing is drawn
	total int64     // of what is done: bytes, or records; 0: not known
	began time.Time
	last  time.Time
	drawn bool
}

func newProgress(out io.Writer, total int64, now time.Time) *progress {
	p := &progress{total: total, began: now}
	if f, ok := out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.out = out
		}
	}
	return p
}

// show draws how far things are, a few times a second.
func (p *progress) show(done int64, records int, now time.Time) {
	if p.out == nil || now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.drawn = now, true
	_, _ = fmt.Fprint(p.out, "\r\x1b[K"+p.line(done, records, now)) // a terminal that is gone stops no work
}

func (p *progress) line(done int64, records int, now time.Time) string {
	rate := float64(records) / max(now.Sub(p.began).Seconds(), 0.001)
	text := fmt.Sprintf("%s, %.0f/s", count(records, "record"), rate)
	if p.total <= 0 {
		return text
	}
	part := min(1, float64(done)/float64(p.total))
	full := int(part * barWidth)
	text = fmt.Sprintf("[%s%s] %3.0f %%  %s", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), part*100, text)
	if left := p.left(done, now); left > 0 {
		text += ", about " + left.String() + " left"
	}
	return text
}

// left is how long the rest takes at the speed so far; 0: nothing is left, or nobody
// can tell yet.
func (p *progress) left(done int64, now time.Time) time.Duration {
	took := now.Sub(p.began)
	if done <= 0 || done >= p.total || took < time.Second {
		return 0
	}
	return time.Duration(float64(took) / float64(done) * float64(p.total-done)).Round(time.Second)
}

// clear takes the bar away, so that a line can be written.
func (p *progress) clear() {
	if p.drawn {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn, p.last = false, time.Time{}
	}
}
