package testrig_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/testrig/camera"
	"slipstream/testrig/device"
	"slipstream/verify"
)

// screen is a terminal, tmux's, with a shell in it.
type screen struct {
	t      *testing.T
	socket string
	width  int
}

// newScreen opens a terminal in which the technician's command is found.
func newScreen(t *testing.T, r *rig, width, height int, locale string) *screen {
	t.Helper()
	dir, err := os.MkdirTemp("", "sliptmux") // its socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &screen{t: t, socket: filepath.Join(dir, "s"), width: width}
	s.tmux("-u", "-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height),
		"env", "-i", "TERM=screen-256color", "PS1=$ ", "PATH="+r.bin+":"+os.Getenv("PATH"), "LC_ALL="+locale,
		"SLIPSTREAM_CONFIG="+filepath.Join(r.Dir, "slipstream.toml"), "sh")
	t.Cleanup(func() { s.tmux("kill-server") })
	return s
}

func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", s.socket}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (s *screen) types(keys ...string) {
	s.t.Helper()
	s.tmux(append([]string{"send-keys"}, keys...)...)
}

// shows waits until all of these words are on the screen at once, and none of the others,
// and returns it.
func (s *screen) shows(words []string, not ...string) string {
	s.t.Helper()
	end := time.Now().Add(patience)
	for {
		text := s.tmux("capture-pane", "-p")
		found := true
		for _, word := range words {
			found = found && strings.Contains(text, word)
		}
		for _, word := range not {
			found = found && !strings.Contains(text, word)
		}
		if found {
			s.t.Logf("%q:\n%s", words, strings.TrimRight(text, "\n"))
			return text
		}
		if time.Now().After(end) {
			s.t.Fatalf("%q, without %q, are not on the screen:\n%s", words, not, text)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// settings are what the terminal does with keys, and whether its cursor is seen and its
// own screen is shown.
func (s *screen) settings(r *rig) string {
	s.t.Helper()
	tty := strings.TrimSpace(s.tmux("display-message", "-p", "#{pane_tty}"))
	out, err := exec.CommandContext(r.ctx, "stty", "-a", "-F", tty).CombinedOutput()
	if err != nil {
		s.t.Fatalf("stty: %v\n%s", err, out)
	}
	return string(out) + s.tmux("display-message", "-p", "cursor #{cursor_flag} wrap #{wrap_flag} alternate #{alternate_on}")
}

// watched is a version that an operator greenlights.
func watched(version string) device.Release {
	rel := release(version)
	rel.Greenlight = camera.Greenlight{By: "never"}
	rel.App.Greenlight, rel.App.DeadlineMS = verify.GreenlightOperator, patience.Milliseconds()
	return rel
}

// A technician watches an update and a revert in a terminal, narrow and wide, ends it by q
// and by Ctrl-C, and has the terminal back as it was.
func TestWatchInATerminal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	wide := newScreen(t, r, 100, 40, "C.UTF-8")
	narrow := newScreen(t, r, 36, 24, "C")
	before := map[*screen]string{}
	for _, s := range []*screen{wide, narrow} {
		s.shows([]string{"$"})
		before[s] = s.settings(r)
		s.types("slipstream watch; echo left with $?", "Enter")
	}
	wide.shows([]string{"cam  rig-cam rig", "▶ a", "1.0.0", "permanent", "running", "whep/main", "q ends it"}, "trial")
	narrow.shows([]string{"cam  rig-cam rig", "> a", "1.0.0", "q ends it"}, "trial", "$")

	r.stage(r.build(watched("2.0")))
	wide.shows([]string{"b", "2.0.0", "staged", "next  slipstream activate, to try 2.0.0"})
	r.begin()
	for _, s := range []*screen{wide, narrow} {
		s.shows([]string{"trial of 2.0.0", "reverts in", "soak      done", "slipstream greenlight"}, "staged")
	}
	narrow.shows([]string{"> b  2.0.0", "yours to make:"})
	if res := r.Client.Greenlight(r.ctx); res.Exit != control.ExitDone {
		t.Fatalf("greenlight: %+v", res)
	}
	wide.shows([]string{"▶ b", "2.0.0", "permanent", "previous", "last  2.0.0 permanent"}, "trial")
	narrow.shows([]string{"> b", "2.0.0"}, "trial")

	// Its page fits when the window changes.
	wide.tmux("resize-window", "-x", "60", "-y", "8")
	wide.shows([]string{"more lines: slipstream status"})
	wide.tmux("resize-window", "-x", "100", "-y", "40")
	wide.shows([]string{"q ends it"}, "more lines")

	r.stage(r.build(watched("3.0")))
	r.begin()
	for _, s := range []*screen{wide, narrow} {
		s.shows([]string{"trial of 3.0.0", "soak      done"})
	}
	crash(t, r.app("a"))
	wide.shows([]string{"▶ b", "2.0.0", "reverted", "last  3.0.0 reverted"}, "trial of")
	narrow.shows([]string{"> b", "reverted"}, "trial of")

	wide.types("q")
	narrow.types("C-c")
	for s, was := range before {
		s.shows([]string{"left with 0", "$"}, "cam  rig-cam")
		if now := s.settings(r); now != was {
			t.Errorf("the terminal was\n%s and is\n%s", was, now)
		}
	}
}

// begin begins the trial of what is staged, and waits until viewers see it.
func (r *rig) begin() {
	r.t.Helper()
	if res := r.Client.Activate(r.ctx, control.ActivateRequest{Force: true}); res.Exit != control.ExitDone {
		r.t.Fatalf("activate: %+v", res)
	}
	if _, err := r.WaitStatus(r.ctx, "takeover", func(s control.Status) bool {
		return s.Trial != nil && !s.Trial.TookOver.IsZero()
	}); err != nil {
		r.t.Fatal(err)
	}
}
