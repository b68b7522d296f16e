package slots

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Try is an agent's word to the start program: run this version of Slipstream's own
// programs, once. It lies in the run directory, because a reboot ends every trial.
type Try struct {
	Boot     string `json:"boot"` // id of the boot in which it holds
	Slot     string `json:"slot"`
	Digest   string `json:"digest"`
	Version  string `json:"version"`
	BuiltIn  bool   `json:"builtIn,omitempty"` // the copy built in is meant, and no slot
	Deadline int64  `json:"deadline"`          // CLOCK_MONOTONIC ns; whoever is still on trial then is ended
}

// ErrNoTry means that nothing is to be tried.
var ErrNoTry = errors.New("nothing is to be tried")

const (
	tryFile   = "runtime.try"   // asked for
	spentFile = "runtime.spent" // being tried
	maxTry    = 4 << 10         // bytes
)

// AskTry leaves the word in the run directory.
func AskTry(run string, t Try) error {
	raw, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("slots: ask for a try: %w", err)
	}
	path := filepath.Join(run, tryFile)
	if err := os.WriteFile(path+fresh, raw, 0o600); err != nil {
		return fmt.Errorf("slots: ask for a try: %w", err)
	}
	if err := os.Rename(path+fresh, path); err != nil {
		return fmt.Errorf("slots: ask for a try: %w", err)
	}
	return nil
}

// TakeTry spends the word, whatever it says, and returns what is to be tried in this
// boot: so nothing is tried twice.
func TakeTry(run, boot string) (Try, error) {
	spent := filepath.Join(run, spentFile)
	err := os.Rename(filepath.Join(run, tryFile), spent)
	if errors.Is(err, fs.ErrNotExist) {
		return Try{}, ErrNoTry
	}
	if err != nil {
		return Try{}, fmt.Errorf("slots: spend a try: %w", err)
	}
	t, err := readTry(spent)
	switch {
	case err != nil:
		return Try{}, fmt.Errorf("slots: read a try: %w", err)
	case t.Boot != boot:
		return Try{}, ErrNoTry
	}
	return t, nil
}

func readTry(path string) (t Try, err error) {
	f, err := os.Open(path)
	if err != nil {
		return t, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxTry))
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(raw)).Decode(&t)
	}
	return t, err
}

// EndTry takes the word back, whether it was spent or not: the trial is over.
func EndTry(run string) error {
	var errs []error
	for _, name := range []string{tryFile, spentFile} {
		if err := os.Remove(filepath.Join(run, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("slots: end a try: %w", err))
		}
	}
	return errors.Join(errs...)
}

// TryUnderWay says whether a version is being tried.
func TryUnderWay(run string) bool {
	_, err := os.Lstat(filepath.Join(run, spentFile))
	return err == nil
}

// startsFile grows by a byte with each start of the permanent programs.
const startsFile = "runtime.starts"

// CountStart counts a start since the last one that was proven.
func CountStart(run string) (int64, error) {
	f, err := os.OpenFile(filepath.Join(run, startsFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("slots: count a start: %w", err)
	}
	defer f.Close()
	if _, err := f.Write([]byte{'.'}); err != nil {
		return 0, fmt.Errorf("slots: count a start: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("slots: count a start: %w", err)
	}
	return info.Size(), nil
}

// ProveStart says that what was started works.
func ProveStart(run string) error {
	if err := os.Remove(filepath.Join(run, startsFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("slots: prove a start: %w", err)
	}
	return nil
}
