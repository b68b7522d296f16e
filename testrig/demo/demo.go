package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"slipstream/testrig/device"
)

// DefaultListen is where the panel is left for people.
const DefaultListen = "127.0.0.1:8080"

// ResultFile is where the figures go.
const ResultFile = "build/demo.json"

// Options of a run.
type Options struct {
	Once   bool   // end after the last update instead of waiting for ctx
	Listen string // of the panel; "" is any free port with Once, else [DefaultListen]
	Out    io.Writer
}

// Run plays the demo. Without Once it then leaves everything running until ctx
// ends. An error says in plain sentences what was not as it has to be.
func Run(ctx context.Context, opts Options) (err error) {
	say := func(format string, args ...any) { fmt.Fprintf(opts.Out, format+"\n", args...) }
	listen, err := listenAt(opts)
	if err != nil {
		return err
	}
	say("building the binaries")
	bin, err := device.Binaries(ctx, "")
	if err != nil {
		return err
	}
	s, err := open(ctx, bin, listen, say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	verdict := s.play(ctx, opts.Out)
	if opts.Once || ctx.Err() != nil {
		return verdict
	}
	if verdict != nil {
		say("\n%v", verdict)
	}
	say("\nThe panel is at %s until you press Ctrl-C.", s.panel.url)
	<-ctx.Done()
	return verdict
}

// play does all updates and writes the figures.
func (s *scene) play(ctx context.Context, out io.Writer) error {
	var result Result
	var wrong []string
	for _, st := range steps {
		u, r, err := s.update(ctx, st)
		if err != nil {
			return fmt.Errorf("version %s: %w\n%s", st.version, err, s.cam.Logs())
		}
		problems := st.problems(u)
		show(out, st, u, r, problems)
		for _, p := range problems {
			wrong = append(wrong, fmt.Sprintf("version %s: %s", st.version, p))
		}
		result.Updates = append(result.Updates, u)
	}
	if err := result.save(ResultFile); err != nil {
		return fmt.Errorf("write %s: %w", ResultFile, err)
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "\n"))
	}
	return nil
}

func listenAt(opts Options) (string, error) {
	switch {
	case opts.Listen != "":
		return opts.Listen, nil
	case !opts.Once:
		return DefaultListen, nil
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
