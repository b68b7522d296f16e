package slots

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// MakeDir makes a directory, and those above it that are missing. After nil none
// of them is lost when the power fails. One that is there already stays as it is.
func MakeDir(dir string) error {
	above := filepath.Dir(dir)
	err := os.Mkdir(dir, dirMode)
	if errors.Is(err, fs.ErrNotExist) && above != dir {
		if err = MakeDir(above); err == nil {
			err = os.Mkdir(dir, dirMode)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		// Who made it may have died before this. Where we may not, somebody else
		// has laid it out for us.
		_ = syncDir(above)
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(above)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
