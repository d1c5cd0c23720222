package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mangru/mangru/internal/collector/discover"
	"github.com/mangru/mangru/internal/otelconf"
	"github.com/mangru/mangru/internal/server/cluster"
	"github.com/mangru/mangru/internal/server/logs"
	"github.com/mangru/mangru/internal/server/workspace"
)

// scrapers run scrapers: each is a collector in this process that reaches its
// cluster through the API server, with the token that the cluster was registered
// with, and writes into its workspace. They implement workspace.ScraperRunner.
type scrapers struct {
	logger   *slog.Logger
	clusters *cluster.Service
	logs     func(to workspace.LogDestination, line []byte)
	endpoint func(workspaceID string) string
	write    *localWrite

	changes sync.Mutex // serialises what starts, changes and ends scrapers
	mu      sync.Mutex // guards running, never for long
	running map[string]*runningScraper
	work    sync.WaitGroup
}

// get returns a scraper that was started, nil if there is none.
func (r *scrapers) get(id string) *runningScraper {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running[id]
}

// all returns the scrapers that were started, by their ids.
func (r *scrapers) all() map[string]*runningScraper {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.running)
}

// runningScraper is a scraper's collector.
type runningScraper struct {
	scraper   *workspace.Scraper
	access    cluster.Access
	log       *atomic.Pointer[workspace.ScraperLog]
	logger    *slog.Logger
	api       *apiTransport
	registry  *prometheus.Registry
	collector *Collector
	stop      context.CancelFunc
	stopped   bool // stop was called
	done      chan struct{}
}

// ended reports whether a scraper neither collects nor is going to.
func (run *runningScraper) ended() bool {
	select {
	case <-run.done:
		return true
	default:
		return run.stopped
	}
}

// The memory that what waits for a workspace may take, and how long a scraper
// that stops goes on sending.
const (
	scraperQueue = 32 << 20
	scraperDrain = 5 * time.Second
)

// Check implements workspace.ScraperRunner.
func (r *scrapers) Check(ctx context.Context, s *workspace.Scraper) error {
	name, err := clusterOf(s)
	if err != nil {
		return err
	}
	if _, err := r.clusters.Get(ctx, s.AccountID, name); err != nil {
		var missing *cluster.NotFoundError
		if errors.As(err, &missing) {
			return &workspace.InvalidError{Field: "source.eksConfiguration.clusterArn", Message: missing.Message + " Register it with mangru cluster register."}
		}
		return err
	}
	if _, err := otelconf.Scraper(s.Configuration, otelconf.ScraperCluster{Endpoint: "https://" + otelconf.KubernetesAPIHost}); err != nil {
		return &workspace.InvalidError{Field: "scrapeConfiguration.configurationBlob", Message: err.Error()}
	}
	return nil
}

// clusterOf returns the name of a scraper's cluster, which is one of its own
// account and region.
func clusterOf(s *workspace.Scraper) (string, error) {
	region, account, name, id, ok := cluster.ParseARN(s.Source.ClusterARN)
	if !ok || id != "" || region != s.Region || account != s.AccountID {
		return "", &workspace.InvalidError{Field: "source.eksConfiguration.clusterArn",
			Message: fmt.Sprintf("'%.200s' is not the ARN of a cluster of account %s in %s", s.Source.ClusterARN, s.AccountID, s.Region)}
	}
	return name, nil
}

// Run implements workspace.ScraperRunner. A scraper that has run before runs
// again when its API server does not answer: it goes on trying. A new one fails.
func (r *scrapers) Run(ctx context.Context, s *workspace.Scraper) error {
	name, err := clusterOf(s)
	if err != nil {
		return err
	}
	access, err := r.clusters.Access(ctx, s.AccountID, name)
	if err != nil {
		return err
	}
	cfg, err := r.config(s, access)
	if err != nil {
		return err
	}
	r.changes.Lock()
	defer r.changes.Unlock()
	if have := r.get(s.ID); have != nil && !have.ended() {
		return have.change(ctx, s, access, cfg)
	}
	api, err := newAPITransport(access)
	if err != nil {
		return err
	}
	if s.Status == workspace.StatusCreating || s.Status == workspace.StatusCreationFailed {
		if err := api.probe(ctx); err != nil {
			return err
		}
	}
	return r.start(s, access, api, cfg)
}

// config returns what a scraper's collector runs.
func (r *scrapers) config(s *workspace.Scraper, access cluster.Access) (*otelconf.Config, error) {
	cfg, err := otelconf.Scraper(s.Configuration, otelconf.ScraperCluster{Endpoint: access.Endpoint, CA: access.CA, Token: access.Token})
	if err != nil {
		return nil, err
	}
	_, _, id, _ := workspace.ParseARN(s.WorkspaceARN)
	e, err := otelconf.NewEndpoint("workspace", r.endpoint(id)+"api/v1/remote_write")
	if err != nil {
		return nil, err
	}
	e.SendExemplars = true
	e.Headers = map[string]string{headerWorkspace: id}
	cfg.AddEndpoint(e)
	cfg.Queue.MaxBytes = scraperQueue
	return cfg, nil
}

// start runs a scraper that does not run yet.
func (r *scrapers) start(s *workspace.Scraper, access cluster.Access, api *apiTransport, cfg *otelconf.Config) error {
	run := &runningScraper{scraper: s, access: access, api: api, registry: prometheus.NewRegistry(),
		log: new(atomic.Pointer[workspace.ScraperLog]), done: make(chan struct{})}
	run.log.Store(s.Log)
	run.logger = slog.New(logs.NewScraperHandler(r.logger.Handler(), s.ID, run.log, r.logs)).With("scraper", s.ID)
	var err error
	run.collector, err = NewCollector(cfg, CollectorDeps{Logger: run.logger, Registerer: run.registry, DrainTimeout: scraperDrain,
		Reach: &Reach{Targets: api, Endpoints: r.write, Route: func(t *discover.Target) (string, error) {
			return otelconf.ThroughAPIServer(t.URL, t.Discovered())
		}}})
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		run.logger.Warn(w.Text, "where", w.Where)
	}
	ctx, stop := context.WithCancel(context.Background())
	run.stop = stop
	r.mu.Lock()
	r.running[s.ID] = run
	r.mu.Unlock()
	r.work.Go(func() {
		defer close(run.done)
		if err := run.collector.Run(ctx); err != nil {
			run.logger.Error("scraper ended", "err", err)
		}
		api.CloseIdleConnections()
	})
	return nil
}

// change makes a running scraper run as it is described now. Its targets' series
// and what waits for the workspace stay.
func (run *runningScraper) change(ctx context.Context, s *workspace.Scraper, access cluster.Access, cfg *otelconf.Config) error {
	if err := run.api.set(access); err != nil {
		return err
	}
	run.log.Store(s.Log)
	if err := run.collector.awaitReady(ctx, run.done); err != nil {
		return err
	}
	if err := run.collector.Reload(cfg); err != nil {
		return err
	}
	run.scraper, run.access = s, access
	return nil
}

// Stop implements workspace.ScraperRunner. What the scraper has collected is
// still delivered; that is not waited for.
func (r *scrapers) Stop(_ context.Context, id string) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if run := r.running[id]; run != nil {
		run.stop()
		delete(r.running, id)
	}
	return nil
}

// accessEvery is how often scrapers look whether their clusters were registered
// anew, with another token or address.
const accessEvery = 15 * time.Second

// watch has scrapers follow what their clusters are registered with, until ctx
// is done, and then ends them.
func (r *scrapers) watch(ctx context.Context) error {
	tick := time.NewTicker(accessEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.close()
			return nil
		case <-tick.C:
			r.follow(ctx)
		}
	}
}

// follow looks once.
func (r *scrapers) follow(ctx context.Context) {
	r.changes.Lock()
	defer r.changes.Unlock()
	for _, run := range r.all() {
		if err := r.followOne(ctx, run); err != nil && ctx.Err() == nil {
			run.logger.Error("the cluster's registration cannot be used", "err", err)
		}
	}
}

// followOne has a scraper follow its cluster's registration: it ends without
// one, and begins again, also after a failure.
func (r *scrapers) followOne(ctx context.Context, run *runningScraper) error {
	name, err := clusterOf(run.scraper)
	if err != nil {
		return err
	}
	access, err := r.clusters.Access(ctx, run.scraper.AccountID, name)
	var missing *cluster.NotFoundError
	switch {
	case errors.Is(err, cluster.ErrNoAccess), errors.As(err, &missing):
		if !run.stopped {
			run.logger.Error("the scraper has lost its cluster", "err", err)
		}
		run.stopped = true
		run.stop()
		return nil
	case err != nil: // which says nothing about the cluster
		return err
	case access == run.access && !run.ended():
		return nil
	}
	cfg, err := r.config(run.scraper, access)
	if err != nil {
		return err
	}
	if !run.ended() {
		return run.change(ctx, run.scraper, access, cfg)
	}
	api, err := newAPITransport(access)
	if err != nil {
		return err
	}
	s := *run.scraper
	s.Log = run.log.Load()
	return r.start(&s, access, api, cfg)
}

// close ends all scrapers and waits for them. It may be called more than once.
func (r *scrapers) close() {
	r.changes.Lock()
	r.mu.Lock()
	for id, run := range r.running {
		run.stop()
		delete(r.running, id)
	}
	r.mu.Unlock()
	r.changes.Unlock()
	r.work.Wait()
}

// apiTransport sends requests for otelconf.KubernetesAPIHost to a cluster's API
// server, and no others.
type apiTransport struct{ now atomic.Pointer[apiServer] }

// apiServer is an API server as it is reached at the moment.
type apiServer struct {
	access cluster.Access
	http   *http.Transport
}

func newAPITransport(access cluster.Access) (*apiTransport, error) {
	t := new(apiTransport)
	return t, t.set(access)
}

// set has later requests sent to another server or with another token.
func (t *apiTransport) set(access cluster.Access) error {
	was := t.now.Load()
	if was != nil && was.access == access {
		return nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if access.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(access.CA)) {
			return errors.New("the cluster's CA cannot be read")
		}
	}
	t.now.Store(&apiServer{access: access, http: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second}})
	if was != nil {
		was.http.CloseIdleConnections()
	}
	return nil
}

// RoundTrip implements http.RoundTripper.
func (t *apiTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	now := t.now.Load()
	switch {
	case req.URL.Host != otelconf.KubernetesAPIHost || req.Method != http.MethodGet:
		return nil, errors.New("a scraper only gets, and only from its cluster")
	case climbs(req.URL.Path):
		// They would lead out of the path that the cluster was registered with,
		// behind which there may be others.
		return nil, errors.New("a scraper only gets paths without . and .. in them")
	}
	to, err := req.URL.Parse(now.access.Endpoint)
	if err != nil {
		return nil, errors.New("the API server's address is not a URL")
	}
	out := req.Clone(req.Context())
	out.URL.Scheme, out.URL.Host, out.Host = to.Scheme, to.Host, to.Host
	if to.Path != "" && to.Path != "/" {
		out.URL.Path, out.URL.RawPath = to.Path+req.URL.Path, ""
	}
	out.Header.Set("Authorization", "Bearer "+now.access.Token)
	return now.http.RoundTrip(out)
}

// climbs reports whether a path has segments that lead elsewhere.
func climbs(path string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(path, func(c rune) bool { return c == '/' || c == '\\' }), func(segment string) bool {
		return segment == "." || segment == ".."
	})
}

// CloseIdleConnections closes the connections that nobody uses.
func (t *apiTransport) CloseIdleConnections() { t.now.Load().http.CloseIdleConnections() }

// probeTimeout bounds how long it takes to say that a cluster cannot be reached.
const probeTimeout = 5 * time.Second

// probe says why the API server cannot be worked with, if so.
func (t *apiTransport) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+otelconf.KubernetesAPIHost+"/api", http.NoBody)
	if err != nil {
		return err
	}
	endpoint := t.now.Load().access.Endpoint
	res, err := t.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("the API server %s does not answer: %w", endpoint, err)
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("the API server %s refuses the token that the cluster was registered with (%s): run mangru cluster register NAME --scraper", endpoint, res.Status)
	}
	return fmt.Errorf("the API server %s answers %s", endpoint, res.Status)
}
