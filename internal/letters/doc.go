// Package letters works with the dead-letter topic: it says what lies in it, sends
// parked records back to their topic, and closes what needs no more work.
//
// # When a dead letter is open
//
// A dead letter is the place of a parked record: topic, partition and offset. It
// is open until the topic holds a marker (replayed or dropped) of that place, no
// matter which of the two was written first. So
//
//   - a dead letter that is published again is the same one, open or closed;
//   - a record that is replayed and parked again is a new dead letter, as it lies
//     at a new place: it is open;
//   - nothing is taken out of the topic: both go when their retention is over.
//
// # What it promises
//
// A replayed record has the bytes, the key and the headers that it came with, and
// goes to the partition that it came from. It is marked after it was acknowledged:
// whoever stops in between leaves it open, and a second replay charges nothing
// twice, because ids are claimed with the charge (design rule 8).
//
// It holds at most MaxLetters and a marker of each in memory, never a value longer
// than it must, and it never changes a balance.
package letters
