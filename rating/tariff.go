package rating

// maxIncrement is the longest increment, in seconds: a day.
const maxIncrement = 86_400

// maxSteps is the most steps of one tariff.
const maxSteps = 16

// A tariff is what a call of one rate costs, whoever is called. A table keeps the
// steps of all its tariffs in one list.
type tariff struct {
	fee        uint64 // picos
	max        Micros // of a charge; noMax: unbounded
	grace      uint32 // seconds: a call not longer than this is free
	firstStep  uint32
	countSteps uint32
}

// noMax is the max of a tariff that has none.
const noMax Micros = -1

// Steps are how a call is charged while it lasts: the first from second 0, rising.
// All but the last are a whole number of their increments long.
type steps []step

// A step is how a call is charged from a second on.
type step struct {
	price uint64 // picos a minute
	from  uint32 // seconds since the answer
	by    uint32 // seconds: the increment
}

// firstAndNext returns the steps of a price with a first and a next increment.
func firstAndNext(price uint64, first, next uint32) steps {
	if first == next {
		return steps{{price, 0, first}}
	}
	return steps{{price, 0, first}, {price, first, next}}
}

// meter bills the increments that begin at or after second pos of a call and
// before second until, one after the other. Each is as long and costs as much as
// the step says in which it begins. It returns the second at which the last of
// them ends.
func (all steps) meter(b *bill, pos, until uint64) uint64 {
	for i := range all {
		s := &all[i]
		end := until
		if i+1 < len(all) {
			end = min(until, uint64(all[i+1].from))
		}
		if pos >= end {
			continue
		}
		by := uint64(s.by)
		n := (end - pos + by - 1) / by
		b.add(s.price, n*by)
		if b.parts != nil {
			*b.parts = append(*b.parts, newPart(s, pos, n))
		}
		pos += n * by
	}
	return pos
}
