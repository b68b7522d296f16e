package slots

import (
	"time"

	"golang.org/x/sys/unix"
)

// verification remembers that this process has read a slot whole.
type verification struct {
	at   time.Time
	seen sight
}

// sight is what tells an image that was written since from one that was not: the
// kernel moves the time of the last change at each write. It is zero where there is
// no such thing: for trees, which are many files, and in partitions.
type sight struct {
	dev, ino uint64
	size     int64
	changed  unix.Timespec
}

// sightOf must come before the reading that it is kept with.
func (s *Set) sightOf(name, kind string) sight {
	var st unix.Stat_t
	if kind == KindTree || s.partitions[name] != "" || unix.Stat(s.imagePath(name), &st) != nil {
		return sight{}
	}
	return sight{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, changed: st.Ctim} //nolint:unconvert // 32 bits wide on some machines
}

func (s *Set) setVerified(name string, seen sight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verified[name] = verification{time.Now(), seen}
}

func (s *Set) forgetVerified(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.verified, name)
}

func (s *Set) lastVerified(name string) verification {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verified[name]
}

// unchanged says whether an image is as this process has read it. Nobody relies on
// that for long: it is read again, or guarded by the kernel, before it is started.
func (s *Set) unchanged(name, kind string) bool {
	was := s.lastVerified(name).seen
	return was != sight{} && was == s.sightOf(name, kind)
}
