package powercut

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Kind is what an operation does.
type Kind uint8

// Kinds of operations.
const (
	Create   Kind = iota // a new file, directory or symbolic link, under a name
	Link                 // one more name
	Unlink               // one name less; of a directory too
	Rename               // another name, in the place of whatever had it
	Write                // bytes at an offset
	Resize               // another length
	Attr                 // another mode or owner
	Sync                 // of a file's content or of a directory's entries, and of its mode and owner
	SyncData             // without those
	SyncAll              // everything is on disk
	Mark                 // nothing; a test has said what it knows
)

var kindNames = [...]string{"create", "link", "unlink", "rename", "write", "resize", "attr", "fsync", "fdatasync", "flush everything", "mark"}

func (k Kind) String() string { return kindNames[k] }

const (
	rootIno = 1
	sector  = 512
)

// Op is one operation, with everything that is needed to do it again.
type Op struct {
	Kind    Kind
	Ino     uint64 // what it is done to
	Dir     uint64 // where its name is
	Name    string // or what a mark says
	NewDir  uint64
	NewName string
	Off     int64  // or length
	Data    []byte // or where a link leads
	Mode    uint32 // with the type
	UID     uint32
	GID     uint32
	Path    string // where the file was, for people
	Caller  string // functions of ours that have asked for a flush, the innermost first
}

func (o Op) String() string {
	switch o.Kind {
	case Write:
		return fmt.Sprintf("write %s, %d bytes at %d", o.Path, len(o.Data), o.Off)
	case Resize:
		return fmt.Sprintf("resize %s to %d", o.Path, o.Off)
	case Rename:
		return fmt.Sprintf("rename %s to %s", o.Path, o.NewName)
	case Attr:
		return fmt.Sprintf("attr %s %o", o.Path, o.Mode)
	case Mark:
		return "mark " + o.Name
	case SyncAll:
		return o.Kind.String()
	case Sync, SyncData:
		return fmt.Sprintf("%s %s by %s", o.Kind, o.Path, o.Caller)
	}
	return fmt.Sprintf("%s %s", o.Kind, o.Path)
}

// names says whether the operation changes directories.
func (o Op) names() bool { return o.Kind <= Rename }

// IsSync says whether it is a flush that a program has asked for.
func (o Op) IsSync() bool { return o.Kind == Sync || o.Kind == SyncData }

// node is a file, a directory or a link. Its content is never changed in place.
type node struct {
	Mode     uint32
	UID, GID uint32
	Data     []byte
	Names    map[string]uint64

	sum *[sha256.Size]byte // of all but the names, once it is known
}

func (n *node) isDir() bool  { return n.Mode&unix.S_IFMT == unix.S_IFDIR }
func (n *node) isFile() bool { return n.Mode&unix.S_IFMT == unix.S_IFREG }

// own is a hash of everything but the names.
func (n *node) own() *[sha256.Size]byte {
	if n.sum == nil {
		head := binary.BigEndian.AppendUint32(nil, n.Mode)
		head = binary.BigEndian.AppendUint32(head, n.UID)
		head = binary.BigEndian.AppendUint32(head, n.GID)
		sum := sha256.Sum256(append(head, n.Data...))
		n.sum = &sum
	}
	return n.sum
}

// tree is a file system: what is where, by number. Numbers are not used twice.
type tree map[uint64]*node

func newTree() tree {
	return tree{rootIno: {Mode: unix.S_IFDIR | 0o755, Names: map[string]uint64{}}}
}

// do applies an operation. It is one that was possible when it was recorded.
func (t tree) do(o Op) {
	switch {
	case o.Kind == Create:
		t.add(o)
		t.name(o)
	case o.names():
		t.name(o)
	case o.Kind == Write:
		n := t[o.Ino]
		n.Data, n.sum = written(n.Data, o), nil
	case o.Kind == Resize:
		n := t[o.Ino]
		n.Data, n.sum = resized(n.Data, o.Off), nil
	case o.Kind == Attr:
		n := t[o.Ino]
		n.Mode, n.UID, n.GID, n.sum = o.Mode, o.UID, o.GID, nil
	}
}

// add makes what an operation creates, without its name.
func (t tree) add(o Op) {
	n := &node{Mode: o.Mode, UID: o.UID, GID: o.GID, Data: o.Data}
	if n.isDir() {
		n.Names = map[string]uint64{}
	}
	t[o.Ino] = n
}

// name does what an operation does to directories. It says what each name is
// afterwards, so it can be done whatever was before it.
func (t tree) name(o Op) {
	switch o.Kind {
	case Create, Link:
		t[o.Dir].Names[o.Name] = o.Ino
	case Unlink:
		delete(t[o.Dir].Names, o.Name)
	case Rename:
		delete(t[o.Dir].Names, o.Name)
		t[o.NewDir].Names[o.NewName] = o.Ino
	}
}

func written(old []byte, o Op) []byte {
	end := o.Off + int64(len(o.Data))
	data := make([]byte, max(int64(len(old)), end))
	copy(data, old)
	copy(data[o.Off:], o.Data)
	return data
}

func resized(old []byte, size int64) []byte {
	if size <= int64(len(old)) {
		return slices.Clone(old[:size])
	}
	return append(slices.Clone(old), make([]byte, size-int64(len(old)))...)
}

// Log is what has happened on a disk since it was mounted.
type Log struct {
	Base tree // what was on it then, flushed
	Ops  []Op
}

// without returns the log as if the disk had not heard some operations.
func (l Log) without(from, to int) Log {
	return Log{Base: l.Base, Ops: slices.Delete(slices.Clone(l.Ops), from, to)}
}

// upTo returns the log up to some operations after one; 0 is all.
func (l Log) upTo(n, after int) Log {
	if n > 0 {
		l.Ops = l.Ops[:min(len(l.Ops), after+n)]
	}
	return l
}

// Begin is the first operation after what a test has laid out and flushed by its
// first [Disk.Settle].
func (l Log) Begin() int {
	for i, o := range l.Ops {
		if o.Kind == SyncAll {
			return i + 1
		}
	}
	return 0
}
