package chaos_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/chaos"
)

// echo is a server that answers with what it gets, and counts it.
func echo(t *testing.T) (addr string, got *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	got = new(atomic.Int64)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				buf := make([]byte, 1<<10)
				for {
					n, err := c.Read(buf)
					if err != nil {
						_ = c.Close()
						return
					}
					got.Add(int64(n))
					_, _ = c.Write(buf[:n])
				}
			}()
		}
	}()
	return ln.Addr().String(), got
}

type through struct {
	*chaos.Proxy
	net.Conn

	got *atomic.Int64
}

// connect opens a connection through a new proxy, over which one word has gone.
func connect(t *testing.T) through {
	t.Helper()
	addr, got := echo(t)
	p, err := chaos.NewProxy(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	x := through{p, c, got}
	if err := x.say("hello, "); err != nil {
		t.Fatal(err)
	}
	return x
}

// say writes a word and reads it back within 5 s.
func (x *through) say(word string) error {
	_ = x.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := x.Write([]byte(word)); err != nil {
		return err
	}
	back := make([]byte, len(word))
	if _, err := io.ReadFull(x, back); err != nil {
		return err
	}
	if !bytes.Equal(back, []byte(word)) {
		return errors.New("another word came back")
	}
	return nil
}

// Close ends the connection.
func (x *through) Close() error { return x.Conn.Close() }

func TestProxyLosesReplies(t *testing.T) {
	t.Parallel()
	x := connect(t)
	x.Spoil(chaos.LostReply, time.Minute)
	if err := x.say("world"); !errors.Is(err, io.EOF) {
		t.Errorf("the answer came, or worse: %v", err)
	}
	if n := x.got.Load(); n != 12 {
		t.Errorf("%d bytes of 12 arrived: the request must", n)
	}
}

func TestProxyResets(t *testing.T) {
	t.Parallel()
	x := connect(t)
	x.Spoil(chaos.Reset, time.Minute)
	if err := x.say("world"); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("no reset: %v", err)
	}
}

func TestProxyStallsWithoutClosing(t *testing.T) {
	t.Parallel()
	x := connect(t)
	x.Spoil(chaos.Stall, 300*time.Millisecond)
	began := time.Now()
	if err := x.say("world"); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("took %s", took)
	}
	x.Spoil(chaos.Stall, time.Minute)
	_ = x.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := x.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := x.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection does not just stall: %v", err)
	}
}

func TestProxySlicesAndDelays(t *testing.T) {
	t.Parallel()
	x := connect(t)
	for _, mood := range []chaos.Kind{chaos.Sliced, chaos.Slow} {
		x.Spoil(mood, time.Minute)
		if err := x.say("a word that is longer than one slice of it"); err != nil {
			t.Errorf("%s: %v", mood, err)
		}
	}
}

// A Redis replica is left alone.
func TestProxySparesReplicas(t *testing.T) {
	t.Parallel()
	x := connect(t)
	if err := x.say("REPLCONF"); err != nil {
		t.Fatal(err)
	}
	x.Spoil(chaos.LostReply, time.Minute)
	x.Spoil(chaos.Reset, time.Minute)
	if err := x.say("world"); err != nil {
		t.Error(err)
	}
}
