package machine

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A boot loader that starts nothing but what its vendor has signed has the vendor's key in
// the device tree that it is given, and its script in the flash that nobody can write: on the
// disk it could be replaced. A system's kernel and initial file system are one file of
// U-Boot's own format, signed together.

const (
	fitName   = "boot/fit"
	keyName   = "vendor"
	keyBits   = 2048
	scriptAt  = 1 << 20    // in the chip of the environment
	scriptROM = 0x04100000 // the same for U-Boot
)

// fitSource describes such a file to mkimage: architecture, compression.
const fitSource = `/dts-v1/;
/ {
	description = "system";
	#address-cells = <1>;
	images {
		kernel {
			data = /incbin/("kernel");
			type = "kernel"; arch = "%[1]s"; os = "linux"; compression = "%[2]s";
			load = <0x40400000>; entry = <0x40400000>;
			hash-1 { algo = "sha256"; };
		};
		initrd {
			data = /incbin/("initrd");
			type = "ramdisk"; arch = "%[1]s"; os = "linux"; compression = "none";
			hash-1 { algo = "sha256"; };
		};
	};
	configurations {
		default = "c1";
		c1 {
			kernel = "kernel"; ramdisk = "initrd";
			signature-1 { algo = "sha256,rsa2048"; key-name-hint = "` + keyName + `"; sign-images = "kernel", "ramdisk"; };
		};
	};
};
`

// verifiedStart is how such a system is started, in place of [Arch.start]'s way.
const verifiedStart = "if part number virtio 0 ${name} at; then if load virtio 0:${at} ${packed_addr_r} " + fitName +
	"; then bootm ${packed_addr_r}#c1 ${packed_addr_r}#c1 ${fdtcontroladdr}; fi; fi; echo rig: ${name} cannot be started"

// signer makes signed systems, and the device tree with the key that they are judged by.
type signer struct {
	arch Arch
	dir  string // of the key
	tree string // the device tree
}

// newSigner makes a key in dir, and has the board's own device tree written there.
func newSigner(ctx context.Context, arch Arch, dir string) (*signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, err
	}
	about := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0)}
	cert, err := x509.CreateCertificate(rand.Reader, &about, &about, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	s := &signer{arch, dir, filepath.Join(dir, "board.dtb")}
	err = errors.Join(os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, keyName+".key"), private, 0o600),
		os.WriteFile(filepath.Join(dir, keyName+".crt"), public, 0o644))
	if err != nil {
		return nil, err
	}
	// The board has other devices with its flash than without.
	chips, err := arch.writeFlash(ctx, dir)
	if err != nil {
		return nil, err
	}
	m := &Machine{Arch: arch, chips: chips}
	args := append(m.hardware(), "-machine", "dumpdtb="+s.tree)
	if _, err := run(ctx, "", arch.emulator, args...); err != nil {
		return nil, err
	}
	return s, nil
}

// seal replaces the kernel and the initial file system in a directory by one signed file.
func (s *signer) seal(ctx context.Context, boot string) error {
	packed := "none"
	if s.arch.packed {
		packed = "gzip"
	}
	source := filepath.Join(boot, "fit.its")
	if err := os.WriteFile(source, fmt.Appendf(nil, fitSource, s.arch.Name, packed), 0o644); err != nil {
		return err
	}
	_, err := run(ctx, "", "mkimage", "-f", source, "-k", s.dir, "-K", s.tree, "-r", filepath.Join(boot, filepath.Base(fitName)))
	for _, name := range []string{"fit.its", "kernel", "initrd"} {
		err = errors.Join(err, os.Remove(filepath.Join(boot, name)))
	}
	return err
}

// Verify makes the machine's boot loader one that starts only what is signed.
func (m *Machine) Verify(ctx context.Context, s *Signed) error {
	text := filepath.Join(m.dir, "flash.env")
	var env strings.Builder
	for line := range strings.Lines(m.Arch.environmentText()) {
		switch key, _, _ := strings.Cut(line, "="); key {
		case "boot_part":
			line = "boot_part=" + verifiedStart + "\n"
		case "bootcmd":
			line = fmt.Sprintf("bootcmd=pci enum; virtio scan; source %#x\n", scriptROM)
		}
		env.WriteString(line)
	}
	if err := os.WriteFile(text, []byte(env.String()), 0o644); err != nil {
		return err
	}
	if _, err := run(ctx, "", "mkenvimage", "-s", envSize, "-p", "0", "-o", m.chips[1], text); err != nil {
		return err
	}
	script := filepath.Join(m.dir, "script")
	if err := (&Kit{Arch: m.Arch}).writeSelector(ctx, script); err != nil {
		return err
	}
	content, err := os.ReadFile(script)
	if err != nil {
		return err
	}
	chip, err := os.OpenFile(m.chips[1], os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = chip.WriteAt(content, scriptAt)
	m.tree = s.Tree
	return errors.Join(err, chip.Truncate(flashSize), chip.Close())
}

// Signed is a camera whose boot loader checks what it starts.
type Signed struct {
	Disk string // image of its disk
	Tree string // what its boot loader is given
}

// Signed makes such a camera's disk, with the same system in both slots.
func (f *Factory) Signed(ctx context.Context) (*Signed, error) {
	s, err := newSigner(ctx, f.Kit.Arch, filepath.Join(f.dir, "signer"))
	if err != nil {
		return nil, err
	}
	system := f.system(FirstSystem)
	system.seal = s.seal
	made := &Signed{filepath.Join(f.dir, "signed.img"), s.tree}
	if err := f.build(ctx, system, made.Disk); err != nil {
		return nil, err
	}
	if raw, err := os.ReadFile(s.tree); err != nil || !bytes.Contains(raw, []byte("key-"+keyName)) {
		return nil, errors.Join(errors.New("mkimage has put no key into the device tree"), err)
	}
	return made, nil
}
