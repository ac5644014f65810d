package httpapi_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/httpapi"
	"github.com/creditstream/creditstream/internal/sandbox/redisserver"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
	"github.com/creditstream/creditstream/rating"
)

// A purse is a real store, to which a test applies commands itself.
type purse struct {
	*testing.T
	*balance.Store
	mark balance.Mark
	next int64
}

func newPurse(t *testing.T) *purse {
	t.Helper()
	rdb := balance.Client(testserver.NewRedis(t).Options())
	t.Cleanup(func() { _ = rdb.Close() })
	return purseOf(t)(balance.Open(t.Context(), rdb, purseOptions()))
}

// A lonePurse has a redis-server of its own, which may be killed.
type lonePurse struct {
	*purse
	server *redisserver.Server
	silent func()        // from now on the server answers nobody
	reads  func() string // how often it has been asked, by command
}

func newLonePurse(t *testing.T) *lonePurse {
	t.Helper()
	server, err := redisserver.Start(t.Context(), redisserver.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
	rdb := balance.Client(server.ClientOptions())
	t.Cleanup(func() { _ = rdb.Close() })
	p := &lonePurse{purse: purseOf(t)(balance.Open(t.Context(), rdb, purseOptions())), server: server}
	p.silent = func() {
		if err := rdb.Do(t.Context(), "CLIENT", "PAUSE", 60_000, "ALL").Err(); err != nil {
			t.Fatal(err)
		}
	}
	p.reads = func() string {
		info, err := rdb.Info(t.Context(), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	return p
}

func purseOptions() balance.Options {
	return balance.Options{
		Shards: 1, CommandPartitions: 1, CDRTopic: "cdrs", CommandTopic: "credit-commands",
		Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return quotedAt },
	}
}

// purseOf takes what Open returns.
func purseOf(t *testing.T) func(store *balance.Store, err error) *purse {
	t.Helper()
	return func(store *balance.Store, err error) *purse {
		if err != nil {
			t.Fatal(err)
		}
		return &purse{T: t, Store: store, mark: balance.Mark{Name: "-", Last: balance.Last{Offset: -1}}}
	}
}

// do applies a command that has to be accepted.
func (p *purse) do(c *balance.Command) {
	p.Helper()
	at := quotedAt.UnixMilli() + p.next
	b := &balance.CommandBatch{
		Position: balance.Position{
			Source: balance.Source{Topic: "credit-commands"}, Expect: p.mark, Next: p.next + 1,
			Last: balance.Last{Offset: p.next, Digest: "d", AppendMillis: at},
		},
		Orders: []balance.Order{{Offset: p.next, AppendMillis: at, Command: c}},
	}
	r := p.ApplyCommands(p.Context(), []*balance.CommandBatch{b})[0]
	if r.Status != balance.Applied {
		p.Fatalf("%+v: status %d, %v", c, r.Status, r.Err)
	}
	p.mark, p.next = r.Mark, p.next+1
	if c.ID != "" {
		if result, found, err := p.CommandResult(p.Context(), c.Account, c.ID); err != nil || !found || result.Refused != "" {
			p.Fatalf("%+v: found %v, refused %q, %v", c, found, result.Refused, err)
		}
	}
}

// open creates an account of some balance, which may be negative.
func (p *purse) open(account, currency, amount string, settings balance.Settings) {
	p.Helper()
	settings.Currency = currency
	p.do(&balance.Command{Type: balance.PutAccount, Account: account, ID: "put", Put: &settings})
	m := micros(p.T, amount)
	if *m != 0 {
		p.do(&balance.Command{
			Type: balance.Adjust, Account: account, ID: "adjust", Amount: m, Currency: currency, Reason: "test", Operator: "test",
		})
	}
}

func (p *purse) close(account string) {
	p.Helper()
	p.do(&balance.Command{Type: balance.CloseAccount, Account: account, ID: "close"})
}

// switchboard is a client of an API that authorizes calls from a real store.
func switchboard(t *testing.T, p *purse, options ...func(*httpapi.Options)) *client {
	t.Helper()
	own := func(o *httpapi.Options) { o.Authorize.Standings = p }
	return start(t, newWorld(), append([]func(*httpapi.Options){own}, options...)...)
}

// away is a store that has not been opened yet.
type away struct{ err error }

func (a away) Standing(context.Context, string) (*balance.Standing, error) { return nil, a.err }

func overdraft(m rating.Micros) *balance.Nullable[rating.Micros] {
	return &balance.Nullable[rating.Micros]{Value: m}
}
