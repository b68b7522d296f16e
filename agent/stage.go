package agent

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"sync/atomic"
	"syscall"

	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/slots/fetch"
	"slipstream/slots/verity"
	"slipstream/verify"
)

const maxProvenance = 256 // bytes

// incoming is a package that was verified and waits to be written, or is being
// written.
type incoming struct {
	pkg      *verify.Package
	file     io.ReaderAt // the package's
	version  Version
	from     string // who or what it came from
	progress atomic.Pointer[slots.Progress]
	look     bool               // although it is there already
	stop     context.CancelFunc // ends the reading of its file, if that is elsewhere
}

// opener is a package's file, here or elsewhere.
type opener interface {
	io.ReaderAt
	io.Closer
}

// openPackage opens what a request names.
func (a *Agent) openPackage(ctx context.Context, r control.StageRequest) (opener, int64, error) {
	switch {
	case (r.Path == "") == (r.URL == ""):
		return nil, 0, errors.New("a package is named either by a path or by a URL")
	case r.URL != "":
		f, err := openRemote(ctx, r.URL, a.cfg.Fetch, a.identity, a.log)
		if err != nil {
			return nil, 0, err
		}
		return f, f.size, nil
	}
	f, err := os.OpenFile(r.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would keep us waiting for its writer
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", r.Path)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// verifyPackage judges everything that can be judged without the payload.
func (a *Agent) verifyPackage(f io.ReaderAt, size int64, r control.StageRequest, factory bool) (*incoming, error) {
	vendor, err := a.trust()
	if err != nil {
		return nil, err
	}
	device, err := a.device(r.URL != "")
	if err != nil {
		return nil, err
	}
	if device.Fleet != nil {
		device.Fleet.Orders = r.Order
	}
	if factory {
		device = cameWith(device)
	}
	pkg, err := verify.Open(f, size, vendor, device)
	if err != nil {
		return nil, err
	}
	_, app := pkg.Image(verify.ClassLive)
	_, runtime := pkg.Image(verify.ClassRuntime)
	if _, system := pkg.Image(verify.ClassSystem); !app && !system && !runtime {
		return nil, noApp(pkg)
	}
	return &incoming{pkg: pkg, file: f, version: versionOf(pkg.Manifest, pkg.Digest, "")}, nil
}

func noApp(pkg *verify.Package) error {
	return &verify.Error{Code: CodeNoImage, Message: fmt.Sprintf("version %s has no app for a live slot", pkg.Manifest.Version)}
}

// Stage implements [control.Backend].
func (a *Agent) Stage(ctx context.Context, r control.StageRequest) control.Result {
	return a.stage(ctx, r, false)
}

func (a *Agent) stage(ctx context.Context, r control.StageRequest, factory bool) control.Result {
	if err := a.ready(ctx); err != nil {
		return result(control.ExitError, "", sentence(err))
	}
	// Until it is being written whoever asked for it may simply leave; afterwards that
	// is a request of its own, so that nothing of it looks like a package that fails.
	reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	unwritten := context.AfterFunc(ctx, cancel)
	f, size, err := a.openPackage(reading, r)
	if err != nil {
		return result(control.ExitError, CodeUnreadable, sentence(err))
	}
	defer f.Close()
	in, err := a.verifyPackage(f, size, r, factory)
	if code := verify.Code(err); code != "" {
		to := cmp.Or(claimed(f, size), path.Base(cmp.Or(r.Path, r.URL)))
		refused := PackageRefused{To: to, Code: code, Message: bare(err)}
		return a.request(ctx, func(req uint64) any { refused.Req = req; return refused })
	}
	if err != nil {
		return result(control.ExitError, CodeUnreadable, sentence(err))
	}
	in.from, in.version.Factory, in.stop = provenance(r), factory, cancel
	unwritten()
	var staging uint64
	answer := a.request(ctx, func(req uint64) any {
		staging = req
		a.expect(req, in)
		return StageAsked{Req: req, Version: in.version, Force: r.Force}
	})
	if ctx.Err() != nil {
		a.left(staging) // before its file is closed
	}
	return answer
}

// provenance is what a slot's state says of where its version came from, without
// what an address may hold in secrets.
func provenance(r control.StageRequest) string {
	from := "file " + path.Base(r.Path)
	if u, err := url.Parse(r.URL); err == nil && r.URL != "" {
		from = u.Host
	}
	return from[:min(len(from), maxProvenance)]
}

// claimed is the version that a refused package says it is: anybody's word, for
// people to recognise it by.
func claimed(f io.ReaderAt, size int64) string {
	pkg, err := verify.Unverified(f, size)
	if err != nil {
		return ""
	}
	return pkg.Manifest.Version
}

// request asks the loop and returns its answer.
func (a *Agent) request(ctx context.Context, event func(req uint64) any) control.Result {
	answer, err := a.ask(ctx, event)
	if err != nil {
		return unanswered("", err)
	}
	return answer.Result
}

// stageSlot writes a verified package into a slot, in the background.
func (a *Agent) stageSlot(ctx context.Context, e StageSlot) {
	in, inUse := a.expected(e.Req), a.state.Permanent.Slot
	ctx, cancel := context.WithCancel(ctx)
	a.staging = staging{e.Attempt, func() {
		cancel()
		if in != nil {
			in.stop()
		}
	}}
	if in != nil {
		in.look = e.Look
	}
	disabled, distrusted := a.disableBoot(ctx, e.System), a.doubtQueue
	a.wg.Go(func() {
		defer cancel()
		if distrusted != nil {
			<-distrusted
		}
		done := StageDone{Attempt: e.Attempt}
		cost, err := slots.Report{}, disabled()
		if err == nil && e.System != "" && a.systems == nil {
			err = errNoSystems
		}
		if err == nil && e.System != "" {
			cost, err = a.stageTrusted(ctx, a.systemTarget(e.System), in)
		}
		if err == nil && e.Runtime != "" && a.runtimes == nil {
			err = errNoRuntimes
		}
		if err == nil && e.Runtime != "" {
			cost, err = a.stageTrusted(ctx, a.runtimeTarget(e.Runtime), in)
		}
		if err == nil && e.Slot != "" {
			var app slots.Report
			app, err = a.stageTrusted(ctx, target{a.set, e.Slot, inUse, verify.ClassLive}, in)
			cost = added(cost, app)
		}
		if err == nil {
			done.Cost = &control.Staged{Origins: control.Origins(cost.Origins), Written: cost.Written}
		} else {
			done.Code, done.Error = stageCode(err), stageSentence(err)
			done.Still = e.Look && in != nil && a.holdsStill(e, in.pkg.Digest)
			if ctx.Err() != nil || in == nil {
				done.Code = CodeCancelled
			}
			a.log.Error("slot not written", "slot", e.Slot, "reason", err)
		}
		a.forget(e.Req)
		a.post(done)
	})
}

// holdsStill says whether a staging that ended early has left what was staged before.
func (a *Agent) holdsStill(e StageSlot, digest string) bool {
	for _, t := range []target{{set: a.set, slot: e.Slot}, {set: a.systems, slot: e.System}, {set: a.runtimes, slot: e.Runtime}} {
		if t.slot == "" {
			continue
		}
		if st, err := t.set.Status(t.slot); err != nil || st.State != slots.StateStaged || st.Digest != digest {
			return false
		}
	}
	return true
}

// target is where an image of a package goes.
type target struct {
	set         *slots.Set
	slot, inUse string
	class       string
}

// name is the slot's among those of all classes.
func (t target) name() string {
	switch t.class {
	case verify.ClassSystem:
		return systemName(t.slot)
	case verify.ClassRuntime:
		return runtimeName(t.slot)
	}
	return t.slot
}

// added is the cost of two images.
func added(x, y slots.Report) slots.Report {
	x.Kept, x.Copied, x.Fetched, x.Written = x.Kept+y.Kept, x.Copied+y.Copied, x.Fetched+y.Fetched, x.Written+y.Written
	return x
}

func (a *Agent) write(ctx context.Context, to target, in *incoming) (slots.Report, error) {
	if in == nil {
		return slots.Report{}, errors.New("the package was closed before it was written")
	}
	payload, _ := in.pkg.Image(to.class)
	c := slots.Content{
		Digest: in.pkg.Digest, Version: in.pkg.Manifest.Version, Kind: payload.Image.Kind, Size: payload.Image.Size,
		Verity: (*verity.Params)(payload.Image.Verity),
		Image:  imageIn(in.file, payload), Manifest: in.pkg.Stored(),
	}
	if n, err := hex.Decode(c.SHA256[:], []byte(payload.Image.SHA256)); err != nil || n != len(c.SHA256) {
		return slots.Report{}, fmt.Errorf("image hash %q", payload.Image.SHA256)
	}
	for _, chunk := range payload.Chunks {
		c.Chunks = append(c.Chunks, slots.Chunk{Length: chunk.Length, SHA256: chunk.SHA256})
	}
	return to.set.Stage(ctx, to.slot, c, slots.StageOptions{By: in.from, InUse: to.inUse, Look: in.look, Progress: func(p slots.Progress) {
		in.progress.Store(&p)
		a.changed()
	}})
}

// stageSentence says what a technician can do; the cause itself is in the log.
func stageSentence(err error) string {
	if _, ok := errors.AsType[*fetch.Error](err); ok {
		return sentence(err)
	}
	switch {
	case errors.Is(err, slots.ErrContent):
		return "the package's content is not the signed one: it was damaged on the way; copy or download it again"
	case errors.Is(err, slots.ErrVerity):
		return "the package's image does not fit the hash tree that was signed for it: it was built wrongly; ask its maker for another"
	case errors.Is(err, slots.ErrSource):
		return "the package could not be read to its end: plug the medium in or restore the connection and stage it again; what was written already is kept"
	case errors.Is(err, slots.ErrTooLarge):
		return "the package's image is larger than the slot's partition; ask its maker for one for this device"
	case errors.Is(err, slots.ErrKind):
		return "the slots of this device cannot hold an image of this kind; ask its maker for one for this device"
	case errors.Is(err, syscall.EROFS):
		return "the disk of the state directory can only be read: it may be failing; slipstream doctor says more"
	case errors.Is(err, slots.ErrBusy):
		return "the spare slot is in use: a process works in the version there, or has its files open; end it and stage again"
	case errors.Is(err, syscall.ENOSPC):
		return "there is no room for the new version on the disk of the state directory; free some and stage it again"
	case errors.Is(err, slots.ErrDamaged), errors.Is(err, syscall.EIO):
		return "the disk of the slots failed, or did not keep what was written to it; the version that runs is untouched: stage it again, and replace the disk if this comes back"
	}
	return sentence(err)
}

// stageCode tells a package that is not what was signed from a disk that fails.
func stageCode(err error) string {
	switch {
	case errors.Is(err, slots.ErrContent):
		return verify.CodeCorrupt
	case errors.Is(err, slots.ErrVerity):
		return verify.CodeVerity
	}
	if code := verify.Code(err); code != "" {
		return code
	}
	return CodeStage
}
