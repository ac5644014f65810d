package consumer_test

import (
	"slices"
	"testing"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
)

// An entry whose payment request is held is out last. Until then nothing from it
// on may be trimmed or committed, though later entries are out.
func TestNothingPassesAnEntryThatIsNotOut(t *testing.T) {
	held := &balance.Entry{Name: "a", First: 3, End: 5}
	later := &balance.Entry{Name: "b", First: 5, End: 9}
	l := consumer.NewLane(&balance.Holding{Mark: balance.Mark{Next: 5, Name: "a"}, Outbox: []*balance.Entry{held}})
	l.Applied(later)
	l.Published(later)
	if trims, done := l.Trims(), l.Done(); len(trims) != 0 || done != 3 {
		t.Errorf("may trim %v and commit %d; want nothing and 3", trims, done)
	}
	l.Published(held)
	if trims, done := l.Trims(), l.Done(); !slices.Equal(trims, []string{"a", "b"}) || done != 9 {
		t.Errorf("may trim %v and commit %d; want both and 9", trims, done)
	}
}
