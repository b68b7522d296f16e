package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"slipstream/testrig/device"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// Programs are a version of Slipstream's own programs.
type Programs struct {
	Version string
	Fault   string // "" is [FaultNone]
}

// programFaults are what stands in the place of a program, by the fault's name.
var programFaults = map[string]struct{ program, script string }{
	"agent-exits":     {"slipstream", "exit 1"},
	"agent-hangs":     {"slipstream", "exec sleep 100000"},
	"forwarder-exits": {"slipstream-forward", "exit 1"},
	"forwarder-hangs": {"slipstream-forward", "exec sleep 100000"},
	"gateway-exits":   {"slipstream-gateway", "exit 1"},
}

// Programs makes the package of such a version.
func (f *Factory) Programs(ctx context.Context, p Programs, terms verify.TrialTerms, counter int64) (string, error) {
	dir, err := f.ProgramsDir(ctx, p)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	return pack.BuildFile(ctx, filepath.Join(f.dir, "programs"), pack.Options{
		Images: []pack.Source{{Class: verify.ClassRuntime, Kind: verify.KindTree, Path: dir}},
		Key:    f.Key,
		Manifest: verify.Manifest{
			Product: f.Product, Hardware: []string{f.Hardware},
			Version: p.Version, ReleaseCounter: counter, Trial: &terms,
		},
	})
}

// ProgramsDir makes a directory of what lies in a slot of programs; it is the caller's.
func (f *Factory) ProgramsDir(ctx context.Context, p Programs) (dir string, err error) {
	fault, known := programFaults[p.Fault]
	if !known && p.Fault != "" && p.Fault != FaultNone {
		return "", fmt.Errorf("programs have no fault %q", p.Fault)
	}
	if dir, err = os.MkdirTemp(f.dir, "programs-"); err != nil {
		return "", err
	}
	if err := f.fillPrograms(ctx, dir, p.Version); err != nil {
		return "", errors.Join(fmt.Errorf("programs %s: %w", p.Version, err), os.RemoveAll(dir))
	}
	if known {
		script := "#!/bin/sh\n" + fault.script + "\n"
		err = os.WriteFile(filepath.Join(dir, fault.program), []byte(script), 0o755)
	}
	return dir, err
}

// fillPrograms takes the built-in programs, but an agent that says that it is this version.
func (f *Factory) fillPrograms(ctx context.Context, dir, version string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"slipstream-forward", "slipstream-gateway", "slipstream-ingest"} {
		in, err := os.Open(filepath.Join(f.Kit.Bin, name))
		if err != nil {
			return err
		}
		err = copyTo(filepath.Join(dir, name), in, 0o755)
		if err = errors.Join(err, in.Close()); err != nil {
			return err
		}
	}
	repository, err := device.ModuleRoot(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X slipstream/agent.release="+version,
		"-o", filepath.Join(dir, "slipstream"), "./agent/cmd/slipstream")
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), f.Kit.Arch.environment()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
