package powercut

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Fault is a flush that a build is made without, to see that this is noticed. The files
// in the repository stay as they are: the Go tool is told to take others in their place.
type Fault struct {
	Name string
	Lost string // what is not flushed then

	edits []edit
	life  Life // of a whole camera in which that is seen; none where only a small device shows it
}

// Faults are those that this package's searches must find. A flush of what lies on the same
// disk covers others that came before it: of a whole camera the agent flushes so much else
// that what it says has happened is on storage then, whoever saw to that. So most are for a
// small device (see the tests); that each is needed package slots/powercut shows.
var Faults = []Fault{
	{
		Name: "record", Lost: "the active record",
		edits: []edit{
			{"slots/record.go", "return raw, older, prepareFile(f.disk, copyName(older), raw)", "return raw, older, prepareUnflushed(f.disk, copyName(older), raw)"},
			{"slots/record.go", "err := putFile(f.disk, copyName(older))", "err := f.disk.Rename(copyName(older)+fresh, copyName(older))"},
			{"slots/record.go", "_ = replaceFile(f.disk, copyName(1-older), raw)", "_ = errors.Join(prepareUnflushed(f.disk, copyName(1-older), raw), f.disk.Rename(copyName(1-older)+fresh, copyName(1-older)))"},
			{"slots/disk.go", "// prepareFile does all", prepareUnflushed + "// prepareFile does all"},
		},
	},
	{
		Name: "slot", Lost: "what is said of a slot", life: Life{Camera: 1},
		edits: []edit{{"slots/disk.go", "\tif err == nil {\n\t\terr = f.Sync()\n\t}\n\treturn errors.Join(err, f.Close())\n", "\treturn errors.Join(err, f.Close())\n"}},
	},
	{
		Name: "boot", Lost: "the boot loader's state",
		edits: []edit{
			{"slots/boot/disk.go", "\t// Synced here too: the protection comes back with the return.\n\treturn errors.Join(err, f.Sync(), f.Close())", "\treturn errors.Join(err, f.Close())"},
			{"slots/boot/disk.go", "\treturn errors.Join(f.Sync(), f.Close())", "\treturn f.Close()"},
		},
	},
}

const prepareUnflushed = `func prepareUnflushed(d disk, name string, data []byte) error {
	if err := d.Remove(name + fresh); err != nil {
		return err
	}
	f, err := d.Create(name+fresh, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

`

// FaultNames are those that a whole camera shows.
func FaultNames() (names []string) {
	for _, f := range Faults {
		if f.life != (Life{}) {
			names = append(names, f.Name)
		}
	}
	return names
}

// edit replaces text in a file of the repository.
type edit struct{ file, old, new string }

// Overlay writes what "go build -overlay" takes into a directory, and returns the file's
// name.
func (f Fault) Overlay(repository, dir string) (string, error) {
	replace := map[string]string{}
	for i, e := range f.edits {
		path := filepath.Join(repository, e.file)
		from := path
		if to, is := replace[path]; is {
			from = to
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if bytes.Count(text, []byte(e.old)) != 1 {
			return "", fmt.Errorf("fault %s: %s has no longer one %q", f.Name, e.file, e.old)
		}
		to := filepath.Join(dir, fmt.Sprintf("%s-%d.go", f.Name, i))
		if err := os.WriteFile(to, bytes.Replace(text, []byte(e.old), []byte(e.new), 1), 0o644); err != nil {
			return "", err
		}
		replace[path] = to
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, f.Name+".json")
	return overlay, os.WriteFile(overlay, raw, 0o644)
}
