// Command flash leads a small device through its life: the parts that write to its disk,
// and nothing else of it. It says on standard output what becomes permanent, and waits for
// an answer each time. It is a program of its own so that it can be built with a fault.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"slipstream/slots"
	"slipstream/slots/boot"
	"slipstream/testrig/machine"
)

// Sizes of images, in bytes; chunks make the journal of a stage work.
const (
	imageSize = 384 << 10
	chunkSize = 32 << 10
)

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: flash new|live STATE SYSTEM-A SYSTEM-B BOOT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:5], os.Args[5]); err != nil {
		fmt.Fprintln(os.Stderr, "flash:", err)
		os.Exit(1)
	}
}

// small is the device.
type small struct {
	systems, apps *slots.Set
	record        *slots.RecordFile
	boot          boot.Control
	is            slots.Record
	out           io.Writer
	answers       *bufio.Scanner
	told          int // how often something became permanent
}

func run(what, state string, partitions []string, bootAt string) (err error) {
	s := &small{out: os.Stdout, answers: bufio.NewScanner(os.Stdin)}
	for _, name := range []string{"system", "slots"} {
		err = errors.Join(err, slots.MakeDir(filepath.Join(state, name)))
	}
	if err != nil {
		return err
	}
	if s.systems, err = slots.Open(filepath.Join(state, "system"), slots.Options{Partitions: map[string]string{"a": partitions[0], "b": partitions[1]}}); err != nil {
		return err
	}
	defer s.systems.Close()
	if s.apps, err = slots.Open(filepath.Join(state, "slots"), slots.Options{}); err != nil {
		return err
	}
	defer s.apps.Close()
	if s.record, err = slots.OpenRecord(state); err != nil {
		return err
	}
	defer s.record.Close()
	if s.boot, err = boot.NewEnv(boot.EnvConfig{
		Format: boot.Sequence, Size: machine.StateSize, Lock: filepath.Join(os.TempDir(), filepath.Base(bootAt)+".lock"),
		Copies: []boot.Copy{{Path: bootAt}, {Path: bootAt, Offset: machine.StateSize}},
	}, boot.Trial{}); err != nil {
		return err
	}
	if what == "new" {
		return s.begin()
	}
	if s.is, err = s.record.Load(); err != nil {
		return err
	}
	return s.live()
}

// begin makes a new device: a system in both slots, an app in one.
func (s *small) begin() error {
	system, app := content("system", 1), content("app", 1)
	s.is = slots.Record{
		System:  "a",
		Systems: map[string]slots.System{"a": {Digest: system.Digest, Version: system.Version, Counter: 1}},
		Live:    map[string]slots.Live{"a": {Slot: "a", Digest: app.Digest, Version: app.Version, Counter: 1}},
	}
	return inOrder(
		func() error { return stage(s.systems, "a", system) },
		func() error { return stage(s.systems, "b", system) },
		func() error { return stage(s.apps, "a", app) },
		func() error { return s.record.Replace(s.is) },
		func() error { return s.boot.Commit("b") }, // what was permanent stays bootable
		func() error { return s.boot.Commit("a") },
	)
}

func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// live is an update of the app, and then one of the system.
func (s *small) live() error {
	return inOrder(
		func() error { return s.updateApp("b", 2) },
		func() error { return s.updateSystem("b", 2) },
	)
}

func (s *small) updateApp(slot string, n int) error {
	c := content("app", n)
	if err := stage(s.apps, slot, c); err != nil {
		return err
	}
	s.is.Live[s.is.System] = slots.Live{Slot: slot, Digest: c.Digest, Version: c.Version, Counter: int64(n)}
	return inOrder(
		func() error { return s.may(true) },
		func() error { return s.record.Replace(s.is) },
		s.must,
	)
}

func (s *small) updateSystem(slot string, n int) error {
	c := content("system", n)
	if err := inOrder(
		func() error { return s.boot.Disable(slot) },
		func() error { return stage(s.systems, slot, c) },
		func() error { return s.boot.Try(slot) },
	); err != nil {
		return err
	}
	s.is.Systems[slot] = slots.System{Digest: c.Digest, Version: c.Version, Counter: int64(n)}
	s.is.Live[slot] = s.is.Live[s.is.System]
	s.is.System = slot
	return inOrder(
		func() error { return s.may(false) },
		func() error { return s.record.Replace(s.is) },
		func() error { return s.boot.Commit(slot) },
		s.must,
	)
}

// may says what may be permanent from now on, beside what is.
func (s *small) may(agreed bool) error {
	s.told++
	live := s.is.Live[s.is.System]
	return s.say("%d %d %v %s %s", s.told-1, s.told, agreed, s.is.Systems[s.is.System].Version, live.Version)
}

// must says that it is.
func (s *small) must() error {
	live := s.is.Live[s.is.System]
	return s.say("%d %d true %s %s", s.told, s.told, s.is.Systems[s.is.System].Version, live.Version)
}

func (s *small) say(format string, args ...any) error {
	if _, err := fmt.Fprintf(s.out, format+"\n", args...); err != nil {
		return err
	}
	if !s.answers.Scan() {
		return errors.Join(errors.New("no answer"), s.answers.Err())
	}
	return nil
}

func stage(set *slots.Set, slot string, c slots.Content) error {
	_, err := set.Stage(context.Background(), slot, c, slots.StageOptions{By: "factory"})
	return err
}

// content is a version's image: noise, which nothing starts.
func content(what string, n int) slots.Content {
	var seed [32]byte
	copy(seed[:], fmt.Sprint(what, n))
	raw := make([]byte, imageSize)
	_, _ = rand.NewChaCha8(seed).Read(raw) // it never fails
	c := slots.Content{Version: fmt.Sprintf("%d.0.0", n), Kind: slots.KindDisk, Manifest: []byte("a manifest")}
	if what == "app" {
		c.Kind, raw = slots.KindTree, tree(raw[:imageSize/2], raw[imageSize/2:])
	}
	name := sha256.Sum256(seed[:])
	c.Digest, c.Size, c.SHA256, c.Image = hex.EncodeToString(name[:]), int64(len(raw)), sha256.Sum256(raw), slots.File(bytes.NewReader(raw))
	for at := 0; at < len(raw); at += chunkSize {
		chunk := raw[at:min(at+chunkSize, len(raw))]
		c.Chunks = append(c.Chunks, slots.Chunk{Length: uint32(len(chunk)), SHA256: sha256.Sum256(chunk)})
	}
	return c
}

// tree is the image of a directory with a program and a clip.
func tree(program, clip []byte) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range []struct {
		name string
		mode int64
		data []byte
	}{{"camera", 0o755, program}, {"clip", 0o644, clip}} {
		h := &tar.Header{Format: tar.FormatUSTAR, Name: f.name, Typeflag: tar.TypeReg, Mode: f.mode, Size: int64(len(f.data)), ModTime: time.Unix(0, 0)}
		err := w.WriteHeader(h)
		if err == nil {
			_, err = w.Write(f.data)
		}
		if err != nil {
			panic("flash: " + err.Error()) // into memory, of sizes that are right
		}
	}
	if err := w.Close(); err != nil {
		panic("flash: " + err.Error())
	}
	return out.Bytes()
}
