package scenarios

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// What a scenario says is known before a machine is booted for it, and documented.
func TestScenariosSayWhatIsKnown(t *testing.T) {
	t.Parallel()
	w := &world{}
	commands := w.params("").Cmds
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for name := range commands {
		if !strings.Contains(string(doc), "\n//\t"+name) {
			t.Errorf("command %s is not documented", name)
		}
	}
	if len(Names()) == 0 {
		t.Fatal("no scenario")
	}
	for _, scenario := range Names() {
		text, err := own.ReadFile(scenario + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "# ") {
			t.Errorf("%s does not say what it is about", scenario)
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(strings.TrimPrefix(line, "! "))
			if len(words) > 0 && slices.Contains([]string{"[watchdog]", "[!watchdog]"}, words[0]) {
				words = words[1:]
			}
			if len(words) == 0 || words[0] == "#" {
				continue
			}
			if commands[words[0]] == nil && !slices.Contains([]string{"stdout", "stderr", "stop"}, words[0]) {
				t.Errorf("%s: no command %q", scenario, words[0])
			}
		}
	}
}

func TestUnknownScenario(t *testing.T) {
	t.Parallel()
	if _, err := (Options{Scenarios: []string{"nonsense"}}).files(t.TempDir()); err == nil || !strings.Contains(err.Error(), Names()[0]) {
		t.Errorf("an unknown scenario: %v", err)
	}
	own := filepath.Join(t.TempDir(), "mine.txt")
	if err := os.WriteFile(own, []byte("# Mine.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	files, err := (Options{Scenarios: []string{own, Names()[0]}}).files(t.TempDir())
	if err != nil || len(files) != 2 || files[0] != own {
		t.Errorf("files: %v %v", files, err)
	}
}

// A part's failure and a skip are the run's, and end nothing else.
func TestTeller(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]func(testscript.T){
		"fatal": func(t testscript.T) { t.Fatal("no") },
		"skip":  func(t testscript.T) { t.Skip("not today") },
	} {
		told := &teller{}
		told.Run("", func(testscript.T) {})
		if told.failed {
			t.Errorf("%s: failed before anything has", name)
		}
		told.Run("", part)
		told.Run("", func(t testscript.T) { t.Log("after") })
		if !told.failed || !strings.Contains(told.text.String(), "after") {
			t.Errorf("%s: failed=%v %q", name, told.failed, told.text.String())
		}
	}
}

// Words stand in any order, and Go's maps have another one each time.
func TestACameraIsWhatAllItsWordsSay(t *testing.T) {
	t.Parallel()
	for range 100 {
		r, err := described("3.0", 1, map[string]string{"greenlight": "never", "fault": "segv", "after": "8s", "deadline": "5s"})
		if err != nil || r.Fault.Kind != "segv" || r.Fault.AfterMS != 8000 || r.Greenlight.By != "never" || r.App.DeadlineMS != 5000 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if _, err := described("3.0", 1, map[string]string{"after": "soon"}); err == nil {
		t.Error("after=soon was taken")
	}
}

func TestNamedWords(t *testing.T) {
	t.Parallel()
	words, values, err := named([]string{"2.0", "fault=segv"}, 1, "fault", "after")
	if err != nil || len(words) != 1 || words[0] != "2.0" || values["fault"] != "segv" {
		t.Errorf("%v %v %v", words, values, err)
	}
	for _, wrong := range [][]string{{}, {"1", "2"}, {"1", "colour=red"}} {
		if _, _, err := named(wrong, 1, "fault"); err == nil {
			t.Errorf("%v was taken", wrong)
		}
	}
}
