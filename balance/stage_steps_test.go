package balance_test

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// step does one line of a scenario. testdata/scenarios/README.md lists them.
func (s *stage) step(line string) {
	s.tb.Helper()
	words := strings.Fields(line)
	verb, args := words[0], words[1:]
	named := map[string]string{}
	args = slices.DeleteFunc(args, func(a string) bool {
		name, value, found := strings.Cut(a, "=")
		if found {
			named[name] = value
		}
		return found
	})
	if !s.move(verb, args) && !s.usage(verb, args) {
		s.order(verb, args, named)
	}
}

// move does the steps that are about the clock, the stream or what is stored.
func (s *stage) move(verb string, args []string) bool {
	s.tb.Helper()
	switch verb {
	case "at":
		t, err := time.Parse(time.RFC3339, args[0])
		if err != nil || t.Before(s.now) {
			s.tb.Fatalf("at %s: a time from %s on is expected", args[0], moment(s.now))
		}
		s.until(t)
	case "wait":
		s.until(s.now.Add(s.duration(args[0])))
	case "down": // nobody looks at timers meanwhile
		s.now = s.now.Add(s.duration(args[0]))
		for n := 1; n > 0; {
			n = s.fire()
		}
	case "account":
		s.show(args[0])
	case "settings":
		s.showSettings(args[0])
	case "ledger":
		for _, l := range s.ledger(args[0]) {
			s.say("%s %s %s %s", moment(l.At), l.Kind, money(l.Amount), l.Reference)
		}
	case "hold-wishes":
		s.hold = true
	case "apply-wishes":
		s.hold = false
		s.fulfil()
	case "repeat": // every wish and timer is appended so often
		var err error
		if s.copies, err = strconv.Atoi(args[0]); err != nil {
			s.tb.Fatal(err)
		}
	default:
		return false
	}
	return true
}

func (s *stage) duration(text string) time.Duration {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil {
			s.tb.Fatal(err)
		}
		return time.Duration(n) * 24 * time.Hour
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		s.tb.Fatal(err)
	}
	return d
}

// usage does the steps that are about calls.
func (s *stage) usage(verb string, args []string) bool {
	s.tb.Helper()
	switch verb {
	case "call":
		s.deliver(s.call(0, args[0], "USD", s.amounts(args[1:])))
	case "call-in":
		s.deliver(s.call(0, args[0], args[1], s.amounts(args[2:])))
	case "log-call": // in the log, not yet applied
		s.flying = append(s.flying, s.call(1, args[0], "USD", s.amounts(args[1:])))
	case "apply-calls":
		flying := s.flying
		s.flying = nil
		for _, b := range flying {
			s.deliver(b)
		}
	case "again":
		s.deliver(s.again())
	default:
		return false
	}
	return true
}

func (s *stage) amounts(texts []string) []rating.Micros {
	out := make([]rating.Micros, len(texts))
	for i, text := range texts {
		var err error
		if out[i], err = rating.ParseMicros(text); err != nil {
			s.tb.Fatal(err)
		}
	}
	return out
}

// commandOf says how the verbs of people and payment services stand in the log.
var commandOf = map[string]balance.CommandType{
	"put": "account.put", "close": "account.close", "top-up": "funds.top_up", "adjust": "funds.adjust", "grant": "funds.grant",
	"request": "recharge.request", "result": "recharge.result", "unanswered": "recharge.unanswered", "retry": "recharge.retry",
	"abandon": "recharge.abandon", "resume": "recharge.resume",
}

// order writes the command as JSON, as it stands in the log.
func (s *stage) order(verb string, args []string, named map[string]string) {
	s.tb.Helper()
	kind, ok := commandOf[verb]
	if !ok {
		s.tb.Fatalf("step %q is not known", verb)
	}
	account, n, numbered := strings.Cut(args[0], "/")
	args = args[1:]
	j := map[string]any{"type": kind, "account": account}
	if numbered {
		j["n"] = json.Number(n)
	}
	key := named["key"]
	if key == "" {
		key = "auto" + strconv.Itoa(s.steps)
	}
	switch verb {
	case "put":
		j["put"] = settingsJSON(named)
	case "top-up":
		amountOf(j, args)
	case "adjust", "grant":
		amountOf(j, args)
		if j["currency"] == nil && verb == "adjust" {
			j["currency"] = "USD"
		}
		j["reason"], j["operator"] = cmp.Or(named["reason"], "goodwill"), "ann"
		set(j, "expires", named["expires"])
	case "request":
		amountOf(j, args)
		j["seen"] = json.Number(named["seen"])
	case "result":
		j["status"] = args[0]
		if args[0] == "declined" {
			j["code"], j["class"] = args[1], balance.ClassOf(args[1])
		} else {
			amountOf(j, args[1:])
		}
	}
	if verb != "request" && verb != "result" && verb != "unanswered" && verb != "retry" {
		j["id"] = verb + "/" + key
	}
	b, err := json.Marshal(j)
	if err != nil {
		s.tb.Fatal(err)
	}
	c, err := balance.DecodeCommand(b)
	if err != nil {
		s.say("invalid: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	s.do(c)
}

func set(j map[string]any, name, value string) {
	if value != "" {
		j[name] = value
	}
}

// amountOf reads "12.50" or "12.50 EUR".
func amountOf(j map[string]any, args []string) {
	j["amount"] = args[0]
	if len(args) > 1 {
		j["currency"] = args[1]
	}
}

// settingsJSON writes what account.put sets; "none" removes a setting.
func settingsJSON(named map[string]string) map[string]any {
	put, auto := map[string]any{}, map[string]any{}
	for name, value := range named {
		at, to := put, any(value)
		switch name {
		case "key":
			continue
		case "low":
			name, to = "low_balance", strings.Split(value, ",")
		case "high_risk":
			name, to = "block_high_risk", value == "on"
		case "overdraft":
			name = "overdraft_limit"
		case "lot_months":
			to = json.Number(value)
		case "blocked":
			name, to = "blocked_prefixes", strings.Split(value, ",")
		case "auto":
			at, name, to = auto, "enabled", value == "on"
			if value == "none" {
				at, name = put, "auto_recharge"
			}
		case "reopen":
			to = value == "yes"
		case "trigger", "amount", "most":
			at = auto
		case "pm":
			at, name = auto, "payment_method"
		case "day", "month": // count/money, "-" for none
			count, sum, _ := strings.Cut(value, "/")
			window := map[string]any{}
			if count != "-" {
				window["count"] = json.Number(count)
			}
			if sum != "-" {
				window["amount"] = sum
			}
			caps, ok := auto["caps"].(map[string]any)
			if !ok {
				caps = map[string]any{}
				auto["caps"] = caps
			}
			at, name, to = caps, "per_"+name, window
		case "caps":
			at = auto
		}
		if value == "none" {
			to = nil
		}
		at[name] = to
	}
	if _, removed := put["auto_recharge"]; !removed && len(auto) > 0 {
		put["auto_recharge"] = auto
	}
	return put
}
