package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"slipstream/agent/config"
	"slipstream/slots"
	"slipstream/verify"
	"slipstream/verify/trust"
)

// timeSaved is how often secure time is written down: so much of it a power cut
// takes back.
const timeSaved = time.Hour

// TrustDir is where the device's trust is kept, below the state directory.
const TrustDir = "trust"

// openTrust reads what the device remembers of its trust. The anchors come later,
// from files that may be put there or replaced while the agent runs.
func openTrust(cfg config.Config) (*trust.Store, error) {
	f := trust.Factory{Built: builtAt()}
	if cfg.Counter != "" {
		f.Counter = trust.FileCounter(cfg.Counter)
	}
	return trust.Open(filepath.Join(cfg.State, TrustDir), f)
}

// builtAt is when this program's sources were committed, zero if that is unknown.
func builtAt() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	i := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "vcs.time" })
	if i < 0 {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, info.Settings[i].Value)
	if err != nil {
		return time.Time{}
	}
	return at
}

// Trust is what a device trusts, without an agent: whose releases, and as what it
// judges them. It changes nothing on disk.
func Trust(cfg config.Config) (*verify.Trust, verify.Device, error) {
	vendor, err := verify.LoadTrust(cfg.Trust)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, verify.Device{}, &noTrustError{path: cfg.Trust, err: err}
	}
	if err != nil {
		return nil, verify.Device{}, fmt.Errorf("read the trusted keys: %w", err)
	}
	kept, err := openTrust(cfg)
	if err != nil {
		return nil, verify.Device{}, err
	}
	device, err := deviceOf(cfg, kept)
	device.Kinds = runnable() // what the agent may, this process need not
	device.Runtimes = []string{verify.KindTree}
	return kept.AnchorVendor(vendor), device, err
}

// deviceOf is the device as its trust knows it.
func deviceOf(cfg config.Config, kept *trust.Store) (verify.Device, error) {
	if cfg.Fleet.Root != "" {
		root, err := verify.LoadFleet(cfg.Fleet.Root)
		if err != nil { // to go on without it could be to leave the fleet
			return verify.Device{}, fmt.Errorf("read the fleet's root: %w", err)
		}
		kept.AnchorFleet(root)
	}
	device, err := kept.Device(cfg.Product)
	device.ID, device.Hardware, device.Kinds = cfg.Device, cfg.Hardware, mountable()
	if cfg.System.Is() {
		device.Systems = []string{verify.KindDisk, verify.KindErofs, verify.KindSquashfs}
	}
	return device, err
}

// trust is whose releases are trusted now.
func (a *Agent) trust() (*verify.Trust, error) {
	vendor, err := verify.LoadTrust(a.cfg.Trust)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &noTrustError{path: a.cfg.Trust, err: err}
	}
	if err != nil {
		return nil, err
	}
	return a.trusted.AnchorVendor(vendor), nil
}

// device is what a package is judged against now. The floors are those of the
// permanent version, or higher ones that were there before it.
func (a *Agent) device(linked bool) (verify.Device, error) {
	device, err := deviceOf(a.cfg, a.trusted)
	if err != nil {
		return verify.Device{}, err
	}
	s := a.snapshot().state
	permanent, again := s.Permanent, s.Permanent.Digest
	if s.Previous.Counter == permanent.Counter { // it was damaged and fell back, and may come again
		again = s.Previous.Digest
	}
	floor := permanent.Counter
	for _, other := range []Part{s.System.Permanent, s.Runtime.Permanent} {
		if other.Counter > 0 && other.Counter < floor {
			floor, again = other.Counter, other.Digest // the core compares with what a package would replace
		}
	}
	if a.runtimes != nil {
		device.Runtimes = []string{verify.KindTree}
	}
	device.FloorDigest = again
	device.FloorCounter = max(device.FloorCounter, floor)
	device.FloorEpoch = max(device.FloorEpoch, permanent.Epoch)
	if device.Fleet != nil {
		device.Fleet.Linked = linked
	}
	return device, nil
}

// verified is what a slot's signatures say. Under a file of keys one of them must have
// signed it, each time anew. Under a root the keys rotate, and a version that was
// verified here when it was staged stays what it is.
func (a *Agent) verified(slot, digest string, head []byte) (verify.Manifest, string, error) {
	vendor, err := a.trust()
	if err != nil {
		return verify.Manifest{}, "", err
	}
	if was, ok := a.trusted.Installed(slot); ok && was.Digest == digest && vendor.Root() != nil {
		m, err := verify.Known(head, digest)
		return m, digest, err
	}
	return verify.Recheck(head, vendor)
}

// stageTrusted writes a package into a slot, and then, when all of it is on disk and
// was read back, remembers what it brought: of a damaged one nothing is.
func (a *Agent) stageTrusted(ctx context.Context, to target, in *incoming) (slots.Report, error) {
	cost, err := a.write(ctx, to, in)
	if err != nil {
		return cost, err
	}
	return cost, a.trusted.Staged(to.name(), a.installed(in.version), in.pkg.Learned)
}

// finishStaging remembers what a package brought whose agent died between its last
// byte and that. The package itself was accepted before its first one.
func (a *Agent) finishStaging(slot string) {
	st, err := a.set.Status(slot)
	was, ok := a.trusted.Installed(slot)
	if err != nil || st.State != slots.StateStaged || ok && was.Digest == st.Digest {
		return
	}
	v, learned, err := a.relearn(slot)
	if err == nil {
		err = a.trusted.Staged(slot, a.installed(v), learned)
	}
	if err != nil {
		a.log.Warn("what a staged package brought is not remembered", "slot", slot, "version", st.Version, "reason", err)
	}
}

func (a *Agent) relearn(slot string) (Version, verify.Learned, error) {
	vendor, err := a.trust()
	if err != nil {
		return Version{}, verify.Learned{}, err
	}
	device, err := deviceOf(a.cfg, a.trusted)
	if err != nil {
		return Version{}, verify.Learned{}, err
	}
	v, _, err := a.recheck(slot)
	if err != nil {
		return Version{}, verify.Learned{}, err
	}
	head, err := a.set.Manifest(slot)
	if err != nil {
		return Version{}, verify.Learned{}, err
	}
	learned, err := verify.Relearn(head, vendor, device)
	return v, learned, err
}

func (a *Agent) installed(v Version) trust.Installed {
	return trust.Installed{Product: a.cfg.Product, Digest: v.Digest, Counter: v.Counter, Epoch: v.Epoch}
}

// raiseFloors follows a commit. What fails now is done at the next commit, or the
// next start: until then the floors are lower, and nothing else.
func (a *Agent) raiseFloors(permanent, previous Version) {
	var others []trust.Installed
	if !previous.none() {
		others = append(others, a.asInstalled(previous))
	}
	if a.systems != nil || a.runtimes != nil {
		again, err := a.mayRunAgain()
		if err != nil {
			a.log.Error("floors not raised", "version", permanent.Version, "reason", err)
			return
		}
		others = append(others, again...)
	}
	if err := a.trusted.Committed(a.asInstalled(permanent), others...); err != nil {
		a.log.Error("floors not raised", "version", permanent.Version, "reason", err)
	}
}

// asInstalled is a version by its own release counter. The permanent one carries the floor,
// which is higher if it was returned to.
func (a *Agent) asInstalled(v Version) trust.Installed {
	if was, ok := a.trusted.Installed(v.Slot); ok && was.Digest == v.Digest {
		return was
	}
	return a.installed(v)
}

// seedTrust tells a trust state that was lost, or never was, what the active record
// says. Else a version whose key was rotated out would not be started again.
func (a *Agent) seedTrust(permanent, previous Version) {
	if permanent.none() || !a.trusted.Fresh() {
		return
	}
	a.log.Warn("trust state begun anew from the active record", "version", permanent.Version)
	for _, v := range []Version{permanent, previous} {
		if v.none() {
			continue
		}
		if err := a.trusted.Staged(v.Slot, a.installed(v), verify.Learned{}); err != nil {
			a.log.Error("trust state not written", "reason", err)
		}
	}
}

// catchUp raises the floors after an agent that died between a commit and them. A
// version before of which nobody knows the epoch leaves them where they are.
func (a *Agent) catchUp(e Recover) {
	switch i := slices.IndexFunc(e.Slots[:], func(v Version) bool { return v.Digest == e.Previous.Digest }); {
	case e.Permanent.none():
	case e.Previous.none():
		a.raiseFloors(e.Permanent, Version{})
	case i >= 0:
		a.raiseFloors(e.Permanent, e.Slots[i])
	}
}

// keepTime writes secure time down, now and then and at the end.
func (a *Agent) keepTime(ctx context.Context) {
	ticker := time.NewTicker(timeSaved)
	defer ticker.Stop()
	for {
		if err := a.trusted.Save(); err != nil {
			a.log.Error("secure time not written", "reason", err)
		}
		if ctx.Err() != nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// trustProblems say why packages are refused, or what is not as it should be.
func (a *Agent) trustProblems() (out []string) {
	_, err := a.trust()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		out = append(out, fmt.Sprintf("no trusted keys at %s: every package will be refused; copy the release's public key there", a.cfg.Trust))
	case err != nil:
		out = append(out, fmt.Sprintf("%s: every package will be refused", bare(err)))
	}
	if _, err := deviceOf(a.cfg, a.trusted); err != nil {
		out = append(out, fmt.Sprintf("%s: every package will be refused", bare(err)))
	}
	return append(out, a.trusted.Problems()...)
}

// noTrustError says what to do about a missing file of keys.
type noTrustError struct {
	path string
	err  error
}

func (e *noTrustError) Error() string {
	return fmt.Sprintf("no trusted keys at %s; copy the release's public key there", e.path)
}

func (e *noTrustError) Unwrap() error { return e.err }
