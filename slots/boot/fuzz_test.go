package boot_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"slipstream/slots/boot"
)

// FuzzEnvironment gives any bytes, with a right CRC, to the reader: what it
// takes it writes the same, up to the end of the list, and every dialect makes
// something of it that can be changed.
func FuzzEnvironment(f *testing.F) {
	f.Add([]byte("BOOT_ORDER=B A\x00BOOT_B_LEFT=1\x00slip_good=A\x00\x00"), byte(0))
	f.Add([]byte("bootslot=a\x00upgrade_available=1\x00bootcount=ffffffffffff\x00noequals\x00=x\x00\x00\xff\xff"), byte(1))
	f.Add([]byte("st_seq=1\x00st_good=B\x00st_try=A\x00st_tries=-1\x00\x00"), byte(2))
	f.Add([]byte("\x00\x00"), byte(3))
	f.Fuzz(func(t *testing.T, data []byte, flag byte) {
		if len(data) > 4096 {
			return
		}
		data = append(data, make([]byte, 512)...) // room for our variables
		for format, header := range map[boot.Format][]byte{boot.Redundant: {flag}, boot.Sequence: nil, boot.Single: nil} {
			raw := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(data))
			raw = append(append(raw, header...), data...)
			again, whole, err := boot.ParseCopy(format, raw)
			if err != nil {
				t.Fatal(err)
			}
			end := 0
			if data[0] != 0 {
				end = bytes.Index(data, []byte{0, 0}) + 2
			}
			if whole && !bytes.HasPrefix(data, again[:min(end, len(again))]) {
				t.Errorf("%q became %q", data[:end], again[:end])
			}
			if whole {
				changeable(t, format, raw)
			}
		}
	})
}

func changeable(t *testing.T, format boot.Format, raw []byte) {
	dir := t.TempDir()
	file := filepath.Join(dir, "env")
	if err := os.WriteFile(file, append(bytes.Clone(raw), make([]byte, len(raw))...), 0o600); err != nil {
		t.Fatal(err)
	}
	config := boot.EnvConfig{Format: format, Size: len(raw), Copies: []boot.Copy{{Path: file}, {Path: file, Offset: int64(len(raw))}}, Lock: filepath.Join(dir, "lock")}
	if format == boot.Single {
		config.Copies = config.Copies[:1]
	}
	for _, dialect := range []boot.Dialect{boot.Order{}, boot.BootCount{}, boot.Trial{}} {
		c, err := boot.NewEnv(config, dialect)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := boot.Reconcile(c, "b"); err != nil {
			t.Fatal(err)
		}
		if s, err := c.State(); err != nil || s.Permanent != "b" || s.Trial != "" || !s.Slots["b"].Bootable {
			t.Fatalf("%T: reconciled to b: %+v, %v", dialect, s, err)
		}
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add("/dev/mmcblk0boot0 0x0 0x4000 0x200\n/dev/mmcblk0boot1 0x0 0x4000\n")
	f.Add("# x\n/dev/mtd1 -0x4000 4000\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := boot.ParseFWEnvConfig(text)
		if err != nil {
			return
		}
		if _, err := boot.NewEnv(c, boot.Order{}); err != nil {
			t.Errorf("what was parsed is not accepted: %v", err)
		}
	})
}

func FuzzEntryName(f *testing.F) {
	for _, name := range []string{"cam-1-a.conf", "cam-2-b+1.conf", "CAM-3-B+0-1.CONF", "cam-0-b.off", "cam-99999999999-a.conf", "cam-1-a+1-.conf"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		again, ok := boot.ParseEntryName("cam", name)
		if !ok {
			return
		}
		if twice, ok := boot.ParseEntryName("cam", again); !ok || twice != again {
			t.Errorf("%q is read as %q, and that as %q (%v)", name, again, twice, ok)
		}
	})
}
