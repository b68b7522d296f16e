package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/view"
)

// Limits of a selector.
const (
	MaxSelector = 2000 // bytes
	maxTerms    = 64
	maxValues   = 64
)

// SelectorError says what is wrong and where.
type SelectorError struct {
	Column int // from 1, in bytes
	Reason string
}

func (e *SelectorError) Error() string {
	return fmt.Sprintf("the selector's column %d: %s", e.Column, e.Reason)
}

// Selector says which devices are meant. The zero Selector means all.
type Selector struct {
	text   string
	terms  []term
	scoped bool
	scope  []Selector // of which one has to mean the device as well, if scoped
}

// String is the text that it was parsed from.
func (s Selector) String() string { return s.text }

// All tells whether it means every device, whatever it is.
func (s Selector) All() bool { return len(s.terms) == 0 && !s.scoped }

// Within means the devices that s means and one of the scope does. A scope of none means
// no device.
func (s Selector) Within(scope []Selector) Selector {
	if !slices.ContainsFunc(scope, Selector.All) {
		s.scoped, s.scope = true, scope
	}
	return s
}

// Meets tells whether a device is meant, at a time by the panel's clock.
func (s Selector) Meets(d *view.Device, now time.Time) bool {
	for i := range s.terms {
		if s.terms[i].meets(d, now) == s.terms[i].not {
			return false
		}
	}
	return !s.scoped || slices.ContainsFunc(s.scope, func(one Selector) bool { return one.Meets(d, now) })
}

// term is one condition; one of its values has to hold.
type term struct {
	not    bool
	field  string // "": any text of the device
	op     string
	values []value
}

type value struct {
	text  string        // in lower case
	parts []string      // text between the stars of a pattern; one without any
	span  time.Duration // of field seen
}

const (
	fieldAny     = ""
	fieldSeen    = "seen"
	fieldOnline  = "online"
	fieldVersion = "version"
)

// ordered fields are those that compare as versions.
var ordered = []string{fieldVersion, "staged", "previous", "system", "runtime"}

var plain = []string{"id", "name", "site", "tag", "product", "hardware", "state", "slot", "rollout"}

// ParseSelector reads a selector. The error is a [*SelectorError].
func ParseSelector(text string) (Selector, error) {
	if len(text) > MaxSelector {
		return Selector{}, &SelectorError{MaxSelector, fmt.Sprintf("it is longer than %d bytes", MaxSelector)}
	}
	s := Selector{text: text}
	p := &parser{text: text}
	for {
		p.blanks()
		if p.done() {
			return s, nil
		}
		if len(s.terms) == maxTerms {
			return Selector{}, p.fail("it has more than %d terms", maxTerms)
		}
		t, err := p.term()
		if err != nil {
			return Selector{}, err
		}
		s.terms = append(s.terms, t)
	}
}

type parser struct {
	text string
	at   int
}

func (p *parser) done() bool { return p.at >= len(p.text) }

func (p *parser) fail(format string, args ...any) error {
	return &SelectorError{p.at + 1, fmt.Sprintf(format, args...)}
}

func (p *parser) blanks() {
	for !p.done() && isBlank(p.text[p.at]) {
		p.at++
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func (p *parser) term() (term, error) {
	var t term
	if p.text[p.at] == '-' {
		t.not = true
		p.at++
	}
	began := p.at
	for !p.done() && isName(p.text[p.at]) {
		p.at++
	}
	name := p.text[began:p.at]
	op := p.operator()
	if op == "" || name == "" {
		p.at = began
		return p.bare(t)
	}
	t.field, t.op = strings.ToLower(name), op
	if err := checkField(t.field, op); err != "" {
		p.at = began
		return t, p.fail("%s", err)
	}
	return t, p.values(&t)
}

func isName(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func (p *parser) operator() string {
	for _, op := range []string{"<=", ">=", ":", "<", ">"} {
		if strings.HasPrefix(p.text[p.at:], op) {
			p.at += len(op)
			return op
		}
	}
	return ""
}

// checkField returns what is wrong with asking that of the field, or nothing.
func checkField(field, op string) string {
	switch {
	case slices.Contains(ordered, field):
		return ""
	case field == fieldSeen:
		if op == ":" {
			return "seen takes < or >, as in seen<10m"
		}
		return ""
	case field != fieldOnline && !slices.Contains(plain, field):
		return fmt.Sprintf("there is no field %q; there are %s", field,
			strings.Join(slices.Concat(plain, ordered, []string{fieldOnline, fieldSeen}), ", "))
	case op != ":":
		return fmt.Sprintf("%s takes a colon, as in %s:…", field, field)
	}
	return ""
}

// bare is a word that is a part of the id, name or site.
func (p *parser) bare(t term) (term, error) {
	t.op = ":"
	began := p.at
	text, err := p.word(" \t\r\n")
	if err != nil {
		return t, err
	}
	if text == "" {
		p.at = began
		return t, p.fail("a word is missing")
	}
	t.values = []value{{text: strings.ToLower(text)}}
	return t, nil
}

func (p *parser) values(t *term) error {
	for {
		if len(t.values) == maxValues {
			return p.fail("a term has more than %d values", maxValues)
		}
		began := p.at
		quoted := !p.done() && p.text[p.at] == '"'
		text, err := p.word(" \t\r\n,")
		if err != nil {
			return err
		}
		v, reason := newValue(t, text, quoted)
		if reason != "" {
			p.at = began
			return p.fail("%s", reason)
		}
		t.values = append(t.values, v)
		if p.done() || p.text[p.at] != ',' {
			return nil
		}
		p.at++
	}
}

// word reads up to one of the bytes in ends, or a quoted text.
func (p *parser) word(ends string) (string, error) {
	began := p.at
	if p.done() || p.text[p.at] != '"' {
		for !p.done() && !strings.ContainsRune(ends, rune(p.text[p.at])) {
			p.at++
		}
		return p.text[began:p.at], nil
	}
	end := strings.IndexByte(p.text[p.at+1:], '"')
	if end < 0 {
		return "", p.fail("a quote is not closed")
	}
	p.at += end + 2
	if !p.done() && !strings.ContainsRune(ends, rune(p.text[p.at])) {
		return "", p.fail("a blank is missing after the quote")
	}
	return p.text[began+1 : p.at-1], nil
}

func newValue(t *term, text string, quoted bool) (value, string) {
	v := value{text: strings.ToLower(text)}
	switch {
	case text == "" && !quoted:
		return v, fmt.Sprintf("%s has no value; %s:\"\" asks for none", t.field, t.field)
	case t.field == fieldSeen:
		span, err := parseSpan(text)
		if err != nil {
			return v, "seen takes a time such as 10m, 6h or 3d"
		}
		v.span = span
	case t.field == fieldOnline && text != "yes" && text != "no":
		return v, "online is yes or no"
	case t.op == ":" && !quoted && strings.Contains(text, "*"):
		v.parts = strings.Split(v.text, "*")
	}
	return v, ""
}

// parseSpan knows days beside what Go knows.
func parseSpan(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		d, err := time.ParseDuration(days + "h")
		return 24 * d, err
	}
	return time.ParseDuration(text)
}
