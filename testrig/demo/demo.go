package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"slipstream/testrig/device"
)

// DefaultListen is where the panel is left for people.
const DefaultListen = "127.0.0.1:8080"

// ResultFile is where the figures go.
const ResultFile = "build/demo.json"

// logDir is where the logs go when something was not as it has to be.
const logDir = "build/demo-logs"

// Options of a run.
type Options struct {
	Once   bool   // end after the last update instead of waiting for ctx
	Listen string // of the panel; "" is any free port with Once, else [DefaultListen]
	Out    io.Writer
}

// maxRuns bounds how often a run is repeated for a gap alone.
const maxRuns = 3

// Run plays the demo. Without Once it then leaves everything running until ctx
// ends. An error says in plain sentences what was not as it has to be.
//
// A busy machine stops single processes for longer than a frame, and not the
// same ones on both devices. With Once, a run in which nothing but a gap was too
// long is therefore played again from the start, and says so: what an update
// does to a gap it does every time. Wrong outcomes and counts are final.
func Run(ctx context.Context, opts Options) error {
	say := func(format string, args ...any) { fmt.Fprintf(opts.Out, format+"\n", args...) }
	say("building the binaries")
	bin, err := device.Binaries(ctx, "")
	if err != nil {
		return err
	}
	if !device.RaisePriority() {
		say("note: an ordinary user cannot raise priorities, so other work on this machine shows in the gaps")
	}
	if !opts.Once {
		_, err := run(ctx, opts, bin, 1)
		return err
	}
	for n := 1; ; n++ {
		wrong, err := run(ctx, opts, bin, n)
		if err == nil || len(wrong) == 0 || !wrong.onlyGaps() || n == maxRuns {
			return err
		}
		say("\nonly gaps were too long, which this machine may have done: run %d of at most %d", n+1, maxRuns)
	}
}

// run plays all updates once, on devices of their own.
func run(ctx context.Context, opts Options, bin string, n int) (wrong problems, err error) {
	say := func(format string, args ...any) { fmt.Fprintf(opts.Out, format+"\n", args...) }
	s, err := open(ctx, bin, listenAt(opts), say)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	wrong, err = s.play(ctx, opts.Out, n)
	if opts.Once || ctx.Err() != nil {
		return wrong, err
	}
	if err != nil {
		say("\n%v", err)
	}
	say("\nThe panel is at %s until you press Ctrl-C: sign in as %s with %s.", s.panel.URL, s.panel.Name, s.panel.Password)
	<-ctx.Done()
	return wrong, err
}

// play does all updates and writes the figures. The error names all problems.
func (s *scene) play(ctx context.Context, out io.Writer, n int) (wrong problems, err error) {
	result := Result{Runs: n}
	for _, st := range steps {
		u, r, err := s.update(ctx, st)
		if err != nil {
			return nil, fmt.Errorf("version %s: %w\n%s", st.version, err, s.cam.Logs())
		}
		found := st.judge(u)
		show(out, st, u, r, found)
		for _, p := range found {
			wrong = append(wrong, problem{"version " + st.version + ": " + p.text, p.gap})
		}
		result.Updates = append(result.Updates, u)
	}
	if err := result.save(ResultFile); err != nil {
		return nil, fmt.Errorf("write %s: %w", ResultFile, err)
	}
	if len(wrong) == 0 {
		return nil, nil
	}
	var text strings.Builder
	for _, p := range wrong {
		fmt.Fprintln(&text, p.text)
	}
	return wrong, fmt.Errorf("%sthe logs of device %s are in %s", text.String(), camName, s.keepLogs())
}

// keepLogs copies the logs of the updated device to where they stay, and says where.
func (s *scene) keepLogs() string {
	errs := []error{os.RemoveAll(logDir), os.MkdirAll(logDir, 0o755)}
	for _, file := range s.cam.LogFiles() {
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(logDir, filepath.Base(file)), text, 0o644)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Sprintf("%s (not all of them: %v)", logDir, err)
	}
	return logDir
}

// listenAt is where the panel is to be; "" is any free port.
func listenAt(opts Options) string {
	if opts.Listen == "" && !opts.Once {
		return DefaultListen
	}
	return opts.Listen
}
