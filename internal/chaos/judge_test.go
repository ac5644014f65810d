package chaos_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/chaos"
)

// An honest world, written by hand: what two accounts were told, what was made of
// it, and what Redis holds in the end.

const t0 = int64(1_795_600_000_000)

func at(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

func command(offset, ms int64, value string) chaos.Record {
	return chaos.Record{Partition: 0, Offset: offset, AppendMillis: ms, Value: []byte(value)}
}

func cdr(offset int64, value string) chaos.Record {
	return chaos.Record{Partition: 1, Offset: offset, AppendMillis: t0 + 10_000 + offset, Value: []byte(value)}
}

func telephone(id, account, callee string, seconds int) string {
	return fmt.Sprintf(`{"id":%q,"source":"s","account":%q,"kind":"user_out","callee":%q,"answered_at":%q,"duration_ms":%d}`,
		id, account, callee, at(t0+5000), seconds*1000)
}

func rated(offset int64, id, account, outcome, charge string) chaos.Record {
	return chaos.Record{Key: []byte(account), AppendMillis: t0 + 11_000 + offset, Value: fmt.Appendf(nil,
		`{"id":%q,"source":"s","account":%q,"charge":%q,"outcome":%q,"topic":"cdrs","partition":1,"offset":%d}`, id, account, charge, outcome, offset)}
}

func letter(offset int64, reason string, value []byte) chaos.Record {
	return chaos.Record{Value: value, Headers: map[string]string{
		"cs-topic": "cdrs", "cs-partition": "1", "cs-offset": strconv.FormatInt(offset, 10), "cs-reason": reason,
	}}
}

func alert(topic, kind, account string, sequence int, ms int64, balance, more string) chaos.Record {
	return chaos.Record{
		Key: []byte(account), AppendMillis: ms + 100,
		Headers: map[string]string{
			"ce_id": fmt.Sprintf("%s/%s/%d-x", account, kind, sequence), "ce_source": "/creditstream/" + topic,
			"ce_type": "creditstream." + kind + ".v1", "ce_subject": account, "ce_time": at(ms),
		},
		Value: fmt.Appendf(nil, `{"account":%q,"sequence":%d,"balance":%q,"currency":"USD"%s}`, account, sequence, balance, more),
	}
}

func payment(ms int64, n int, amount string) chaos.Record {
	id := "globex/" + strconv.Itoa(n)
	return chaos.Record{AppendMillis: ms, Key: []byte("globex"), Headers: map[string]string{"ce_id": id}, Value: fmt.Appendf(nil,
		`{"recharge_id":%q,"account":"globex","n":%d,"amount":%q,"currency":"USD","payment_method":"pm"}`, id, n, amount)}
}

// acme buys 40.00 and calls for 0.20, twice told; globex calls for 0.30 and buys
// 50.00 by itself.
func honest() *chaos.Logs {
	bought, paid := t0+1000, t0+30_000
	year := func(ms int64) int64 { return time.UnixMilli(ms).UTC().AddDate(1, 0, 0).UnixMilli() }
	broken := []byte(`{"id":"c9", broken`)
	return &chaos.Logs{
		Commands: []chaos.Record{
			command(0, t0, `{"type":"account.put","account":"acme","id":"put/1","put":{"currency":"USD"}}`),
			command(1, t0, `{"type":"account.put","account":"globex","id":"put/1","put":{"currency":"USD",`+
				`"auto_recharge":{"enabled":true,"trigger":"-0.250000","amount":"50.000000","payment_method":"pm"}}}`),
			command(2, bought, `{"type":"funds.top_up","account":"acme","id":"top-up/first","amount":"40.000000"}`),
			command(3, t0+20_000, `{"type":"recharge.request","account":"globex","n":1,"amount":"50.000000","currency":"USD","seen":1}`),
			command(4, paid, `{"type":"recharge.result","account":"globex","n":1,"status":"succeeded","amount":"50.000000","currency":"USD"}`),
		},
		CDRs: []chaos.Record{
			cdr(0, telephone("c0", "acme", "+331", 61)), cdr(1, telephone("c0", "acme", "+331", 61)), cdr(2, telephone("c2", "globex", "+331", 180)),
			cdr(3, string(broken)), cdr(4, telephone("c4", "nobody", "+331", 10)), cdr(5, telephone("c5", "acme", "+999", 10)),
			cdr(6, telephone("c6", "acme", "+331", 0)),
		},
		Rated: []chaos.Record{
			rated(0, "c0", "acme", "charged", "0.200000"), rated(1, "c0", "acme", "duplicate", "0.200000"),
			rated(2, "c2", "globex", "charged", "0.300000"), rated(6, "c6", "acme", "free", "0.000000"),
		},
		Letters: []chaos.Record{
			letter(3, "not_json", broken), letter(4, "unknown_account", []byte(telephone("c4", "nobody", "+331", 10))),
			letter(5, "no_rate", []byte(telephone("c5", "acme", "+999", 10))),
		},
		Alerts: []chaos.Record{
			alert("credit-commands", "funds.added", "acme", 1, bought, "40.000000",
				`,"amount":"40.000000","expires_at":"`+at(year(bought))+`","kind":"top_up","reference":"first"`),
			alert("cdrs", "balance.depleted", "globex", 1, t0+10_002, "-0.300000", `,"blocked_kinds":["user_out"]`),
			alert("credit-commands", "recharge.requested", "globex", 2, t0+20_000, "-0.300000",
				`,"recharge_id":"globex/1","amount":"50.000000","requests_today":1`),
			alert("credit-commands", "recharge.succeeded", "globex", 3, paid, "49.700000",
				`,"recharge_id":"globex/1","amount":"50.000000","expires_at":"`+at(year(paid))+`"`),
			alert("credit-commands", "balance.restored", "globex", 4, paid, "49.700000", ""),
		},
		Requests: []chaos.Record{payment(t0+20_100, 1, "50.000000")},
		Accounts: map[string]chaos.Stored{
			"acme": {
				Hash:   map[string]string{"funded": "40000000", "spent": "200000", "forfeited": "0"},
				Lots:   []chaos.StoredLot{{Member: "t55b1987fbc16:40000000:" + strconv.FormatInt(bought, 10), Expires: year(bought)}},
				Ledger: []string{"1 top_up 40000000 " + strconv.FormatInt(bought, 10) + " first"},
			},
			"globex": {
				Hash:   map[string]string{"funded": "50000000", "spent": "300000", "forfeited": "0", "n": "1", "state": "idle"},
				Lots:   []chaos.StoredLot{{Member: "r1:50000000:" + strconv.FormatInt(paid, 10), Expires: year(paid)}},
				Ledger: []string{"1 recharge 50000000 " + strconv.FormatInt(paid, 10) + " globex/1"},
			},
		},
	}
}

func TestJudgeFindsNothingInAnHonestWorld(t *testing.T) {
	t.Parallel()
	tally, findings := chaos.Judge(honest())
	for _, f := range findings {
		t.Error(f)
	}
	if tally.CDRs != 7 || tally.Charged != 2 || tally.Free != 1 || tally.Duplicates != 1 || tally.Parked != 3 || tally.Events != 5 || tally.Requests != 1 {
		t.Errorf("counted %+v", tally)
	}
}

// drop takes out item i.
func drop(list *[]chaos.Record, i int) { *list = append((*list)[:i:i], (*list)[i+1:]...) }

// replace changes a text within the value of a record.
func replace(r *chaos.Record, old, text string) {
	r.Value = []byte(strings.Replace(string(r.Value), old, text, 1))
}

// Each lie alone is objected to, by the check that is there for it.
func TestJudgeObjects(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lie   func(l *chaos.Logs)
		check chaos.Check
		text  string
	}{
		"a lost debit":       {func(l *chaos.Logs) { l.Accounts["acme"].Hash["spent"] = "0" }, chaos.CheckBalance, `the logs make "40000000 200000 0 0 false"`},
		"a doubled debit":    {func(l *chaos.Logs) { l.Accounts["acme"].Hash["spent"] = "400000" }, chaos.CheckBalance, `Redis has "40000000 400000 0 0 false"`},
		"a micro too much":   {func(l *chaos.Logs) { l.Accounts["globex"].Hash["spent"] = "300001" }, chaos.CheckBalance, "globex"},
		"a lost top-up":      {func(l *chaos.Logs) { l.Accounts["acme"].Hash["funded"] = "0" }, chaos.CheckBalance, "acme"},
		"a lost account":     {func(l *chaos.Logs) { delete(l.Accounts, "acme") }, chaos.CheckBalance, "acme is not in Redis"},
		"an invented one":    {func(l *chaos.Logs) { l.Accounts["ghost"] = chaos.Stored{} }, chaos.CheckBalance, "ghost"},
		"a lot of its own":   {func(l *chaos.Logs) { s := l.Accounts["acme"]; s.Lots = nil; l.Accounts["acme"] = s }, chaos.CheckIdentity, "acme"},
		"another state":      {func(l *chaos.Logs) { l.Accounts["globex"].Hash["state"] = "pending" }, chaos.CheckBalance, "pending"},
		"a CDR not rated":    {func(l *chaos.Logs) { drop(&l.Rated, 2) }, chaos.CheckRated, "cdrs/1/2 is not parked, and no rated record names it"},
		"a wrong charge":     {func(l *chaos.Logs) { replace(&l.Rated[0], "0.20", "0.21") }, chaos.CheckRated, "charge is 0.210000, must be 0.200000"},
		"charged twice":      {func(l *chaos.Logs) { replace(&l.Rated[1], "duplicate", "charged") }, chaos.CheckRated, "2 copies of this call"},
		"charged by nobody":  {func(l *chaos.Logs) { replace(&l.Rated[0], "charged", "duplicate") }, chaos.CheckRated, "no copy of this call"},
		"rated from nowhere": {func(l *chaos.Logs) { replace(&l.Rated[0], `"offset":0`, `"offset":70`) }, chaos.CheckRated, "which is no CDR"},
		"rated and parked":   {func(l *chaos.Logs) { l.Rated = append(l.Rated, rated(5, "c5", "acme", "charged", "0.10")) }, chaos.CheckRated, "must be parked as no_rate"},
		"of another account": {func(l *chaos.Logs) { l.Rated[0].Key = []byte("globex") }, chaos.CheckRated, "another call"},
		"a lost dead letter": {func(l *chaos.Logs) { drop(&l.Letters, 0) }, chaos.CheckParked, "must be parked as not_json"},
		"another reason":     {func(l *chaos.Logs) { l.Letters[0].Headers["cs-reason"] = "no_rate" }, chaos.CheckParked, "must be"},
		"other bytes":        {func(l *chaos.Logs) { l.Letters[0].Value = nil }, chaos.CheckParked, "other bytes"},
		"parked for nothing": {func(l *chaos.Logs) { l.Letters = append(l.Letters, letter(0, "no_rate", l.CDRs[0].Value)) }, chaos.CheckParked, "empty: not at all"},
		"a lost event":       {func(l *chaos.Logs) { drop(&l.Alerts, 0) }, chaos.CheckEvents, "acme: no event says funds.added"},
		"a lost crossing":    {func(l *chaos.Logs) { drop(&l.Alerts, 4) }, chaos.CheckEvents, "newest event says below zero: true"},
		"a crossing again": {func(l *chaos.Logs) {
			l.Alerts = append(l.Alerts, alert("credit-commands", "balance.restored", "globex", 5, t0+30_000, "49.700000", ""))
		}, chaos.CheckEvents, "in its turn"},
		"an event of nothing": {func(l *chaos.Logs) { l.Alerts[0].Headers["ce_time"] = at(t0 + 1) }, chaos.CheckEvents, "has no cause"},
		"another amount":      {func(l *chaos.Logs) { replace(&l.Alerts[0], `"amount":"40`, `"amount":"41`) }, chaos.CheckEvents, "no command causes"},
		"a false balance":     {func(l *chaos.Logs) { replace(&l.Alerts[1], "-0.3", "0.3") }, chaos.CheckEvents, "is none for it"},
		"one id, two events": {func(l *chaos.Logs) {
			l.Alerts = append(l.Alerts, l.Alerts[1])
			replace(&l.Alerts[5], "-0.3", "-0.4")
		}, chaos.CheckEvents, "says two things"},
		"one event, two ids": {func(l *chaos.Logs) {
			again := alert("credit-commands", "recharge.requested", "globex", 9, t0+20_000, "-0.300000",
				`,"recharge_id":"globex/1","amount":"50.000000","requests_today":1`)
			l.Alerts = append(l.Alerts, again)
		}, chaos.CheckEvents, "say the same thing"},
		"lost though acknowledged": {
			func(l *chaos.Logs) { l.Acknowledged = append(l.Acknowledged, "acme top-up/second") }, chaos.CheckAPI, "acme top-up/second was acknowledged",
		},
		"a result that is lost": {
			func(l *chaos.Logs) { l.Acknowledged = append(l.Acknowledged, "result of globex/2") }, chaos.CheckAPI, "result of globex/2 was acknowledged",
		},
		"no word of a low balance": {func(l *chaos.Logs) {
			replace(&l.Commands[0], `"USD"`, `"USD","low_balance":["40.00","10.00"]`)
		}, chaos.CheckEvents, "acme has 39.800000, at or below its level of 40.000000"},
		"taken back though low": {func(l *chaos.Logs) {
			replace(&l.Commands[0], `"USD"`, `"USD","low_balance":["40.00","10.00"]`)
			for i, kind := range []string{"balance.low", "balance.recovered"} {
				l.Alerts = append(l.Alerts, alert("cdrs", kind, "acme", 2+i, t0+10_000, []string{"39.800000", "45.000000"}[i], `,"threshold":"40.000000"`))
			}
		}, chaos.CheckEvents, "the newest event does not say so"},
		"rated as another sum than Redis has": {func(l *chaos.Logs) {
			l.Accounts["globex"].Hash["spent"] = "310000"
		}, chaos.CheckRated, "globex: its rated calls sum to 0.300000, its calls have taken 0.310000 in Redis"},
		"before there was need": {func(l *chaos.Logs) { l.CDRs[2].AppendMillis = t0 + 25_000 }, chaos.CheckPayments, "without need"},
		"never requested":       {func(l *chaos.Logs) { l.Requests = nil }, chaos.CheckPayments, "globex/1 is never requested"},
		"of its own":            {func(l *chaos.Logs) { l.Requests = append(l.Requests, payment(t0+50_000, 2, "50.000000")) }, chaos.CheckPayments, "no accepted command asks for it"},
		"too much":              {func(l *chaos.Logs) { replace(&l.Requests[0], "50.0", "51.0") }, chaos.CheckPayments, "must be 50000000 USD pm"},
		"long after":            {func(l *chaos.Logs) { l.Requests = append(l.Requests, payment(t0+200_000, 1, "50.000000")) }, chaos.CheckPayments, "is requested again"},
		"without need":          {func(l *chaos.Logs) { replace(&l.Commands[1], "-0.250000", "-0.350000") }, chaos.CheckPayments, "without need"},
		"not even command":      {func(l *chaos.Logs) { l.Commands[0].Value = []byte("x") }, chaos.CheckParked, "is no command"},
	} {
		l := honest()
		tt.lie(l)
		_, findings := chaos.Judge(l)
		found := false
		for _, f := range findings {
			found = found || f.Check == tt.check && strings.Contains(f.Text, tt.text)
		}
		if !found {
			t.Errorf("%s: no finding of %s says %q; found: %v", name, tt.check, tt.text, findings)
		}
	}
}

// After Redis went back, a call may be told by two timelines, and an event twice;
// what is charged in the end may not.
func TestJudgeAllowsAbandonedTimelines(t *testing.T) {
	t.Parallel()
	l := honest()
	l.Backs = []int64{t0 + 10_500}
	l.Rated = append(l.Rated, rated(0, "c0", "acme", "duplicate", "0.200000"), rated(1, "c0", "acme", "charged", "0.200000"))
	l.Alerts = append(l.Alerts, alert("credit-commands", "recharge.requested", "globex", 9, t0+20_000, "-0.300000",
		`,"recharge_id":"globex/1","amount":"50.000000","requests_today":1`))
	tally, findings := chaos.Judge(l)
	if len(findings) > 0 || tally.Retold != 1 || tally.EventsAbandoned != 1 {
		t.Errorf("%+v, %v", tally, findings)
	}
	l.Accounts["acme"].Hash["spent"] = "400000"
	if _, findings = chaos.Judge(l); len(findings) == 0 {
		t.Error("a doubled debit is excused by a timeline")
	}

	// A level may have been taken back by a timeline that is no more.
	l = honest()
	replace(&l.Commands[0], `"USD"`, `"USD","low_balance":["40.00"]`)
	for i, kind := range []string{"balance.low", "balance.recovered"} {
		l.Alerts = append(l.Alerts, alert("cdrs", kind, "acme", 2+i, t0+10_000, []string{"39.800000", "45.000000"}[i], `,"threshold":"40.000000"`))
	}
	l.Backs = []int64{t0 + 40_000}
	if tally, findings = chaos.Judge(l); len(findings) > 0 || tally.LevelsAbandoned != 1 {
		t.Errorf("%+v, %v", tally, findings)
	}

	// Long before, or only afterwards, it excuses nothing.
	for _, back := range []int64{t0 - 60_000, t0 + 200_000} {
		l = honest()
		l.Backs = []int64{back}
		replace(&l.Rated[1], "duplicate", "charged")
		if _, findings = chaos.Judge(l); len(findings) != 1 || findings[0].Check != chaos.CheckRated {
			t.Errorf("charged twice, Redis went back at %d: %v", back-t0, findings)
		}
	}
}

// An account that was told to be below zero by a history that is no more, and never
// is in the one that holds, must have been told otherwise since.
func TestJudgeWantsAbandonedCrossingsSuperseded(t *testing.T) {
	t.Parallel()
	l := honest()
	l.Backs = []int64{t0 + 10_500}
	l.Alerts = append(l.Alerts, alert("cdrs", "balance.depleted", "acme", 5, t0+10_000, "-0.200000", ""))
	if _, findings := chaos.Judge(l); len(findings) != 1 || !strings.Contains(findings[0].Text, "acme has 39.800000, and the newest event says below zero: true") {
		t.Errorf("nothing newer is told: %v", findings)
	}
	again := alert("credit-commands", "funds.added", "acme", 9, t0+1000, "40.000000", "")
	again.AppendMillis = t0 + 11_000
	again.Value = []byte(strings.Replace(string(l.Alerts[0].Value), `"sequence":1`, `"sequence":9`, 1))
	l.Alerts = append(l.Alerts, again)
	if _, findings := chaos.Judge(l); len(findings) > 0 {
		t.Errorf("superseded: %v", findings)
	}
	replace(&l.Alerts[6], `"balance":"40.000000"`, `"balance":"-1.000000"`)
	if _, findings := chaos.Judge(l); len(findings) == 0 {
		t.Error("what is newer says below zero, too")
	}
}

// A command that is in the log again, late, sets nothing: what was set after it holds.
func TestJudgeKnowsARepeatedCommand(t *testing.T) {
	t.Parallel()
	l := honest()
	first := l.Commands[1]
	replace(&first, "-0.250000", "-0.350000")
	replace(&l.Commands[1], "put/1", "put/2")
	replace(&l.Commands[3], `"seen":1`, `"seen":2`)
	l.Commands = []chaos.Record{l.Commands[0], first, l.Commands[1], l.Commands[2], first, l.Commands[3], l.Commands[4]}
	if _, findings := chaos.Judge(l); len(findings) > 0 {
		t.Error(findings)
	}
}

// Settings that are refused make no account: calls of it are of nobody's.
func TestJudgeKnowsRefusedSettings(t *testing.T) {
	t.Parallel()
	l := honest()
	refused := command(0, t0-1000, `{"type":"account.put","account":"nobody","id":"put/1","put":{"currency":"USD","auto_recharge":{"enabled":true}}}`)
	l.Commands = append([]chaos.Record{refused}, l.Commands...)
	if tally, findings := chaos.Judge(l); len(findings) > 0 || tally.Accounts != 2 {
		t.Errorf("%d accounts, %v", tally.Accounts, findings)
	}
	replace(&l.Commands[0], "true", "false")
	if _, findings := chaos.Judge(l); len(findings) == 0 {
		t.Error("an account that is not in Redis is not missed")
	}
}
