package testrig_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/format"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module       = "slipstream/"
	maxFileLines = 500
	maxReadme    = 200
)

// policy says which packages of ours may import which others of ours. It is a
// statement of policy, not a picture of the code: an import that is not allowed
// here is wrong, or a decision that is made here first.
//
// "a, b < c" means that a and b may import c, and nothing else of ours. "/..."
// ends a pattern that also means all packages below. The first line that names
// a package holds; every package must be named.
const policy = `
	# Leaves: they can be read, used and trusted alone.
	verify, slots/boot, slots/chunk, slots/fetch, slots/powercut, slots/verity, agent/wire, agent/control, agent/inotify, agent/config, agent/manual, agent/words < NONE
	agent/supervise < agent/inotify
	stream/control, stream/publish, stream/seqpacket, stream/subscribe, stream/viewers, stream/whep < NONE
	agent/appcontrol < stream/control
	stream/handover < stream/seqpacket
	stream/orders < stream/handover, stream/seqpacket
	adminpanel/store, adminpanel/ui, adminpanel/canary, adminpanel/small < NONE
	adminpanel/config < adminpanel/small
	adminpanel/view < agent/control
	adminpanel/client < adminpanel/small, adminpanel/view
	adminpanel/rollout < adminpanel/canary, adminpanel/view
	adminpanel/audit < adminpanel/store, adminpanel/view
	adminpanel/fleet < adminpanel/audit, adminpanel/canary, adminpanel/store, adminpanel/view, agent/control
	adminpanel/settings < adminpanel/audit, adminpanel/fleet, adminpanel/store, adminpanel/view
	adminpanel/release < adminpanel/audit, adminpanel/store, adminpanel/view, verify

	# Slots are written with what their kinds need; how they are tested is theirs.
	slots < slots/chunk, slots/verity
	slots/slotstest < slots, slots/boot, slots/powercut

	# What a device keeps of its trust.
	verify/trust < verify

	# What makes and signs packages stays off the device.
	verify/... < verify, verify/pack, verify/trust, slots/chunk, slots/verity

	# The device: nothing of the panel, and of the streams the contracts only.
	agent/link < agent/control, agent/wire
	agent/... < agent/..., slots, slots/boot, slots/fetch, slots/verity, verify, verify/trust, stream/control, stream/handover, stream/orders, stream/publish, stream/seqpacket, stream/viewers, stream/whep

	stream/core < stream/handover, stream/orders, stream/publish, stream/subscribe
	stream/gateway < stream/handover, stream/orders, stream/publish, stream/subscribe, stream/viewers
	stream/ingest < stream/orders, stream/publish, stream/subscribe
	stream/cmd/slipstream-forward < stream/core
	stream/cmd/slipstream-gateway < stream/gateway
	stream/cmd/slipstream-ingest < stream/ingest

	# The panel knows devices by what travels on the link.
	adminpanel/live/turn < NONE
	adminpanel/live < adminpanel/live/turn, agent/wire, stream/orders, stream/publish, stream/whep
	adminpanel/simulate < agent/control, agent/link, agent/wire, slots/fetch, verify
	adminpanel/... < adminpanel/..., agent/wire, agent/control, agent/manual, agent/words, verify

	# The sample application is an application: it knows what applications know.
	testrig/camera/clips < NONE
	testrig/camera/... < testrig/camera, testrig/camera/clips, stream/control, stream/publish
	testrig/... < testrig/..., adminpanel/..., agent/..., slots/..., stream/..., verify/...
`

// bans are about all that a package depends on, however far away.
const bans = `
	stream/core, stream/cmd/slipstream-forward !< github.com/pion/webrtc/..., net/http
	agent/... !< github.com/pion/..., slipstream/adminpanel/..., slipstream/verify/pack
	slots, slots/boot, verify/..., agent/..., stream/..., adminpanel/... !< slipstream/slots/powercut
	agent/... !< slipstream/stream/core, slipstream/stream/gateway, slipstream/stream/ingest, html/template, net/http/pprof
	stream/core, stream/ingest, stream/cmd/slipstream-forward, stream/cmd/slipstream-ingest, agent/... !< github.com/prometheus/...
	slots !< net, os/exec
	verify/..., slots, agent/..., stream/..., adminpanel/... !< github.com/sigstore/sigstore-go/...
	verify, verify/trust, slots, agent/..., stream/..., adminpanel/... !< github.com/sigstore/sigstore/pkg/signature/kms/...
	adminpanel/... !< slipstream/slots, slipstream/agent
	verify/..., slots, agent/..., stream/..., adminpanel/... !< github.com/zitadel/..., github.com/go-chi/...
`

// bansDirect are about what a package imports itself: these return what others
// log, and run nothing.
const bansDirect = `
	verify, verify/trust, slots, slots/boot !< log, log/slog, os/exec
`

// pkg is what go list tells about a package.
type pkg struct {
	ImportPath, Doc                          string
	Imports, TestImports, XTestImports, Deps []string
}

// packages lists ours, as they are with the clouds' libraries built in: those must
// not reach a device by any tag.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-tags=kms", "-json=ImportPath,Doc,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

type rule struct{ who, what []string }

func rules(text, sign string) (all []rule) {
	for line := range strings.Lines(text) {
		if who, what, ok := strings.Cut(line, sign); ok && !strings.Contains(who, "#") {
			all = append(all, rule{list(who), list(what)})
		}
	}
	return all
}

func list(text string) (items []string) {
	for item := range strings.SplitSeq(text, ",") {
		items = append(items, strings.TrimSpace(item))
	}
	return items
}

// among says whether a pattern names the package.
func among(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		tree, below := strings.CutSuffix(pattern, "/...")
		return name == tree || below && strings.HasPrefix(name, tree+"/")
	})
}

func TestImports(t *testing.T) {
	allowed := rules(policy, " < ")
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		i := slices.IndexFunc(allowed, func(r rule) bool { return among(r.who, name) })
		if i < 0 {
			t.Errorf("the policy does not name %s", name)
			continue
		}
		for _, path := range p.Imports {
			if other, ours := strings.CutPrefix(path, module); ours && !among(allowed[i].what, other) {
				t.Errorf("%s imports %s", name, other)
			}
		}
		for _, path := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if among([]string{module + "testrig/..."}, path) && !among([]string{"testrig/..."}, name) {
				t.Errorf("%s imports %s, which nothing may", name, path)
			}
		}
	}
}

func TestBannedDependencies(t *testing.T) {
	for _, p := range packages(t) {
		expectNone(t, p.ImportPath, p.Deps, bans)
		expectNone(t, p.ImportPath, p.Imports, bansDirect)
	}
}

func expectNone(t *testing.T, name string, deps []string, bans string) {
	t.Helper()
	for _, r := range rules(bans, " !< ") {
		if !among(r.who, strings.TrimPrefix(name, module)) {
			continue
		}
		for _, dep := range deps {
			if among(r.what, dep) {
				t.Errorf("%s depends on %s", name, dep)
			}
		}
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

func TestFilesAreFormattedAndShort(t *testing.T) {
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "build" || d.Name() == ".git" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if filepath.Ext(name) == ".go" {
			checkFile(t, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkFile(t *testing.T, name string) {
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if good, err := format.Source(raw); err != nil || !bytes.Equal(good, raw) {
		t.Errorf("%s is not formatted by gofmt (%v)", name, err)
	}
	if lines := bytes.Count(raw, []byte("\n")); lines > maxFileLines && !strings.HasSuffix(name, "_test.go") {
		t.Errorf("%s has %d lines, the limit is %d", name, lines, maxFileLines)
	}
}

func TestReadmeIsShort(t *testing.T) {
	raw, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(raw, []byte("\n")); lines > maxReadme {
		t.Errorf("README.md has %d lines, the limit is %d", lines, maxReadme)
	}
}
