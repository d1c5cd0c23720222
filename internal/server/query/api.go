package query

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/grafana/regexp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/util/features"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// api is Prometheus' API, and our own paths beside it, for one request at a time:
// it reads from whatever storage it is given for the request. Making one costs far
// more than most queries, and a megabyte, for it writes its own description in two
// versions of OpenAPI; so they are made when they are missed and used again, by all
// workspaces.
type api struct {
	Storage   // of the request under way
	workspace string
	handler   http.Handler
}

// Gather implements prometheus.Gatherer with the metrics of the database, where
// status/tsdb finds the number of chunks.
func (a *api) Gather() ([]*dto.MetricFamily, error) {
	if g, ok := a.Storage.(prometheus.Gatherer); ok {
		return g.Gather()
	}
	return nil, nil
}

// apis keeps those that nobody uses.
type apis struct {
	free   chan *api
	making chan struct{} // a mutex
	create func() *api
}

func newAPIs(most int, create func() *api) *apis {
	return &apis{free: make(chan *api, most), making: make(chan struct{}, 1), create: create}
}

// take returns one that nobody uses. They are made one after the other, so that a
// burst of short requests waits for those that there are.
func (p *apis) take() *api {
	select {
	case a := <-p.free:
		return a
	case p.making <- struct{}{}:
	}
	defer func() { <-p.making }()
	select {
	case a := <-p.free:
		return a
	default:
		return p.create()
	}
}

// put gives one back.
func (p *apis) put(a *api) {
	a.Storage, a.workspace = nil, ""
	select {
	case p.free <- a:
	default:
	}
}

// noOrigin matches no origin: browsers have no business here, people's pages
// are served elsewhere.
var noOrigin = regexp.MustCompile(`$^`)

// newAPI wires Prometheus' API.
func (h *Handler) newAPI() *api {
	st := new(api)
	registry := features.NewRegistry()
	h.parser.RegisterFeatures(registry)
	registry.Enable(features.API, "admin")
	prom := v1.NewAPI(
		h.engine, st,
		nil, nil, // remote write has its own endpoint
		st,
		noPools, noTargets, noAlertmanagers,
		func() config.Config { return config.DefaultConfig },
		h.flags(), v1.GlobalURLOptions{},
		func(f http.HandlerFunc) http.HandlerFunc { return f },
		st, "", true,
		false, 0, // no search
		h.logger,
		noRules,
		remoteReadSamples, remoteReadConcurrent, remoteReadFrameBytes,
		false, noOrigin,
		func() (v1.RuntimeInfo, error) { return h.runtimeInfo(st.workspace), nil },
		&v1.PrometheusVersion{Version: h.cfg.Version, GoVersion: runtime.Version()},
		nil, nil, // no notifications
		st, prometheus.NewRegistry(),
		nil, false, nil, // no remote write
		false, false, false, false, // no OTLP
		h.cfg.LookbackDelta, false, false, nil, registry,
		v1.OpenAPIOptions{Version: h.cfg.Version},
		h.parser,
	)
	router := route.New()
	prom.Register(router)
	mux := http.NewServeMux()
	mux.HandleFunc("/metadata", func(w http.ResponseWriter, r *http.Request) { serveMetadata(w, r, st) })
	mux.HandleFunc("/targets/metadata", func(w http.ResponseWriter, r *http.Request) { serveTargetsMetadata(w, r, st) })
	mux.HandleFunc("/admin/tsdb/snapshot", serveNoSnapshot)
	mux.HandleFunc("/federate", func(w http.ResponseWriter, r *http.Request) { h.serveFederate(w, r, st) })
	mux.HandleFunc("/cardinality", func(w http.ResponseWriter, r *http.Request) { h.serveCardinality(w, r, st) })
	mux.Handle("/", router)
	st.handler = mux
	return st
}

// Bounds of remote read, Prometheus' own defaults.
const (
	remoteReadSamples    = 50_000_000
	remoteReadConcurrent = 10
	remoteReadFrameBytes = 1 << 20
)

// flags are the settings that a client of Prometheus may look for, by the names
// that they have there.
func (h *Handler) flags() map[string]string {
	return map[string]string{
		"query.lookback-delta":  model.Duration(h.cfg.LookbackDelta).String(),
		"query.max-concurrency": strconv.Itoa(h.cfg.MaxConcurrent),
		"query.max-samples":     strconv.Itoa(h.cfg.MaxSamples),
		"query.timeout":         model.Duration(h.cfg.Timeout).String(),
		"web.enable-admin-api":  "true",
	}
}

func (h *Handler) runtimeInfo(workspaceID string) v1.RuntimeInfo {
	info := v1.RuntimeInfo{
		StartTime: h.started, ServerTime: h.cfg.now(), ReloadConfigSuccess: true, LastConfigTime: h.started,
		GoroutineCount: runtime.NumGoroutine(), GOMAXPROCS: runtime.GOMAXPROCS(0), GOMEMLIMIT: debug.SetMemoryLimit(-1),
		GOGC: os.Getenv("GOGC"), GODEBUG: os.Getenv("GODEBUG"),
	}
	if h.cfg.Retention != nil {
		info.StorageRetention = model.Duration(h.cfg.Retention(workspaceID)).String()
	}
	return info
}

type metadataJSON struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// limitOf reads a parameter that is a number, -1 without it.
func limitOf(r *http.Request, name string) (int, error) {
	s := r.FormValue(name)
	if s == "" {
		return -1, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%s must be a number", name)
	}
	return n, nil
}

// serveMetadata answers /metadata from what senders said. Prometheus' own
// handler knows targets only.
func serveMetadata(w http.ResponseWriter, r *http.Request, st Storage) {
	limit, err := limitOf(r, "limit")
	if err == nil {
		// There is one entry a family, so this one never cuts.
		_, err = limitOf(r, "limit_per_metric")
	}
	if err != nil {
		writeError(w, http.StatusBadRequest, "bad_data", err.Error())
		return
	}
	data := make(map[string][]metadataJSON)
	st.EachMetadata(r.FormValue("metric"), func(family, typ, help, unit string) bool {
		if limit >= 0 && len(data) >= limit {
			return false
		}
		data[family] = []metadataJSON{{typ, help, unit}}
		return true
	})
	writeJSON(w, http.StatusOK, map[string]any{"status": "success", "data": data})
}

type targetMetadataJSON struct {
	Target map[string]string `json:"target"`
	Metric string            `json:"metric,omitempty"`
	metadataJSON
}

// serveTargetsMetadata answers /targets/metadata. Whoever sent the metadata is
// not known, so all of it is that of one target without labels.
func serveTargetsMetadata(w http.ResponseWriter, r *http.Request, st Storage) {
	limit, err := limitOf(r, "limit")
	if err != nil {
		writeError(w, http.StatusBadRequest, "bad_data", err.Error())
		return
	}
	metric := r.FormValue("metric")
	data := []targetMetadataJSON{}
	st.EachMetadata(metric, func(family, typ, help, unit string) bool {
		if limit >= 0 && len(data) >= limit {
			return false
		}
		m := targetMetadataJSON{map[string]string{}, family, metadataJSON{typ, help, unit}}
		if metric != "" {
			m.Metric = ""
		}
		data = append(data, m)
		return true
	})
	writeJSON(w, http.StatusOK, map[string]any{"status": "success", "data": data})
}

// writeError answers as Prometheus does. AWS' clients look for the message.
func writeError(w http.ResponseWriter, status int, kind, text string) {
	writeJSON(w, status, map[string]string{"status": "error", "errorType": kind, "error": text, "message": text})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, fmt.Sprintf("encode response: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
