package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/otelconf"
)

// defaultAlias is the alias of the workspace that the first start makes.
const defaultAlias = "default"

// selfJob is the name of the job for this process' own metrics.
const selfJob = "mangru"

// newServer opens the server and returns the key of the first user, made at the
// first start and reused from then on.
func (u *Up) newServer(ctx context.Context, reg *prometheus.Registry) (credentials, error) {
	cfg := DefaultServerConfig()
	cfg.Listen, cfg.Data, cfg.Region = u.cfg.Listen, u.cfg.DataDir, u.cfg.Region
	cfg.UI.Listen, cfg.UI.URL, cfg.UI.SMTP, cfg.UI.MailFrom = u.cfg.UI, u.cfg.UIURL, u.cfg.SMTP, u.cfg.MailFrom
	cfg.UI.OwnCredentials = !u.cfg.Unwatched // whoever starts mangru up on a machine has them anyway
	cfg.PublicURL = u.cfg.PublicURL
	cfg.Addons.watched = u.watched.kubeconfig
	if err := cfg.Validate(); err != nil {
		return credentials{}, &ExitError{Code: exitUsage, Err: err}
	}
	s, err := NewServer(ctx, cfg, ServerDeps{Logger: u.log, Registry: reg, DB: u.records})
	if err != nil {
		return credentials{}, err
	}
	u.server = s
	key, err := u.firstKey(ctx)
	if err != nil {
		return key, err
	}
	return key, u.ensureWorkspace(ctx)
}

func (u *Up) firstKey(ctx context.Context) (credentials, error) {
	file := filepath.Join(u.cfg.DataDir, "credentials")
	if key, ok := u.server.FirstKey(); ok {
		c := credentials{AccessKey: key.ID, SecretKey: key.Secret}
		return c, writeCredentials(file, c)
	}
	c, err := readCredentials(file)
	if isMissing(err) {
		u.log.Warn("the credentials file is gone; making another access key", "file", file)
		key, err := u.server.IAM().CreateAccessKey(ctx, u.server.Account(), "admin")
		if err != nil {
			return c, fmt.Errorf("make an access key in place of the lost one: %w", err)
		}
		c = credentials{AccessKey: key.ID, SecretKey: key.Secret}
		return c, writeCredentials(file, c)
	}
	if err != nil {
		return c, err
	}
	key, err := u.server.IAM().LookupKey(ctx, c.AccessKey)
	if errors.Is(err, iam.ErrNoSuchEntity) || (err == nil && key.Secret != c.SecretKey) {
		return c, fmt.Errorf("%s holds an access key that the database beside it does not know; remove the file to have another made", file)
	}
	return c, err
}

// ensureWorkspace finds or makes the workspace that this process writes to.
func (u *Up) ensureWorkspace(ctx context.Context) error {
	w, err := u.server.Workspaces().Ensure(ctx, u.server.Account(), defaultAlias)
	if err != nil {
		return fmt.Errorf("make the workspace %q: %w", defaultAlias, err)
	}
	u.workspace = u.server.describe(w)
	return nil
}

// localEndpoint is the workspace's data plane as this process reaches it: the
// public address may lead through a proxy, or not be there yet.
func (u *Up) localEndpoint() string {
	return "http://" + reachable(u.server.Addr().String()) + "/workspaces/" + u.workspace.ID + "/"
}

// newCollector opens the collector, writing to this process' own workspace
// besides what its configuration names.
func (u *Up) newCollector(key credentials, reg *prometheus.Registry) error {
	cfg, err := u.collectorConfig(reg)
	if err != nil {
		return err
	}
	if err := u.watchSelf(cfg); err != nil {
		return err
	}
	if !writesTo(cfg, u.workspace.RemoteWriteURL) {
		e, err := otelconf.NewEndpoint("mangru", u.workspace.RemoteWriteURL)
		if err != nil {
			return err
		}
		cfg.AddEndpoint(e)
	}
	for i := range cfg.Endpoints {
		if e := &cfg.Endpoints[i]; e.URL == u.workspace.RemoteWriteURL {
			e.SigV4 = &otelconf.SigV4{
				Region: u.cfg.Region, Service: "aps", AccessKey: key.AccessKey, SecretKey: commoncfg.Secret(key.SecretKey),
			}
		}
	}
	// The collector's own metrics are on the server's /metrics.
	cfg.MetricsAddress, cfg.HealthAddress = "", ""
	for _, w := range cfg.Warnings {
		u.log.Warn(w.Text, "where", w.Where)
	}
	u.collector, err = NewCollector(cfg, CollectorDeps{Logger: u.log, Registerer: reg, Gatherer: reg})
	return err
}

// watchSelf adds a job for this process' own metrics, which boards and people
// read to see what the collector dropped or found twice. They are served on
// loopback only. A configuration's own job of that name stands.
func (u *Up) watchSelf(cfg *otelconf.Config) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name of this machine: %w", err)
	}
	taken := slices.ContainsFunc(cfg.ScrapeConfigs, func(sc *config.ScrapeConfig) bool { return sc.JobName == selfJob })
	if taken || !u.server.http.Loopback() {
		return nil
	}
	return cfg.AddStaticJob(selfJob, u.server.Addr().String(), host)
}

func writesTo(cfg *otelconf.Config, url string) bool {
	for _, e := range cfg.Endpoints {
		if e.URL == url {
			return true
		}
	}
	return false
}

// lockDir makes sure that one process at a time works on a data directory.
func lockDir(dir string) (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("the data directory %s is in use by another mangru", dir), f.Close())
	}
	return f.Close, nil
}
