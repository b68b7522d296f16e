package api_test

import (
	"bytes"
	"crypto/ecdsa"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/api"
	"slipstream/adminpanel/release"
	"slipstream/adminpanel/view"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// vendor signs packages.
type vendor struct {
	*testing.T
	key   *ecdsa.PrivateKey
	trust *verify.Trust
}

func newVendor(t *testing.T) vendor {
	t.Helper()
	key, err := pack.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := pack.PublicPEM(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := verify.ParseTrust(text)
	if err != nil {
		t.Fatal(err)
	}
	return vendor{t, key, trust}
}

// judged makes the panel take this vendor's packages and no others.
func (v vendor) judged(dir string) func(*api.Config) {
	return func(c *api.Config) {
		var err error
		c.Releases, err = release.Open(release.Config{Store: c.Store, Audit: c.Audit, Dir: dir, MaxSize: 1 << 20,
			Trust: func() *verify.Trust { return v.trust }, Log: c.Log})
		if err != nil {
			v.Fatal(err)
		}
	}
}

// pack makes a package of a version such as "2.0.0".
func (v vendor) pack(version string) []byte {
	v.Helper()
	dir := v.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "camera"), []byte("#!/bin/sh\n# "+version+"\n"), 0o755); err != nil { //nolint:gosec // it is a program
		v.Fatal(err)
	}
	counter, err := strconv.ParseInt(strings.ReplaceAll(version, ".", ""), 10, 64)
	if err != nil {
		v.Fatal(err)
	}
	var out bytes.Buffer
	_, err = pack.Build(v.Context(), &out, pack.Options{Dir: dir, Key: v.key, Manifest: verify.Manifest{
		Format: 1, Product: "sample-camera", Hardware: []string{"rig"}, Version: version, ReleaseCounter: counter, SecurityEpoch: 1,
		IssuedAt: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		App:      &verify.App{Exec: []string{"camera"}, Streams: []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180}}},
	}})
	if err != nil {
		v.Fatal(err)
	}
	return out.Bytes()
}

var bytesOf = header("Content-Type", "application/octet-stream")

func (w *world) release(slip []byte) (rel view.Release) {
	w.Helper()
	w.call("POST", "/releases?name=x.slip", slip, bytesOf).is(201, &rel)
	return rel
}

func TestReleases(t *testing.T) {
	dir := t.TempDir()
	v := newVendor(t)
	w := newWorld(t, v.judged(dir))
	slip := v.pack("2.0.0")
	rel := w.release(slip)
	if !rel.Verified || len(rel.Signers) != 1 || len(rel.Contents) != 1 || rel.Version != "2.0.0" || rel.UploadedBy != "token "+w.tokenID() {
		t.Errorf("added %+v", rel)
	}
	w.call("POST", "/releases", slip, bytesOf).is(200, nil)
	w.link("north", "cam-1", func(c *cam) { c.status.Permanent, c.status.Slots[0].Version = "2.0.0", "2.0.0" })
	var list view.Releases
	if w.call("GET", "/releases", nil).is(200, &list); len(list.Releases) != 1 || list.Releases[0].Running != 1 {
		t.Errorf("the list is %+v", list)
	}
	w.call("GET", "/releases/"+strings.Repeat("0", 32), nil).fails(404, "no-release")
	w.call("GET", "/releases/nonsense", nil).fails(422, "invalid")
	w.call("DELETE", "/releases/"+rel.ID, nil, by(w.token("bob", "releaser site:north"))).fails(403, "forbidden")
	if w.call("DELETE", "/releases/"+rel.ID, nil).is(200, &rel); !rel.Withdrawn || rel.Running != 1 {
		t.Errorf("withdrawn it is %+v", rel)
	}
	if got := w.lines(); !slices.Contains(got, "release.withdraw") || !slices.Contains(got, "release.add") || slices.Contains(got, "upload.begin") {
		t.Errorf("the audit has %q", got)
	}
}

// tokenID is that of ann's token.
func (w *world) tokenID() string {
	w.Helper()
	id, _, _ := strings.Cut(strings.TrimPrefix(w.ann, "slpt_"), "_")
	return id
}

// An upload that breaks off goes on where the panel says that it stopped.
func TestUploads(t *testing.T) {
	dir := t.TempDir()
	v := newVendor(t)
	w := newWorld(t, v.judged(dir))
	slip := v.pack("2.0.0")
	var up view.Upload
	w.call("POST", "/uploads", view.UploadRequest{Name: "x.slip", Size: int64(len(slip))}).is(201, &up)
	path := "/uploads/" + up.ID
	at := func(n int) with { return header("Upload-Offset", strconv.Itoa(n)) }
	piece := header("Content-Type", "application/offset+octet-stream")
	half := len(slip) / 2
	w.call("PATCH", path, slip[:half], piece).fails(422, "invalid")
	w.call("PATCH", path, slip[:half], piece, at(-1)).fails(422, "invalid")
	w.call("PATCH", path, slip[:half], bytesOf, at(0)).fails(415, "wrong-type")
	if w.call("PATCH", path, slip[:half], piece, at(0)).is(200, &up); up.Offset != int64(half) {
		t.Errorf("it is at %+v", up)
	}
	w.call("PATCH", path, slip[:half], piece, at(0)).fails(409, "offset")
	w.call("POST", path+"/finish", nil).fails(409, "not-whole")
	w.call("PATCH", path, append(bytes.Clone(slip[half:]), 1), piece, at(half)).fails(413, "too-large")
	if w.call("GET", path, nil).is(200, &up); up.Offset != int64(half) {
		t.Errorf("too much of it leaves it at %+v", up)
	}
	w.call("PATCH", path, io.MultiReader(bytes.NewReader(slip[half:])), piece, at(half)).is(200, nil)
	w.call("POST", path+"/finish", `{"colour":"red"}`).fails(422, "invalid")
	var rel view.Release
	if w.call("POST", path+"/finish", "{}").is(200, &rel); rel.Version != "2.0.0" {
		t.Errorf("it became %+v", rel)
	}
	w.call("GET", path, nil).fails(404, "no-upload")
	w.call("DELETE", path, nil).fails(404, "no-upload")
	w.call("POST", "/uploads", view.UploadRequest{Name: "x.slip", Size: 5}).is(201, &up)
	w.call("DELETE", "/uploads/"+up.ID, nil).is(204, nil)
	if lines := w.lines(); lines[0] != "upload.drop" || lines[1] != "upload.begin" || lines[2] != "release.add" {
		t.Errorf("the audit has %q", lines)
	}
}

// What package verify refuses is none, says why by verify's own code, and is in the audit.
func TestPackagesThatFailVerification(t *testing.T) {
	dir := t.TempDir()
	v := newVendor(t)
	w := newWorld(t, v.judged(dir))
	slip := v.pack("2.0.0")
	flipped := bytes.Clone(slip)
	flipped[len(flipped)-1100] ^= 1
	for code, bad := range map[string][]byte{
		verify.CodeUntrusted: newVendor(t).pack("2.0.0"), verify.CodeNotPackage: bytes.Repeat([]byte("no package "), 200),
		verify.CodeTruncated: slip[:len(slip)-512], verify.CodeCorrupt: flipped,
	} {
		w.call("POST", "/releases", bad, bytesOf).fails(422, code)
		if lines := w.lines(); lines[0] != "release.refuse" {
			t.Errorf("%s: the audit has %q", code, lines[0])
		}
	}
	w.call("POST", "/releases", make([]byte, 2<<20), bytesOf).fails(413, "too-large")
	w.call("POST", "/releases", io.MultiReader(bytes.NewReader(slip)), bytesOf).fails(411, "no-length")
	w.call("POST", "/uploads", view.UploadRequest{Name: "x", Size: 1 << 40}).fails(413, "too-large")
	var list view.Releases
	if w.call("GET", "/releases", nil).is(200, &list); len(list.Releases) != 0 {
		t.Errorf("taken: %+v", list)
	}
	left, err := os.ReadDir(filepath.Join(dir, "incoming"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
