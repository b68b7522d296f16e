package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/adminpanel/store"
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

func identify(t *testing.T, data, token string) string {
	t.Helper()
	tokens, err := store.OpenTokens(data)
	if err != nil {
		t.Fatal(err)
	}
	device, _ := tokens.Identify(token)
	return device
}

func TestTokenIsForTheNamedDevice(t *testing.T) {
	for _, args := range [][]string{{"token", "cam-7"}, {"token", "--device", "cam-7"}, {"token", "cam-7", "--device", "cam-7"}} {
		data := t.TempDir()
		text, err := panel(t, data, args...)
		if err != nil || identify(t, data, text) != "cam-7" {
			t.Errorf("%q: %q, %v", args, text, err)
		}
	}
	for _, args := range [][]string{{"token"}, {"token", "cam-7", "--device", "cam-8"}, {"token", "cam-7", "cam-8"}} {
		if text, err := panel(t, t.TempDir(), args...); err == nil {
			t.Errorf("%q: %q", args, text)
		}
	}
}

func TestASecondTokenNeedsReplace(t *testing.T) {
	data := t.TempDir()
	first, err := panel(t, data, "token", "cam-7")
	if err != nil {
		t.Fatal(err)
	}
	_, err = panel(t, data, "token", "cam-7")
	if err == nil || !strings.HasSuffix(err.Error(), "the device has a token already; --replace makes a new one") {
		t.Errorf("a second token: %v", err)
	}
	if identify(t, data, first) != "cam-7" {
		t.Error("the first token does not work any more")
	}
	second, err := panel(t, data, "token", "cam-7", "--replace")
	if err != nil || identify(t, data, second) != "cam-7" || identify(t, data, first) != "" {
		t.Errorf("the replaced token: %v", err)
	}
}

func TestTokenInAFile(t *testing.T) {
	data, file := t.TempDir(), filepath.Join(t.TempDir(), "cam-7.token")
	read := func() string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	said, err := panel(t, data, "token", "cam-7", "--out", file)
	if err != nil || said != "" || identify(t, data, read()) != "cam-7" {
		t.Errorf("said %q, %v", said, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}

	// A file or directory that is in the way must not cost a token.
	if _, err := panel(t, data, "token", "cam-8", "--out", file); err == nil {
		t.Error("overwrote a token")
	}
	if _, err := panel(t, data, "token", "cam-8", "--out", filepath.Join(file, "x")); err == nil {
		t.Error("wrote a token into a file's inside")
	}
	if _, err := panel(t, data, "token", "cam-8"); err != nil {
		t.Errorf("a failed try enrolled the device: %v", err)
	}

	before := read()
	if _, err := panel(t, data, "token", "cam-7", "--out", file, "--replace"); err != nil || read() == before {
		t.Errorf("the token was not replaced: %v", err)
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the file lie %v, %v", left, err)
	}
}
