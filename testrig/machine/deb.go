package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"slipstream/testrig/device"
)

// Deb builds the product's Debian package for the machine as a release does, in dir; only
// less tightly packed.
func (k *Kit) Deb(ctx context.Context, version, dir string) (string, error) {
	repository, err := device.ModuleRoot(ctx)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(repository, "agent/dist/deb/build"), dir, k.Arch.debian)
	cmd.Env = append(os.Environ(), "DEB_VERSION="+version, "DEB_LEVEL=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the Debian package: %w\n%s", err, out)
	}
	return filepath.Join(dir, fmt.Sprintf("slipstream_%s_%s.deb", version, k.Arch.debian)), nil
}
