package manual

import "testing"

func TestRoff(t *testing.T) {
	t.Parallel()
	if got, want := roff(".x\n'y a-b\\c"), "\\&.x\n\\&'y a\\-b\\ec"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
