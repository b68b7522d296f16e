package machine

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const patience = time.Minute // at most, on a busy machine

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// An archive has directories before what is in them, names and contents on four bytes,
// and an end.
func TestInitialFileSystem(t *testing.T) {
	t.Parallel()
	files := tree{}
	files.file("a/b/c", 0o755, []byte("hello"))
	files.link("a/l", "b/c")
	files.device("dev/console", 5, 1)
	var out bytes.Buffer
	must(t, files.write(&out))
	want := []string{"a", "a/b", "a/b/c", "a/l", "dev", "dev/console", "TRAILER!!!"}
	for i, name := range want {
		at := bytes.Index(out.Bytes(), []byte(name+"\x00"))
		if at < 0 || i > 0 && at < bytes.Index(out.Bytes(), []byte(want[i-1]+"\x00")) {
			t.Errorf("%s is not behind %v", name, want[:i])
		}
	}
	if out.Len()%4 != 0 || bytes.Count(out.Bytes(), []byte("070701")) != len(want) {
		t.Errorf("%d bytes with %d entries", out.Len(), bytes.Count(out.Bytes(), []byte("070701")))
	}
	// Its mode, and its two links' number; the rest is the kernel's to judge.
	if head := regexp.MustCompile(`070701[0-9A-F]{8}000081ED0{16}00000001[0-9A-F]{8}00000005`); !head.Match(out.Bytes()) {
		t.Error("a file of five bytes has another head")
	}
	for _, name := range []string{"/a", "../a", "a/../b"} {
		if err := (tree{name: {}}).write(&out); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// A disk has its partitions where the boot loader looks for them, with what was put there.
func TestDisk(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dir := t.TempDir()
	part := func(name string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte("this is "+name), 0o644))
		return path
	}
	disk := filepath.Join(dir, "disk")
	for _, arch := range Arches {
		k := &Kit{Arch: arch}
		must(t, k.WriteDisk(ctx, disk, Parts{A: part("a"), B: part("b"), Recovery: part("recovery"), Data: part("data")}))
		table, err := run(ctx, "", "sfdisk", "-d", disk)
		must(t, err)
		data, err := os.ReadFile(disk)
		must(t, err)
		list, _ := partitions()
		for i, p := range list {
			line := regexp.MustCompile(`disk\d : start= *(\d+).*name="` + p.name + `"`).FindStringSubmatch(table)
			if line == nil {
				t.Fatalf("no partition %s in\n%s", p.name, table)
			}
			if i >= 2 && !bytes.HasPrefix(data[p.from*mib:], []byte("this is "+strings.TrimPrefix(p.name, "system-"))) {
				t.Errorf("partition %s has %q", p.name, data[p.from*mib:][:20])
			}
		}
		if !bytes.Contains(data[list[0].from*mib:list[1].from*mib], []byte("run start_slot")) {
			t.Error("no boot script in its partition")
		}
	}
	state, err := os.ReadFile(disk)
	must(t, err)
	list, _ := partitions()
	must(t, os.WriteFile(filepath.Join(dir, "state"), state[list[1].from*mib:][:2*StateSize], 0o644))
	c, err := BootState(filepath.Join(dir, "state"))
	must(t, err)
	if s, err := c.State(); err != nil || s.Permanent != "a" || !s.Slots["a"].Bootable || !s.Slots["b"].Bootable {
		t.Errorf("the boot loader's state: %+v %v", s, err)
	}
	must(t, os.Truncate(part("large"), systemMB*mib+1))
	if err := (&Kit{Arch: Arches[0]}).WriteDisk(ctx, disk, Parts{A: filepath.Join(dir, "large")}); err == nil || !strings.Contains(err.Error(), "system-a") {
		t.Errorf("a system that is too large: %v", err)
	}
}

// The environment has what the boot script asks for, for both kinds of kernels.
func TestFlash(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, arch := range Arches {
		chips, err := arch.writeFlash(ctx, t.TempDir())
		must(t, err)
		env, err := os.ReadFile(chips[1])
		must(t, err)
		for _, want := range []string{"\x00start_slot=", "\x00recovery=", "; then " + arch.start + " ${kernel", "\x00loadaddr=0x"} {
			if !bytes.Contains(env, []byte(want)) {
				t.Errorf("%s: no %q in the environment", arch.Name, want)
			}
		}
		if bytes.Contains(env, []byte("unzip")) != arch.packed {
			t.Errorf("%s: the kernel is packed: %v", arch.Name, arch.packed)
		}
	}
}

func TestForwardedPorts(t *testing.T) {
	t.Parallel()
	text := "Hub -1 (net):\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n"
	for _, port := range forwardedPorts {
		text += "  TCP[HOST_FORWARD]  17       127.0.0.1 " + strconv.Itoa(40000+port) + "       10.0.2.15  " + strconv.Itoa(port) + "     0     0\n"
	}
	ports, err := forwarded(text)
	must(t, err)
	if ports[portHand] != 40000+portHand {
		t.Errorf("ports: %v", ports)
	}
	if _, err := forwarded(strings.Replace(text, "10.0.2.15  "+strconv.Itoa(portRTSP), "10.0.2.15  1", 1)); err == nil {
		t.Error("a port that is not forwarded was not missed")
	}
}

// What was found once is not found again, and what comes later is waited for.
func TestConsole(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := newConsole()
	word := regexp.MustCompile(`up on \S+`)
	write := func(text string) {
		_, err := c.Write([]byte(text))
		must(t, err)
	}
	write("rig: up on 1.0 ")
	found := make(chan string, 2)
	go func() {
		for range 2 {
			text, _ := c.Expect(ctx, word) // "" is judged below
			found <- text
		}
	}()
	if got := <-found; got != "up on 1.0" {
		t.Errorf("found %q", got)
	}
	write("rig: up on 2.0 ")
	if got := <-found; got != "up on 2.0" {
		t.Errorf("found %q", got)
	}
	gone, end := context.WithCancel(ctx)
	end()
	if _, err := c.Expect(gone, word); err == nil || !strings.Contains(err.Error(), "2.0") {
		t.Errorf("nothing more: %v", err)
	}
	write(strings.Repeat("x", maxConsole) + "up on 3.0\n")
	if got, err := c.Expect(ctx, word); err != nil || got != "up on 3.0" {
		t.Errorf("behind much else: %q %v", got, err)
	}
}
