package gateway_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v3"

	"slipstream/stream/gateway"
)

// beGateway makes the test binary a gateway of its own process, so that it can be
// killed. The value is its configuration: run directory, HTTP, UDP and RTSP address.
const beGateway = "SLIPSTREAM_TEST_BE_GATEWAY"

func TestMain(m *testing.M) {
	if text := os.Getenv(beGateway); text != "" {
		if err := runGateway(strings.Fields(text)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// The tests wait most of the time, so more of them than processors may run at once.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func runGateway(f []string) error {
	g, err := gateway.New(gateway.Config{Run: f[0], HTTP: f[1], UDP: f[2], RTSP: f[3], Public: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	fmt.Println(g.HTTPAddr(), g.UDPAddr(), g.RTSPAddr())
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin) // it has no end before the test's
	}()
	return g.Run(ctx)
}

// spawn runs a gateway as a process and returns its addresses and what kills it
// without a warning.
func (w *world) spawn(t *testing.T, http, udp string) (httpAddr, udpAddr string, kill func()) {
	t.Helper()
	at, kill := w.spawnAt(t, http, udp, "127.0.0.1:0")
	return at[0], at[1], kill
}

// spawnAt is spawn at addresses for HTTP, UDP and RTSP.
func (w *world) spawnAt(t *testing.T, addresses ...string) (at []string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), beGateway+"="+strings.Join(append([]string{w.run}, addresses...), " "))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // it ends with this process at the latest
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("gateway did not start: %v", err)
	}
	return strings.Fields(line), kill
}

// The gateway is killed. Its viewers play on, far beyond the time in which the
// forwarder must hear from them, and through a switch and a revert; a new gateway
// takes new viewers on the same port.
func TestViewersOutliveTheGateway(t *testing.T) {
	t.Parallel() // it waits most of the time
	w := newStage(t)
	w.forward(t)
	w.publish(t)
	http, udp, kill := w.spawn(t, "127.0.0.1:0", "127.0.0.1:0")
	url := "http://" + http + "/whep/main"
	viewers := make([]*viewer, 10)
	for i := range viewers {
		viewers[i] = join(t, url)
	}
	for _, v := range viewers {
		v.pass(t, 5)
	}
	kill()
	w.swap(t)
	enough := time.Now().Add(2 * consent)
	check := func() {
		t.Helper()
		for i, v := range viewers {
			v.forget()
			v.pass(t, 10)
			v.unbroken(t)
			if s := v.pc.ConnectionState(); s != webrtc.PeerConnectionStateConnected {
				t.Errorf("viewer %d is %v", i, s)
			}
		}
	}
	for time.Now().Before(enough) {
		check()
	}

	if _, again, _ := w.spawn(t, http, udp); again != udp {
		t.Fatalf("the new gateway is at %s", again)
	}
	for range 5 {
		viewers = append(viewers, join(t, url))
	}
	check()
	w.swap(t)
	check()

	// The new one knows the sessions of the first.
	if res := request(t, "DELETE", viewers[0].location); res.StatusCode != 200 {
		t.Errorf("DELETE of an old session: %s", res.Status)
	}
	await(t, "end of the old session", func() bool { return w.viewers(t) == len(viewers)-1 })
	viewers = viewers[1:]
	viewers[0].restart(t)
	viewers[0].forget()
	viewers[0].pass(t, 30)
	viewers = viewers[1:] // it lost packets when it moved
	check()
}
