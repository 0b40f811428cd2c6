package relay

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// become gives up the rights of root for those of the configured user. What the
// relay keeps belongs to that user, so it comes before any file is opened.
func (r *Relay) become() error {
	if err := becomeUser(r.config.User, r.config.Data, filepath.Dir(r.config.Socket)); err != nil {
		return fmt.Errorf("user %s: %w", r.config.User, err)
	}
	return nil
}

// becomeUser makes the folders that are missing, for the user, and then this
// process, with all its threads, that user's for ever.
func becomeUser(name string, folders ...string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	switch {
	case uid == 0:
		return errors.New("it is root: name one without rights, or say --allow-root and no user")
	case uid == os.Geteuid():
		return nil
	case os.Geteuid() != 0:
		return errors.New("only root can become another user: start the service as it, and leave the key out")
	}
	gid, groups, err := groupsOf(u)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := ownFolder(folder, uid, gid); err != nil {
			return err
		}
	}
	if err := errors.Join(syscall.Setgroups(groups), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return err
	}
	if os.Geteuid() != uid || syscall.Setuid(0) == nil { // this must not go wrong in silence
		return errors.New("the rights of root are still there")
	}
	return nil
}

func groupsOf(u *user.User) (gid int, all []int, err error) {
	if gid, err = strconv.Atoi(u.Gid); err != nil {
		return 0, nil, err
	}
	ids, err := u.GroupIds()
	for _, id := range ids {
		n, wrong := strconv.Atoi(id)
		all, err = append(all, n), errors.Join(err, wrong)
	}
	return gid, all, err
}

// ownFolder makes a folder and those above it, if need be, each for the user.
func ownFolder(dir string, uid, gid int) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := ownFolder(filepath.Dir(dir), uid, gid); err != nil {
		return err
	}
	return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, uid, gid))
}
