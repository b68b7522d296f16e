package hub

import (
	"cmp"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"slipstream/agent/control"
	"slipstream/agent/wire"
)

// Device is what the hub knows about one device. It is a copy.
type Device struct {
	ID       string
	Online   bool
	Since    time.Time       // when it came or went
	Seen     time.Time       // when it was last heard
	Status   *control.Status // the newest; nil before the first. Shared: not to be changed
	StatusAt time.Time       // when the status arrived, by the panel's clock
	Asked    *Asked          // the newest of the asks that change the device
	Hello    wire.Hello      // of the newest link
	Report   *wire.Report    // the newest on what is desired; nil before the first
}

// Asked is an ask as people see it: a button was pressed, and then the device
// said something.
type Asked struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"` // "stage", "activate", "greenlight" or "revert"
	Release string    `json:"release,omitempty"`
	Version string    `json:"version,omitempty"`
	At      time.Time `json:"at"`
	Done    bool      `json:"done"` // the device has answered, or it was not reached
	Exit    int       `json:"exit"`
	Code    string    `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
}

// Config is what a hub needs from the rest of the panel.
type Config struct {
	// Identify names the device that sent a request, if that may call. A link's is
	// asked for again by [Hub.Recheck].
	Identify func(r *http.Request) (device string, ok bool)
	// Authorities, if set, are what the device that sent a request shall trust.
	Authorities func(r *http.Request) wire.Authorities
	// Roots, if set, are the fleet's roots that follow the first one: what devices that
	// have an older one are told at the beginning of a link.
	Roots func() [][]byte
	// Changed, if set, is told when a device came or went and when its permanent
	// version is another one.
	Changed func(Device)
}

// Hub is safe for concurrent use.
type Hub struct {
	cfg   Config
	log   *slog.Logger
	links sync.WaitGroup

	mu       sync.Mutex // guards what follows
	devices  map[string]*entry
	desired  map[string]desired // of devices that may never have called
	watchers map[*Watch]struct{}
	leaving  time.Duration // over which devices shall come back; 0 while the panel stays
}

type entry struct {
	Device
	link *link // nil when offline
}

// New makes a hub without devices.
func New(cfg Config, log *slog.Logger) *Hub {
	return &Hub{
		cfg: cfg, log: log,
		devices: map[string]*entry{}, desired: map[string]desired{}, watchers: map[*Watch]struct{}{},
	}
}

// Wait returns when every link has ended, which they do with the contexts of
// their requests. No link may be opened any more.
func (h *Hub) Wait() { h.links.Wait() }

// Devices lists every device that was linked since the panel started, by name.
func (h *Hub) Devices() []Device {
	h.mu.Lock()
	defer h.mu.Unlock()
	byName := func(a, b *entry) int { return cmp.Compare(a.ID, b.ID) }
	var all []Device
	for _, e := range slices.SortedFunc(maps.Values(h.devices), byName) {
		all = append(all, e.Device)
	}
	return all
}

// Device returns one device, if it was linked since the panel started.
func (h *Hub) Device(id string) (Device, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.devices[id]
	if !ok {
		return Device{}, false
	}
	return e.Device, true
}

// SetAsked records what was asked of a device, for all watchers to see. The
// answer to an older ask than the one shown is dropped.
func (h *Hub) SetAsked(id string, a Asked) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.devices[id]
	if ok && (e.Asked == nil || !a.Done || e.Asked.ID == a.ID) {
		e.Asked = &a
		h.touch(id)
	}
}

// arrive puts l in the place of the device's earlier link, which it ends.
func (h *Hub) arrive(l *link) {
	now := time.Now()
	h.mu.Lock()
	e := h.devices[l.device]
	if e == nil {
		e = &entry{Device: Device{ID: l.device}}
		h.devices[l.device] = e
	}
	if e.link != nil {
		e.link.end(errSuperseded)
	}
	e.link, e.Online, e.Since, e.Seen, e.Hello = l, true, now, now, l.hello
	d := e.Device
	h.touch(l.device)
	h.mu.Unlock()
	h.tell(d)
}

// leave is for the link that is still the device's own: one that was superseded
// leaves nothing behind.
func (h *Hub) leave(l *link) {
	h.mu.Lock()
	e := h.devices[l.device]
	if e == nil || e.link != l {
		h.mu.Unlock()
		return
	}
	e.link, e.Online, e.Since = nil, false, time.Now()
	d := e.Device
	h.touch(l.device)
	h.mu.Unlock()
	h.tell(d)
}

func (h *Hub) tell(d Device) {
	if h.cfg.Changed != nil {
		h.cfg.Changed(d)
	}
}

func (h *Hub) heard(l *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.devices[l.device]; e.link == l {
		e.Seen = time.Now()
	}
}

func (h *Hub) report(l *link, s control.Status) {
	s.Device = l.device
	h.mu.Lock()
	e := h.devices[l.device]
	if e.link != l {
		h.mu.Unlock()
		return
	}
	fresh := e.Status == nil || e.Status.Permanent != s.Permanent
	e.Status, e.StatusAt = &s, time.Now()
	d := e.Device
	h.touch(l.device)
	h.mu.Unlock()
	if fresh {
		h.tell(d)
	}
}
