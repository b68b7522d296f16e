package doctor

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"slipstream/agent/config"
)

// agentAt runs a stand-in for the agent as a file.
func agentAt(t *testing.T, cfg config.Config, path string, env ...string) {
	t.Helper()
	program, err := os.ReadFile("/bin/sleep")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "1000")
	cmd.Env = env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if err := os.WriteFile(filepath.Join(cfg.Run, "agent.pid"), []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestWhatHasStartedTheAgent(t *testing.T) {
	for _, test := range []struct {
		name    string
		program string // relative to the device's directory; "": none runs
		by      bool   // the start program
		remove  string
		state   string
		text    string
	}{
		{"nobody, and nothing", "", false, "bin/slipstream-start", Missing, "no slipstream-start in"},
		{"nobody yet", "", false, "", OK, "no agent runs that it could have started"},
		{"by itself", "bin/slipstream", false, "", Missing, "not by slipstream-start; it would update Slipstream's own programs"},
		{"built-in", "bin/slipstream", true, "", OK, "slipstream-start has started the built-in agent ("},
		{"in a slot", "state/runtime/b/root/slipstream", true, "", OK, "has started the agent of runtime slot b ("},
		{"replaced", "bin/slipstream", true, "bin/slipstream", OK, "whose file was replaced since (slipstream agent reexec)"},
		{"and is gone", "bin/slipstream", true, "bin/slipstream-start", Degraded, "would not come up after a reboot"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := config.Config{Bin: filepath.Join(dir, "bin"), State: filepath.Join(dir, "state"), Run: filepath.Join(dir, "run")}
			start := filepath.Join(cfg.Bin, startProgram)
			for _, d := range []string{cfg.Bin, cfg.Run} {
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(start, nil, 0o755); err != nil {
				t.Fatal(err)
			}
			if test.program != "" {
				env := []string{"A=B"}
				if test.by {
					env = append(env, startVar+start)
				}
				agentAt(t, cfg, filepath.Join(dir, test.program), env...)
			}
			if test.remove != "" {
				if err := os.Remove(filepath.Join(dir, test.remove)); err != nil {
					t.Fatal(err)
				}
			}
			f := started(cfg)[0].finding()
			if f.State != test.state || !strings.Contains(f.Text, test.text) {
				t.Errorf("%s: %s", f.State, f.Text)
			}
		})
	}
}

// The number is that of another process by now.
func TestAnAgentThatHasEndedIsNotAsked(t *testing.T) {
	cfg := config.Config{Run: t.TempDir()}
	if err := os.WriteFile(filepath.Join(cfg.Run, "agent.pid"), []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		t.Fatal(err)
	}
	if pid, err := agentPID(cfg); !errors.Is(err, errNoAgent) {
		t.Errorf("%s, %v", pid, err)
	}
}

func TestWhoseTheCgroupIs(t *testing.T) {
	for _, test := range []struct {
		place string
		given bool
		state string
		text  string
	}{
		{"/sys/fs/cgroup/system.slice/slipstream.service", true, OK, "systemd has given the cgroup /sys/fs/cgroup/system.slice/slipstream.service to the agent, with memory, pids"},
		{"/sys/fs/cgroup/system.slice/slipstream.service", false, Missing, "set Delegate=yes in the unit that starts it; it would keep its cgroups"},
		{"/sys/fs/cgroup", false, OK, "no process manager's"},
	} {
		f := probe{"cgroup-delegation", "keep its cgroups", false, func() error { return whose(test.place, "with memory, pids", test.given) }}.finding()
		if f.State != test.state || !strings.Contains(f.Text, test.text) {
			t.Errorf("%s, given %v: %s: %s", test.place, test.given, f.State, f.Text)
		}
	}
	if f := started(config.Config{Run: t.TempDir()})[1].finding(); f.Text == "" {
		t.Errorf("here: %+v", f)
	}
}
