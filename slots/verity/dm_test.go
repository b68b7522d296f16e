package verity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var sampleParams = Params{
	BlockSize: BlockSize, DataBlocks: 1000, HashOffset: 1001 * BlockSize,
	Salt: "5a5b", RootHash: strings.Repeat("0123456789abcdef", 4),
}

// TestTable holds the line against the example of the kernel's verity.rst: version,
// data device, hash device, both block sizes, blocks of data, first block of the
// tree, algorithm, root, salt.
func TestTable(t *testing.T) {
	const want = "1 7:3 7:3 4096 4096 1000 1001 sha256 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef 5a5b"
	if got := sampleParams.table(unix.Mkdev(7, 3)); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	p := sampleParams
	p.Salt = ""
	if got := p.table(unix.Mkdev(259, 300)); !strings.HasPrefix(got, "1 259:300 259:300 ") || !strings.HasSuffix(got, " -") {
		t.Errorf("without salt: %s", got)
	}
}

// words writes 32-bit numbers as this machine has them.
func words(numbers ...uint32) (out []byte) {
	for _, n := range numbers {
		out = binary.NativeEndian.AppendUint32(out, n)
	}
	return out
}

func field(text string, size int) []byte {
	return append([]byte(text), make([]byte, size-len(text))...)
}

func long(n uint64) []byte { return binary.NativeEndian.AppendUint64(nil, n) }

// TestRequestsAreTheKernels puts every order together by hand, field by field of
// linux/dm-ioctl.h.
func TestRequestsAreTheKernels(t *testing.T) {
	header := func(size, targets, flags uint32, name, uuid string) []byte {
		return bytes.Join([][]byte{
			words(4, 0, 0),       // version
			words(size),          // data_size
			words(312),           // data_start
			words(targets),       // target_count
			words(0),             // open_count
			words(flags),         // flags
			words(0, 0), long(0), // event_nr, padding, dev
			field(name, 128), field(uuid, 129), field("", 7),
		}, nil)
	}
	line := sampleParams.table(unix.Mkdev(7, 3))
	for _, row := range []struct {
		name string
		got  []byte
		want []byte
	}{
		{"create", request{name: "slot-a", uuid: "id"}.encode(), header(312, 0, 0, "slot-a", "id")},
		{"resume", request{name: "slot-a"}.encode(), header(312, 0, 0, "slot-a", "")},
		{"remove when it is free", request{name: "slot-a", flags: unix.DM_DEFERRED_REMOVE}.encode(), header(312, 0, 1<<17, "slot-a", "")},
		{"ask for the target", request{name: "verity", extra: make([]byte, 64)}.encode(), append(header(376, 0, 0, "verity", ""), make([]byte, 64)...)},
		{
			"load", request{name: "slot-a", flags: unix.DM_READONLY_FLAG, target: &target{sectors: 8000, params: line}}.encode(),
			bytes.Join([][]byte{
				header(312+40+112, 1, 1, "slot-a", ""),
				long(0), long(8000), // sector_start, length
				words(0, 40+112), // status, next
				field("verity", 16), field(line, 112),
			}, nil),
		},
	} {
		if !bytes.Equal(row.got, row.want) {
			t.Errorf("%s: got\n%x, want\n%x", row.name, row.got, row.want)
		}
	}
}

// The parameters end with a zero byte, even where they fill a multiple of eight.
func TestParametersAreEnded(t *testing.T) {
	for n := range 17 {
		b := target{params: strings.Repeat("x", n)}.encode()
		if len(b)%8 != 0 || b[targetSize+n] != 0 || binary.NativeEndian.Uint32(b[20:]) != uint32(len(b)) {
			t.Errorf("%d letters: %x", n, b)
		}
	}
}

func TestNamesTooLongAreCut(t *testing.T) {
	b := request{name: strings.Repeat("n", 300), uuid: strings.Repeat("u", 300)}.encode()
	if len(b) != headerSize || b[uuidAt-1] != 0 || b[uuidAt+unix.DM_UUID_LEN-1] != 0 {
		t.Errorf("got %q", b)
	}
}

// TestLayoutIsTheHeaders lets the C compiler judge our numbers by the kernel's own
// header, with 64 and with 32 bits.
func TestLayoutIsTheHeaders(t *testing.T) {
	program := fmt.Sprintf(`#include <linux/ioctl.h>
#include <linux/dm-ioctl.h>
#define IS(what, value) _Static_assert((what) == (value), #what)
IS(sizeof(struct dm_ioctl), %d);
IS(sizeof(struct dm_target_spec), %d);
IS(__builtin_offsetof(struct dm_ioctl, data_size), 12);
IS(__builtin_offsetof(struct dm_ioctl, data_start), 16);
IS(__builtin_offsetof(struct dm_ioctl, target_count), 20);
IS(__builtin_offsetof(struct dm_ioctl, flags), 28);
IS(__builtin_offsetof(struct dm_ioctl, dev), 40);
IS(__builtin_offsetof(struct dm_ioctl, name), %d);
IS(__builtin_offsetof(struct dm_ioctl, uuid), %d);
IS(__builtin_offsetof(struct dm_target_spec, length), 8);
IS(__builtin_offsetof(struct dm_target_spec, next), 20);
IS(__builtin_offsetof(struct dm_target_spec, target_type), 24);
IS(DM_DEV_CREATE, %#x); IS(DM_DEV_REMOVE, %#x); IS(DM_DEV_SUSPEND, %#x);
IS(DM_TABLE_LOAD, %#x); IS(DM_GET_TARGET_VERSION, %#x);
IS(DM_READONLY_FLAG, %d); IS(DM_DEFERRED_REMOVE, %d);
`, headerSize, targetSize, nameAt, uuidAt, uint32(unix.DM_DEV_CREATE), uint32(unix.DM_DEV_REMOVE), uint32(unix.DM_DEV_SUSPEND),
		uint32(unix.DM_TABLE_LOAD), uint32(unix.DM_GET_TARGET_VERSION), unix.DM_READONLY_FLAG, unix.DM_DEFERRED_REMOVE)
	var machine []string // headers, which gcc does not look for by itself with -m32
	dirs, err := filepath.Glob("/usr/include/*-linux-gnu*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		machine = append(machine, "-idirafter", dir)
	}
	widths := []string{"-g"} // the machine's own
	if runtime.GOARCH == "amd64" || runtime.GOARCH == "386" {
		widths = []string{"-m64", "-m32"}
	}
	for _, width := range widths {
		args := append([]string{"-fsyntax-only", width, "-x", "c", "-"}, machine...)
		cmd := exec.CommandContext(t.Context(), "gcc", args...)
		cmd.Stdin = strings.NewReader(program)
		if words, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", width, err, words)
		}
	}
}

// A machine without device-mapper says so by one error, whatever it is asked.
func TestWithoutDeviceMapper(t *testing.T) {
	if _, err := os.Stat(controlPath); !errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is there", controlPath)
	}
	_, err := Open("slot-a", "id", "/dev/null", sampleParams)
	for _, err := range []error{Available(), err, (&Device{name: "slot-a"}).Remove()} {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v, want %v", err, ErrUnavailable)
		}
	}
}
