package link_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/agent/link"
	"slipstream/agent/wire"
)

// sender is a device whose forwarder keeps the sockets that it is given.
type sender struct {
	*device

	legs   sync.Mutex // guards what follows
	sent   map[string]net.Conn
	framed map[string]bool
	gone   map[string]func()
	ended  chan string
}

var _ link.Forwarder = (*sender)(nil)

func newSender() *sender {
	return &sender{device: newDevice(), sent: map[string]net.Conn{}, framed: map[string]bool{}, gone: map[string]func(){}, ended: make(chan string, 100)}
}

func (s *sender) OpenLeg(_ context.Context, leg wire.Leg, socket *os.File, framed bool, ended func()) ([]wire.LegTrack, error) {
	if leg.Stream == "none" {
		return nil, errors.New("there is no stream none")
	}
	c, err := net.FileConn(socket) // a copy
	if err != nil {
		return nil, err
	}
	s.legs.Lock()
	defer s.legs.Unlock()
	s.sent[leg.ID], s.framed[leg.ID], s.gone[leg.ID] = c, framed, ended
	return []wire.LegTrack{{Stream: leg.Stream, Codec: "h264", SSRC: leg.SSRC, PayloadType: 96}}, nil
}

func (s *sender) EndLeg(id string) {
	s.legs.Lock()
	defer s.legs.Unlock()
	if c := s.sent[id]; c != nil {
		c.Close()
	}
	s.ended <- id
}

func (s *sender) socket(id string) net.Conn {
	s.legs.Lock()
	defer s.legs.Unlock()
	return s.sent[id]
}

// awaitEnd returns when the forwarder was told to let a leg go.
func (s *sender) awaitEnd(t *testing.T, id string) {
	t.Helper()
	for {
		select {
		case got := <-s.ended:
			if got == id {
				return
			}
		case <-time.After(patience):
			t.Fatalf("leg %s was not ended", id)
		}
	}
}

// legEnd is a leg as it comes to the panel on the link's connection.
type legEnd struct {
	id   string
	from io.Reader
	to   io.Writer
	done chan struct{} // close it to end the leg
}

// legPanel is a panel to which legs come, and a device that is linked to it.
func legPanel(t *testing.T) (*sender, panelEnd, <-chan legEnd) {
	t.Helper()
	arrived := make(chan legEnd, 10)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.LegPath+"/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		out := &flushing{w: w}
		defer out.close()
		e := legEnd{r.PathValue("id"), r.Body, out, make(chan struct{})}
		arrived <- e
		select {
		case <-e.done:
		case <-r.Context().Done():
		}
	})
	s, links := panelWith(t, mux)
	d := newSender()
	runOn(t, enrolled(t, s), d)
	return d, accept(t, links), arrived
}

func legOf(id, stream string, udp int) *wire.Leg {
	return &wire.Leg{
		ID: id, Stream: stream, UDP: udp, SSRC: 7,
		DeviceKey: make([]byte, 16), DeviceSalt: make([]byte, 12), PanelKey: make([]byte, 16), PanelSalt: make([]byte, 12),
		DeviceUfrag: "abcd", DevicePwd: strings.Repeat("p", 22), PanelUfrag: "efgh",
	}
}

// cameLeg asks for a leg and returns it when it has come.
func cameLeg(t *testing.T, end panelEnd, arrived <-chan legEnd, ask uint64, l *wire.Leg) legEnd {
	t.Helper()
	openLeg(t, end, ask, l)
	select {
	case e := <-arrived:
		if e.id != l.ID {
			t.Fatalf("leg %q came", e.id)
		}
		return e
	case <-time.After(patience):
		t.Fatal("the leg did not come")
	}
	panic("unreachable")
}

func openLeg(t *testing.T, end panelEnd, id uint64, l *wire.Leg) {
	t.Helper()
	answer := ask(t, end, wire.Ask{ID: id, Leg: l})
	if answer.Leg == nil || len(answer.Leg.Tracks) != 1 || answer.Leg.Tracks[0].Stream != l.Stream {
		t.Fatalf("answered %+v %v", answer.Leg, answer.Error)
	}
}

func readSome(t *testing.T, r io.Reader, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	if _, err := io.ReadFull(r, buf); err != nil || string(buf) != want {
		t.Errorf("read %q, %v; want %q", buf, err, want)
	}
}

func TestALegGoesBesideTheLinksLines(t *testing.T) {
	d, end, arrived := legPanel(t)
	far := cameLeg(t, end, arrived, 1, legOf("leg00001", "main", 0))
	near := d.socket("leg00001")
	io.WriteString(near, "pictures")
	readSome(t, far.from, "pictures")
	io.WriteString(far.to, "a wish")
	readSome(t, near, "a wish")
	if !d.framed["leg00001"] {
		t.Error("its packets are not to be framed")
	}

	// Another one of the stream takes its place.
	second := cameLeg(t, end, arrived, 2, legOf("leg00002", "main", 0))
	d.awaitEnd(t, "leg00001")
	if rest, _ := io.ReadAll(far.from); len(rest) > 0 {
		t.Errorf("the first one ended with %q", rest)
	}

	// One that the forwarder lets go of ends at the panel, too.
	d.gone["leg00002"]()
	_, _ = io.ReadAll(second.from) // returns

	// One that the panel lets go of ends at the forwarder.
	third := cameLeg(t, end, arrived, 3, legOf("leg00003", "main", 0))
	close(third.done)
	d.awaitEnd(t, "leg00003")
	cameLeg(t, end, arrived, 4, legOf("leg00004", "main", 0))
	ask(t, end, wire.Ask{ID: 5, EndLeg: &wire.EndLeg{ID: "leg00004"}})
	d.awaitEnd(t, "leg00004")

	// The link's end is theirs.
	cameLeg(t, end, arrived, 6, legOf("leg00005", "main", 0))
	close(end.done)
	d.awaitEnd(t, "leg00005")
}

func TestALegGoesByUDPToThePanelAlone(t *testing.T) {
	d, end, _ := legPanel(t)
	l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	openLeg(t, end, 1, legOf("leg00001", "main", l.LocalAddr().(*net.UDPAddr).Port))
	if d.framed["leg00001"] {
		t.Error("datagrams are to be framed")
	}
	io.WriteString(d.socket("leg00001"), "picture")
	buf := make([]byte, 100)
	l.SetReadDeadline(time.Now().Add(patience))
	if n, _, err := l.ReadFrom(buf); string(buf[:n]) != "picture" {
		t.Errorf("%q came, %v", buf[:n], err)
	}
}

// A panel that does not read a leg makes the forwarder wait, and nothing else: the
// link's lines come as before.
func TestALegThatIsNotReadHoldsNothingUp(t *testing.T) {
	d, end, arrived := legPanel(t)
	for i, stream := range []string{"main", "sub"} {
		cameLeg(t, end, arrived, uint64(i+1), legOf("leg0000"+stream, stream, 0))
		near, piece := d.socket("leg0000"+stream), bytes.Repeat([]byte{7}, 1<<16)
		total := 0
		for {
			near.SetWriteDeadline(time.Now().Add(time.Second))
			n, err := near.Write(piece)
			total += n
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil || total > 16<<20 {
				t.Fatalf("after %d bytes that nobody has read: %v", total, err)
			}
		}
	}
	d.set(strings.Repeat("x", 100<<10))
	next(t, end, phaseIs(strings.Repeat("x", 100<<10)))
	if answer := ask(t, end, wire.Ask{ID: 9, Revert: &struct{}{}}); answer.Result == nil {
		t.Errorf("answered %+v", answer)
	}
}

func TestLegsThatAreRefused(t *testing.T) {
	d, end, arrived := legPanel(t)
	for name, spoil := range map[string]func(*wire.Leg){
		"no name":       func(l *wire.Leg) { l.ID = "" },
		"a path":        func(l *wire.Leg) { l.ID = "../../../v1/enroll" },
		"no port":       func(l *wire.Leg) { l.UDP = 65536 },
		"a short key":   func(l *wire.Leg) { l.PanelKey = l.PanelKey[1:] },
		"no password":   func(l *wire.Leg) { l.DevicePwd = "" },
		"no such thing": func(l *wire.Leg) { l.Stream = "none" },
	} {
		l := legOf("leg00009", "main", 0)
		spoil(l)
		if answer := ask(t, end, wire.Ask{ID: 1, Leg: l}); answer.Error == nil {
			t.Errorf("%s: %+v", name, answer)
		}
	}
	for i := range wire.MaxLegs {
		cameLeg(t, end, arrived, uint64(i+2), legOf("leg0000"+string(rune('a'+i)), "s"+string(rune('a'+i)), 0))
	}
	for what, l := range map[string]*wire.Leg{"one too many": legOf("leg00009", "more", 0), "a name twice": legOf("leg0000a", "sa", 0)} {
		if answer := ask(t, end, wire.Ask{ID: 50, Leg: l}); answer.Error == nil {
			t.Errorf("%s: %+v", what, answer)
		}
	}
	if d.socket("leg00009") != nil {
		t.Error("the forwarder was asked")
	}
	if got := d.askedOf(); slices.Contains(got, "revert") {
		t.Error(got)
	}
}

func TestADeviceWithoutAForwarderSendsNoLegs(t *testing.T) {
	s, links := panel(t)
	run(t, enrolled(t, s), newDevice())
	if answer := ask(t, accept(t, links), wire.Ask{ID: 1, Leg: legOf("leg00001", "main", 0)}); answer.Error == nil || answer.Error.Code != wire.CodeFailed {
		t.Errorf("answered %+v", answer)
	}
}
