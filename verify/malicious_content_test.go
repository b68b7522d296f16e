package verify_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"slipstream/verify"
)

var policies = []malicious{
	{43, "other hardware", verify.CodeWrongHardware, hardware("cam-b1")},
	{44, "empty hardware list", verify.CodeManifest, hardware()},
	{44, "hardware *", verify.CodeManifest, hardware("*")},
	{45, "hardware that begins alike", verify.CodeWrongHardware, hardware("cam-a10")},
	{45, "hardware in capitals", verify.CodeWrongHardware, hardware("CAM-A1")},
	{46, "other product", verify.CodeWrongProduct, func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.Product = "doorcam" })
	}},
	{47, "lower counter", verify.CodeRollback, func(f *fixture) error { return f.floor(8, "") }},
	{48, "same counter, other digest", verify.CodeCounterReused, func(f *fixture) error { return f.floor(7, strings.Repeat("0", 64)) }},
	{49, "greatest counter", verify.CodeCounterJump, func(f *fixture) error {
		f.dev.FloorCounter = 1
		defer func() { f.dev.FloorCounter = 0 }()
		return counter("9007199254740992")(f)
	}},
	{55, "cannot follow what is installed", verify.CodeStep, func(f *fixture) error {
		f.dev.FloorCounter = 3
		defer func() { f.dev.FloorCounter = 0 }()
		return f.changed(func(m *verify.Manifest) { m.MinFromCounter = 5 })
	}},
	{56, "newer format with new members", verify.CodeNewerFormat, func(f *fixture) error {
		return f.edited(`"format":1`, `"format":2,"sparkle":true`)
	}},
}

var archives = []malicious{
	{63, "members in other order", verify.CodeHeader, func(f *fixture) error {
		return f.open(join(member(verify.HeadName, f.head), member("app.tree", f.image), member("app.tree.chunks", f.index), make([]byte, 1024)))
	}},
	{64, "member twice", verify.CodeTrailing, func(f *fixture) error {
		return f.open(join(f.file[:len(f.file)-1024], member("app.tree", f.image), make([]byte, 1024)))
	}},
	{65, "one member more", verify.CodeTrailing, func(f *fixture) error {
		return f.open(join(f.file[:len(f.file)-1024], member("more", []byte("x")), make([]byte, 1024)))
	}},
	{66, "member missing", verify.CodeTruncated, func(f *fixture) error {
		return f.open(join(member(verify.HeadName, f.head), member("app.tree", f.image), make([]byte, 1024)))
	}},
	{67, "signed image name outside", verify.CodeManifest, imageName("../x")},
	{67, "signed absolute image name", verify.CodeManifest, imageName("/x")},
	{67, "signed image name of 29 bytes", verify.CodeManifest, imageName(strings.Repeat("x", 29))},
	{67, "signed image name of the head", verify.CodeManifest, imageName(verify.HeadName)},
	{68, "symbolic link", verify.CodeHeader, func(f *fixture) error { return f.header(tar.Header{Typeflag: tar.TypeSymlink, Linkname: "x"}) }},
	{68, "directory", verify.CodeHeader, func(f *fixture) error { return f.header(tar.Header{Typeflag: tar.TypeDir}) }},
	{68, "device", verify.CodeHeader, func(f *fixture) error { return f.header(tar.Header{Typeflag: tar.TypeBlock}) }},
	{69, "PAX header first", verify.CodeNotPackage, func(f *fixture) error {
		return f.header(tar.Header{Typeflag: tar.TypeReg, Size: int64(len(f.head)), Format: tar.FormatPAX, PAXRecords: map[string]string{"SLIP.x": "y"}})
	}},
	{69, "GNU header", verify.CodeHeader, func(f *fixture) error {
		return f.header(tar.Header{Typeflag: tar.TypeReg, Size: int64(len(f.head)), Format: tar.FormatGNU})
	}},
	{71, "size in base 256", verify.CodeHeader, headField(124, "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00")},
	{71, "negative size", verify.CodeHeader, headField(124, "-0000000001\x00")},
	{71, "size above 8 GiB", verify.CodeHeader, headField(124, "777777777777")},
	{72, "bad checksum", verify.CodeHeader, headField(148, "000000\x00 ")},
	{72, "stray byte in padding", verify.CodePadding, func(f *fixture) error {
		file := bytes.Clone(f.file)
		file[verify.Record+len(f.head)] = 1
		return f.open(file)
	}},
	{74, "byte behind the end", verify.CodeTrailing, func(f *fixture) error { return f.open(append(bytes.Clone(f.file), 0)) }},
	{74, "second package behind the first", verify.CodeTrailing, func(f *fixture) error { return f.open(join(f.file, f.file)) }},
	{75, "no end records", verify.CodeTruncated, func(f *fixture) error { return f.open(f.file[:len(f.file)-1024]) }},
	{76, "gzip", verify.CodeNotPackage, func(f *fixture) error { return f.open(gzipped(f)) }},
	{76, "zip", verify.CodeNotPackage, func(f *fixture) error { return f.open(zipped(f)) }},
}

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
	{78, "chunk with a flipped bit", verify.CodeCorrupt, func(f *fixture) error {
		image := bytes.Clone(f.image)
		image[len(image)/2] ^= 1
		return f.open(archive(f.head, f.index, image))
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
}

func (f *fixture) floor(counter int64, digest string) error {
	dev := f.dev
	dev.FloorCounter, dev.FloorDigest = counter, digest
	return openAll(f.file, f.trust, dev)
}

// header opens the package with its first header written by Go's tar.
func (f *fixture) header(h tar.Header) error {
	f.t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	h.Name, h.Mode = verify.HeadName, 0o644
	if err := w.WriteHeader(&h); err != nil {
		f.t.Fatal(err)
	}
	return f.open(join(out.Bytes(), f.file[verify.Record:]))
}

// headField opens the package with bytes of its first header replaced and the
// checksum made right again, unless it is the checksum that is replaced.
func headField(at int, text string) func(*fixture) error {
	return func(f *fixture) error {
		file := bytes.Clone(f.file)
		copy(file[at:], text)
		if at != 148 {
			copy(file[148:], "        ")
			sum := 0
			for _, b := range file[:verify.Record] {
				sum += int(b)
			}
			copy(file[148:], fmt.Sprintf("%06o\x00 ", sum))
		}
		return f.open(file)
	}
}

func imageName(name string) func(*fixture) error {
	return func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.Images[0].Name = name })
	}
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
func (f *fixture) reindexed(index []byte) error {
	sum := sha256.Sum256(index)
	payload := f.statement(func(m *verify.Manifest) {
		m.Images[0].Chunks = verify.ChunkIndex{SHA256: hex.EncodeToString(sum[:]), Count: len(index) / binary.Size(struct {
			Length uint32
			SHA256 [32]byte
		}{})}
	})
	return f.open(archive(f.sign(payload), index, f.image))
}

func gzipped(f *fixture) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(f.file); err != nil {
		f.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.t.Fatal(err)
	}
	return out.Bytes()
}

func zipped(f *fixture) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	entry, err := w.Create(verify.HeadName)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := entry.Write(f.head); err != nil {
		f.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.t.Fatal(err)
	}
	return out.Bytes()
}
