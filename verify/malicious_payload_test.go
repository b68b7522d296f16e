package verify_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"slipstream/verify"
)

var payloads = []malicious{
	{79, "subjects swapped", verify.CodeSubjects, func(f *fixture) error {
		return f.subjects(func(s []verify.Subject) []verify.Subject { return []verify.Subject{s[1], s[0]} })
	}},
	{79, "subjects with each other's hash", verify.CodeSubjects, func(f *fixture) error {
		return f.subjects(func(s []verify.Subject) []verify.Subject {
			return []verify.Subject{{Name: s[0].Name, Digest: s[1].Digest}, {Name: s[1].Name, Digest: s[0].Digest}}
		})
	}},
	{79, "subject missing", verify.CodeSubjects, func(f *fixture) error {
		return f.subjects(func(s []verify.Subject) []verify.Subject { return s[:1] })
	}},
	{79, "subject twice", verify.CodeSubjects, func(f *fixture) error {
		return f.subjects(func(s []verify.Subject) []verify.Subject { return append(s, s[1]) })
	}},
	{78, "first byte of a chunk", verify.CodeCorrupt, func(f *fixture) error { return f.withImage(f.image[:0], []byte{f.image[0] ^ 1}, f.image[1:]) }},
	{78, "chunk with a flipped bit", verify.CodeCorrupt, func(f *fixture) error {
		image := bytes.Clone(f.image)
		image[len(image)/2] ^= 1
		return f.open(archive(f.head, f.index, image))
	}},
	{79, "contents of two chunks swapped", verify.CodeCorrupt, func(f *fixture) error {
		return f.halved(func(a, b []byte) (lines, image []byte) { return join(f.half(a), f.half(b)), join(b, a) })
	}},
	{79, "lines of two chunks swapped", verify.CodeCorrupt, func(f *fixture) error {
		return f.halved(func(a, b []byte) (lines, image []byte) { return join(f.half(b), f.half(a)), join(a, b) })
	}},
	{79, "index and image of two chunks swapped", verify.CodeCorrupt, func(f *fixture) error {
		return f.halved(func(a, b []byte) (lines, image []byte) { return join(f.half(b), f.half(a)), join(b, a) })
	}},
	{80, "more chunks than the image has bytes", verify.CodeManifest, chunkCount(func(f *fixture) int { return len(f.image) + 1 })},
	{80, "one chunk more than there are lines", verify.CodeHeader, chunkCount(func(*fixture) int { return 2 })},
	{80, "no chunks", verify.CodeManifest, chunkCount(func(*fixture) int { return 0 })},
	{80, "image too large for its chunks", verify.CodeManifest, func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.Images[0].Size = verify.MaxChunk + 1 })
	}},
	{80, "one byte too few in the lines", verify.CodeIndex, func(f *fixture) error {
		return f.reindexed(f.line(uint32(len(f.image)-1), f.image))
	}},
	{80, "image size and chunks disagree", verify.CodeIndex, func(f *fixture) error {
		return f.reindexed(f.line(uint32(len(f.image)-1), f.image[1:]))
	}},
	{81, "chunk of no bytes", verify.CodeIndex, func(f *fixture) error {
		return f.reindexed(join(f.line(0, nil), f.line(uint32(len(f.image)), f.image)))
	}},
	{81, "chunk of one byte too many", verify.CodeIndex, func(f *fixture) error {
		return f.reindexed(f.line(verify.MaxChunk+1, f.image))
	}},
	{82, "chunks of 2^32-1 bytes each", verify.CodeIndex, func(f *fixture) error {
		return f.reindexed(bytes.Repeat(f.line(1<<32-1, f.image), 100))
	}},
	{82, "lines of all the chunks allowed, each of 2^32-1 bytes", verify.CodeIndex, func(f *fixture) error {
		large := func(m *verify.Manifest) { m.Images[0].Size = verify.MaxChunks }
		return f.remade(bytes.Repeat(f.line(1<<32-1, f.image), verify.MaxChunks), make([]byte, verify.MaxChunks), large)
	}},
	{82, "image of 2^63-1 bytes", verify.CodeJSON, func(f *fixture) error {
		return f.edited(fmt.Sprintf(`"size":%d`, len(f.image)), `"size":9223372036854775807`)
	}},
	{83, "image above the largest size", verify.CodeManifest, func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.Images[0].Size = verify.MaxImageSize + 1 })
	}},
	{84, "image hash right, chunk hash wrong", verify.CodeCorrupt, func(f *fixture) error {
		return f.reindexed(f.line(uint32(len(f.image)), f.image[1:]))
	}},
	{84, "chunk hash right, image hash wrong", verify.CodeCorrupt, func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.Images[0].SHA256 = strings.Repeat("0", 64) })
	}},
	{84, "index with another hash than signed", verify.CodeCorrupt, func(f *fixture) error {
		index := bytes.Clone(f.index)
		index[0] ^= 1
		return f.open(archive(f.head, index, f.image))
	}},
	{89, "image that names a slot", verify.CodeUnknownField, func(f *fixture) error { return f.edited(`"class":"live"`, `"class":"live","slot":"a"`) }},
	{89, "class that names a slot", verify.CodeClass, func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.Images[0].Class = "live-a" })
	}},
	{90, "root of a hash tree without the tree", verify.CodeUnknownField, func(f *fixture) error {
		return f.edited(`"class":"live"`, `"class":"live","verity":{"root":"00"}`)
	}},
	{90, "hash tree of a tree of files", verify.CodeManifest, func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.Images[0].Verity = verityOf(1) })
	}},
	{90, "hash tree beyond the image", verify.CodeManifest, func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.Images[0].Kind, m.Images[0].Verity = verify.KindErofs, verityOf(1) })
	}},
	{92, "image replaced after Open", verify.CodeCorrupt, func(f *fixture) error { return f.replaced(f.reader(func(file []byte) { file[len(file)-1200] ^= 1 })) }},
	{92, "index and image replaced after Open", verify.CodeCorrupt, func(f *fixture) error {
		other := f.larger()
		return f.replaced(f.reader(func(file []byte) { copy(file[len(f.file)-1024-2048:], other.file[len(other.file)-3000:]) }))
	}},
	{92, "file cut off after Open", verify.CodeTruncated, func(f *fixture) error { return f.replaced(f.reader(func([]byte) {}).cut(len(f.file) - 2048)) }},
	{92, "index replaced while it is opened", verify.CodeCorrupt, func(f *fixture) error {
		at := bytes.Index(f.file, f.index)
		r := f.reader(func(file []byte) { file[at] ^= 1 })
		r.after = 2 // the head was read: its header and its bytes
		_, err := verify.Open(r, int64(len(f.file)), f.trust, f.dev)
		return err
	}},
}

// verityOf are the parameters of a tree right behind so many blocks of data.
func verityOf(blocks int64) *verify.Verity {
	return &verify.Verity{BlockSize: 4096, DataBlocks: blocks, HashOffset: blocks * 4096, RootHash: strings.Repeat("0", 64)}
}

// subjects opens the package with other subjects, rightly signed.
func (f *fixture) subjects(change func([]verify.Subject) []verify.Subject) error {
	f.t.Helper()
	s := f.manifest.Statement()
	s.Subject = change(s.Subject)
	payload, err := json.Marshal(s)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.withPayload(payload)
}

// line is one entry of a chunk index.
func (f *fixture) line(length uint32, data []byte) []byte {
	return verify.AppendIndex(nil, verify.Chunk{Length: length, SHA256: sha256.Sum256(data)})
}

// reindexed opens the package with another chunk index that is rightly signed.
func (f *fixture) reindexed(index []byte) error { return f.remade(index, f.image) }

// remade opens the package with another index and image, its manifest saying of
// the index, but not of the image, what is true.
func (f *fixture) remade(index, image []byte, more ...func(*verify.Manifest)) error {
	sum := sha256.Sum256(index)
	payload := f.statement(func(m *verify.Manifest) {
		for _, change := range more {
			change(m)
		}
		m.Images[0].Chunks = verify.ChunkIndex{SHA256: hex.EncodeToString(sum[:]), Count: len(index) / binary.Size(struct {
			Length uint32
			SHA256 [32]byte
		}{})}
	})
	return f.open(archive(f.sign(payload), index, image))
}

// half is the line of an index for one chunk.
func (f *fixture) half(data []byte) []byte { return f.line(uint32(len(data)), data) }

// halved opens the package with its image cut into two chunks of one length, and
// the index and the image made of them.
func (f *fixture) halved(combine func(a, b []byte) (lines, image []byte)) error {
	n := len(f.image) / 2
	lines, image := combine(f.image[:n], f.image[n:])
	return f.remade(lines, image)
}

// withImage opens the package with another image, nothing signed again.
func (f *fixture) withImage(parts ...[]byte) error {
	return f.open(archive(f.head, f.index, join(parts...)))
}

func chunkCount(n func(*fixture) int) func(*fixture) error {
	return func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.Images[0].Chunks.Count = n(f) })
	}
}

// turncoat is a file that becomes another one after some reads.
type turncoat struct {
	before, then *bytes.Reader
	after        int // reads of the first
	reads        int
}

func (r *turncoat) ReadAt(p []byte, off int64) (int, error) {
	r.reads++
	if r.reads > r.after {
		return r.then.ReadAt(p, off)
	}
	return r.before.ReadAt(p, off)
}

// cut shortens what the file becomes.
func (r *turncoat) cut(n int) *turncoat {
	then := make([]byte, n)
	if _, err := r.then.ReadAt(then, 0); err != nil {
		panic(err) // it is a longer slice
	}
	r.then = bytes.NewReader(then)
	return r
}

// reader is the package, which becomes another one as soon as it is told to.
func (f *fixture) reader(change func(file []byte)) *turncoat {
	then := bytes.Clone(f.file)
	change(then)
	return &turncoat{before: bytes.NewReader(f.file), then: bytes.NewReader(then), after: math.MaxInt}
}

// replaced opens the file, replaces it, and reads the images.
func (f *fixture) replaced(r *turncoat) error {
	f.t.Helper()
	p, err := verify.Open(r, int64(len(f.file)), f.trust, f.dev)
	if err != nil {
		f.t.Fatal(err)
	}
	r.after = 0
	return p.CheckAll(f.t.Context())
}
