package demo

import (
	"context"
	"crypto/ecdsa"
	"os"
	"path/filepath"

	"slipstream/agent/control"
	"slipstream/testrig/camera"
	"slipstream/testrig/camera/clips"
	"slipstream/testrig/device"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// streams are what every version publishes.
var streams = []string{"main", "sub"}

// step is one version of the demo and what has to become of it.
type step struct {
	version  string
	what     string // it does
	selfTest camera.Greenlight
	fault    camera.Fault
	stranger bool // signed by a key that no device trusts
	byPanel  bool // staged through the panel, the others through the agent's socket

	outcome string
	reasons []string // any of them; none for a good update
	hangs   bool     // its gap may be longer by the stall limit
}

// first is what all devices run before the first update.
var first = step{version: "1.0", what: "is installed at the factory", selfTest: passes, outcome: control.OutcomePermanent}

var (
	passes = camera.Greenlight{By: "app", AfterMS: 500}
	never  = camera.Greenlight{By: "never"}
	none   = camera.Fault{Kind: camera.FaultNone}
)

// The times of all versions, short enough to watch.
const (
	soakMS     = 1000
	deadlineMS = 6000
	faultMS    = 2000 // after it is ready and so has taken over
)

var steps = []step{
	{version: "2.0", what: "is good", selfTest: passes, byPanel: true,
		outcome: control.OutcomePermanent},
	{version: "3.0", what: "crashes 2 s after it has taken over", selfTest: never,
		fault:   camera.Fault{Kind: camera.FaultSEGV, AfterMS: faultMS},
		outcome: control.OutcomeReverted, reasons: []string{"exit", "eof"}},
	{version: "4.0", what: "hangs 2 s after it has taken over", selfTest: never,
		fault:   camera.Fault{Kind: camera.FaultHang, AfterMS: faultMS},
		outcome: control.OutcomeReverted, reasons: []string{"stall"}, hangs: true},
	{version: "5.0", what: "is healthy, but never gives its greenlight", selfTest: never,
		outcome: control.OutcomeReverted, reasons: []string{"deadline"}},
	{version: "6.0", what: "is signed by a stranger", selfTest: passes, stranger: true,
		outcome: control.OutcomeRefused, reasons: []string{"untrusted"}},
}

// packages are the built files, by version.
type packages struct {
	trust string
	files map[string]string
}

// buildPackages makes the keys and all versions.
func buildPackages(ctx context.Context, bin, dir string) (packages, error) {
	p := packages{trust: filepath.Join(dir, "release.pub.pem"), files: map[string]string{}}
	vendor, err := pack.Keygen(filepath.Join(dir, "release.key.pem"), p.trust)
	if err != nil {
		return p, err
	}
	stranger, err := pack.GenerateKey()
	if err != nil {
		return p, err
	}
	for i, s := range append([]step{first}, steps...) {
		key := vendor
		if s.stranger {
			key = stranger
		}
		if p.files[s.version], err = s.build(ctx, int64(i+1), bin, dir, key); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (s step) build(ctx context.Context, counter int64, bin, dir string, key *ecdsa.PrivateKey) (string, error) {
	clip, err := clips.Of(s.version)
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "packages")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}
	if s.fault.Kind == "" {
		s.fault = none
	}
	r := device.Release{
		Version: s.version, Counter: counter, Clip: clip, Streams: streams, Greenlight: s.selfTest, Fault: s.fault,
		App: verify.App{
			Overlap: verify.OverlapFull, Greenlight: verify.GreenlightApp,
			DeadlineMS: deadlineMS, StartTimeoutMS: deadlineMS / 2, SoakMS: soakMS, StopTimeoutMS: 1000,
			State: &verify.State{Schema: camera.StateSchema},
		},
	}
	return r.Build(ctx, bin, out, key)
}
