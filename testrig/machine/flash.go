package machine

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"
	"strings"
)

// flashEnv is U-Boot's environment, but for what depends on the kernel.
//
//go:embed flash.env
var flashEnv string

const (
	flashSize = 64 << 20 // of each chip of QEMU's board
	envSize   = "0x40000"
)

func (a Arch) environmentText() string {
	load := "load virtio 0:${at} ${kernel_addr_r} boot/kernel"
	if a.packed {
		load = "load virtio 0:${at} ${packed_addr_r} boot/kernel && unzip ${packed_addr_r} ${kernel_addr_r}"
	}
	return strings.ReplaceAll(flashEnv, "START ", a.start+" ") + "load_kernel=" + load + "\n"
}

// writeFlash makes the contents of both chips. Neither is ever written by the machine:
// its U-Boot cannot, and the state of the slots is on the disk.
func (a Arch) writeFlash(ctx context.Context, dir string) (chips [2]string, err error) {
	for i := range chips {
		chips[i] = filepath.Join(dir, "flash"+string(rune('0'+i)))
	}
	code, err := os.ReadFile(a.bootLoader())
	if err != nil {
		return chips, err
	}
	text := filepath.Join(dir, "flash.env")
	if err := os.WriteFile(text, []byte(a.environmentText()), 0o644); err != nil {
		return chips, err
	}
	if err := os.WriteFile(chips[0], code, 0o644); err != nil {
		return chips, err
	}
	if _, err := run(ctx, "", "mkenvimage", "-s", envSize, "-p", "0", "-o", chips[1], text); err != nil {
		return chips, err
	}
	for _, chip := range chips {
		if err := os.Truncate(chip, flashSize); err != nil {
			return chips, err
		}
	}
	return chips, nil
}
