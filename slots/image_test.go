package slots_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"slipstream/slots"
)

// member is one entry of a test image, written as it stands.
type member struct {
	name string
	kind byte // 0: a file
	mode int64
	data string // content, or target of a link
}

func file(name, data string) member    { return member{name, tar.TypeReg, 0o644, data} }
func program(name, data string) member { return member{name, tar.TypeReg, 0o755, data} }
func directory(name string) member     { return member{name + "/", tar.TypeDir, 0o755, ""} }
func link(name, target string) member  { return member{name, tar.TypeSymlink, 0o777, target} }

// image writes members in the order given, with all that archive/tar allows.
func image(t testing.TB, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		h := &tar.Header{Format: tar.FormatUSTAR, Name: m.name, Typeflag: m.kind, Mode: m.mode, ModTime: time.Unix(0, 0)}
		if m.kind == tar.TypeReg {
			h.Size = int64(len(m.data))
		} else {
			h.Linkname = m.data
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if m.kind == tar.TypeReg {
			if _, err := w.Write([]byte(m.data)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// content describes an image as a signed package would, in chunks of 700 bytes,
// so that headers and files lie across their borders.
func content(raw []byte) slots.Content {
	c := slots.Content{
		Digest: "d1", Version: "1.0.0", Kind: slots.KindTree, Size: int64(len(raw)),
		SHA256: sha256.Sum256(raw), Image: slots.File(bytes.NewReader(raw)), Manifest: []byte("bundle"),
	}
	for rest := raw; len(rest) > 0; {
		n := min(len(rest), 700)
		c.Chunks = append(c.Chunks, slots.Chunk{Length: uint32(n), SHA256: sha256.Sum256(rest[:n])})
		rest = rest[n:]
	}
	return c
}

// sample is a tree with everything that a tree may have.
func sample(t testing.TB) []byte {
	return image(t,
		program("app", "#!/bin/sh\n"),
		directory("clips"),
		file("clips-more", ""), // "-" sorts before "/": a directory's entries are not always in one row
		file("clips/one", string(bytes.Repeat([]byte("frame"), 1000))),
		link("current", "clips/one"),
	)
}

func openSet(t testing.TB) *slots.Set {
	t.Helper()
	return openDir(t, t.TempDir())
}

func openDir(t testing.TB, dir string) *slots.Set {
	t.Helper()
	s, err := slots.Open(dir, slots.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func stateOf(t testing.TB, s *slots.Set, name string) string {
	t.Helper()
	st, err := s.Status(name)
	if err != nil {
		t.Fatal(err)
	}
	return st.State
}

// stage stages without anything that a stage need not have.
func stage(ctx context.Context, s *slots.Set, name string, c slots.Content) error {
	_, err := s.Stage(ctx, name, c, slots.StageOptions{})
	return err
}
