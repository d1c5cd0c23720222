package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/dashboard"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/exporter/node"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/otelconf"
	"github.com/mangru/mangru/internal/telemetry"
)

// UpConfig is what `mangru up` takes from its flags.
type UpConfig struct {
	DataDir        string
	Listen         string
	UI             string
	Kubeconfig     string
	ConfigFile     string
	ScrapeInterval time.Duration
	Region         string
	// UIURL is where browsers find the dashboards, if that is not UI.
	UIURL string
	// SMTP is the mail server, MailFrom the sender. Without one, mails are files
	// in the data directory.
	SMTP, MailFrom string
	// Dashboards is a directory of boards, or of Grafana's provisioning files;
	// DashboardsLabel the label of ConfigMaps with boards. Empty for none.
	Dashboards, DashboardsLabel string
	// Unwatched leaves the collector out: others write to the workspace.
	Unwatched bool
	// PublicURL is how callers reach the AWS-shaped APIs, if not at Listen.
	PublicURL string
	Site      Site
}

func newUpCmd() *cobra.Command {
	var cfg UpConfig
	var logLevel, watch string
	c := &cobra.Command{
		Use:   "up",
		Short: "Everything in one process: watch a cluster, or this machine, on a dashboard",
		Long: "Runs the collector, the server and the dashboards in one process, with everything it\n" +
			"keeps below --data. It watches the cluster of --kubeconfig, $KUBECONFIG, ~/.kube/config or\n" +
			"the pod it runs in, whichever is there; with none, this machine.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			began := time.Now()
			if cfg.ScrapeInterval < time.Second {
				return &ExitError{Code: exitUsage, Err: fmt.Errorf("--scrape-interval: found %s, allowed are 1s and more", cfg.ScrapeInterval)}
			}
			if watch != "auto" && watch != "none" {
				return usagef("--watch: found %q, allowed are auto, none", watch)
			}
			cfg.Unwatched = watch == "none"
			if err := cfg.Site.check(); err != nil {
				return err
			}
			logger, err := telemetry.NewLogger(cmd.ErrOrStderr(), "text", logLevel)
			if err != nil {
				return &ExitError{Code: exitUsage, Err: fmt.Errorf("--log-level: %w", err)}
			}
			useKubeLog(logger)
			u, err := NewUp(cmd.Context(), cfg, logger)
			if err != nil {
				return err
			}
			if err := u.screen(cmd.Context(), cmd.OutOrStdout(), time.Since(began)); err != nil {
				return errors.Join(err, u.Close())
			}
			return u.Run(cmd.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&cfg.DataDir, "data", "./mangru-data", "directory for everything that is kept")
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:9009", "address of the AWS-shaped APIs")
	f.StringVar(&cfg.UI, "ui", "127.0.0.1:3000", "address of the dashboards")
	f.StringVar(&cfg.UIURL, "ui-url", "", "URL of the dashboards as browsers reach them, for links in mails (default http:// and --ui)")
	f.StringVar(&cfg.SMTP, "smtp", "", "mail server: smtp://USER@HOST:PORT (STARTTLS) or smtps://USER@HOST:PORT; its password in $"+smtpPasswordVariable+"\n(default: mails are files in the data directory)")
	f.StringVar(&cfg.MailFrom, "mail-from", "", "sender of mails, such as no-reply@example.com")
	f.StringVar(&cfg.Dashboards, "dashboards", "", "directory of dashboards to keep: *.json, directories are folders; or Grafana's provisioning/dashboards/*.yaml")
	f.StringVar(&cfg.DashboardsLabel, "dashboards-label", "", "also keep the dashboards in ConfigMaps of the watched cluster with this label, usually grafana_dashboard")
	f.StringVar(&cfg.Kubeconfig, "kubeconfig", "", "kubeconfig of the cluster to watch (default $KUBECONFIG, ~/.kube/config, or the pod's)")
	f.StringVar(&cfg.ConfigFile, "config", "", "collector configuration to run instead of the built-in jobs")
	f.DurationVar(&cfg.ScrapeInterval, "scrape-interval", 15*time.Second, "how often the built-in jobs scrape")
	f.StringVar(&cfg.Region, "region", "us-east-1", "AWS region that the APIs answer for")
	f.StringVar(&logLevel, "log-level", "warn", "debug, info, warn or error")
	f.StringVar(&watch, "watch", "auto", "auto: collect from the cluster or machine that is found; none: collect nothing")
	f.StringVar(&cfg.PublicURL, "public-url", "", "how callers reach the AWS-shaped APIs, if not at --listen")
	f.StringVar(&cfg.Site.ConfigMap, "site", "", "in a pod: write the workspace and its addresses into this ConfigMap, NAMESPACE/NAME")
	f.StringVar(&cfg.Site.Cluster, "cluster", "", "in a pod: register the cluster it runs in under this name")
	f.StringArrayVar(&cfg.Site.PodRoles, "pod-role", nil, "in a pod: let a service account act as a role, ROLE=NAMESPACE/NAME:POLICY,POLICY")
	return c
}

// Up is the whole path in one process.
type Up struct {
	cfg       UpConfig
	watched   watched
	log       *slog.Logger
	records   *bun.DB
	server    *Server
	workspace dashboard.Workspace
	exporter  *httpserver.Server // nil where a cluster is watched
	collector *Collector
	dashboard *Dashboard
	settler   *settler // nil where there is nothing to tell a cluster
	unlock    func() error
}

// NewUp opens and claims everything, so that what can fail fails now; Run then
// only has to go.
func NewUp(ctx context.Context, cfg UpConfig, logger *slog.Logger) (u *Up, err error) {
	u = &Up{cfg: cfg, log: logger}
	defer func() {
		if err != nil {
			err = errors.Join(err, u.Close())
			u = nil
		}
	}()
	home, _ := os.UserHomeDir() // without one there is no ~/.kube/config
	if u.watched, err = findWatched(cfg.Kubeconfig, os.Getenv, home); err != nil {
		return u, err
	}
	if err = os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return u, fmt.Errorf("make the data directory: %w", err)
	}
	if u.unlock, err = lockDir(cfg.DataDir); err != nil {
		return u, err
	}
	if u.records, err = db.Open(ctx, filepath.Join(cfg.DataDir, "mangru.db")); err != nil {
		return u, err
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	key, err := u.newServer(ctx, reg)
	if err != nil {
		return u, err
	}
	if !cfg.Unwatched {
		if err = u.newCollector(key, reg); err != nil {
			return u, err
		}
	}
	u.settler = u.newSettler(key)
	providers, maps, err := u.boardProviders()
	if err != nil {
		return u, err
	}
	u.dashboard, err = u.server.OpenUI(ctx, UIOptions{
		Providers: providers, ConfigMaps: maps,
		Source:  &SignedSource{Name: "default", URL: u.localEndpoint(), Region: cfg.Region, Key: key},
		Watched: u.watchedSource,
	})
	return u, err
}

// Run works until ctx is done, then stops in the order of the data path.
func (u *Up) Run(ctx context.Context) error {
	var stages []stage
	if u.collector != nil {
		stages = append(stages, stage{"collector", u.collector.Run})
	}
	if u.settler != nil {
		stages = append(stages, stage{"site", u.settler.Run})
	}
	if u.exporter != nil {
		stages = append(stages, stage{"node exporter", u.exporter.Run})
	}
	stages = append(stages, stage{"dashboards", u.dashboard.Run}, stage{"server", u.server.Run})
	return errors.Join(runStages(ctx, stages), u.Close())
}

// Close gives back what NewUp took. It may be called for a start that failed
// halfway, and after Run.
func (u *Up) Close() error {
	var errs []error
	if u.exporter != nil {
		errs = append(errs, u.exporter.Close())
	}
	if u.server != nil {
		errs = append(errs, u.server.Close())
	}
	if u.records != nil {
		errs = append(errs, u.records.Close())
	}
	if u.unlock != nil {
		errs = append(errs, u.unlock())
	}
	return errors.Join(errs...)
}

// startExporter serves the compiled-in node exporter on a free loopback port.
func (u *Up) startExporter(reg prometheus.Registerer) (addr string, err error) {
	// What it cannot read on this machine shows in node_scrape_collector_success.
	handler, err := node.New(telemetry.Demote(u.log.With("component", "node-exporter"), slog.LevelDebug), nil)
	if err != nil {
		return "", fmt.Errorf("node exporter: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", handler)
	u.exporter, err = httpserver.New(httpserver.Config{
		Name: "node-exporter", Addr: "127.0.0.1:0", LogLevel: slog.LevelDebug, Registerer: reg,
	}, mux, u.log)
	if err != nil {
		return "", err
	}
	return u.exporter.Addr().String(), nil
}

// collectorConfig is the configuration file where one was given, else the
// built-in jobs for what is watched.
func (u *Up) collectorConfig(reg prometheus.Registerer) (*otelconf.Config, error) {
	switch {
	case u.cfg.ConfigFile != "":
		return u.loadConfig()
	case u.watched.isCluster():
		return otelconf.Kubernetes(otelconf.KubernetesOptions{
			Kubeconfig: u.watched.kubeconfig, InCluster: u.watched.inPod,
			Interval: u.cfg.ScrapeInterval, Cluster: u.watched.cluster,
		})
	}
	addr, err := u.startExporter(reg)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name of this machine: %w", err)
	}
	return otelconf.Machine(otelconf.MachineOptions{Address: addr, Interval: u.cfg.ScrapeInterval, Instance: host})
}

// loadConfig reads --config. The placeholders that the AWS documentation tells
// people to replace are replaced by this process' own workspace.
func (u *Up) loadConfig() (*otelconf.Config, error) {
	fill := strings.NewReplacer("AWS_REGION", u.cfg.Region, "AMP_WORKSPACE_URL", u.workspace.RemoteWriteURL)
	cfg, err := otelconf.Load(otelconf.Options{
		Files: []string{u.cfg.ConfigFile}, OwnEndpoint: true,
		ReadFile: func(name string) ([]byte, error) {
			text, err := os.ReadFile(name)
			return []byte(fill.Replace(string(text))), err
		},
	})
	if err != nil {
		return nil, &ExitError{Code: exitUsage, Err: err}
	}
	return cfg, nil
}

// watchedSource tells the home page what is watched here.
func (u *Up) watchedSource() dashboard.Watched {
	switch {
	case u.cfg.Unwatched:
		return dashboard.Watched{Kind: "cluster", Name: u.cfg.Site.Cluster, Detail: "written by collectors elsewhere"}
	case u.cfg.ConfigFile != "":
		return dashboard.Watched{Kind: "config", Name: u.cfg.ConfigFile, Detail: "jobs of a collector configuration"}
	case u.watched.isCluster():
		return dashboard.Watched{Kind: "cluster", Name: u.watched.cluster, Detail: u.watched.server}
	}
	w := dashboard.Watched{Kind: "machine", Name: "this machine"}
	if host, err := os.Hostname(); err == nil {
		w.Name = host
	}
	return w
}

// screen prints what a person needs first.
func (u *Up) screen(ctx context.Context, w io.Writer, took time.Duration) error {
	link, err := u.dashboard.LoginLink(ctx)
	if err != nil {
		return err
	}
	creds, err := filepath.Abs(filepath.Join(u.cfg.DataDir, "credentials"))
	if err != nil {
		return err
	}
	watching := "this machine (no kubeconfig found)"
	switch {
	case u.cfg.Unwatched:
		watching = "nothing by itself (--watch none)"
	case u.cfg.ConfigFile != "":
		watching = "the jobs of " + u.cfg.ConfigFile
	case u.watched.inPod:
		watching = "the cluster this pod runs in"
	case u.watched.isCluster():
		watching = fmt.Sprintf("cluster %s at %s (%s)", u.watched.cluster, u.watched.server, u.watched.kubeconfig)
	}
	api := "http://" + reachable(u.server.Addr().String())
	_, err = fmt.Fprintf(w, `Mangru %s is ready (%.1f s).

  Dashboards     %s
                 signs you in once, within 24 hours; mangru login-link makes a new one
  Watching       %s

  Workspace      %s (%s)
  Remote write   %s
  Query          %s

AWS CLI, SDKs, and curl:

  export AWS_SHARED_CREDENTIALS_FILE=%s
  export AWS_REGION=%s AWS_DEFAULT_REGION=%s AWS_ENDPOINT_URL=%s
  aws --endpoint-url %s amp list-workspaces

Stop with Ctrl-C. Everything is kept in %s.
`, version, took.Seconds(), link, watching, u.workspace.ID, u.workspace.Alias, u.workspace.RemoteWriteURL, u.workspace.QueryURL,
		creds, u.cfg.Region, u.cfg.Region, api, api, u.cfg.DataDir)
	return err
}

// reachable turns an address that is listened on into one that can be called.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
