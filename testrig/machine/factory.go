package machine

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"slipstream/testrig/device"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// Factory makes cameras of one architecture, and releases for them.
type Factory struct {
	Kit  *Kit
	Disk string // image of a new camera's disk
	Key  *ecdsa.PrivateKey

	Product, Hardware string // of its cameras

	dir   string
	first Release // that its cameras come with
	trust []byte  // PEM of the release key
}

// watchdogS is how long the hardware watchdog waits, in seconds.
const watchdogS = 240

// SystemTerms are the trial of the factory's systems: a reboot is emulated, too.
var SystemTerms = verify.TrialTerms{Greenlight: verify.GreenlightAuto, DeadlineMS: 10 * 60_000, SoakMS: 2000}

// Release is what a new camera comes with.
type Release struct {
	Camera string // file of its package; signed by Key, or by whom Trust names
	Trust  []byte // PEM of the keys that the device trusts beside the factory's own
}

// FirstSystem is the system that a new camera comes with, in both slots.
var FirstSystem = System{Version: "1.0.0"}

// NewFactory makes the key, and what else is of one factory, in dir.
func NewFactory(kit *Kit, dir string) (*Factory, error) {
	key, err := pack.GenerateKey()
	if err != nil {
		return nil, err
	}
	trust, err := pack.PublicPEM(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	return &Factory{
		Kit: kit, Disk: filepath.Join(dir, "disk.img"), Key: key, Product: device.Product, Hardware: device.Hardware,
		dir: dir, trust: trust,
	}, nil
}

// Trust is the key that its devices trust, as PEM.
func (f *Factory) Trust() []byte { return f.trust }

// system completes a system by what all of this factory's have.
func (f *Factory) system(s System) System {
	s.Files = map[string][]byte{"etc/slipstream/trust.pem": f.trust, "etc/slipstream/slipstream.toml": f.config()}
	if w := f.Kit.Arch.watchdog; w != "" {
		s.Files["etc/slipstream/slipstream.toml.d/watchdog.toml"] = fmt.Appendf(nil,
			"[system]\nwatchdog = \"/dev/watchdog0\"\nwatchdog_s = %d\nwatchdog_always = true\n", watchdogS)
	}
	return s
}

// config is the configuration of this factory's cameras.
func (f *Factory) config() []byte {
	text, err := rootFiles.ReadFile("root/etc/slipstream/slipstream.toml")
	if err != nil {
		panic("machine: " + err.Error()) // embedded at build time
	}
	return fmt.Appendf(nil, "product = %q\nhardware = %q\n%s", f.Product, f.Hardware, text)
}

// System makes the package of a system.
func (f *Factory) System(ctx context.Context, s System, counter int64) (string, error) {
	image, err := f.SystemImage(ctx, s)
	if err != nil {
		return "", err
	}
	defer os.Remove(image)
	return f.packSystem(ctx, s, counter, image)
}

// SystemImage makes what is flashed into a system slot. The file is the caller's.
func (f *Factory) SystemImage(ctx context.Context, s System) (string, error) {
	image := filepath.Join(f.dir, "system-"+s.Version+".img")
	if err := f.Kit.Write(ctx, f.system(s), image); err != nil {
		return "", fmt.Errorf("system %s: %w", s.Version, err)
	}
	return image, nil
}

func (f *Factory) packSystem(ctx context.Context, s System, counter int64, image string) (string, error) {
	terms := SystemTerms
	terms.Greenlight = cmp.Or(s.By, terms.Greenlight)
	out := filepath.Join(f.dir, "systems") // a camera's package may have the same version
	path, err := pack.BuildFile(ctx, out, pack.Options{
		Images: []pack.Source{{Class: verify.ClassSystem, Kind: verify.KindDisk, Path: image}},
		Key:    f.Key,
		Manifest: verify.Manifest{
			Product: f.Product, Hardware: []string{f.Hardware},
			Version: s.Version, ReleaseCounter: counter, Trial: &terms,
		},
	})
	if err != nil {
		return "", fmt.Errorf("system %s: %w", s.Version, err)
	}
	return path, nil
}

// Camera makes the package of a version of the sample camera, for the factory's usual
// product.
func (f *Factory) Camera(ctx context.Context, r device.Release) (string, error) {
	return f.CameraBy(ctx, r, f.Key)
}

// CameraBy makes one that somebody else has signed.
func (f *Factory) CameraBy(ctx context.Context, r device.Release, key *ecdsa.PrivateKey) (string, error) {
	return r.Build(ctx, f.Kit.Bin, filepath.Join(f.dir, "cameras"), key)
}

// Build makes a new camera's disk as a vendor's factory would: the programs are in the
// system, and `slipstream provision` puts versions into the slots and the state.
func (f *Factory) Build(ctx context.Context, r Release) error {
	f.first, f.trust = r, append(f.trust, r.Trust...)
	return f.build(ctx, f.system(FirstSystem), f.Disk)
}

// Debian makes the two disks of a camera whose system is Debian, with systemd and
// without Slipstream: that comes as a package, see [Kit.Deb].
func (f *Factory) Debian(ctx context.Context) (disk, root string, err error) {
	if root, err = f.Kit.debianRoot(ctx); err != nil {
		return "", "", err
	}
	disk = filepath.Join(f.dir, "debian.img")
	if _, err := os.Stat(disk); err == nil {
		return disk, root, nil
	}
	s := f.system(System{Version: FirstSystem.Version, Links: map[string]string{"init": "usr/lib/rig/debian"}})
	return disk, root, f.build(ctx, s, disk)
}

func (f *Factory) build(ctx context.Context, s System, disk string) error {
	image := filepath.Join(f.dir, "first.img")
	if err := f.Kit.Write(ctx, s, image); err != nil {
		return err
	}
	defer os.Remove(image)
	system, err := f.packSystem(ctx, s, 1, image)
	if err != nil {
		return err
	}
	root := filepath.Join(f.dir, "root")
	defer os.RemoveAll(root)
	parts := Parts{
		A: filepath.Join(f.dir, "a.img"), B: filepath.Join(f.dir, "b.img"),
		Recovery: image, Data: filepath.Join(f.dir, "data.img"),
	}
	for _, part := range []string{parts.A, parts.B, parts.Data} {
		defer os.Remove(part)
	}
	if err := f.provision(ctx, root, system, f.first.Camera, parts); err != nil {
		return err
	}
	if err := ext4(ctx, parts.Data, dataMB, filepath.Join(root, "var/lib/slipstream")); err != nil {
		return err
	}
	return f.Kit.WriteDisk(ctx, disk, parts)
}

// provision fills the slots and the state directory, by the product's own command on
// this machine.
func (f *Factory) provision(ctx context.Context, root, system, camera string, parts Parts) error {
	etc := filepath.Join(root, "etc/slipstream")
	err := errors.Join(os.MkdirAll(etc, 0o755),
		os.WriteFile(filepath.Join(etc, "slipstream.toml"), f.config(), 0o644),
		os.WriteFile(filepath.Join(etc, "trust.pem"), f.trust, 0o644))
	for _, slot := range []string{parts.A, parts.B} {
		err = errors.Join(err, os.WriteFile(slot, nil, 0o644), os.Truncate(slot, systemMB*mib))
	}
	if err != nil {
		return err
	}
	program, err := f.command(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "provision", "--root", root, "--no-copy",
		"--system", system, "--partitions", parts.A+","+parts.B, "--both", camera)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("slipstream provision: %w\n%s", err, out)
	}
	return nil
}

// command builds the technician's command for this machine.
func (f *Factory) command(ctx context.Context) (string, error) {
	repository, err := device.ModuleRoot(ctx)
	if err != nil {
		return "", err
	}
	program := filepath.Join(f.dir, "slipstream")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "./agent/cmd/slipstream")
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build slipstream: %w\n%s", err, out)
	}
	return program, nil
}
