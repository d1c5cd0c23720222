package app

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/mangru/mangru/internal/dashboard"
	"github.com/mangru/mangru/internal/dashboard/provision"
	"github.com/mangru/mangru/internal/dashboard/render"
	"github.com/mangru/mangru/internal/dashboard/sources"
	"github.com/mangru/mangru/internal/server/workspace"
)

// ServerUI is about the pages for people.
type ServerUI struct {
	// Listen is their address. Empty means that this server has none.
	Listen string `yaml:"listen"`
	// URL is where browsers find them, if that is not http:// and Listen.
	URL string `yaml:"url"`
	// SMTP is the mail server, as --smtp of mangru up; MailFrom the sender.
	// Without one, mails are files in the data directory.
	SMTP     string `yaml:"smtp"`
	MailFrom string `yaml:"mail_from"`
	// OwnCredentials lets data sources be signed for with the AWS credentials of
	// the server itself: whoever administers a dashboard workspace then reaches
	// what the server may reach.
	OwnCredentials bool `yaml:"own_credentials"`
	// RefuseAddresses are networks that data sources may not be in, such as
	// 127.0.0.0/8. Link-local and metadata addresses are refused always.
	RefuseAddresses []netip.Prefix `yaml:"refuse_addresses"`
	// Chromium makes pictures of boards. Empty means the one in the path.
	Chromium string `yaml:"chromium"`
	// MaxWorkspaces bounds the dashboard workspaces of an account. 0 means 100.
	MaxWorkspaces int `yaml:"max_workspaces"`
}

// validate says what is wrong, by the name of the setting.
func (c ServerUI) validate() error {
	if c.MaxWorkspaces < 0 {
		return &fieldError{"ui.max_workspaces", "allowed are 0 and more"}
	}
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
			return &fieldError{"ui.url", fmt.Sprintf("%q is not a URL such as https://mangru.example.com, without a path", c.URL)}
		}
	}
	if (c.URL != "" || c.SMTP != "") && c.Listen == "" {
		return &fieldError{"ui.listen", "is required with ui.url and ui.smtp"}
	}
	return nil
}

// UIOptions are what a process adds to the configuration of the pages.
type UIOptions struct {
	// Source is the data source that the default workspace has from the start;
	// nil for none.
	Source *SignedSource
	// Watched says what the collector of this process watches.
	Watched func() dashboard.Watched
	// Providers and ConfigMaps bring boards to the default workspace.
	Providers  []provision.Provider
	ConfigMaps *provision.ConfigMaps
}

// OpenUI claims the address of the pages for people. The Server closes what it
// returns.
func (s *Server) OpenUI(ctx context.Context, opt UIOptions) (*Dashboard, error) {
	c := s.cfg.UI
	mail, err := mailConfig(c.SMTP, c.MailFrom, filepath.Join(s.cfg.Data, "outbox"), os.Getenv(smtpPasswordVariable))
	if err != nil {
		return nil, err
	}
	factors, err := s.identity.iam.PurposeKey(ctx, "people")
	if err != nil {
		return nil, err
	}
	overview := func(ctx context.Context) (dashboard.Overview, error) {
		o := dashboard.Overview{Version: version, Region: s.cfg.Region, Account: s.Account()}
		if opt.Watched != nil {
			o.Source = opt.Watched()
		}
		o.Workspaces, err = s.listWorkspaces(ctx)
		return o, err
	}
	d, err := NewDashboard(ctx, DashboardConfig{
		Listen: c.Listen, People: PeopleConfig{Key: factors, URL: c.URL, Mail: mail}, Source: opt.Source, Overview: overview,
		Renderer:  render.New(render.Config{Program: c.Chromium}),
		Sources:   sources.Config{OwnCredentials: c.OwnCredentials, Refuse: c.RefuseAddresses},
		Directory: s.identity.people, Estate: estate{s}, Store: s.identity.boards, Workspaces: s.identity.spaces,
		Providers: opt.Providers, ConfigMaps: opt.ConfigMaps,
	}, s.records, s.logger, s.registry)
	if err != nil {
		return nil, err
	}
	s.dashboard.Store(d)
	return d, nil
}

// uiURL is where browsers find the pages, or would.
func (s *Server) uiURL() string {
	if d := s.dashboard.Load(); d != nil {
		return d.URL()
	}
	if s.cfg.UI.URL != "" {
		return strings.TrimSuffix(s.cfg.UI.URL, "/")
	}
	return s.URL()
}

// listWorkspaces returns every workspace of metrics of the account.
func (s *Server) listWorkspaces(ctx context.Context) ([]dashboard.Workspace, error) {
	out, in := []dashboard.Workspace{}, workspace.ListInput{}
	for {
		page, next, err := s.workspaces.List(ctx, s.Account(), in)
		if err != nil {
			return nil, err
		}
		for _, w := range page {
			out = append(out, s.describe(w))
		}
		if next == "" {
			return out, nil
		}
		in.NextToken = next
	}
}

func (s *Server) describe(w *workspace.Workspace) dashboard.Workspace {
	endpoint := s.Endpoint(w.ID)
	return dashboard.Workspace{
		ID: w.ID, Alias: w.Alias, ARN: w.ARN(), Status: string(w.Status),
		PrometheusEndpoint: endpoint, RemoteWriteURL: endpoint + "api/v1/remote_write", QueryURL: endpoint + "api/v1/query",
	}
}
