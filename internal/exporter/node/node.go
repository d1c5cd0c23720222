// Package node serves the metrics of this machine through the collectors of the
// Prometheus node exporter, which are compiled in.
//
// Those collectors take their settings from one set of command-line flags for
// the whole process, so the flags are parsed once: the first caller's count.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	promcollectors "github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"
	"github.com/prometheus/node_exporter/collector"
)

// UsageError says that the arguments were wrong.
type UsageError struct{ Err error }

// Error implements error.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// ErrHelp is returned when the arguments asked for help, which was written.
var ErrHelp = errors.New("help was asked for")

// flags are the upstream program's own, beside those of the collectors.
type flags struct {
	path            string
	hideOwn         bool
	maxRequests     int
	disableDefaults bool
	toolkit         *web.FlagConfig
	log             promslog.Config
}

var parsed struct {
	sync.Mutex
	flags *flags
	args  []string
}

// parse parses the process' arguments once.
func parse(args []string, usage io.Writer) (*flags, error) {
	parsed.Lock()
	defer parsed.Unlock()
	if parsed.flags != nil {
		if !slices.Equal(parsed.args, args) {
			return nil, fmt.Errorf("the node exporter runs with arguments %q already; a process has one set", parsed.args)
		}
		return parsed.flags, nil
	}
	f := &flags{}
	app := kingpin.CommandLine
	app.Name, app.Help = "mangru node-exporter", "Serves the metrics of this machine, with the flags of the Prometheus node exporter."
	app.Flag("web.telemetry-path", "Path under which to expose metrics.").Default("/metrics").StringVar(&f.path)
	app.Flag("web.disable-exporter-metrics", "Exclude metrics about the exporter itself (promhttp_*, process_*, go_*).").BoolVar(&f.hideOwn)
	app.Flag("web.max-requests", "Maximum number of parallel scrape requests. Use 0 to disable.").Default("40").IntVar(&f.maxRequests)
	app.Flag("collector.disable-defaults", "Set all collectors to disabled by default.").BoolVar(&f.disableDefaults)
	app.Flag("runtime.gomaxprocs", "Accepted for compatibility; GOMAXPROCS in the environment decides.").Hidden().Int()
	f.toolkit = kingpinflag.AddFlags(app, ":9100")
	promslogflag.AddFlags(app, &f.log)
	help := false
	app.HelpFlag.Short('h')
	app.UsageWriter(usage)
	app.ErrorWriter(usage)
	app.Terminate(func(int) { help = true })
	if _, err := app.Parse(args); err != nil && !help {
		return nil, &UsageError{err}
	}
	if help {
		return nil, ErrHelp
	}
	if f.disableDefaults {
		collector.DisableDefaultCollectors()
	}
	parsed.flags, parsed.args = f, slices.Clone(args)
	return f, nil
}

// New returns a handler that serves the metrics. The arguments are flags of the
// upstream program, such as --path.procfs or --collector.systemd; none means
// its defaults.
func New(logger *slog.Logger, args []string) (http.Handler, error) {
	f, err := parse(args, io.Discard)
	if err != nil {
		return nil, err
	}
	return newHandler(f, logger)
}

// handler serves all collectors, or those that a request names.
type handler struct {
	flags   *flags
	log     *slog.Logger
	enabled []string
	own     *prometheus.Registry
	all     http.Handler
}

func newHandler(f *flags, logger *slog.Logger) (*handler, error) {
	h := &handler{flags: f, log: logger, own: prometheus.NewRegistry()}
	if !f.hideOwn {
		h.own.MustRegister(promcollectors.NewProcessCollector(promcollectors.ProcessCollectorOpts{}), promcollectors.NewGoCollector())
	}
	nc, err := collector.NewNodeCollector(logger)
	if err != nil {
		return nil, fmt.Errorf("setting up the node collectors: %w", err)
	}
	for name := range nc.Collectors {
		h.enabled = append(h.enabled, name)
	}
	slices.Sort(h.enabled)
	logger.Debug("node collectors", "enabled", h.enabled)
	h.all, err = h.serve(nc)
	return h, err
}

func (h *handler) serve(nc *collector.NodeCollector) (http.Handler, error) {
	r := prometheus.NewRegistry()
	if err := r.Register(nc); err != nil {
		return nil, fmt.Errorf("registering the node collectors: %w", err)
	}
	opts := promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(h.log.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: h.flags.maxRequests,
	}
	if h.flags.hideOwn {
		return promhttp.HandlerFor(r, opts), nil
	}
	opts.Registry = h.own
	return promhttp.InstrumentMetricHandler(h.own, promhttp.HandlerFor(prometheus.Gatherers{h.own, r}, opts)), nil
}

// ServeHTTP implements http.Handler, with upstream's collect[] and exclude[].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	only, without := r.URL.Query()["collect[]"], r.URL.Query()["exclude[]"]
	switch {
	case len(only) == 0 && len(without) == 0:
		h.all.ServeHTTP(w, r)
		return
	case len(only) > 0 && len(without) > 0:
		http.Error(w, "collect[] and exclude[] cannot be combined", http.StatusBadRequest)
		return
	case len(without) > 0:
		only = slices.DeleteFunc(slices.Clone(h.enabled), func(name string) bool { return slices.Contains(without, name) })
	}
	nc, err := collector.NewNodeCollector(h.log, only...)
	if err != nil {
		http.Error(w, "cannot choose these collectors: "+err.Error(), http.StatusBadRequest)
		return
	}
	some, err := h.serve(nc)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	some.ServeHTTP(w, r)
}

// Run is the upstream program: it listens where the arguments say, or on port
// 9100 of all addresses, until ctx ends.
func Run(ctx context.Context, args []string, out, logs io.Writer) error {
	f, err := parse(args, out)
	if err != nil {
		return err
	}
	f.log.Writer = logs
	logger := promslog.New(&f.log)
	h, err := newHandler(f, logger)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(f.path, h)
	if f.path != "/" {
		landing, err := web.NewLandingPage(web.LandingConfig{
			Name: "Node Exporter", Description: "Metrics of this machine",
			Links: []web.LandingLinks{{Address: f.path, Text: "Metrics"}},
		})
		if err != nil {
			return fmt.Errorf("making the landing page: %w", err)
		}
		mux.Handle("/", landing)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- web.ListenAndServe(srv, f.toolkit, logger) }()
	select {
	case err := <-failed:
		return fmt.Errorf("node exporter: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		return fmt.Errorf("stopping the node exporter: %w", err)
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("node exporter: %w", err)
	}
	return nil
}
