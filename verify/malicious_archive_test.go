package verify_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"slipstream/verify"
)

var archives = []malicious{
	{63, "members in other order", verify.CodeHeader, func(f *fixture) error {
		return f.open(join(member(verify.HeadName, f.head), member("app.tree", f.image), member("app.tree.chunks", f.index), make([]byte, 1024)))
	}},
	{64, "member twice", verify.CodeTrailing, func(f *fixture) error {
		return f.open(join(f.file[:len(f.file)-1024], member("app.tree", f.image), make([]byte, 1024)))
	}},
	{65, "one member more in the middle", verify.CodeHeader, func(f *fixture) error {
		return f.open(join(member(verify.HeadName, f.head), member("more", f.index), member("app.tree.chunks", f.index), member("app.tree", f.image)))
	}},
	{65, "one member more", verify.CodeTrailing, func(f *fixture) error {
		return f.open(join(f.file[:len(f.file)-1024], member("more", []byte("x")), make([]byte, 1024)))
	}},
	{66, "last member missing", verify.CodeTruncated, func(f *fixture) error {
		return f.open(join(member(verify.HeadName, f.head), member("app.tree.chunks", f.index), make([]byte, 1024)))
	}},
	{66, "nothing but the head", verify.CodeTruncated, func(f *fixture) error { return f.open(member(verify.HeadName, f.head)) }},
	{66, "member missing", verify.CodeTruncated, func(f *fixture) error {
		return f.open(join(member(verify.HeadName, f.head), member("app.tree", f.image), make([]byte, 1024)))
	}},
	{67, "signed image name outside", verify.CodeManifest, imageName("../x")},
	{67, "signed absolute image name", verify.CodeManifest, imageName("/x")},
	{67, "signed image name up in the middle", verify.CodeManifest, imageName("a/../b")},
	{67, "signed image name with a backslash", verify.CodeManifest, imageName(`.\x`)},
	{67, "signed image name of 101 bytes", verify.CodeManifest, imageName(strings.Repeat("x", 101))},
	{67, "name continued in the header's prefix", verify.CodeHeader, headField(345, "dir")},
	{67, "bytes behind the header's name", verify.CodeHeader, headField(len(verify.HeadName)+1, "hidden")},
	{67, "image with another name than signed", verify.CodeHeader, func(f *fixture) error {
		return f.open(join(member(verify.HeadName, f.head), member("app.tree.chunks", f.index), member("../x", f.image), make([]byte, 1024)))
	}},
	{67, "signed image name of 29 bytes", verify.CodeManifest, imageName(strings.Repeat("x", 29))},
	{67, "signed image name of the head", verify.CodeManifest, imageName(verify.HeadName)},
	{68, "symbolic link", verify.CodeHeader, typeflag(tar.TypeSymlink)},
	{68, "hard link", verify.CodeHeader, typeflag(tar.TypeLink)},
	{68, "character device", verify.CodeHeader, typeflag(tar.TypeChar)},
	{68, "block device", verify.CodeHeader, typeflag(tar.TypeBlock)},
	{68, "pipe", verify.CodeHeader, typeflag(tar.TypeFifo)},
	{68, "directory", verify.CodeHeader, typeflag(tar.TypeDir)},
	{68, "file of the oldest kind", verify.CodeHeader, typeflag('\x00')},
	{69, "PAX header first", verify.CodeNotPackage, func(f *fixture) error { return f.header(tar.FormatPAX, map[string]string{"SLIP.x": "y"}) }},
	{69, "PAX header that overrides a size", verify.CodeHeader, inserted('x', "PaxHeaders.0/app.tree", "20 size=00000000001\n")},
	{69, "PAX header that overrides a path", verify.CodeHeader, inserted('x', "PaxHeaders.0/app.tree", "12 path=../x\n")},
	{69, "PAX header for all that follows", verify.CodeHeader, inserted('g', "PaxHeaders.0/app.tree", "12 path=../x\n")},
	{69, "GNU long name", verify.CodeHeader, inserted('L', "././@LongLink", strings.Repeat("x", 200)+"\x00")},
	{69, "GNU long link", verify.CodeHeader, inserted('K', "././@LongLink", strings.Repeat("x", 200)+"\x00")},
	{69, "GNU header", verify.CodeHeader, func(f *fixture) error { return f.header(tar.FormatGNU, nil) }},
	{70, "GNU sparse file", verify.CodeHeader, typeflag(tar.TypeGNUSparse)},
	{70, "PAX sparse file", verify.CodeHeader, inserted('x', "PaxHeaders.0/app.tree",
		"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n31 GNU.sparse.realsize=1099511627776\n")},
	{71, "size in base 256", verify.CodeHeader, headField(124, "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00")},
	{71, "negative size", verify.CodeHeader, headField(124, "-0000000001\x00")},
	{71, "size with blanks in front", verify.CodeHeader, headField(124, "       1000\x00")},
	{71, "size with nothing behind it", verify.CodeHeader, headField(135, " ")},
	{71, "image of another size than signed", verify.CodeHeader, func(f *fixture) error {
		h := verify.Header("app.tree", 1)
		return f.afterHead(1024, string(h[:]))
	}},
	{71, "size above 8 GiB", verify.CodeHeader, headField(124, "777777777777")},
	{72, "bad checksum", verify.CodeHeader, headField(148, "000000\x00 ")},
	{72, "checksum in another spelling", verify.CodeHeader, func(f *fixture) error {
		return f.open(join(f.file[:154], []byte(" \x00"), f.file[156:]))
	}},
	{72, "stray byte in an index's padding", verify.CodePadding, func(f *fixture) error { return f.afterHead(512+len(f.index), "x") }},
	{72, "stray byte in an image's padding", verify.CodePadding, func(f *fixture) error {
		n := len(f.image) - 1
		head := f.sign(f.statement(func(m *verify.Manifest) { m.Images[0].Size = int64(n) }))
		file := archive(head, f.index, f.image[:n])
		file[len(file)-1025] = 'x'
		return f.open(file)
	}},
	{72, "stray byte in padding", verify.CodePadding, func(f *fixture) error {
		return f.open(f.patched(verify.Record+len(f.head), "x"))
	}},
	{73, "truncated at the borders of every member", verify.CodeTruncated, func(f *fixture) error { return f.truncated(f.borders()) }},
	{73, "truncated at many places of the first 64 KiB", verify.CodeTruncated, func(f *fixture) error { return f.larger().truncated(places()) }},
	{74, "byte behind the end", verify.CodeTrailing, func(f *fixture) error { return f.open(append(bytes.Clone(f.file), 0)) }},
	{74, "second package behind the first", verify.CodeTrailing, func(f *fixture) error { return f.open(join(f.file, f.file)) }},
	{75, "no end records", verify.CodeTruncated, func(f *fixture) error { return f.open(f.file[:len(f.file)-1024]) }},
	{75, "one end record", verify.CodeTruncated, func(f *fixture) error { return f.open(f.file[:len(f.file)-512]) }},
	{75, "end records that are not zero", verify.CodePadding, func(f *fixture) error { return f.open(f.patched(len(f.file)-1, "x")) }},
	{76, "gzip", verify.CodeNotPackage, func(f *fixture) error { return f.open(gzipped(f)) }},
	{76, "zip", verify.CodeNotPackage, func(f *fixture) error { return f.open(zipped(f)) }},
	{76, "zstd", verify.CodeNotPackage, func(f *fixture) error { return f.open(zstandard(f.file)) }},
	{76, "cpio", verify.CodeNotPackage, func(f *fixture) error { return f.open(cpio(f.head)) }},
}

// header opens the package with its first header written by Go's tar.
func (f *fixture) header(format tar.Format, records map[string]string) error {
	f.t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	h := tar.Header{Name: verify.HeadName, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(f.head)), Format: format, PAXRecords: records}
	if err := w.WriteHeader(&h); err != nil {
		f.t.Fatal(err)
	}
	return f.open(join(out.Bytes(), f.file[verify.Record:]))
}

// typeflag opens the package with the image's header saying that it is something
// else than a file.
func typeflag(kind byte) func(*fixture) error {
	return func(f *fixture) error {
		h := retyped(verify.Header("app.tree", int64(len(f.image))), kind)
		file := bytes.Clone(f.file)
		copy(file[bytes.Index(file, []byte("app.tree\x00")):], h)
		return f.open(file)
	}
}

// inserted opens the package with an entry that means something to other tar
// readers before the image. The end records make room, so that the length is right.
func inserted(kind byte, name, text string) func(*fixture) error {
	return func(f *fixture) error {
		entry := member(name, []byte(text))
		copy(entry, retyped([verify.Record]byte(entry), kind))
		return f.open(join(member(verify.HeadName, f.head), member("app.tree.chunks", f.index), entry, member("app.tree", f.image)))
	}
}

// retyped is a header with another type and its checksum made right.
func retyped(h [verify.Record]byte, kind byte) []byte {
	h[156] = kind
	return summed(h[:])
}

// summed makes a header's checksum right.
func summed(h []byte) []byte {
	copy(h[148:], "        ")
	sum := 0
	for _, b := range h[:verify.Record] {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// patched is the package with some bytes replaced.
func (f *fixture) patched(at int, text string) []byte {
	file := bytes.Clone(f.file)
	copy(file[at:], text)
	return file
}

// afterHead opens the package with bytes replaced that are counted from the end of
// the head's padding, where the header of the index begins.
func (f *fixture) afterHead(at int, text string) error {
	return f.open(f.patched(verify.Record+len(f.head)+int(verify.Padding(int64(len(f.head))))+at, text))
}

// headField opens the package with bytes of its first header replaced and the
// checksum made right again, unless it is the checksum that is replaced.
func headField(at int, text string) func(*fixture) error {
	return func(f *fixture) error {
		file := f.patched(at, text)
		if at != 148 {
			summed(file)
		}
		return f.open(file)
	}
}

// borders are the places where members and their headers and padding begin and
// end, and those beside them.
func (f *fixture) borders() []int {
	f.t.Helper()
	p, err := verify.Inspect(bytes.NewReader(f.file), int64(len(f.file)), f.trust)
	if err != nil {
		f.t.Fatal(err)
	}
	var list []int
	for _, m := range p.Members {
		for _, at := range []int64{m.Offset - verify.Record, m.Offset, m.Offset + m.Size, m.Offset + m.Size + verify.Padding(m.Size)} {
			for _, n := range []int{int(at) - 1, int(at), int(at) + 1} {
				if n >= 0 {
					list = append(list, n)
				}
			}
		}
	}
	return list
}

// places are lengths within the first 64 KiB: each of them with SLIPSTREAM_SOAK,
// one of 97 without.
func places() []int {
	apart := 97 * step()
	if thorough() {
		apart = 1
	}
	var list []int
	for n := 0; n < 64<<10; n += apart {
		list = append(list, n)
	}
	return list
}

// larger is a package of more than 64 KiB.
func (f *fixture) larger() *fixture {
	noise := make([]byte, 80<<10)
	if _, err := rand.NewChaCha8([32]byte{2}).Read(noise); err != nil {
		f.t.Fatal(err)
	}
	return newFixtureOf(f.t, string(noise))
}

// truncated opens the package cut off at each of some places, and returns the
// first answer that is not the one for that.
func (f *fixture) truncated(places []int) error {
	var last error
	for _, n := range places {
		if last = f.open(f.file[:n]); verify.Code(last) != verify.CodeTruncated {
			return fmt.Errorf("cut off at %d: %w", n, cmp.Or(last, errors.New("accepted")))
		}
	}
	return last
}

func imageName(name string) func(*fixture) error {
	return func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.Images[0].Name = name })
	}
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

// zstandard is a frame of raw blocks, as RFC 8878 allows it.
func zstandard(content []byte) []byte {
	const window = 0x50 // 1 MiB
	const largest = 128 << 10
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, window}
	for len(content) > 0 {
		n := min(len(content), largest)
		block := uint32(n) << 3
		if n == len(content) {
			block |= 1 // the last
		}
		out = append(out, byte(block), byte(block>>8), byte(block>>16))
		out = append(out, content[:n]...)
		content = content[n:]
	}
	return out
}

// cpio is an archive of the newc format with the head in it.
func cpio(head []byte) []byte {
	var out bytes.Buffer
	for _, file := range []struct {
		name string
		data []byte
	}{{verify.HeadName, head}, {"TRAILER!!!", nil}} {
		fmt.Fprintf(&out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			0, 0o100644, 0, 0, 1, 0, len(file.data), 0, 0, 0, 0, len(file.name)+1, 0, file.name)
		out.Write(make([]byte, -out.Len()&3))
		out.Write(file.data)
		out.Write(make([]byte, -out.Len()&3))
	}
	return out.Bytes()
}
