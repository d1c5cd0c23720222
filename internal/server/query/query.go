// Package query answers Prometheus' HTTP API for a workspace, with Prometheus'
// own handlers and PromQL engine over the workspace's store. The engine is
// shared; what bounds it is per workspace, so that one workspace's heavy queries
// wait for each other and not the others for them.
package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/grafana/regexp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// Storage is what a workspace's database offers to queries.
type Storage interface {
	storage.SampleAndChunkQueryable
	storage.ExemplarQueryable
	v1.TSDBAdminStats
	// Value returns what create made for key since the database was opened.
	Value(key any, create func() any) any
	// EachMetadata calls f for what is known about a metric family, or about
	// all of them when name is empty, until f returns false.
	EachMetadata(name string, f func(family, typ, help, unit string) bool)
}

// Config of a Handler. Zero values take the defaults named at the fields.
type Config struct {
	// Open returns a workspace's storage and a function that ends its use.
	// Required.
	Open func(ctx context.Context, workspaceID string) (Storage, func(), error)
	// MaxConcurrent is how many queries of one workspace run at once; more wait.
	MaxConcurrent int // 20
	// MaxSamples is how many samples a query may hold in memory.
	MaxSamples int // 50,000,000
	// Timeout is how long a query may take, waiting included.
	Timeout time.Duration // 1m
	// LookbackDelta is how old the newest sample of a series may be.
	LookbackDelta time.Duration // 5m
	// Version is the program's own, for status/buildinfo.
	Version string
	// Registerer takes the engine's metrics. Nil means none are kept.
	Registerer prometheus.Registerer
}

func (c *Config) setDefaults() {
	if c.MaxConcurrent == 0 {
		c.MaxConcurrent = 20
	}
	if c.MaxSamples == 0 {
		c.MaxSamples = 50_000_000
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.LookbackDelta == 0 {
		c.LookbackDelta = 5 * time.Minute
	}
}

// Handler answers queries. It is safe for concurrent use.
type Handler struct {
	cfg    Config
	logger *slog.Logger
	engine *promql.Engine
	parser parser.Parser
}

// New returns a Handler.
func New(cfg Config, logger *slog.Logger) (*Handler, error) {
	if cfg.Open == nil {
		return nil, errors.New("query: no way to open a workspace")
	}
	cfg.setDefaults()
	reg := cfg.Registerer
	if reg != nil {
		reg = prometheus.WrapRegistererWithPrefix("mangru_", reg)
	}
	p := parser.NewParser(parser.Options{})
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: logger, Reg: reg, Parser: p,
		MaxSamples: cfg.MaxSamples, Timeout: cfg.Timeout, LookbackDelta: cfg.LookbackDelta,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true,
	})
	return &Handler{cfg: cfg, logger: logger, engine: engine, parser: p}, nil
}

// Close ends the engine.
func (h *Handler) Close() error { return h.engine.Close() }

// ServeWorkspace answers the request for path, such as "/query" or
// "/label/job/values", in a workspace. The error, if any, is one for the caller
// to answer: the workspace could not be opened.
func (h *Handler) ServeWorkspace(w http.ResponseWriter, r *http.Request, workspaceID, path string) error {
	st, release, err := h.cfg.Open(r.Context(), workspaceID)
	if err != nil {
		return err
	}
	defer release()
	api := st.Value(apiKey{}, func() any { return h.newAPI(st, workspaceID) }).(http.Handler)
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = path, ""
	api.ServeHTTP(w, inner)
	return nil
}

// apiKey is the key of a workspace's API among its database's values.
type apiKey struct{}

// noOrigin matches no origin: browsers have no business here, people's pages
// are served elsewhere.
var noOrigin = regexp.MustCompile(`$^`)

// newAPI wires Prometheus' API to one workspace.
func (h *Handler) newAPI(st Storage, workspaceID string) http.Handler {
	logger := h.logger.With("workspace", workspaceID)
	api := v1.NewAPI(
		newLimited(h.engine, h.cfg), st,
		nil, nil, // remote write has its own endpoint
		st,
		func(context.Context) v1.ScrapePoolsRetriever { return nil },
		func(context.Context) v1.TargetRetriever { return nil },
		func(context.Context) v1.AlertmanagerRetriever { return nil },
		func() config.Config { return config.DefaultConfig },
		nil, v1.GlobalURLOptions{},
		func(f http.HandlerFunc) http.HandlerFunc { return f },
		st, "", false,
		false, 0, // no search
		logger,
		func(context.Context) v1.RulesRetriever { return noRules{} },
		remoteReadSamples, remoteReadConcurrent, remoteReadFrameBytes,
		false, noOrigin,
		func() (v1.RuntimeInfo, error) { return v1.RuntimeInfo{}, nil },
		&v1.PrometheusVersion{Version: h.cfg.Version, GoVersion: runtime.Version()},
		nil, nil, // no notifications
		prometheus.NewRegistry(), prometheus.NewRegistry(),
		nil, false, nil, // no remote write
		false, false, false, false, // no OTLP
		h.cfg.LookbackDelta, false, false, nil, nil,
		v1.OpenAPIOptions{Version: h.cfg.Version},
		h.parser,
	)
	router := route.New()
	api.Register(router)
	mux := http.NewServeMux()
	mux.HandleFunc("/metadata", func(w http.ResponseWriter, r *http.Request) { serveMetadata(w, r, st) })
	mux.Handle("/", router)
	return mux
}

// Bounds of remote read, Prometheus' own defaults.
const (
	remoteReadSamples    = 50_000_000
	remoteReadConcurrent = 10
	remoteReadFrameBytes = 1 << 20
)

// noRules stands for a workspace without rules.
type noRules struct{}

func (noRules) RuleGroups() []*rules.Group           { return nil }
func (noRules) AlertingRules() []*rules.AlertingRule { return nil }

type metadataJSON struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// serveMetadata answers /metadata from what senders said. Prometheus' own
// handler knows targets only.
func serveMetadata(w http.ResponseWriter, r *http.Request, st Storage) {
	limit := -1
	for _, name := range []string{"limit", "limit_per_metric"} {
		s := r.FormValue(name)
		if s == "" {
			continue
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"status": "error", "errorType": "bad_data", "error": name + " must be a number"})
			return
		}
		// There is one entry a family, so limit_per_metric never cuts.
		if name == "limit" {
			limit = n
		}
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
