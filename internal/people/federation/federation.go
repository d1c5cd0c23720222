// Package federation lets people sign in by what they have elsewhere: an OpenID
// Connect or SAML 2.0 provider outside. It settles what a provider's answer is
// worth and whose account it is for; sessions are those of package signin.
package federation

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/people/directory"
)

// The kinds of providers.
const (
	OIDC = "oidc"
	SAML = "saml"
)

// ErrRefused says that a provider's answer was not accepted; why is in what
// wraps it, for the log.
var ErrRefused = errors.New("the identity provider's answer was not accepted")

// AccountError says why an accepted answer signs nobody in. It may be shown.
type AccountError struct{ Message string }

// Error implements error.
func (e *AccountError) Error() string { return e.Message }

// ErrNotFound says that there is no such provider, or that it is switched off.
var ErrNotFound = errors.New("there is no such identity provider")

// Settings of a provider, as administrators write them.
type Settings struct {
	// Issuer, ClientID and Scopes are of OIDC. Scopes are asked for besides
	// openid, profile and email.
	Issuer   string   `json:"issuer,omitempty"`
	ClientID string   `json:"clientId,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`
	// Metadata is a SAML provider's, as XML; MetadataURL is where it is.
	Metadata    string `json:"metadata,omitempty"`
	MetadataURL string `json:"metadataUrl,omitempty"`
	// EntityID is what those metadata called the provider when it was put. Its
	// people are known under it, so that later metadata cannot change it.
	EntityID string `json:"entityId,omitempty"`
	// Claims name the claims or attributes that are read.
	Claims Claims `json:"claims"`
	// Groups maps the provider's groups or roles to groups here. Membership in
	// these is as the provider says at each sign-in; in others it is left alone.
	Groups map[string]string `json:"groups,omitempty"`
	// CreateAccounts makes accounts for who comes the first time.
	CreateAccounts bool `json:"createAccounts"`
	// LinkByEmail lets who comes the first time have the account with their
	// address, if both the provider and this directory verified it. Accounts of
	// administrators are never linked so.
	LinkByEmail bool `json:"linkByEmail"`
}

// Claims name what is read of a person; empty members have a default.
type Claims struct {
	Login  string `json:"login,omitempty"`
	Email  string `json:"email,omitempty"`
	Name   string `json:"name,omitempty"`
	Groups string `json:"groups,omitempty"`
}

// Provider is an identity provider outside.
type Provider struct {
	// ID is in addresses; Name on the button.
	ID, Kind, Name string
	Enabled        bool
	Settings       Settings
	// Secret is that of an OIDC client. It is written, never read back.
	Secret           string
	HasSecret        bool
	Created, Updated time.Time
}

// Sealer encrypts what is kept, for one owner.
type Sealer interface {
	SealSecret(secret []byte, owner string) (string, error)
	OpenSecret(text, owner string) ([]byte, error)
}

// Config of a Service.
type Config struct {
	Directory *directory.Directory
	Store     directory.Store
	Seal      Sealer
	// BaseURL is where browsers find the pages, without a slash at the end.
	BaseURL func() string
	// Client reaches providers. Nil is one with a timeout.
	Client *http.Client
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Service is the providers. It is safe for concurrent use.
type Service struct {
	cfg Config
	db  *bun.DB
	log *slog.Logger
}

const providerTimeout = 15 * time.Second

// New returns the providers kept in db.
func New(cfg Config, db *bun.DB, log *slog.Logger) *Service {
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: providerTimeout, CheckRedirect: stayEncrypted}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg, db: db, log: log}
}

// stayEncrypted follows redirects, as an http.Client does, but not from HTTPS to
// HTTP: checkURL demanded the former.
func stayEncrypted(req *http.Request, via []*http.Request) error {
	const most = 10
	if len(via) >= most {
		return fmt.Errorf("stopped after %d redirects", most)
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errors.New("it leads from https:// to " + req.URL.Scheme + "://")
	}
	return nil
}

type providerRow struct {
	bun.BaseModel `bun:"table:identity_providers"`
	ID            string `bun:"id,pk"`
	StoreID       string `bun:",pk"`
	Kind          string
	Name          string
	Enabled       bool
	Settings      string
	Secret        string
	CreatedAt     int64
	UpdatedAt     int64
}

func (r *providerRow) provider() (*Provider, error) {
	p := &Provider{ID: r.ID, Kind: r.Kind, Name: r.Name, Enabled: r.Enabled, HasSecret: r.Secret != "", Created: time.UnixMilli(r.CreatedAt).UTC(), Updated: time.UnixMilli(r.UpdatedAt).UTC()}
	if err := json.Unmarshal([]byte(r.Settings), &p.Settings); err != nil {
		return nil, fmt.Errorf("settings of identity provider %s: %w", r.ID, err)
	}
	return p, nil
}

// maxProviders bounds what the sign-in page shows.
const maxProviders = 20

// List returns all providers, by name.
func (s *Service) List(ctx context.Context) ([]*Provider, error) {
	var rows []providerRow
	if err := s.db.NewSelect().Model(&rows).Where("store_id = ?", s.cfg.Store.ID).Order("name", "id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list identity providers: %w", err)
	}
	out := make([]*Provider, 0, len(rows))
	for i := range rows {
		p, err := rows[i].provider()
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// open returns an enabled provider with its secret.
func (s *Service) open(ctx context.Context, id string) (*Provider, error) {
	row, err := s.row(ctx, id)
	if err != nil {
		return nil, err
	}
	p, err := row.provider()
	if err != nil {
		return nil, err
	}
	if !p.Enabled {
		return nil, ErrNotFound
	}
	if row.Secret != "" {
		secret, err := s.cfg.Seal.OpenSecret(row.Secret, "identity provider "+id)
		if err != nil {
			return nil, err
		}
		p.Secret = string(secret)
	}
	return p, nil
}

func (s *Service) row(ctx context.Context, id string) (*providerRow, error) {
	row := new(providerRow)
	err := s.db.NewSelect().Model(row).Where("store_id = ? AND id = ?", s.cfg.Store.ID, id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read an identity provider: %w", err)
	}
	return row, nil
}

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

func invalid(field, format string, args ...any) error {
	return &directory.InvalidError{Field: field, Message: fmt.Sprintf(format, args...)}
}

func (p *Provider) check() error {
	if !idPattern.MatchString(p.ID) {
		return invalid("id", "found '%.50s', allowed are up to 40 small letters, digits and -", p.ID)
	}
	if p.Name == "" || len(p.Name) > 60 || strings.ContainsAny(p.Name, "\r\n\x00") {
		return invalid("name", "allowed are 1 to 60 bytes in one line")
	}
	switch p.Kind {
	case OIDC:
		if err := checkURL("settings.issuer", p.Settings.Issuer); err != nil {
			return err
		}
		if p.Settings.ClientID == "" {
			return invalid("settings.clientId", "is required")
		}
	case SAML:
		if (p.Settings.Metadata == "") == (p.Settings.MetadataURL == "") {
			return invalid("settings.metadata", "either this or settings.metadataUrl is required")
		}
		if p.Settings.MetadataURL != "" {
			return checkURL("settings.metadataUrl", p.Settings.MetadataURL)
		}
	default:
		return invalid("kind", "found '%.20s', allowed are oidc and saml", p.Kind)
	}
	return nil
}

// checkURL demands HTTPS, but on this machine.
func checkURL(field, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return invalid(field, "found '%.100s', expected a URL such as https://id.example.com", text)
	}
	loopback := u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback) {
		return invalid(field, "must begin with https://: who can change what a provider says can be anybody")
	}
	return nil
}

// issuer is under what the provider's people are known here.
func (p *Provider) issuer() string {
	if p.Kind == SAML {
		return p.Settings.EntityID
	}
	return p.Settings.Issuer
}

// settle notes what a SAML provider calls itself, and refuses what would make
// the provider, new or changed, more than its administrator meant.
func (s *Service) settle(ctx context.Context, p *Provider) error {
	p.Settings.EntityID = ""
	if p.Kind == SAML {
		d, err := s.metadata(ctx, p)
		if err != nil {
			field := "settings.metadata"
			if p.Settings.MetadataURL != "" {
				field += "Url"
			}
			return invalid(field, "%v", err)
		}
		p.Settings.EntityID = d.EntityID
	}
	all, err := s.List(ctx)
	if err != nil {
		return err
	}
	others := 0
	for _, o := range all {
		if o.ID == p.ID {
			// Who is asked next would be sent the secret.
			if p.Secret == "" && o.HasSecret && p.Kind == OIDC && o.issuer() != p.issuer() {
				return invalid("secret", "is required again, since the issuer is another one")
			}
			continue
		}
		others++
		// It could name the other one's people. Two clients of one OpenID issuer
		// cannot: that one signs for both.
		if o.issuer() == p.issuer() && (o.Kind == SAML || p.Kind == SAML) {
			return invalid("settings", "identity provider %s is %q already", o.ID, p.issuer())
		}
	}
	if others >= maxProviders {
		return &directory.LimitError{Message: fmt.Sprintf("%d identity providers are the most there may be.", maxProviders)}
	}
	return nil
}

// Put makes a provider or changes the one of its ID. An empty secret keeps the
// present one, of the same issuer. The metadata of a SAML provider are read.
func (s *Service) Put(ctx context.Context, p *Provider) error {
	if err := p.check(); err != nil {
		return err
	}
	if err := s.settle(ctx, p); err != nil {
		return err
	}
	settings, err := json.Marshal(p.Settings)
	if err != nil {
		return fmt.Errorf("keep an identity provider: %w", err)
	}
	now := s.cfg.Now().UnixMilli()
	row := &providerRow{ID: p.ID, StoreID: s.cfg.Store.ID, Kind: p.Kind, Name: p.Name, Enabled: p.Enabled, Settings: string(settings), CreatedAt: now, UpdatedAt: now}
	if p.Secret != "" {
		if row.Secret, err = s.cfg.Seal.SealSecret([]byte(p.Secret), "identity provider "+p.ID); err != nil {
			return err
		}
	}
	q := s.db.NewInsert().Model(row).On("CONFLICT (store_id, id) DO UPDATE").Set("kind = EXCLUDED.kind").Set("name = EXCLUDED.name").
		Set("enabled = EXCLUDED.enabled").Set("settings = EXCLUDED.settings").Set("updated_at = EXCLUDED.updated_at")
	if row.Secret != "" || p.Kind == SAML {
		q.Set("secret = EXCLUDED.secret")
	}
	if _, err := q.Exec(ctx); err != nil {
		return fmt.Errorf("keep an identity provider: %w", err)
	}
	return nil
}

// Delete removes a provider. Accounts that it made stay; nobody signs in by it.
func (s *Service) Delete(ctx context.Context, id string) error {
	res, err := s.db.NewDelete().Model((*providerRow)(nil)).Where("store_id = ? AND id = ?", s.cfg.Store.ID, id).Exec(ctx)
	if err != nil {
		return fmt.Errorf("delete an identity provider: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, ErrNotFound)
	}
	return nil
}

// Pending is what is kept of a sign-in while the browser is at the provider. It
// never leaves this server.
type Pending struct {
	Provider string `json:"provider"`
	// Nonce and Verifier are of OIDC, Request is the ID of a SAML request.
	Nonce    string `json:"nonce,omitempty"`
	Verifier string `json:"verifier,omitempty"`
	Request  string `json:"request,omitempty"`
	// Binding is the hash of the cookie of the browser that began.
	Binding string `json:"binding"`
	// To is the page that was wanted.
	To string `json:"to"`
}

// Assertion is what a provider said about who came, checked.
type Assertion struct {
	Provider string `json:"provider"`
	// Issuer and Subject name them for good.
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	Login   string `json:"login"`
	Email   string `json:"email"`
	// EmailVerified is whether the provider says that it verified the address.
	EmailVerified bool     `json:"emailVerified"`
	Name          string   `json:"name"`
	Groups        []string `json:"groups"`
}

// Addresses of this side, which providers are told.
func (s *Service) callbackURL(id string) string {
	return s.cfg.BaseURL() + Base + "/" + id + "/callback"
}

// Base is the path below which browsers come and go.
const Base = "/api/outside"

// Begin returns where to send the browser to sign in; state comes back with it.
// It completes pending.
func (s *Service) Begin(ctx context.Context, id, state string, pending *Pending) (string, error) {
	p, err := s.open(ctx, id)
	if err != nil {
		return "", err
	}
	pending.Provider = id
	if p.Kind == SAML {
		return s.beginSAML(ctx, p, state, pending)
	}
	return s.beginOIDC(ctx, p, state, pending)
}

// Finish checks the answer that a browser brought back.
func (s *Service) Finish(r *http.Request, id string, pending *Pending) (*Assertion, error) {
	p, err := s.open(r.Context(), id)
	if err != nil {
		return nil, err
	}
	// An answer that arrives at another provider's address than it was asked for
	// at (mix-up).
	if pending.Provider != id {
		return nil, fmt.Errorf("%w: it was asked of %s", ErrRefused, pending.Provider)
	}
	if p.Kind == SAML {
		return s.finishSAML(r, p, pending)
	}
	return s.finishOIDC(r, p, pending)
}
