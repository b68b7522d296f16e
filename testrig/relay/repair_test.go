package relay_test

import (
	"testing"
	"time"

	"slipstream/stream/publish"
	"slipstream/testrig/relay"
	"slipstream/testrig/stand"
	"slipstream/testrig/standtest"
	"slipstream/testrig/viewer"
)

// world is a stand on which two versions play.
type world struct {
	*standtest.World
	parts [2]stand.Part
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{standtest.New(t), [2]stand.Part{stand.NewPart("a-1", "1.0", 0), stand.NewPart("b-1", "2.0", 0)}}
	w.Must(w.Order(w.Ctx, nil, w.parts[:]...))
	for i, part := range w.parts {
		w.Play(part, stand.Scene{Version: part.Source.Version, Rate: 60, GOP: 10, Phase: uint64(i) * 5, Bytes: 6000})
	}
	return w
}

// sway switches and reverts; each time the viewer sees both versions.
func (w *world) sway(v *viewer.Viewer, times int) {
	w.T.Helper()
	for range times {
		begin := publish.Monotonic()
		id, err := w.Try(w.Ctx, w.parts[0], w.parts[1])
		w.Must(err)
		w.Sees(v, "2.0", begin)
		back := publish.Monotonic()
		_, err = w.Revert(w.Ctx, id)
		w.Must(err)
		w.Sees(v, "1.0", back)
	}
}

// What a bad network loses of a WebRTC stream is sent again byte for byte, also
// when the packets are those of the version that viewers have just left.
func TestLostPacketsComeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	again := 0
	for _, c := range []struct {
		name   string
		faults relay.Faults
	}{
		{"1 % loss", relay.Faults{Loss: 0.01}},
		{"5 % loss, 20 ms away", relay.Faults{Loss: 0.05, Delay: 20 * time.Millisecond}},
		{"3 % loss, jitter, doubles and overtaking", relay.Faults{Loss: 0.03, Jitter: 10 * time.Millisecond, Duplicate: 0.02, Reorder: 0.05}},
	} {
		r, err := relay.NewUDP(w.UDPAddress(), 1)
		w.Must(err)
		t.Cleanup(r.Close)
		v := w.Join("1.0", func() (*viewer.Viewer, error) {
			return viewer.DialWHEP(w.Ctx, w.WHEP(), viewer.Answer(r.Answer), viewer.Repair())
		})
		from := publish.Monotonic()
		r.Spoil(c.faults)
		w.sway(v, standtest.Rounds(5, 50))
		end := publish.Monotonic()
		w.Sees(v, "1.0", end)
		rep, said := w.Intact(v, c.name, from, end), r.Witness.Say()
		t.Logf("%s: %+v, asked for %d, %+v; %d frames", c.name, r.Counts(), v.Asked(), said, rep.Frames)
		again += said.Again
		if said.Reused > 0 || said.Missing > 0 {
			t.Errorf("%s: asked for %d, %+v", c.name, v.Asked(), said)
		}
		v.Close()
	}
	if again == 0 {
		t.Error("nothing was sent again")
	}
}

// An RTSP viewer over UDP asks for nothing again: the network's losses are its own,
// every other packet comes, and the session stands.
func TestRTSPOverABadNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, err := relay.NewRTSP(w.RTSPAddress(), 1)
	w.Must(err)
	t.Cleanup(r.Close)
	v := w.Join("1.0", func() (*viewer.Viewer, error) {
		return viewer.DialRTSP(w.Ctx, viewer.RTSPUDP, "rtsp://"+r.Addr()+"/"+stand.Stream)
	})
	// Late, but all there and in order.
	from := publish.Monotonic()
	r.Spoil(relay.Faults{Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond})
	w.sway(v, standtest.Rounds(5, 50))
	w.Intact(v, "delayed", from, publish.Monotonic())
	r.Spoil(relay.Faults{Loss: 0.03, Reorder: 0.03})
	w.sway(v, standtest.Rounds(5, 50))
	r.Spoil(relay.Faults{})
	healed := publish.Monotonic()
	_, err = v.Wait(w.Ctx, "a key frame after the losses", func(u viewer.Unit) bool { return u.IDR && u.First > healed })
	w.Must(err)
	begin := publish.Monotonic()
	w.sway(v, 2)
	w.Intact(v, "after the losses", begin, publish.Monotonic())
	if said := r.Witness.Say(); said.Reused+said.Missing+said.Again > 0 || r.Counts().Lost == 0 {
		t.Errorf("the forwarder sent %+v, the relay did %+v", said, r.Counts())
	}
}
