package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"slipstream/agent/control"
	"slipstream/agent/link"
	"slipstream/agent/wire"
	"slipstream/verify"
)

// identityDir is where the device keeps by what it and its panel know each other.
const identityDir = "link"

// openIdentity also ends an enrolment that was cut off: it holds from the instant on
// at which the device joined the fleet.
func (a *Agent) openIdentity() error {
	id, err := link.OpenIdentity(filepath.Join(a.cfg.State, identityDir), a.cfg.Device)
	if err != nil {
		return err
	}
	a.identity = id
	return id.Recover(func(root []byte) bool {
		given, err := verify.ParseRoot(root)
		have, known := a.fleet()
		return err == nil && known == nil && have != nil && sameFleet(have, given)
	})
}

// Identity is by what the device and its panel know each other.
func (a *Agent) Identity() *link.Identity { return a.identity }

// fleet is the root of the fleet that the device belongs to, nil if it is in none.
func (a *Agent) fleet() (*verify.Root, error) {
	device, err := deviceOf(a.cfg, a.trusted)
	if err != nil || device.Fleet == nil {
		return nil, err
	}
	return device.Fleet.Root, nil
}

// sameFleet says whether one of two roots follows the other.
func sameFleet(have, given *verify.Root) bool {
	if have.Digest() == given.Digest() || have.Descends(given) {
		return true
	}
	next, err := have.Follow([][]byte{given.Bytes()})
	return err == nil && next.Descends(given)
}

// enrollByToken makes the device belong to a panel, and to its fleet if that gives
// orders. All that is needed is on disk before the device joins the fleet; whatever it
// is cut off by, it then belongs to both, or to neither.
func (a *Agent) enrollByToken(ctx context.Context, r control.EnrollRequest) control.Result {
	token, err := wire.ParseToken(r.Token)
	if err != nil {
		return result(control.ExitRefused, wire.CodeBadToken, sentence(err))
	}
	have, err := a.fleet()
	if err != nil {
		return refusedFile(err)
	}
	if now := a.identity.Panel(); have == nil && now != "" && now != r.Panel {
		return result(control.ExitRefused, CodeEnrolled, fmt.Sprintf("this device belongs to the panel %s already: slipstream leave %s", now, a.cfg.Device))
	}
	e, err := a.identity.Prepare(ctx, r.Panel, token)
	if err != nil {
		return refusedPanel(err)
	}
	joined, err := a.join(have, e.FleetRoot)
	if err != nil {
		return refusedFile(errors.Join(err, a.identity.Abandon()))
	}
	if err := a.identity.Commit(); err != nil {
		return result(control.ExitError, "", sentence(err))
	}
	a.log.Warn("enrolled by a person at the device", "panel", r.Panel, "device", a.cfg.Device, "fleet", joined)
	a.changed()
	if joined == "" {
		return result(control.ExitDone, "", fmt.Sprintf("this device, %s, belongs to the panel %s now, which gives no orders", a.cfg.Device, r.Panel))
	}
	return result(control.ExitDone, "", fmt.Sprintf(
		"this device, %s, belongs to the panel %s now, and to the fleet of root %.16s: compare that with what the fleet's operator names", a.cfg.Device, r.Panel, joined))
}

// join joins the panel's fleet, and returns the digest of its root. A device of
// another fleet is not to be had.
func (a *Agent) join(have *verify.Root, given []byte) (digest string, err error) {
	if len(given) == 0 {
		return "", nil
	}
	root, err := verify.ParseRoot(given)
	if err != nil {
		return "", err
	}
	if have != nil {
		if !sameFleet(have, root) {
			return "", &verify.Error{Code: CodeEnrolled, Message: "this device belongs to another fleet than the panel's: leave that one first (slipstream leave DEVICE)"}
		}
		return root.Digest(), nil
	}
	return root.Digest(), a.trusted.Enroll(root)
}

// refusedPanel tells a panel that says no from one that is not reached.
func refusedPanel(err error) control.Result {
	if code, ok := link.IsRefusal(err); ok {
		return result(control.ExitRefused, code, "the panel refuses: "+sentence(err))
	}
	return result(control.ExitError, CodeUnreadable, sentence(err))
}

// LearnTrust implements [link.Learner].
func (a *Agent) LearnTrust(ctx context.Context, vendor, fleet, time [][]byte) control.Result {
	if err := a.ready(ctx); err != nil {
		return result(control.ExitError, "", sentence(err))
	}
	device, err := a.anchored()
	if err != nil {
		return refusedFile(err)
	}
	if len(fleet)+len(time) > 0 && device.Fleet == nil {
		return result(control.ExitRefused, verify.CodeRoot, "this device belongs to no fleet")
	}
	before := a.trustWords()
	if len(vendor)+len(fleet) > 0 {
		err = a.trusted.Rotate(vendor, fleet)
	}
	if err == nil && len(time) > 0 {
		err = a.trusted.Freshen(time)
	}
	if err != nil {
		return refusedFile(err)
	}
	after := a.trustWords()
	if before == after {
		return result(control.ExitNothing, "", "this device knew it already: "+after)
	}
	a.log.Info("trust taken from the link", "now", after)
	return result(control.ExitDone, "", after)
}

var _ link.Learner = (*Agent)(nil)
