package supervise

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Names of protections, in the order in which they are told.
const (
	ProtectUser         = "user"              // a user of its own
	ProtectPrivileges   = "no-new-privileges" // nothing that it starts gets more
	ProtectCapabilities = "capabilities"      // it has none, and comes by none
	ProtectMounts       = "mounts"            // sees its root read-only, and not what is hidden
	ProtectLandlock     = "landlock"          // the kernel judges each file that it opens
)

var protectionNames = []string{ProtectUser, ProtectPrivileges, ProtectCapabilities, ProtectMounts, ProtectLandlock}

// Protection is one thing that keeps a process from harming others.
type Protection struct {
	Name string `json:"name"`
	On   bool   `json:"on"`
	Why  string `json:"why,omitempty"` // it is off
}

// Confinement is what a process may do. It goes for all that the process starts. A
// part that this kernel, or an agent without privileges, cannot do is left out, which
// [Supervisor.Protections] tells; only a user who cannot be become is an error.
type Confinement struct {
	// User is who it runs as; nil means the agent's own user.
	User *User `json:"user,omitempty"`
	// WhyNoUser is told where User is nil.
	WhyNoUser string `json:"whyNoUser,omitempty"`
	// Root is the directory of its program, which it cannot change.
	Root string `json:"root"`
	// Private are directories of which it can read nothing, but for what lies in Root,
	// Read and Write. Like all paths here they must not lead over symbolic links.
	Private []string `json:"private,omitempty"`
	// Hidden are directories of which it sees nothing, but for the same.
	Hidden []string `json:"hidden,omitempty"`
	// Read are files and directories that it may read, and execute, although they are
	// private.
	Read []string `json:"read,omitempty"`
	// Write are directories in which it may do all but execute, and files it may write.
	Write []string `json:"write,omitempty"`
	// Devices are patterns of [path/filepath.Glob] of device nodes, or of directories
	// of them, besides those that any program uses. Those that are there at the start
	// are meant.
	Devices []string `json:"devices,omitempty"`
	Umask   int      `json:"umask"`
}

// User is a user with his groups.
type User struct {
	UID    int   `json:"uid"`
	GID    int   `json:"gid"`
	Groups []int `json:"groups,omitempty"` // supplementary
}

// protections remembers how the newest start went.
type protections struct {
	mu     sync.Mutex
	newest map[string]Protection
}

// Protections tells what confines processes here, by the newest start or [Supervisor.Try].
// It is empty before the first.
func (s *Supervisor) Protections() (list []Protection) {
	s.protections.mu.Lock()
	defer s.protections.mu.Unlock()
	for _, name := range protectionNames {
		if p, known := s.protections.newest[name]; known {
			list = append(list, p)
		}
	}
	return list
}

// noteProtections takes a report over, and logs what is off once a reason.
func (s *Supervisor) noteProtections(report []Protection) {
	s.protections.mu.Lock()
	defer s.protections.mu.Unlock()
	if s.protections.newest == nil {
		s.protections.newest = map[string]Protection{}
	}
	for _, p := range report {
		before, known := s.protections.newest[p.Name]
		s.protections.newest[p.Name] = p
		if !p.On && (!known || before != p) {
			s.log.Warn("protection of apps is off", "protection", p.Name, "reason", p.Why)
		}
	}
}

// Try confines a process that ends at once, so that Protections can tell.
func (s *Supervisor) Try(c Confinement) error {
	if !canLaunch {
		s.noteProtections(allOff())
		return nil
	}
	return s.try(order{Confinement: c, Try: true})
}

// allOff is the report of a program that has not called [Launch].
func allOff() (list []Protection) {
	for _, name := range protectionNames {
		list = append(list, Protection{Name: name, Why: "this program cannot confine what it starts"})
	}
	return list
}

// check refuses what no launcher may do.
func (c *Confinement) check() error {
	if u := c.User; u != nil && (u.UID <= 0 || u.GID <= 0 || slices.Contains(u.Groups, 0)) {
		return fmt.Errorf("user %d with the groups %d, %d is no ordinary user", u.UID, u.GID, u.Groups)
	}
	return nil
}

// protection is what became of one.
func protection(name string, err error) Protection {
	if err != nil {
		return Protection{Name: name, Why: err.Error()}
	}
	return Protection{Name: name, On: true}
}

var errNoUser = errors.New("no user was given for it")
