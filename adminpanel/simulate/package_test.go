package simulate_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipstream/verify"
	"slipstream/verify/pack"
)

// build makes a package of a version, signed by a key that nobody has any more.
func build(t *testing.T, version string) (slip []byte, digest string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "camera"), []byte("#!/bin/sh\n# "+version+"\n"), 0o755); err != nil { //nolint:gosec // it is a program
		t.Fatal(err)
	}
	key, err := pack.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_, err = pack.Build(t.Context(), &out, pack.Options{Dir: dir, Key: key, Manifest: verify.Manifest{
		Format: 1, Product: "sample-camera", Hardware: []string{"rig"}, Version: version, ReleaseCounter: 2, SecurityEpoch: 1, IssuedAt: time.Now().UTC().Truncate(time.Second),
		App: &verify.App{Exec: []string{"camera"}, Streams: []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := verify.Unverified(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), p.Digest
}
