package config_test

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/agent/config"
)

// minimal is the least a file must say.
const minimal = "device = \"cam-7\"\nproduct = \"acme-cam\"\nhardware = \"rev-b\"\n"

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "slipstream.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatIsLeftOutHasItsDefault(t *testing.T) {
	got, err := config.Load(write(t, minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Device, want.Product, want.Hardware = "cam-7", "acme-cam", "rev-b"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Socket() != "/run/slipstream/agent.sock" {
		t.Errorf("socket = %s", got.Socket())
	}
}

// The example must load, must name every key there is, must explain each one,
// and what it calls a default must be one.
func TestExample(t *testing.T) {
	got, err := config.Load("slipstream.toml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("slipstream.toml")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{} // key → the comment above it
	comment, table := "", ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch key, _, isKey := strings.Cut(line, " = "); {
		case line == "":
			comment = ""
		case strings.HasPrefix(line, "#"):
			comment += line + "\n"
		case strings.HasPrefix(line, "["):
			table, comment = strings.Trim(line, "[]")+".", ""
		case isKey:
			blocks[table+key], comment = comment, ""
		}
	}
	defaults := keys("", reflect.ValueOf(config.Default()))
	for key, value := range keys("", reflect.ValueOf(got)) {
		if blocks[key] == "" {
			t.Errorf("%s has no line with a comment above it", key)
		}
		if value.IsZero() {
			t.Errorf("%s shows no value", key)
		}
		_, said, ok := strings.Cut(blocks[key], "# Default: ")
		if !ok {
			continue
		}
		said = strings.TrimSpace(said)
		if d := defaults[key]; d.Kind() == reflect.String && d.String() != "" && key != "bin" && said != d.String() {
			t.Errorf("the comment of %s says the default is %s, it is %s", key, said, d)
		}
	}
}

func keys(prefix string, v reflect.Value) map[string]reflect.Value {
	found := map[string]reflect.Value{}
	for i := range v.NumField() {
		key := prefix + v.Type().Field(i).Tag.Get("toml")
		if v.Field(i).Kind() != reflect.Struct {
			found[key] = v.Field(i)
			continue
		}
		maps.Copy(found, keys(key+".", v.Field(i)))
	}
	return found
}

func TestMistakesAreFoundByLine(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"a misspelt key", minimal + "sate = \"/x\"\n", `slipstream.toml:4: unknown key "sate"`},
		{"a misspelt key of a table", minimal + "[stream]\nstall = 3\n", `slipstream.toml:5: unknown key "stream.stall"`},
		{"an unknown table", minimal + "[video]\nx = 1\n", `slipstream.toml:4: unknown key "video"`},
		{"a tightening of nothing", "tighten = [{ name = \"memory\" }]\n" + minimal, "tighten of memory says nothing"},
		{"a tightening without a name", "tighten = [{ max = 3.0 }]\n" + minimal, "tighten, entry 1: name is not set"},
		{"a check's least value", "tighten = [{ name = \"memory\", min = 3.0 }]\n" + minimal, "min is for the invariants of streams"},
		{"a stream's failures", "tighten = [{ stream = \"main\", name = \"gap\", failures = 3 }]\n" + minimal, "failures is for the checks of an app"},
		{"a key that a tightening has not", "tighten = [{ name = \"memory\", mox = 3.0 }]\n" + minimal, "unknown key"},
		{"a value of another type", minimal + "[stream]\nstall_ms = \"soon\"\n", "slipstream.toml:5: "},
		{"a relative cgroup", minimal + "cgroup = \"slice\"\n", `cgroup = "slice" must be an absolute path`},
		{"a line that is no TOML", "device = \"cam-7\"\nproduct acme\n", "slipstream.toml:2: "},
		{"a key given twice", minimal + "device = \"cam-8\"\n", "device"},
		{"a file without end", strings.Repeat("# x\n", config.MaxFile/4+1), "larger than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.Load(write(t, test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	_, err := config.Load(write(t, "run = \"run\"\n[gateway]\nhttp = \"everywhere\"\n"))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"slipstream.toml: device is not set", "slipstream.toml: product is not set", "hardware is not set", "run = ", "gateway.http"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*config.Config)
		want   string // "" if it is fine
	}{
		{"the least", func(*config.Config) {}, ""},
		{"a run path of 60 bytes", func(c *config.Config) { c.Run = "/" + strings.Repeat("r", 59) }, ""},
		{"a run path of 61 bytes", func(c *config.Config) { c.Run = "/" + strings.Repeat("r", 60) }, "61 bytes"},
		{"run and state in one place", func(c *config.Config) { c.Run = c.State + "/" }, "both"},
		{"a device with a slash", func(c *config.Config) { c.Device = "../x" }, "device"},
		{"a device of a line break", func(c *config.Config) { c.Device = "a\nb" }, "device"},
		{"a long device", func(c *config.Config) { c.Device = strings.Repeat("d", 65) }, "65 bytes"},
		{"a relative trust file", func(c *config.Config) { c.Trust = "trust.pem" }, "trust"},
		{"a relative counter", func(c *config.Config) { c.Counter = "counter" }, "counter"},
		{"a relative fleet root", func(c *config.Config) { c.Fleet.Root = "root.json" }, "fleet.root"},
		{"a fleet", func(c *config.Config) { c.Fleet.Root = "/root.json" }, ""},
		{"no stall limit", func(c *config.Config) { c.Stream.StallMS = 0 }, "stall_ms"},
		{"an hour as the stall limit", func(c *config.Config) { c.Stream.StallMS = 3_600_000 }, "stall_ms"},
		{"all addresses of the machine", func(c *config.Config) { c.Gateway.HTTP = ":8889" }, ""},
		{"an IPv6 address", func(c *config.Config) { c.Gateway.RTSP = "[::1]:8554" }, ""},
		{"a host name", func(c *config.Config) { c.Gateway.RTSP = "cam.lan:8554" }, "gateway.rtsp"},
		{"a port that is too large", func(c *config.Config) { c.Gateway.UDP = ":70000" }, "port"},
		{"WHEP without media", func(c *config.Config) { c.Gateway.UDP = "" }, "gateway.udp"},
		{"RTSP alone", func(c *config.Config) { c.Gateway.HTTP, c.Gateway.UDP = "", "" }, ""},
		{"WHEP alone", func(c *config.Config) { c.Gateway.RTSP = "" }, ""},
		{"nobody who may watch", func(c *config.Config) { c.Gateway.Viewers = "" }, "gateway.viewers"},
		{"a relative file of viewers", func(c *config.Config) { c.Gateway.Viewers = "viewers" }, "gateway.viewers"},
		{"everybody may watch", func(c *config.Config) { c.Gateway.Viewers, c.Gateway.Public = "", true }, ""},
		{"RTSPS", func(c *config.Config) { c.Gateway.RTSPS, c.Gateway.TLSCert, c.Gateway.TLSKey = ":8322", "/c", "/k" }, ""},
		{"RTSPS without a certificate", func(c *config.Config) { c.Gateway.RTSPS, c.Gateway.TLSKey = ":8322", "/k" }, "gateway.tls_cert"},
		{"RTSPS without a key", func(c *config.Config) { c.Gateway.RTSPS, c.Gateway.TLSCert = ":8322", "/c" }, "gateway.tls_key"},
		{"RTSPS nowhere", func(c *config.Config) { c.Gateway.RTSPS, c.Gateway.TLSCert, c.Gateway.TLSKey = "x", "/c", "/k" }, "gateway.rtsps"},
		{"no gateway at all", func(c *config.Config) { c.Gateway = config.Gateway{} }, ""},
		{"metrics nowhere", func(c *config.Config) { c.Gateway.Metrics = "x" }, "gateway.metrics"},
		{"origins", func(c *config.Config) { c.Gateway.Origins = []string{"*", "https://a.example:8443"} }, ""},
		{"an origin with a path", func(c *config.Config) { c.Gateway.Origins = []string{"https://a.example/"} }, "gateway.origins"},
		{"an origin without a scheme", func(c *config.Config) { c.Gateway.Origins = []string{"a.example"} }, "gateway.origins"},
		{"fewer than no viewers", func(c *config.Config) { c.Gateway.MaxViewers = -1 }, "gateway.max_viewers"},
		{"too many of one address", func(c *config.Config) { c.Gateway.MaxPerAddress = 100_000 }, "gateway.max_per_address"},
		{"a limit of downloads", func(c *config.Config) { c.Fetch.MaxKbps, c.Fetch.MinKbps = 64, 64 }, ""},
		{"a download that is to go backwards", func(c *config.Config) { c.Fetch.MaxKbps = -1 }, "fetch.max_kbps = -1"},
		{"more than may be", func(c *config.Config) { c.Fetch.MaxKbps, c.Fetch.MinKbps = 64, 65 }, "fetch.min_kbps = 65 is more"},
		{"endless silence", func(c *config.Config) { c.Fetch.StallS = 3601 }, "fetch.stall_s"},
		{"endless attempts", func(c *config.Config) { c.Fetch.Attempts = 1001 }, "fetch.attempts"},
		{"a download of a year", func(c *config.Config) { c.Fetch.TotalMinutes = 365 * 24 * 60 }, "fetch.total_minutes"},
		{"advertised nonsense", func(c *config.Config) { c.Gateway.Advertise = []string{"router"} }, "advertise"},
		{"systems", func(c *config.Config) { systems(c) }, ""},
		{"one system slot", func(c *config.Config) { systems(c).B = "" }, "system.b"},
		{"a system slot twice", func(c *config.Config) { systems(c).B = "/dev/x" }, "system.a and system.b"},
		{"an unknown boot loader", func(c *config.Config) { systems(c).Boot.Kind = "lilo" }, "system.boot.kind"},
		{"no way to tell it", func(c *config.Config) { systems(c).Boot.Path = "" }, "system.boot.path"},
		{"a boot loader without systems", func(c *config.Config) { s := systems(c); s.A, s.B = "", "" }, "system.boot is set"},
		{"no reboot", func(c *config.Config) { systems(c).Reboot = nil }, "system.reboot"},
		{"a watchdog", func(c *config.Config) { s := systems(c); s.Watchdog, s.WatchdogS = "/dev/watchdog0", 60 }, ""},
		{"a relative watchdog", func(c *config.Config) { systems(c).Watchdog = "watchdog0" }, "system.watchdog"},
		{"a hasty watchdog", func(c *config.Config) { s := systems(c); s.Watchdog, s.WatchdogS = "/dev/watchdog0", 3 }, "system.watchdog_s = 3"},
		{"a patient watchdog", func(c *config.Config) { s := systems(c); s.Watchdog, s.WatchdogS = "/dev/watchdog0", 3601 }, "system.watchdog_s = 3601"},
		{"a watchdog without systems", func(c *config.Config) { c.System.Watchdog = "/dev/watchdog0" }, "there are no system slots"},
		{"a watchdog for the app alone", func(c *config.Config) { c.System.Watchdog, c.System.WatchdogAlways = "/dev/watchdog0", true }, ""},
		{"no watchdog, always", func(c *config.Config) { systems(c).WatchdogAlways = true }, "system.watchdog_always is set"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := config.Default()
			c.Device, c.Product, c.Hardware = "cam-7", "acme-cam", "rev-b"
			test.change(&c)
			err := c.Validate()
			if test.want == "" && err != nil {
				t.Fatal(err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Fatalf("got %v, want %q in it", err, test.want)
			}
		})
	}
}

// drop puts a file into the drop-in directory of the configuration at path.
func drop(t *testing.T, path, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(path+".d", 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(path+".d", name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDropInsAreReadInOrder(t *testing.T) {
	path := write(t, minimal+"[gateway]\nadvertise = [\"192.0.2.1\", \"192.0.2.2\"]\nmax_viewers = 5\n")
	second := drop(t, path, "20-site.toml", "device = \"cam-9\"\n[gateway]\nadvertise = [\"192.0.2.3\"]\n")
	first := drop(t, path, "10-base.toml", "device = \"cam-8\"\nhardware = \"rev-c\"\n")
	drop(t, path, "30-note.txt", "not TOML")
	drop(t, path, ".40.toml", "nor this, an editor's")
	got, err := config.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Device, want.Product, want.Hardware = "cam-9", "acme-cam", "rev-c"
	want.Gateway.Advertise, want.Gateway.MaxViewers = []string{"192.0.2.3"}, 5
	if diff := cmp.Diff(want, got.Config); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{path, first, second}, got.Files); diff != "" {
		t.Error(diff)
	}
	sources := map[string]string{}
	for _, s := range got.Settings() {
		if s.File != "" {
			sources[s.Key] = s.File
		}
	}
	if diff := cmp.Diff(map[string]string{
		"device": second, "product": path, "hardware": first, "gateway.advertise": second, "gateway.max_viewers": path,
	}, sources); diff != "" {
		t.Error(diff)
	}
}

// A mistake is told with the file in which it was made, and with those of the others.
func TestMistakesInDropIns(t *testing.T) {
	path := write(t, minimal)
	drop(t, path, "10.toml", "\nsate = \"/x\"\n")
	drop(t, path, "20.toml", "[stream]\nstall = 1\n")
	_, err := config.Load(path)
	for _, want := range []string{`10.toml:2: unknown key "sate"`, `20.toml:2: unknown key "stream.stall"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	path = write(t, minimal+"[gateway]\norigins = [\"x\"]\n")
	drop(t, path, "10.toml", "state = \"here\"\n")
	_, err = config.Load(path)
	for _, want := range []string{`10.toml: state = "here" must be an absolute path`, `slipstream.toml: gateway.origins: "x"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	path = write(t, minimal)
	for i := range config.MaxDropIns + 1 {
		drop(t, path, strings.Repeat("x", i+1)+".toml", "")
	}
	if _, err = config.Load(path); err == nil || !strings.Contains(err.Error(), "holds more than 64 files") {
		t.Errorf("got %v", err)
	}
}

// systems gives a configuration system slots.
func systems(c *config.Config) *config.System {
	c.System = config.System{
		A: "/dev/x", B: "/dev/y", Boot: config.Boot{Kind: config.BootOrder, Path: "/etc/fw_env.config"}, Reboot: []string{"reboot"},
	}
	return &c.System
}
