package slots_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/slots/powercut"
)

// TestPowerCutOfExt4 holds the model against a real file system: ext4 on a block
// device that forgets. At some instants, chosen at random, any of the sectors that
// were not flushed are lost, ext4 recovers as it does, and the slots come up.
func TestPowerCutOfExt4(t *testing.T) {
	l := &life{T: t, place: places()[0], disk: powercut.New(t, nil)}
	image := filepath.Join(l.disk.Dir, "ext4")
	l.must(os.WriteFile(image, nil, 0o600))
	l.must(os.Truncate(image, 4<<20))
	command(t, "mkfs.ext4", "-q", "-b", "1024", "-J", "size=1", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
	mounted := t.TempDir()
	mountExt4(t, image, mounted)
	l.must(l.disk.Settle())
	l.dir = mounted
	l.open()
	l.stage("a", 1)
	l.commit("a", 1)
	l.stage("b", 2)
	l.commit("b", 2)
	l.stage("a", 3)
	l.must(errors.Join(l.set.Close(), l.record.Close()))
	log, err := l.disk.Log()
	l.must(err)

	var tally powercut.Tally
	r := rand.New(rand.NewPCG(*powercut.Seed, 0))
	begin := log.Begin()
	for range cuts(3, 20) {
		cut := begin + r.IntN(len(log.Ops)-begin)
		e := &powercut.Explorer{Limit: 8, Check: func(dir string, told []string) error { return recovers(t, dir, told) }}
		one, err := e.Run(powercut.Log{Base: log.Base, Ops: log.Ops[:cut]}, cut)
		tally.Cuts, tally.States, tally.Restarts, tally.Bad = tally.Cuts+one.Cuts, tally.States+one.States, tally.Restarts+one.Restarts, tally.Bad+one.Bad
		if err != nil {
			t.Error(err)
		}
	}
	t.Logf("power cut: seed=%d %v", *powercut.Seed, tally)

	deaf := deafWhile(log, "commits b 2", "committed b 2")
	e := &powercut.Explorer{Limit: 8, Check: func(dir string, told []string) error { return recovers(t, dir, told) }}
	_, err = e.Run(deaf, len(deaf.Ops))
	if _, found := errors.AsType[*powercut.BadState](err); !found {
		t.Errorf("a disk that does not hear the flushes of a commit: %v", err)
	}
}

// deafWhile is the log up to a mark, without the flushes since another.
func deafWhile(log powercut.Log, from, to string) powercut.Log {
	heard := powercut.Log{Base: log.Base}
	deaf := false
	for _, o := range log.Ops {
		deaf = deaf || o.Kind == powercut.Mark && o.Name == from
		if !deaf || !o.IsSync() {
			heard.Ops = append(heard.Ops, o)
		}
		if o.Kind == powercut.Mark && o.Name == to {
			break
		}
	}
	return heard
}

func cuts(some, all int) int {
	if *powercut.Full {
		return all
	}
	return some
}

// recovers mounts what a power cut has left, and starts there.
func recovers(t *testing.T, dir string, told []string) (err error) {
	mounted := filepath.Join(dir, "mounted")
	if err := os.Mkdir(mounted, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("mount", "-t", "ext4", "-o", "loop", filepath.Join(dir, "ext4"), mounted).CombinedOutput(); err != nil {
		return errors.New(string(out))
	}
	defer func() { err = errors.Join(err, unix.Unmount(mounted, 0)) }()
	return restart(t, places()[0], mounted, told)
}

func mountExt4(t *testing.T, image, dir string) {
	t.Helper()
	command(t, "mount", "-t", "ext4", "-o", "loop", image, dir)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}
