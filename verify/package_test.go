package verify_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/verify"
	"slipstream/verify/pack"
)

func TestRoundTrip(t *testing.T) {
	f := newFixture(t)
	if !bytes.Equal(f.file, archive(f.head, f.index, f.image)) {
		t.Error("the built package is not its members in a row")
	}
	p, err := verify.Open(bytes.NewReader(f.file), int64(len(f.file)), f.trust, f.dev)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckAll(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(f.manifest, p.Manifest); diff != "" {
		t.Errorf("manifest (-built +read):\n%s", diff)
	}
	sum := sha256.Sum256(f.payload)
	if want := hex.EncodeToString(sum[:]); p.Digest != want {
		t.Errorf("digest %s, want that of the statement %s", p.Digest, want)
	}
	if ids := f.trust.KeyIDs(); p.Signer != ids[0] || p.Hint != ids[0] {
		t.Errorf("signer %q, hint %q, want %q", p.Signer, p.Hint, ids[0])
	}
	m, digest, err := verify.Recheck(p.Stored(), f.trust)
	if err != nil || digest != p.Digest {
		t.Errorf("recheck: digest %q, error %v", digest, err)
	}
	if diff := cmp.Diff(f.manifest, m); diff != "" {
		t.Errorf("rechecked manifest (-built +read):\n%s", diff)
	}
}

func TestPayloadIsTheImageInChunks(t *testing.T) {
	dir := t.TempDir()
	random := rand.NewChaCha8([32]byte{1})
	content := make([]byte, 1<<20)
	random.Read(content)
	writeFile(t, filepath.Join(dir, "camera"), string(content), 0o755)
	key := newKey(t)
	var file bytes.Buffer
	if _, err := pack.Build(t.Context(), &file, pack.Options{Dir: dir, Manifest: template(), Key: key}); err != nil {
		t.Fatal(err)
	}
	p, err := verify.Inspect(bytes.NewReader(file.Bytes()), int64(file.Len()), trustOf(t, key))
	if err != nil {
		t.Fatal(err)
	}
	payload, ok := p.Image(verify.ClassLive)
	if !ok || len(payload.Chunks) < 4 {
		t.Fatalf("live image: %v, %d chunks", ok, len(payload.Chunks))
	}
	image, err := io.ReadAll(payload.Reader())
	if err != nil || int64(len(image)) != payload.Image.Size {
		t.Fatalf("read %d bytes of %d: %v", len(image), payload.Image.Size, err)
	}
	next := int64(0)
	for i, c := range payload.Chunks {
		if c.Offset != next || sha256.Sum256(image[c.Offset:][:c.Length]) != c.SHA256 {
			t.Fatalf("chunk %d at %d does not describe the image", i, c.Offset)
		}
		next += int64(c.Length)
	}
	if next != payload.Image.Size {
		t.Errorf("chunks end at %d, image at %d", next, payload.Image.Size)
	}
	if _, ok := p.Image("system"); ok {
		t.Error("found an image of a class that the package does not have")
	}
}

// brokenDisk fails to read at one place.
type brokenDisk struct {
	io.ReaderAt
	at int64
}

var errDisk = errors.New("input/output error")

func (d brokenDisk) ReadAt(p []byte, off int64) (int, error) {
	if off <= d.at && d.at < off+int64(len(p)) {
		return 0, errDisk
	}
	return d.ReaderAt.ReadAt(p, off)
}

func TestReadErrorIsNotARefusal(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for at := int64(0); at < int64(len(f.file)); at += int64(step()) {
		p, err := verify.Open(brokenDisk{bytes.NewReader(f.file), at}, int64(len(f.file)), f.trust, f.dev)
		if err == nil {
			err = p.CheckAll(t.Context())
		}
		if !errors.Is(err, errDisk) || verify.Code(err) != "" {
			t.Fatalf("disk broken at %d: error %v with code %q", at, err, verify.Code(err))
		}
	}
}

// sparse is a package whose image is zeros that nobody holds.
type sparse struct {
	head []byte
	size int64
	bad  int64 // a byte that is not what it should be
}

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), s.size-off))
	clear(p[:n])
	if off < int64(len(s.head)) {
		copy(p[:n], s.head[off:])
	}
	if i := s.bad - off; i >= 0 && i < int64(n) {
		p[i] ^= 1
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// The largest image, whose end is beyond 32 bits, also where an int has no more.
func TestLargestImage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const image = verify.MaxImageSize
	line := f.line(verify.MaxChunk, make([]byte, verify.MaxChunk))
	index := bytes.Repeat(line, image/verify.MaxChunk)
	sum := sha256.Sum256(index)
	payload := f.statement(func(m *verify.Manifest) {
		m.Images[0].Size = image
		m.Images[0].Chunks = verify.ChunkIndex{SHA256: hex.EncodeToString(sum[:]), Count: len(index) / len(line)}
	})
	header := verify.Header("app.tree", image)
	file := sparse{head: join(member(verify.HeadName, f.sign(payload)), member("app.tree.chunks", index), header[:]), bad: -1}
	end := int64(len(file.head)) + image
	file.size = end + 2*verify.Record
	open := func(file sparse) (*verify.Package, error) { return verify.Open(file, file.size, f.trust, f.dev) }
	p, err := open(file)
	if err != nil {
		t.Fatal(err)
	}
	if last := p.Images()[0].Chunks[len(index)/len(line)-1]; last.Offset != image-verify.MaxChunk {
		t.Errorf("the last chunk is at %d", last.Offset)
	}
	spoilt, longer, shorter := file, file, file
	spoilt.bad = end + 100
	longer.size++
	shorter.size -= 1 << 32 // the same for who has 32 bits
	for want, file := range map[string]sparse{verify.CodePadding: spoilt, verify.CodeTrailing: longer, verify.CodeTruncated: shorter} {
		if _, err := open(file); verify.Code(err) != want {
			t.Errorf("got %v, want code %q", err, want)
		}
	}
}

func TestCheckAllStopsWithItsContext(t *testing.T) {
	f := newFixture(t)
	p, err := verify.Inspect(bytes.NewReader(f.file), int64(len(f.file)), f.trust)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextCanceled(t)
	defer cancel()
	if err := p.CheckAll(ctx); !errors.Is(err, ctx.Err()) || verify.Code(err) != "" {
		t.Errorf("got %v", err)
	}
}

// A file may claim any size; only what it is allowed to hold, and has, is allocated.
func TestClaimedSizesAllocateNothing(t *testing.T) {
	for claimed, want := range map[int64]string{8<<30 - 1: verify.CodeTooLarge, verify.MaxBundle: verify.CodeTruncated} {
		head := verify.Header(verify.HeadName, claimed)
		allocated := allocatedBytes(func() {
			if _, err := verify.Open(bytes.NewReader(head[:]), verify.Record, nil, verify.Device{}); verify.Code(err) != want {
				t.Errorf("%d bytes claimed: got %v, want code %q", claimed, err, want)
			}
		})
		const most = 64 << 10
		if allocated > most {
			t.Errorf("%d bytes claimed: refusing took %d bytes, at most %d are right", claimed, allocated, most)
		}
	}
}

func TestUnverifiedShowsAStrangersPackage(t *testing.T) {
	f := newFixture(t)
	file := archive(signWith(t, f.stranger, f.payload), f.index, f.image)
	if code := verify.Code(f.open(file)); code != verify.CodeUntrusted {
		t.Errorf("open: code %q", code)
	}
	p, err := verify.Unverified(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	id, err := verify.KeyID(&f.stranger.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if p.Signer != "" || p.Hint != id {
		t.Errorf("signer %q, hint %q; want none and %q", p.Signer, p.Hint, id)
	}
}

func TestRecheckFollowsTheTrustFile(t *testing.T) {
	f := newFixture(t)
	if _, _, err := verify.Recheck(f.head, trustOf(t, f.stranger, f.key)); err != nil {
		t.Errorf("two trusted keys: %v", err)
	}
	if _, _, err := verify.Recheck(f.head, trustOf(t, f.stranger)); verify.Code(err) != verify.CodeUntrusted {
		t.Errorf("key no longer trusted: %v", err)
	}
	for _, nobody := range []*verify.Trust{nil, {}} {
		if _, _, err := verify.Recheck(f.head, nobody); verify.Code(err) != verify.CodeUntrusted {
			t.Errorf("no trust: %v", err)
		}
	}
}

func TestLoadTrust(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.pub")
	a, b := newKey(t), newKey(t)
	text := join([]byte("# the factory's key\n"), publicPEM(t, a), []byte("\n# its spare\n"), publicPEM(t, b))
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	trust, err := verify.LoadTrust(path)
	if err != nil || len(trust.KeyIDs()) != 2 {
		t.Fatalf("trust %v, error %v", trust, err)
	}
	if _, err := verify.LoadTrust(path + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func allocatedBytes(run func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
