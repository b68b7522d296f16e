package gateway

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what the gateway counts, for Prometheus. A label's values are bounded:
// kinds, reasons and fates are ours, and streams those that the forwarder has.
type metrics struct {
	registry  *prometheus.Registry
	viewers   *prometheus.GaugeVec
	joins     *prometheus.CounterVec
	refusals  *prometheus.CounterVec
	datagrams *prometheus.CounterVec
	restarts  prometheus.Counter
	handOver  prometheus.Histogram
	handshake prometheus.Histogram
}

func newMetrics(g *Gateway) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		viewers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "slipstream_gateway_viewers", Help: "Viewers that are served now.",
		}, []string{"kind", "stream"}),
		joins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "slipstream_gateway_joins_total", Help: "Viewers that began to be served.",
		}, []string{"kind", "stream"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "slipstream_gateway_refusals_total", Help: "Requests and connections that were refused.",
		}, []string{"reason"}),
		datagrams: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "slipstream_gateway_datagrams_total", Help: "Datagrams that came to the port of WHEP media, by what became of them.",
		}, []string{"fate"}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "slipstream_gateway_ice_restarts_total", Help: "ICE sessions that viewers have restarted.",
		}),
		handOver: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "slipstream_gateway_handover_seconds", Help: "From the end of a viewer's handshake until the forwarder has it.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		handshake: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "slipstream_gateway_handshake_seconds", Help: "From the answer to a WHEP viewer until the end of its handshake.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
		}),
	}
	m.registry.MustRegister(m.viewers, m.joins, m.refusals, m.datagrams, m.restarts, m.handOver, m.handshake,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "slipstream_gateway_forwarder_connected", Help: "1 while the forwarder is there.",
		}, func() float64 {
			if g.forwarder.connected() {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "slipstream_gateway_half_open", Help: "WHEP viewers whose handshake is under way.",
		}, func() float64 { return float64(g.guests.halfOpenNow()) }),
	)
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "slipstream_gateway_wrong_credentials_total", Help: "Names and secrets that were shown and are wrong.",
	}, func() float64 { return float64(g.guard.refused.Load()) }))
	for _, fate := range []string{fatePassed, fateAnswered, fateUnproven, fateStranger, fateUseless, fateOversized} {
		m.datagrams.WithLabelValues(fate)
	}
	return m
}

// fate counts a datagram.
func (m *metrics) fate(fate string) { m.datagrams.WithLabelValues(fate).Inc() }

// joined counts a viewer in, and returns what counts it out.
func (m *metrics) joined(kind, stream string) (left func()) {
	m.joins.WithLabelValues(kind, stream).Inc()
	return m.present(kind, stream)
}

// present counts a viewer who had joined before.
func (m *metrics) present(kind, stream string) (left func()) {
	n := m.viewers.WithLabelValues(kind, stream)
	n.Inc()
	return n.Dec
}

// metricsServer serves the metrics, and the health check once more.
func (g *Gateway) metricsServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2}))
	mux.HandleFunc("GET /healthz", g.health)
	return g.server(mux)
}

// health says whether viewers can be served at all.
func (g *Gateway) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !g.forwarder.connected() {
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte("the forwarder is away\n"))
		return
	}
	w.Write([]byte("ok\n"))
}
