package balance_test

import (
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// Which of two copies counts must not depend on their order where one is free
// whatever its account: they are two calls.
func TestAnEmergencyCallIsNoCopyOfAnotherCall(t *testing.T) {
	c := rating.CDR{ID: "1", Source: "s", Account: "acme", Kind: rating.UserOut, AnsweredAt: time.UnixMilli(1)}
	same, emergency := c, c
	same.DurationMillis = 9
	emergency.Kind = rating.Emergency
	if balance.CDRDigest(&c) != balance.CDRDigest(&same) {
		t.Error("a repeat with another duration is another call")
	}
	if balance.CDRDigest(&c) == balance.CDRDigest(&emergency) {
		t.Error("an emergency call is a copy of one that costs money")
	}
}
