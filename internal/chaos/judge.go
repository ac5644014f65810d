package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/oracle"
)

// A Check names what is compared.
type Check string

// The checks. All of them must find nothing.
const (
	CheckBalance  Check = "balance"  // Redis holds of each account what the oracle makes of the logs
	CheckIdentity Check = "identity" // funded = spent + forfeited + held - overdraft
	CheckRated    Check = "rated"    // every CDR that is not parked is rated, as it should be, and charged once
	CheckParked   Check = "parked"   // every CDR that should be is parked, and no other
	CheckEvents   Check = "events"   // every event that should be there is, and none without a cause
	CheckPayments Check = "payments" // no payment is requested twice or without need
	CheckCommits  Check = "commits"  // no offset is committed beyond a mark
	CheckLag      Check = "lag"      // all is applied and committed within the limit
	CheckProcess  Check = "process"  // no processor ends by itself, or does not end when told
	CheckAPI      Check = "api"      // no account that exists is said not to
	CheckVerify   Check = "verify"   // `creditstream verify`, if there is one, finds nothing either
)

// Checks returns every check, in the order of reports.
func Checks() []Check {
	return []Check{
		CheckBalance, CheckIdentity, CheckRated, CheckParked, CheckEvents, CheckPayments, CheckCommits, CheckLag, CheckProcess, CheckAPI, CheckVerify,
	}
}

// A Finding is a violation.
type Finding struct {
	Check Check
	Text  string
}

func (f Finding) String() string { return string(f.Check) + ": " + f.Text }

// A Tally counts what was judged.
type Tally struct {
	CDRs, Charged, Free, Duplicates, Parked int
	RatedAgain, LettersAgain                int // records beyond one for each CDR
	Retold                                  int // CDRs whose outcome differs between timelines
	Commands, Accounts                      int
	Events, EventsAgain, EventsAbandoned    int
	LevelsAbandoned                         int // accounts whose newest word on a level belongs to one
	Requests, RequestsAgain                 int
}

// place is a record of cdrs.
type place struct {
	partition int
	offset    int64
}

func (p place) String() string { return fmt.Sprintf("cdrs/%d/%d", p.partition, p.offset) }

// judge compares what came out with what the logs say.
type judge struct {
	logs     *Logs
	findings []Finding
	tally    Tally

	accounts map[string]*subject
	calls    map[place]*verdict
	times    map[string]bool // of commands and CDRs: "topic account millis"
}

// A subject is an account as it must be.
type subject struct {
	*oracle.Account

	charged  *big.Int // by its calls
	calls    []*charge
	expected map[string]bool // events of commands, see eventKey
	asked    map[int64]*asked
	trigger  *big.Int
}

// asked is one payment request as it must be.
type asked struct {
	text     string // amount, currency, method
	at       int64  // append time of the command
	answered int64  // append time of the first result; 0: none
	// least is the balance without any call
	least, trigger *big.Int
}

// charge is what a call takes, and when the first copy of it was appended.
type charge struct{ at, amount int64 }

// verdict is what must become of a CDR.
type verdict struct {
	*Record

	call
	charge int64
	reason string // to park it
	told   string // the last outcome that was told
}

// Judge compares logs and balances with the oracle: the commands and CDRs of the
// logs alone say what must have come out.
func Judge(l *Logs) (Tally, []Finding) {
	j := &judge{logs: l, accounts: map[string]*subject{}, calls: map[place]*verdict{}, times: map[string]bool{}}
	j.commands()
	j.cdrs()
	j.balances()
	j.rated()
	j.acknowledged()
	j.letters()
	j.events()
	j.payments()
	return j.tally, j.findings
}

func (j *judge) find(c Check, format string, a ...any) {
	j.findings = append(j.findings, Finding{c, fmt.Sprintf(format, a...)})
}

func (j *judge) subject(id string) *subject {
	s := j.accounts[id]
	if s == nil {
		s = &subject{Account: oracle.New(id), charged: new(big.Int), expected: map[string]bool{}, asked: map[int64]*asked{}}
		j.accounts[id] = s
	}
	return s
}

// commands has the oracle apply every command, in the order of the log.
func (j *judge) commands() {
	for i := range j.logs.Commands {
		rec := &j.logs.Commands[i]
		c := new(balance.Command)
		if err := json.Unmarshal(rec.Value, c); err != nil {
			j.find(CheckParked, "credit-commands/%d/%d is no command: %s", rec.Partition, rec.Offset, err)
			continue
		}
		j.tally.Commands++
		if c.Account == "" {
			continue // a tick
		}
		s := j.subject(c.Account)
		_, again := s.Known[c.ID]
		if c.Type == balance.Result && s.asked[c.N] != nil && s.asked[c.N].answered == 0 {
			s.asked[c.N].answered = rec.AppendMillis
		}
		s.Command(c, rec.AppendMillis)
		if !again && s.Refused == "" && c.Put != nil && c.Put.AutoRecharge != nil && c.Put.AutoRecharge.Value.Trigger != nil {
			s.trigger = big.NewInt(int64(*c.Put.AutoRecharge.Value.Trigger))
		}
		j.times[cause(topicCommands, c.Account, rec.AppendMillis)] = true
		s.take(rec.AppendMillis)
	}
	for id, s := range j.accounts {
		if !s.Exists {
			delete(j.accounts, id) // no settings were accepted
		}
	}
	j.tally.Accounts = len(j.accounts)
}

// take empties what the oracle said.
func (s *subject) take(at int64) {
	for _, line := range s.Out {
		switch f := strings.Fields(line); {
		case f[0] == "event" && !strings.HasPrefix(f[2], "balance."):
			s.expected[expectedKey(s.ID, f, at)] = true
		case f[0] == "payment":
			s.asked[s.N] = &asked{at: at, text: strings.Join(f[2:], " "), least: s.Balance(), trigger: s.trigger}
		}
	}
	s.Out = nil
}

// cdrs says what must become of every CDR.
func (j *judge) cdrs() {
	counted := map[string]*charge{}
	for i := range j.logs.CDRs {
		rec := &j.logs.CDRs[i]
		v := &verdict{Record: rec}
		v.call, v.charge, v.reason = readCall(rec.Value, rec.AppendMillis)
		j.calls[place{rec.Partition, rec.Offset}] = v
		j.tally.CDRs++
		s := j.accounts[v.Account]
		if v.reason == "" && v.Kind != "internal" && (s == nil || s.Created > rec.AppendMillis+slack) {
			v.reason = "unknown_account"
		}
		if v.reason != "" || v.Kind == "internal" || !v.claims() {
			continue
		}
		j.times[cause(topicCDRs, v.Account, rec.AppendMillis)] = true
		if c := counted[v.name()]; c != nil {
			c.at = min(c.at, rec.AppendMillis)
			continue
		}
		c := &charge{rec.AppendMillis, v.charge}
		counted[v.name()] = c
		s.calls = append(s.calls, c)
		s.charged.Add(s.charged, big.NewInt(v.charge))
	}
	for _, s := range j.accounts {
		if s.charged.Sign() > 0 {
			s.Call(s.charged.Int64())
		}
		s.Out = nil
	}
}

// balances compares Redis with the oracle.
func (j *judge) balances() {
	for _, id := range slices.Sorted(maps.Keys(j.accounts)) {
		s := j.accounts[id]
		stored, found := j.logs.Accounts[id]
		if !found {
			j.find(CheckBalance, "%s is not in Redis", id)
			continue
		}
		got, held, err := stored.holds()
		if err != nil {
			j.find(CheckBalance, "%s: %s", id, err)
			continue
		}
		if want := s.Holds(); !slices.Equal(got, want) {
			j.find(CheckBalance, "%s: %s", id, difference(got, want))
		}
		bal := stored.balance()
		over := new(big.Int)
		if bal.Sign() < 0 {
			over.Neg(bal)
		}
		if sum := new(big.Int).Sub(held, over); sum.Cmp(bal) != 0 {
			j.find(CheckIdentity, "%s: funded - spent - forfeited is %s, held - overdraft is %s", id, decimal(bal), decimal(sum))
		}
	}
	for id := range j.logs.Accounts {
		if j.accounts[id] == nil {
			j.find(CheckBalance, "%s is in Redis, and no command made it", id)
		}
	}
}

// difference names what one of two lists has and the other has not.
func difference(got, want []string) string {
	var b strings.Builder
	for _, l := range got {
		if !slices.Contains(want, l) {
			fmt.Fprintf(&b, "Redis has %q; ", l)
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			fmt.Fprintf(&b, "the logs make %q; ", l)
		}
	}
	if b.Len() == 0 {
		return "the same in another order"
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// number is a field of the account's hash; what is missing is zero.
func (s *Stored) number(field string) *big.Int {
	n, ok := new(big.Int).SetString(s.Hash[field], 10)
	if !ok {
		return new(big.Int)
	}
	return n
}

func (s *Stored) balance() *big.Int {
	b := s.number("funded")
	return b.Sub(b, s.number("spent")).Sub(b, s.number("forfeited"))
}

// holds says what is stored in the oracle's words, and what the lots hold: of lots
// in the order of their expiry, with A(i) the sum of all up to i, i holds
// clamp(A(i) - spent - forfeited, 0, amount).
func (s *Stored) holds() (lines []string, held *big.Int, err error) {
	h := s.Hash
	state := h["state"]
	if state == "" {
		state = "idle"
	}
	lines = []string{state, s.number("n").String(), fmt.Sprintf("%s %s %s %s %t",
		s.number("funded"), s.number("spent"), s.number("forfeited"), s.number("adjusted"), h["closed"] == "1")}
	rest := s.number("spent")
	rest.Add(rest, s.number("forfeited")).Sub(rest, s.number("gone")) // still to be paid by the lots that stand
	held = new(big.Int)
	for _, l := range s.Lots {
		f := strings.Split(l.Member, ":")
		if len(f) != 3 {
			return nil, nil, fmt.Errorf("lot %q", l.Member)
		}
		amount, ok := new(big.Int).SetString(f[1], 10)
		if !ok {
			return nil, nil, fmt.Errorf("lot %q", l.Member)
		}
		rest.Sub(rest, amount) // A(i) is -rest
		left := new(big.Int).Neg(rest)
		if left.Sign() < 0 {
			left.SetInt64(0)
		} else if left.Cmp(amount) > 0 {
			left.Set(amount)
		}
		held.Add(held, left)
		lines = append(lines, fmt.Sprintf("lot %s %d %s", l.Member, l.Expires, left))
	}
	for _, e := range slices.Backward(s.Ledger) {
		if f := strings.Fields(e); len(f) == 5 && f[1] == "expiry" && f[2] != "0" {
			f[2] = "-" + f[2] // it is stored without its sign
			e = strings.Join(f, " ")
		}
		lines = append(lines, e)
	}
	return lines, held, nil
}

// moneyOf reads a decimal string as the product writes it.
func moneyOf(text string) (*big.Int, error) {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, fmt.Errorf("%q is no amount", text)
	}
	r.Mul(r, big.NewRat(1_000_000, 1))
	if !r.IsInt() {
		return nil, fmt.Errorf("%q is finer than a micro", text)
	}
	return new(big.Int).Set(r.Num()), nil
}
