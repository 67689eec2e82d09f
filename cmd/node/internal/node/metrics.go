package node

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/vatwork/vatwork/cluster"
)

// metrics serves what Prometheus asks for. Nothing is counted for it: what the node counts anyhow is read when it asks.
type metrics struct {
	addr   string
	server *http.Server
	ended  chan struct{}
}

// serveMetrics listens on the address of --metrics.
func serveMetrics(n *Node) (*metrics, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{n}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	l, err := net.Listen("tcp", n.cfg.Metrics)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	m := &metrics{
		addr:   l.Addr().String(),
		server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10},
		ended:  make(chan struct{}),
	}
	go func() {
		defer close(m.ended)
		if err := m.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("metrics are served no more", "err", err)
		}
	}()
	n.log.Info("metrics are served", "at", fmt.Sprintf("http://%s/metrics", m.addr))
	return m, nil
}

func (m *metrics) close() error {
	err := m.server.Close()
	<-m.ended
	return err
}

// What a node tells Prometheus.
var (
	describeTables   = describe("table_entries", "Live entries in the tables of the vat, over all sessions.", "table")
	describeSessions = describe("sessions", "Sessions of the vat.", "state")
	describeRefused  = describe("limit_refusals_total", "What was refused, or ended a session, for a limit: see vat/LIMITS.md.", "limit")
	describeHandoffs = describe("handoffs_total", "What became of capabilities that were handed to this node and picked up: see vat.Handoffs.", "outcome")
	describeAdmitted = describe("vats_refused_total", "Vats that were refused as neither members nor allowed.")
	describeMembers  = describe("cluster_members", "Members of the cluster as this node sees it, itself included.", "state")
	describeGossip   = describe("gossip_refusals_total", "Announcements of members that were refused.", "cause")
	describeNames    = describe("names", "Names that this node holds, and that it knows of.", "kind")
	describeWatches  = describe("name_watches", "Watches of names that this node serves.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("vatwork_"+name, help, labels, nil)
}

type collector struct{ *Node }

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{describeTables, describeSessions, describeRefused, describeHandoffs, describeAdmitted, describeMembers,
		describeGossip, describeNames, describeWatches} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	count := func(d *prometheus.Desc, value uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	t := c.vat.Tables()
	for name, value := range map[string]int{
		"questions": t.Questions, "answers": t.Answers, "imports": t.Imports, "exports": t.Exports,
		"embargoes": t.Embargoes, "provisions": t.Provisions, "promises": t.Promises,
	} {
		gauge(describeTables, value, name)
	}
	sessions := map[string]int{}
	for _, n := range c.vat.Tree().Children {
		if n.Kind == "session" {
			sessions[n.State]++
		}
	}
	for state, value := range sessions {
		gauge(describeSessions, value, state)
	}
	for limit, value := range c.vat.Exceeded() {
		count(describeRefused, value, limit)
	}
	h := c.vat.Handoffs()
	for outcome, value := range map[string]uint64{"accepted": h.Accepted, "vine": h.Vine, "broken": h.Broken} {
		count(describeHandoffs, value, outcome)
	}
	if c.admission != nil {
		count(describeAdmitted, c.admission.Refused())
	}
	c.collectCluster(gauge, count)
	s := c.registry.Stats()
	gauge(describeNames, s.Held, "held")
	gauge(describeNames, s.Known, "known")
	gauge(describeWatches, s.Watches)
}

func (c collector) collectCluster(gauge func(*prometheus.Desc, int, ...string), count func(*prometheus.Desc, uint64, ...string)) {
	member := c.member.Load()
	states := map[cluster.State]int{cluster.Alive: 0, cluster.Failed: 0, cluster.Left: 0}
	for _, m := range member.Members() {
		states[m.State]++
	}
	for state, value := range states {
		gauge(describeMembers, value, state.String())
	}
	for cause, value := range member.Refused() {
		count(describeGossip, value, cause.String())
	}
}
