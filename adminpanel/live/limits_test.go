package live

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
)

// The relay takes no more streams and viewers than it has room for, and who watches a stream
// that it brings already needs no other one.
func TestRoom(t *testing.T) {
	t.Parallel()
	l, err := New(Config{Media: "127.0.0.1:8190", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.relay.viewers["a"], l.relay.viewers["b"] = maxViewers-1, 1
	if _, err := l.Watch(t.Context(), "cam-1", "main", nil, Relayed); !errors.Is(err, ErrCrowded) {
		t.Errorf("the 257th viewer: %v", err)
	}
	for i := range maxLines {
		l.lines[fmt.Sprintf("cam-%d/main", i)] = &line{}
	}
	l.relay.viewers["b"] = 0
	if _, err := l.Watch(t.Context(), "cam-x", "main", nil, Relayed); !errors.Is(err, ErrFull) {
		t.Errorf("the 33rd stream: %v", err)
	}
	if its, err := l.line("cam-7", "main"); err != nil || its != l.lines["cam-7/main"] {
		t.Errorf("a stream that is there: %v", err)
	}
}
