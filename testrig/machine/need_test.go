package machine

import (
	"strings"
	"testing"
)

// All packages that are missing are named at once.
func TestMissingPackagesAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, arch := range Arches {
		err := arch.need()
		if err == nil || !strings.HasSuffix(err.Error(), "please install: apt device-tree-compiler dpkg qemu-system-arm qemu-utils u-boot-tools") {
			t.Errorf("%s: %v", arch.Name, err)
		}
	}
	none := Arch{emulator: "qemu-system-arm", uboot: "none"}
	if err := none.need(); err == nil || !strings.Contains(err.Error(), "u-boot-qemu") {
		t.Errorf("no boot loader: %v", err)
	}
	if _, err := find("qemu-img"); err == nil || !strings.Contains(err.Error(), "qemu-utils") {
		t.Errorf("one program: %v", err)
	}
}
