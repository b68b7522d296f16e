package boot_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/slots/boot"
	"slipstream/slots/slotstest"
)

func TestConfigurationOfTools(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		want       string // of the error; empty: none
		copies     int
		size       int
		offset     int64 // of the last copy
	}{
		{"two copies", "# MTD device name\n/dev/mmcblk0boot0 0x0 0x4000\n/dev/mmcblk0boot0\t0x4000\t0x4000 0x200 8\n", "", 2, 0x4000, 0x4000},
		{"size without 0x is hexadecimal, offset is decimal", "/dev/sda1 512 4000", "", 1, 0x4000, 512},
		{"from the end", "/dev/sda -0x20000 0x10000", "", 1, 0x10000, -0x20000},
		{"lines that say nothing are skipped", "\n\nfoo\n/dev/sda x 0x100\n/dev/sda 0 zz\n/dev/sda 0 0x100\n", "", 1, 0x100, 0},
		{"a third line is not read", "/e 0 0x100\n/e 0x100 0x100\n/e 0x50 0x100\n", "", 2, 0x100, 0x100},
		{"nothing", "# /dev/sda 0 0x100\n", "0 copies", 0, 0, 0},
		{"different sizes", "/e 0 0x100\n/e 0x100 0x200\n", "not of one size", 0, 0, 0},
		{"overlapping copies", "/e 0 0x100\n/e 0xff 0x100\n", "overlap", 0, 0, 0},
		{"too small", "/e 0 0x10\n", "limits", 0, 0, 0},
		{"too large", "/e 0 0x1000000\n", "limits", 0, 0, 0},
		{"endless", strings.Repeat("#", 65<<10), "longer", 0, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, err := boot.ParseFWEnvConfig(test.text)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("error %v, want one with %q", err, test.want)
				}
				return
			}
			if err != nil || len(c.Copies) != test.copies || c.Size != test.size || c.Copies[test.copies-1].Offset != test.offset {
				t.Fatalf("%+v, %v", c, err)
			}
			if redundant := c.Format == boot.Redundant; redundant != (test.copies == 2) {
				t.Errorf("format %v with %d copies", c.Format, test.copies)
			}
		})
	}
}

func TestStorageThatIsNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	short := filepath.Join(dir, "short")
	if err := os.WriteFile(short, make([]byte, 100), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ path, want string }{
		{filepath.Join(dir, "none"), "no such file"},
		{short, "EOF"},
		{"/dev/null", "MTD"},
	} {
		c, err := boot.NewEnv(boot.EnvConfig{Format: boot.Single, Size: 128, Copies: []boot.Copy{{Path: test.path}}, Lock: filepath.Join(dir, "lock")}, boot.Trial{})
		if err != nil {
			t.Fatal(err)
		}
		// Commit must not take it for a state that is lost and can be made anew.
		for verb, err := range map[string]error{"State": second(c.State()), "Commit": c.Commit("a")} {
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s of %s: %v, want an error with %q", verb, test.path, err, test.want)
			}
		}
	}
}

func second(_ boot.State, err error) error { return err }

// Without the environment that U-Boot itself needs, none is made.
func TestLostEnvironmentNeedsItsInitialOne(t *testing.T) {
	t.Parallel()
	h := envHarness(boot.Redundant, boot.Order{}, nil)
	dir := t.TempDir()
	h.Make(t, dir)
	h.Damage(t, dir, 0)
	h.Damage(t, dir, 1)
	at := filepath.Join(dir, "env")
	c, err := boot.NewEnv(boot.EnvConfig{Size: 128, Copies: []boot.Copy{{Path: at, Offset: 512}, {Path: at, Offset: 1024}}, Lock: lock(dir)}, boot.Order{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Commit("a"); err == nil || !strings.Contains(err.Error(), "u-boot-initial-env") {
		t.Errorf("Commit: %v", err)
	}
}

func TestEntriesThatOthersOrder(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ file, text, want string }{
		{"loader.conf", "timeout 0\ndefault cam-1-a.conf\n", `make it "default cam-*"`},
		{"loader.conf", "default @saved\n", `make it "default cam-*"`},
		{"loader.conf", "default cam-*\n", ""},
		{"loader.conf", "timeout 3\n", ""},
		{"entries/cam-1-a.conf", "title x\nsort-key debian\n", "sort-key"},
		{"entries/cam-1-a.conf", strings.Repeat("x", 65<<10), "at most"},
	} {
		dir := t.TempDir()
		entries := filepath.Join(dir, "entries")
		if err := os.Mkdir(entries, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"entries/cam-1-a.conf": "title a\n", "entries/README": "", test.file: test.text} {
			if name == test.file {
				text = test.text
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c, err := boot.NewEntries(boot.EntriesConfig{Dir: entries, Prefix: "cam", Lock: lock(dir)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.State()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s with %.40q: %v", test.file, test.text, err)
		}
		if err := c.Try("b"); err == nil || test.want == "" && !strings.Contains(err.Error(), "put cam-0-b.off there") {
			t.Errorf("a trial of a slot without an entry: %v", err)
		}
	}
}

// forgetful says that it wrote, and did not.
type forgetful struct{ boot.Disk }

func (forgetful) WriteAt(string, []byte, int64) error { return nil }

func TestStorageThatForgets(t *testing.T) {
	t.Parallel()
	h := envHarness(boot.Redundant, boot.Order{}, nil)
	dir := t.TempDir()
	h.Make(t, dir)
	err := h.Open(t, dir, forgetful{&slotstest.Disk{Steps: -1}}).Try("b")
	if err == nil || !strings.Contains(err.Error(), "storage is failing") {
		t.Errorf("a write that is not kept: %v", err)
	}
}

// A rename that was cut on a FAT leaves two names, and no later change may leave
// one of them to be started.
func TestTwoNamesOfOneEntry(t *testing.T) {
	t.Parallel()
	for _, second := range []string{"cam-2-b.off", "cam-2-b+1.conf", "cam-2-b+0-1.conf"} {
		dir := t.TempDir()
		for _, name := range []string{"cam-1-a.conf", "cam-0-b.conf", second} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("title "+name[:5]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c, err := boot.NewEntries(boot.EntriesConfig{Dir: dir, Prefix: "cam", Lock: lock(dir)})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Disable("b"); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "cam-*-b*"))
		if err != nil || len(files) != 1 || filepath.Ext(files[0]) != ".off" {
			t.Errorf("with %s beside it, a disabled slot has the files %v (%v)", second, files, err)
		}
	}
}
