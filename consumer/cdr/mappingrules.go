package cdr

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/creditstream/creditstream/rating"
)

// maxNumberDigits bounds what national numbers may be said to have: E.164 has 15.
const maxNumberDigits = 15

// A check says what is wanted of a value of the mapping's own, or "".
type check func(text string) (want string)

// checkOf returns the check of a member.
func (e *entry) checkOf(f field) check {
	rule := ruleOf(f)
	return func(text string) string {
		if f == kind {
			kinds := make([]string, 0, len(rating.Kinds()))
			for _, k := range rating.Kinds() {
				kinds = append(kinds, string(k))
			}
			return unless(rating.Kind(text).Valid(), "a kind of call: one of "+strings.Join(kinds, ", "))
		}
		return unless(text != "" && len(text) <= int(rule.maxBytes) && rule.allows([]byte(text)), rule.expected())
	}
}

// readChoices reads a rule, or a list of rules.
func (e *entry) readChoices(n *yaml.Node, wanted check) []choice {
	if n.Kind != yaml.SequenceNode {
		return []choice{e.readChoice(n, wanted)}
	}
	choices := make([]choice, 0, len(n.Content))
	for _, item := range n.Content {
		choices = append(choices, e.readChoice(item, wanted))
	}
	if len(choices) == 0 {
		e.bad(n, "want a rule, or a list of rules")
	}
	return choices
}

// readChoice reads one rule.
func (e *entry) readChoice(n *yaml.Node, wanted check) (c choice) {
	into := func(texts *[]string) reader {
		return func(n *yaml.Node) (want string) {
			*texts, want = e.texts(n)
			return want
		}
	}
	valued := func(n *yaml.Node) string {
		c.value = []byte(scalar(n))
		if wanted == nil {
			return unless(len(c.value) > 0, "a text")
		}
		return wanted(scalar(n))
	}
	e.keys(n, map[string]reader{
		"field":  func(n *yaml.Node) string { return e.readFields(n, &c) },
		"equals": into(&c.texts),
		"prefix": into(&c.prefixes),
		"values": func(n *yaml.Node) string { return e.readTable(n, &c, wanted) },
		"value":  valued,
	})
	if n.Kind != yaml.MappingNode {
		return c
	}
	conditional := child(n, "equals") != nil || child(n, "prefix") != nil
	field, val, table := child(n, "field") != nil, child(n, "value") != nil, child(n, "values") != nil
	switch {
	case !field && (conditional || table || !val):
		e.bad(n, "want a value, or a field that gives it")
	case conditional && !val, val && field && !conditional:
		e.bad(n, "want equals or prefix together with the value that they give")
	case table && (conditional || val):
		e.bad(n, "want values without equals, prefix and value")
	case wanted == nil && !conditional:
		e.bad(n, "skip: want a field with equals or prefix, and as value why such records are skipped")
	}
	return c
}

func (e *entry) readFields(n *yaml.Node, c *choice) string {
	names, want := e.texts(n)
	if want != "" {
		return want
	}
	for _, name := range names {
		if problem := e.unknownField(name); problem != "" {
			return problem
		}
		slot := e.plan.slot(name)
		if slot < 0 {
			return "fewer fields: a source may use " + strconv.Itoa(maxSlots) + " with those that its format reads"
		}
		c.slots = append(c.slots, slot)
	}
	return ""
}

// unknownField says what is wanted instead of a name that is no field, or "".
func (e *entry) unknownField(name string) string {
	if !e.plan.format.isCSV() || e.plan.columns == nil {
		return unless(name != "", "the name of a field, steps parted by dots")
	}
	var all []string
	for n := range maxColumns + 1 {
		for _, column := range e.plan.columns(n) {
			if column == name && name != "" {
				return ""
			}
			if column != "" && !slices.Contains(all, column) {
				all = append(all, column)
			}
		}
	}
	return "a column: one of " + strings.Join(all, ", ")
}

func (e *entry) readTable(n *yaml.Node, c *choice, wanted check) string {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		return "texts of the field with what they stand for"
	}
	c.table = map[string][]byte{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		from, to := n.Content[i], n.Content[i+1]
		if _, twice := c.table[from.Value]; twice {
			e.bad(from, "values: %s is there twice", from.Value)
		}
		c.table[from.Value] = []byte(scalar(to))
		if wanted == nil {
			continue
		}
		if want := wanted(scalar(to)); want != "" {
			e.bad(to, "values: want %s", want)
		}
	}
	return ""
}

func (e *entry) readNumbers(n *yaml.Node) string {
	numbers := &e.plan.numbers
	digits := func(into *string) reader {
		return func(n *yaml.Node) string {
			*into = scalar(n)
			return unless(isDigits(*into), "digits in quotes, such as \"0\"")
		}
	}
	e.keys(n, map[string]reader{
		"country_code":    digits(&numbers.country),
		"national_prefix": digits(&numbers.national),
		"national_digits": func(n *yaml.Node) string {
			var err error
			numbers.nationalDigits, err = strconv.Atoi(scalar(n))
			return unless(err == nil && numbers.nationalDigits > 0 && numbers.nationalDigits <= maxNumberDigits, "1 to 15")
		},
		"international_prefix": func(n *yaml.Node) (want string) {
			numbers.international, want = e.texts(n)
			for _, prefix := range numbers.international {
				want = cmp.Or(want, unless(isDigits(prefix), "digits in quotes, such as \"00\", or a list of them"))
			}
			slices.SortFunc(numbers.international, func(a, b string) int { return len(b) - len(a) })
			return want
		},
	})
	if numbers.country == "" && (numbers.national != "" || numbers.nationalDigits > 0) {
		e.bad(n, "numbers: want country_code with national_prefix and national_digits")
	}
	return ""
}
