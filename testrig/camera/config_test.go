package camera_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/testrig/camera"
)

const goodConfig = `{"version":"1.0","streams":[{"name":"main","clip":"v1.h264","phase":0}],
	"greenlight":{"by":"app","afterMs":100},"fault":{"kind":"none"}}`

func writeConfig(t *testing.T, text string) string {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, camera.ConfigName), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestConfigIsStrict(t *testing.T) {
	if _, err := camera.LoadConfig(writeConfig(t, goodConfig)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"unknown key":          {`"version"`, `"colour":1,"version"`},
		"trailing bytes":       {`"none"}}`, `"none"}} {}`},
		"no version":           {`"1.0"`, `""`},
		"clip outside of slot": {`v1.h264`, `../v1.h264`},
		"unknown sound":        {`"clip":"v1.h264","phase":0`, `"sound":"opus"`},
		"clip and sound":       {`"phase":0`, `"sound":"pcmu"`},
		"unknown fault":        {`none`, `sulk`},
		"unknown greenlight":   {`"app"`, `"panel"`},
		"negative time":        {`100`, `-100`},
		"too much memory":      {`"none"`, `"grow","megabytes":100000`},
		"too many processes":   {`"none"`, `"fork","processes":2048`},
		"processes that odd":   {`"none"`, `"fork","processes":6`},
	} {
		text := strings.Replace(goodConfig, change[0], change[1], 1)
		if text == goodConfig {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := camera.LoadConfig(writeConfig(t, text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
