package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/sandbox/redisserver"
)

// autoRecharge are the settings of the accounts that recharge by themselves.
const autoRecharge = `,"low_balance":["30","5"],"auto_recharge":{"enabled":true,"trigger":"20.00","amount":"50.00","payment_method":"pm_1"}`

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "tenant-" + strconv.Itoa(i)
	}
	return out
}

// populate creates accounts: every third recharges by itself, the rest have been
// given money; the first of those that recharge has its card declined.
func (p *plant) populate(accounts []string) {
	p.t.Helper()
	for i, a := range accounts {
		if i%3 == 0 {
			p.create(a, autoRecharge)
			continue
		}
		p.create(a, `,"low_balance":["10"]`)
		p.topUp(a, "first", "40.00")
	}
}

// During 20 kills with SIGKILL at random moments, 20,000 CDRs flow in.
func TestKilledProcessorsLoseNothingAndChargeNothingTwice(t *testing.T) {
	const calls, kills = 20_000, 20
	p := newPlant(t)
	accounts := names(30)
	first := p.processor(p.http)
	awaitReady(t, first, "http://"+p.http)
	p.populate(accounts)
	defer p.pay(rand.New(rand.NewPCG(1, 1)), accounts[0])()

	produced := make(chan struct{})
	go func() {
		defer close(produced)
		r := rand.New(rand.NewPCG(2, 2))
		const step = 50
		pace := time.NewTicker(kills * time.Second * 3 / 2 / (calls / step)) // as long as the kills last
		defer pace.Stop()
		for range calls / step {
			var batch [][]byte
			for range step {
				who := accounts[r.IntN(len(accounts))]
				if r.IntN(500) == 0 {
					who = "nobody"
				}
				batch = append(batch, p.cdr(r, who))
			}
			p.send(r, 0.05, batch...)
			<-pace.C
		}
	}()
	r := rand.New(rand.NewPCG(3, uint64(time.Now().UnixNano())))
	second := p.processor("")
	for i := range kills {
		wait := time.NewTimer(time.Duration(300+r.IntN(1500)) * time.Millisecond)
		<-wait.C
		if i%2 == 0 {
			first.kill()
			first = p.processor(p.http)
		} else {
			second.kill()
			second = p.processor("")
		}
	}
	<-produced
	// kfake never expires a member whose connection died before it was told its
	// partitions; one that joins and leaves has it counted out
	third := freeAddr(t)
	extra := p.processor(third)
	awaitReady(t, extra, "http://"+third)
	extra.stop(t)
	awaitReady(t, first, "http://"+p.http)
	p.settled()
	p.verify()
}

// Redis is stopped, its data replaced by an older copy, and started again; in the
// meantime accounts were created, topped up and called.
func TestRestoredRedisComesOutAsIfNothingHadHappened(t *testing.T) {
	server := ownRedis(t) // is stopped
	p := newPlantOn(t, []string{server.Addr()}, 0)
	r := rand.New(rand.NewPCG(4, 4))
	accounts := names(12)
	proc := p.processor(p.http)
	awaitReady(t, proc, "http://"+p.http)
	p.populate(accounts[:8])
	defer p.pay(rand.New(rand.NewPCG(5, 5)), accounts[0])()
	burst := func(to []string, n int) {
		var cdrs [][]byte
		for range n {
			cdrs = append(cdrs, p.cdr(r, to[r.IntN(len(to))]))
		}
		p.send(r, 0.05, cdrs...)
	}
	burst(accounts[:8], 400)
	p.settled()
	server.Stop()
	older := filepath.Join(t.TempDir(), "older")
	if err := os.CopyFS(older, os.DirFS(server.Dir())); err != nil {
		t.Fatal(err)
	}
	server = restart(t, server, server.Dir())
	p.populate(accounts[8:])
	for _, a := range accounts[:8] {
		p.topUp(a, "second", "7.00")
	}
	burst(accounts, 800)
	p.settled()
	before := judgeOut(p)

	server.Stop()
	restart(t, server, older)
	burst(accounts, 100) // and the stream goes on
	p.settled()
	p.verify()
	after := judgeOut(p)
	for id := range after.requests {
		if n, _ := strconv.Atoi(id[bytes.IndexByte([]byte(id), '/')+1:]); !before.requests[id] && n <= before.last[id[:len(id)-len(strconv.Itoa(n))-1]] {
			t.Errorf("recharge %s was requested only after the restore", id)
		}
	}
	for at := range before.dead {
		delete(after.dead, at)
	}
	for at, reason := range after.dead {
		if reason == "unknown_account" {
			t.Errorf("%v is parked as %s only after the restore", at, reason)
		}
	}
}

// ownRedis starts a redis-server for the test alone.
func ownRedis(t *testing.T) *redisserver.Server {
	t.Helper()
	return startRedis(t, redisserver.Options{Dir: filepath.Join(t.TempDir(), "redis")})
}

// restart starts a server that has ended again at its address, on a directory.
func restart(t *testing.T, s *redisserver.Server, dir string, args ...string) *redisserver.Server {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return startRedis(t, redisserver.Options{Dir: dir, Port: n}, args...)
}

func startRedis(t *testing.T, opt redisserver.Options, args ...string) *redisserver.Server {
	t.Helper()
	opt.Args = append([]string{"--appendfsync", "always"}, args...)
	s, err := redisserver.Start(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// out is what has left so far.
type out struct {
	requests map[string]bool
	last     map[string]int // highest number of an account
	dead     map[place]string
}

func judgeOut(p *plant) *out {
	o := &out{requests: map[string]bool{}, last: map[string]int{}, dead: map[place]string{}}
	for _, rec := range p.read("recharge-requests") {
		for _, h := range rec.Headers {
			if h.Key == "ce_id" {
				o.requests[string(h.Value)] = true
				i := bytes.IndexByte(h.Value, '/')
				n, _ := strconv.Atoi(string(h.Value[i+1:]))
				o.last[string(h.Value[:i])] = max(o.last[string(h.Value[:i])], n)
			}
		}
	}
	for _, rec := range p.read("cdrs.dlq") {
		var at place
		var reason string
		for _, h := range rec.Headers {
			switch h.Key {
			case "cs-partition":
				at.partition, _ = strconv.Atoi(string(h.Value))
			case "cs-offset":
				at.offset, _ = strconv.ParseInt(string(h.Value), 10, 64)
			case "cs-reason":
				reason = string(h.Value)
			}
		}
		o.dead[at] = reason
	}
	return o
}

// The connection to Redis drops the answer of every 50th script call.
func TestLostRepliesChargeNothingTwice(t *testing.T) {
	// A cluster tells its clients addresses that do not lead through the proxy.
	proxy := newForgetful(t, ownRedis(t).Addr(), 50)
	p := newPlantOn(t, []string{proxy.addr}, 0)
	accounts := names(12)
	proc := p.processor(p.http)
	awaitReady(t, proc, "http://"+p.http)
	p.populate(accounts)
	defer p.pay(rand.New(rand.NewPCG(6, 6)), accounts[0])()
	r := rand.New(rand.NewPCG(7, 7))
	for range 20 {
		var cdrs [][]byte
		for range 250 {
			cdrs = append(cdrs, p.cdr(r, accounts[r.IntN(len(accounts))]))
		}
		p.send(r, 0.05, cdrs...)
	}
	p.settled()
	p.verify()
	if n := proxy.dropped.Load(); n < 5 {
		t.Errorf("only %d replies were dropped: the test has tested nothing", n)
	}
}

// forgetful is a way to Redis that loses the answer of every nth script call,
// together with the connection.
type forgetful struct {
	addr    string
	every   int64
	scripts atomic.Int64
	dropped atomic.Int64
}

func newForgetful(t *testing.T, to string, every int64) *forgetful {
	t.Helper()
	f := &forgetful{every: every}
	f.addr = serveEach(t, func(c net.Conn) { f.pipe(c, to) })
	return f
}

// serveEach has every connection to the address that it returns served.
func serveEach(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

func (f *forgetful) pipe(client net.Conn, to string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var lose atomic.Bool
	go func() {
		defer func() { _ = server.Close() }()
		buf := make([]byte, 1<<20)
		for {
			n, err := client.Read(buf)
			if n > 0 {
				scripts := int64(bytes.Count(bytes.ToLower(buf[:n]), []byte("evalsha")))
				if after := f.scripts.Add(scripts); scripts > 0 && after/f.every != (after-scripts)/f.every {
					lose.Store(true) // before the server can answer
				}
				if _, err := server.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 1<<20)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		if lose.Load() {
			f.dropped.Add(1)
			return
		}
		if _, err := io.Copy(client, bytes.NewReader(buf[:n])); err != nil {
			return
		}
	}
}
