package slots_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/slots"
	"slipstream/slots/verity"
)

// needRoot skips where images cannot be mounted, and says so.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting images needs root")
	}
}

// filesystem makes an image of a directory with two files by the real programs.
func filesystem(t testing.TB, kind string) []byte {
	t.Helper()
	return filesystemWith(t, kind, noise(1, 100_000)) // nothing that could be made smaller
}

func filesystemWith(t testing.TB, kind string, clip []byte, options ...string) []byte {
	t.Helper()
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "image")
	for name, data := range map[string][]byte{"app": []byte("#!/bin/sh\necho " + kind + "\n"), "clip": clip} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "mksquashfs", dir, out, "-quiet", "-no-progress", "-all-root")
	if kind == slots.KindErofs {
		cmd = exec.CommandContext(t.Context(), "mkfs.erofs", "-d0", "--all-root", out, dir)
	}
	cmd.Args = append(cmd.Args, options...)
	if words, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, words)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// put makes a slot hold an image.
func put(t testing.TB, s *slots.Set, name, kind string, raw []byte) {
	t.Helper()
	c := content(raw)
	c.Kind = kind
	if err := stage(t.Context(), s, name, c); err != nil {
		t.Fatal(err)
	}
}

func mount(t testing.TB, s *slots.Set, name string) string {
	t.Helper()
	root, err := s.Mount(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	return root
}

func mountState(t testing.TB, s *slots.Set, name string) string {
	t.Helper()
	st, err := s.Status(name)
	if err != nil {
		t.Fatal(err)
	}
	return st.Mount
}

// mounts counts what is mounted at a path.
func mounts(t testing.TB, path string) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(raw), " "+path+" ")
}

// expectFree fails if anything of the slot's image is still mounted or attached.
func expectFree(t testing.TB, s *slots.Set, name string) {
	t.Helper()
	if n := mounts(t, s.Root(name)); n != 0 {
		t.Errorf("%d mounts are left", n)
	}
	if device, err := slots.Holder(s.ImagePath(name)); err != nil || device != "" {
		t.Errorf("%s still has the image (%v)", device, err)
	}
	if how := mountState(t, s, name); how != slots.MountNone {
		t.Errorf("the mount state is %q", how)
	}
}

func TestMount(t *testing.T) {
	needRoot(t)
	for _, kind := range []string{slots.KindErofs, slots.KindSquashfs} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			s := openDir(t, dir)
			put(t, s, "a", kind, filesystem(t, kind))
			expectFree(t, s, "a")
			root := mount(t, s, "a")
			if got, err := exec.CommandContext(t.Context(), filepath.Join(root, "app")).Output(); err != nil || string(got) != kind+"\n" {
				t.Errorf("the app says %q, %v", got, err)
			}
			var fs unix.Statfs_t
			const want = unix.ST_RDONLY | unix.ST_NOSUID | unix.ST_NODEV
			if err := unix.Statfs(root, &fs); err != nil || fs.Flags&want != want {
				t.Errorf("mounted with the flags %#x, %v", fs.Flags, err)
			}
			if how := mountState(t, s, "a"); how != slots.MountPlain {
				t.Errorf("the mount state is %q", how)
			}

			s.Close() // as when the agent dies
			s = openDir(t, dir)
			if again := mount(t, s, "a"); again != root || mounts(t, root) != 1 {
				t.Errorf("mounted again: %s, %d mounts", again, mounts(t, root))
			}
			for range 2 {
				if err := s.Unmount("a"); err != nil {
					t.Fatal(err)
				}
			}
			expectFree(t, s, "a")
			mount(t, s, "a")
			if err := s.Clear("a"); err != nil {
				t.Fatal(err)
			}
			expectEmpty(t, s, "a")
		})
	}
}

// TestUnpaddedMount: the file system ends within a block of the loop device.
func TestUnpaddedMount(t *testing.T) {
	needRoot(t)
	raw := filesystemWith(t, slots.KindSquashfs, noise(1, 100_000), "-nopad")
	if len(raw)%512 == 0 {
		raw = filesystemWith(t, slots.KindSquashfs, noise(1, 100_001), "-nopad")
	}
	dir := t.TempDir()
	s := openDir(t, dir)
	put(t, s, "a", slots.KindSquashfs, raw)
	clip, err := os.ReadFile(filepath.Join(mount(t, s, "a"), "clip"))
	if err != nil || !bytes.HasPrefix(clip, noise(1, 100_000)) {
		t.Errorf("%d bytes, %v", len(clip), err)
	}
	if err := s.Unmount("a"); err != nil {
		t.Error(err)
	}
}

func TestMountOfATreeChecksIt(t *testing.T) {
	s := openSet(t)
	if err := stage(t.Context(), s, "a", content(sample(t))); err != nil {
		t.Fatal(err)
	}
	root, err := s.Mount(t.Context(), "a")
	if err != nil || root != s.Root("a") || mountState(t, s, "a") != slots.MountNone {
		t.Errorf("got %s, %v, mount state %q", root, err, mountState(t, s, "a"))
	}
	if err := s.Unmount("a"); err != nil {
		t.Errorf("unmount: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, "app"), []byte("else"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mount(t.Context(), "a"); !errors.Is(err, slots.ErrDamaged) {
		t.Errorf("changed: got %v, want %v", err, slots.ErrDamaged)
	}
}

// The same again reads it, and lets it be.
func TestStagingWhatIsMountedAgain(t *testing.T) {
	needRoot(t)
	s := openSet(t)
	image := filesystem(t, slots.KindErofs)
	put(t, s, "a", slots.KindErofs, image)
	mount(t, s, "a")
	put(t, s, "a", slots.KindErofs, image)
	if how := mountState(t, s, "a"); how != slots.MountPlain {
		t.Errorf("the mount state is %q", how)
	}
}

// partitions are two block devices.
func partitions(t *testing.T) map[string]string {
	t.Helper()
	devices := place{partition: true}.options(t, filepath.Join(t.TempDir(), "set")).Partitions
	for name, file := range devices {
		devices[name] = device(t, file)
	}
	return devices
}

func TestMountOfAPartition(t *testing.T) {
	needRoot(t)
	for _, kind := range []string{slots.KindErofs, slots.KindSquashfs} {
		t.Run(kind, func(t *testing.T) {
			o := slots.Options{Partitions: partitions(t)}
			s, err := slots.Open(t.TempDir(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			put(t, s, "b", kind, filesystem(t, kind))
			root := mount(t, s, "b")
			if got, err := exec.CommandContext(t.Context(), filepath.Join(root, "app")).Output(); err != nil || string(got) != kind+"\n" {
				t.Errorf("the app says %q, %v", got, err)
			}
			if again := mount(t, s, "b"); again != root || mounts(t, root) != 1 || mountState(t, s, "b") != slots.MountPlain {
				t.Errorf("mounted again: %s, %d mounts, state %q", again, mounts(t, root), mountState(t, s, "b"))
			}
			other := exec.CommandContext(t.Context(), "sleep", "100")
			other.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			if err := s.Clear("b"); !errors.Is(err, slots.ErrBusy) {
				t.Errorf("mounted elsewhere: got %v, want %v", err, slots.ErrBusy)
			}
			other.Process.Kill()
			other.Wait()
			put(t, s, "b", kind, filesystem(t, kind)) // the same: it is there already
			if err := s.Clear("b"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A process with mounts of its own keeps a slot busy after it was unmounted here.
func TestASlotMountedElsewhereIsInUse(t *testing.T) {
	needRoot(t)
	s := openSet(t)
	put(t, s, "a", slots.KindErofs, filesystem(t, slots.KindErofs))
	mount(t, s, "a")
	other := exec.CommandContext(t.Context(), "sleep", "100")
	other.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.Clear("a"); !errors.Is(err, slots.ErrBusy) || stateOf(t, s, "a") != slots.StateStaged {
		t.Errorf("got %v, want %v; the slot is %s", err, slots.ErrBusy, stateOf(t, s, "a"))
	}
	other.Process.Kill()
	other.Wait()
	if err := s.Clear("a"); err != nil {
		t.Errorf("when it has ended: %v", err)
	}
	expectFree(t, s, "a")
}

func TestMountRefusesWhatIsNotTheImage(t *testing.T) {
	needRoot(t)
	image := filesystem(t, slots.KindSquashfs)
	for _, row := range []struct {
		name   string
		damage func(path string) error
		want   error
	}{
		{"a flipped bit", func(path string) error {
			raw := bytes.Clone(image)
			raw[len(raw)/2] ^= 1
			return os.WriteFile(path, raw, 0o644)
		}, slots.ErrDamaged},
		{"cut short", func(path string) error { return os.Truncate(path, int64(len(image)-4096)) }, slots.ErrDamaged},
		{"gone", os.Remove, slots.ErrDamaged},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := openSet(t)
			put(t, s, "a", slots.KindSquashfs, image)
			if err := row.damage(s.ImagePath("a")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Mount(t.Context(), "a"); !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
			expectFree(t, s, "a")
		})
	}
	t.Run("changed while it was mounted", func(t *testing.T) {
		s := openSet(t)
		put(t, s, "a", slots.KindSquashfs, image)
		mount(t, s, "a")
		f, err := os.OpenFile(s.ImagePath("a"), os.O_RDWR, 0)
		if err == nil {
			_, err = f.WriteAt([]byte("else"), int64(len(image)/2))
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Mount(t.Context(), "a"); !errors.Is(err, slots.ErrDamaged) {
			t.Errorf("got %v, want %v", err, slots.ErrDamaged)
		}
	})
	t.Run("no file system at all", func(t *testing.T) {
		s := openSet(t)
		put(t, s, "a", slots.KindSquashfs, bytes.Repeat([]byte("noise"), 4096))
		if _, err := s.Mount(t.Context(), "a"); err == nil || errors.Is(err, slots.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
		expectFree(t, s, "a")
	})
	t.Run("an empty slot", func(t *testing.T) {
		if _, err := openSet(t).Mount(t.Context(), "a"); !errors.Is(err, slots.ErrNotStaged) {
			t.Errorf("got %v, want %v", err, slots.ErrNotStaged)
		}
	})
}

// What somebody else has mounted at the root is not taken for the slot's.
func TestMountReplacesWhatIsNotTheSlots(t *testing.T) {
	needRoot(t)
	s := openSet(t)
	put(t, s, "a", slots.KindErofs, filesystem(t, slots.KindErofs))
	put(t, s, "b", slots.KindSquashfs, filesystem(t, slots.KindSquashfs))
	other := mount(t, s, "b")
	t.Cleanup(func() { unix.Unmount(s.Root("a"), unix.MNT_DETACH) })
	if err := errors.Join(os.Mkdir(s.Root("a"), 0o755), unix.Mount(other, s.Root("a"), "", unix.MS_BIND|unix.MS_RDONLY, "")); err != nil {
		t.Fatal(err)
	}
	if how := mountState(t, s, "a"); how != slots.MountNone {
		t.Errorf("the mount state is %q", how)
	}
	root := mount(t, s, "a")
	if raw, err := os.ReadFile(filepath.Join(root, "app")); err != nil || !bytes.Contains(raw, []byte(slots.KindErofs)) || mounts(t, root) != 1 {
		t.Errorf("got %q, %v, %d mounts", raw, err, mounts(t, root))
	}
}

// TestUnprivileged runs itself as a user who may mount nothing.
func TestUnprivileged(t *testing.T) {
	const variable, nobody = "SLOTS_TEST_UNPRIVILEGED", 65534
	if dir := os.Getenv(variable); dir != "" {
		unprivileged(t, dir)
		return
	}
	needRoot(t)
	dir, err := os.MkdirTemp("", "slots-test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := openDir(t, dir)
	put(t, s, "a", slots.KindSquashfs, filesystem(t, slots.KindSquashfs))
	if err := stage(t.Context(), s, "b", content(sample(t))); err != nil {
		t.Fatal(err)
	}
	s.Close()
	program := filepath.Join(dir, "test") // go test's own directory is closed to others
	raw, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, raw, 0o755)
	}
	for _, path := range []string{"", "lock", "a", "b", "a/image"} {
		err = errors.Join(err, os.Chown(filepath.Join(dir, path), nobody, nobody))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestUnprivileged$", "-test.v")
	cmd.Env, cmd.Dir = []string{variable + "=" + dir}, dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	words, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(words, []byte("PASS: TestUnprivileged")) {
		t.Errorf("as nobody: %v\n%s", err, words)
	}
}

func unprivileged(t *testing.T, dir string) {
	s := openDir(t, dir)
	if _, err := s.Mount(t.Context(), "a"); !errors.Is(err, slots.ErrUnprivileged) {
		t.Errorf("mount: got %v, want %v", err, slots.ErrUnprivileged)
	}
	if _, err := s.Mount(t.Context(), "b"); err != nil {
		t.Errorf("a tree needs no mount: %v", err)
	}
	for _, c := range slots.Capabilities() {
		if free := c.Name == slots.KindTree || c.Name == slots.KindDisk; free != (c.Err == nil) || !free && !errors.Is(c.Err, slots.ErrUnprivileged) {
			t.Errorf("%s: %v", c.Name, c.Err)
		}
	}
	if err := slots.CanMount(slots.KindErofs); !errors.Is(err, slots.ErrUnprivileged) {
		t.Errorf("erofs: %v", err)
	}
}

// guarded puts a hash tree behind an image.
func guarded(t testing.TB, raw []byte) ([]byte, *verity.Params) {
	t.Helper()
	b := verity.NewBuilder([]byte("salt"))
	if _, err := b.Write(raw); err != nil {
		t.Fatal(err)
	}
	tree, p, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	super, err := p.Superblock()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(raw, super, tree), &p
}

// stageGuarded stages an image with the tree that p says.
func stageGuarded(t testing.TB, s *slots.Set, raw []byte, p *verity.Params) error {
	t.Helper()
	c := content(raw)
	c.Kind, c.Verity = slots.KindSquashfs, p
	return stage(t.Context(), s, "a", c)
}

// The image is the signed one, and its hash tree or what is signed of it is wrong.
func TestAVerityRootThatLies(t *testing.T) {
	image, good := guarded(t, filesystem(t, slots.KindSquashfs))
	for name, change := range map[string]func(p *verity.Params, image []byte){
		"another root hash":      func(p *verity.Params, _ []byte) { p.RootHash = strings.Repeat("0", 64) },
		"another salt":           func(p *verity.Params, _ []byte) { p.Salt = "5a" },
		"another tree":           func(_ *verity.Params, image []byte) { image[len(image)-1] ^= 1 },
		"the tree of other data": func(_ *verity.Params, image []byte) { image[100] ^= 1 },
	} {
		p, raw, s := *good, bytes.Clone(image), openSet(t)
		change(&p, raw)
		if err := stageGuarded(t, s, raw, &p); !errors.Is(err, slots.ErrVerity) || errors.Is(err, slots.ErrContent) || errors.Is(err, slots.ErrDamaged) {
			t.Errorf("%s: got %v, want %v", name, err, slots.ErrVerity)
		}
		expectEmpty(t, s, "a")
	}
}

// The slot's note says which hash tree guards the image, and Mount goes by that.
func TestTheNotedTreeIsMended(t *testing.T) {
	image, p := guarded(t, filesystem(t, slots.KindSquashfs))
	s := openSet(t)
	for _, tree := range []*verity.Params{p, nil, p} {
		if err := stageGuarded(t, s, image, tree); err != nil {
			t.Fatal(err)
		}
		if st, err := s.Status("a"); err != nil || (st.Verity == nil) != (tree == nil) || tree != nil && *st.Verity != *tree {
			t.Errorf("the tree is noted as %+v, want %+v; %v", st.Verity, tree, err)
		}
	}
}

// Without dm-verity the whole image is read; with it the kernel reads what it needs.
func TestMountOfAGuardedImage(t *testing.T) {
	needRoot(t)
	image, p := guarded(t, filesystem(t, slots.KindSquashfs))
	s := openSet(t)
	if err := stageGuarded(t, s, image, p); err != nil {
		t.Fatal(err)
	}
	want := slots.MountVerity
	if verity.Available() != nil {
		want = slots.MountPlain
	}
	root := mount(t, s, "a")
	if _, err := os.ReadFile(filepath.Join(root, "app")); err != nil || mountState(t, s, "a") != want {
		t.Errorf("mount state %q, want %q; %v", mountState(t, s, "a"), want, err)
	}
	if err := s.Clear("a"); err != nil {
		t.Error(err)
	}
}

func TestCapabilitiesOfThisMachine(t *testing.T) {
	needRoot(t)
	for _, c := range slots.Capabilities() {
		t.Logf("%s: %v", c.Name, c.Err)
		if c.Err != nil && c.Name != slots.CapabilityVerity {
			t.Errorf("%s: %v", c.Name, c.Err)
		}
	}
	if err := slots.CanMount("btrfs-of-tomorrow"); err == nil {
		t.Error("an unknown kind can be mounted")
	}
}
