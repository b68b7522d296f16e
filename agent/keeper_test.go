package agent_test

import (
	"crypto/ecdsa"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/verify"
	"slipstream/verify/pack"
	"slipstream/verify/trusttest"
)

// stick is a directory as people carry one to a device.
type stick struct {
	*device
	dir   string
	files int
}

func (s *stick) put(data ...[]byte) (paths []string) {
	s.Helper()
	for _, d := range data {
		s.files++
		path := filepath.Join(s.dir, fmt.Sprintf("%d.json", s.files))
		s.must(os.WriteFile(path, d, 0o644))
		paths = append(paths, path)
	}
	return paths
}

func (s *stick) take(paths []string) control.Result {
	return s.agent.TakeTrust(s.Context(), control.TrustRequest{Paths: paths})
}

func (s *stick) expect(what string, r control.Result, exit int, code string) {
	s.Helper()
	if r.Exit != exit || r.Code != code || r.Message == "" || strings.Contains(r.Message, "\n") {
		s.Errorf("%s: %+v, want exit %d, code %q", what, r, exit, code)
	}
}

// ordered is a package with an order inside.
func (s *stick) ordered(number int64, by ...*ecdsa.PrivateKey) string {
	s.Helper()
	return s.edit(s.pack(fmt.Sprintf("%d.0.0", number), goodApp, nil), func(f *pack.File) {
		for _, order := range trusttest.Order(s, verify.Order{
			Devices: []string{s.cfg.Device}, Package: f.Digest, Sequence: number,
			IssuedAt: time.Now().Add(-time.Hour), Expires: time.Now().AddDate(1, 0, 0),
		}, by...) {
			s.must(f.AttachOrder(order))
		}
	})
}

// A device joins a fleet, obeys its orders from a stick, takes the time from it, and
// leaves it again: all without any network, and by a person's word.
func TestFleetWithoutNetwork(t *testing.T) {
	t.Parallel()
	s := &stick{device: newDevice(t), dir: t.TempDir()}
	fleet := fleetRoot(t)
	word := func(at time.Time, by ...*ecdsa.PrivateKey) []string {
		return s.put(trusttest.Freshness(s, at, by...)...)
	}
	enroll := func(root []byte) control.Result {
		return s.agent.Enroll(s.Context(), control.EnrollRequest{Path: s.put(root)[0]})
	}
	leave := func(device string) control.Result {
		return s.agent.Leave(s.Context(), control.LeaveRequest{Device: device})
	}

	s.expect("a time of no fleet", s.take(word(time.Now(), fleet.Timestamps.Keys...)), control.ExitRefused, verify.CodeFreshness)
	s.expect("leaving none", leave("cam-1"), control.ExitNothing, "")
	s.expect("a vendor's root", enroll(vendor(s.device).Sign(s)), control.ExitRefused, verify.CodeRoot)
	s.expect("enrolling", enroll(fleet.Sign(s)), control.ExitDone, "")
	s.expect("enrolling again", enroll(fleet.Sign(s)), control.ExitRefused, "enrolled")

	s.restart()
	s.expect("without an order", s.stage(s.pack("1.0.0", goodApp, nil)), control.ExitRefused, verify.CodeNoOrder)
	s.expect("another's order", s.stage(s.ordered(3, fleet.Root.Keys...)), control.ExitRefused, verify.CodeOrderSigner)
	s.expect("with an order", s.stage(s.ordered(3, fleet.Targets.Keys...)), control.ExitDone, "")
	s.expect("with an older one", s.stage(s.ordered(2, fleet.Targets.Keys...)), control.ExitRefused, verify.CodeOrderOlder)

	future := time.Now().AddDate(2, 0, 0)
	s.expect("an order key's time", s.take(word(future, fleet.Targets.Keys...)), control.ExitRefused, verify.CodeFreshness)
	if dev := s.kept(); dev.Time.After(time.Now().AddDate(1, 0, 0)) {
		t.Errorf("the time moved to %s", dev.Time)
	}
	s.expect("the time", s.take(word(future, fleet.Timestamps.Keys...)), control.ExitDone, "")
	if dev := s.kept(); dev.Time.Before(future.Truncate(time.Second)) {
		t.Errorf("the time is %s, want %s", dev.Time, future)
	}
	s.expect("an expired order", s.stage(s.ordered(4, fleet.Targets.Keys...)), control.ExitRefused, verify.CodeOrderExpired)

	s.expect("leaving as another", leave("cam-2"), control.ExitRefused, "other-device")
	s.expect("leaving", leave("cam-1"), control.ExitDone, "")
	s.restart()
	s.expect("without an order, alone again", s.stage(s.pack("5.0.0", goodApp, nil)), control.ExitDone, "")
}

// Roots come on a stick as they do in a package: the chain, in any order, and no other.
func TestRootsFromAStick(t *testing.T) {
	t.Parallel()
	s := &stick{device: newDevice(t), dir: t.TempDir()}
	one := vendor(s.device)
	s.expect("a root for a file of keys", s.take(s.put(one.Sign(s))), control.ExitRefused, verify.CodeRoot)
	s.trusts(one)
	two, three := one, one
	two.Version, three.Version = 2, 3
	s.expect("a root too far", s.take(s.put(three.Sign(s))), control.ExitRefused, verify.CodeRootStep)
	forged := two
	forged.Root.Keys = trusttest.Keys(s, 1)
	s.expect("a stranger's root", s.take(s.put(forged.Sign(s))), control.ExitRefused, verify.CodeRootUntrusted)
	s.expect("rubbish", s.take(s.put([]byte("rubbish"))), control.ExitRefused, verify.CodeJSON)
	s.expect("too much", s.take(s.put(make([]byte, verify.MaxTrustFile+1))), control.ExitRefused, verify.CodeTooLarge)
	s.expect("a fleet's", s.take(s.put(fleetRoot(t).Sign(s))), control.ExitRefused, verify.CodeRoot)
	s.expect("no file", s.take([]string{filepath.Join(s.dir, "none")}), control.ExitError, "unreadable")
	if l := s.learned(); l.vendor != 1 {
		t.Errorf("the vendor's root is %d", l.vendor)
	}
	chain := s.put(three.Sign(s), two.Sign(s))
	s.expect("the chain", s.take(chain), control.ExitDone, "")
	s.expect("the chain again", s.take(chain), control.ExitNothing, "")
	s.restart()
	if l := s.learned(); l.vendor != 3 {
		t.Errorf("the vendor's root is %d", l.vendor)
	}
}
