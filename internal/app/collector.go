package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mangru/mangru/internal/collector/buffer"
	"github.com/mangru/mangru/internal/collector/discover"
	"github.com/mangru/mangru/internal/collector/scrape"
	"github.com/mangru/mangru/internal/collector/send"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/otelconf"
	"github.com/mangru/mangru/internal/rewrite"
)

// defaultDrainTimeout is how long a stopping collector goes on sending.
const defaultDrainTimeout = 10 * time.Second

// handoverTimeout bounds how long a stopping replica waits for the others to take
// over its targets; with what comes after it, it fits a pod's usual 30 seconds.
const handoverTimeout = 17 * time.Second

// lastScrapes bounds how long a stopping collector waits for the scrapes that it
// has begun.
const lastScrapes = 2 * time.Second

// maxBatchTimeout bounds what a configuration may ask a sample to wait for
// company: people look at boards meanwhile, and receivers bill by sample.
const maxBatchTimeout = 5 * time.Second

// CollectorDeps are what a collector is given.
type CollectorDeps struct {
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Gatherer is what /metrics shows; nil leaves /metrics out.
	Gatherer prometheus.Gatherer
	// DrainTimeout is how long a stopping collector goes on sending; 0 means
	// 10 seconds.
	DrainTimeout time.Duration
	// HandOut, if not nil, leaves scraping to others.
	HandOut *HandOut
	// Reach, if not nil, is how targets and endpoints are reached, in place of
	// directly.
	Reach *Reach
}

// Collector discovers, scrapes, buffers and sends. Make it with NewCollector,
// then Run it once.
type Collector struct {
	deps     CollectorDeps
	log      *slog.Logger
	queue    *buffer.Queue
	scraper  *scrape.Manager
	finder   *discover.Manager
	metrics  *send.Metrics
	failed   chan error // of a listener
	ready    atomic.Bool
	hardStop context.Context // ends the senders
	kill     context.CancelFunc

	mu        sync.Mutex // serialises reloads
	cfg       *otelconf.Config
	endpoints []*runningEndpoint
	listeners map[string]*listener

	sharing *sharing
	// unreachable are the targets that were said to be left out. Only
	// applyTargets has it, which is called one at a time.
	unreachable map[string]bool
	jobs        atomic.Pointer[jobSettings]
	pressure    pressure
	read        atomic.Pointer[filesSum] // see lastRead
}

// runningEndpoint is a sender and how to stop it.
type runningEndpoint struct {
	cfg    send.Config
	sender *send.Sender
	stop   context.CancelFunc
	done   chan struct{} // nil until it was started
}

// NewCollector checks and claims everything that a configuration needs, so that
// what can fail fails now.
func NewCollector(cfg *otelconf.Config, deps CollectorDeps) (c *Collector, err error) {
	deps.DrainTimeout = cmp.Or(deps.DrainTimeout, defaultDrainTimeout)
	c = &Collector{
		deps: deps, log: deps.Logger.With("component", "collector"), cfg: cfg,
		metrics: send.NewMetrics(deps.Registerer), failed: make(chan error, 1), unreachable: make(map[string]bool),
	}
	claimed := c
	defer func() {
		if err != nil {
			c, err = nil, errors.Join(err, claimed.Close())
		}
	}()
	c.setJobs(cfg)
	c.pressure.set(cfg.Memory, totalMemory(os.DirFS("/")))
	c.hardStop, c.kill = context.WithCancel(context.Background())
	if c.endpoints, err = c.senders(cfg); err != nil {
		return nil, err
	}
	if c.queue, err = buffer.New(queueBounds(cfg), queueEndpoints(cfg), c.log); err != nil {
		return nil, err
	}
	deps.Registerer.MustRegister(c.queue)
	c.scraper = scrape.New(scrape.Config{
		OffsetSeed: offsetSeed(cfg), UserAgent: userAgent(), FirstWithin: time.Second, Hold: c.memoryShort,
	}, c.queue, deps.Registerer, c.log)
	deps.Registerer.MustRegister(&otelcolMetrics{c: c, start: time.Now()})
	if c.finder, err = discover.New(c.applyTargets, deps.Registerer, c.log); err != nil {
		return nil, err
	}
	if c.sharing, err = newSharing(cfg, deps.HandOut, c.log); err != nil {
		return nil, err
	}
	return c, c.listen(cfg)
}

func userAgent() string { return "mangru/" + version }

// offsetSeed moves the scrape times of collectors against each other that scrape
// the same targets; where they share them, the times must be the same.
func offsetSeed(cfg *otelconf.Config) uint64 {
	if shared(cfg) {
		return 0
	}
	h := fnv.New64a()
	host, err := os.Hostname()
	if err == nil {
		_, _ = h.Write([]byte(host))
	}
	return h.Sum64()
}

func queueBounds(cfg *otelconf.Config) buffer.Config {
	return buffer.Config{MaxBytes: cfg.Queue.MaxBytes, MaxAge: cfg.Queue.MaxAge, Directory: cfg.Queue.Directory}
}

func queueEndpoints(cfg *otelconf.Config) (out []buffer.Endpoint) {
	for _, e := range cfg.Endpoints {
		out = append(out, buffer.Endpoint{Name: e.Name, Jobs: e.Jobs})
	}
	return out
}

// senders returns a sender per endpoint: the running one where nothing has
// changed, else one that is to be started.
func (c *Collector) senders(cfg *otelconf.Config) ([]*runningEndpoint, error) {
	var out []*runningEndpoint
	for _, e := range cfg.Endpoints {
		sc := send.Config{Endpoint: e, BatchTimeout: min(cfg.BatchTimeout, maxBatchTimeout), UserAgent: userAgent()}
		if c.deps.Reach != nil {
			sc.Transport = c.deps.Reach.Endpoints
		}
		i := slices.IndexFunc(c.endpoints, func(r *runningEndpoint) bool { return reflect.DeepEqual(r.cfg, sc) })
		if i >= 0 {
			out = append(out, c.endpoints[i])
			continue
		}
		s, err := send.New(sc, c.metrics, c.log)
		if err != nil {
			return nil, err
		}
		out = append(out, &runningEndpoint{cfg: sc, sender: s})
	}
	return out, nil
}

func (c *Collector) start(r *runningEndpoint) error {
	f, err := c.queue.Feed(r.cfg.Name)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(c.hardStop)
	r.stop, r.done = stop, make(chan struct{})
	go func() {
		defer close(r.done)
		r.sender.Run(ctx, feed{f})
	}()
	return nil
}

// feed is an endpoint's part of the queue as a sender wants it.
type feed struct{ *buffer.Feed }

// Reader implements send.Queue.
func (f feed) Reader() send.Source { return f.Feed.Reader() }

// halt stops a sender; what it has not delivered goes back into the queue.
func (r *runningEndpoint) halt() {
	if r.done != nil {
		r.stop()
		<-r.done
	}
}

// applyTargets hands the lists of discovery to the scraper.
func (c *Collector) applyTargets(jobs []discover.Job) {
	set := c.jobs.Load()
	list := make([]scrape.Job, 0, len(jobs))
	for _, j := range jobs {
		name := j.Config.JobName
		sj := scrape.Job{
			Config: j.Config, Program: set.programs[name], TargetInfo: set.targetInfo[name],
			Exemplars: set.exemplars, CreatedZeroes: set.zeroes, StartTimestamps: set.starts,
		}
		if a := set.allocator; a != nil && !set.own[name] {
			sj.Program, sj.TargetInfo = a.Program, a.TargetInfo
		}
		if t := set.transports[name]; t != nil {
			sj.Transport = t
		}
		if c.deps.Reach != nil {
			sj.Transport = c.deps.Reach.Targets
		}
		sj.Moved, sj.Total = j.Moved, j.Total
		looks := sj.TargetInfo != nil || len(sj.Program.Discovered()) > 0
		for i := range j.Targets {
			t := &j.Targets[i]
			st := scrape.Target{
				ID: t.ID, Labels: t.Labels, URL: t.URL, Interval: t.Interval, Timeout: t.Timeout, From: t.From, Until: t.Until,
			}
			if c.deps.Reach != nil && !c.route(name, t, &st) {
				continue
			}
			if looks {
				st.Discovered = t.Discovered()
			}
			sj.Targets = append(sj.Targets, st)
		}
		list = append(list, sj)
	}
	if err := c.scraper.Apply(list); err != nil {
		c.log.Error("some jobs could not be set up", "err", err)
	}
}

// jobSettings are what a configuration says about jobs beside their scrape
// configurations. They are replaced, never changed.
type jobSettings struct {
	programs   map[string]rewrite.Program
	targetInfo map[string]*rewrite.TargetInfo
	own        map[string]bool // jobs of the configuration itself
	// allocator, if not nil, hands out the others. Where there are several, what
	// the first one's receiver says holds for all.
	allocator *otelconf.TargetAllocator
	// receivers are the OpenTelemetry receivers of own jobs, and exporters the
	// exporters of endpoints, where the configuration has such.
	receivers, exporters map[string]string
	names                otelconf.MetricsNames

	exemplars bool // some endpoint wants them
	zeroes    bool
	starts    bool
	// transports are those of jobs that go through an API server.
	transports map[string]*kubeTransport
}

// setJobs prepares what a configuration says about jobs. Transports in use stay,
// and with them their connections.
func (c *Collector) setJobs(cfg *otelconf.Config) {
	byFile := make(map[string]*kubeTransport)
	if old := c.jobs.Load(); old != nil {
		for _, t := range old.transports {
			byFile[t.file] = t
		}
	}
	next := &jobSettings{
		programs: cfg.Programs, targetInfo: cfg.TargetInfo, zeroes: cfg.CreatedZeroIngestion, starts: cfg.StartTimestamps,
		exemplars:  slices.ContainsFunc(cfg.Endpoints, func(e otelconf.Endpoint) bool { return e.SendExemplars }),
		transports: make(map[string]*kubeTransport), own: make(map[string]bool),
	}
	for _, sc := range cfg.ScrapeConfigs {
		next.own[sc.JobName] = true
	}
	next.names, next.receivers, next.exporters = cfg.MetricsNames, cfg.Receivers(), make(map[string]string)
	for _, e := range cfg.Endpoints {
		next.exporters[e.Name] = e.Exporter
	}
	if len(cfg.TargetAllocators) > 0 {
		next.allocator = &cfg.TargetAllocators[0]
	}
	for job, file := range cfg.APIServerProxy {
		if byFile[file] == nil {
			byFile[file] = &kubeTransport{file: file}
		}
		next.transports[job] = byFile[file]
	}
	c.jobs.Store(next)
}

// run starts everything that works until the collector stops.
func (c *Collector) run() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.endpoints {
		if err := c.start(r); err != nil {
			return err
		}
	}
	c.finder.Start()
	if err := c.finder.Apply(c.discoverConfig(c.cfg)); err != nil {
		return err
	}
	c.ready.Store(true)
	return nil
}

func (c *Collector) discoverConfig(cfg *otelconf.Config) discover.Config {
	return discover.Config{
		Jobs: cfg.ScrapeConfigs, FirstJobWins: cfg.Dedupe == otelconf.DedupeFirstJobWins,
		Members: c.sharing.members, Shard: c.sharing.shard, Allocators: cfg.TargetAllocators,
	}
}

// Run works until ctx is done, then stops in the order of the data: no more
// scrapes, then the queue is sent for as long as DrainTimeout says, then what is
// left is counted and logged.
func (c *Collector) Run(ctx context.Context) error {
	c.mu.Lock()
	c.serve()
	c.mu.Unlock()
	err := c.run()
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-c.failed:
		}
	}
	c.drain()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.listeners {
		l.halt()
	}
	return err
}

// drain stops scraping and sends what is there, within the deadline. Replicas
// that take over the targets do so at a known time; until then this one goes on.
func (c *Collector) drain() {
	leave, cancel := context.WithTimeout(context.Background(), handoverTimeout)
	defer cancel()
	if err := c.finder.HandedOver(leave); err != nil {
		c.log.Info("stopping before other replicas have taken over", "reason", err)
	}
	c.ready.Store(false) // not before: a pod that is not ready has no targets
	c.finder.Stop()
	c.sharing.end()
	c.scraper.Finish(lastScrapes)
	c.scraper.Stop()
	c.queue.Close()
	c.mu.Lock() // a reload may be under way; there will be no other
	endpoints := c.endpoints
	c.mu.Unlock()
	deadline := time.AfterFunc(c.deps.DrainTimeout, c.kill)
	defer deadline.Stop()
	for _, r := range endpoints {
		if r.done != nil {
			<-r.done
		}
	}
	c.kill()
	for name, n := range c.queue.Discard() {
		if n > 0 {
			c.log.Warn("stopped with samples undelivered", "endpoint", name, "samples", n, "waited", c.deps.DrainTimeout)
		} else {
			c.log.Info("stopped with everything delivered", "endpoint", name)
		}
	}
}

// Close gives back what NewCollector claimed, for a start that goes no further.
func (c *Collector) Close() error {
	var errs []error
	for _, l := range c.listeners {
		errs = append(errs, l.server.Close())
	}
	c.sharing.end()
	c.kill()
	if c.queue != nil {
		c.queue.Close()
		c.queue.Discard() // gives the directory back
	}
	return errors.Join(errs...)
}

// Reload puts another configuration in place of the running one. The queue, the
// series of targets and their scrape times stay; endpoints that do not change
// go on undisturbed. On an error everything stays as it was.
func (c *Collector) Reload(cfg *otelconf.Config) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ready.Load() {
		return errors.New("the collector does not run")
	}
	next, err := c.senders(cfg)
	if err != nil {
		return err
	}
	sharing := c.sharing
	if c.deps.HandOut == nil && !sameSharing(cfg, c.cfg) {
		if sharing, err = newSharing(cfg, nil, c.log); err != nil {
			return err
		}
	}
	if err := c.listen(cfg); err != nil {
		if sharing != c.sharing {
			sharing.end()
		}
		return err
	}
	c.serve()
	if sharing != c.sharing {
		defer c.sharing.end() // once the new one is in use
		c.sharing = sharing
	}
	for _, old := range c.endpoints {
		if !slices.Contains(next, old) {
			old.halt()
		}
	}
	if err := c.queue.SetEndpoints(queueEndpoints(cfg)); err != nil {
		// Names and shards were checked when the configuration was read, but
		// if this fails the old senders must go on.
		return errors.Join(err, c.restart())
	}
	for _, old := range c.endpoints {
		if !slices.ContainsFunc(next, func(r *runningEndpoint) bool { return r.cfg.Name == old.cfg.Name }) {
			c.metrics.Forget(old.cfg.Name)
		}
	}
	if cfg.Queue.Directory != c.cfg.Queue.Directory {
		c.log.Warn("the queue's directory changes only with a restart", "in_use", c.cfg.Queue.Directory, "configured", cfg.Queue.Directory)
		cfg.Queue.Directory = c.cfg.Queue.Directory
	}
	c.queue.SetConfig(queueBounds(cfg))
	c.endpoints, c.cfg = next, cfg
	c.setJobs(cfg)
	c.pressure.set(cfg.Memory, totalMemory(os.DirFS("/")))
	return errors.Join(c.restart(), c.finder.Apply(c.discoverConfig(cfg)))
}

// restart starts the endpoints that do not run.
func (c *Collector) restart() error {
	var errs []error
	for _, r := range c.endpoints {
		if r.done != nil {
			select {
			case <-r.done:
			default:
				continue
			}
		}
		errs = append(errs, c.start(r))
	}
	return errors.Join(errs...)
}

// listener is one address that the collector serves.
type listener struct {
	addr   string
	path   string // of the health check
	server *httpserver.Server
	stop   context.CancelFunc // nil until it serves
	done   chan struct{}
}

// listen claims the addresses of a configuration. Those that stay the same stay.
func (c *Collector) listen(cfg *otelconf.Config) (err error) {
	next := make(map[string]*listener)
	defer func() {
		if err != nil {
			for name, l := range next {
				if c.listeners[name] != l {
					err = errors.Join(err, l.server.Close())
				}
			}
		}
	}()
	add := func(name, addr, path string, h http.Handler) error {
		if old := c.listeners[name]; old != nil && old.addr == addr && old.path == path {
			next[name] = old
			return nil
		}
		if addr == "" {
			return nil
		}
		s, err := httpserver.New(httpserver.Config{
			Name: name, Addr: addr, LogLevel: slog.LevelDebug, Registerer: c.deps.Registerer,
		}, h, c.log)
		if err != nil {
			return err
		}
		next[name] = &listener{addr: addr, path: path, server: s}
		return nil
	}
	health := http.NewServeMux()
	health.HandleFunc(cmp.Or(cfg.HealthPath, "/"), c.serveReady)
	if err := add("collector-metrics", cfg.MetricsAddress, "", c.Handler()); err != nil {
		return err
	}
	if err := add("collector-health", cfg.HealthAddress, cmp.Or(cfg.HealthPath, "/"), health); err != nil {
		return fmt.Errorf("health check: %w", err)
	}
	if err := add("collector-pprof", cfg.PprofAddress, "", profiles()); err != nil {
		return fmt.Errorf("pprof: %w", err)
	}
	if out := c.deps.HandOut; out != nil {
		if err := add("collector-allocator", out.Listen, "", c.finder.AllocatorHandler(c.sharing.members)); err != nil {
			return fmt.Errorf("--target-allocator-listen: %w", err)
		}
	}
	for name, old := range c.listeners {
		if next[name] != old {
			old.halt()
		}
	}
	c.listeners = next
	return nil
}

// serve lets the listeners serve that do not yet.
func (c *Collector) serve() {
	for _, l := range c.listeners {
		if l.stop != nil {
			continue
		}
		ctx, stop := context.WithCancel(context.Background())
		l.stop, l.done = stop, make(chan struct{})
		go func() {
			defer close(l.done)
			if err := l.server.Run(ctx); err != nil {
				select {
				case c.failed <- err:
				default:
				}
			}
		}()
	}
}

// halt ends a listener.
func (l *listener) halt() {
	if l.stop == nil {
		_ = l.server.Close()
		return
	}
	l.stop()
	<-l.done
}

// profiles serves Go's profiles, at the addresses at which net/http/pprof does.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
