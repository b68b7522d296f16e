package scenarios

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"slipstream/agent/control"
	"slipstream/testrig/machine"
)

// emulated is one of the cameras that a scenario plays with.
type emulated struct {
	number  int    // from 1
	dir     string // of its files
	machine *machine.Machine
	agent   *control.Client
	last    *control.Record // of its history, that the scenario has asked for
	named   bool            // it has a name of its own
}

// add makes a new camera, which commands are for from now on.
func (w *world) add() error {
	// Its own files are not the script's, and a socket's path must be short.
	dir, err := os.MkdirTemp(filepath.Dir(w.factory.Disk), "m")
	if err != nil {
		return err
	}
	w.emulated = &emulated{number: len(w.all) + 1, dir: dir}
	w.all = append(w.all, w.emulated)
	return nil
}

// use turns to a camera, by its number; the next one is new.
func (w *world) use(_ context.Context, args []string) (string, error) {
	words, _, err := named(args, 1)
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(words[0])
	switch {
	case err != nil || n < 1 || n > len(w.all)+1:
		return "", fmt.Errorf("there are %d cameras, and no number %s: %w", len(w.all), words[0], errUsage)
	case n <= len(w.all):
		w.emulated = w.all[n-1]
		return "", nil
	}
	return "", w.add()
}

// addCameras boots as many cameras as are asked for, and makes them devices of the panel's.
func (w *world) addCameras(ctx context.Context, args []string) (string, error) {
	words, _, err := named(args, 1)
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(words[0])
	switch {
	case err != nil || n < 1:
		return "", fmt.Errorf("%q is no number of cameras: %w", words[0], errUsage)
	case w.fleet == nil:
		return "", errNoPanel
	}
	for i := range n {
		if _, err := w.use(ctx, []string{strconv.Itoa(i + 1)}); err != nil {
			return "", err
		}
		if _, err := w.boot(ctx, nil); err != nil {
			return "", err
		}
		if _, err := w.enrol(ctx, nil); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d cameras are emulated", n), nil
}

// nameFile is a camera's own part of the configuration. It lies in memory.
const nameFile = "/etc/slipstream/slipstream.toml.d/name.toml"

// rename gives a camera beside the first one a name of its own, until it is started anew.
func (w *world) rename(ctx context.Context) error {
	if w.number == 1 || w.named {
		return nil
	}
	if err := w.machine.Hand.Wait(ctx); err != nil {
		return err
	}
	name := fmt.Sprintf("cam-rig-%d", w.number)
	_, err := w.inside(ctx, "sh", "-c",
		fmt.Sprintf("mkdir -p %s && echo 'device = %q' >%s && /etc/init.d/S90slipstream restart", filepath.Dir(nameFile), name, nameFile))
	if err != nil {
		return err
	}
	w.named = true
	_, err = w.waitFor(ctx, "agent of "+name, func(s control.Status) bool { return s.Device == name })
	return err
}
