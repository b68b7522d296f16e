package verify_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"slipstream/verify"
)

// flipped is a file in which one byte is another.
type flipped struct {
	file []byte
	at   int64
	by   byte
}

func (r flipped) ReadAt(p []byte, off int64) (int, error) {
	n, err := bytes.NewReader(r.file).ReadAt(p, off)
	if i := r.at - off; i >= 0 && i < int64(n) {
		p[i] ^= r.by
	}
	return n, err
}

// refused makes sure that a file is refused, with a code, as a stream too, and that whoever asked
// is left with nothing: no package, and so nothing to write, start or remember.
func (f *fixture) refused(r io.ReaderAt, size int) (string, error) {
	p, err := verify.Open(r, int64(size), f.trust, f.dev)
	if err != nil && p != nil {
		return "", fmt.Errorf("a package beside the refusal %w", err)
	}
	if err == nil {
		err = p.CheckAll(f.t.Context())
	}
	err = sameAsStream(err, io.NewSectionReader(r, 0, int64(size)), f.trust, f.dev)
	if err == nil {
		return "", fmt.Errorf("accepted")
	}
	if verify.Code(err) == "" {
		return "", fmt.Errorf("no refusal: %w", err)
	}
	return verify.Code(err), nil
}

// flip tries one changed byte.
func (f *fixture) flip(at int, by byte) {
	if _, err := f.refused(flipped{f.file, int64(at), by}, len(f.file)); err != nil {
		f.t.Errorf("byte %d of %d ^ %#x: %v", at, len(f.file), by, err)
	}
}

// step is how far apart the tried places are: with -short, under an emulator, one of
// 61 is tried.
func step() int {
	if testing.Short() {
		return 61
	}
	return 1
}

// everywhere runs something for 0 to n-1, or some of them, on all processors.
func everywhere(n int, run func(i int)) {
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w * step(); i < n; i += workers * step() {
				run(i)
			}
		})
	}
	wg.Wait()
}

// With SLIPSTREAM_SOAK each byte becomes every other one.
func TestEveryFlippedByteIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	everywhere(len(f.file), func(at int) {
		flips := []byte{0x01}
		if at < verify.Record+len(f.head) { // text: 0x20 changes the case of a letter
			flips = append(flips, 0x20)
		}
		if thorough() {
			flips = flips[:0]
			for by := 1; by <= 0xff; by++ {
				flips = append(flips, byte(by))
			}
		}
		for _, by := range flips {
			f.flip(at, by)
		}
	})
	if err := f.open(f.file); err != nil {
		t.Errorf("the package as it is: %v", err)
	}
}

// A package of many chunks, flipped in 10 000 random places with SLIPSTREAM_SOAK, in
// some of them without.
func TestRandomFlipsOfALargePackageAreRefused(t *testing.T) {
	t.Parallel()
	seed := rand.Uint32()
	noise := make([]byte, 3<<20)
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	if _, err := random.Read(noise); err != nil {
		t.Fatal(err)
	}
	f := newFixtureOf(t, string(noise))
	if err := f.open(f.file); err != nil || len(f.index) < 10*36 {
		t.Fatalf("the package as it is, with an index of %d bytes: %v", len(f.index), err)
	}
	flips := 300
	if thorough() {
		flips = 10_000
	}
	places := make([]int, flips)
	for i := range places {
		places[i] = int(random.Uint64() % uint64(len(f.file)))
	}
	everywhere(flips, func(i int) { f.flip(places[i], 1<<(i%8)) })
	if t.Failed() {
		t.Logf("seed %#x", seed)
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	everywhere(len(f.file), func(n int) {
		if code, err := f.refused(bytes.NewReader(f.file[:n]), n); code != verify.CodeTruncated {
			t.Errorf("%d bytes of %d: code %q, %v", n, len(f.file), code, err)
		}
		if !thorough() && n%verify.Record > 1 && n > verify.Record+len(f.head) {
			return
		}
		// The file was whole when its size was asked for.
		if code, err := f.refused(bytes.NewReader(f.file[:n]), len(f.file)); code != verify.CodeTruncated {
			t.Errorf("%d bytes left of %d: code %q, %v", n, len(f.file), code, err)
		}
	})
}

// TestEveryFlippedByteOfAWholeHead is about two signatures, roots and an order, of
// which no more are there than are needed. Hexadecimal digits of a root's signature,
// which TUF leaves open to be capitals, are the one thing that may change, and they
// change nothing. With SLIPSTREAM_SOAK each byte is tried, without it one of 41.
func TestEveryFlippedByteOfAWholeHead(t *testing.T) {
	t.Parallel()
	w := newTrustWorld(newFixture(t)).enrolled()
	h := w.good()
	h.VendorRoots = [][]byte{next(w.vendor, nil).Sign(t, w.vendor.Root.Keys[:2]...)}
	h.FleetRoots = [][]byte{next(w.fleet, nil).Sign(t, w.fleet.Root.Keys...)}
	file := w.packed(files(h, 2, 2))
	good, err := w.open(file)
	if err != nil || len(good.Members) != 7 {
		t.Fatalf("the package as it is: %+v, %v", good, err)
	}
	end := int(good.Members[5].Offset - verify.Record)
	apart := 41
	if thorough() {
		apart = 1
	}
	everywhere(end/apart, func(i int) {
		bad := bytes.Clone(file)
		bad[i*apart] ^= 1 << (i % 8)
		p, err := w.open(bad)
		switch {
		case err == nil && p.Digest == good.Digest && inRoot(good, i*apart) && bytes.Equal(bytes.ToLower(bad), bytes.ToLower(file)):
		case verify.Code(err) == "" || p != nil:
			t.Errorf("byte %d of %d: %q, %v", i*apart, end, bad[max(0, i*apart-40):i*apart+10], err)
		}
	})
}

func inRoot(p *verify.Package, at int) bool {
	return slices.ContainsFunc(p.Members, func(m verify.Member) bool {
		return strings.HasSuffix(m.Name, ".root.json") && m.Offset <= int64(at) && int64(at) < m.Offset+m.Size
	})
}
