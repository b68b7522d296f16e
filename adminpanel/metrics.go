package adminpanel

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/live"
	"slipstream/adminpanel/live/turn"
	"slipstream/adminpanel/store"
)

// metrics are figures for Prometheus.
type metrics struct {
	registry *prometheus.Registry
	commits  *prometheus.HistogramVec
	requests *prometheus.CounterVec
	spans    *prometheus.HistogramVec
	readers  prometheus.Gauge
}

// Commits and requests take from tenths of milliseconds to many seconds.
var spans = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		commits: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "slipstream_panel_store_commit_seconds",
			Help: "Commits of the store, by outcome: ok, conflict (somebody else was faster) or error.", Buckets: spans}, []string{"outcome"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "slipstream_panel_http_requests_total",
			Help: "Requests of people and programs that were answered, by route and status."}, []string{"route", "status"}),
		spans: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "slipstream_panel_http_request_seconds",
			Help: "How long they took, those for events left out.", Buckets: spans}, []string{"route"}),
		readers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "slipstream_panel_event_readers", Help: "Readers of events (SSE) just now."}),
	}
	m.registry.MustRegister(m.commits, m.requests, m.spans, m.readers,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// handler answers a request for all of them.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2, Timeout: scrapeTime})
}

// scrapeTime bounds what figures ask of the rest of the panel.
const scrapeTime = 5 * time.Second

var (
	linksDesc    = prometheus.NewDesc("slipstream_panel_links", "Devices that are linked to this panel.", nil, nil)
	devicesDesc  = prometheus.NewDesc("slipstream_panel_devices", "Devices of the fleet, by state.", []string{"state"}, nil)
	rolloutsDesc = prometheus.NewDesc("slipstream_panel_rollouts", "Rollouts, by state.", []string{"state"}, nil)

	relayDesc = map[string]*prometheus.Desc{
		"streams":        prometheus.NewDesc("slipstream_panel_relay_streams", "Streams that devices bring here for viewers.", nil, nil),
		"max_streams":    prometheus.NewDesc("slipstream_panel_relay_max_streams", "How many there may be.", nil, nil),
		"viewers":        prometheus.NewDesc("slipstream_panel_relay_viewers", "Who watches them.", nil, nil),
		"max_viewers":    prometheus.NewDesc("slipstream_panel_relay_max_viewers", "How many there may be.", nil, nil),
		"turn_conns":     prometheus.NewDesc("slipstream_panel_turn_connections", "Browsers' connections for TURN.", nil, nil),
		"turn_max_conns": prometheus.NewDesc("slipstream_panel_turn_max_connections", "How many there may be.", nil, nil),
		"turn_lines":     prometheus.NewDesc("slipstream_panel_turn_allocations", "Their relayed addresses.", nil, nil),
	}
	turnEndsDesc  = prometheus.NewDesc("slipstream_panel_turn_refused_total", "Connections for TURN beyond a limit (limit), and those that were ended for what came on them (bad).", []string{"reason"}, nil)
	turnBytesDesc = prometheus.NewDesc("slipstream_panel_turn_bytes_total", "Bytes of datagrams by TURN, to the relay (in) and to browsers (out).", []string{"direction"}, nil)
)

// gauges are what is counted when it is asked for.
type gauges struct{ p *Panel }

// Describe implements [prometheus.Collector].
func (gauges) Describe(c chan<- *prometheus.Desc) {
	c <- linksDesc
	c <- devicesDesc
	c <- rolloutsDesc
	for _, desc := range relayDesc {
		c <- desc
	}
	c <- turnEndsDesc
	c <- turnBytesDesc
}

// Collect implements [prometheus.Collector].
func (g gauges) Collect(c chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, n int, labels ...string) {
		c <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), labels...)
	}
	links := 0
	for _, d := range g.p.hub.Devices() {
		if d.Online {
			links++
		}
	}
	gauge(linksDesc, links)
	for state, n := range g.p.devicesByState() {
		gauge(devicesDesc, n, state)
	}
	if g.p.live != nil {
		relayed(c, g.p.live.Counts())
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	list, err := g.p.drive.List(ctx)
	if err != nil {
		c <- prometheus.NewInvalidMetric(rolloutsDesc, err)
		return
	}
	rollouts := map[string]int{}
	for _, r := range list {
		rollouts[r.State]++
	}
	for state, n := range rollouts {
		gauge(rolloutsDesc, n, state)
	}
}

// relayed gives the figures of the relay.
func relayed(c chan<- prometheus.Metric, n live.Counts) {
	for name, value := range map[string]int64{
		"streams": int64(n.Lines), "max_streams": int64(n.MaxLines), "viewers": int64(n.Viewers), "max_viewers": int64(n.MaxViewers),
		"turn_conns": n.TURN.Conns, "turn_max_conns": turn.MaxConns, "turn_lines": n.TURN.Lines,
	} {
		c <- prometheus.MustNewConstMetric(relayDesc[name], prometheus.GaugeValue, float64(value))
	}
	total := func(desc *prometheus.Desc, n int64, label string) {
		c <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), label)
	}
	total(turnEndsDesc, n.TURN.Refused, "limit")
	total(turnEndsDesc, n.TURN.Bad, "bad")
	total(turnBytesDesc, n.TURN.ToRelay, "in")
	total(turnBytesDesc, n.TURN.Back, "out")
}

// counted counts a store's commits.
type counted struct {
	store.Store

	commits *prometheus.HistogramVec
}

func (c counted) Commit(ctx context.Context, ifs []store.Cond, ops []store.Op) (int64, error) {
	began := time.Now()
	rev, err := c.Store.Commit(ctx, ifs, ops)
	outcome := "ok"
	if errors.Is(err, store.ErrConflict) {
		outcome = "conflict"
	} else if err != nil {
		outcome = "error"
	}
	c.commits.WithLabelValues(outcome).Observe(time.Since(began).Seconds())
	return rev, err
}

const eventsRoute = "GET /api/v1/events"

// count counts requests. Routes are those of the table of rules: a caller cannot make more.
func (m *metrics) count(a *auth.Auth, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route := "page"
		if rule, ok := a.RuleOf(r); ok {
			route = rule.Route
		}
		if route == eventsRoute {
			m.readers.Inc()
			defer m.readers.Dec()
		}
		began := time.Now()
		seen := &status{ResponseWriter: w, code: http.StatusOK}
		defer func() {
			m.requests.WithLabelValues(route, strconv.Itoa(seen.code)).Inc()
			if route != eventsRoute {
				m.spans.WithLabelValues(route).Observe(time.Since(began).Seconds())
			}
		}()
		next.ServeHTTP(seen, r)
	})
}

// status remembers how a request was answered.
type status struct {
	http.ResponseWriter

	code  int
	wrote bool
}

func (s *status) WriteHeader(code int) {
	if !s.wrote && code >= http.StatusOK {
		s.code, s.wrote = code, true
	}
	s.ResponseWriter.WriteHeader(code)
}

func (s *status) Write(b []byte) (int, error) {
	s.wrote = true
	return s.ResponseWriter.Write(b)
}

// Unwrap lets deadlines and flushes through, see [http.ResponseController].
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }
