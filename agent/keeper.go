package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"slipstream/agent/control"
	"slipstream/verify"
	"slipstream/verify/trust"
)

var _ control.Keeper = (*Agent)(nil)

// brought is what a person brings to a device besides packages.
type brought struct {
	vendor, fleet []*verify.Root
	times         [][]byte // signatures over one statement of the time
}

// TakeTrust implements [control.Keeper].
func (a *Agent) TakeTrust(ctx context.Context, r control.TrustRequest) control.Result {
	if err := a.ready(ctx); err != nil {
		return result(control.ExitError, "", sentence(err))
	}
	var b brought
	for _, path := range r.Paths {
		if err := b.read(path); err != nil {
			return refusedFile(err)
		}
	}
	device, err := a.anchored()
	if err != nil {
		return refusedFile(err)
	}
	before := a.trustWords()
	if err := a.believe(b, device); err != nil {
		return refusedFile(err)
	}
	after := a.trustWords()
	if before == after && len(b.times) == 0 {
		return result(control.ExitNothing, "", "this device knew it already: "+after)
	}
	a.log.Info("trust taken from files", "paths", r.Paths, "now", after)
	return result(control.ExitDone, "", after)
}

// anchored reads the anchors' files first, as each package does: they may have been
// put there since.
func (a *Agent) anchored() (verify.Device, error) {
	if _, err := a.trust(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return verify.Device{}, err
	}
	return deviceOf(a.cfg, a.trusted)
}

func (a *Agent) believe(b brought, device verify.Device) error {
	vendor := a.trusted.Vendor()
	switch {
	case len(b.vendor) > 0 && (vendor == nil || vendor.Root() == nil):
		return &verify.Error{Code: verify.CodeRoot, Message: "this device trusts a file of keys, which no vendor's root can follow"}
	case len(b.fleet) > 0 && device.Fleet == nil:
		return &verify.Error{Code: verify.CodeRoot, Message: "this device belongs to no fleet: slipstream enroll FILE makes it belong to one"}
	}
	if len(b.vendor)+len(b.fleet) > 0 {
		if err := a.trusted.Rotate(chain(b.vendor), chain(b.fleet)); err != nil {
			return err
		}
	}
	if len(b.times) > 0 {
		return a.trusted.Freshen(b.times)
	}
	return nil
}

// chain is the roots' bytes in the order in which they follow each other.
func chain(roots []*verify.Root) (steps [][]byte) {
	slices.SortFunc(roots, func(x, y *verify.Root) int { return cmp.Compare(x.Version(), y.Version()) })
	for _, root := range roots {
		steps = append(steps, root.Bytes())
	}
	return steps
}

// read finds out what a file is.
func (b *brought) read(path string) error {
	data, err := readTrustFile(path)
	if err != nil {
		return err
	}
	root, rootErr := verify.DraftRoot(data)
	switch {
	case rootErr == nil && root.Terms().Kind == verify.KindVendor:
		b.vendor = append(b.vendor, root)
	case rootErr == nil:
		b.fleet = append(b.fleet, root)
	case verify.Code(rootErr) == verify.CodeWrongDocument:
		b.times = append(b.times, data) // judged as such, if it is one
	default:
		return fmt.Errorf("%s: %w", path, rootErr)
	}
	return nil
}

func readTrustFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would keep us waiting for its writer
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, verify.MaxTrustFile+1))
	if err == nil && len(data) > verify.MaxTrustFile {
		err = &verify.Error{Code: verify.CodeTooLarge, Message: fmt.Sprintf("%s has more than %d bytes", path, verify.MaxTrustFile)}
	}
	return data, err
}

// trustWords say whom the device trusts, and what it takes the time to be.
func (a *Agent) trustWords() string {
	words := "releases by a file of keys"
	if vendor := a.trusted.Vendor(); vendor == nil {
		words = "nobody's releases"
	} else if root := vendor.Root(); root != nil {
		words = fmt.Sprintf("releases by the vendor's root %d", root.Version())
	}
	if device, err := deviceOf(a.cfg, a.trusted); err == nil && device.Fleet != nil {
		words += fmt.Sprintf(", orders by the fleet's root %d", device.Fleet.Root.Version())
	}
	if now := a.trusted.Now(); !now.IsZero() {
		words += fmt.Sprintf("; it is %s or later", now.UTC().Format("2006-01-02"))
	}
	return words
}

// Enroll implements [control.Keeper].
func (a *Agent) Enroll(ctx context.Context, r control.EnrollRequest) control.Result {
	if err := a.ready(ctx); err != nil {
		return result(control.ExitError, "", sentence(err))
	}
	if r.Panel != "" {
		return a.enrollByToken(ctx, r)
	}
	root, err := verify.LoadFleet(r.Path)
	if err != nil {
		return refusedFile(err)
	}
	if _, err := a.anchored(); err != nil { // the configuration may have enrolled it
		return refusedFile(err)
	}
	if err := a.trusted.Enroll(root); err != nil {
		return refusedFile(err)
	}
	a.log.Warn("enrolled by a person at the device", "fleet", root.Digest(), "path", r.Path)
	a.changed()
	return result(control.ExitDone, "", fmt.Sprintf(
		"this device belongs to the fleet of root %d (%.16s) now: packages need its order too", root.Version(), root.Digest()))
}

// Leave implements [control.Keeper].
func (a *Agent) Leave(ctx context.Context, r control.LeaveRequest) control.Result {
	if err := a.ready(ctx); err != nil {
		return result(control.ExitError, "", sentence(err))
	}
	if r.Device != a.cfg.Device {
		return result(control.ExitRefused, CodeOtherDevice, fmt.Sprintf("this device is %s, not %s: nothing has changed", a.cfg.Device, r.Device))
	}
	panel := a.identity.Panel()
	if err := a.identity.Forget(); err != nil { // first: a device in a fleet without a panel can leave again
		return result(control.ExitError, "", sentence(err))
	}
	if device, err := a.anchored(); err == nil && device.Fleet == nil {
		if panel == "" {
			return result(control.ExitNothing, "", "this device belongs to no fleet")
		}
		a.log.Warn("the panel was left by a person at the device", "device", r.Device, "panel", panel)
		a.changed()
		return result(control.ExitDone, "", "this device belongs to no panel now")
	}
	if err := a.trusted.Leave(); err != nil {
		return refusedFile(err)
	}
	a.log.Warn("the fleet was left by a person at the device", "device", r.Device)
	a.changed()
	return result(control.ExitDone, "", "this device belongs to no fleet now: the vendor's signature is enough for packages; the floors stay")
}

// refusedFile tells what a file or a person asks wrongly from a disk that fails.
func refusedFile(err error) control.Result {
	if errors.Is(err, trust.ErrEnrolled) {
		return result(control.ExitRefused, CodeEnrolled, sentence(err)+" (slipstream leave DEVICE)")
	}
	if refusal, ok := errors.AsType[*verify.Error](err); ok {
		return result(control.ExitRefused, refusal.Code, refusal.Message)
	}
	return result(control.ExitError, CodeUnreadable, sentence(err))
}
