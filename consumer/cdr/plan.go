package cdr

import (
	"strings"
	"time"
)

// A plan is how records of one format are read: the format's own way, with what
// one version of a mapping says. It never changes.
type plan struct {
	format  Format
	spec    spec
	zone    *time.Location // of stamps without one; nil: not known
	lenient bool           // members that are not known are left out

	source  []byte            // nil: what the record or its header says
	rules   [unknown][]choice // a member with rules comes from them alone
	skips   []choice
	numbers numbers

	names   []string                 // of slots
	root    *node                    // JSON
	given   []string                 // columns of CSV that a mapping names
	columns func(n int) []string     // CSV: as spec has it, or given
	headers [maxColumns + 1][]string // what columns says of n columns
	layouts [maxColumns + 1][]int    // their slots
}

// newPlan returns the plan of a format without a mapping.
func newPlan(f Format, zone *time.Location) *plan {
	p := &plan{format: f, spec: specOf(f), zone: zone}
	p.columns = p.spec.columns
	for _, field := range p.spec.fields {
		name, _, _ := strings.Cut(field, "|")
		p.names = append(p.names, name)
	}
	return p
}

// slot returns the slot of a field, a new one when the format itself does not
// look at it, or -1 when there are too many.
func (p *plan) slot(name string) int {
	for i, field := range p.spec.fields {
		for spelling := range strings.SplitSeq(field, "|") {
			if spelling == name {
				return i
			}
		}
	}
	for i := len(p.spec.fields); i < len(p.names); i++ {
		if p.names[i] == name {
			return i
		}
	}
	if len(p.names) == maxSlots {
		return -1
	}
	p.names = append(p.names, name)
	return len(p.names) - 1
}

// compile makes the plan ready, once all its slots are named.
func (p *plan) compile() *plan {
	if p.format.isCSV() {
		for n := range p.layouts {
			p.headers[n] = p.columns(n)
			p.layouts[n] = p.layout(p.headers[n])
		}
		return p
	}
	p.root = &node{slot: -1}
	for i, name := range p.names {
		spellings := name
		if i < len(p.spec.fields) {
			spellings = p.spec.fields[i]
		}
		for path := range strings.SplitSeq(spellings, "|") {
			p.root.at(path).slot = i
		}
	}
	if p.spec.once != "" {
		p.root.at(p.spec.once).once = true
	}
	if p.format.isPaged() {
		p.root.at("value").page = true
	}
	return p
}

// layout returns the slot of each of columns, -1 for those that are not looked at.
func (p *plan) layout(columns []string) []int {
	if columns == nil {
		return nil
	}
	slots := make([]int, len(columns))
	for i, column := range columns {
		slots[i] = -1
		for s, name := range p.names {
			if name == column && column != "" {
				slots[i] = s
			}
		}
	}
	return slots
}

// at returns the node at a path below n, and makes what is missing.
func (n *node) at(path string) *node {
	for step := range strings.SplitSeq(path, ".") {
		child := n.next[step]
		if child == nil {
			if n.next == nil {
				n.next = map[string]*node{}
			}
			child = &node{slot: -1}
			n.next[step] = child
		}
		n = child
	}
	return n
}
