package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"slipstream/agent/config"
	"slipstream/agent/supervise"
)

// sharedMode lets the group of both apps write, and gives it whatever they make.
const sharedMode = 0o770 | fs.ModeSetgid

// users are those as whom apps run, by slots; nil: as the agent.
type users struct {
	of  [2]*supervise.User
	why string // there are none
}

// lookUpUsers finds the users of the configuration. Only those of the default may be
// missing, and then apps run as the agent does.
func lookUpUsers(c config.Apps) (users, error) {
	if os.Geteuid() != 0 {
		return users{why: "the agent is not root, so apps run as its own user"}, nil
	}
	if c.UserA == "" && c.UserB == "" {
		return users{why: "no users are configured for apps (apps.user_a and apps.user_b)"}, nil
	}
	var u users
	more, err := groupsOf(c)
	if err != nil {
		return u, err
	}
	usual := config.DefaultApps()
	for i, name := range []string{c.UserA, c.UserB} {
		uid, gid, err := findUser(name)
		switch {
		case err != nil && name == []string{usual.UserA, usual.UserB}[i]:
			return users{why: fmt.Sprintf("there is no user %s: add system users %s and %s", name, usual.UserA, usual.UserB)}, nil
		case err != nil:
			return u, fmt.Errorf("apps.user_%s: %w", slotNames[i], err)
		case uid == 0 || gid == 0:
			return u, fmt.Errorf("apps.user_%s = %q is root, who is no user for apps", slotNames[i], name)
		}
		u.of[i] = &supervise.User{UID: uid, GID: gid, Groups: more}
	}
	if u.of[0].UID == u.of[1].UID {
		return u, fmt.Errorf("apps.user_a and apps.user_b are both %s: each slot needs a user of its own", c.UserA)
	}
	u.of[1].Groups = append(slices.Clone(more), u.of[0].GID) // for what both share
	return u, nil
}

// findUser takes a name, or UID:GID.
func findUser(name string) (uid, gid int, err error) {
	if id, group, found := strings.Cut(name, ":"); found {
		uid, errUID := strconv.ParseUint(id, 10, 31)
		gid, errGID := strconv.ParseUint(group, 10, 31)
		if errors.Join(errUID, errGID) != nil {
			return 0, 0, fmt.Errorf("%q is neither a name nor UID:GID", name)
		}
		return int(uid), int(gid), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, fmt.Errorf("there is no user %q", name)
	}
	return findUser(u.Uid + ":" + u.Gid)
}

func groupsOf(c config.Apps) (ids []int, err error) {
	for _, name := range c.Groups {
		g, err := user.LookupGroup(name)
		if err != nil && slices.Contains(config.DefaultApps().Groups, name) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("apps.groups: there is no group %q", name)
		}
		id, err := strconv.Atoi(g.Gid)
		if err != nil || id <= 0 {
			return nil, fmt.Errorf("apps.groups: the group %q is not one for apps", name)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// user is nil where apps run as the agent.
func (u users) user(slot string) *supervise.User { return u.of[slotIndex(slot)] }

// uid is whom a slot's app runs as.
func (u users) uid(slot string) int {
	if who := u.user(slot); who != nil {
		return who.UID
	}
	return os.Geteuid()
}

// own gives a directory with all that is in it to a slot's user, the directory itself
// last: it says whether the rest was done. Nobody may be using it.
func (u users) own(slot, dir string) error {
	who := u.user(slot)
	if who == nil || ownerOf(dir) == who.UID {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink != 1 {
			return nil // its other name may be of a file that was never the app's
		}
		return os.Lchown(path, who.UID, who.GID)
	})
	return errors.Join(err, os.Chmod(dir, 0o700), os.Lchown(dir, who.UID, who.GID))
}

// ownerOf is −1 for what is not there.
func ownerOf(path string) int {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return -1
	}
	return int(st.Uid)
}

// share gives the directory that both versions use to the group of both.
func (u users) share(dir string) error {
	if u.of[0] == nil {
		return nil
	}
	return errors.Join(os.Lchown(dir, -1, u.of[0].GID), os.Chmod(dir, sharedMode))
}
