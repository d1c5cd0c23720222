package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/otelconf"
	"github.com/mangru/mangru/internal/telemetry"
)

// collectorFlags are what a person types after "mangru collector".
type collectorFlags struct {
	files       []string
	set         []string
	remoteWrite []string
	kubeconfig  string
	cluster     string
	region      string
	interval    time.Duration
	metrics     string
	dedupe      string
	logLevel    string
	logFormat   string
	drain       time.Duration
	skipSignals bool
	pprof       string
	gates       []string
	features    []string
	shard       string
	naming      string
	directory   string
	queueBytes  string
	queueAge    time.Duration
	handOut     HandOut
}

func newCollectorCmd() *cobra.Command {
	var f collectorFlags
	cmd := &cobra.Command{
		Use:   "collector",
		Short: "Collect metrics and send them to remote-write endpoints",
		Long: "Runs the collector. --config reads an OpenTelemetry Collector configuration, an\n" +
			"OpenTelemetryCollector object or a Prometheus file. Without it, --remote-write sends what\n" +
			"the built-in jobs find in the cluster of --kubeconfig, $KUBECONFIG, ~/.kube/config or of\n" +
			"the pod it runs in. SIGHUP reads the configuration again.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := f.logLevel
			cfg, err := f.load()
			if err != nil {
				return &ExitError{Code: exitUsage, Err: err}
			}
			if level == "" {
				level = cfg.LogLevel
			}
			if cfg.LogEncoding == "json" && !cmd.Flags().Changed("log-format") {
				f.logFormat = "json"
			}
			logger, err := telemetry.NewLogger(cmd.ErrOrStderr(), f.logFormat, level)
			if err != nil {
				return &ExitError{Code: exitUsage, Err: err}
			}
			f.handOut.Kubeconfig = f.kubeconfig
			return runCollector(cmd.Context(), cfg, f, logger)
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.files, "config", nil, "configuration: a file, file:PATH, env:NAME or yaml:TEXT; later ones are laid over earlier ones")
	fl.StringArrayVar(&f.set, "set", nil, "a.b.c=VALUE, laid over all configurations")
	fl.StringArrayVar(&f.remoteWrite, "remote-write", nil, "send to this remote-write URL too, or with the built-in jobs")
	fl.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster that the built-in jobs watch")
	fl.StringVar(&f.cluster, "cluster", "", "value of the cluster label of the built-in jobs (default: from the kubeconfig)")
	fl.StringVar(&f.region, "region", "", "sign requests to --remote-write for this AWS region (default: from the URL, where it is AWS')")
	fl.DurationVar(&f.interval, "scrape-interval", otelconf.DefaultScrapeInterval, "interval of the built-in jobs")
	fl.StringVar(&f.metrics, "metrics-address", "", "address for the collector's own metrics and state (default: the configuration's, or "+otelconf.DefaultMetricsAddress+")")
	fl.StringSliceVar(&f.gates, "feature-gates", nil, "feature gates of the OpenTelemetry Collector, such as a,-b; those that mean something here are honoured")
	fl.StringSliceVar(&f.features, "enable-feature", nil, "features of Prometheus, such as st-storage, which sends start timestamps; those that mean something here are honoured")
	fl.StringVar(&f.shard, "shard", "", "i/n: scrape part i, counted from 0, of n; auto: share the targets with the other pods of the workload; off (default: auto, except for a Prometheus file)")
	fl.StringVar(&f.naming, "naming", "", "how series are named: prometheus, otel (default: the configuration's)")
	fl.StringVar(&f.directory, "queue-directory", "", "keep what waits in this directory too, over restarts (default: the configuration's, or memory alone)")
	fl.StringVar(&f.queueBytes, "queue-size", "", "memory that what waits may take, such as 80MiB (default: the configuration's)")
	fl.DurationVar(&f.queueAge, "queue-age", 0, "how long a sample may wait (default: the configuration's)")
	fl.StringVar(&f.pprof, "pprof", "", "address for Go's profiles, /debug/pprof/ (default: the configuration's pprof extension, or off)")
	fl.StringVar(&f.dedupe, "dedupe", "", "what to do with targets that several jobs scrape: off, first-job-wins (default: the configuration's)")
	fl.StringVar(&f.handOut.Listen, "target-allocator-listen", "", "hand targets out to OpenTelemetry Collectors at this address, by the target allocator's protocol, instead of scraping them")
	fl.StringSliceVar(&f.handOut.Collectors, "target-allocator-collectors", nil, "collector_ids of the collectors that share the targets, such as c-0,c-1")
	fl.StringVar(&f.handOut.Selector, "target-allocator-selector", "", "label selector of the pods of those collectors; the name of a pod is its collector_id")
	fl.StringVar(&f.handOut.Namespace, "target-allocator-namespace", "", "namespace of those pods (default: that of this pod)")
	fl.StringVar(&f.logLevel, "log-level", "", "debug, info, warn or error (default: the configuration's, or info)")
	fl.StringVar(&f.logFormat, "log-format", "text", "text or json")
	fl.DurationVar(&f.drain, "drain-timeout", defaultDrainTimeout, "how long to go on sending when asked to stop")
	fl.BoolVar(&f.skipSignals, "skip-unsupported-signals", false, "leave pipelines for traces and logs out instead of refusing them")
	return cmd
}

// load reads the configuration that the flags describe.
func (f collectorFlags) load() (*otelconf.Config, error) {
	var cfg *otelconf.Config
	size, err := f.queueSize()
	if err != nil {
		return nil, err
	}
	if f.queueAge < 0 {
		return nil, fmt.Errorf("--queue-age: found %s, allowed is a positive duration", f.queueAge)
	}
	if err := f.checkHandOut(); err != nil {
		return nil, err
	}
	switch {
	case len(f.files) > 0:
		cfg, err = otelconf.Load(otelconf.Options{
			Files: f.files, Set: f.set, LogLevel: f.logLevel, Dedupe: otelconf.Dedupe(f.dedupe),
			FeatureGates: f.gates, Features: f.features, Shard: f.shard, Naming: otelconf.Naming(f.naming), Version: version,
			QueueDirectory: f.directory, QueueBytes: size, QueueAge: f.queueAge,
			SkipUnsupportedSignals: f.skipSignals, OwnEndpoint: len(f.remoteWrite) > 0 || f.handOut.Listen != "",
		})
	case len(f.remoteWrite) > 0, f.handOut.Listen != "":
		if cfg, err = f.builtIn(); err == nil {
			cfg.Queue.MaxBytes = cmp.Or(size, cfg.Queue.MaxBytes)
			cfg.Queue.MaxAge = cmp.Or(f.queueAge, cfg.Queue.MaxAge)
			cfg.Queue.Directory = f.directory
		}
	default:
		err = errors.New("nothing to do: give --config FILE, or --remote-write URL for the built-in jobs")
	}
	if err != nil {
		return nil, err
	}
	if f.handOut.Listen != "" && len(cfg.APIServerProxy) > 0 {
		return nil, errors.New("--target-allocator-listen: the built-in jobs can be handed out in a pod only: from outside the cluster they take the kubeconfig's credentials")
	}
	for _, raw := range f.remoteWrite {
		e, err := otelconf.NewEndpoint("", raw)
		if err != nil {
			return nil, fmt.Errorf("--remote-write: %w", err)
		}
		switch {
		case f.region == "":
		case e.SigV4 != nil:
			e.SigV4.Region = f.region
		default:
			e.SigV4 = &otelconf.SigV4{Region: f.region, Service: "aps"}
		}
		cfg.AddEndpoint(e)
	}
	if f.metrics != "" {
		cfg.MetricsAddress = f.metrics
	}
	if f.pprof != "" {
		cfg.PprofAddress = f.pprof
	}
	return cfg, nil
}

// checkHandOut checks what the flags about the target allocator say.
func (f collectorFlags) checkHandOut() error {
	h := f.handOut
	switch {
	case h.Listen != "" && f.shard != "":
		return errors.New("--target-allocator-listen and --shard: the targets are shared one way or the other")
	case h.Listen != "":
		return h.check()
	case len(h.Collectors) > 0 || h.Selector != "" || h.Namespace != "":
		return errors.New("--target-allocator-collectors, -selector and -namespace need --target-allocator-listen")
	}
	return nil
}

// queueSize reads --queue-size, in bytes; 0 where it is not given.
func (f collectorFlags) queueSize() (int64, error) {
	if f.queueBytes == "" {
		return 0, nil
	}
	n, err := units.ParseBase2Bytes(f.queueBytes)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("--queue-size: found %q, allowed is a number with a unit such as 80MiB", f.queueBytes)
	}
	return int64(n), nil
}

func (f collectorFlags) builtIn() (*otelconf.Config, error) {
	for flag, given := range map[string]bool{"--set": len(f.set) > 0, "--feature-gates": len(f.gates) > 0, "--enable-feature": len(f.features) > 0, "--naming": f.naming != ""} {
		if given {
			return nil, fmt.Errorf("%s needs --config", flag)
		}
	}
	home, _ := os.UserHomeDir() // without one there is no ~/.kube/config
	w, err := findWatched(f.kubeconfig, os.Getenv, home)
	if err != nil {
		return nil, err
	}
	if !w.isCluster() {
		return nil, errors.New("no cluster found for the built-in jobs: give --kubeconfig FILE, or --config FILE for other jobs")
	}
	o := otelconf.KubernetesOptions{Kubeconfig: w.kubeconfig, InCluster: w.inPod, Interval: f.interval, Cluster: w.cluster}
	if f.cluster != "" {
		o.Cluster = f.cluster
	}
	cfg, err := otelconf.Kubernetes(o)
	if err != nil {
		return nil, err
	}
	if f.shard != "" {
		if err := cfg.SetShard(f.shard); err != nil {
			return nil, fmt.Errorf("--shard: %w", err)
		}
	}
	switch d := otelconf.Dedupe(f.dedupe); d {
	case "":
	case otelconf.DedupeOff, otelconf.DedupeFirstJobWins:
		cfg.Dedupe = d
	default:
		return nil, fmt.Errorf("--dedupe: found %q, allowed are %s, %s", f.dedupe, otelconf.DedupeOff, otelconf.DedupeFirstJobWins)
	}
	return cfg, nil
}

// runCollector runs a collector as a process of its own.
func runCollector(ctx context.Context, cfg *otelconf.Config, f collectorFlags, logger *slog.Logger) error {
	useKubeLog(logger)
	useStandardLog(logger)
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	limit := useLimit(logger)
	load := func() (*otelconf.Config, error) {
		cfg, err := f.load()
		if err == nil {
			boundQueue(cfg, limit)
		}
		return cfg, err
	}
	boundQueue(cfg, limit)
	profileMemory(cfg.PprofAddress != "")
	deps := CollectorDeps{Logger: logger, Registerer: reg, Gatherer: reg, DrainTimeout: f.drain}
	if f.handOut.Listen != "" {
		deps.HandOut = &f.handOut
	}
	c, err := NewCollector(cfg, deps)
	if err != nil {
		return err
	}
	c.announce(cfg)
	background, stop := context.WithCancel(ctx)
	defer stop()
	go keepSmall(background, logger)
	changed := make(chan struct{}, 1)
	go watchFiles(background, c.files, c.lastRead, func() {
		select {
		case changed <- struct{}{}:
		default: // one is due already
		}
	})
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	stopped := make(chan struct{})
	reloads := make(chan struct{})
	go func() {
		defer close(reloads)
		for {
			select {
			case <-stopped:
				return
			case <-hup:
				c.reloadFrom(load)
			case <-changed:
				c.log.Info("the configuration's files have changed")
				c.reloadFrom(load)
			}
		}
	}()
	err = c.Run(ctx)
	signal.Stop(hup)
	close(stopped)
	<-reloads
	return err
}

// lastRead returns what the files held when a reload read them last, or nil where
// that is not certain.
func (c *Collector) lastRead() *filesSum { return c.read.Load() }

// files returns what the running configuration was read from.
func (c *Collector) files() (files, patterns []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg.Files, c.cfg.FilePatterns
}

// announce says what runs.
func (c *Collector) announce(cfg *otelconf.Config) {
	for _, w := range cfg.Warnings {
		c.log.Warn(w.Text, "where", w.Where)
	}
	for _, n := range cfg.Notes {
		c.log.Debug(n.Text, "where", n.Where)
	}
	var names []string
	for _, e := range cfg.Endpoints {
		names = append(names, e.Name)
	}
	c.log.Info("collector configured", "form", cfg.Form, "jobs", len(cfg.ScrapeConfigs), "endpoints", names)
	if h := c.deps.HandOut; h != nil {
		c.log.Info("the jobs' targets are handed out, and not scraped here", "address", h.Listen, "collectors", h.Collectors, "selector", h.Selector)
	}
	for _, a := range c.Addrs() {
		c.log.Info("listening", "address", a.String())
	}
}

// reloadFrom reads the configuration again and puts it in place; if it is bad
// the running one stays.
func (c *Collector) reloadFrom(load func() (*otelconf.Config, error)) {
	before := filesDigest(c.files())
	cfg, err := load()
	if err == nil {
		err = c.Reload(cfg)
	}
	if after := filesDigest(c.files()); after == before {
		c.read.Store(&after)
	}
	if err != nil {
		c.log.Error("reload failed, the former configuration stays", "err", err)
		return
	}
	profileMemory(cfg.PprofAddress != "")
	c.announce(cfg)
}
