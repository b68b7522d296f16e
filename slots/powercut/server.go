package powercut

import (
	"encoding/gob"
	"path"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// server is the disk as the kernel sees it. Whatever changes it is recorded
// before the kernel hears that it has happened.
type server struct {
	fuse.RawFileSystem // answers what we do not know with ENOSYS

	mu    sync.Mutex // guards what follows
	files tree
	ops   []Op
	next  uint64            // number of a new file
	links map[uint64]uint32 // names of a file
	where map[uint64]string // its newest path
	lists map[uint64][]fuse.DirEntry
	fault Fault
	steps int // since the fault was set

	flushes sync.Mutex // guards what follows
	asks    *gob.Encoder
	told    *gob.Decoder
}

func newServer(base tree) *server {
	s := &server{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), files: base, next: rootIno + 1,
		links: map[uint64]uint32{}, where: map[uint64]string{rootIno: "/"}, lists: map[uint64][]fuse.DirEntry{},
	}
	s.number(rootIno)
	return s
}

// number finds out what the files of a disk that is not new are called.
func (s *server) number(dir uint64) {
	if s.files[dir].Names == nil {
		s.files[dir].Names = map[string]uint64{} // gob knows no empty ones
	}
	for name, ino := range s.files[dir].Names {
		s.next = max(s.next, ino+1)
		s.links[ino]++
		s.where[ino] = path.Join(s.where[dir], name)
		if s.files[ino].isDir() {
			s.number(ino)
		}
	}
}

// do does an operation, unless it is to fail.
func (s *server) do(o Op) fuse.Status {
	if errno := s.fails(o); errno != 0 {
		return fuse.Status(errno)
	}
	switch o.Kind {
	case Create:
		o.Path = path.Join(s.where[o.Dir], o.Name)
		s.links[o.Ino]++
		s.where[o.Ino] = o.Path
	case Link:
		o.Path = path.Join(s.where[o.Dir], o.Name)
		s.links[o.Ino]++
	case Unlink:
		o.Path = path.Join(s.where[o.Dir], o.Name)
		s.links[o.Ino]--
	case Rename:
		o.Path = s.where[o.Ino]
		if old, ok := s.files[o.NewDir].Names[o.NewName]; ok {
			s.links[old]--
		}
		s.where[o.Ino] = path.Join(s.where[o.NewDir], o.NewName)
	default:
		o.Path = s.where[o.Ino]
	}
	s.files.do(o)
	s.ops = append(s.ops, o)
	return fuse.OK
}

func (s *server) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	ino, ok := s.files[h.NodeId].Names[name]
	if !ok {
		return fuse.ENOENT
	}
	s.entry(ino, out)
	return fuse.OK
}

func (s *server) entry(ino uint64, out *fuse.EntryOut) {
	out.NodeId, out.Generation = ino, 1
	s.attr(ino, &out.Attr)
	out.SetEntryTimeout(time.Hour) // nobody else changes it
}

func (s *server) attr(ino uint64, a *fuse.Attr) {
	n := s.files[ino]
	a.Ino, a.Mode, a.Size = ino, n.Mode, uint64(len(n.Data))
	a.Owner = fuse.Owner{Uid: n.UID, Gid: n.GID}
	a.Blocks, a.Blksize, a.Nlink = (a.Size+sector-1)/sector, 4096, s.links[ino]
	if n.isDir() {
		a.Nlink = 2
	}
}

func (s *server) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attr(in.NodeId, &out.Attr)
	return fuse.OK
}

func (s *server) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.files[in.NodeId]
	if size, ok := in.GetSize(); ok {
		if status := s.do(Op{Kind: Resize, Ino: in.NodeId, Off: int64(size)}); status != fuse.OK {
			return status
		}
	}
	o := Op{Kind: Attr, Ino: in.NodeId, Mode: n.Mode, UID: n.UID, GID: n.GID}
	if mode, ok := in.GetMode(); ok {
		o.Mode = n.Mode&unix.S_IFMT | mode&^unix.S_IFMT
	}
	if uid, ok := in.GetUID(); ok {
		o.UID = uid
	}
	if gid, ok := in.GetGID(); ok {
		o.GID = gid
	}
	if o.Mode != n.Mode || o.UID != n.UID || o.GID != n.GID {
		if status := s.do(o); status != fuse.OK {
			return status
		}
	}
	s.attr(in.NodeId, &out.Attr)
	return fuse.OK
}

// create makes anything that can have a name.
func (s *server) create(h *fuse.InHeader, name string, mode uint32, data []byte, out *fuse.EntryOut) fuse.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	ino := s.next
	o := Op{Kind: Create, Ino: ino, Dir: h.NodeId, Name: name, Mode: mode, UID: h.Uid, GID: h.Gid, Data: data}
	if status := s.do(o); status != fuse.OK {
		return status
	}
	s.next++
	s.entry(ino, out)
	return fuse.OK
}

func (s *server) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return s.create(&in.InHeader, name, in.Mode, nil, out)
}

func (s *server) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return s.create(&in.InHeader, name, unix.S_IFDIR|in.Mode, nil, out)
}

func (s *server) Symlink(_ <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return s.create(h, name, unix.S_IFLNK|0o777, []byte(target), out)
}

func (s *server) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return s.create(&in.InHeader, name, unix.S_IFREG|in.Mode, nil, &out.EntryOut)
}

func (s *server) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	if status := s.do(Op{Kind: Link, Ino: in.Oldnodeid, Dir: in.NodeId, Name: name}); status != fuse.OK {
		return status
	}
	s.entry(in.Oldnodeid, out)
	return fuse.OK
}

func (s *server) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	ino, ok := s.files[h.NodeId].Names[name]
	if !ok {
		return fuse.ENOENT
	}
	if len(s.files[ino].Names) > 0 {
		return fuse.Status(syscall.ENOTEMPTY)
	}
	return s.do(Op{Kind: Unlink, Ino: ino, Dir: h.NodeId, Name: name})
}

func (s *server) Rmdir(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return s.Unlink(cancel, h, name)
}

func (s *server) Rename(_ <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	ino, ok := s.files[in.NodeId].Names[name]
	if !ok {
		return fuse.ENOENT
	}
	old, taken := s.files[in.Newdir].Names[newName]
	switch {
	case in.Flags&^unix.RENAME_NOREPLACE != 0:
		return fuse.EINVAL
	case taken && in.Flags != 0:
		return fuse.Status(syscall.EEXIST)
	case taken && len(s.files[old].Names) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	case taken && old == ino:
		return fuse.OK
	}
	return s.do(Op{Kind: Rename, Ino: ino, Dir: in.NodeId, Name: name, NewDir: in.Newdir, NewName: newName})
}

func (s *server) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[h.NodeId].Data, fuse.OK
}

func (s *server) Open(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.OK }

func (s *server) Read(_ <-chan struct{}, in *fuse.ReadIn, _ []byte) (fuse.ReadResult, fuse.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data := s.files[in.NodeId].Data
	from := min(in.Offset, uint64(len(data)))
	return fuse.ReadResultData(data[from:min(from+uint64(in.Size), uint64(len(data)))]), fuse.OK
}

func (s *server) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint32(len(data)), s.do(Op{Kind: Write, Ino: in.NodeId, Off: int64(in.Offset), Data: slices.Clone(data)})
}

// Fallocate knows how to make a file longer; what it keeps free is no state.
func (s *server) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := int64(in.Offset + in.Length)
	switch {
	case in.Mode == unix.FALLOC_FL_KEEP_SIZE:
		return fuse.OK
	case in.Mode != 0:
		return fuse.Status(syscall.EOPNOTSUPP)
	case end <= int64(len(s.files[in.NodeId].Data)):
		return fuse.OK
	}
	return s.do(Op{Kind: Resize, Ino: in.NodeId, Off: end})
}

func (s *server) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

const fsyncData = 1 // FUSE_FSYNC_FDATASYNC

func (s *server) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	o := Op{Kind: Sync, Ino: in.NodeId, Caller: s.caller(in)}
	if in.FsyncFlags&fsyncData != 0 {
		o.Kind = SyncData
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.do(o)
}

// caller asks the tests who has asked for a flush. Nobody else waits for that: it
// may need files of ours to be read.
func (s *server) caller(in *fuse.FsyncIn) (who string) {
	s.mu.Lock()
	path := s.where[in.NodeId]
	s.mu.Unlock()
	s.flushes.Lock()
	defer s.flushes.Unlock()
	if s.asks.Encode(flushing{in.Pid, path}) != nil || s.told.Decode(&who) != nil {
		return "" // they have ended
	}
	return who
}

func (s *server) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return s.Fsync(cancel, in)
}

func (s *server) OpenDir(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Fh = s.next
	s.next++
	return fuse.OK
}

func (s *server) ReleaseDir(in *fuse.ReleaseIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lists, in.Fh)
}

// list is what a directory held when its reading began: what is removed meanwhile
// must not make others be left out.
func (s *server) list(in *fuse.ReadIn) []fuse.DirEntry {
	if in.Offset == 0 {
		var all []fuse.DirEntry
		for _, name := range sorted(s.files[in.NodeId].Names) {
			ino := s.files[in.NodeId].Names[name]
			all = append(all, fuse.DirEntry{Name: name, Ino: ino, Mode: s.files[ino].Mode, Off: uint64(len(all)) + 1})
		}
		s.lists[in.Fh] = all
	}
	all := s.lists[in.Fh]
	return all[min(in.Offset, uint64(len(all))):]
}

func (s *server) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.list(in) {
		if !out.AddDirEntry(e) {
			break
		}
	}
	return fuse.OK
}

const freeBlocks = 1 << 20

func (s *server) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	*out = fuse.StatfsOut{
		Blocks: freeBlocks, Bfree: freeBlocks, Bavail: freeBlocks, Files: freeBlocks, Ffree: freeBlocks, Bsize: 4096, Frsize: 4096, NameLen: 255,
	}
	return fuse.OK
}
