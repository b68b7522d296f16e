package fleet

import (
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/view"
)

func (t *term) meets(d *view.Device, now time.Time) bool {
	switch t.field {
	case fieldAny:
		word := t.values[0].text
		return has(d.ID, word) || has(d.Name, word) || has(d.Site, word)
	case fieldSeen:
		return slices.ContainsFunc(t.values, func(v value) bool { return t.seen(d, v.span, now) })
	case fieldOnline:
		return slices.ContainsFunc(t.values, func(v value) bool { return d.Online == (v.text == "yes") })
	case "tag":
		if len(d.Tags) == 0 {
			return t.text("")
		}
		return slices.ContainsFunc(d.Tags, t.text)
	}
	of := fieldOf(d, t.field)
	if t.op == ":" {
		return t.text(of)
	}
	return of != "" && slices.ContainsFunc(t.values, func(v value) bool { return t.compares(of, v.text) })
}

func has(text, part string) bool { return strings.Contains(strings.ToLower(text), part) }

func fieldOf(d *view.Device, field string) string {
	switch field {
	case "id":
		return d.ID
	case "name":
		return d.Name
	case "site":
		return d.Site
	case "product":
		return d.Product
	case "hardware":
		return d.Hardware
	case "state":
		return d.State
	case "slot":
		return d.Slot
	case "rollout":
		return d.Rollout
	case fieldVersion:
		return d.Running
	case "staged":
		return d.Staged
	case "previous":
		return d.Previous
	case "system":
		return d.System
	case "runtime":
		return d.Runtime
	}
	return ""
}

// text tells whether one of the values is the text, or a pattern that it fits.
func (t *term) text(of string) bool {
	of = strings.ToLower(of)
	for i := range t.values {
		v := &t.values[i]
		if v.parts == nil && v.text == of || v.parts != nil && fits(of, v.parts) {
			return true
		}
	}
	return false
}

// fits matches text against the parts between a pattern's stars.
func fits(text string, parts []string) bool {
	text, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return strings.HasSuffix(text, last)
}

func (t *term) compares(of, with string) bool {
	c := CompareVersions(strings.ToLower(of), with)
	switch t.op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	default:
		return c >= 0
	}
}

// seen compares how long ago a device was heard. One that never was is seen longer ago
// than any time.
func (t *term) seen(d *view.Device, span time.Duration, now time.Time) bool {
	ago := now.Sub(d.LastSeen)
	if d.Online {
		ago = 0
	}
	if t.op == "<" || t.op == "<=" {
		return !d.LastSeen.IsZero() && ago <= span
	}
	return d.LastSeen.IsZero() || ago >= span
}
