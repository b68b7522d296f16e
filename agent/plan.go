package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"slipstream/agent/supervise"
	"slipstream/slots"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// run is one run of an app as the runner knows it. Only the loop uses it.
type run struct {
	source   orders.SourceID
	slot     string
	version  Version
	manifest verify.Manifest    // signed, checked when the run was planned
	refused  error              // why nothing of the slot may be started
	process  *supervise.Process // nil until it has started
	group    *supervise.Group   // likewise, and without cgroups
	cancel   context.CancelFunc // calls the start off
	stop     *StopApp           // what was asked for before the process was there
	told     atomic.Bool
}

// plan makes the run of a source, which begins with its slot's signature.
func (a *Agent) plan(source orders.SourceID, slot string) *run {
	if r := a.runs[source]; r != nil {
		return r
	}
	r := &run{source: source, slot: slot, cancel: func() {}}
	r.version, r.manifest, r.refused = a.recheck(a.state.home(slot))
	if want := a.state.version(slot); r.refused == nil && r.version.Digest != want.Digest {
		r.refused = fmt.Errorf("%w: slot %s does not hold version %s any more", slots.ErrDamaged, slot, want.Version)
	}
	if r.refused != nil {
		a.log.Error("slot refused", "slot", slot, "reason", r.refused)
	}
	a.runs[source] = r
	return r
}

// planAdopted is plan for a run that goes on already. It was verified when it was
// started, and viewers see it: keys that are gone or were changed since are a
// matter for its next start. That the slot's signatures are the ones from then is known
// by its digest.
func (a *Agent) planAdopted(source orders.SourceID, slot string) *run {
	r := &run{source: source, slot: slot, cancel: func() {}}
	r.manifest, r.refused = a.knownManifest(slot)
	r.version = versionOf(r.manifest, a.state.version(slot).Digest, a.state.home(slot))
	a.runs[source] = r
	return r
}

// knownManifest is that of the version in a slot, if it is the one that the state
// knows.
func (a *Agent) knownManifest(slot string) (m verify.Manifest, err error) {
	head, err := a.set.Manifest(a.state.home(slot))
	if err == nil {
		m, err = verify.Known(head, a.state.version(slot).Digest)
	}
	if err == nil && m.App == nil {
		err = fmt.Errorf("version %s has no app", m.Version)
	}
	return m, err
}

// recheck verifies what is stored in a slot, by what is trusted today.
func (a *Agent) recheck(slot string) (Version, verify.Manifest, error) {
	st, err := a.set.Status(slot)
	if err != nil {
		return Version{}, verify.Manifest{}, err
	}
	if st.State != slots.StateStaged {
		return Version{}, verify.Manifest{}, fmt.Errorf("%w: slot %s is %s", slots.ErrDamaged, slot, st.State)
	}
	head, err := a.set.Manifest(slot)
	if err == nil {
		_, err = verify.Known(head, st.Digest) // else changed bytes would pass for changed keys
	}
	if err != nil {
		return Version{}, verify.Manifest{}, fmt.Errorf("%w: %w", slots.ErrDamaged, err)
	}
	m, digest, err := a.verified(slot, st.Digest, head)
	switch {
	case err != nil:
		return Version{}, verify.Manifest{}, err
	case digest != st.Digest:
		return Version{}, verify.Manifest{}, fmt.Errorf("%w: slot %s holds another package than it says", slots.ErrDamaged, slot)
	case m.App == nil:
		return Version{}, verify.Manifest{}, fmt.Errorf("version %s has no app", m.Version)
	}
	v := versionOf(m, digest, slot)
	if v.Image != st.SHA256 || !sameTree(st.Verity, imageOf(m).Verity) { // what Mount compares the files with
		return Version{}, verify.Manifest{}, fmt.Errorf("%w: slot %s does not hold the image that was signed", slots.ErrDamaged, slot)
	}
	return v, m, nil
}

// verifySlot makes a version's files available, and says whether the slot holds it to
// the last byte: signature, and then the files. Of an image that the kernel guards by
// its hash tree the files are not read now, but whenever they are. The slots compare
// with what is in their own note, so the note is compared with what was signed, before
// and after.
func (a *Agent) verifySlot(ctx context.Context, slot string, want Version) error {
	if err := a.holds(slot, want); err != nil {
		return err
	}
	_, err := a.set.Mount(ctx, slot)
	if st, statusErr := a.set.Status(slot); statusErr == nil && st.Verity != nil && st.Mount == slots.MountPlain {
		a.log.Info("this kernel has no dm-verity: the image was read whole, and is not checked while it is in use", "slot", slot)
	}
	if errors.Is(err, syscall.EIO) { // a bad block is as bad as a wrong one
		err = fmt.Errorf("%w: %w", slots.ErrDamaged, err)
	}
	if err != nil {
		return err
	}
	return a.holds(slot, want)
}

// holds says whether a slot's signature and note are those of a version.
func (a *Agent) holds(slot string, want Version) error {
	v, _, err := a.recheck(slot)
	if err == nil && (v.Digest != want.Digest || v.Image != want.Image) {
		err = fmt.Errorf("%w: slot %s does not hold version %s any more", slots.ErrDamaged, slot, want.Version)
	}
	return err
}

// versionOf picks what the core needs from a signed manifest.
func versionOf(m verify.Manifest, digest, slot string) Version {
	v := Version{Slot: slot, Digest: digest, Version: m.Version, Counter: m.ReleaseCounter, Epoch: m.SecurityEpoch}
	v.Image, v.System = imageOf(m).SHA256, partOf(m, digest, verify.ClassSystem)
	v.Runtime = partOf(m, digest, verify.ClassRuntime)
	if m.Requires != nil {
		v.Requires = *m.Requires
	}
	if t := m.Trial; t != nil {
		v.Rules = Rules{Greenlight: t.Greenlight, Deadline: milliseconds(t.DeadlineMS), Soak: milliseconds(t.SoakMS)}
	}
	if app := m.App; app != nil {
		v.App, v.Breaks, v.State = contract(app), app.Breaks, app.State
		for _, s := range app.Streams {
			v.Streams, v.Codecs = append(v.Streams, s.Name), append(v.Codecs, s.Codec)
			v.Envelopes = append(v.Envelopes, envelope(s))
			if s.Events {
				v.Events = append(v.Events, s.Name)
			}
		}
		v.Rules = Rules{
			Greenlight: app.Greenlight, StartTimeout: milliseconds(app.StartTimeoutMS), Deadline: milliseconds(app.DeadlineMS),
			Soak: milliseconds(app.SoakMS), StopTimeout: milliseconds(app.StopTimeoutMS), Watchdog: milliseconds(app.WatchdogMS),
			Silent: app.PublishRTSP, Overlap: app.Overlap, Checks: len(app.Checks),
			RestartMax: app.RestartMax, RestartWindow: milliseconds(app.RestartWindow),
		}
	}
	return v
}

// contract is the digest of everything that a manifest says of its app. A field
// that a later agent adds changes it, and then a reverted version may be tried
// once more.
func contract(app *verify.App) string {
	raw, err := json.Marshal(app)
	if err != nil {
		return "" // cannot be: it was read from JSON
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
