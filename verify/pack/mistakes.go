package pack

import (
	"archive/tar"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"slipstream/verify"
)

// checkProgram finds the commonest mistake before a camera does.
func checkProgram(dir string, t *tree, app *verify.App) error {
	if app == nil || len(app.Exec) == 0 || path.IsAbs(app.Exec[0]) {
		return nil
	}
	program := app.Exec[0]
	switch e, ok := t.find(path.Clean(program)); {
	case !ok:
		return fmt.Errorf("app.exec starts %q, which is not in the directory %s", program, dir)
	case e.kind == tar.TypeDir:
		return fmt.Errorf("app.exec starts %q, which is a directory", program)
	case e.kind == tar.TypeReg && !e.exec:
		return fmt.Errorf("app.exec starts %q, which is not an executable file; make it one: chmod +x %s", program, filepath.Join(dir, program))
	}
	return nil
}

// checkOut refuses an output directory inside the app's: the next package would
// hold this one. It looks before anything is read or made.
func checkOut(outDir, dir string) error {
	if _, err := os.Stat(outDir); err != nil && filepath.Ext(outDir) == extension {
		return fmt.Errorf("output directory %s looks like a package: give a directory, the package in it is named by its product and version", outDir)
	}
	out, err := resolved(outDir)
	if err != nil {
		return err
	}
	app, err := resolved(dir)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(app, out); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("the output directory %s lies inside the app's directory %s; choose another one", outDir, dir)
	}
	return nil
}

// resolved is the path without links, as far as it exists.
func resolved(name string) (string, error) {
	name, err := filepath.Abs(name)
	if err != nil {
		return "", fmt.Errorf("find directory: %w", err)
	}
	for head, tail := name, ""; ; head, tail = filepath.Dir(head), filepath.Join(filepath.Base(head), tail) {
		if found, err := filepath.EvalSymlinks(head); err == nil {
			return filepath.Join(found, tail), nil
		}
		if head == filepath.Dir(head) {
			return name, nil
		}
	}
}

// Warning names what is suspicious in a template and not wrong, "" if nothing is.
func Warning(m verify.Manifest) string {
	if m.ReleaseCounter-max(m.MinFromCounter, 0) <= verify.MaxCounterStep {
		return ""
	}
	return fmt.Sprintf("releaseCounter is %d, and no device takes a step of more than %d at once: "+
		"one that runs a release below %d will refuse this package (count releases, not dates; "+
		"if it is meant, say so by minFromCounter)",
		m.ReleaseCounter, verify.MaxCounterStep, m.ReleaseCounter-verify.MaxCounterStep)
}
