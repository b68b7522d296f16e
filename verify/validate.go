package verify

import (
	"encoding/hex"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Values of the manifest's choices.
const (
	ClassLive     = "live"
	ClassSystem   = "system"
	ClassRuntime  = "runtime"
	KindTree      = "tree"
	KindErofs     = "erofs"
	KindSquashfs  = "squashfs"
	KindDisk      = "disk"
	OverlapFull   = "full"
	OverlapFrozen = "frozen"
	OverlapNone   = "none"

	GreenlightApp      = "app"
	GreenlightOperator = "operator"
	GreenlightAuto     = "auto"
)

var (
	// Names are ASCII: no two of them look alike and none hides a character.
	nameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	// The grammar of semver.org, version 2.0.0.
	semverRE = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
		`(-(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?` +
		`(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)
)

// The years in which a manifest can have been made.
const minYear, maxYear = 2020, 2200

// Validate checks every value of the manifest. [Open], [Inspect], [Unverified]
// and [Recheck] have done it; a builder does it before signing.
func (m *Manifest) Validate() error {
	if m.Format != Format {
		return bad("format is %d, not %d", m.Format, Format)
	}
	if !isName(m.Product) {
		return bad("product %s is not a name", quote(m.Product))
	}
	if err := checkHardware(m.Hardware); err != nil {
		return err
	}
	if len(m.Version) > MaxName || !semverRE.MatchString(m.Version) {
		return bad("version %s is not a semantic version such as 2.0.1", quote(m.Version))
	}
	if err := m.checkCounters(); err != nil {
		return err
	}
	if err := m.checkTimes(); err != nil {
		return err
	}
	if err := checkImages(m.Images); err != nil {
		return err
	}
	if len(m.Notes) > MaxNotes || strings.ContainsFunc(m.Notes, unprintable) {
		return bad("notes are longer than %d bytes or hold characters that cannot be shown", MaxNotes)
	}
	if err := m.Requires.validate(); err != nil {
		return err
	}
	return m.checkApp()
}

// checkApp: an app is the contract of a live image, and there is not the one
// without the other.
func (m *Manifest) checkApp() error {
	live := slices.ContainsFunc(m.Images, func(i Image) bool { return i.Class == ClassLive })
	switch {
	case live && m.App == nil:
		return bad("app is missing")
	case !live && m.App != nil:
		return bad("app is there, but no image of class live")
	case m.App == nil:
		return m.Trial.validate()
	case m.Trial != nil:
		return bad("trial is there beside an app, which has its own")
	}
	return m.App.validate()
}

func bad(format string, args ...any) error {
	return refuse(CodeManifest, "the package's manifest is not valid: "+format, args...)
}

func isName(s string) bool { return len(s) <= MaxName && nameRE.MatchString(s) }

// unprintable also catches terminal escapes and characters that turn the
// direction of text.
func unprintable(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

func checkHardware(names []string) error {
	if len(names) == 0 || len(names) > MaxHardware {
		return bad("hardware lists %d names, allowed are 1 to %d", len(names), MaxHardware)
	}
	for i, name := range names {
		if !isName(name) {
			return bad("hardware %s is not a name", quote(name))
		}
		if slices.Contains(names[:i], name) {
			return bad("hardware lists %s twice", quote(name))
		}
	}
	return nil
}

func (m *Manifest) checkCounters() error {
	switch {
	case m.ReleaseCounter < 1:
		return bad("releaseCounter is %d, it must be at least 1", m.ReleaseCounter)
	case m.SecurityEpoch < 0:
		return bad("securityEpoch is negative")
	case m.MinFromCounter < 0 || m.MinFromCounter > m.ReleaseCounter:
		return bad("minFromCounter is %d, it must be between 0 and releaseCounter", m.MinFromCounter)
	}
	return nil
}

func (m *Manifest) checkTimes() error {
	sane := func(t time.Time) bool { return t.Year() >= minYear && t.Year() <= maxYear }
	if !sane(m.IssuedAt) {
		return bad("issuedAt is missing or not between the years %d and %d", minYear, maxYear)
	}
	if !m.Expires.IsZero() && (!sane(m.Expires) || !m.Expires.After(m.IssuedAt)) {
		return bad("expires is not after issuedAt, or after the year %d", maxYear)
	}
	return nil
}

func checkImages(images []Image) error {
	if len(images) == 0 || len(images) > MaxImages {
		return bad("it lists %d images, allowed are 1 to %d", len(images), MaxImages)
	}
	taken := []string{HeadName}
	for i, image := range images {
		if err := checkImage(image); err != nil {
			return err
		}
		for _, member := range []string{image.Name, image.Name + ChunksSuffix} {
			if slices.Contains(taken, member) {
				return bad("two files are named %s", quote(member))
			}
			taken = append(taken, member)
		}
		if slices.ContainsFunc(images[:i], func(other Image) bool { return other.Class == image.Class }) {
			return bad("two images are for the slot class %s", quote(image.Class))
		}
	}
	return nil
}

func checkImage(image Image) error {
	switch {
	case len(image.Name) > MaxImageName || !nameRE.MatchString(image.Name):
		return bad("image %s is not a name of at most %d letters", quote(image.Name), MaxImageName)
	case !slices.Contains([]string{ClassLive, ClassSystem, ClassRuntime}, image.Class):
		return unsupportedClass(image)
	case !slices.Contains([]string{KindTree, KindErofs, KindSquashfs, KindDisk}, image.Kind):
		return unsupportedKind(image)
	case image.Size < 1 || image.Size > MaxImageSize:
		return bad("image %s has %d bytes, allowed are 1 to %d", quote(image.Name), image.Size, int64(MaxImageSize))
	case !isSHA256(image.SHA256) || !isSHA256(image.Chunks.SHA256):
		return bad("a hash of image %s is not SHA-256 in lower-case hex", quote(image.Name))
	case image.Chunks.Count < 1 || image.Chunks.Count > MaxChunks:
		return bad("image %s has %d chunks, allowed are 1 to %d", quote(image.Name), image.Chunks.Count, MaxChunks)
	}
	// With the limits above no product of the two overflows.
	if n := int64(image.Chunks.Count); image.Size < n || image.Size > n*MaxChunk {
		return bad("image %s of %d bytes cannot have %d chunks", quote(image.Name), image.Size, n)
	}
	if err := image.Encryption.validate(image); err != nil {
		return err
	}
	return image.Verity.validate(image)
}

func unsupportedClass(image Image) error {
	return refuse(CodeClass, "the package holds an image for the slot class %s, which is not supported here", quote(image.Class))
}

func unsupportedKind(image Image) error {
	return refuse(CodeKind, "the package holds an image of kind %s, which is not supported here", quote(image.Kind))
}

func (e *Encryption) validate(image Image) error {
	switch {
	case e == nil:
		return nil
	case e.Format != EncryptionAge:
		return bad("image %s is encrypted by %s, which is not %q", quote(image.Name), quote(e.Format), EncryptionAge)
	case e.Size < 1 || e.Size >= image.Size: // encrypting only adds
		return bad("image %s of %d bytes cannot have %d when it is decrypted", quote(image.Name), image.Size, e.Size)
	case !isSHA256(e.SHA256):
		return bad("a hash of image %s is not SHA-256 in lower-case hex", quote(image.Name))
	}
	return nil
}

func isSHA256(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == 32 && strings.ToLower(s) == s
}

func (a *App) validate() error {
	if err := checkExec(a.Exec); err != nil {
		return err
	}
	if err := checkStreams(a.Streams); err != nil {
		return err
	}
	if err := checkBreaks(a.Breaks); err != nil {
		return err
	}
	if !slices.Contains([]string{OverlapFull, OverlapFrozen, OverlapNone}, a.Overlap) {
		return bad("app.overlap %s is none of full, frozen, none", quote(a.Overlap))
	}
	if !slices.Contains([]string{GreenlightApp, GreenlightOperator, GreenlightAuto}, a.Greenlight) {
		return bad("app.greenlight %s is none of app, operator, auto", quote(a.Greenlight))
	}
	return a.checkLimits()
}

// checkExec makes sure that a relative program cannot be one outside the slot.
func checkExec(argv []string) error {
	if len(argv) == 0 || len(argv) > MaxArgs {
		return bad("app.exec has %d words, allowed are 1 to %d", len(argv), MaxArgs)
	}
	if all := strings.Join(argv, ""); len(all) > MaxArgBytes || strings.ContainsRune(all, 0) {
		return bad("app.exec has more than %d bytes, or a zero byte", MaxArgBytes)
	}
	if program := argv[0]; !filepath.IsAbs(program) && !filepath.IsLocal(program) {
		return bad("app.exec starts %s, which is outside the slot", quote(program))
	}
	return nil
}

func (a *App) checkLimits() error {
	for _, limit := range []struct {
		name      string
		value     int64
		low, high int64
		zero      bool // 0 means none
	}{
		{"startTimeoutMs", a.StartTimeoutMS, minTimeoutMS, maxTimeoutMS, false},
		{"deadlineMs", a.DeadlineMS, minTimeoutMS, maxDeadlineMS, false},
		{"soakMs", a.SoakMS, 1, maxDeadlineMS, true},
		{"stopTimeoutMs", a.StopTimeoutMS, minTimeoutMS, maxTimeoutMS, false},
		{"watchdogMs", a.WatchdogMS, minTimeoutMS, maxTimeoutMS, true},
		{"restartMax", int64(a.RestartMax), 1, maxRestarts, true},
		{"restartWindowMs", a.RestartWindow, minTimeoutMS, maxDeadlineMS, a.RestartMax == 0},
	} {
		if !(limit.zero && limit.value == 0) && !within(limit.value, limit.low, limit.high) {
			return bad("app.%s is %d, allowed are %d to %d", limit.name, limit.value, limit.low, limit.high)
		}
	}
	if a.FallbackForMS != nil && !within(*a.FallbackForMS, 0, maxFallbackMS) {
		return bad("app.fallbackForMs is %d, allowed are 0 to %d", *a.FallbackForMS, maxFallbackMS)
	}
	if a.StartTimeoutMS > a.DeadlineMS || a.SoakMS >= a.DeadlineMS {
		return bad("app.deadlineMs (%d) leaves no time for startTimeoutMs (%d) or soakMs (%d)", a.DeadlineMS, a.StartTimeoutMS, a.SoakMS)
	}
	if err := a.checkContract(); err != nil {
		return err
	}
	return a.checkSoak()
}

func within(v, low, high int64) bool { return v >= low && v <= high }
