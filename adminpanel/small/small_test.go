package small_test

import (
	"os"
	"path/filepath"
	"testing"

	"slipstream/adminpanel/small"
)

func TestFilesThatAreTooLargeAreRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := small.File(path, 5); err != nil || string(text) != "12345" {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := small.File(path, 4); err == nil {
		t.Errorf("a byte too many was read: %q", text)
	}
	if text, err := small.File("/dev/zero", 1000); err == nil {
		t.Errorf("a device was read: %d bytes", len(text))
	}
}
