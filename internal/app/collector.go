package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
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
)

// defaultDrainTimeout is how long a stopping collector goes on sending.
const defaultDrainTimeout = 10 * time.Second

// CollectorDeps are what a collector is given.
type CollectorDeps struct {
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Gatherer is what /metrics shows; nil leaves /metrics out.
	Gatherer prometheus.Gatherer
	// DrainTimeout is how long a stopping collector goes on sending; 0 means
	// 10 seconds.
	DrainTimeout time.Duration
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
	servers  []*httpserver.Server
	ready    atomic.Bool
	hardStop context.Context // ends the senders
	kill     context.CancelFunc

	mu        sync.Mutex // serialises reloads
	cfg       *otelconf.Config
	endpoints []*runningEndpoint

	// transports are those of jobs that go through an API server, by job name.
	// The map is replaced, never changed.
	transports atomic.Pointer[map[string]*kubeTransport]
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
		metrics: send.NewMetrics(deps.Registerer),
	}
	c.setTransports(cfg)
	c.hardStop, c.kill = context.WithCancel(context.Background())
	if c.endpoints, err = c.senders(cfg); err != nil {
		return nil, err
	}
	if c.queue, err = buffer.New(queueBounds(cfg), queueEndpoints(cfg), c.log); err != nil {
		return nil, err
	}
	deps.Registerer.MustRegister(c.queue)
	c.scraper = scrape.New(scrape.Config{OffsetSeed: offsetSeed(), UserAgent: userAgent()}, c.queue, deps.Registerer, c.log)
	if c.finder, err = discover.New(c.applyTargets, deps.Registerer, c.log); err != nil {
		return nil, err
	}
	if err = c.listen(cfg); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func userAgent() string { return "mangru/" + version }

// offsetSeed moves the scrape times of replicas against each other.
func offsetSeed() uint64 {
	h := fnv.New64a()
	host, err := os.Hostname()
	if err == nil {
		_, _ = h.Write([]byte(host))
	}
	return h.Sum64()
}

func queueBounds(cfg *otelconf.Config) buffer.Config {
	return buffer.Config{MaxBytes: cfg.Queue.MaxBytes, MaxAge: cfg.Queue.MaxAge}
}

func queueEndpoints(cfg *otelconf.Config) (out []buffer.Endpoint) {
	for _, e := range cfg.Endpoints {
		out = append(out, buffer.Endpoint{Name: e.Name, Shards: e.Shards})
	}
	return out
}

// senders returns a sender per endpoint: the running one where nothing has
// changed, else one that is to be started.
func (c *Collector) senders(cfg *otelconf.Config) ([]*runningEndpoint, error) {
	var out []*runningEndpoint
	for _, e := range cfg.Endpoints {
		sc := send.Config{Endpoint: e, BatchTimeout: cfg.BatchTimeout, UserAgent: userAgent()}
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
	var sources []send.Source
	for i := range r.cfg.Shards {
		reader, err := c.queue.Reader(r.cfg.Name, i)
		if err != nil {
			return err
		}
		sources = append(sources, reader)
	}
	ctx, stop := context.WithCancel(c.hardStop)
	r.stop, r.done = stop, make(chan struct{})
	go func() {
		defer close(r.done)
		r.sender.Run(ctx, sources)
	}()
	return nil
}

// halt stops a sender; what it has not delivered goes back into the queue.
func (r *runningEndpoint) halt() {
	if r.done != nil {
		r.stop()
		<-r.done
	}
}

// applyTargets hands the lists of discovery to the scraper.
func (c *Collector) applyTargets(jobs []discover.Job) {
	transports := *c.transports.Load()
	list := make([]scrape.Job, 0, len(jobs))
	for _, j := range jobs {
		sj := scrape.Job{Config: j.Config}
		if t := transports[j.Config.JobName]; t != nil {
			sj.Transport = t
		}
		for _, t := range j.Targets {
			sj.Targets = append(sj.Targets, scrape.Target{
				ID: t.ID, Labels: t.Labels, URL: t.URL, Interval: t.Interval, Timeout: t.Timeout,
			})
		}
		list = append(list, sj)
	}
	if err := c.scraper.Apply(list); err != nil {
		c.log.Error("some jobs could not be set up", "err", err)
	}
}

// setTransports prepares the transports that a configuration asks for. Those in
// use stay, and with them their connections.
func (c *Collector) setTransports(cfg *otelconf.Config) {
	byFile := make(map[string]*kubeTransport)
	if old := c.transports.Load(); old != nil {
		for _, t := range *old {
			byFile[t.file] = t
		}
	}
	next := make(map[string]*kubeTransport)
	for job, file := range cfg.APIServerProxy {
		if byFile[file] == nil {
			byFile[file] = &kubeTransport{file: file}
		}
		next[job] = byFile[file]
	}
	c.transports.Store(&next)
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
	if err := c.finder.Apply(discoverConfig(c.cfg)); err != nil {
		return err
	}
	c.ready.Store(true)
	return nil
}

func discoverConfig(cfg *otelconf.Config) discover.Config {
	return discover.Config{Jobs: cfg.ScrapeConfigs, FirstJobWins: cfg.Dedupe == otelconf.DedupeFirstJobWins}
}

// Run works until ctx is done, then stops in the order of the data: no more
// scrapes, then the queue is sent for as long as DrainTimeout says, then what is
// left is counted and logged.
func (c *Collector) Run(ctx context.Context) error {
	serving, stopServing := context.WithCancel(context.Background())
	var servers sync.WaitGroup
	failed := make(chan error, len(c.servers))
	for _, s := range c.servers {
		servers.Go(func() {
			if err := s.Run(serving); err != nil {
				failed <- err
			}
		})
	}
	err := c.run()
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-failed:
		}
	}
	c.ready.Store(false)
	c.drain()
	stopServing()
	servers.Wait()
	return err
}

// drain stops scraping and sends what is there, within the deadline.
func (c *Collector) drain() {
	c.finder.Stop()
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
	for _, s := range c.servers {
		errs = append(errs, s.Close())
	}
	c.kill()
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
	c.queue.SetConfig(queueBounds(cfg))
	if cfg.MetricsAddress != c.cfg.MetricsAddress || cfg.HealthAddress != c.cfg.HealthAddress {
		c.log.Warn("listen addresses change only with a restart", "metrics", c.cfg.MetricsAddress, "health", c.cfg.HealthAddress)
	}
	c.endpoints, c.cfg = next, cfg
	c.setTransports(cfg)
	return errors.Join(c.restart(), c.finder.Apply(discoverConfig(cfg)))
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

// listen claims the addresses for metrics and health.
func (c *Collector) listen(cfg *otelconf.Config) error {
	add := func(name, addr string, h http.Handler) error {
		if addr == "" {
			return nil
		}
		s, err := httpserver.New(httpserver.Config{
			Name: name, Addr: addr, LogLevel: slog.LevelDebug, Registerer: c.deps.Registerer,
		}, h, c.log)
		if err != nil {
			return err
		}
		c.servers = append(c.servers, s)
		return nil
	}
	health := http.NewServeMux()
	health.HandleFunc(cmp.Or(cfg.HealthPath, "/"), c.serveReady)
	if err := add("collector-metrics", cfg.MetricsAddress, c.Handler()); err != nil {
		return err
	}
	if err := add("collector-health", cfg.HealthAddress, health); err != nil {
		return fmt.Errorf("health check: %w", err)
	}
	return nil
}
