package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/shelf"
	"slipstream/adminpanel/shelf/panel"
	"slipstream/agent/wire"
)

// panel runs the command and returns what it prints.
func panel(t *testing.T, data string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := command()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append([]string{"--data", data}, args...))
	err := cmd.ExecuteContext(t.Context())
	return strings.TrimSpace(out.String()), err
}

// enrols says whether a token lets a device in.
func enrols(t *testing.T, data, text, device string) bool {
	t.Helper()
	token, err := wire.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ca.Open(adminpanel.AuthorityDir(data))
	if err != nil {
		t.Fatal(err)
	}
	if !token.Pins(authority.Pinned()) {
		t.Error("the token does not name the panel's authority")
	}
	tokens, err := shelf.OpenTokens(data)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tokens.Use(token.ID, token.Secret, shelf.Use{Device: device, Key: device}, time.Now(), func(bool) error { return nil })
	return err == nil
}

func TestTokens(t *testing.T) {
	data := t.TempDir()
	one, err := panel(t, data, "token", "cam-7")
	if err != nil || enrols(t, data, one, "cam-8") || !enrols(t, data, one, "cam-7") {
		t.Errorf("for cam-7: %q, %v", one, err)
	}
	batch, err := panel(t, data, "token", "--count", "2")
	if err != nil || !enrols(t, data, batch, "a") || !enrols(t, data, batch, "b") || enrols(t, data, batch, "c") {
		t.Errorf("for two: %q, %v", batch, err)
	}
	for _, args := range [][]string{{"cam-7", "cam-8"}, {"cam-7", "--count", "2"}, {"--expires", "10000h"}, {"--expires", "-1s"}, {"a/b"}, {"--count", "100000"}} {
		if text, err := panel(t, data, append([]string{"token"}, args...)...); err == nil {
			t.Errorf("%q: %q", args, text)
		}
	}
}

func TestTokenInAFile(t *testing.T) {
	data, file := t.TempDir(), filepath.Join(t.TempDir(), "cam-7.token")
	said, err := panel(t, data, "token", "cam-7", "--out", file)
	if err != nil || said != "" {
		t.Fatalf("said %q, %v", said, err)
	}
	text, err := os.ReadFile(file)
	if err != nil || !enrols(t, data, string(text), "cam-7") {
		t.Errorf("the file holds %q, %v", text, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	if _, err := panel(t, data, "token", "cam-8", "--out", file); err == nil {
		t.Error("overwrote a token")
	}
	if _, err := panel(t, data, "token", "cam-8", "--out", filepath.Join(file, "x")); err == nil {
		t.Error("wrote a token into a file's inside")
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the file lie %v, %v", left, err)
	}
}

func TestRevokeAndRotate(t *testing.T) {
	data := t.TempDir()
	if _, err := panel(t, data, "revoke", "cam-7"); err == nil || !strings.Contains(err.Error(), "no device cam-7 is enrolled") {
		t.Errorf("revoke nobody: %v", err)
	}
	enrolled, err := shelf.OpenEnrolled(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := enrolled.Enrol("cam-7", "k", false, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := panel(t, data, "revoke", "cam-7"); err != nil || enrolled.Is("cam-7", "k") {
		t.Errorf("revoke: %v", err)
	}
	if _, err := panel(t, data, "ca", "retire"); err == nil {
		t.Error("the only authority was retired")
	}
	before, err := panel(t, data, "token")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"rotate", "retire"} {
		if _, err := panel(t, data, "ca", step); err != nil {
			t.Errorf("%s: %v", step, err)
		}
	}
	after, err := panel(t, data, "token")
	if err != nil || before[strings.LastIndex(before, "_"):] == after[strings.LastIndex(after, "_"):] {
		t.Errorf("tokens name the old authority: %v", err)
	}
}
