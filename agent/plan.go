package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"slipstream/agent/supervise"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// run is one run of an app as the runner knows it. Only the loop uses it.
type run struct {
	source   orders.SourceID
	slot     string
	manifest verify.Manifest    // signed, checked when the run was planned
	refused  error              // why nothing of the slot may run
	process  *supervise.Process // nil until it has started
	cancel   context.CancelFunc // calls the start off
	stop     *StopApp           // what was asked for before the process was there
	told     atomic.Bool
}

// plan makes the run of a source, which begins with its slot's signature:
// nothing is even announced to the forwarder that was not verified.
func (a *Agent) plan(source orders.SourceID, slot string) *run {
	if r := a.runs[source]; r != nil {
		return r
	}
	r := &run{source: source, slot: slot, cancel: func() {}}
	var v Version
	v, r.manifest, r.refused = a.recheck(slot)
	if want := a.state.version(slot); r.refused == nil && v.Digest != want.Digest {
		r.refused = fmt.Errorf("slot %s does not hold version %s any more", slot, want.Version)
	}
	if r.refused != nil {
		a.log.Error("slot refused", "slot", slot, "reason", r.refused)
	}
	a.runs[source] = r
	return r
}

// recheck verifies the signature of what is stored in a slot, with the keys
// that are trusted today.
func (a *Agent) recheck(slot string) (Version, verify.Manifest, error) {
	st, err := a.set.Status(slot)
	if err != nil {
		return Version{}, verify.Manifest{}, err
	}
	bundle, err := a.set.Manifest(slot)
	if err != nil {
		return Version{}, verify.Manifest{}, err
	}
	trust, err := a.trust()
	if err != nil {
		return Version{}, verify.Manifest{}, err
	}
	m, digest, err := verify.Recheck(bundle, trust)
	switch {
	case err != nil:
		return Version{}, verify.Manifest{}, err
	case digest != st.Digest:
		return Version{}, verify.Manifest{}, fmt.Errorf("slot %s holds another package than it says", slot)
	case m.App == nil:
		return Version{}, verify.Manifest{}, fmt.Errorf("version %s has no app", m.Version)
	}
	v := versionOf(m, digest, slot)
	if v.Image != st.SHA256 { // what Verify compares the files with
		return Version{}, verify.Manifest{}, fmt.Errorf("slot %s does not hold the image that was signed", slot)
	}
	return v, m, nil
}

// versionOf picks what the core needs from a signed manifest.
func versionOf(m verify.Manifest, digest, slot string) Version {
	v := Version{Slot: slot, Digest: digest, Version: m.Version, Counter: m.ReleaseCounter}
	if i := slices.IndexFunc(m.Images, func(i verify.Image) bool { return i.Class == verify.ClassLive }); i >= 0 {
		v.Image = m.Images[i].SHA256
	}
	if app := m.App; app != nil {
		v.App = contract(app)
		v.Rules = Rules{
			Greenlight: app.Greenlight, StartTimeout: milliseconds(app.StartTimeoutMS), Deadline: milliseconds(app.DeadlineMS),
			Soak: milliseconds(app.SoakMS), StopTimeout: milliseconds(app.StopTimeoutMS), Watchdog: milliseconds(app.WatchdogMS),
			Silent: app.PublishRTSP, RestartMax: app.RestartMax, RestartWindow: milliseconds(app.RestartWindow),
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
