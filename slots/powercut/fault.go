package powercut

import "syscall"

// Fault lets a disk fail. The zero Fault is a disk that does not.
type Fault struct {
	At    int           // the operation that fails, counted from 1 since the fault was set
	Errno syscall.Errno // how: EIO, ENOSPC, EROFS
	Stays bool          // all after it fail as well: the disk is gone
	Room  int64         // bytes that there is room for, if not 0; more is ENOSPC
}

// fails counts an operation and says whether it fails, which is that nothing of
// it happens.
func (s *server) fails(o Op) syscall.Errno {
	s.steps++
	f := s.fault
	switch {
	case f.At > 0 && (s.steps == f.At || f.Stays && s.steps > f.At):
		return f.Errno
	case f.Room > 0 && (o.Kind == Write || o.Kind == Resize) && s.used()+s.more(o) > f.Room:
		return syscall.ENOSPC
	}
	return 0
}

// used is the bytes in all files that have a name.
func (s *server) used() (sum int64) {
	for ino, n := range s.files {
		if s.links[ino] > 0 {
			sum += int64(len(n.Data))
		}
	}
	return sum
}

// more is how many bytes longer an operation makes a file.
func (s *server) more(o Op) int64 {
	return max(0, o.Off+int64(len(o.Data))-int64(len(s.files[o.Ino].Data)))
}
