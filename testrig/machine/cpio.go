package machine

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Types of a file's mode in an archive (cpio(5)).
const (
	typeMask = 0o170000
	typeDir  = 0o040000
	typeFile = 0o100000
	typeLink = 0o120000
	typeChar = 0o020000
)

// tree is a root file system in memory, by path without a leading slash.
type tree map[string]entry

// entry is one file; a link's data is where it leads.
type entry struct {
	mode         uint32
	data         []byte
	major, minor int // of a device
}

func (t tree) file(name string, perm fs.FileMode, data []byte) {
	t[name] = entry{mode: typeFile | uint32(perm.Perm()), data: data}
}
func (t tree) device(name string, major, minor int) {
	t[name] = entry{mode: typeChar | 0o600, major: major, minor: minor}
}
func (t tree) dir(name string)      { t[name] = entry{mode: typeDir | 0o755} }
func (t tree) link(name, to string) { t[name] = entry{mode: typeLink | 0o777, data: []byte(to)} }

// write writes the tree as the kernel reads its initial file system
// (Documentation/driver-api/early-userspace/buffer-format.rst, "newc"): directories
// before what is in them, everything root's, no times.
func (t tree) write(w io.Writer) error {
	all := tree{}
	for name, e := range t {
		if name != path.Clean(name) || strings.HasPrefix(name, "/") || strings.HasPrefix(name, "..") {
			return fmt.Errorf("initial file system: %q is not a path inside of it", name)
		}
		all[name] = e
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, there := t[dir]; !there {
				all.dir(dir)
			}
		}
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names) // a directory's name is a prefix of what is in it
	out := &cpio{w: w}
	for i, name := range names {
		out.entry(i+1, name, all[name])
	}
	out.entry(0, "TRAILER!!!", entry{})
	return out.err
}

// cpio writes an archive; the first error stays.
type cpio struct {
	w    io.Writer
	size int64
	err  error
}

func (c *cpio) entry(inode int, name string, e entry) {
	links := 1
	if e.mode&typeMask == typeDir {
		links = 2
	}
	c.write(fmt.Appendf(nil, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		inode, e.mode, 0, 0, links, 0, len(e.data), 0, 0, e.major, e.minor, len(name)+1, 0))
	c.write(append([]byte(name), 0))
	c.pad()
	c.write(e.data)
	c.pad()
}

func (c *cpio) pad() { c.write(make([]byte, (4-c.size%4)%4)) }

func (c *cpio) write(p []byte) {
	if c.err == nil {
		var n int
		n, c.err = c.w.Write(p)
		c.size += int64(n)
	}
}
