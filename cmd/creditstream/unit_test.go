package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The systemd unit starts what there is, with time enough to end: the API outlives the
// stream, which has 10 seconds, by streamGrace.
func TestUnit(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/systemd/creditstream.service")
	if err != nil {
		t.Fatal(err)
	}
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindSubmatch(text)
	if stop == nil {
		t.Fatal("no TimeoutStopSec")
	}
	if n, err := strconv.Atoi(string(stop[1])); err != nil || n < 10+int(streamGrace.Seconds())+5 {
		t.Errorf("TimeoutStopSec is %s", stop[1])
	}
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/creditstream (.*)$`).FindSubmatch(text)
	if start == nil {
		t.Fatal("no ExecStart")
	}
	var out output
	args := append(strings.Fields(string(start[1])), "--help")
	if err := run(t.Context(), args, &out, &out); err != nil || !strings.Contains(out.String(), "--config file") {
		t.Errorf("%v: %v\n%s", args, err, out.String())
	}
}
