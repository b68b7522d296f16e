package uitest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/ui"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

// Server is a panel in memory. Change what it holds by [Server.Do].
type Server struct {
	// WHEP answers offers of browsers; nil refuses all of them as a device that is away.
	WHEP func(r *http.Request, offer string) (answer string, err error)

	mux    *http.ServeMux
	mu     sync.Mutex
	Data   Data
	rev    int64
	ring   []view.Event
	heard  map[chan view.Event]bool
	asks   []string
	bodies map[string]string
}

// Data is what the panel knows.
type Data struct {
	Me          *view.Me // nil: nobody is logged in
	Setup       view.Setup
	Settings    view.Settings
	Devices     []view.Device // by id
	Details     map[string]*view.DeviceDetail
	History     map[string][]control.Record
	Releases    []view.Release
	Rollouts    []view.Rollout
	Courses     map[string][]view.RolloutDevice
	Audit       []view.AuditLine // newest first
	Accounts    []view.Account
	Tokens      []view.Token
	Enrolments  []view.Enrolment
	Trend       []view.VersionPoint
	Uploads     map[string]*view.Upload
	StatusAgeMS int64
}

// New makes a server of these data.
func New(data Data) *Server {
	s := &Server{Data: data, mux: http.NewServeMux(), heard: map[chan view.Event]bool{}, bodies: map[string]string{}, rev: 1}
	s.routes()
	s.mux.Handle("/", ui.Handler())
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", ui.Policy)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	s.mux.ServeHTTP(w, r)
}

// Do changes the data and sends what it returns to everybody who listens.
func (s *Server) Do(change func(d *Data) []view.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(change(&s.Data))
}

func (s *Server) send(events []view.Event) {
	for _, e := range events {
		s.rev++
		e.Rev = s.rev
		s.ring = append(s.ring, e)
		for c := range s.heard {
			select {
			case c <- e:
			default: // a test's browser that is a thousand events behind has failed anyway
			}
		}
	}
}

// Event is a change to tell of.
func Event(kind, id string, data any) view.Event {
	raw, err := json.Marshal(data)
	if err != nil {
		panic(err) // of our own types
	}
	return view.Event{Kind: kind, ID: id, Data: raw}
}

// Asked returns the writing requests so far, "METHOD /path", and the newest body of one.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asks)
}

// Body is the newest body that a path was sent.
func (s *Server) Body(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bodies[path]
}

type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
}

func (p *problem) Error() string { return p.Detail }

func refuse(status int, code, detail string) error {
	return &problem{http.StatusText(status), status, detail, code}
}

// handle serves a route: f runs alone and its value is answered as JSON.
func (s *Server) handle(pattern string, f func(r *http.Request, body []byte) (any, error)) {
	method, path, _ := strings.Cut(pattern, " ")
	s.mux.HandleFunc(method+" /api/v1/"+path, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		s.mu.Lock()
		if method != "GET" {
			s.asks = append(s.asks, method+" "+r.URL.Path)
			s.bodies[r.URL.Path] = string(body)
		}
		var answer any
		if s.Data.Me == nil && path != "sessions" && path != "setup" {
			err = refuse(http.StatusUnauthorized, "no-session", "nobody is logged in")
		} else {
			answer, err = f(r, body)
		}
		var raw []byte
		if err == nil {
			raw, err = json.Marshal(answer)
		}
		s.mu.Unlock()
		write(w, raw, err)
	})
}

func write(w http.ResponseWriter, raw []byte, err error) {
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		var p *problem
		if !errors.As(err, &p) {
			p = &problem{"Internal Server Error", http.StatusInternalServerError, err.Error(), "internal"}
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(p.Status)
		raw, _ = json.Marshal(p)
	} else {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Write(raw)
}

func (s *Server) devices(r *http.Request, _ []byte) (any, error) {
	q := r.URL.Query()
	sel, err := fleet.ParseSelector(q.Get("q"))
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "selector", err.Error())
	}
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil {
		limit = 100
	}
	page := view.Devices{Devices: []view.Device{}, Rev: s.rev}
	now := time.Now()
	for i := range s.Data.Devices {
		d := &s.Data.Devices[i]
		if !sel.Meets(d, now) {
			continue
		}
		page.Total++
		if at, _ := strconv.Atoi(q.Get("at")); d.ID < q.Get("from") || q.Has("after") && d.ID <= q.Get("after") || page.Total < at {
			continue
		}
		page.First = cmp.Or(page.First, page.Total)
		if len(page.Devices) < limit {
			page.Devices = append(page.Devices, *d)
		} else if page.After == "" {
			page.After = page.Devices[limit-1].ID
		}
	}
	return page, nil
}

func (s *Server) device(id string) (*view.DeviceDetail, error) {
	i := slices.IndexFunc(s.Data.Devices, func(d view.Device) bool { return d.ID == id })
	if i < 0 {
		return nil, refuse(http.StatusNotFound, "no-device", fmt.Sprintf("there is no device %q", id))
	}
	detail := s.Data.Details[id]
	if detail == nil {
		detail = &view.DeviceDetail{Actions: []view.Action{}}
		s.Data.Details[id] = detail
	}
	detail.Device = s.Data.Devices[i]
	detail.StatusAgeMS = s.Data.StatusAgeMS
	return detail, nil
}

// events is the stream of everything: topics are the pages' to sort out here.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	c := make(chan view.Event, 1000)
	s.mu.Lock()
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	if id, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); err == nil {
		after = id
	}
	missed := []view.Event{}
	for _, e := range s.ring {
		if after > 0 && e.Rev > after {
			missed = append(missed, e)
		}
	}
	s.heard[c] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.heard, c)
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	send := func(e view.Event) {
		raw, _ := json.Marshal(e)
		fmt.Fprintf(w, "event: %s\nid: %d\ndata: %s\n\n", e.Kind, e.Rev, raw)
	}
	fmt.Fprint(w, "retry: 500\n\n")
	for _, e := range missed {
		send(e)
	}
	beat := time.NewTicker(10 * time.Second)
	defer beat.Stop()
	for {
		if out.Flush() != nil {
			return
		}
		select {
		case e := <-c:
			send(e)
		case <-beat.C:
			fmt.Fprint(w, "event: beat\ndata: {\"kind\":\"beat\",\"rev\":0}\n\n")
		case <-r.Context().Done():
			return
		}
	}
}
