package app

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/audit"
	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/auth/sts"
	"github.com/mangru/mangru/internal/auth/webidentity"
	"github.com/mangru/mangru/internal/dashboard/records"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/server/addon"
	"github.com/mangru/mangru/internal/server/amgapi"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/cluster"
	"github.com/mangru/mangru/internal/server/eksapi"
	"github.com/mangru/mangru/internal/server/iamapi"
	"github.com/mangru/mangru/internal/server/ssoapi"
	"github.com/mangru/mangru/internal/server/stsapi"
)

// serverIdentity is who may call a Server, and as whom.
type serverIdentity struct {
	iam      *iam.Service
	tokens   *webidentity.Verifier
	sts      *sts.Service
	clusters *cluster.Service
	addons   *addon.Service
	people   *directory.Directory
	boards   *records.Store
	spaces   *workspaces.Service
	audit    *audit.Log
	proxies  httpserver.Proxies
}

func (s *Server) openIdentity(ctx context.Context) (err error) {
	c, id := s.cfg, &s.identity
	id.iam, err = iam.Open(ctx, s.records, iam.Config{
		KeyFile: filepath.Join(c.Data, "secret.key"), KeyCommand: c.Secrets.KeyCommand, Logger: s.logger,
	})
	if err != nil {
		return err
	}
	key, created, err := id.iam.Bootstrap(ctx)
	if err != nil {
		return err
	}
	if created {
		s.firstKey = &key
	}
	if id.tokens, err = webidentity.New(webidentity.Config{TokenFiles: c.Issuers.TokenFiles, Registerer: s.registry}); err != nil {
		return err
	}
	if id.sts, err = sts.New(sts.Config{Store: id.iam, Tokens: id.tokens, Keys: id.iam.SessionKeys(), Registerer: s.registry}); err != nil {
		return err
	}
	secret, err := id.iam.PurposeKey(ctx, "clusters")
	if err != nil {
		return err
	}
	if id.clusters, err = cluster.New(cluster.Config{Region: c.Region, Key: secret}, s.records); err != nil {
		return err
	}
	id.addons, err = addon.New(addon.Config{
		Clusters: id.clusters, Installer: &addonInstaller{cfg: c.Addons}, Logger: s.logger.With("component", "addons"),
	}, s.records)
	if err != nil {
		return err
	}
	id.people = directory.New(directory.Config{}, s.records)
	if err := s.openWorkspaces(ctx); err != nil {
		return err
	}
	if id.proxies, err = httpserver.ParseProxies(c.TrustedProxies); err != nil {
		return &ExitError{Code: exitUsage, Err: fmt.Errorf("trusted_proxies%w", err)}
	}
	a := c.Audit
	id.audit, err = audit.Open(audit.Config{
		File: c.auditFile(), MaxSize: int64(a.MaxSize), MaxAge: time.Duration(a.MaxAge),
		MaxFiles: a.MaxFiles, KeepFor: time.Duration(a.KeepFor), DataPlane: a.DataPlane, Registerer: s.registry,
	}, s.logger)
	return err
}

// openWorkspaces opens the records of dashboard workspaces and ends what a stop
// has interrupted.
func (s *Server) openWorkspaces(ctx context.Context) error {
	id := &s.identity
	secret, err := id.iam.PurposeKey(ctx, "dashboards")
	if err != nil {
		return err
	}
	if id.boards, err = records.New(s.records, secret, nil); err != nil {
		return err
	}
	id.spaces, err = workspaces.New(workspaces.Config{
		Region: s.cfg.Region, Directory: id.people, Purge: id.boards.Purge, MaxWorkspaces: s.cfg.UI.MaxWorkspaces,
	}, s.records)
	if err != nil {
		return err
	}
	if _, err := id.spaces.EnsureDefault(ctx, s.Account()); err != nil {
		return err
	}
	return id.spaces.Resume(ctx)
}

// dashboardEndpoint is where a dashboard workspace is, as the API tells it:
// without a scheme.
func (s *Server) dashboardEndpoint(w *workspaces.Workspace) string {
	_, host, _ := strings.Cut(s.uiURL(), "://")
	return host + workspaces.Path(w.ID)
}

// close gives back what openIdentity took.
func (id *serverIdentity) close() error {
	if id.tokens != nil {
		id.tokens.Close()
	}
	if id.audit != nil {
		return id.audit.Close()
	}
	return nil
}

// verifier checks signatures with the keys of users and of sessions.
func (s *Server) verifier() (*sigv4.Verifier, error) {
	c := s.cfg.Signatures
	v := sigv4.VerifierConfig{
		Regions: []string{s.cfg.Region}, Skew: time.Duration(c.Skew), Tolerances: c.Tolerate,
		AllowUnsignedPayload: c.AllowUnsignedPayload, MaxUnverified: int64(c.MaxUnverified), Proxies: s.identity.proxies, Registerer: s.registry,
	}
	if c.Debug {
		v.Debug = s.logger
	}
	return sigv4.NewVerifier(v, api.Keys(s.identity.iam, s.identity.sts))
}

// identityServices are the AWS services about identity.
func (s *Server) identityServices() ([]api.Service, error) {
	id := &s.identity
	clusters := eksapi.Config{
		Region: s.cfg.Region, Clusters: id.clusters, Addons: id.addons, Roles: id.iam, Tokens: id.tokens, Sessions: podSessions{id.sts},
	}
	var list []api.Service
	for _, make := range []func() (api.Service, error){
		func() (api.Service, error) { return iamapi.New(id.iam) },
		func() (api.Service, error) { return stsapi.New(id.sts) },
		func() (api.Service, error) { return eksapi.New(clusters) },
		func() (api.Service, error) { return eksapi.NewAuth(clusters) },
		func() (api.Service, error) { return ssoapi.NewIdentityStore(id.people) },
		func() (api.Service, error) { return ssoapi.NewSSO(id.people) },
		func() (api.Service, error) { return ssoapi.NewDirectory(id.people) },
		func() (api.Service, error) {
			return amgapi.New(amgapi.Config{Region: s.cfg.Region, Workspaces: id.spaces, Accounts: id.boards, Roles: id.iam, Endpoint: s.dashboardEndpoint})
		},
	} {
		service, err := make()
		if err != nil {
			return nil, err
		}
		list = append(list, service)
	}
	return list, nil
}
