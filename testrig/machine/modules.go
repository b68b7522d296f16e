package machine

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// modules are the files of a kernel's drivers, by their names with underscores.
type modules map[string]string

// findModules looks for all drivers below a directory.
func findModules(dir string) (modules, error) {
	found := modules{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if name, is := strings.CutSuffix(filepath.Base(path), ".ko"); err == nil && is && d.Type().IsRegular() {
			found[plain(name)] = path
		}
		return err
	})
	return found, err
}

// plain is a module's name as the kernel has it.
func plain(name string) string { return strings.ReplaceAll(name, "-", "_") }

// order is the files of modules and of all that they need, each after what it needs.
// What has no file is built in.
func (m modules) order(names ...string) (files []string, err error) {
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		path, is := m[plain(name)]
		if !is || seen[path] {
			return nil
		}
		seen[path] = true
		needs, err := needsOf(path)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, other := range needs {
			if err := visit(other); err != nil {
				return err
			}
		}
		files = append(files, path)
		return nil
	}
	for _, name := range names {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// needsOf reads what a module says of itself. A soft dependency counts too: without the
// checksum that ext4 names so no such file system can be mounted.
func needsOf(path string) (names []string, err error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("%s has no .modinfo", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for line := range bytes.SplitSeq(info, []byte{0}) {
		key, value, _ := strings.Cut(string(line), "=")
		switch key {
		case "depends":
			names = append(names, strings.Split(value, ",")...)
		case "softdep":
			names = append(names, strings.Fields(strings.TrimPrefix(value, "pre:"))...)
		}
	}
	// Its name for the checksum is not that of the module that has it.
	if slices.Contains(names, "crypto-crc32c") {
		names = append(names, "crc32c_generic")
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" }), nil
}
