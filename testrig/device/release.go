package device

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"slipstream/testrig/camera"
	"slipstream/testrig/camera/clips"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// Release is a version of the sample camera.
type Release struct {
	Version    string
	Counter    int64
	Clip       clips.Clip
	Streams    []string // "main", …
	Greenlight camera.Greenlight
	Fault      camera.Fault
	App        verify.App    // times and rules; exec and streams are filled in
	Lag        time.Duration // how far the camera may fall behind; 0 for its default
	Before     string        // lines for a shell that becomes the camera then; "": none
	With       []pack.Source // what the package brings beside the camera, for other slots
	Kind       string        // of its image; "": verify.KindTree
	Sensor     string        // the video device that it needs; "": none
}

// Build packages a release, signed with key, into outDir and returns its path.
// The camera's binary is taken from bin.
func (r Release) Build(ctx context.Context, bin, outDir string, key *ecdsa.PrivateKey) (string, error) {
	root, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(root)
	if err := r.fill(root, bin); err != nil {
		return "", fmt.Errorf("release %s: %w", r.Version, err)
	}
	app := r.App
	app.Exec = []string{"camera"}
	if r.Before != "" {
		app.Exec = []string{"start"}
	}
	for _, name := range r.Streams {
		app.Streams = append(app.Streams, verify.Stream{Name: name, Codec: "h264", Width: 320, Height: 180, StallMS: StallMS})
	}
	images := append([]pack.Source{{Name: "app", Class: verify.ClassLive, Kind: cmp.Or(r.Kind, verify.KindTree), Path: root}}, r.With...)
	path, err := pack.BuildFile(ctx, outDir, pack.Options{Images: images, Key: key, Manifest: verify.Manifest{
		Product: Product, Hardware: []string{Hardware},
		Version: r.Version + ".0", ReleaseCounter: r.Counter, App: &app,
	}})
	if err != nil {
		return "", fmt.Errorf("release %s: %w", r.Version, err)
	}
	return path, nil
}

// fill makes the slot's root: the camera, its configuration and its clip.
func (r Release) fill(root, bin string) error {
	counts := r.App.State != nil && r.App.State.Schema == camera.StateSchema // else the state is somebody else's
	config := camera.Config{Version: r.Version, Greenlight: r.Greenlight, Fault: r.Fault, RTSP: r.App.PublishRTSP, State: counts, Sensor: r.Sensor, LagMS: r.Lag.Milliseconds()}
	for _, name := range r.Streams {
		config.Streams = append(config.Streams, camera.Stream{Name: name, Clip: r.Clip.File, Phase: r.Clip.Phase})
	}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	if r.Before != "" {
		script := "#!/bin/sh\n" + r.Before + "\nexec \"$SLIPSTREAM_ROOT/camera\"\n"
		if err := os.WriteFile(filepath.Join(root, "start"), []byte(script), 0o755); err != nil {
			return err
		}
	}
	return errors.Join(
		config.Validate(),
		os.WriteFile(filepath.Join(root, camera.ConfigName), text, 0o644),
		os.WriteFile(filepath.Join(root, r.Clip.File), r.Clip.Data(), 0o644),
		copyProgram(filepath.Join(root, "camera"), filepath.Join(bin, "slipstream-camera")),
	)
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
