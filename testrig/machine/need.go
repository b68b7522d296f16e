package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ubootDir is where Debian's u-boot-qemu lies.
const ubootDir = "/usr/lib/u-boot"

// origins are the Debian packages of the programs that are used.
var origins = map[string]string{
	"qemu-system-aarch64": "qemu-system-arm", "qemu-system-arm": "qemu-system-arm", "qemu-img": "qemu-utils",
	"mkimage": "u-boot-tools", "mkenvimage": "u-boot-tools", "dtc": "device-tree-compiler", "mkfs.ext4": "e2fsprogs", "sfdisk": "fdisk",
	"dpkg-deb": "dpkg", "apt-get": "apt", "apt-cache": "apt", "apt-config": "apt",
}

// find is the path of a program; administrators' are often not in the search path.
func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is missing: install the Debian package %s", program, origins[program])
}

// need says which Debian packages are missing, all at once.
func (a Arch) need() error {
	var missing []string
	for program, origin := range origins {
		if _, err := find(program); err != nil && !slices.Contains(missing, origin) && (program != "qemu-system-arm" || a.emulator == program) {
			missing = append(missing, origin)
		}
	}
	if _, err := os.Stat(a.bootLoader()); err != nil {
		missing = append(missing, "u-boot-qemu")
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("machines need Debian packages that are missing, please install: %s", strings.Join(missing, " "))
	}
	return nil
}

func (a Arch) bootLoader() string { return filepath.Join(ubootDir, a.uboot, "u-boot.bin") }

// run runs a program to its end and returns what it printed; what it complains of
// stands in the error.
func run(ctx context.Context, input, program string, args ...string) (string, error) {
	path, err := find(program)
	if err != nil {
		return "", err
	}
	return output(exec.CommandContext(ctx, path, args...), input)
}

func output(cmd *exec.Cmd, input string) (string, error) {
	cmd.Stdin = strings.NewReader(input)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if _, is := errors.AsType[*exec.ExitError](err); is {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(complaint.String()))
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
	}
	return string(out), err
}
