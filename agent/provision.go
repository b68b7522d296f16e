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

// Provisioned is what a device comes with.
type Provisioned struct {
	Package string // file of its version
	// System is the file of the package with the system in slot a; "": it is not known.
	System string
	// Partitions are what becomes the system slots, by name; none: the system is put
	// there by other means.
	Partitions map[string]string
	Both       bool // the system goes into slot b, too
}

// Provision makes a package the permanent version of a device that has none, without an
// agent and without starting anything: where the image of a device is made, which may be
// a machine of another kind. The package is judged as the device would; the order of a
// fleet is not asked for, because a device belongs to none before it is enrolled.
//
// Whatever it is interrupted at, the device has either no version or this one whole: the
// active record is written last. The floors rise at the device's first start.
func Provision(ctx context.Context, cfg config.Config, p Provisioned, log *slog.Logger) control.Result {
	cfg.Fleet.Root, cfg.Counter = "", ""
	a := &Agent{cfg: cfg, log: log, news: make(chan struct{})}
	defer a.close()
	if err := a.openOffline(p.Partitions); err != nil {
		return result(control.ExitError, "", sentence(err))
	}
	var app, system *incoming
	for _, what := range []struct {
		in    **incoming
		path  string
		class string
	}{{&system, p.System, verify.ClassSystem}, {&app, p.Package, verify.ClassLive}} {
		if what.path == "" {
			continue
		}
		f, size, err := a.openPackage(ctx, control.StageRequest{Path: what.path})
		if err != nil {
			return result(control.ExitError, CodeUnreadable, sentence(err))
		}
		defer f.Close()
		if *what.in, err = a.judgeProvisioned(f, size, what.class, system); err != nil {
			return refusedFile(err)
		}
		(*what.in).from = provenance(control.StageRequest{Path: what.path})
	}
	return a.provision(ctx, app, system, p)
}

func (a *Agent) provision(ctx context.Context, app, system *incoming, p Provisioned) control.Result {
	v := app.version.app()
	v.Slot = provisionedSlot
	if system != nil {
		v.System = system.version.System
		v.System.Slot = firstSystem
	}
	switch r, err := a.record.Load(); {
	case err == nil && r.Live[firstSystem].Digest == v.Digest && (system == nil || r.Systems[firstSystem].Digest == v.System.Digest):
		return result(control.ExitNothing, "", fmt.Sprintf("version %s is permanent already", v.Version))
	case err == nil:
		return result(control.ExitRefused, CodeProvisioned, fmt.Sprintf(
			"version %s is permanent in %s already; a factory's version is for a state directory without one", r.Live[firstSystem].Version, a.cfg.State))
	case !errors.Is(err, slots.ErrNoRecord):
		return result(control.ExitError, "", sentence(err))
	}
	if err := a.putSystem(ctx, system, p.Both); err != nil {
		return result(control.ExitError, stageCode(err), stageSentence(err))
	}
	if _, err := a.stageTrusted(ctx, target{a.set, provisionedSlot, "", verify.ClassLive}, app); err != nil {
		return result(control.ExitError, stageCode(err), stageSentence(err))
	}
	r := a.recorded(slots.Record{}, v, Version{})
	if p.Both { // what starts slot b finds the same there
		r.Systems[slotNames[1]], r.Live[slotNames[1]] = r.Systems[firstSystem], r.Live[firstSystem]
	}
	if err := a.record.Replace(r); err != nil {
		return result(control.ExitError, "", sentence(err))
	}
	said := fmt.Sprintf("version %s is permanent in %s", v.Version, a.cfg.State)
	if system != nil {
		said += ", with system " + v.System.Version
	}
	return result(control.ExitDone, "", said)
}

// putSystem writes a system where it is to be, or only remembers that it is there.
func (a *Agent) putSystem(ctx context.Context, system *incoming, both bool) error {
	if system == nil {
		return nil
	}
	for _, slot := range slotNames {
		if slot != firstSystem && !both {
			continue
		}
		to := target{a.systems, slot, "", verify.ClassSystem}
		var err error
		if a.systems != nil {
			_, err = a.stageTrusted(ctx, to, system)
		} else {
			err = a.trusted.Staged(to.name(), a.installed(system.version), system.pkg.Learned)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openOffline opens what lies on the disk, and nothing that belongs to a running device.
func (a *Agent) openOffline(partitions map[string]string) (err error) {
	if err := slots.MakeDir(a.cfg.State); err != nil {
		return err
	}
	if a.set, err = slots.Open(filepath.Join(a.cfg.State, "slots"), slots.Options{}); errors.Is(err, slots.ErrLocked) {
		return fmt.Errorf("an agent runs on %s: install the package there", a.cfg.State)
	}
	if err != nil {
		return err
	}
	if len(partitions) > 0 {
		if a.systems, err = slots.Open(filepath.Join(a.cfg.State, "system"), slots.Options{Partitions: partitions}); err != nil {
			return err
		}
	}
	record, err := slots.OpenRecord(a.cfg.State)
	if err != nil {
		return err
	}
	a.record = record
	a.trusted, err = openTrust(a.cfg)
	return err
}

// judgeProvisioned opens the package of an app, to run with a system or with one that is
// not known, or the package of a system.
func (a *Agent) judgeProvisioned(f opener, size int64, class string, with *incoming) (*incoming, error) {
	vendor, err := a.trust()
	if err != nil {
		return nil, err
	}
	device, err := deviceOf(a.cfg, a.trusted)
	if err != nil {
		return nil, err
	}
	device.Kinds = provisionable
	if class == verify.ClassLive && with == nil {
		device.Systems = nil // a system is there before its state
	}
	pkg, err := verify.Open(f, size, vendor, device)
	if err != nil {
		return nil, err
	}
	in := &incoming{pkg: pkg, file: f, version: versionOf(pkg.Manifest, pkg.Digest, "")}
	_, has := pkg.Image(class)
	switch {
	case class == verify.ClassSystem && !has:
		return nil, &verify.Error{Code: CodeNoSystem, Message: fmt.Sprintf("version %s has no system for a system slot", pkg.Manifest.Version)}
	case class == verify.ClassSystem:
		return in, nil
	case !has || pkg.Manifest.App == nil:
		return nil, noApp(pkg)
	}
	return in, fitsSystem(in.version, with)
}

// fitsSystem says why an app is not what a device with a system may come with.
func fitsSystem(app Version, with *incoming) error {
	var release int64
	if with != nil {
		release = with.version.System.Counter
	}
	switch {
	case !app.System.none() && with != nil && app.Digest != with.version.Digest:
		return &verify.Error{Code: CodeCombined, Message: fmt.Sprintf(
			"version %s brings a system of its own: name it as the package of the system, too", app.Version)}
	case app.System.none() && app.Requires.System > release && with == nil:
		return &verify.Error{Code: CodeRequires, Message: fmt.Sprintf(
			"version %s requires a system of release %d or later, and it is not said which one the device comes with: name its package, too", app.Version, app.Requires.System)}
	case app.System.none() && app.Requires.System > release:
		return &verify.Error{Code: CodeRequires, Message: fmt.Sprintf(
			"version %s requires a system of release %d or later, and the device comes with release %d", app.Version, app.Requires.System, release)}
	}
	return nil
}
