package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/verify"
)

// provisionedSlot is where the version is that a device comes with.
const provisionedSlot = "a"

// provisionable are the kinds of images that a device may have: whether its kernel can
// mount them is not to be found out on another machine.
var provisionable = []string{verify.KindTree, verify.KindErofs, verify.KindSquashfs}

// Provision makes a package the permanent version of a device that has none, without an
// agent and without starting anything: where the image of a device is made, which may be
// a machine of another kind. The package is judged as the device would; the order of a
// fleet is not asked for, because a device belongs to none before it is enrolled.
//
// Whatever it is interrupted at, the device has either no version or this one whole: the
// active record is written last. The floors rise at the device's first start.
func Provision(ctx context.Context, cfg config.Config, path string, log *slog.Logger) control.Result {
	cfg.Fleet.Root, cfg.Counter = "", ""
	a := &Agent{cfg: cfg, log: log, news: make(chan struct{})}
	defer a.close()
	if err := a.openOffline(); err != nil {
		return result(control.ExitError, "", sentence(err))
	}
	f, size, err := a.openPackage(ctx, control.StageRequest{Path: path})
	if err != nil {
		return result(control.ExitError, CodeUnreadable, sentence(err))
	}
	defer f.Close()
	in, err := a.judgeProvisioned(f, size)
	if err != nil {
		return refusedFile(err)
	}
	in.from = provenance(control.StageRequest{Path: path})
	in.version.Slot = provisionedSlot
	switch r, err := a.record.Load(); {
	case err == nil && r.Live[firstSystem].Digest == in.version.Digest:
		return result(control.ExitNothing, "", fmt.Sprintf("version %s is permanent already", in.version.Version))
	case err == nil:
		return result(control.ExitRefused, CodeProvisioned, fmt.Sprintf(
			"version %s is permanent in %s already; a factory's version is for a state directory without one", r.Live[firstSystem].Version, cfg.State))
	case !errors.Is(err, slots.ErrNoRecord):
		return result(control.ExitError, "", sentence(err))
	}
	if _, err := a.stageTrusted(ctx, target{a.set, provisionedSlot, "", verify.ClassLive}, in); err != nil {
		return result(control.ExitError, stageCode(err), stageSentence(err))
	}
	if err := a.replaceRecord(in.version, Version{}); err != nil {
		return result(control.ExitError, "", sentence(err))
	}
	return result(control.ExitDone, "", fmt.Sprintf("version %s is permanent in %s", in.version.Version, cfg.State))
}

// openOffline opens what lies on the disk, and nothing that belongs to a running device.
func (a *Agent) openOffline() (err error) {
	if err := slots.MakeDir(a.cfg.State); err != nil {
		return err
	}
	if a.set, err = slots.Open(filepath.Join(a.cfg.State, "slots"), slots.Options{}); errors.Is(err, slots.ErrLocked) {
		return fmt.Errorf("an agent runs on %s: install the package there", a.cfg.State)
	}
	if err != nil {
		return err
	}
	record, err := slots.OpenRecord(a.cfg.State)
	if err != nil {
		return err
	}
	a.record = record
	a.trusted, err = openTrust(a.cfg)
	return err
}

func (a *Agent) judgeProvisioned(f opener, size int64) (*incoming, error) {
	vendor, err := a.trust()
	if err != nil {
		return nil, err
	}
	device, err := deviceOf(a.cfg, a.trusted)
	if err != nil {
		return nil, err
	}
	device.Kinds, device.Systems = provisionable, nil // a system is there before its state
	pkg, err := verify.Open(f, size, vendor, device)
	if err != nil {
		return nil, err
	}
	if _, ok := pkg.Image(verify.ClassLive); !ok || pkg.Manifest.App == nil {
		return nil, noApp(pkg)
	}
	return &incoming{pkg: pkg, file: f, version: versionOf(pkg.Manifest, pkg.Digest, "")}, nil
}
