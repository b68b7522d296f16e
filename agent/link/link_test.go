package link_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/agent/link"
	"slipstream/agent/wire"
)

// patience bounds every wait of these tests.
const patience = time.Minute

// panelEnd is one link as a scripted panel sees it.
type panelEnd struct {
	device string // by its certificate

	certificate *x509.Certificate
	up          *wire.Reader
	down        *wire.Writer
	raw         io.Writer
	done        chan struct{} // close it to end the link
}

// panel hands each link that devices open to the test. It certifies whoever asks.
func panel(t *testing.T) (*httptest.Server, <-chan panelEnd) {
	return panelWith(t, nil)
}

// panelWith sends other requests to others.
func panelWith(t *testing.T, others http.Handler) (*httptest.Server, <-chan panelEnd) {
	ca := newAuthority(t)
	return panelThat(t, others, func(device string, csr []byte) []byte { return ca.certify(t, device, csr) })
}

// panelThat certifies devices by its own rules.
func panelThat(t *testing.T, others http.Handler, certify func(device string, csr []byte) []byte) (*httptest.Server, <-chan panelEnd) {
	links := make(chan panelEnd, 4)
	mux := http.NewServeMux()
	s := httptest.NewUnstartedServer(mux)
	if others != nil {
		mux.Handle("/", others)
	}
	mux.HandleFunc("POST "+wire.EnrollPath, func(w http.ResponseWriter, r *http.Request) {
		var ask wire.EnrollRequest
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
			t.Error(err)
		}
		json.NewEncoder(w).Encode(wire.Enrollment{
			Device: ask.Device, Certificate: [][]byte{certify(ask.Device, ask.CSR), s.Certificate().Raw}, Authorities: [][]byte{s.Certificate().Raw},
		})
	})
	mux.HandleFunc("POST "+wire.Path, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		out := &flushing{w: w}
		defer out.close()
		end := panelEnd{up: wire.NewReader(r.Body), down: wire.NewWriter(out), raw: out, done: make(chan struct{})}
		end.certificate = r.TLS.PeerCertificates[0]
		if n := len(r.TLS.PeerCertificates); n != 1 {
			t.Errorf("the device shows %d certificates: the panel keeps all of them", n)
		}
		end.device, _ = wire.DeviceOf(end.certificate)
		links <- end
		select {
		case <-end.done:
		case <-r.Context().Done():
		}
	})
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.Config.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: wire.LegWindow, MaxReceiveBufferPerConnection: wire.LinkWindow}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, links
}

// authority certifies devices.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{key, c}
}

// certify makes a certificate that will be renewed in 40 minutes at the earliest.
func (a authority) certify(t *testing.T, device string, csr []byte) []byte {
	return a.certifyFrom(t, device, csr, time.Now().Add(-time.Minute))
}

// certifyFrom makes a certificate that is good for an hour from some time on.
func (a authority) certifyFrom(t *testing.T, device string, csr []byte, from time.Time) []byte {
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		t.Error(err)
		return nil
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(from.UnixNano()), URIs: []*url.URL{wire.DeviceURI(device)},
		NotBefore: from, NotAfter: from.Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, req.PublicKey, a.key)
	if err != nil {
		t.Error(err)
	}
	return der
}

// enrolled is the identity of cam-1 at a panel.
func enrolled(t *testing.T, s *httptest.Server) *link.Identity {
	t.Helper()
	return enrolledAt(t, s, s.URL)
}

func enrolledAt(t *testing.T, s *httptest.Server, url string) *link.Identity {
	t.Helper()
	id := nobody(t)
	if _, err := id.Prepare(t.Context(), url, wire.NewToken(wire.Pin(s.Certificate()))); err != nil {
		t.Fatal(err)
	}
	if err := id.Commit(); err != nil {
		t.Fatal(err)
	}
	return id
}

// nobody belongs to no panel.
func nobody(t *testing.T) *link.Identity {
	t.Helper()
	id, err := link.OpenIdentity(filepath.Join(t.TempDir(), "link"), "cam-1")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// flushing may be written to by the test after the handler has returned.
type flushing struct {
	mu   sync.Mutex
	w    http.ResponseWriter
	gone bool
}

func (f *flushing) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
}

func (f *flushing) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		return 0, io.ErrClosedPipe
	}
	n, err := f.w.Write(p)
	return n, errors.Join(err, http.NewResponseController(f.w).Flush())
}

// device is a backend and a gateway that do nothing but say what they were
// asked. A value in hold makes that call wait until it is closed.
type device struct {
	hold map[string]chan struct{}

	mu      sync.Mutex
	status  control.Status
	changed chan struct{}
	asked   []string
	long    int // length of the evidence in the history
}

var _ control.Backend = (*device)(nil)
var _ link.Media = (*device)(nil)

func newDevice() *device {
	return &device{hold: map[string]chan struct{}{}, changed: make(chan struct{}), status: control.Status{Seq: 1, Phase: "idle"}}
}

func (d *device) call(ctx context.Context, what string) control.Result {
	d.mu.Lock()
	d.asked = append(d.asked, what)
	d.mu.Unlock()
	verb, _, _ := strings.Cut(what, " ")
	if gate := d.hold[verb]; gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return control.Result{Exit: control.ExitError, Message: "the agent is stopping"}
		}
	}
	return control.Result{Message: "did " + what}
}

func (d *device) set(phase string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Seq++
	d.status.Phase = phase
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *device) Status(context.Context) (control.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status, nil
}

func (d *device) WaitStatus(ctx context.Context, seq uint64) (control.Status, error) {
	for {
		d.mu.Lock()
		status, changed := d.status, d.changed
		d.mu.Unlock()
		if status.Seq != seq {
			return status, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return control.Status{}, ctx.Err()
		}
	}
}

func (d *device) History(_ context.Context, max int) ([]control.Record, error) {
	list := make([]control.Record, max)
	for i := range list {
		list[i] = control.Record{To: fmt.Sprint(i), Evidence: []string{strings.Repeat("x", d.long)}}
	}
	return list, nil
}

func (d *device) Stage(ctx context.Context, r control.StageRequest) control.Result {
	return d.call(ctx, "stage "+r.URL)
}
func (d *device) Activate(ctx context.Context, r control.ActivateRequest) control.Result {
	return d.call(ctx, fmt.Sprintf("activate wait=%v", r.Wait))
}
func (d *device) Greenlight(ctx context.Context) control.Result { return d.call(ctx, "greenlight") }
func (d *device) Revert(ctx context.Context) control.Result     { return d.call(ctx, "revert") }
func (d *device) ReplaceForwarder(ctx context.Context) control.Result {
	return d.call(ctx, "replace forwarder")
}

func (d *device) WHEP(ctx context.Context, stream string, offer []byte) ([]byte, string, string, error) {
	d.call(ctx, "whep "+stream)
	return append([]byte("answer to "), offer...), stream + "/1", `"tag"`, nil
}
func (d *device) TellWHEP(ctx context.Context, session, match string, fragment []byte) (int, string, []byte, error) {
	d.call(ctx, "tell "+session)
	return 200, `"tag 2"`, append([]byte("to "+match+": "), fragment...), nil
}
func (d *device) EndWHEP(session string) { d.call(context.Background(), "end "+session) }

func (d *device) askedOf() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.asked...)
}

// run runs a device's link until the test ends.
func run(t *testing.T, id *link.Identity, d *device) { runOn(t, id, d) }

// runOn is run on any backend that is a gateway, too.
func runOn(t *testing.T, id *link.Identity, d interface {
	control.Backend
	link.Media
}) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- link.Run(ctx, id, d, d, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the link ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the link did not end with its context")
		}
	})
}

func accept(t *testing.T, links <-chan panelEnd) panelEnd {
	t.Helper()
	select {
	case end := <-links:
		return end
	case <-time.After(patience):
		t.Fatal("the device did not call")
		panic("unreachable")
	}
}

// next reads lines until one is of the kind that is wanted.
func next(t *testing.T, end panelEnd, wanted func(wire.Up) bool) wire.Up {
	t.Helper()
	found := make(chan wire.Up, 1)
	go func() {
		for {
			var up wire.Up
			if err := end.up.Read(&up); err != nil {
				close(found)
				return
			}
			if wanted(up) {
				found <- up
				return
			}
		}
	}()
	select {
	case up, ok := <-found:
		if !ok {
			t.Fatal("the link ended before the line came")
		}
		return up
	case <-time.After(patience):
		t.Fatal("the line did not come")
	}
	panic("unreachable")
}

func anAnswer(id uint64) func(wire.Up) bool {
	return func(up wire.Up) bool { return up.Answer != nil && up.Answer.ID == id }
}

func ask(t *testing.T, end panelEnd, a wire.Ask) wire.Answer {
	t.Helper()
	if err := end.down.Write(wire.Down{Ask: &a}); err != nil {
		t.Fatal(err)
	}
	return *next(t, end, anAnswer(a.ID)).Answer
}

func phaseIs(phase string) func(wire.Up) bool {
	return func(up wire.Up) bool {
		var s control.Status
		return up.Status != nil && json.Unmarshal(up.Status, &s) == nil && s.Phase == phase
	}
}

func TestADeviceSaysWhoItIsAndReportsEachChange(t *testing.T) {
	s, links := panel(t)
	d := newDevice()
	run(t, enrolled(t, s), d)
	end := accept(t, links)
	if end.device != "cam-1" {
		t.Errorf("the certificate was for %q", end.device)
	}
	if up := next(t, end, func(wire.Up) bool { return true }); up.Hello == nil || up.Hello.Device != "cam-1" {
		t.Errorf("the first line was %+v, not a hello", up)
	}
	next(t, end, phaseIs("idle"))
	d.set("trial")
	next(t, end, phaseIs("trial"))
}

func TestADeviceDoesWhatThePanelAsks(t *testing.T) {
	s, links := panel(t)
	d := newDevice()
	run(t, enrolled(t, s), d)
	end := accept(t, links)
	for i, a := range []struct {
		ask   wire.Ask
		asked string
	}{
		{wire.Ask{Stage: &wire.Stage{URL: "/v1/releases/1"}}, "stage " + s.URL + "/v1/releases/1"},
		{wire.Ask{Activate: &wire.Activate{}}, "activate wait=false"},
		{wire.Ask{Greenlight: &struct{}{}}, "greenlight"},
		{wire.Ask{Revert: &struct{}{}}, "revert"},
	} {
		a.ask.ID = uint64(i + 1)
		var r control.Result
		if err := json.Unmarshal(ask(t, end, a.ask).Result, &r); err != nil || r.Message != "did "+a.asked {
			t.Errorf("%s: answered %q, %v", a.asked, r.Message, err)
		}
	}
}

// An ask for a revert may come twice, or too late. It neither ends a return that it has begun,
// nor has a device return from a version that is not meant.
func TestARevertIsOfWhatThePanelMeans(t *testing.T) {
	s, links := panel(t)
	d := newDevice()
	run(t, enrolled(t, s), d)
	end := accept(t, links)
	for i, a := range []struct {
		status control.Status
		from   string
		exit   int
		asked  bool
	}{
		{control.Status{Slots: []control.Slot{{State: control.StatePermanent, Digest: "new"}}}, "new", control.ExitDone, true},
		{control.Status{Slots: []control.Slot{{State: control.StateTrial, Digest: "new"}}}, "new", control.ExitDone, true},
		{control.Status{Runtimes: []control.System{{State: control.StatePermanent, Stored: &control.Stored{Digest: "new"}}}}, "new", control.ExitDone, true},
		{control.Status{Slots: []control.Slot{{State: control.StateReverted, Digest: "new"}, {State: control.StatePermanent, Digest: "old"}}}, "new", control.ExitNothing, false},
		{control.Status{Slots: []control.Slot{{State: control.StatePermanent, Digest: "new"}}, Trial: &control.Trial{Return: "operator"}}, "new", control.ExitDone, false},
		{control.Status{Slots: []control.Slot{{State: control.StatePermanent, Digest: "old"}}}, "", control.ExitDone, true}, // an older panel
	} {
		d.mu.Lock()
		d.status, d.asked = a.status, nil
		d.mu.Unlock()
		var r control.Result
		if err := json.Unmarshal(ask(t, end, wire.Ask{ID: uint64(i + 1), Revert: &struct{}{}, RevertFrom: a.from}).Result, &r); err != nil || r.Exit != a.exit {
			t.Errorf("ask %d is answered by %+v, %v", i, r, err)
		}
		if got := slices.Contains(d.askedOf(), "revert"); got != a.asked {
			t.Errorf("ask %d: the agent was asked to revert: %v", i, got)
		}
	}
}

func TestADeviceCarriesOffersToItsGateway(t *testing.T) {
	s, links := panel(t)
	d := newDevice()
	run(t, enrolled(t, s), d)
	end := accept(t, links)
	answer := ask(t, end, wire.Ask{ID: 1, WHEP: &wire.WHEP{Stream: "main", Offer: "v=0"}})
	if answer.WHEP == nil || answer.WHEP.SDP != "answer to v=0" || answer.WHEP.Session != "main/1" || answer.WHEP.Tag != `"tag"` {
		t.Errorf("the answer was %+v", answer)
	}
	answer = ask(t, end, wire.Ask{ID: 3, TellWHEP: &wire.TellWHEP{Session: "main/1", Match: "x", Fragment: "a=b"}})
	if told := answer.Told; told == nil || *told != (wire.WHEPTold{Status: 200, Tag: `"tag 2"`, Body: "to x: a=b"}) {
		t.Errorf("the answer was %+v", answer)
	}
	for id, much := range map[uint64]*wire.TellWHEP{4: {Match: strings.Repeat("x", wire.MaxTag+1)}, 5: {Fragment: strings.Repeat("x", wire.MaxFragment+1)}} {
		if answer := ask(t, end, wire.Ask{ID: id, TellWHEP: much}); answer.Error == nil || answer.Error.Code != wire.CodeRefused {
			t.Errorf("too much is answered by %+v", answer)
		}
	}
	ask(t, end, wire.Ask{ID: 2, EndWHEP: &wire.EndWHEP{Session: "main/1"}})
	if got := strings.Join(d.askedOf(), ", "); got != "whep main, tell main/1, end main/1" {
		t.Errorf("the gateway was asked: %s", got)
	}
}

func TestAPanelMayOnlyNamePackagesOfItsOwn(t *testing.T) {
	s, links := panel(t)
	d := newDevice()
	run(t, enrolled(t, s), d)
	end := accept(t, links)
	for i, url := range []string{"https://192.0.2.1/x.slip", "//192.0.2.1/x", "http://127.0.0.1/x", "file:///etc/passwd", "https://u:p@" + strings.TrimPrefix(s.URL, "https://") + "/x", "%zz"} {
		answer := ask(t, end, wire.Ask{ID: uint64(i + 1), Stage: &wire.Stage{URL: url}})
		var r control.Result
		if err := json.Unmarshal(answer.Result, &r); err != nil || r.Exit != control.ExitRefused {
			t.Errorf("%s was answered with %+v, %v", url, r, err)
		}
	}
	if asked := d.askedOf(); len(asked) > 0 {
		t.Errorf("the agent was asked: %v", asked)
	}
}

func TestAnUnknownAskIsAnswered(t *testing.T) {
	s, links := panel(t)
	run(t, enrolled(t, s), newDevice())
	end := accept(t, links)
	if answer := ask(t, end, wire.Ask{ID: 9}); answer.Error == nil || answer.Error.Code != wire.CodeUnknownAsk {
		t.Errorf("the answer was %+v", answer)
	}
}

// Viewers who crowd the device must not keep an operator's revert out, and one
// ask too many must be told so.
func TestViewersDoNotCrowdOutAnOperator(t *testing.T) {
	s, links := panel(t)
	d := newDevice()
	d.hold["whep"] = make(chan struct{})
	run(t, enrolled(t, s), d)
	end := accept(t, links)
	const crowd = 30
	for i := range crowd {
		if err := end.down.Write(wire.Down{Ask: &wire.Ask{ID: uint64(i + 1), WHEP: &wire.WHEP{Stream: "main", Offer: "v=0"}}}); err != nil {
			t.Fatal(err)
		}
	}
	if up := next(t, end, anAnswer(crowd)); up.Answer.Error == nil || up.Answer.Error.Code != wire.CodeBusy {
		t.Errorf("viewer %d was answered %+v", crowd, up.Answer)
	}
	if answer := ask(t, end, wire.Ask{ID: crowd + 1, Revert: &struct{}{}}); answer.Result == nil {
		t.Errorf("the revert was answered %+v", answer)
	}
	close(d.hold["whep"])
}

// Whatever is slow, an operator can still revert, greenlight and look.
func TestSlowAsksDoNotCrowdOutOthers(t *testing.T) {
	for _, slow := range []struct {
		verb string
		ask  wire.Ask
	}{
		{"stage", wire.Ask{Stage: &wire.Stage{URL: "/v1/releases/1"}}},
		{"activate", wire.Ask{Activate: &wire.Activate{}}},
		{"greenlight", wire.Ask{Greenlight: &struct{}{}}},
	} {
		t.Run(slow.verb, func(t *testing.T) {
			s, links := panel(t)
			d := newDevice()
			d.hold[slow.verb] = make(chan struct{})
			run(t, enrolled(t, s), d)
			end := accept(t, links)
			const crowd = 30
			for i := range crowd {
				slow.ask.ID = uint64(i + 1)
				if err := end.down.Write(wire.Down{Ask: &slow.ask}); err != nil {
					t.Fatal(err)
				}
			}
			if up := next(t, end, anAnswer(crowd)); up.Answer.Error == nil || up.Answer.Error.Code != wire.CodeBusy {
				t.Errorf("%s %d was answered %+v", slow.verb, crowd, up.Answer)
			}
			others := []wire.Ask{{ID: 101, Revert: &struct{}{}}, {ID: 102, History: &wire.History{Max: 1}}}
			if slow.verb != "greenlight" {
				others = append(others, wire.Ask{ID: 103, Greenlight: &struct{}{}})
			}
			for _, other := range others {
				if answer := ask(t, end, other); answer.Error != nil {
					t.Errorf("ask %d was answered %+v", other.ID, answer.Error)
				}
			}
			close(d.hold[slow.verb])
		})
	}
}

// An ask outlives its link, and the next link is opened meanwhile.
func TestAnAskGoesOnWhenTheLinkIsCut(t *testing.T) {
	s, links := panel(t)
	d := newDevice()
	d.hold["stage"] = make(chan struct{})
	run(t, enrolled(t, s), d)
	first := accept(t, links)
	if err := first.down.Write(wire.Down{Ask: &wire.Ask{ID: 1, Stage: &wire.Stage{URL: "/v1/releases/1"}}}); err != nil {
		t.Fatal(err)
	}
	next(t, first, phaseIs("idle"))
	for deadline := time.Now().Add(patience); len(d.askedOf()) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the stage did not begin")
		}
		<-time.After(time.Millisecond)
	}
	close(first.done)
	second := accept(t, links)
	close(d.hold["stage"])
	if answer := ask(t, second, wire.Ask{ID: 1, Greenlight: &struct{}{}}); answer.Result == nil {
		t.Errorf("on the second link: %+v", answer)
	}
}

func TestAHistoryIsCutToFitALine(t *testing.T) {
	s, links := panel(t)
	d := newDevice()
	d.long = 20 << 10
	run(t, enrolled(t, s), d)
	end := accept(t, links)
	var list []control.Record
	answer := ask(t, end, wire.Ask{ID: 1, History: &wire.History{Max: 50}})
	if err := json.Unmarshal(answer.History, &list); err != nil || len(list) == 0 || len(list) == 50 || list[0].To != "0" {
		t.Errorf("got %d records, %v", len(list), err)
	}
}

func TestAStatusIsSentWithoutEvidenceThatDoesNotFit(t *testing.T) {
	s, links := panel(t)
	d := newDevice()
	d.status.Last = &control.Record{To: "2.0", Evidence: []string{strings.Repeat("x", wire.MaxLine)}}
	run(t, enrolled(t, s), d)
	up := next(t, accept(t, links), phaseIs("idle"))
	var status control.Status
	if err := json.Unmarshal(up.Status, &status); err != nil || status.Last == nil || status.Last.To != "2.0" || status.Last.Evidence != nil {
		t.Errorf("the status was %s, %v", up.Status, err)
	}
}

func TestALineTooLongEndsTheLinkAndTheDeviceCallsAgain(t *testing.T) {
	s, links := panel(t)
	run(t, enrolled(t, s), newDevice())
	first := accept(t, links)
	next(t, first, phaseIs("idle"))
	io.WriteString(first.raw, `{"ask":"`+strings.Repeat("x", wire.MaxLine)+"\"}\n") // the device may go before its end
	accept(t, links)
}
