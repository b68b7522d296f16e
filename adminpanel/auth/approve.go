package auth

import (
	"slices"

	"slipstream/adminpanel/view"
)

// Approvals tells how many other people have to approve a rollout before it may start, by
// the fleet's rule that those to more than a number of devices need a second person (0:
// never). One that takes in devices later is to more than any number.
func Approvals(r view.Rollout, above int) int {
	if above > 0 && (r.Plan.Dynamic || r.Total.Devices > above) {
		return 1
	}
	return 0
}

// Approve tells why a person may not approve a rollout; nil: the person may. By and the
// names of approvals are those of [Caller.Person], so that nobody becomes two by a token.
func Approve(r view.Rollout, person string, above int) error {
	switch {
	case person == "":
		return ErrForbidden
	case r.State != view.RolloutDraft:
		return because(ErrChanged, "the rollout is %s: only a draft can be approved", r.State)
	case slices.ContainsFunc(r.Approvals, func(a view.Approval) bool { return a.By == person }):
		return because(ErrTaken, "you have approved this rollout already")
	case Approvals(r, above) > 0 && r.By == person:
		return because(ErrOwnRollout, "a rollout to more than %d devices needs the word of somebody other than %s, who made it", above, r.By)
	}
	return nil
}
