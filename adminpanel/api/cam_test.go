package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/fleet"
	"slipstream/agent/control"
	"slipstream/agent/wire"
)

// enrol lets devices in, as the panel would by a token.
func (w *world) enrol(site string, ids ...string) {
	w.Helper()
	for _, id := range ids {
		_, err := w.cfg.Fleet.Enrol(w.Context(), audit.Who{Actor: "device " + id}, fleet.Enrolled{
			ID: id, Key: "key of " + id, Serial: "01", Until: time.Now().Add(24 * time.Hour), Site: site}, nil, nil)
		if err != nil {
			w.Fatal(err)
		}
	}
}

// cam is a scripted device on a link of its own: it takes what is desired at once.
type cam struct {
	w    *world
	id   string
	up   *wire.Writer
	hang func()

	mu       sync.Mutex // guards what follows
	status   control.Status
	greenlit string        // who greenlights: "app" does at once, "operator" waits
	refuses  string        // what is desired is refused with these words
	session  string        // what it calls a viewer's session
	tag      string        // and its ICE
	told     wire.WHEPTold // its answer to what a viewer tells; zero: it does not know that
	soak     time.Duration
	off      time.Duration // how wrong its clock is
	asks     []wire.Ask
}

// link enrols a device, connects it and waits until the panel has its status.
func (w *world) link(site, id string, changes ...func(*cam)) *cam {
	w.Helper()
	w.enrol(site, id)
	c := &cam{w: w, id: id, greenlit: "app", session: "main/s1", status: control.Status{
		Device: id, Product: "sample-camera", Hardware: "rig", Agent: "1.0", Phase: "idle", Permanent: "1.4", Time: time.Now(),
		Streams: []control.StreamStatus{},
		Slots:   []control.Slot{{Name: "a", State: control.StatePermanent, Version: "1.4", Digest: "d1.4"}, {Name: "b", State: control.StateEmpty}},
	}}
	for _, change := range changes {
		change(c)
	}
	c.connect()
	return c
}

// connect calls the panel, and waits until that knows the status.
func (c *cam) connect() {
	w := c.w
	w.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	ctx, cancel := context.WithCancel(context.Background())
	up, body := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.devices+wire.Path, up)
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Authorization", c.id)
	resp, err := transport.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.Fatalf("the link of %s: %v, %v", c.id, resp, err)
	}
	c.up = wire.NewWriter(body)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.listen(wire.NewReader(resp.Body))
	}()
	c.hang = sync.OnceFunc(func() {
		cancel()
		body.Close()
		resp.Body.Close()
		transport.CloseIdleConnections()
		<-ended
	})
	w.Cleanup(c.hang)
	c.write(wire.Up{Hello: &wire.Hello{Device: c.id, Protocol: wire.Protocol}})
	c.mu.Lock()
	c.tell()
	c.mu.Unlock()
	w.eventually(c.id+" is there", func() bool {
		d, ok := w.cfg.Fleet.Table().Get(c.id)
		return ok && d.Online && d.Running == c.status.Permanent
	})
}

// away hangs up, and waits until the panel knows.
func (c *cam) away() {
	c.w.Helper()
	c.hang()
	c.w.eventually(c.id+" is away", func() bool {
		d, _ := c.w.cfg.Fleet.Table().Get(c.id)
		return !d.Online
	})
}

func (c *cam) write(up wire.Up) { _ = c.up.Write(up) } // a link that has ended takes nothing

func (c *cam) now() time.Time { return time.Now().Add(c.off) }

// tell sends the status. The caller holds mu.
func (c *cam) tell() {
	c.status.Seq++
	c.status.Time = c.now()
	text, err := json.Marshal(c.status)
	if err != nil {
		panic(err)
	}
	c.write(wire.Up{Status: text})
}

// change changes the status and sends it.
func (c *cam) change(how func(*control.Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	how(&c.status)
	c.tell()
}

// asked are the asks so far.
func (c *cam) asked() []wire.Ask {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]wire.Ask(nil), c.asks...)
}

func (c *cam) listen(down *wire.Reader) {
	for {
		var line wire.Down
		if down.Read(&line) != nil {
			return
		}
		c.mu.Lock()
		switch {
		case line.Desired != nil:
			c.desire(*line.Desired)
		case line.Ask != nil:
			c.asks = append(c.asks, *line.Ask)
			c.write(wire.Up{Answer: c.answer(*line.Ask)})
		}
		c.mu.Unlock()
	}
}

func (c *cam) desire(d wire.Desired) {
	report := wire.Report{Epoch: d.Epoch, State: wire.ReportNothing}
	if d.Live.Digest != "" {
		if c.refuses != "" {
			c.write(wire.Up{Report: &wire.Report{Epoch: d.Epoch, State: wire.ReportRefused, Code: "bad-signature", Message: c.refuses}})
			return
		}
		if c.status.Slots[1].Digest != d.Live.Digest && c.status.Slots[0].Digest != d.Live.Digest {
			c.status.Slots[1] = control.Slot{Name: "b", State: control.StateStaged, Version: d.Live.Version, Digest: d.Live.Digest}
		}
		report.State = wire.ReportStaged
		if d.Activate && c.status.Slots[1].State == control.StateStaged {
			c.status.Slots[1].State, c.status.Phase, report.State = control.StateTrial, "trial", wire.ReportTrial
			c.status.Trial = &control.Trial{ID: "t1", Slot: "b", From: c.status.Permanent, Version: d.Live.Version, Greenlight: c.greenlit,
				Started: c.now(), TookOver: c.now(), RemainingMS: 60_000, SoakMS: c.soak.Milliseconds()}
			if c.greenlit == "app" {
				c.end(control.OutcomePermanent)
				report.State = wire.ReportPermanent
			}
		}
	}
	c.write(wire.Up{Report: &report})
	c.tell()
}

// end ends the trial. The caller holds mu.
func (c *cam) end(outcome string) {
	t := c.status.Trial
	last := &control.Record{Time: c.now(), Trial: t.ID, From: t.From, To: t.Version, Digest: c.status.Slots[1].Digest, Outcome: outcome}
	if outcome == control.OutcomePermanent {
		c.status.Slots[0].State, c.status.Slots[1].State, c.status.Permanent = control.StatePrevious, control.StatePermanent, t.Version
	} else {
		c.status.Slots[1].State, last.Reason = control.StateReverted, "operator"
	}
	c.status.Trial, c.status.Phase, c.status.Last = nil, "idle", last
}

func (c *cam) answer(ask wire.Ask) *wire.Answer {
	result := control.Result{Message: "done"}
	switch {
	case ask.History != nil:
		return &wire.Answer{ID: ask.ID, History: json.RawMessage(`[{"time":"2026-11-01T00:00:00Z","from":"1.3","to":"1.4","outcome":"permanent"}]`)}
	case ask.WHEP != nil:
		return &wire.Answer{ID: ask.ID, WHEP: &wire.WHEPAnswer{SDP: "v=0 answer to " + ask.WHEP.Offer, Session: c.session, Tag: c.tag}}
	case ask.TellWHEP != nil && c.told.Status == 0:
		return &wire.Answer{ID: ask.ID, Error: &wire.Error{Code: wire.CodeUnknownAsk, Message: "what is that"}}
	case ask.TellWHEP != nil:
		told := c.told
		return &wire.Answer{ID: ask.ID, Told: &told}
	case ask.EndWHEP != nil:
	case ask.Greenlight != nil && c.status.Trial != nil:
		c.end(control.OutcomePermanent)
		c.tell()
	case ask.Revert != nil && c.status.Trial != nil:
		c.end(control.OutcomeReverted)
		c.tell()
	default:
		result = control.Result{Exit: control.ExitNothing, Message: "no version is on trial"}
	}
	text, err := json.Marshal(result)
	if err != nil {
		panic(err)
	}
	return &wire.Answer{ID: ask.ID, Result: text}
}
