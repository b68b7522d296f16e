package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/stand"
	"slipstream/testrig/viewer"
)

// Servers that are compared.
const (
	ours       = "ours"
	oursIngest = "ours, published by RTSP"
	peer       = "MediaMTX"
	floor      = "floor" // none: the film goes straight to the readers
)

// server is a running server to which the film plays.
type server struct {
	urls map[string]string // by the kind of viewer
	pids []int             // the processes whose work counts
	stop func()
}

// serve starts a server and plays the film to it.
func (b *streamBench) serve(ctx context.Context, name string) (*server, error) {
	if b.clip == nil {
		clip, err := film(ctx, b.Dir)
		if err != nil {
			return nil, err
		}
		b.clip = clip
	}
	ctx, cancel := context.WithCancel(ctx)
	s, to, err := b.begin(ctx, name)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- show(ctx, b.clip, to) }()
	end := s.stop
	s.stop = func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, name+":", err)
		}
		to.Close()
		end()
	}
	return s, nil
}

func (b *streamBench) begin(ctx context.Context, name string) (*server, sink, error) {
	switch name {
	case peer:
		return b.beginPeer(ctx)
	case floor:
		to, err := newStraight()
		if err != nil {
			return nil, nil, err
		}
		return &server{urls: map[string]string{viewer.RTP: to.door.LocalAddr().String()}, stop: func() {}}, to, nil
	}
	st, err := stand.Start(ctx, stand.Config{Bin: b.bin})
	if err != nil {
		return nil, nil, err
	}
	s := &server{
		urls: map[string]string{viewer.WHEP: st.WHEP(), viewer.RTSPTCP: st.RTSP(), viewer.RTSPUDP: st.RTSP()},
		pids: []int{st.Forwarder().PID, st.Gateway().PID},
		stop: func() { st.Close() },
	}
	part := stand.NewPart("a-1", "bench", 0)
	if err = st.Order(ctx, nil, part); err != nil {
		s.stop()
		return nil, nil, err
	}
	var to sink
	if name == oursIngest {
		var url string
		var in *stand.Process
		if url, in, err = st.Ingest(part.Source.ID); err == nil {
			s.pids = append(s.pids, in.PID)
			s.stop = func() { in.Kill(); st.Close() }
			to, err = record(ctx, url, b.clip)
		}
	} else {
		var conn *publish.Conn
		conn, err = publish.Dial(st.Publish(part.Source.ID), stand.Stream, sdpOf(b.clip))
		to = published{conn}
	}
	if err != nil {
		s.stop()
		return nil, nil, err
	}
	return s, to, nil
}

// published is an app's own connection to the forwarder.
type published struct{ *publish.Conn }

func (p published) WriteFrame(packets [][]byte) error {
	for _, packet := range packets {
		if err := p.WriteRTP(packet); err != nil {
			return err
		}
	}
	return nil
}

func sdpOf(clip *camera.Clip) []byte {
	return fmt.Appendf(nil, "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=bench\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"+
		"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=%x\r\n", clip.SPS[1:4])
}

// peerConfig keeps MediaMTX on loopback and everything off that is not compared.
const peerConfig = `logLevel: warn
rtspAddress: %[1]s
rtspTransports: [udp, tcp]
rtpAddress: 127.0.0.1:%[4]d
rtcpAddress: 127.0.0.1:%[5]d
webrtcAddress: %[2]s
webrtcLocalUDPAddress: %[3]s
webrtcIPsFromInterfaces: false
webrtcAdditionalHosts: [127.0.0.1]
rtmp: false
hls: false
srt: false
moq: false
paths:
  all_others:
`

// beginPeer runs the MediaMTX binary that the user has.
func (b *streamBench) beginPeer(ctx context.Context) (_ *server, _ sink, err error) {
	dir, err := os.MkdirTemp("", "slippeer")
	if err != nil {
		return nil, nil, err
	}
	s := &server{stop: func() { os.RemoveAll(dir) }}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	ports, err := freePorts(5)
	if err != nil {
		return nil, nil, err
	}
	even := ports[3] &^ 1
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	config := filepath.Join(dir, "mediamtx.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, peerConfig, at(0), at(1), at(2), even, even+1), 0o644); err != nil {
		return nil, nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	cmd := exec.Command(b.peer, config)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	s.stop = func() {
		cmd.Process.Kill()
		_ = cmd.Wait() // killed
		os.RemoveAll(dir)
	}
	s.pids = []int{cmd.Process.Pid}
	rtsp := "rtsp://" + at(0) + "/" + stand.Stream
	s.urls = map[string]string{viewer.WHEP: "http://" + at(1) + "/" + stand.Stream + "/whep", viewer.RTSPTCP: rtsp, viewer.RTSPUDP: rtsp}
	to, err := record(ctx, rtsp, b.clip)
	if err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "log"))
		return nil, nil, errors.Join(err, errors.New(string(text)))
	}
	return s, to, nil
}

// freePorts finds ports that are free for TCP and UDP, and so is the next one above
// the last.
func freePorts(n int) (ports []int, err error) {
	for len(ports) < n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// cpuTime is what processes have worked so far, utime + stime.
func cpuTime(pids []int) (sum time.Duration, err error) {
	const cpuclockSched = 2 // linux/posix-timers.h
	for _, pid := range pids {
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|cpuclockSched), &ts); err != nil {
			return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
		}
		sum += time.Duration(ts.Nano())
	}
	return sum, nil
}

func residentMB(pids []int) (sum float64, err error) {
	for _, pid := range pids {
		mb, err := stand.ResidentMB(pid)
		if err != nil {
			return 0, err
		}
		sum += float64(mb)
	}
	return sum, nil
}
