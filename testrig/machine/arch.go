package machine

import (
	"fmt"
	"strings"
)

// Arch is an architecture that machines can have.
type Arch struct {
	Name string // as Go has it

	debian   string // as Debian has it
	kernel   string // Debian's package that depends on the newest kernel
	emulator string
	board    []string
	uboot    string // a directory of the package u-boot-qemu
	packed   bool   // the kernel is packed by the rig; else it unpacks itself
	start    string // U-Boot's command for the kernel
	watchdog string // its device, and QEMU's name of it; the kernel has no other driver
}

// Arches are all of them, the default first.
var Arches = []Arch{
	{
		Name: "arm64", debian: "arm64", kernel: "linux-image-arm64",
		emulator: "qemu-system-aarch64", board: []string{"-M", "virt", "-cpu", "cortex-a53"}, uboot: "qemu_arm64",
		packed: true, start: "booti", watchdog: "i6300esb",
	},
	{
		Name: "arm", debian: "armhf", kernel: "linux-image-armmp",
		emulator: "qemu-system-arm", board: []string{"-M", "virt,highmem=off", "-cpu", "cortex-a7"}, uboot: "qemu_arm",
		start: "bootz",
	},
}

// ArchOf finds one by its name.
func ArchOf(name string) (Arch, error) {
	var names []string
	for _, a := range Arches {
		if a.Name == name {
			return a, nil
		}
		names = append(names, a.Name)
	}
	return Arch{}, fmt.Errorf("there is no machine of architecture %q, but of %s", name, strings.Join(names, ", "))
}

// Watchdog says whether there is one that a dead kernel does not stop.
func (a Arch) Watchdog() bool { return a.watchdog != "" }

// environment is the Go tool's, for programs of the architecture.
func (a Arch) environment() []string {
	return []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + a.Name, "GOARM=7"}
}

// modules are the drivers that the kernel has not built in.
func (a Arch) modules() []string {
	list := []string{"virtio_pci", "virtio_blk", "virtio_net", "ext4", "loop", "squashfs", "erofs", "dm-mod", "dm-verity", "vivid"}
	if a.watchdog != "" {
		list = append(list, a.watchdog)
	}
	return list // softdog would start the machine anew: the agent feeds none that dies with the kernel
}
