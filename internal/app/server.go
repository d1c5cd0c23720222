package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/ingest"
	"github.com/mangru/mangru/internal/server/logs"
	"github.com/mangru/mangru/internal/server/query"
	"github.com/mangru/mangru/internal/server/store"
	"github.com/mangru/mangru/internal/server/workspace"
)

// ServerDeps are what a Server may share with the rest of the process.
type ServerDeps struct {
	Logger *slog.Logger
	// Registry takes the metrics and is served at /metrics. Nil makes one.
	Registry *prometheus.Registry
	// DB holds the records. Nil opens mangru.db in the data directory, which
	// the Server then closes.
	DB *bun.DB
}

// Server is the server mode: workspaces, identity, ingest, store and query
// behind one listener.
type Server struct {
	cfg        ServerConfig
	logger     *slog.Logger
	registry   *prometheus.Registry
	records    *bun.DB
	ownRecords bool
	identity   serverIdentity
	workspaces *workspace.Service
	store      *store.Store
	ingest     *ingest.Handler
	query      *query.Handler
	queryLog   *query.FileLog // nil without a file
	rules      serverRules
	logs       *logs.Sinks
	scrapers   *scrapers
	router     *api.Router
	http       *httpserver.Server
	dashboard  atomic.Pointer[Dashboard] // nil until OpenUI
	ready      atomic.Bool
	closing    sync.Once
	closed     error

	// firstKey is the administrator's access key, if this start made it.
	firstKey *iam.AccessKey
}

// NewServer opens the files and claims the port, so that what can fail fails
// now. Close gives it all back, also after Run.
func NewServer(ctx context.Context, cfg ServerConfig, deps ServerDeps) (s *Server, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, &ExitError{Code: exitUsage, Err: err}
	}
	s = &Server{cfg: cfg, logger: deps.Logger, registry: deps.Registry, records: deps.DB}
	if s.registry == nil {
		s.registry = prometheus.NewRegistry()
		s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if err = os.MkdirAll(cfg.Data, 0o700); err != nil {
		return s, fmt.Errorf("make the data directory: %w", err)
	}
	if s.records == nil {
		s.ownRecords = true
		if s.records, err = db.Open(ctx, filepath.Join(cfg.Data, "mangru.db")); err != nil {
			return s, err
		}
	}
	if err = s.openIdentity(ctx); err != nil {
		return s, err
	}
	if err = s.openData(ctx); err != nil {
		return s, err
	}
	handler, err := s.handler()
	if err != nil {
		return s, err
	}
	return s, s.listen(handler)
}

// openData makes store, ingest, query and the records of workspaces, and plugs
// them together.
func (s *Server) openData(ctx context.Context) (err error) {
	c := s.cfg
	counts := ingest.NewSeriesCounts()
	s.store, err = store.New(store.Config{
		SeriesCallback: counts.Callback,
		Dir:            filepath.Join(c.Data, "workspaces"), Retention: time.Duration(c.Store.Retention),
		OutOfOrderWindow: time.Duration(c.Store.OutOfOrderWindow), IdleTimeout: time.Duration(c.Store.IdleTimeout),
		MinFreeDisk: int64(c.Store.MinFreeDisk), Registerer: s.registry, MaxBytes: int64(c.Store.MaxBytes),
		Policy: workspace.Derive(func(id string) *workspace.Settings { return s.workspaces.Settings(id) }, func(w *workspace.Settings) *store.Policy {
			return &store.Policy{Retention: w.Retention}
		}),
	}, s.logger)
	if err != nil {
		return err
	}
	s.ingest, err = ingest.New(ingest.Config{
		Limits: c.Limits.ingest(), Series: counts, Registerer: s.registry,
		Overrides: limitsOf(func(id string) *workspace.Settings { return s.workspaces.Settings(id) }),
		Open: func(ctx context.Context, id string) (ingest.Target, error) {
			h, err := s.store.AcquireWrite(ctx, id)
			if err != nil {
				return nil, storeError(err)
			}
			return h, nil
		},
	}, s.logger)
	if err != nil {
		return err
	}
	if err := s.openQuery(); err != nil {
		return err
	}
	if s.logs, err = logs.New(c.Logs.config(filepath.Join(c.Data, "logs"), s.registry), s.logger); err != nil {
		return err
	}
	s.scrapers = &scrapers{logger: s.logger, clusters: s.identity.clusters, logs: s.logs.Write, endpoint: s.Endpoint,
		write: &localWrite{s.ingest.ServeWorkspace}, running: make(map[string]*runningScraper)}
	s.registry.MustRegister(s.scrapers)
	s.workspaces, err = workspace.New(workspace.Config{
		Scrapers: s.scrapers, Region: c.Region, MaxWorkspaces: c.MaxWorkspaces, MaxScrapers: c.MaxScrapers, Logs: s.logs, LogURLs: c.Logs.URLs,
		Apply:    func(ctx context.Context, id string, _ *workspace.Settings) error { return s.store.Apply(ctx, id) },
		Defaults: workspace.Settings{Retention: time.Duration(c.Store.Retention), OutOfOrderWindow: time.Duration(c.Limits.OutOfOrderWindow)},
	}, s.records, workspaceStorage{s.store, s.ingest, s.query, &s.rules}, s.logger)
	if err != nil {
		return err
	}
	return s.openRules(ctx)
}

// storeError says in the workspaces' terms that there is nothing to open.
func storeError(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %w", workspace.ErrNotFound, err)
	}
	return err
}

// importWorkspace takes a piece of an archive.
func (s *Server) importWorkspace(w http.ResponseWriter, r *http.Request, id string) error {
	return storeError(s.store.ServeImport(w, r, id))
}

// workspaceStorage is what happens to the samples when a workspace comes or
// goes.
type workspaceStorage struct {
	*store.Store
	ingest *ingest.Handler
	query  *query.Handler
	rules  *serverRules
}

// Remove implements workspace.Storage.
func (w workspaceStorage) Remove(ctx context.Context, id string) error {
	if err := w.rules.remove(ctx, id); err != nil {
		return err
	}
	if err := w.Store.Remove(ctx, id); err != nil {
		return err
	}
	w.ingest.Forget(id)
	w.query.Forget(id)
	return nil
}

// handler builds everything behind the listener but the listener.
func (s *Server) handler() (http.Handler, error) {
	verifier, err := s.verifier()
	if err != nil {
		return nil, err
	}
	aps, err := api.NewAPS(api.APSConfig{
		Region: s.cfg.Region, PublicURL: s.cfg.PublicURL, Domain: s.cfg.Domain, Workspaces: s.workspaces,
		Write: s.ingest.ServeWorkspace, OTLP: s.ingest.ServeOTLP, Export: s.store.ServeExport, Import: s.importWorkspace, Query: s.query.ServeWorkspace,
		RulesAPI: s.rules.rules.ServeWorkspace, RulerAPI: s.rules.ruleRecords.ServeConfig, RuleNamespaces: s.rules.ruleRecords,
		AlertManagerAPI: s.rules.alerts.ServeWorkspace, AlertManagers: s.rules.alertRecords,
		Authorizer: s.identity.iam, MaxWriteBody: int64(s.cfg.Limits.MaxRequestSize), Registerer: s.registry,
	})
	if err != nil {
		return nil, err
	}
	services, err := s.identityServices()
	if err != nil {
		return nil, err
	}
	router, err := api.NewRouter(api.Config{
		Domain: s.cfg.Domain, Services: append([]api.Service{aps}, services...), Verifier: verifier,
		Authorizer: s.identity.iam, Proxies: s.identity.proxies, Audit: s.identity.audit, Registerer: s.registry,
		MaxRefusals: s.cfg.Signatures.MaxRefusals,
	}, s.logger)
	if err != nil {
		return nil, err
	}
	s.router = router
	metrics := promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn)})
	// No ServeMux here: it redirects to cleaned paths, and signatures cover the
	// path as it was sent.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/-/healthy":
			_, _ = w.Write([]byte("Mangru server is healthy.\n"))
		case "/-/ready":
			s.serveReady(w, r)
		case "/metrics":
			if !s.http.Loopback() && !s.cfg.MetricsPublic {
				http.Error(w, "Metrics are served on loopback only (setting metrics_public).", http.StatusForbidden)
				return
			}
			metrics.ServeHTTP(w, r)
		default:
			router.ServeHTTP(w, r)
		}
	}), nil
}

func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) {
	if !s.ready.Load() {
		http.Error(w, "Mangru server is stopping.", http.StatusServiceUnavailable)
		return
	}
	if err := s.records.PingContext(r.Context()); err != nil {
		s.logger.Warn("not ready", "err", err)
		http.Error(w, "The database of records does not answer.", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("Mangru server is ready.\n"))
}

func (s *Server) listen(handler http.Handler) error {
	var tlsConfig *tls.Config
	if s.cfg.TLS.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(s.cfg.TLS.CertFile, s.cfg.TLS.KeyFile)
		if err != nil {
			return &ExitError{Code: exitUsage, Err: fmt.Errorf("tls: %w", err)}
		}
		tlsConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	var err error
	s.http, err = httpserver.New(httpserver.Config{
		Name: "api", Addr: s.cfg.Listen, TLS: tlsConfig, H2C: true,
		RequestIDHeader: "X-Amzn-Requestid", LogLevel: slog.LevelInfo, Registerer: s.registry,
		DrainTimeout: time.Duration(s.cfg.DrainTimeout),
	}, handler, s.logger)
	return err
}

// Run serves until ctx is done, then drains.
func (s *Server) Run(ctx context.Context) error {
	s.ready.Store(true)
	defer s.ready.Store(false)
	stop := context.AfterFunc(ctx, func() { s.ready.Store(false) })
	defer stop()
	return runStages(ctx, []stage{
		{"api", s.http.Run}, {"audit", s.identity.audit.Run}, {"identity", s.runIdentity}, {"addons", s.identity.addons.Run},
		{"rules", s.rules.rules.Run}, {"alerts", s.rules.alerts.Run},
		{"workspaces", s.workspaces.Run}, {"scrapers", s.scrapers.watch}, {"store", s.store.Run},
	})
}

// runIdentity keeps when keys were used last.
func (s *Server) runIdentity(ctx context.Context) error {
	s.identity.iam.Run(ctx)
	return nil
}

// Close gives back what NewServer took. It may be called more than once.
func (s *Server) Close() error {
	s.closing.Do(func() {
		var errs []error
		if d := s.dashboard.Load(); d != nil {
			errs = append(errs, d.Close())
		}
		if s.http != nil {
			errs = append(errs, s.http.Close())
		}
		if s.scrapers != nil {
			s.scrapers.close()
		}
		s.rules.close()
		errs = append(errs, s.identity.close())
		if s.query != nil {
			errs = append(errs, s.query.Close())
		}
		if s.logs != nil {
			errs = append(errs, s.logs.Close())
		}
		if s.queryLog != nil {
			errs = append(errs, s.queryLog.Close())
		}
		if s.store != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			errs = append(errs, s.store.Close(ctx))
		}
		if s.ownRecords && s.records != nil {
			errs = append(errs, s.records.Close())
		}
		s.closed = errors.Join(errs...)
	})
	return s.closed
}

// Addr returns the address that is listened on, with the real port.
func (s *Server) Addr() net.Addr { return s.http.Addr() }

// Account returns the id of the account that the server's own records are in.
func (s *Server) Account() string { return iam.DefaultAccount }

// IAM returns the identities.
func (s *Server) IAM() *iam.Service { return s.identity.iam }

// Workspaces returns the records of workspaces.
func (s *Server) Workspaces() *workspace.Service { return s.workspaces }

// FirstKey returns the administrator's access key if this start made it; it is
// shown this once.
func (s *Server) FirstKey() (iam.AccessKey, bool) {
	if s.firstKey == nil {
		return iam.AccessKey{}, false
	}
	return *s.firstKey, true
}

// URL returns the base of the server's URLs as this machine reaches it, or the
// configured public one.
func (s *Server) URL() string {
	if s.cfg.PublicURL != "" {
		return s.cfg.PublicURL
	}
	scheme := "http://"
	if s.cfg.TLS.CertFile != "" {
		scheme = "https://"
	}
	return scheme + reachable(s.Addr().String())
}

// Endpoint returns a workspace's data plane URL, with a slash at the end.
func (s *Server) Endpoint(workspaceID string) string {
	return s.URL() + "/workspaces/" + workspaceID + "/"
}
