package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/dashboard"
	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/catalogue"
	"github.com/mangru/mangru/internal/dashboard/grafanaapi"
	"github.com/mangru/mangru/internal/dashboard/provision"
	"github.com/mangru/mangru/internal/dashboard/records"
	"github.com/mangru/mangru/internal/dashboard/render"
	"github.com/mangru/mangru/internal/dashboard/sources"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/mail"
	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/people/portal"
	"github.com/mangru/mangru/internal/people/signin"
	"github.com/mangru/mangru/web"
)

// DashboardConfig says how the people's side is reached and what it shows.
type DashboardConfig struct {
	// Listen is the address for browsers.
	Listen string
	// People says how people sign in.
	People PeopleConfig
	// Source is the data source that the default workspace has; nil for none.
	Source *SignedSource
	// Overview tells the home page about this installation.
	Overview  func(context.Context) (dashboard.Overview, error)
	Directory *directory.Directory
	// Renderer makes pictures of boards.
	Renderer *render.Renderer
	// Estate is what administrators look after besides people.
	Estate portal.Estate
	// Sources says what data sources may use.
	Sources sources.Config
	// Store has the boards, Workspaces the dashboard workspaces.
	Store      *records.Store
	Workspaces *workspaces.Service
	// Providers and ConfigMaps bring boards that are kept elsewhere.
	Providers  []provision.Provider
	ConfigMaps *provision.ConfigMaps
}

// SignedSource is a workspace's query API with the key that signs requests to it.
type SignedSource struct {
	Name   string
	URL    string
	Region string
	Key    credentials
}

// Dashboard is the people's side of the program.
type Dashboard struct {
	people *dashboard.People
	mailer *mail.Mailer
	url    string // as it was set, empty for the address
	admin  directory.User
	server *httpserver.Server
	store  *records.Store
	conns  *sources.Sources
	cfg    DashboardConfig
	log    *slog.Logger
}

// sweepEvery is how often ended sessions are removed.
const sweepEvery = time.Hour

// NewDashboard claims the address and prepares everything that can fail.
func NewDashboard(ctx context.Context, cfg DashboardConfig, db *bun.DB, logger *slog.Logger, reg prometheus.Registerer) (*Dashboard, error) {
	who, err := openPeople(ctx, cfg, db, logger)
	if err != nil {
		return nil, err
	}
	people := dashboard.PeopleOf(who.dir, who.signIn)
	admin, err := people.EnsureAdministrator(ctx)
	if err != nil {
		return nil, err
	}
	d := &Dashboard{people: people, mailer: who.mailer, url: who.cfg.URL, admin: admin, store: cfg.Store, cfg: cfg, log: logger}
	conns, grafana, err := newGrafanaAPI(ctx, cfg, people, d.localURL, logger)
	if err != nil {
		return nil, err
	}
	handler, err := dashboard.New(dashboard.Config{
		Version: version, People: people, Workspaces: cfg.Workspaces, API: grafana, Overview: cfg.Overview, Assets: dashboard.Assets(web.Assets()), Hosts: who.hosts,
		SignedOut: func(ctx context.Context, o signin.Outside) (string, error) {
			return who.outside.EndURL(ctx, o.Provider, o.Subject)
		},
	}, logger)
	if err != nil {
		return nil, err
	}
	d.conns = conns
	handler = who.handler(handler, d.URL, logger)
	d.server, err = httpserver.New(httpserver.Config{
		Name: "ui", Addr: cfg.Listen, LogLevel: slog.LevelDebug, Registerer: reg,
	}, handler, logger)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// newGrafanaAPI brings what comes with the program into the default workspace
// and returns the API over the records of dashboards.
func newGrafanaAPI(ctx context.Context, cfg DashboardConfig, people *dashboard.People, pages func() string, logger *slog.Logger) (*sources.Sources, http.Handler, error) {
	store := cfg.Store
	if err := provision.Boards(ctx, store, caller.DefaultWorkspace, provision.Bundled()); err != nil {
		return nil, nil, fmt.Errorf("bundled boards: %w", err)
	}
	if cfg.Source != nil {
		source, secrets := newSource(*cfg.Source)
		if err := provision.Source(ctx, store, source, secrets); err != nil {
			return nil, nil, fmt.Errorf("data source %s: %w", source.Name, err)
		}
	}
	boards, err := catalogue.New(nil)
	if err != nil {
		return nil, nil, err
	}
	conns := sources.New(cfg.Sources, store, logger)
	api, err := grafanaapi.New(grafanaapi.Config{
		Version: version, Store: store, Identity: dashboard.Identity{People: people, Workspaces: cfg.Workspaces}, Sources: conns, Catalogue: boards,
		Renderer: cfg.Renderer, PageURL: pages,
	}, logger)
	return conns, api, err
}

// newSource is the data source of this installation's own workspace.
func newSource(s SignedSource) (*records.DataSource, map[string]string) {
	return &records.DataSource{
			WorkspaceID: caller.DefaultWorkspace, UID: "mangru-" + s.Name, Name: s.Name, Type: "prometheus", URL: s.URL, Access: "proxy", IsDefault: true,
			JSONData: map[string]any{
				"httpMethod": "POST", "sigV4Auth": true, "sigV4AuthType": "keys", "sigV4Region": s.Region, "sigV4Service": "aps",
			},
		}, map[string]string{
			"sigV4AccessKey": s.Key.AccessKey, "sigV4SecretKey": s.Key.SecretKey,
		}
}

// localURL is where a browser on this machine finds the UI.
func (d *Dashboard) localURL() string { return "http://" + reachable(d.server.Addr().String()) }

// URL is where browsers find the UI.
func (d *Dashboard) URL() string {
	if d.url != "" {
		return d.url
	}
	return d.localURL()
}

// LoginLink returns an address that signs the administrator in once. The token
// is in the fragment, which browsers do not send and servers so cannot log.
func (d *Dashboard) LoginLink(ctx context.Context) (string, error) {
	token, err := d.people.NewLoginLink(ctx, d.admin.ID)
	if err != nil {
		return "", err
	}
	return d.URL() + "/login#token=" + token, nil
}

// Run serves people until ctx is done.
func (d *Dashboard) Run(ctx context.Context) error {
	sweeping, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { d.sweep(sweeping) })
	for _, p := range d.cfg.Providers {
		background.Go(func() { provision.Watch(sweeping, d.store, caller.DefaultWorkspace, p, d.log) })
	}
	if c := d.cfg.ConfigMaps; c != nil {
		background.Go(func() { c.Watch(sweeping, d.store, caller.DefaultWorkspace, d.log) })
	}
	var lost error
	background.Go(func() { lost = d.mailer.Run(sweeping) })
	err := d.server.Run(ctx)
	stop()
	background.Wait()
	return errors.Join(err, lost)
}

// Close gives the address back where the start failed halfway.
func (d *Dashboard) Close() error {
	d.conns.Close()
	return d.server.Close()
}

func (d *Dashboard) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			err := errors.Join(d.people.Sweep(ctx), d.store.Sweep(ctx))
			if err != nil && ctx.Err() == nil {
				d.log.Warn("what has ended could not be removed", "err", err)
			}
		}
	}
}
