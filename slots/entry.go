package slots

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

const (
	block = 512 // bytes of a tar record

	dirMode  fs.FileMode = 0o755
	fileMode fs.FileMode = 0o644
	execMode fs.FileMode = 0o755
)

// entry is one file, directory or link of a tree, in the only form that the
// format of trees has for it (see package verify/pack).
type entry struct {
	path string // clean and relative, no slash at the end
	kind byte   // tar.TypeReg, tar.TypeDir or tar.TypeSymlink
	exec bool
	size int64
	link string
}

// header is the entry as archive/tar writes it.
func (e entry) header() *tar.Header {
	h := &tar.Header{Format: tar.FormatUSTAR, Typeflag: e.kind, Name: e.path, Linkname: e.link, Size: e.size, ModTime: time.Unix(0, 0)}
	switch {
	case e.kind == tar.TypeDir:
		h.Name, h.Mode = e.path+"/", int64(dirMode)
	case e.kind == tar.TypeSymlink:
		h.Mode = 0o777
	case e.exec:
		h.Mode = int64(execMode)
	default:
		h.Mode = int64(fileMode)
	}
	return h
}

func (e entry) mode() fs.FileMode {
	if e.exec {
		return execMode
	}
	return fileMode
}

// encode writes the canonical header.
func (e entry) encode() ([]byte, error) {
	var out bytes.Buffer
	if err := tar.NewWriter(&out).WriteHeader(e.header()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// decodeEntry takes a header apart, judges what it says, and then compares the
// whole block with the one made from that. So no field, not even one that we do
// not look at, can hold anything else.
func decodeEntry(raw []byte) (entry, error) {
	e := entry{path: text(raw[0:100]), kind: raw[156], link: text(raw[157:257])}
	if prefix := text(raw[345:500]); prefix != "" {
		e.path = prefix + "/" + e.path
	}
	e.exec = e.kind == tar.TypeReg && text(raw[100:108]) == fmt.Sprintf("%07o", execMode)
	if e.kind == tar.TypeDir {
		e.path = strings.TrimSuffix(e.path, "/")
	}
	size, err := strconv.ParseUint(text(raw[124:136]), 8, 62)
	if err != nil {
		return e, errors.New("unreadable header")
	}
	e.size = int64(size)
	if err := e.check(); err != nil {
		return e, err
	}
	again, err := e.encode()
	if err != nil || !bytes.Equal(again, raw) {
		return e, fmt.Errorf("the header of %q is not canonical", e.path)
	}
	return e, nil
}

func (e entry) check() error {
	if e.path == "." || !fs.ValidPath(e.path) {
		return fmt.Errorf("the path %q is not clean and relative", e.path)
	}
	switch e.kind {
	case tar.TypeReg:
		return nil
	case tar.TypeDir, tar.TypeSymlink:
		if e.size != 0 {
			return fmt.Errorf("%q is no file and has a size", e.path)
		}
	default:
		return fmt.Errorf("%q is of type %q: only files, directories and symbolic links are allowed", e.path, e.kind)
	}
	if e.kind == tar.TypeSymlink && !staysInside(e.path, e.link) {
		return fmt.Errorf("the link %q to %q does not stay inside", e.path, e.link)
	}
	return nil
}

// staysInside judges a link by its text: clean, ".." only in front and not more
// often than the link is deep. Since parents are real directories, no chain of
// such links leaves the tree either.
func staysInside(name, link string) bool {
	if link == "" || path.IsAbs(link) || path.Clean(link) != link {
		return false
	}
	target := path.Join(path.Dir(name), link)
	return target != ".." && !strings.HasPrefix(target, "../")
}

// text is a field up to its first zero byte.
func text(field []byte) string {
	value, _, _ := bytes.Cut(field, []byte{0})
	return string(value)
}
