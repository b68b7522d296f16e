package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/agent/supervise"
)

func TestFindingsSayWhatIsLost(t *testing.T) {
	for _, test := range []struct {
		name  string
		look  error
		state string
		text  string
	}{
		{"there", nil, OK, "bring light"},
		{"there, with more to say", noticef("two of them"), OK, "two of them"},
		{"not there", errors.New("none"), Missing, "none; it would bring light"},
		{"dim", degradedf("it is dim"), Degraded, "it is dim"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := probe{"lamp", "bring light", true, func() error { return test.look }}.finding()
			if f.State != test.state || f.Text != test.text {
				t.Errorf("got %s %q, want %s %q", f.State, f.Text, test.state, test.text)
			}
			if Ill([]Finding{f}) != (test.state == Missing) {
				t.Errorf("ill: %v", Ill([]Finding{f}))
			}
			f.Needed = false
			if Ill([]Finding{f}) {
				t.Error("ill for want of what is not needed")
			}
		})
	}
}

func TestKernelReleases(t *testing.T) {
	for release, want := range map[string]bool{
		"5.10.0-8-arm64": true, "5.9.16": false, "6.1": true, "4.19.1": false, "6.18.44-fc": true, "10.0-rc1": true, "x": false,
	} {
		if got := atLeast(release, oldest); got != want {
			t.Errorf("%s is at least %s: %v", release, oldest, got)
		}
	}
}

// What a probe was given or has made must be gone when it has answered.
func TestProbesLeaveNothing(t *testing.T) {
	cfg := config.Default()
	cfg.Run = t.TempDir()
	for _, p := range machine(cfg) {
		if f := p.finding(); f.State == OK && f.Text == "" {
			t.Errorf("%s says nothing", f.Name)
		}
	}
	left, err := os.ReadDir(cfg.Run)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the run directory: %v, %v", left, err)
	}
	// The place of a run directory has one name; whoever can make a group finds it.
	groups, err := supervise.NewGroups(cfg.Cgroup, filepath.Join(cfg.Run, ".doctor"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := groups.Make("x")
	if err != nil {
		t.Fatal(err)
	}
	place := filepath.Dir(g.Path())
	if err := g.End(); err != nil {
		t.Fatal(err)
	}
	groups.Remove()
	if err := cgroup(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(place); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a cgroup is left at %s: %v", place, err)
	}
}

func TestFilesOfADevice(t *testing.T) {
	dir := t.TempDir()
	viewers := filepath.Join(dir, "viewers")
	cfg := config.Default()
	cfg.Bin, cfg.State, cfg.Trust, cfg.Gateway.Viewers = dir, filepath.Join(dir, "state", "not", "yet"), filepath.Join(dir, "trust.pem"), viewers
	look := func(name, state, text string) {
		t.Helper()
		for _, p := range device(cfg) {
			if f := p.finding(); p.name == name && (f.State != state || !strings.Contains(f.Text, text)) {
				t.Errorf("%s is %s: %s; want %s: %s", name, f.State, f.Text, state, text)
			}
		}
	}
	look("binaries", Missing, "there is no slipstream-forward in "+dir)
	look("trust", Missing, "every package will be refused: no trusted keys at "+cfg.Trust)
	look("viewers", Degraded, "nobody may watch yet: slipstream viewer add NAME")
	look("disk", OK, dir+" has ")
	for _, name := range []string{"slipstream-forward", "slipstream-gateway", "slipstream-ingest"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	look("binaries", OK, "are in "+dir)
	if err := os.WriteFile(viewers, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	look("viewers", Degraded, "nobody can watch: ")
	if err := os.Chmod(viewers, 0o600); err != nil {
		t.Fatal(err)
	}
	look("viewers", OK, "0 may watch")
	cfg.Gateway.Public = true
	look("viewers", Degraded, "everybody may watch")
}

// word is an agent that says what a test wants.
type word struct {
	now  control.Status
	past []control.Record
	err  error
}

func (w word) Status(context.Context) (control.Status, error)         { return w.now, w.err }
func (w word) History(context.Context, int) ([]control.Record, error) { return w.past, nil }

func TestWhatTheAgentSays(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	commit := control.Record{Time: now.Add(-72 * time.Hour), To: "2.0.0", Outcome: control.OutcomePermanent}
	revert := control.Record{Time: now.Add(-time.Hour), To: "3.0.0", Outcome: control.OutcomeReverted}
	rehearsal := control.Record{Time: now, To: "2.0.0", Outcome: control.OutcomeRehearsed}
	for _, test := range []struct {
		name string
		says word
		want string // state and text of the last finding
	}{
		{"no agent", word{err: errors.New("the agent is not running")}, "missing the agent is not running"},
		{"nothing installed", word{now: control.Status{Time: now}}, "degraded no version is permanent yet: slipstream install FILE"},
		{"a commit", word{control.Status{Time: now, Permanent: "2.0.0"}, []control.Record{commit}, nil},
			"ok 2.0.0 is permanent since 2026-11-20 (3 days ago)"},
		{"a revert since", word{control.Status{Time: now, Permanent: "2.0.0"}, []control.Record{rehearsal, revert, commit}, nil},
			"degraded 2.0.0 is permanent since 2026-11-20 (3 days ago); reverted or refused since then: 1 (slipstream explain)"},
		{"a lost history", word{now: control.Status{Time: now, Permanent: "2.0.0"}},
			"ok 2.0.0 is permanent; when it became so is not in the history"},
	} {
		t.Run(test.name, func(t *testing.T) {
			all := running(t.Context(), test.says)
			if f := all[len(all)-1]; f.State+" "+f.Text != test.want {
				t.Errorf("got  %s %s\nwant %s", f.State, f.Text, test.want)
			}
		})
	}
	all := running(t.Context(), word{now: control.Status{Protections: []control.Protection{{Name: "user", Why: "the agent is not root"}, {Name: "landlock", On: true}}}})
	if all[1].State != Missing || !strings.HasPrefix(all[1].Text, "the agent is not root, and nobody can tell who made a greenlight marker; it would tell ") || all[2].State != OK {
		t.Errorf("got %+v", all)
	}
	all = running(t.Context(), word{now: control.Status{Problems: []string{"the gateway does not run"}}})
	if len(all) != 3 || all[1].State != Degraded || all[1].Text != "the gateway does not run" {
		t.Errorf("got %+v", all)
	}
}

func TestWhatAnAppLosesThatSaysLittle(t *testing.T) {
	for _, test := range []struct {
		name string
		uses control.Contract
		want []string // state and part of the text, of control and state
	}{
		{"nothing", control.Contract{}, []string{"missing 2.0.0 does not listen at SLIPSTREAM_CONTROL; it would hear its role", "missing the manifest of 2.0.0 declares no app.state; it would go on"}},
		{"nothing, by RTSP", control.Contract{RTSP: true}, []string{"and be asked for key frames", "missing"}},
		{"a state that never came", control.Contract{Control: true, State: "count"}, []string{"ok hear its role", `missing 2.0.0 declares a state of schema "count" and has handed none over`}},
		{"everything", control.Contract{Control: true, State: "count", Handed: true}, []string{"ok", "ok"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			now := control.Status{Permanent: "2.0.0", Slots: []control.Slot{{Version: "1.0.0"}, {Version: "2.0.0", Contract: &test.uses}}}
			all := running(t.Context(), word{now: now})
			for i, name := range []string{"app-control", "app-state"} {
				f := all[1+i]
				if said := f.State + " " + f.Text; f.Name != name || f.Needed || !strings.Contains(said, test.want[i]) {
					t.Errorf("got %s: %s; want %s: %s", f.Name, said, name, test.want[i])
				}
			}
		})
	}
}
