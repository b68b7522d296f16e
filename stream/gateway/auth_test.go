package gateway

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipstream/stream/viewers"
)

func guardOf(t *testing.T, text string) (*guard, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "viewers")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := newGuard(Config{Viewers: path, Secret: "the-device's-own"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return g, path
}

func TestAllow(t *testing.T) {
	t.Parallel()
	g, _ := guardOf(t, "nvr:secret-1\nmary:secret-2\n")
	for bearer, want := range map[string]string{"secret-1": "nvr", "secret-2": "mary", "the-device's-own": deviceName} {
		if name, ok := g.Allow(bearer); !ok || name != want {
			t.Errorf("%s: %q, %v", bearer, name, ok)
		}
	}
	for _, bearer := range []string{"", "secret-3", "nvr", "secret-1 ", "nvr:secret-1"} {
		if name, ok := g.Allow(bearer); ok || name != "" {
			t.Errorf("%q was let in as %q", bearer, name)
		}
	}
	none, err := newGuard(Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := none.Allow(""); ok {
		t.Error("nothing was let in where there is nobody")
	}
}

// A viewer comes and goes without a restart, and so does the whole file.
func TestFileIsReadAgain(t *testing.T) {
	t.Parallel()
	g, path := guardOf(t, "nvr:secret-1\n")
	secret, err := viewers.Add(path, "mary")
	if err != nil {
		t.Fatal(err)
	}
	if name, ok := g.Allow(secret); !ok || name != "mary" {
		t.Errorf("new viewer: %q, %v", name, ok)
	}
	if err := viewers.Remove(path, "nvr"); err != nil {
		t.Fatal(err)
	}
	if _, ok := g.Allow("secret-1"); ok {
		t.Error("a removed viewer was let in")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := g.Allow(secret); ok {
		t.Error("a file that others may read lets viewers in")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := g.Allow(secret); !ok {
		t.Error("the file is right again, and the viewer not let in")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, ok := g.Allow(secret); ok {
		t.Error("without a file a viewer was let in")
	}
}

func TestGuardRefusesToStart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "viewers")
	if _, err := newGuard(Config{Viewers: path}, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("a file that is not there yet: %v", err)
	}
	if err := os.WriteFile(path, []byte("nvr:secret-1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := newGuard(Config{Viewers: path}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that others may read was taken")
	}
	if _, err := newGuard(Config{Viewers: path, Public: true}, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("where everybody may watch: %v", err)
	}
}

func TestMisses(t *testing.T) {
	t.Parallel()
	var table missTable
	start := time.Unix(1e9, 0)
	thief, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range maxMisses - 1 {
		if table.add(thief, start) || table.full(thief, start) {
			t.Fatalf("full after %d", i+1)
		}
	}
	late := start.Add(missTime - time.Second)
	if !table.add(netip.MustParseAddr("::ffff:192.0.2.1"), late) || !table.full(thief, late) {
		t.Error("not full after all of them")
	}
	if table.full(other, late) {
		t.Error("another address has to wait")
	}
	if table.full(thief, late.Add(missTime)) {
		t.Error("it has to wait for ever")
	}
	if table.add(thief, late.Add(missTime)) {
		t.Error("after the wait one miss is too many")
	}
	if !full(&table, "2001:db8::1", "2001:db8::2", late) || table.full(netip.MustParseAddr("2001:db8:0:1::1"), late) {
		t.Error("a network of IPv6 is not taken as one")
	}
}

// full misses from one address until it has to wait, and asks about another.
func full(table *missTable, from, asked string, now time.Time) bool {
	for range maxMisses {
		table.add(netip.MustParseAddr(from), now)
	}
	return table.full(netip.MustParseAddr(asked), now)
}

func TestMissesAreBounded(t *testing.T) {
	t.Parallel()
	var table missTable
	start := time.Unix(1e9, 0)
	for i := range 4 * maxMissing {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		table.add(addr, start.Add(time.Duration(i)*time.Millisecond))
	}
	if len(table.of) != maxMissing {
		t.Errorf("%d addresses are remembered", len(table.of))
	}
	if _, ok := table.of[netip.AddrFrom4([4]byte{10, 0, 0, 0})]; ok {
		t.Error("the oldest one is remembered")
	}
}
