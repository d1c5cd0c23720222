// Package query answers Prometheus' HTTP API for a workspace, with Prometheus'
// own handlers over the workspace's store. Requests for data wait in a queue
// that shares the machine between workspaces, are bounded in time and in what
// they hold in memory, and are logged with what they took.
package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/mangru/mangru/internal/server/query/engine"
)

// Storage is what a workspace's database offers to queries.
type Storage interface {
	storage.SampleAndChunkQueryable
	storage.ExemplarQueryable
	v1.TSDBAdminStats
	// EachMetadata calls f for what is known about a metric family, or about
	// all of them when name is empty, until f returns false.
	EachMetadata(name string, f func(family, typ, help, unit string) bool)
}

// Config of a Handler. Zero values take the defaults named at the fields.
type Config struct {
	// Open returns a workspace's storage and a function that ends its use.
	// Required.
	Open func(ctx context.Context, workspaceID string) (Storage, func(), error)
	// MaxConcurrent is how many requests for data of one workspace run at once,
	// MaxTotal how many of all; more wait.
	MaxConcurrent int // 20
	MaxTotal      int // 4 for each processor, but 20 at least
	// MaxWaiting is how many of a workspace may wait; more are refused with 429.
	MaxWaiting int // 200
	// Weight is a workspace's share when there are more requests than can run. Nil
	// means all have the same.
	Weight func(workspaceID string) float64
	// MaxSamples is how many samples a query may hold in memory.
	MaxSamples int // 50,000,000
	// Timeout is how long a request for data may take, waiting included.
	Timeout time.Duration // 1m
	// LookbackDelta is how old the newest sample of a series may be.
	LookbackDelta time.Duration // 5m
	// MaxSelectors is how many match[] a request may have.
	MaxSelectors int // 256
	// Workers is how many goroutines may help those that evaluate queries. Zero
	// means one for each processor but one, and negative none.
	Workers int
	// Retention is how long samples of a workspace are kept, for
	// status/runtimeinfo. Nil means it is not told.
	Retention func(workspaceID string) time.Duration
	// Log takes every request for data. Nil means none is logged.
	Log QueryLog
	// Who tells the caller of a request and its address, for the log. Nil means
	// the log does not say.
	Who func(*http.Request) (who, source string)
	// Prices are what cardinality's costs are calculated with. Nil means Amazon's.
	Prices *PriceList
	// Version is the program's own, for status/buildinfo.
	Version string
	// Registerer takes the metrics. Nil means none are kept.
	Registerer prometheus.Registerer

	// For tests: the clock, and what the parser takes besides the usual.
	now    func() time.Time
	parser parser.Options
}

func (c *Config) setDefaults() {
	def(&c.MaxConcurrent, 20)
	def(&c.MaxTotal, max(4*runtime.GOMAXPROCS(0), 20))
	def(&c.MaxWaiting, 200)
	def(&c.MaxSamples, 50_000_000)
	def(&c.Timeout, time.Minute)
	def(&c.LookbackDelta, 5*time.Minute)
	def(&c.MaxSelectors, 256)
	if c.now == nil {
		c.now = time.Now
	}
	if c.Prices == nil {
		c.Prices = AMPPrices()
	}
}

func def[T int | time.Duration](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// Handler answers queries. It is safe for concurrent use.
type Handler struct {
	cfg     Config
	logger  *slog.Logger
	inner   *promql.Engine
	engine  promql.QueryEngine
	parser  parser.Parser
	queue   *queue
	apis    *apis
	metrics *metrics
	started time.Time
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
	h := &Handler{cfg: cfg, logger: logger, parser: parser.NewParser(cfg.parser), started: cfg.now(),
		queue: newQueue(cfg.MaxTotal, cfg.MaxConcurrent, cfg.MaxWaiting, cfg.Weight, cfg.now)}
	h.apis = newAPIs(cfg.MaxTotal, h.newAPI)
	h.inner = promql.NewEngine(promql.EngineOpts{
		Logger: logger, Reg: reg, Parser: h.parser,
		MaxSamples: cfg.MaxSamples, Timeout: cfg.Timeout, LookbackDelta: cfg.LookbackDelta,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true, EnablePerStepStats: true,
	})
	ahead, err := engine.New(engine.Config{Engine: h.inner, MaxSamples: cfg.MaxSamples, Workers: cfg.Workers, Registerer: cfg.Registerer})
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	h.engine = &tracked{engine: ahead, cfg: &h.cfg}
	if h.metrics, err = newMetrics(cfg.Registerer, h.queue); err != nil {
		return nil, err
	}
	return h, nil
}

// Close ends the engine.
func (h *Handler) Close() error { return h.inner.Close() }

// Forget drops what is kept about a workspace that is gone.
func (h *Handler) Forget(workspaceID string) { h.metrics.forget(workspaceID) }

// ServeWorkspace answers the request for path, such as "/query" or
// "/label/job/values", in a workspace. The error, if any, is one for the caller
// to answer: the workspace could not be opened.
func (h *Handler) ServeWorkspace(w http.ResponseWriter, r *http.Request, workspaceID, path string) error {
	kind, data := kindOf(path)
	if err := h.parse(w, r, path); err != nil {
		return nil // answered
	}
	if !data {
		return h.serve(w, r, workspaceID, path)
	}
	began := h.cfg.now()
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.Timeout)
	defer cancel()
	req := new(request)
	if err := req.thresholds(r); err != nil {
		writeError(w, http.StatusBadRequest, "bad_data", err.Error())
		return nil
	}
	rec := &recorder{ResponseWriter: w}
	leave, refused := h.queue.enter(ctx, workspaceID)
	admitted := h.cfg.now()
	var err error
	if refused != nil {
		h.refuse(rec, r, workspaceID, refused)
	} else {
		defer leave()
		err = h.serve(rec, r.WithContext(context.WithValue(ctx, requestKey{}, req)), workspaceID, path)
	}
	if err != nil {
		return err
	}
	h.account(r, workspaceID, kind, req, rec, refused, began, admitted)
	return nil
}

// serve hands a request to the API, which reads from the workspace.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, workspaceID, path string) error {
	st, release, err := h.cfg.Open(r.Context(), workspaceID)
	if err != nil {
		return err
	}
	defer release()
	a := h.apis.take()
	defer h.apis.put(a)
	a.Storage, a.workspace = st, workspaceID
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = path, ""
	a.handler.ServeHTTP(w, inner)
	return nil
}

// kindOf returns what a path is called in logs and metrics, and whether it asks
// for data.
func kindOf(path string) (kind string, data bool) {
	switch path {
	case "/query", "/query_range", "/query_exemplars", "/labels", "/series", "/read", "/federate", "/cardinality":
		return path[1:], true
	}
	if strings.HasPrefix(path, "/label/") {
		return "label_values", true
	}
	return "", false
}

// parse reads the parameters and refuses those that are beyond bounds. What it
// refuses it answers.
func (h *Handler) parse(w http.ResponseWriter, r *http.Request, path string) error {
	if path == "/read" {
		return nil
	}
	err := r.ParseForm()
	if err == nil && len(r.Form["match[]"]) > h.cfg.MaxSelectors {
		err = fmt.Errorf("%d selectors in match[], at most %d are allowed (setting query.max_selectors)", len(r.Form["match[]"]), h.cfg.MaxSelectors)
	}
	if err != nil {
		writeError(w, http.StatusBadRequest, "bad_data", err.Error())
	}
	return err
}

// statusClientGone is the status Prometheus has for requests whose client did not
// wait for the answer.
const statusClientGone = 499

// refuse answers a request that did not get its turn: with 429 when too many are
// waiting, and like a query that took too long when it waited for too long.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, workspaceID string, err error) {
	switch {
	case errors.Is(err, errQueueFull):
		h.metrics.rejected.WithLabelValues(workspaceID, refusal(err)).Inc()
		w.Header().Set("Retry-After", "1")
		writeError(w, http.StatusTooManyRequests, "unavailable", fmt.Sprintf("%s: %d requests of this workspace are waiting (setting query.max_waiting)", err, h.cfg.MaxWaiting))
	case r.Context().Err() != nil:
		writeError(w, statusClientGone, "canceled", promql.ErrQueryCanceled("query queue").Error())
	default:
		h.metrics.rejected.WithLabelValues(workspaceID, refusal(err)).Inc()
		writeError(w, http.StatusUnprocessableEntity, "execution",
			fmt.Sprintf("query timed out in the queue: %d queries of this workspace run at once (settings query.max_concurrent, query.timeout)", h.cfg.MaxConcurrent))
	}
}

// account counts and logs a request for data that was answered.
func (h *Handler) account(r *http.Request, workspaceID, kind string, req *request, rec *recorder, refused error, began, admitted time.Time) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	e := LogEntry{Time: began, Workspace: workspaceID, UserAgent: r.UserAgent(), Kind: kind, Status: rec.status,
		Queue: admitted.Sub(began), Eval: h.cfg.now().Sub(admitted)}
	for _, q := range req.queries {
		e.Samples += q.samples
		e.Read += q.read
		e.Peak = max(e.Peak, q.peak)
		if q.err != nil {
			e.Error = q.err.Error()
		}
	}
	if refused != nil {
		e.Error = refused.Error()
	}
	h.metrics.requests.WithLabelValues(workspaceID, kind, fmt.Sprint(rec.status)).Inc()
	h.metrics.queue.WithLabelValues(workspaceID).Add(e.Queue.Seconds())
	h.metrics.eval.WithLabelValues(workspaceID).Add(e.Eval.Seconds())
	h.metrics.samples.WithLabelValues(workspaceID).Add(float64(e.Samples))
	if h.cfg.Log == nil {
		return
	}
	if h.cfg.Who != nil {
		e.Who, e.Source = h.cfg.Who(r)
	}
	if e.Query = r.Form.Get("query"); e.Query == "" {
		e.Query = strings.Join(r.Form["match[]"], " or ")
	}
	e.Start, e.End, e.Step = r.Form.Get("start"), r.Form.Get("end"), r.Form.Get("step")
	if kind == "query" {
		e.End = r.Form.Get("time")
	}
	h.cfg.Log.LogQuery(e)
}

// EngineOf returns what evaluates a workspace's queries that do not come by HTTP,
// such as those of rules: in the same queue, with the same limits, and in the log
// with who. A query that finds the queue full fails.
func (h *Handler) EngineOf(workspaceID, who string) promql.QueryEngine {
	return &queued{h: h, workspace: workspaceID, who: who}
}

// RuleEngine is EngineOf for a workspace's rules.
func (h *Handler) RuleEngine(workspaceID string) promql.QueryEngine {
	return h.EngineOf(workspaceID, "rules")
}

type queued struct {
	h              *Handler
	workspace, who string
}

// NewInstantQuery implements promql.QueryEngine.
func (e *queued) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	query, err := e.h.engine.NewInstantQuery(ctx, q, opts, qs, ts)
	return e.wrap(query, err, LogEntry{Kind: "query", Query: qs, End: formatTime(ts)})
}

// NewRangeQuery implements promql.QueryEngine.
func (e *queued) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, step time.Duration) (promql.Query, error) {
	query, err := e.h.engine.NewRangeQuery(ctx, q, opts, qs, start, end, step)
	return e.wrap(query, err, LogEntry{Kind: "query_range", Query: qs, Start: formatTime(start), End: formatTime(end), Step: step.String()})
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func (e *queued) wrap(q promql.Query, err error, entry LogEntry) (promql.Query, error) {
	if err != nil {
		return nil, err
	}
	return &queuedQuery{q, e, entry}, nil
}

type queuedQuery struct {
	promql.Query
	e     *queued
	entry LogEntry
}

// Exec implements promql.Query.
func (q *queuedQuery) Exec(ctx context.Context) *promql.Result {
	h, entry := q.e.h, q.entry
	entry.Time, entry.Workspace, entry.Who = h.cfg.now(), q.e.workspace, q.e.who
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	leave, err := h.queue.enter(ctx, q.e.workspace)
	admitted := h.cfg.now()
	res := &promql.Result{}
	req := new(request)
	if err != nil {
		h.metrics.rejected.WithLabelValues(q.e.workspace, refusal(err)).Inc()
		res.Err = fmt.Errorf("query queue: %w", err)
	} else {
		defer leave()
		res = q.Query.Exec(context.WithValue(ctx, requestKey{}, req))
	}
	entry.Queue, entry.Eval, entry.Status = admitted.Sub(entry.Time), h.cfg.now().Sub(admitted), http.StatusOK
	for _, one := range req.queries {
		entry.Samples, entry.Read, entry.Peak = one.samples, one.read, one.peak
	}
	if res.Err != nil {
		entry.Error, entry.Status = res.Err.Error(), http.StatusUnprocessableEntity
	}
	h.metrics.queue.WithLabelValues(q.e.workspace).Add(entry.Queue.Seconds())
	h.metrics.eval.WithLabelValues(q.e.workspace).Add(entry.Eval.Seconds())
	h.metrics.samples.WithLabelValues(q.e.workspace).Add(float64(entry.Samples))
	if h.cfg.Log != nil {
		h.cfg.Log.LogQuery(entry)
	}
	return res
}
