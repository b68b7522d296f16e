package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"slipstream/agent/control"
)

// maxOnStick bounds how many packages of a directory are looked at.
const maxOnStick = 100

// candidate is a package that lies in a directory.
type candidate struct {
	path string
	inspection
}

func (c candidate) counter() int64 {
	if c.Manifest == nil {
		return 0
	}
	return c.Manifest.ReleaseCounter
}

// isDir tells a directory, such as the mount point of a stick, from a package.
func isDir(from string) bool {
	info, err := os.Stat(from)
	return err == nil && info.IsDir()
}

// newestIn finds the newest package in a directory that this device would take. Packages
// for other devices may lie beside it. Without one it says, as a result, why not.
func (c *cli) newestIn(ctx context.Context, dir string) (string, *control.Result, error) {
	files, err := filepath.Glob(filepath.Join(globbed(dir), "*.slip"))
	switch {
	case err != nil:
		return "", nil, fmt.Errorf("look into %s: %w", dir, err)
	case len(files) == 0:
		return "", nil, fmt.Errorf("there is no package (*.slip) in %s", dir)
	case len(files) > maxOnStick:
		return "", nil, fmt.Errorf("%s holds more than %d packages; name the one to take", dir, maxOnStick)
	}
	var all []candidate
	for _, path := range files {
		found, err := c.inspect(ctx, path, false)
		if err != nil {
			return "", nil, err
		}
		all = append(all, candidate{path, found})
	}
	slices.SortFunc(all, func(x, y candidate) int {
		return cmp.Or(cmp.Compare(y.counter(), x.counter()), cmp.Compare(x.path, y.path))
	})
	if i := slices.IndexFunc(all, func(x candidate) bool { return x.Exit == control.ExitDone }); i >= 0 {
		return all[i].path, nil, nil
	}
	if i := slices.IndexFunc(all, func(x candidate) bool { return x.Exit == control.ExitNothing }); i >= 0 {
		return "", &control.Result{Exit: control.ExitNothing, Message: "nothing newer in " + dir + ": " + all[i].Message}, nil
	}
	return "", refusedAll(dir, all), nil
}

// globbed keeps a directory's name from being a pattern.
func globbed(dir string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

// refusedAll says why of each package, the newest first.
func refusedAll(dir string, all []candidate) *control.Result {
	var why []string
	for _, x := range all {
		why = append(why, fmt.Sprintf("%s (%s: %s)", filepath.Base(x.path), x.Code, x.Message))
	}
	return &control.Result{
		Exit: control.ExitRefused, Code: all[0].Code,
		Message: "this device takes none of the packages in " + dir + ": " + strings.Join(why, "; "),
	}
}
