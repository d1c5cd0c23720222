package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/dashboard"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/web"
)

// DashboardConfig says how the people's side is reached and what it shows.
type DashboardConfig struct {
	// Listen is the address for browsers.
	Listen string
	// Source is the data source that boards query.
	Source SignedSource
	// Overview tells the home page about this installation.
	Overview func(context.Context) (dashboard.Overview, error)
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
	admin  dashboard.Person
	server *httpserver.Server
	log    *slog.Logger
}

// sweepEvery is how often ended sessions are removed.
const sweepEvery = time.Hour

// NewDashboard claims the address and prepares everything that can fail.
func NewDashboard(ctx context.Context, cfg DashboardConfig, records *bun.DB, logger *slog.Logger, reg prometheus.Registerer) (*Dashboard, error) {
	people := dashboard.NewPeople(records, nil)
	admin, err := people.EnsureAdministrator(ctx)
	if err != nil {
		return nil, err
	}
	boards, err := dashboard.LoadBoards(dashboard.Bundled(), "General")
	if err != nil {
		return nil, fmt.Errorf("bundled boards: %w", err)
	}
	source, err := newSource(cfg.Source)
	if err != nil {
		return nil, err
	}
	handler, err := dashboard.New(dashboard.Config{
		Version: version, People: people, Boards: boards, Sources: []*dashboard.DataSource{source},
		Overview: cfg.Overview, Assets: dashboard.Assets(web.Assets()),
	}, logger)
	if err != nil {
		return nil, err
	}
	server, err := httpserver.New(httpserver.Config{
		Name: "ui", Addr: cfg.Listen, LogLevel: slog.LevelDebug, Registerer: reg,
	}, handler, logger)
	if err != nil {
		return nil, err
	}
	return &Dashboard{people: people, admin: admin, server: server, log: logger}, nil
}

func newSource(s SignedSource) (*dashboard.DataSource, error) {
	base, err := url.Parse(s.URL)
	if err != nil {
		return nil, fmt.Errorf("data source %s: %w", s.Name, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 32 // a board asks for many panels at once
	signer, err := sigv4.NewSigner(sigv4.SignConfig{
		Region: s.Region, Service: "aps", AccessKey: s.Key.AccessKey, SecretKey: s.Key.SecretKey,
	}, transport)
	if err != nil {
		return nil, fmt.Errorf("data source %s: %w", s.Name, err)
	}
	return &dashboard.DataSource{
		UID: "mangru-" + s.Name, Name: s.Name, URL: base, Transport: signer, Default: true,
		JSONData: map[string]any{
			"httpMethod": "POST", "sigV4Auth": true, "sigV4AuthType": "keys", "sigV4Region": s.Region, "sigV4Service": "aps",
		},
	}, nil
}

// URL is where browsers find the UI.
func (d *Dashboard) URL() string { return "http://" + reachable(d.server.Addr().String()) }

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
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.sweep(sweeping)
	}()
	err := d.server.Run(ctx)
	stop()
	<-done
	return err
}

// Close gives the address back where the start failed halfway.
func (d *Dashboard) Close() error { return d.server.Close() }

func (d *Dashboard) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := d.people.Sweep(ctx); err != nil && !errors.Is(err, context.Canceled) {
				d.log.Warn("ended sessions could not be removed", "err", err)
			}
		}
	}
}
