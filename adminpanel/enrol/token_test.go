package enrol_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/enrol"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
)

func TestTokensThatCannotBe(t *testing.T) {
	t.Parallel()
	p := begin(t, open(t), "one")
	for name, e := range map[string]view.Enrolment{
		"for less than nobody": {Uses: -1}, "for too many": {Uses: enrol.MaxUses + 1}, "for one, twice": {Device: "cam-1", Uses: 2},
		"for a name that is none": {Device: "a/b"}, "for ever": {Until: time.Now().AddDate(2, 0, 0)}, "for the past": {Until: time.Now().Add(-time.Second)},
		"for an endless site": {Site: strings.Repeat("x", 100)}, "for a tag that is none": {Tags: []string{"a,b"}},
	} {
		if made, err := p.tokens.Add(t.Context(), ann, e); !errors.Is(err, enrol.ErrInvalid) {
			t.Errorf("a token %s: %+v, %v", name, made, err)
		}
	}
	if lines := p.lines(); len(lines) > 0 {
		t.Errorf("the audit says %q", lines)
	}
	made := p.token(view.Enrolment{Device: "cam-1"})
	if life := time.Until(made.Until); life < 23*time.Hour || life > 24*time.Hour {
		t.Errorf("without a word it is good for %v", life)
	}
}

func TestARemovedTokenIsWorthNothing(t *testing.T) {
	t.Parallel()
	p := begin(t, open(t), "one")
	made := p.token(view.Enrolment{Device: "cam-1"})
	if list := must(p.tokens.List(t.Context())); len(list) != 1 || list[0].ID != made.ID || list[0].Text != "" || list[0].Line != "" {
		t.Errorf("the list is %+v", list)
	}
	for _, want := range []error{nil, enrol.ErrUnknown} {
		if err := p.tokens.Remove(t.Context(), ann, made.ID); !errors.Is(err, want) {
			t.Errorf("removed: %v, want %v", err, want)
		}
	}
	for _, id := range []string{"", "../s/x", "ABCDEFGH"} {
		if err := p.tokens.Remove(t.Context(), ann, id); !errors.Is(err, enrol.ErrUnknown) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, code := newHolder(t).enroll(p, made.Text, "cam-1"); code != wire.CodeBadToken {
		t.Errorf("enrolled by it: %q", code)
	}
}

// ages changes when a token was good until.
func (p *panel) ages(id string, until time.Time) {
	p.Helper()
	item, err := p.store.Get(p.Context(), "e/"+id)
	if err != nil {
		p.Fatal(err)
	}
	var kept map[string]any
	if err := json.Unmarshal(item.Value, &kept); err != nil {
		p.Fatal(err)
	}
	kept["until"] = until
	value := must(json.Marshal(kept))
	if _, err := p.store.Commit(p.Context(), nil, []store.Op{{Key: item.Key, Value: value}}); err != nil {
		p.Fatal(err)
	}
}

// An expired token is still known for a while, so that who comes too late is told why.
func TestExpiredTokens(t *testing.T) {
	t.Parallel()
	p := begin(t, open(t), "one")
	made := p.token(view.Enrolment{Device: "cam-1"})
	p.ages(made.ID, time.Now().Add(-time.Hour))
	if _, code := newHolder(t).enroll(p, made.Text, "cam-1"); code != wire.CodeExpiredToken {
		t.Errorf("an hour too late: %q", code)
	}
	if list := must(p.tokens.List(t.Context())); len(list) > 0 {
		t.Errorf("it is listed: %+v", list)
	}
	p.ages(made.ID, time.Now().AddDate(0, -2, 0))
	p.token(view.Enrolment{})
	if _, code := newHolder(t).enroll(p, made.Text, "cam-1"); code != wire.CodeBadToken {
		t.Errorf("after two months: %q", code)
	}
}
