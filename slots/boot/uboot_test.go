package boot_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/slots/boot"
	"slipstream/slots/slotstest"
)

// The scripts that come with the package are run here by a real U-Boot, in an
// emulated ARM machine: about two seconds a boot.

const (
	sector      = 512
	stateSector = 2048 // of the partition "ubstate"
	codeSector  = 4096 // of the script
	stateSize   = 0x1000
	bootTime    = 2 * time.Minute // at most, on a busy machine
)

// machine is a Loader that is a machine.
type machine struct {
	*testing.T
	dir    string
	script string
	env    string // what U-Boot was built with, as it were
	slots  []string
}

func newMachine(t *testing.T, script, env string, slots ...string) *machine {
	m := &machine{t, t.TempDir(), script, env, slots}
	m.flash("flash0", m.read("/usr/lib/u-boot/qemu_arm64/u-boot.bin"))
	m.write("disk", make([]byte, 8<<20))
	m.run(fmt.Sprintf("label: gpt\nstart=%d, size=64, name=ubstate\n", stateSector), "sfdisk", "-q", m.path("disk"))
	m.write("script", []byte(script))
	m.run("", "mkimage", "-A", "arm64", "-T", "script", "-d", m.path("script"), m.path("boot.scr"))
	disk := m.read(m.path("disk"))
	copy(disk[codeSector*sector:], m.read(m.path("boot.scr")))
	m.write("disk", disk)
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) read(name string) []byte {
	m.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		m.Fatalf("%v (Debian package u-boot-qemu)", err)
	}
	return data
}

func (m *machine) write(name string, data []byte) {
	m.Helper()
	if err := os.WriteFile(m.path(name), data, 0o644); err != nil {
		m.Fatal(err)
	}
}

// flash makes the content of one of the machine's two flash chips.
func (m *machine) flash(name string, data []byte) {
	m.Helper()
	m.write(name, data)
	if err := os.Truncate(m.path(name), 64<<20); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) run(input string, args ...string) string {
	m.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bootTime)
	defer cancel()
	path, err := exec.LookPath(args[0])
	if err != nil {
		path = "/usr/sbin/" + args[0]
	}
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.Fatalf("%s (Debian packages qemu-system-arm, u-boot-tools, fdisk): %v\n%s", args[0], err, out)
	}
	return string(out)
}

var started = regexp.MustCompile(`(?m)^STARTED-([A-Za-z]+)-`)

// Boot implements slotstest.Loader. The machine ends at its first reset.
func (m *machine) Boot(loads func(string) bool) (string, error) {
	env := m.env + "bootdelay=0\ndevtype=virtio\ndevnum=0\nloadaddr=0x43e00000\nrecovery=echo STARTED-recovery-; reset\nstart_slot="
	for _, slot := range m.slots {
		if loads(strings.ToLower(slot)) {
			env += fmt.Sprintf("if test ${slot} = %s; then echo STARTED-%s-; reset; fi; ", slot, slot)
		}
	}
	env += fmt.Sprintf("true\nbootcmd=pci enum; virtio scan; virtio dev 0; virtio read 0x40200000 %#x 0x20; source 0x40200000; reset\n", codeSector)
	m.write("env.txt", []byte(env))
	m.run("", "mkenvimage", "-s", "0x40000", "-p", "0", "-o", m.path("env.bin"), m.path("env.txt"))
	m.flash("flash1", m.read(m.path("env.bin")))
	out := m.run("", "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53", "-m", "128",
		"-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot", "-nodefaults", "-net", "none",
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+m.path("flash0"),
		"-drive", "if=pflash,format=raw,unit=1,readonly=on,file="+m.path("flash1"),
		"-drive", "if=none,id=d0,format=raw,file="+m.path("disk"), "-device", "virtio-blk-pci,drive=d0")
	match := started.FindStringSubmatch(out)
	if match == nil {
		return "", fmt.Errorf("U-Boot started nothing:\n%s", out)
	}
	if strings.Contains(out, "Usage:") || strings.Contains(out, "syntax error") {
		return "", fmt.Errorf("U-Boot does not understand the script:\n%s", out)
	}
	return strings.ToLower(match[1]), nil
}

var _ slotstest.Loader = (*machine)(nil)

// boots expects that of the next boots, and that a healthy one writes nothing.
func (m *machine) boots(bad string, want ...string) {
	m.Helper()
	for i, slot := range want {
		got, err := m.Boot(func(slot string) bool { return !strings.Contains(bad, slot) })
		if err != nil {
			m.Fatal(err)
		}
		if got != slot {
			m.Fatalf("boot %d of %v started %s", i+1, want, got)
		}
	}
}

// life is a trial that is not committed, one that is, bad slots and a lost state.
func (m *machine) life(config boot.EnvConfig, dialect boot.Dialect) {
	config.Size, config.Lock = stateSize, m.path("lock")
	for i := range 2 {
		config.Copies = append(config.Copies, boot.Copy{Path: m.path("disk"), Offset: stateSector*sector + int64(i)*stateSize})
	}
	if config.Format == boot.Single {
		config.Copies = config.Copies[:1]
	}
	c, err := boot.NewEnv(config, dialect)
	if err != nil {
		m.Fatal(err)
	}
	do := func(err error) {
		m.Helper()
		if err != nil {
			m.Fatal(err)
		}
	}
	m.boots("", "a") // without any state
	do(c.Commit("a"))
	do(c.Try("b"))
	m.boots("", "b", "a")
	do(c.Cancel())
	before := m.read(m.path("disk"))
	m.boots("", "a")
	if !bytes.Equal(before, m.read(m.path("disk"))) {
		m.Error("a healthy boot wrote")
	}
	do(c.Try("b"))
	m.boots("b", "a", "a") // it cannot be loaded
	do(c.Cancel())
	m.boots("a", "recovery") // and b must not be started
	do(c.Try("b"))
	m.boots("", "b")
	do(c.Commit("b"))
	m.boots("", "b")
	m.boots("b", "a") // the one before is there still
	m.boots("ab", "recovery")
}

func TestTrialScriptInUBoot(t *testing.T) {
	t.Parallel()
	newMachine(t, boot.TrialScript, "", "A", "B").life(boot.EnvConfig{Format: boot.Sequence}, boot.Trial{})
}

// This U-Boot cannot save its own environment, so that these two scripts save
// a part of it by other means.
const ownEnv = `part start virtio 0 ubstate lba
virtio read ${loadaddr} ${lba} 8
env import -c ${loadaddr} 0x1000
`

func saveTo(vars ...string) string {
	return "save_state=env export -c -s 0x1000 ${loadaddr} " + strings.Join(vars, " ") + "; virtio write ${loadaddr} ${lba} 8\n"
}

func TestOrderScriptInUBoot(t *testing.T) {
	t.Parallel()
	script := ownEnv + strings.ReplaceAll(boot.OrderScript, "saveenv", "run save_state")
	env := saveTo("BOOT_ORDER", "BOOT_A_LEFT", "BOOT_B_LEFT", "slip_good")
	newMachine(t, script, env, "A", "B").life(boot.EnvConfig{Format: boot.Single, Initial: "BOOT_ORDER=A B"}, boot.Order{})
}

// What U-Boot does by itself with CONFIG_BOOTCOUNT_ENV, which Debian's is not
// built with, stands before the vendor's part.
const bootCount = ownEnv + `setenv do_boot vendor_bootcmd
if test "${upgrade_available}" = 1; then
  setexpr bootcount ${bootcount} + 1
  run save_state
  if itest ${bootcount} -gt ${bootlimit}; then setenv do_boot altbootcmd; fi
fi
run ${do_boot}
`

func TestBootCountEnvironmentInUBoot(t *testing.T) {
	t.Parallel()
	env := strings.NewReplacer("saveenv", "run save_state", "run bootcmd", "run vendor_bootcmd", "\nbootcmd=", "\nvendor_bootcmd=").Replace(boot.BootCountEnv)
	lines := slices.DeleteFunc(strings.SplitAfter(env, "\n"), func(line string) bool { return strings.HasPrefix(line, "#") })
	env = strings.TrimLeft(strings.Join(lines, ""), "\n") + saveTo("bootslot", "bootslot_spare", "upgrade_available", "bootcount", "bootlimit")
	newMachine(t, bootCount, env, "a", "b").life(boot.EnvConfig{Format: boot.Single, Initial: "bootslot=a"}, boot.BootCount{})
}
