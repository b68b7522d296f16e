package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent"
	"slipstream/agent/config"
	"slipstream/stream/viewers"
	"slipstream/verify"
)

const (
	lowSpace  = 64 << 20  // bytes: nothing but the smallest application fits
	someSpace = 512 << 20 // what a package with its root file system wants
	soon      = 30 * 24 * time.Hour
)

// device is what the configuration says, and what lies there.
func device(cfg config.Config) []probe {
	return []probe{
		{"binaries", "", true, func() error { return binaries(cfg) }},
		{"trust", "", true, func() error { return trust(cfg) }},
		{"viewers", "", false, func() error { return viewersFile(cfg) }},
		{"disk", "", true, func() error { return disk(cfg.State) }},
	}
}

func binaries(cfg config.Config) error {
	for _, name := range []string{"slipstream-forward", "slipstream-gateway", "slipstream-ingest"} {
		info, err := os.Stat(filepath.Join(cfg.Bin, name))
		if err != nil || info.Mode()&0o111 == 0 {
			return fmt.Errorf("there is no %s in %s; name its directory with bin in the configuration", name, cfg.Bin)
		}
	}
	return noticef("forwarder, gateway and ingest are in %s", cfg.Bin)
}

// trust looks at whose releases are taken, and until when.
func trust(cfg config.Config) error {
	vendor, device, err := agent.Trust(cfg)
	if err != nil {
		return fmt.Errorf("every package will be refused: %w", err)
	}
	if root := vendor.Root(); root != nil {
		if err := expiry("vendor", root, device.Time); err != nil {
			return err
		}
	}
	if device.Fleet != nil {
		if err := expiry("fleet", device.Fleet.Root, device.Time); err != nil {
			return err
		}
	}
	if root := vendor.Root(); root != nil {
		return noticef("the vendor's root %d, valid until %s", root.Version(), root.Expires().Format(time.DateOnly))
	}
	return noticef("%d of %d keys of a file must sign, which never expires and follows nothing", vendor.Threshold(), len(vendor.KeyIDs()))
}

// expiry judges by secure time as the agent does, and warns by the wall clock, which
// knows more if it is right.
func expiry(whose string, root *verify.Root, secure time.Time) error {
	left := min(root.Expires().Sub(secure), time.Until(root.Expires()))
	if secure.IsZero() {
		left = time.Until(root.Expires())
	}
	day := root.Expires().Format(time.DateOnly)
	switch {
	case left <= 0:
		return degradedf("the %s's root %d has expired on %s: bring a newer one with slipstream trust FILE", whose, root.Version(), day)
	case left < soon:
		return degradedf("the %s's root %d expires on %s: bring a newer one with slipstream trust FILE", whose, root.Version(), day)
	}
	return nil
}

func viewersFile(cfg config.Config) error {
	gw := cfg.Gateway
	switch {
	case !gw.On():
		return noticef("nobody can watch: the gateway is off")
	case gw.Public:
		return degradedf("everybody may watch: set gateway.public = false, and add viewers with slipstream viewer add NAME")
	}
	all, err := viewers.Load(gw.Viewers)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return degradedf("nobody may watch yet: slipstream viewer add NAME")
	case err != nil:
		return degradedf("nobody can watch: %w", err)
	}
	return noticef("%d may watch; their file is closed to others", len(all))
}

func disk(dir string) error {
	for { // the state directory need not be there yet
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == "/" {
			break
		}
		dir = filepath.Dir(dir)
	}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	free := s.Bavail * uint64(s.Bsize)
	switch {
	case s.Flags&unix.ST_RDONLY != 0:
		return fmt.Errorf("the file system of %s is read-only", dir)
	case free < lowSpace || s.Files > 0 && s.Ffree == 0:
		return fmt.Errorf("%s has %s free: no package can be staged; remove something", dir, mib(free))
	case free < someSpace:
		return degradedf("%s has %s free: a large package will not fit", dir, mib(free))
	}
	return noticef("%s has %s free", dir, mib(free))
}

func mib(n uint64) string { return fmt.Sprintf("%d MiB", n>>20) }

// plain is an error in one line.
func plain(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
