package config_test

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/adminpanel/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "panel.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWithoutAFileAllIsDefault(t *testing.T) {
	t.Parallel()
	got, err := config.Load("", []string{"HOME=/root"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), got); diff != "" {
		t.Error(diff)
	}
}

// The example loads, and names and explains every key there is.
func TestExample(t *testing.T) {
	t.Parallel()
	if _, err := config.Load("panel.toml", nil); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("panel.toml")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{} // key: the line above it
	table, before := "", ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			table = strings.TrimSuffix(name, "]") + "."
		} else if key, _, ok := strings.Cut(line, " = "); ok && !strings.HasPrefix(line, "#") {
			said[table+key] = before
		}
		before = line
	}
	for key, value := range keys("", reflect.ValueOf(config.Default())) {
		if !strings.HasPrefix(said[key], "#") {
			t.Errorf("%s has no line with a comment above it", key)
		}
		if d, ok := strings.CutPrefix(said[key], "# Default: "); ok && d != value.String() {
			t.Errorf("the default of %s is %s, not %s", key, value, d)
		}
		delete(said, key)
	}
	if len(said) != 0 {
		t.Errorf("there are no such keys: %v", said)
	}
}

func keys(prefix string, v reflect.Value) map[string]reflect.Value {
	found := map[string]reflect.Value{}
	for i := range v.NumField() {
		key := prefix + v.Type().Field(i).Tag.Get("toml")
		if v.Field(i).Kind() == reflect.Struct {
			maps.Copy(found, keys(key+".", v.Field(i)))
			continue
		}
		found[key] = v.Field(i)
	}
	return found
}

func TestTheEnvironmentHasTheLastWord(t *testing.T) {
	t.Parallel()
	path := write(t, "panel = \"file\"\nnames = [\"a\"]\n[log]\nlevel = \"debug\"\n")
	got, err := config.Load(path, []string{
		"SLIPSTREAM_PANEL_PANEL=env", "SLIPSTREAM_PANEL_NAMES=b, c", "SLIPSTREAM_PANEL_STORE_KIND=etcd", "SLIPSTREAM_PANEL_STORE_ENDPOINTS=http://h:2379",
		"SLIPSTREAM_PANEL_TLS_PROXY=true", "SLIPSTREAM_PANEL_OIDC_GROUPS=x=admin,y=viewer",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Panel, want.Names, want.Log.Level, want.TLS.Proxy = "env", []string{"b", "c"}, "debug", true
	want.Store.Kind, want.Store.Endpoints = config.StoreEtcd, []string{"http://h:2379"}
	want.OIDC.Groups = map[string]string{"x": "admin", "y": "viewer"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesAreTold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text, env string
		want      []string
	}{
		"a misspelt key":            {"\ndatta = \"/x\"\n", "", []string{`panel.toml:2: unknown key "datta"`}},
		"one in a table, and more":  {"[store]\nkin = 1\n[tls]\nmod = 2\n", "", []string{`panel.toml:2: unknown key "store.kin"`, `panel.toml:4: unknown key "tls.mod"`}},
		"a number as a text":        {"panel = 3\n", "", []string{"panel.toml:1: "}},
		"no TOML":                   {"data /x\n", "", []string{"panel.toml:1: "}},
		"a misspelt variable":       {"", "SLIPSTREAM_PANEL_DATTA=/x", []string{"SLIPSTREAM_PANEL_DATTA is no setting"}},
		"a variable of no boolean":  {"", "SLIPSTREAM_PANEL_TLS_PROXY=perhaps", []string{"neither true nor false"}},
		"a variable without a pair": {"", "SLIPSTREAM_PANEL_OIDC_GROUPS=admin", []string{"no name=value"}},
		"several":                   {"data = \"x\"\ndevices = \"y\"\npanel = \"a b\"\n", "", []string{`panel.toml: data = "x"`, `devices = "y"`, `panel = "a b"`}},
		"passwords in the clear":    {"listen = \":80\"\n", "", []string{"without TLS"}},
		"another TLS":               {"[tls]\nmode = \"ssl\"\n", "", []string{"tls.mode"}},
		"TLS without files":         {"[tls]\nmode = \"files\"\n", "", []string{"tls.cert", "tls.key"}},
		"files without TLS":         {"[tls]\ncert = \"/x\"\n", "", []string{"tls.cert"}},
		"ACME for nobody":           {"[tls]\nmode = \"auto\"\n", "", []string{"tls.hosts"}},
		"an authority unasked":      {"[tls]\nacme = \"https://x\"\nacme_ca = \"/x\"\n", "", []string{"tls.acme, tls.acme_ca and tls.mail"}},
		"an authority in the clear": {"[tls]\nmode = \"auto\"\nhosts = [\"a.b\"]\nacme = \"http://x\"\nacme_ca = \"x\"\n", "", []string{"tls.acme = ", "tls.acme_ca"}},
		"two who do TLS":            {"[tls]\nmode = \"own\"\nproxy = true\n", "", []string{"tls.proxy"}},
		"no cluster":                {"[store]\nkind = \"etcd\"\nprefix = \"x\"\ncert = \"/x\"\nusername = \"x\"\n", "", []string{"store.endpoints", "store.prefix", "store.key", "store.password_file"}},
		"a cluster for a file":      {"[store]\nendpoints = [\"http://x\"]\n", "", []string{"store.endpoints"}},
		"a member without a scheme": {"[store]\nkind = \"etcd\"\nendpoints = [\"x:2379\"]\n", "", []string{`"x:2379"`}},
		"another store":             {"[store]\nkind = \"sql\"\n", "", []string{"store.kind"}},
		"half a provider":           {"[oidc]\nclient_id = \"x\"\n", "", []string{"oidc.issuer"}},
		"a provider for nobody":     {"[oidc]\nissuer = \"https://x\"\n[oidc.groups]\ng = \"king\"\n", "", []string{"oidc.client_id", "oidc.secret_file", "url is not set", "oidc.groups.g"}},
		"half of a relay":           {"[live]\nlegs = \"x\"\nbin = \"y\"\nadvertise = [\"here\"]\n", "", []string{"live.legs = ", "live.bin", "live.advertise", "need live.media"}},
		"TURN alone":                {"[live]\nturn = \"here\"\n", "", []string{"live.turn = ", "need live.media"}},
		"TURN nowhere":              {"[live]\nmedia = \":1\"\nturn_at = \":443\"\n", "", []string{"live.turn_at"}},
		"another level":             {"[log]\nlevel = \"loud\"\nformat = \"xml\"\n", "", []string{"log.level", "log.format"}},
	} {
		var env []string
		if test.env != "" {
			env = []string{test.env}
		}
		_, err := config.Load(write(t, test.text), env)
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
	}
	if _, err := config.Load(write(t, strings.Repeat("# x\n", config.MaxFile/4+1)), nil); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("an endless file: %v", err)
	}
	if _, err := config.Load("/nowhere/panel.toml", nil); err == nil {
		t.Error("a file that is not there")
	}
}
