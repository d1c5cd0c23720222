package app

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/dashboard/records"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
	"github.com/mangru/mangru/internal/mail"
	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/people/federation"
	"github.com/mangru/mangru/internal/people/portal"
	"github.com/mangru/mangru/internal/people/scim"
	"github.com/mangru/mangru/internal/people/signin"
)

// PeopleConfig says how people sign in.
type PeopleConfig struct {
	// Key seals the secrets of second factors; 32 bytes.
	Key []byte
	// URL is where browsers find the UI, if that is not the address that is
	// listened on.
	URL  string
	Mail mail.Config
}

// people are the parts about people, plugged together.
type people struct {
	dir     *directory.Directory
	signIn  *signin.Service
	outside *federation.Service
	estate  portal.Estate
	mailer  *mail.Mailer
	store   directory.Store
	cfg     PeopleConfig
	hosts   []string
	// base is where browsers find the pages; the handler sets it.
	base   func() string
	boards *records.Store
	spaces *workspaces.Service
}

func openPeople(ctx context.Context, dc DashboardConfig, db *bun.DB, logger *slog.Logger) (*people, error) {
	cfg := dc.People
	p := &people{estate: dc.Estate, dir: dc.Directory, cfg: cfg, boards: dc.Store, spaces: dc.Workspaces}
	if cfg.URL != "" {
		u, err := url.Parse(cfg.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, usagef("--ui-url: found %q, expected a URL such as https://mangru.example.com", cfg.URL)
		}
		p.cfg.URL = strings.TrimSuffix(cfg.URL, "/")
		p.hosts = []string{strings.ToLower(u.Hostname())}
	}
	var err error
	if p.signIn, err = signin.New(signin.Config{Key: cfg.Key, Origin: func() string { return p.base() }}, db, p.dir); err != nil {
		return nil, err
	}
	if p.mailer, err = mail.New(cfg.Mail, logger); err != nil {
		return nil, &ExitError{Code: exitUsage, Err: err}
	}
	if p.store, err = p.dir.Store(ctx, iam.DefaultAccount); err != nil {
		return nil, err
	}
	p.outside = federation.New(federation.Config{Directory: p.dir, Store: p.store, Seal: p.signIn, BaseURL: func() string { return p.base() }}, db, logger)
	return p, nil
}

// handler puts what is about people before the dashboards' handler. own is the
// address that is listened on.
func (p *people) handler(next http.Handler, own func() string, logger *slog.Logger) http.Handler {
	p.base = own
	if p.cfg.URL != "" {
		p.base = func() string { return p.cfg.URL }
	}
	provisioning := scim.New(p.dir, logger)
	cfg := portal.Config{Directory: p.dir, SignIn: p.signIn, Federation: p.outside, Estate: p.estate, Store: p.store, Mail: p.mailer, Workspaces: p.spaces, Reassign: p.boards.Reassign, BaseURL: p.base,
		Hosts: p.hosts, Secure: strings.HasPrefix(p.cfg.URL, "https:")}
	entrance, doors := portal.New(cfg, logger), portal.Outside(cfg, logger)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, scim.Base+"/"):
			provisioning.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, federation.Base+"/"):
			doors.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, portal.Base+"/"):
			entrance.ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// smtpPasswordVariable holds the password for --smtp: arguments can be read by
// everybody on a machine.
const smtpPasswordVariable = "MANGRU_SMTP_PASSWORD" // #nosec G101 -- a name

// mailConfig reads --smtp, such as smtp://user@mail.example.com:587.
func mailConfig(smtp, from, outbox, password string) (mail.Config, error) {
	cfg := mail.Config{From: from, Outbox: outbox}
	if smtp == "" {
		return cfg, nil
	}
	u, err := url.Parse(smtp)
	expected := "expected smtp://USER@HOST:PORT (STARTTLS), smtps://USER@HOST:PORT (TLS) or smtp+plain://HOST:PORT"
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return cfg, usagef("--smtp: %s", expected)
	}
	switch u.Scheme {
	case "smtp":
		cfg.TLS, cfg.Port = mail.STARTTLS, 587
	case "smtps":
		cfg.TLS, cfg.Port = mail.Implicit, 465
	case "smtp+plain":
		cfg.TLS, cfg.Port = mail.None, 25
	default:
		return cfg, usagef("--smtp: found scheme %q, %s", u.Scheme, expected)
	}
	if port := u.Port(); port != "" {
		if cfg.Port, err = strconv.Atoi(port); err != nil {
			return cfg, usagef("--smtp: %s", expected)
		}
	}
	if _, given := u.User.Password(); given {
		return cfg, usagef("--smtp: a password in an argument can be read by everybody on this machine: put it into $%s", smtpPasswordVariable)
	}
	if from == "" {
		return cfg, usagef("--mail-from is required with --smtp")
	}
	cfg.Host, cfg.Username, cfg.Password = u.Hostname(), u.User.Username(), password
	return cfg, nil
}
