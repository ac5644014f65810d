package chaos

import (
	"encoding/json"
	"strconv"
)

// What the API has answered with 200 or 202 is money and settings that somebody
// relies on: a command must be in the log for it.

// command names one as acknowledge does: by its id, or a result by its recharge.
func commandName(account, id string) string { return account + " " + id }

func resultName(recharge string) string { return "result of " + recharge }

// acknowledge notes that what was asked for was accepted.
func (a *api) acknowledge(code int, what string) {
	if code >= 300 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acknowledged = append(a.acknowledged, what)
}

// acknowledged compares what the API said with the log of commands.
func (j *judge) acknowledged() {
	there := map[string]bool{}
	for i := range j.logs.Commands {
		var c struct {
			Type, Account, ID string
			N                 int64
		}
		if json.Unmarshal(j.logs.Commands[i].Value, &c) != nil {
			continue // found already
		}
		if c.Type == "recharge.result" {
			there[resultName(c.Account+"/"+strconv.FormatInt(c.N, 10))] = true
		}
		there[commandName(c.Account, c.ID)] = true
	}
	for _, what := range j.logs.Acknowledged {
		if !there[what] {
			j.find(CheckAPI, "%s was acknowledged, and no command is in the log", what)
		}
	}
}
