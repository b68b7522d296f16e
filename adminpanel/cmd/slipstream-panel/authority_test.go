package main

import (
	"path/filepath"
	"testing"

	"slipstream/adminpanel/ca"
)

// panel runs the command on a directory of data.
func panel(t *testing.T, data string, args ...string) error {
	t.Helper()
	cmd := command()
	cmd.SetArgs(append(args, "--data", data))
	return cmd.ExecuteContext(t.Context())
}

func TestRotateAndRetire(t *testing.T) {
	data := t.TempDir()
	if err := panel(t, data, "ca", "retire"); err == nil {
		t.Error("the only authority was retired")
	}
	before, err := ca.Open(filepath.Join(data, "ca"))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"rotate", "retire"} {
		if err := panel(t, data, "ca", step); err != nil {
			t.Errorf("%s: %v", step, err)
		}
	}
	after, err := ca.Open(filepath.Join(data, "ca"))
	if err != nil || before.Pinned().Equal(after.Pinned()) || len(after.Roots()) != 1 {
		t.Errorf("the old authority is still there: %v", err)
	}
}
