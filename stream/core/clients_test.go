package core_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"

	"slipstream/stream/handover"
)

var transports = map[string]gortsplib.Protocol{"tcp": gortsplib.ProtocolTCP, "udp": gortsplib.ProtocolUDP}

// watcher is a client of the library, and what it has got.
type watcher struct {
	client *gortsplib.Client

	mu     sync.Mutex
	medium map[string]int // packets of each
	breaks []string
}

// listenRoomy makes sockets that hold what comes while this process waits for a processor.
func listenRoomy(network, address string) (net.PacketConn, error) {
	c, err := net.ListenPacket(network, address)
	if udp, ok := c.(*net.UDPConn); ok && err == nil {
		err = udp.SetReadBuffer(4 << 20)
	}
	return c, err
}

func watch(t *testing.T, url string, protocol gortsplib.Protocol) *watcher {
	t.Helper()
	u, err := base.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	v := &watcher{medium: map[string]int{}, client: &gortsplib.Client{Scheme: u.Scheme, Host: u.Host, Protocol: &protocol, ListenPacket: listenRoomy}}
	v.client.OnPacketsLost = func(n uint64) { v.fault(fmt.Sprintf("%d packets were lost", n)) }
	v.client.OnDecodeError = func(err error) { v.fault(err.Error()) }
	if err := v.client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.client.Close)
	desc, _, err := v.client.Describe(u)
	if err == nil {
		err = v.client.SetupAll(desc.BaseURL, desc.Medias)
	}
	if err != nil {
		t.Fatal(err)
	}
	next, last := map[string]uint16{}, map[string]uint32{}
	v.client.OnPacketRTPAny(func(_ *description.Media, f format.Format, p *rtp.Packet) {
		v.mu.Lock()
		defer v.mu.Unlock()
		name := f.Codec()
		if want, ok := next[name]; ok && p.SequenceNumber != want {
			v.breaks = append(v.breaks, fmt.Sprintf("%s: sequence %d instead of %d", name, p.SequenceNumber, want))
		}
		if before, ok := last[name]; ok && int32(p.Timestamp-before) < 0 {
			v.breaks = append(v.breaks, fmt.Sprintf("%s: time went from %d to %d", name, before, p.Timestamp))
		}
		next[name], last[name] = p.SequenceNumber+1, p.Timestamp
		v.medium[name]++
	})
	if _, err := v.client.Play(nil); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *watcher) fault(what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.breaks = append(v.breaks, what)
}

func (v *watcher) count(medium string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.medium[medium]
}

// The library's client, over both transports, through a switch and a revert and
// the death of the gateway.
func TestLibraryClient(t *testing.T) {
	t.Parallel()
	w, swap := filming(t)
	f := w.front()
	watchers := map[string]*watcher{}
	for name, protocol := range transports {
		watchers[name] = watch(t, f.url(), protocol)
	}
	more := func(what string) {
		t.Helper()
		for name, v := range watchers {
			pictures, notes := v.count("H264"), v.count("G711")
			await(t, name+" "+what, func() bool { return v.count("H264") > pictures+20 && v.count("G711") > notes+20 })
		}
	}
	more("plays")
	swap()
	more("plays on after a revert")
	f.g.conn.Close()
	more("plays on without a gateway")
	swap()
	f.connect(w)
	if n := len(f.g.known); n != len(watchers) {
		t.Errorf("the next gateway is told of %d viewers: %+v", n, f.g.known)
	}
	more("plays on with another gateway")
	for name, v := range watchers {
		v.client.Close() // TEARDOWN
		for _, b := range v.breaks {
			t.Errorf("%s: %s", name, b)
		}
		// The connection may be gone before its last request is read.
		if e := <-f.ended; e.Reason != handover.EndedAsked && e.Reason != handover.EndedClosed {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// program is a player that decodes what it is sent, and says so if it cannot.
type program struct {
	name string
	args func(url, transport string) []string
}

// programs play so many frames, then end by themselves.
const shownFrames = 150

var programs = []program{
	{"ffmpeg", func(url, transport string) []string {
		return []string{"ffmpeg", "-nostdin", "-v", "warning", "-xerror", "-rtsp_transport", transport, "-i", url,
			"-map", "0:v", "-map", "0:a", "-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-frames:v", fmt.Sprint(shownFrames), "-f", "null", "-"}
	}},
	{"GStreamer's picture", func(url, transport string) []string {
		return launch(url, transport, "application/x-rtp,media=video", "!", "rtph264depay", "!", "avdec_h264", "max-errors=0",
			"!", "identity", fmt.Sprintf("eos-after=%d", shownFrames))
	}},
	{"GStreamer's sound", func(url, transport string) []string {
		return launch(url, transport, "application/x-rtp,media=audio", "!", "rtppcmudepay", "!", "mulawdec",
			"!", "identity", fmt.Sprintf("eos-after=%d", 2*shownFrames))
	}},
}

// launch plays one track: where gst-launch has two to link, and both come at once, it
// forgets one of them now and then.
func launch(url, transport string, track ...string) []string {
	args := append([]string{"gst-launch-1.0", "-q", "rtspsrc", "location=" + url, "protocols=" + transport, "latency=50", "!"}, track...)
	return append(args, "!", "fakesink", "sync=false")
}

// Programs that people use play through switches and reverts, and find nothing to
// complain about.
func TestPrograms(t *testing.T) {
	t.Parallel()
	w, swap := filming(t)
	f := w.front()
	type running struct {
		what string
		cmd  *exec.Cmd
		out  *bytes.Buffer
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []running
	for _, p := range programs {
		for transport := range transports {
			args := p.args(f.url(), transport)
			r := running{p.name + " over " + transport, exec.CommandContext(ctx, args[0], args[1:]...), &bytes.Buffer{}}
			r.cmd.Stdout, r.cmd.Stderr = r.out, r.out
			if err := r.cmd.Start(); err != nil {
				t.Fatalf("%s: %v; it is to be installed", r.what, err)
			}
			all = append(all, r)
		}
	}
	await(t, "all viewers", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.viewers == len(all) })
	swap()
	swap()
	for _, r := range all {
		err := r.cmd.Wait()
		if out := strings.TrimSpace(r.out.String()); err != nil || out != "" {
			t.Errorf("%s: %v\n%s", r.what, err, out)
		}
	}
}
