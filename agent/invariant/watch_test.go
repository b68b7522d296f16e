package invariant_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"slipstream/agent/invariant"
	"slipstream/verify"
)

// fast is how often checks of these tests are sampled, in milliseconds.
const fast = 10

// patience bounds every wait; it says nothing about speed.
const patience = time.Minute

type world struct {
	*testing.T
	watch *invariant.Watch
	news  chan struct{}
}

func start(t *testing.T, s invariant.Subject, checks ...verify.Check) *world {
	t.Helper()
	for i := range checks {
		if checks[i].EveryMS == 0 {
			checks[i].EveryMS = fast
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &world{T: t, news: make(chan struct{}, 1000)}
	w.watch = invariant.Start(ctx, checks, s, func() { w.news <- struct{}{} })
	t.Cleanup(func() {
		cancel()
		w.watch.Wait()
	})
	return w
}

// until waits for a change after which the first check is as asked.
func (w *world) until(what string, good func(invariant.Verdict) bool) invariant.Verdict {
	w.Helper()
	limit := time.After(patience)
	for {
		if v := w.watch.Verdicts()[0]; good(v) {
			return v
		}
		select {
		case <-w.news:
		case <-limit:
			w.Fatalf("never %s: %+v", what, w.watch.Verdicts())
		}
	}
}

func holds(v invariant.Verdict) bool  { return v.Judged && v.Holds }
func broken(v invariant.Verdict) bool { return v.Broken() }

func TestEachKindHoldsAndBreaks(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ill":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/elsewhere":
			http.Redirect(w, r, "/well", http.StatusFound)
		}
	}))
	t.Cleanup(server.Close)
	data := t.TempDir()
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"fresh", "old"} {
		if err := os.WriteFile(filepath.Join(data, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chtimes(filepath.Join(data, "old"), old, old), os.Mkdir(filepath.Join(data, "dir"), 0o755), os.Symlink("/etc/passwd", filepath.Join(data, "out"))); err != nil {
		t.Fatal(err)
	}
	self := invariant.Subject{
		PIDs:     func() ([]int, error) { return []int{os.Getpid()}, nil },
		Restarts: func() int { return 2 },
		Data:     data,
		Link:     func(context.Context) error { return nil },
		Exec: func(_ context.Context, argv []string) error {
			if argv[0] == "bad" {
				return errors.New("it ended with 1")
			}
			return nil
		},
	}
	measure := func(name string, most float64) verify.Check {
		return verify.Check{Kind: verify.CheckProcess, Measure: name, Max: &most}
	}
	for name, row := range map[string]struct {
		check  verify.Check
		detail string // of the failure; "": it holds
	}{
		"memory":              {measure(verify.MeasureMemory, 100_000), ""},
		"memory beyond":       {measure(verify.MeasureMemory, 1), "memory is "},
		"files":               {measure(verify.MeasureFiles, 100_000), ""},
		"files beyond":        {measure(verify.MeasureFiles, 1), "files is "},
		"tasks":               {measure(verify.MeasureTasks, 100_000), ""},
		"tasks beyond":        {measure(verify.MeasureTasks, 1), "tasks is "},
		"cpu":                 {measure(verify.MeasureCPU, 100_000), ""},
		"restarts":            {measure(verify.MeasureBirths, 2), ""},
		"restarts beyond":     {measure(verify.MeasureBirths, 1), "restarts is 2, at most 1"},
		"growth":              {measure(verify.MeasureGrowth, 1_000_000), ""},
		"program":             {verify.Check{Kind: verify.CheckExec, Exec: []string{"good"}}, ""},
		"program that fails":  {verify.Check{Kind: verify.CheckExec, Exec: []string{"bad"}}, "it ended with 1"},
		"server":              {verify.Check{Kind: verify.CheckHTTP, URL: server.URL + "/well"}, ""},
		"server that is ill":  {verify.Check{Kind: verify.CheckHTTP, URL: server.URL + "/ill"}, "answers 503"},
		"server elsewhere":    {verify.Check{Kind: verify.CheckHTTP, URL: server.URL + "/elsewhere"}, "answers 302"},
		"server that is gone": {verify.Check{Kind: verify.CheckHTTP, URL: "http://127.0.0.1:1/"}, "refused"},
		"file":                {verify.Check{Kind: verify.CheckFile, Path: "fresh", MaxAgeMS: 600_000}, ""},
		"file of any age":     {verify.Check{Kind: verify.CheckFile, Path: "old"}, ""},
		"file too old":        {verify.Check{Kind: verify.CheckFile, Path: "old", MaxAgeMS: 1000}, "was written 1h"},
		"file missing":        {verify.Check{Kind: verify.CheckFile, Path: "none"}, "none is not there"},
		"directory":           {verify.Check{Kind: verify.CheckFile, Path: "dir"}, "no regular file"},
		"file outside":        {verify.Check{Kind: verify.CheckFile, Path: "out"}, "escapes"},
		"link":                {verify.Check{Kind: verify.CheckLink}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, self, row.check)
			if row.detail == "" {
				w.until("holds", holds)
				return
			}
			if v := w.until("breaks", broken); !strings.Contains(v.Detail, row.detail) {
				t.Errorf("detail: %q", v.Detail)
			}
		})
	}
	t.Run("a device that cannot tell", func(t *testing.T) {
		for _, c := range []verify.Check{measure(verify.MeasureMemory, 1), measure(verify.MeasureBirths, 1), {Kind: verify.CheckExec, Exec: []string{"x"}}, {Kind: verify.CheckLink}} {
			start(t, invariant.Subject{}, c).until("breaks", broken)
		}
	})
}

// TestHysteresis lets a check fail as often as it may, and once more.
func TestHysteresis(t *testing.T) {
	var asked atomic.Int64
	answers := []bool{true, false, false, true, false, false, false, true}
	gate := make(chan struct{}, 1)
	subject := invariant.Subject{Exec: func(ctx context.Context, _ []string) error {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		if n := asked.Add(1); answers[n-1] {
			return nil
		}
		return errors.New("no")
	}}
	w := start(t, subject, verify.Check{Kind: verify.CheckExec, Exec: []string{"x"}, TimeoutMS: patience.Milliseconds()})
	if v := w.watch.Verdicts()[0]; v.Judged {
		t.Fatalf("judged before anything was known: %+v", v)
	}
	let := func(n int) {
		for range n {
			gate <- struct{}{}
		}
	}
	let(1)
	first := w.until("holds", holds)
	let(3) // two failures and a success
	let(3) // three failures
	then := w.until("breaks", broken)
	if now := w.watch.Verdicts()[0]; !then.Since.After(first.Since) || !now.Since.Equal(then.Since) {
		t.Errorf("it holds since %v, is broken since %v, and a failure later since %v", first.Since, then.Since, now.Since)
	}
	let(1)
	w.until("holds again", holds)
	if len(w.news) > 0 {
		t.Errorf("%d changes more than judged, broken, holds", len(w.news))
	}
}

// TestAHangingCheckHidesNoOther lets one check take for ever.
func TestAHangingCheckHidesNoOther(t *testing.T) {
	hang := func(ctx context.Context, _ []string) error {
		<-ctx.Done()
		return ctx.Err()
	}
	one := 1.0
	w := start(t, invariant.Subject{Exec: hang, Restarts: func() int { return 5 }},
		verify.Check{Kind: verify.CheckProcess, Measure: verify.MeasureBirths, Max: &one},
		verify.Check{Kind: verify.CheckExec, Exec: []string{"x"}, TimeoutMS: patience.Milliseconds()})
	w.until("breaks", broken)
	if v := w.watch.Verdicts()[1]; v.Judged {
		t.Errorf("the other one: %+v", v)
	}
}

func TestTimeoutIsAFailure(t *testing.T) {
	hang := func(ctx context.Context, _ []string) error {
		<-ctx.Done()
		return errors.New("killed")
	}
	w := start(t, invariant.Subject{Exec: hang}, verify.Check{Kind: verify.CheckExec, Exec: []string{"x"}, TimeoutMS: fast, Failures: 1, Severity: verify.SeverityWanted})
	if v := w.until("breaks", broken); v.Detail != "no answer in time" || v.Required {
		t.Errorf("%+v", v)
	}
}

// TestSamplesSpanTheTrial: however many were taken, few are kept, from the first on.
func TestSamplesSpanTheTrial(t *testing.T) {
	var asked atomic.Int64
	many := make(chan struct{})
	one := 1e9
	w := start(t, invariant.Subject{Restarts: func() int {
		n := asked.Add(1)
		if n == 200 {
			close(many)
		}
		return int(n)
	}}, verify.Check{Kind: verify.CheckProcess, Measure: verify.MeasureBirths, Max: &one, EveryMS: 1})
	select {
	case <-many:
	case <-time.After(patience):
		t.Fatal("no samples")
	}
	v := w.watch.Verdicts()[0]
	if n := len(v.Samples); n < 20 || n > 60 || v.Samples[0].Value != 1 || v.Samples[n-1].Value < 150 {
		t.Errorf("%d samples, %+v", n, v.Samples)
	}
}
