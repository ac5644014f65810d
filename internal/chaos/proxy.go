package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A proxy is the way of processors to one server. Left alone it passes on what
// it gets; a mood spoils that for a while. Replicas of a Redis master come this
// way too and are spared.
type proxy struct {
	to  string
	ln  net.Listener
	now func() time.Time

	mu    sync.Mutex
	mood  Kind // "": none
	until time.Time
	conns map[*link]bool
	wg    sync.WaitGroup
}

// A link is one connection through a proxy.
type link struct {
	client, server net.Conn
	replica        bool // of Redis
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.server.Close()
}

// reset ends the connection such that the client gets ECONNRESET.
func (l *link) reset() {
	if c, ok := l.client.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
	l.close()
}

func newProxy(ctx context.Context, listen, to string, now func() time.Time) (*proxy, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("proxy to %s: %w", to, err)
	}
	p := &proxy{to: to, ln: ln, now: now, conns: map[*link]bool{}}
	p.wg.Go(func() { p.accept(ctx) })
	return p, nil
}

func (p *proxy) close() {
	_ = p.ln.Close()
	p.each(func(l *link) { l.close() })
	p.wg.Wait()
}

func (p *proxy) each(do func(*link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.conns {
		do(l)
	}
}

// spoil sets a mood for a while. A reset is over at once.
func (p *proxy) spoil(mood Kind, lasts time.Duration) {
	if mood == Reset {
		p.each(func(l *link) {
			if !l.replica {
				l.reset()
			}
		})
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mood, p.until = mood, p.now().Add(lasts)
}

func (p *proxy) spoilt(l *link) (mood Kind, left time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left = p.until.Sub(p.now()); left <= 0 || l.replica {
		return "", 0
	}
	return p.mood, left
}

func (p *proxy) accept(ctx context.Context) {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return // closed
		}
		p.wg.Go(func() { p.serve(ctx, c) })
	}
}

func (p *proxy) serve(ctx context.Context, client net.Conn) {
	server, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", p.to)
	if err != nil {
		(&link{client: client, server: client}).reset() // as if nobody listened
		return
	}
	l := &link{client: client, server: server}
	p.mu.Lock()
	p.conns[l] = true
	p.mu.Unlock()
	defer func() {
		l.close()
		p.mu.Lock()
		delete(p.conns, l)
		p.mu.Unlock()
	}()
	asked := make(chan struct{}, 1)
	var wg sync.WaitGroup
	wg.Go(func() { p.pass(ctx, l, client, server, asked) })
	wg.Go(func() { p.pass(ctx, l, server, client, asked) })
	wg.Wait()
}

var errSpoilt = errors.New("the connection is lost on purpose")

// pass copies one direction until either end closes.
func (p *proxy) pass(ctx context.Context, l *link, from, to net.Conn, asked chan struct{}) {
	defer l.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if from == l.client && bytes.Contains(buf[:n], []byte("REPLCONF")) {
				p.mu.Lock()
				l.replica = true
				p.mu.Unlock()
			}
			if p.write(ctx, l, to, buf[:n], asked) != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// write passes bytes on as the mood has it.
func (p *proxy) write(ctx context.Context, l *link, to net.Conn, b []byte, asked chan struct{}) error {
	mood, left := p.spoilt(l)
	var err error
	switch {
	case mood == LostReply && to == l.server:
		select {
		case asked <- struct{}{}: // what is answered from now on is lost
		default:
		}
	case mood == LostReply:
		select {
		case <-asked:
			err = errSpoilt
		default:
		}
	case mood == Stall:
		err = sleep(ctx, left)
	case mood == Slow:
		err = sleep(ctx, 40*time.Millisecond)
	case mood == Sliced:
		b, err = slice(ctx, to, b)
	}
	if err == nil {
		_, err = io.Copy(to, bytes.NewReader(b))
	}
	return err
}

// slice writes a few bytes at a time, and returns the last of them. What is large
// goes at once: it would take longer than any timeout.
func slice(ctx context.Context, to net.Conn, b []byte) ([]byte, error) {
	const few, large = 7, 4 << 10
	for len(b) > few && len(b) < large {
		if _, err := to.Write(b[:few]); err != nil {
			return nil, err
		}
		b = b[few:]
		if err := sleep(ctx, 200*time.Microsecond); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// sleep waits, or returns why it must not.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
