package auth

import (
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/view"
)

// maxGrants of one account or token.
const maxGrants = 32

// roles from the least; each may do what those before it may.
var roles = []string{view.RoleViewer, view.RoleOperator, view.RoleReleaser, view.RoleAdmin}

// rank of a role; -1 if nobody knows it.
func rank(role string) int { return slices.Index(roles, role) }

// grant is a [view.Grant] that can be asked.
type grant struct {
	rank int
	over fleet.Selector
}

// compile leaves out grants that cannot be understood: they give nothing.
func compile(grants []view.Grant) (good []grant, bad error) {
	for _, g := range grants {
		if err := checkGrant(g); err != nil {
			bad = err
			continue
		}
		over, err := fleet.ParseSelector(g.Selector)
		if err != nil {
			bad = err
			continue
		}
		good = append(good, grant{rank(g.Role), over})
	}
	return good, bad
}

func checkGrant(g view.Grant) error {
	if rank(g.Role) < 0 {
		return invalid("grants", "there is no role %q; there are %s", g.Role, strings.Join(roles, ", "))
	}
	if _, err := fleet.ParseSelector(g.Selector); err != nil {
		return invalid("grants", "a grant as %s cannot be given: %v", g.Role, err)
	}
	return nil
}

// checkGrants refuses grants that could not be kept, and tidies the others.
func checkGrants(grants []view.Grant) ([]view.Grant, error) {
	if len(grants) > maxGrants {
		return nil, invalid("grants", "%d grants are too many, %d at most: name more devices by one selector", len(grants), maxGrants)
	}
	tidy := make([]view.Grant, 0, len(grants))
	for _, g := range grants {
		g.Selector = strings.TrimSpace(g.Selector)
		if err := checkGrant(g); err != nil {
			return nil, err
		}
		if !slices.Contains(tidy, g) {
			tidy = append(tidy, g)
		}
	}
	return tidy, nil
}

// both are the grants that hold where one of a and one of b do. The terms of a selector
// all have to hold, so that two of them in one line are what both mean.
func both(a, b []view.Grant) (out []view.Grant) {
	for _, x := range a {
		for _, y := range b {
			// Halves that do not parse alone might together, and mean more than either.
			if checkGrant(x) != nil || checkGrant(y) != nil {
				continue
			}
			role := x.Role
			if rank(y.Role) < rank(role) {
				role = y.Role
			}
			selector := x.Selector
			if !within(x.Selector, y.Selector) {
				selector = strings.TrimSpace(y.Selector + " " + x.Selector)
			}
			if g := (view.Grant{Role: role, Selector: selector}); !slices.Contains(out, g) {
				out = append(out, g)
			}
		}
	}
	return out
}

// within tells whether a selector plainly means no more than another: it is the same, or
// the same with more terms behind it. It may say no where a closer look would say yes.
func within(narrow, wide string) bool {
	return wide == "" || narrow == wide || strings.HasPrefix(narrow, wide+" ")
}

// checkAtMost refuses grants that go beyond what their giver has.
func checkAtMost(grants, giver []view.Grant) error {
	for _, g := range grants {
		covered := func(have view.Grant) bool {
			return rank(g.Role) <= rank(have.Role) && within(g.Selector, have.Selector)
		}
		if !slices.ContainsFunc(giver, covered) {
			return because(ErrForbidden, "you cannot give more than you have: %q over %q is not within your grants; begin its selector with that of one of yours", g.Role, g.Selector)
		}
	}
	return nil
}

// isAdmin tells whether grants give the administration of the whole panel.
func isAdmin(grants []view.Grant) bool {
	good, _ := compile(grants)
	return slices.ContainsFunc(good, func(g grant) bool { return g.rank == rank(view.RoleAdmin) && g.over.All() })
}

// Covers tells whether one of the selectors of a scope means a device.
func Covers(scope []fleet.Selector, d *view.Device, now time.Time) bool {
	return slices.ContainsFunc(scope, func(s fleet.Selector) bool { return s.Meets(d, now) })
}
