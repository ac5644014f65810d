package balance_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
)

// loss says what a wire loses.
type loss string

const (
	replies  loss = "replies"  // the script runs, nobody learns of it
	requests loss = "requests" // the script does not run
)

// wire is a way to Redis that loses one call of a script each time it is armed.
type wire struct {
	loss  loss
	armed atomic.Bool
	lost  int // how many
}

func (w *wire) String() string {
	if w == nil {
		return "nothing"
	}
	return string(w.loss)
}

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return &lossyConn{Conn: c, wire: w}, err
}

type lossyConn struct {
	net.Conn

	wire *wire
	deaf bool
}

func (c *lossyConn) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("evalsha")) && c.wire.armed.Swap(false) {
		c.wire.lost++
		if c.wire.loss == requests {
			_ = c.Close()
			return 0, io.ErrClosedPipe
		}
		c.deaf = true
	}
	return c.Conn.Write(b)
}

// Read waits for the server's answer, so that the script has run, and drops it.
func (c *lossyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.deaf {
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}
