package hub_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/hub"
	"slipstream/agent/control"
	"slipstream/agent/wire"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// serve makes a hub to which "cam-N~right" proves that cam-N calls.
func serve(t *testing.T) (*hub.Hub, string) {
	h := hub.New(hub.Config{Identify: func(r *http.Request) (string, bool) {
		return strings.CutSuffix(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), "~right")
	}}, slog.New(slog.DiscardHandler))
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.Protocols.SetHTTP1(true)
	s.Start()
	t.Cleanup(s.Close)
	return h, s.URL
}

// device is one scripted link.
type device struct {
	raw  io.Writer
	up   *wire.Writer
	down *wire.Reader
	code int
	end  func() // hangs up
}

func dial(t *testing.T, url, token string) device {
	t.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	ctx, cancel := context.WithCancel(context.Background())
	up, body := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+wire.Path, up)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	end := func() { cancel(); body.Close(); resp.Body.Close() }
	t.Cleanup(func() { end(); transport.CloseIdleConnections() })
	return device{body, wire.NewWriter(body), wire.NewReader(resp.Body), resp.StatusCode, end}
}

func (d device) hello(t *testing.T, name string) device {
	t.Helper()
	d.send(t, wire.Up{Hello: &wire.Hello{Device: name}})
	return d
}

func (d device) send(t *testing.T, up wire.Up) {
	t.Helper()
	if err := d.up.Write(up); err != nil {
		t.Fatal(err)
	}
}

// ask reads until the panel asks for something.
func (d device) ask(t *testing.T) wire.Ask {
	t.Helper()
	for {
		var down wire.Down
		if err := d.down.Read(&down); err != nil {
			t.Fatal(err)
		}
		if down.Ask != nil {
			return *down.Ask
		}
	}
}

// ended waits until the panel has ended the link.
func (d device) ended(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if err := d.down.Read(&wire.Down{}); err != nil {
				return
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the panel kept the link")
	}
}

// until waits for a device that is as wanted.
func until(t *testing.T, h *hub.Hub, id string, wanted func(hub.Device) bool) hub.Device {
	t.Helper()
	late := time.After(patience)
	watch := h.Watch()
	defer watch.Close()
	for {
		if d, ok := h.Device(id); ok && wanted(d) {
			return d
		}
		select {
		case <-watch.Changed():
			watch.Take()
		case <-late:
			d, _ := h.Device(id)
			t.Fatalf("%s stayed %+v", id, d)
		}
	}
}

func online(d hub.Device) bool  { return d.Online }
func offline(d hub.Device) bool { return !d.Online }

func statusOf(phase string) wire.Up {
	text, _ := json.Marshal(control.Status{Phase: phase, Device: "somebody-else"})
	return wire.Up{Status: text}
}

func TestADeviceComesReportsAndGoes(t *testing.T) {
	h, url := serve(t)
	d := dial(t, url, "cam-1~right").hello(t, "cam-1")
	until(t, h, "cam-1", online)
	d.send(t, statusOf("trial"))
	got := until(t, h, "cam-1", func(d hub.Device) bool { return d.Status != nil })
	if got.Status.Phase != "trial" || got.Status.Device != "cam-1" {
		t.Errorf("the status was %+v", got.Status)
	}
	d.end()
	if got := until(t, h, "cam-1", offline); got.Status == nil {
		t.Error("the last status was forgotten with the link")
	}
}

func TestAnAskIsAnswered(t *testing.T) {
	h, url := serve(t)
	d := dial(t, url, "cam-1~right").hello(t, "cam-1")
	until(t, h, "cam-1", online)
	go func() {
		ask := d.ask(t)
		d.send(t, wire.Up{Answer: &wire.Answer{ID: ask.ID + 1000}}) // to nobody
		d.send(t, wire.Up{Answer: &wire.Answer{ID: ask.ID, Result: json.RawMessage(`{"exit":3}`)}})
		d.send(t, wire.Up{Answer: &wire.Answer{ID: ask.ID}}) // twice
		ask = d.ask(t)
		d.send(t, wire.Up{Answer: &wire.Answer{ID: ask.ID, Error: &wire.Error{Code: wire.CodeUnknownAsk, Message: "no"}}})
	}()
	answer, err := h.Ask(t.Context(), "cam-1", wire.Ask{Revert: &struct{}{}})
	if err != nil || string(answer.Result) != `{"exit":3}` {
		t.Errorf("got %+v, %v", answer, err)
	}
	if _, err := h.Ask(t.Context(), "cam-1", wire.Ask{}); err == nil || err.Error() != "no" {
		t.Errorf("an error of the device came as %v", err)
	}
}

func TestWhoIsNotLetIn(t *testing.T) {
	h, url := serve(t)
	for _, token := range []string{"", "cam-1", "cam-1~wrong"} {
		if d := dial(t, url, token); d.code != http.StatusUnauthorized {
			t.Errorf("token %q got %d", token, d.code)
		}
	}
	resp, err := http.Post(url+wire.Path, "", nil) // HTTP/1.1
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusHTTPVersionNotSupported {
		t.Errorf("a link by HTTP/1.1 got %d", resp.StatusCode)
	}
	if list := h.Devices(); len(list) > 0 {
		t.Errorf("the hub shows %+v", list)
	}
}

func TestWhatEndsALink(t *testing.T) {
	h, url := serve(t)
	for name, lines := range map[string]string{
		"the name of another device": `{"hello":{"device":"cam-2"}}` + "\n",
		"a status before the hello":  `{"status":{}}` + "\n",
		"nonsense":                   "GET / HTTP/1.1\n",
		"a line without end":         strings.Repeat("x", 2*wire.MaxLine),
	} {
		d := dial(t, url, "cam-1~right")
		go io.WriteString(d.raw, lines)
		d.ended(t)
		if _, ok := h.Device("cam-1"); ok {
			t.Errorf("%s made a device", name)
		}
	}
	d := dial(t, url, "cam-1~right").hello(t, "cam-1")
	until(t, h, "cam-1", online)
	go io.WriteString(d.raw, `{"status":"`+strings.Repeat("x", wire.MaxLine)+"\"}\n")
	until(t, h, "cam-1", offline)
}

func TestANewerDevicesLinesAreTolerated(t *testing.T) {
	h, url := serve(t)
	d := dial(t, url, "cam-1~right").hello(t, "cam-1")
	io.WriteString(d.raw, `{"weather":"rain"}`+"\n"+`{"status":{"phase":"idle","mood":"good"}}`+"\n")
	until(t, h, "cam-1", func(d hub.Device) bool { return d.Status != nil && d.Status.Phase == "idle" })
}

// The first link may be dead without anyone knowing: the second one counts.
func TestASecondLinkTakesThePlaceOfTheFirst(t *testing.T) {
	h, url := serve(t)
	first := dial(t, url, "cam-1~right").hello(t, "cam-1")
	until(t, h, "cam-1", online)
	failed := make(chan error, 1)
	go func() {
		_, err := h.Ask(t.Context(), "cam-1", wire.Ask{Revert: &struct{}{}})
		failed <- err
	}()
	first.ask(t)
	second := dial(t, url, "cam-1~right").hello(t, "cam-1")
	first.ended(t)
	if err := <-failed; !errors.Is(err, hub.ErrLost) {
		t.Errorf("the ask on the first link ended with %v", err)
	}
	second.send(t, statusOf("idle"))
	until(t, h, "cam-1", func(d hub.Device) bool { return d.Online && d.Status != nil })
}

func TestAskingWhoIsNotThere(t *testing.T) {
	h, url := serve(t)
	if _, err := h.Ask(t.Context(), "cam-1", wire.Ask{}); !errors.Is(err, hub.ErrOffline) {
		t.Errorf("an unknown device: %v", err)
	}
	d := dial(t, url, "cam-1~right").hello(t, "cam-1")
	until(t, h, "cam-1", online)
	d.end()
	until(t, h, "cam-1", offline)
	if _, err := h.Ask(t.Context(), "cam-1", wire.Ask{}); !errors.Is(err, hub.ErrOffline) {
		t.Errorf("a device that left: %v", err)
	}
}

// A device that takes its time costs the asker his time, and asks without end
// are refused.
func TestASlowDevice(t *testing.T) {
	h, url := serve(t)
	dial(t, url, "cam-1~right").hello(t, "cam-1")
	until(t, h, "cam-1", online)
	ctx, cancel := context.WithCancel(t.Context())
	const many = 100
	ended := make(chan error, many)
	for range many {
		go func() {
			_, err := h.Ask(ctx, "cam-1", wire.Ask{Revert: &struct{}{}})
			ended <- err
		}()
	}
	for range many - 64 {
		if err := <-ended; !errors.Is(err, hub.ErrBusy) {
			t.Errorf("an ask too many: %v", err)
		}
	}
	cancel()
	for range 64 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("an ask that was given up: %v", err)
		}
	}
}

// A device that reads nothing holds no one up for long. It takes the hub's
// writeTimeout.
func TestADeviceThatDoesNotRead(t *testing.T) {
	t.Parallel()
	h, url := serve(t)
	d := dial(t, url, "cam-1~right").hello(t, "cam-1")
	until(t, h, "cam-1", online)
	stop := make(chan struct{})
	defer close(stop)
	go func() { // it does live
		for {
			select {
			case <-stop:
				return
			case <-time.After(wire.PingEvery / 2):
				d.up.Write(wire.Up{Ping: &wire.Ping{}})
			}
		}
	}()
	offer := strings.Repeat("x", wire.MaxOffer)
	for range 64 {
		go h.Ask(t.Context(), "cam-1", wire.Ask{WHEP: &wire.WHEP{Stream: "main", Offer: offer}})
		go h.Ask(t.Context(), "cam-1", wire.Ask{WHEP: &wire.WHEP{Stream: "main", Offer: offer}})
	}
	until(t, h, "cam-1", offline)
}

// It takes wire.SilenceLimit.
func TestASilentDeviceIsGivenUp(t *testing.T) {
	t.Parallel()
	h, url := serve(t)
	d := dial(t, url, "cam-1~right").hello(t, "cam-1")
	until(t, h, "cam-1", online)
	d.ended(t)
	until(t, h, "cam-1", offline)
}

// However slow a watcher is, it learns of every device and delays nobody.
func TestASlowWatcher(t *testing.T) {
	h, url := serve(t)
	watch := h.Watch()
	defer watch.Close()
	for _, name := range []string{"cam-1", "cam-2"} {
		d := dial(t, url, name+"~right").hello(t, name)
		for range 100 {
			d.send(t, statusOf("idle"))
		}
		d.send(t, statusOf("trial"))
		until(t, h, name, func(d hub.Device) bool { return d.Status != nil && d.Status.Phase == "trial" })
	}
	if got := strings.Join(watch.Take(), " "); got != "cam-1 cam-2" {
		t.Errorf("the watcher learned of %q", got)
	}
}

// desired reads until the panel says what it desires.
func (d device) desired(t *testing.T) wire.Desired {
	t.Helper()
	for {
		var down wire.Down
		if err := d.down.Read(&down); err != nil {
			t.Fatal(err)
		}
		if down.Desired != nil {
			return *down.Desired
		}
	}
}

// What is desired is said on every link, with what is left until its moment.
func TestWhatIsDesiredIsSaidOnEveryLink(t *testing.T) {
	h, url := serve(t)
	want := wire.Desired{Epoch: 7, Live: wire.Target{Digest: "d"}, Activate: true}
	if err := h.SetDesired("cam-1", want, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		d := dial(t, url, "cam-1~right").hello(t, "cam-1")
		got := d.desired(t)
		if left := time.Duration(got.ActivateInMS) * time.Millisecond; got.Epoch != 7 || left > time.Hour || left < time.Hour-patience {
			t.Errorf("got %+v", got)
		}
		d.end()
		until(t, h, "cam-1", offline)
	}
	d := dial(t, url, "cam-1~right").hello(t, "cam-1")
	until(t, h, "cam-1", online)
	if err := h.SetDesired("cam-1", wire.Desired{Epoch: 6}, time.Time{}); !errors.Is(err, hub.ErrOldEpoch) {
		t.Errorf("an older epoch: %v", err)
	}
	if err := h.SetDesired("cam-1", wire.Desired{Epoch: 8}, time.Time{}); err != nil {
		t.Error(err)
	}
	for got := d.desired(t); got.Epoch != 8; got = d.desired(t) {
		if got.Epoch != 7 {
			t.Errorf("got %+v", got)
		}
	}
	d.send(t, wire.Up{Report: &wire.Report{Epoch: 7, State: wire.ReportPermanent}}) // too late
	d.send(t, wire.Up{Report: &wire.Report{Epoch: 8, State: wire.ReportStaging}})
	if got := until(t, h, "cam-1", func(d hub.Device) bool { return d.Report != nil }); got.Report.Epoch != 8 {
		t.Errorf("the report is %+v", got.Report)
	}
}

// A panel that ends says so, and takes nobody in any more.
func TestDrain(t *testing.T) {
	h, url := serve(t)
	d := dial(t, url, "cam-1~right").hello(t, "cam-1")
	until(t, h, "cam-1", online)
	h.Drain(30 * time.Second)
	for {
		var down wire.Down
		if err := d.down.Read(&down); err != nil {
			t.Fatalf("the link ended without a word: %v", err)
		}
		if down.Leave != nil {
			if down.Leave.PauseMS != 30_000 {
				t.Errorf("got %+v", down.Leave)
			}
			break
		}
	}
	d.ended(t)
	if late := dial(t, url, "cam-2~right"); late.code != http.StatusServiceUnavailable {
		t.Errorf("a newcomer got %d", late.code)
	}
}

// Callers who say nothing must not keep others from the handshake for long, and a
// door that is closed waits for nobody.
func TestADoorIsClosedAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door := hub.NewDoor(l, &tls.Config{MinVersion: tls.VersionTLS13}, slog.New(slog.DiscardHandler))
	for range 200 { // more than there is room for
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := door.Accept()
		accepted <- err
	}()
	if err := door.Close(); err != nil {
		t.Error(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept ended with %v", err)
	}
}

// late is a listener that lets callers wait.
type late struct {
	net.Listener
	open chan struct{}
}

func (l late) Accept() (net.Conn, error) {
	<-l.open
	return l.Listener.Accept()
}

// A caller who has left, as most do whom a storm keeps waiting, costs no handshake.
func TestWhoHasLeftCostsNoHandshake(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const here, left = 3, 20
	hellos := make(chan string, here+left)
	gate := late{l, make(chan struct{})}
	door := hub.NewDoor(gate, &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		hellos <- h.ServerName
		return nil, errors.New("this test goes no further")
	}}, slog.New(slog.DiscardHandler))
	defer door.Close()
	for range left {
		hello(t, l.Addr(), "left").Close()
	}
	for range here {
		defer hello(t, l.Addr(), "here").Close()
	}
	close(gate.open)
	for range here {
		select {
		case name := <-hellos:
			if name != "here" {
				t.Fatal("a caller who has left was shaken hands with")
			}
		case <-time.After(patience):
			t.Fatal("nobody shakes hands with who is there")
		}
	}
}

// hello calls, and says the first word of a handshake.
func hello(t *testing.T, to net.Addr, name string) net.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan struct{})
	go func() {
		_ = tls.Client(spoken{raw, sync.OnceFunc(func() { close(said) })}, &tls.Config{ServerName: name, InsecureSkipVerify: true}).HandshakeContext(t.Context())
	}()
	<-said
	return raw
}

// spoken tells of the first write, once it is done.
type spoken struct {
	net.Conn
	told func()
}

func (s spoken) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.told()
	return n, err
}
