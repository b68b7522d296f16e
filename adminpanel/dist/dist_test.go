package dist_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"slipstream/adminpanel/config"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run returns what a command said; it must succeed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// systemd itself judges the units and the users' file.
func TestSystemdTakesTheUnits(t *testing.T) {
	t.Parallel()
	dir, root := t.TempDir(), t.TempDir()
	var units []string
	for _, name := range []string{"slipstream-panel.service", "slipstream-panel-people.socket", "slipstream-panel-devices.socket"} {
		path := filepath.Join(dir, name)
		write(t, path, strings.ReplaceAll(read(t, name), "/usr/bin/slipstream-panel", "/bin/true")) // that it is not there yet is no fault of the unit
		units = append(units, path)
	}
	if said := run(t, "systemd-analyze", append([]string{"verify", "--man=no"}, units...)...); said != "" {
		t.Errorf("systemd-analyze verify:\n%s", said)
	}
	service := read(t, "slipstream-panel.service")
	for _, want := range []string{"Type=notify", "Restart=always", "User=slipstream-panel", "StateDirectory=slipstream-panel", "NoNewPrivileges=yes", "ProtectSystem=strict"} {
		if !strings.Contains(service, "\n"+want+"\n") {
			t.Errorf("the unit does not say %s", want)
		}
	}
	for _, name := range []string{"people", "devices"} { // by which the panel knows them
		socket := read(t, "slipstream-panel-"+name+".socket")
		if !strings.Contains(socket, "\nFileDescriptorName="+name+"\n") || !strings.Contains(socket, "\nService=slipstream-panel.service\n") {
			t.Errorf("the socket of %s is another one:\n%s", name, socket)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	users, err := filepath.Abs("slipstream-panel.sysusers")
	if err != nil {
		t.Fatal(err)
	}
	run(t, "systemd-sysusers", "--root="+root, users)
	if passwd := read(t, filepath.Join(root, "etc/passwd")); !strings.Contains(passwd, "slipstream-panel:") {
		t.Errorf("users:\n%s", passwd)
	}
}

// The configuration to begin with is one, keeps its data where the unit lets it, and opens the
// panel to nobody else. With all that it suggests it is one too.
func TestConfigurationToBeginWith(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load("panel.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Data != "/var/lib/slipstream-panel" || cfg.Listen != "127.0.0.1:8080" {
		t.Errorf("it is %+v", cfg)
	}
	path := filepath.Join(t.TempDir(), "panel.toml")
	write(t, path, regexp.MustCompile(`(?m)^#([a-z[])`).ReplaceAllString(read(t, "panel.toml"), "$1"))
	if cfg, err = config.Load(path, nil); err != nil {
		t.Fatal(err)
	}
	if cfg.Listen != ":443" || cfg.TLS.Mode != config.TLSOwn || len(cfg.Names) != 1 || cfg.Trust == "" {
		t.Errorf("with all that it suggests it is %+v", cfg)
	}
}
