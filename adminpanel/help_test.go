package adminpanel_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
	"slipstream/verify"
	"slipstream/verify/pack"
)

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// token makes an enrolment token for a device, "" for any.
func (w *world) token(id string) wire.Token {
	w.Helper()
	var made view.Enrolment
	w.ask("POST", "/api/v1/enrolments", view.EnrolmentRequest{Device: id, Uses: 1, Until: time.Now().Add(time.Hour)}).is(http.StatusCreated, &made)
	return must(wire.ParseToken(made.Text))
}

// device enrols a simulated device and waits until it is linked. It may have a picture.
func (w *world) device(id string, picture ...func(context.Context, string) (string, error)) *simulate.Device {
	w.Helper()
	d := w.enrolBy(w.token(id), id, picture...)
	w.until(id, "linked", func(d view.DeviceDetail) bool { return d.Online && d.Status != nil })
	return d
}

// enrolBy enrols one by a token, and has it call.
func (w *world) enrolBy(token wire.Token, id string, picture ...func(context.Context, string) (string, error)) *simulate.Device {
	w.Helper()
	d, err := simulated(w.T, id, w.link, token)
	if err != nil {
		w.Fatal(err)
	}
	if len(picture) > 0 {
		d.Answer = picture[0]
	}
	ctx, cancel := context.WithCancel(context.Background())
	var owned sync.WaitGroup
	owned.Go(func() { d.Run(ctx) })
	w.Cleanup(func() { cancel(); owned.Wait() })
	return d
}

// simulated is a simulated device, enrolled at a panel.
func simulated(t *testing.T, id, link string, token wire.Token) (*simulate.Device, error) {
	t.Helper()
	d, err := simulate.New(simulate.Spec{ID: id, Version: "1.0.0", Marker: "operator", State: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return d, d.Enrol(t.Context(), link, token)
}

// until waits for what the panel shows of a device.
func (w *world) until(id, what string, wanted func(view.DeviceDetail) bool) (d view.DeviceDetail) {
	w.Helper()
	w.eventually(id+" is "+what, func() bool {
		got := w.ask("GET", "/api/v1/devices/"+id, nil)
		d = view.DeviceDetail{}
		if got.status == http.StatusOK {
			got.is(http.StatusOK, &d)
		}
		return wanted(d)
	})
	return d
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := pack.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// build makes a small real package.
func build(t *testing.T, key *ecdsa.PrivateKey, version string, counter int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "camera"), []byte("#!/bin/sh\n# "+version+"\n"), 0o755); err != nil { //nolint:gosec // it is a program
		t.Fatal(err)
	}
	var out bytes.Buffer
	_, err := pack.Build(t.Context(), &out, pack.Options{Dir: dir, Key: key, Manifest: verify.Manifest{
		Format: 1, Product: "sample-camera", Hardware: []string{"rig"}, Version: version, ReleaseCounter: counter,
		IssuedAt: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Notes: "Sharper at night.",
		App: &verify.App{Exec: []string{"camera"}, Streams: []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (w *world) upload(slip string) (r view.Release) {
	w.Helper()
	w.ask("POST", "/api/v1/releases", slip).is(http.StatusCreated, &r)
	return r
}

func trustFile(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	text, err := pack.PublicPEM(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "trust.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// opens tells why a panel does not start.
func opens(t *testing.T, cfg config.Config) error {
	t.Helper()
	at, err := adminpanel.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := adminpanel.New(t.Context(), cfg, at, slog.New(slog.DiscardHandler))
	if err == nil {
		return p.Close()
	}
	return errors.Join(err, at.Close())
}
