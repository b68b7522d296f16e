package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipstream/agent/config"
)

// The next agent shows an adopted gateway what this one has told it.
func TestGatewaySecretLasts(t *testing.T) {
	run := t.TempDir()
	first, err := gatewaySecret(run)
	if err != nil || len(first) < 26 {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := gatewaySecret(run); err != nil || again != first {
		t.Errorf("then %q, %v", again, err)
	}
	path := filepath.Join(run, "gateway.secret")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := gatewaySecret(run); err == nil || strings.Contains(err.Error(), first) {
		t.Errorf("one that others may read: %v", err)
	}
	if other, err := gatewaySecret(t.TempDir()); err != nil || other == first {
		t.Errorf("another device has %q, %v", other, err)
	}
}

func TestGatewayArgs(t *testing.T) {
	all := gatewayArgs("/run/x", config.Gateway{
		Public: true, Viewers: "/v", HTTP: ":1", RTSP: ":2", UDP: ":3", RTSPS: ":4", TLSCert: "/c", TLSKey: "/k", Advertise: []string{"192.0.2.1"},
		Metrics: ":5", Origins: []string{"https://a.example", "https://b.example"}, MaxViewers: 6, MaxPerAddress: 7,
	})
	want := "--run /run/x --viewers /v --http :1 --rtsp :2 --udp :3 --rtsps :4 --tls-cert /c --tls-key /k --metrics :5 --public --advertise 192.0.2.1" +
		" --origin https://a.example --origin https://b.example --max-viewers 6 --max-per-address 7"
	if got := strings.Join(all, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if few := gatewayArgs("/run/x", config.Gateway{Viewers: "/v", RTSP: ":2"}); !slices.Equal(few, []string{"--run", "/run/x", "--viewers", "/v", "--rtsp", ":2"}) {
		t.Errorf("got %v", few)
	}
}
