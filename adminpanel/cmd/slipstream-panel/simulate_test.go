package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/simulate/simtest"
)

func TestSimulate(t *testing.T) {
	p := simtest.New(t, nil)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(p.Token.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	cmd := simulateCommand()
	cmd.SetArgs([]string{"--panel", p.URL, "--token-file", file, "--devices", "20", "--prefix", "dock", "--fail", "5%", "--every", "1h"})
	cmd.SetOut(&out)
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	p.UntilOnline(20, time.Minute)
	if _, ok := p.Hub.Device("dock-00019"); !ok {
		t.Errorf("the panel knows %+v", p.Hub.Devices())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if want := "20 of 20 enrolled; idle 20; 1.0.0 20; staged 0"; !strings.HasPrefix(out.String(), want) {
		t.Errorf("it printed %q, not %q", out.String(), want)
	}
}

func TestSimulateRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"--panel", "https://127.0.0.1:1"},
		{"--panel", "https://127.0.0.1:1", "--token", "x"},
		{"--panel", "https://127.0.0.1:1", "--token-file", "/nowhere"},
		{"--fail", "1"},
		{"--fail", "101%"},
	} {
		cmd := simulateCommand()
		cmd.SetArgs(args)
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		if err := cmd.ExecuteContext(t.Context()); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}
