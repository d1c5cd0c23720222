package iam

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// Provider is an OpenID Connect issuer whose tokens the account's roles may
// trust.
type Provider struct {
	AccountID, ARN string
	// URL is the issuer, as it stands in tokens: https://….
	URL string
	// ClientIDs are the audiences that are accepted.
	ClientIDs []string
	// Thumbprints are kept for callers that set them; nothing relies on them.
	Thumbprints []string
	Trust       ProviderTrust
	Created     time.Time
	Tags        map[string]string // nil in lists
}

// ProviderTrust says how to reach and trust an issuer that is not public. All
// of it may be empty.
type ProviderTrust struct {
	// CA holds the certificates (PEM) that the issuer's must descend from, ""
	// for the system's.
	CA string
	// JWKS holds the issuer's public keys (JSON Web Key Set); with it, nothing
	// is fetched.
	JWKS string
	// InternalURL is asked instead of URL, such as an API server inside a
	// cluster. Tokens must still be from URL.
	InternalURL string
}

// Bounds on what a provider holds.
const (
	maxProviderURL = 255
	maxCA          = 64 << 10
	maxJWKS        = 256 << 10
)

// providerARN makes the ARN of a provider from its URL without scheme.
func providerARN(account, bare string) string {
	return "arn:aws:iam::" + account + ":oidc-provider/" + bare
}

func (p *providerRow) provider() (Provider, error) {
	out := Provider{AccountID: p.AccountID, ARN: providerARN(p.AccountID, p.URL), URL: "https://" + p.URL,
		Trust: ProviderTrust{CA: p.CA, JWKS: p.JWKS, InternalURL: p.InternalURL}, Created: timeOf(p.CreatedAt)}
	if err := json.Unmarshal([]byte(p.ClientIDs), &out.ClientIDs); err != nil {
		return out, fmt.Errorf("client ids of %s: %w", out.ARN, err)
	}
	if err := json.Unmarshal([]byte(p.Thumbprints), &out.Thumbprints); err != nil {
		return out, fmt.Errorf("thumbprints of %s: %w", out.ARN, err)
	}
	return out, nil
}

// ProviderSpec is what a new provider is like.
type ProviderSpec struct {
	URL                    string
	ClientIDs, Thumbprints []string
	Trust                  ProviderTrust
	Tags                   map[string]string
}

// CreateProvider makes an OpenID Connect provider.
func (s *Service) CreateProvider(ctx context.Context, account string, spec ProviderSpec) (Provider, error) {
	bare, err := checkProviderURL(spec.URL)
	if err != nil {
		return Provider{}, err
	}
	row := providerRow{ID: newID(prefixProvider), AccountID: account, URL: bare, CreatedAt: s.now()}
	if err := row.setClientIDs(spec.ClientIDs); err != nil {
		return Provider{}, err
	}
	if err := row.setThumbprints(spec.Thumbprints); err != nil {
		return Provider{}, err
	}
	if err := row.setTrust(spec.Trust); err != nil {
		return Provider{}, err
	}
	err = s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model((*providerRow)(nil)).Where("account_id = ? AND lower(url) = lower(?)", account, bare).Count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			return newError(ErrExists, "Provider with url %s already exists.", spec.URL)
		}
		if err := checkCount(ctx, tx, (*providerRow)(nil), account, "OpenIDConnectProviders", maxProviders); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return err
		}
		return putTags(ctx, tx, row.ID, spec.Tags)
	})
	if err != nil {
		return Provider{}, fmt.Errorf("create provider: %w", err)
	}
	p, err := row.provider()
	p.Tags = spec.Tags
	return p, err
}

// checkProviderURL returns the URL without its scheme.
func checkProviderURL(text string) (string, error) {
	u, err := url.Parse(text)
	bare, ok := strings.CutPrefix(text, "https://")
	if err != nil || !ok || len(text) > maxProviderURL || u.Host == "" || u.User != nil || strings.ContainsAny(text, "?#*") ||
		strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", newError(ErrInvalidInput, "Invalid Open ID Connect Provider URL: it must begin with https:// and have neither query nor fragment.")
	}
	return bare, nil
}

func (p *providerRow) setClientIDs(ids []string) error {
	if len(ids) > maxClientIDs {
		return newError(ErrLimitExceeded, "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", maxClientIDs)
	}
	for _, id := range ids {
		if id == "" || len(id) > 255 {
			return newError(ErrInvalidInput, "A client ID must have 1 to 255 characters.")
		}
	}
	ids = slices.Clone(ids)
	slices.Sort(ids)
	p.ClientIDs = encodeList(slices.Compact(ids))
	return nil
}

func (p *providerRow) setThumbprints(prints []string) error {
	if len(prints) > maxThumbprints {
		return newError(ErrInvalidInput, "Thumbprint list must contain fewer than %d entries.", maxThumbprints+1)
	}
	for _, t := range prints {
		if len(t) != 40 || strings.Trim(strings.ToLower(t), "0123456789abcdef") != "" {
			return newError(ErrInvalidInput, "A thumbprint must have 40 hexadecimal digits.")
		}
	}
	p.Thumbprints = encodeList(prints)
	return nil
}

func (p *providerRow) setTrust(t ProviderTrust) error {
	if t.CA != "" && (len(t.CA) > maxCA || !x509.NewCertPool().AppendCertsFromPEM([]byte(t.CA))) {
		return newError(ErrInvalidInput, "The certificate authority must hold certificates in PEM, at most %d bytes.", maxCA)
	}
	if t.JWKS != "" {
		var set struct {
			Keys []struct {
				Type string `json:"kty"`
			} `json:"keys"`
		}
		err := json.Unmarshal([]byte(t.JWKS), &set)
		if err != nil || len(t.JWKS) > maxJWKS || len(set.Keys) == 0 || set.Keys[0].Type == "" {
			return newError(ErrInvalidInput, "The key set must be a JSON Web Key Set with at least one key, at most %d bytes.", maxJWKS)
		}
	}
	if t.InternalURL != "" {
		if _, err := checkProviderURL(t.InternalURL); err != nil {
			return newError(ErrInvalidInput, "The internal URL must begin with https:// and have neither query nor fragment.")
		}
	}
	p.CA, p.JWKS, p.InternalURL = t.CA, t.JWKS, t.InternalURL
	return nil
}

func encodeList(list []string) string {
	if list == nil {
		list = []string{}
	}
	b, _ := json.Marshal(list) // strings always can
	return string(b)
}

func findProvider(ctx context.Context, db bun.IDB, account, arn string) (*providerRow, error) {
	missing := ProviderRef(account, arn).missing()
	bare, ok := strings.CutPrefix(arn, providerARN(account, ""))
	if !ok {
		return nil, missing
	}
	p := new(providerRow)
	err := db.NewSelect().Model(p).Where("account_id = ? AND url = ?", account, bare).Scan(ctx)
	if err != nil {
		return nil, found(err, "%s", missing)
	}
	return p, nil
}

// Provider returns an OpenID Connect provider with its tags.
func (s *Service) Provider(ctx context.Context, account, arn string) (Provider, error) {
	row, err := findProvider(ctx, s.db, account, arn)
	if err != nil {
		return Provider{}, err
	}
	p, err := row.provider()
	if err != nil {
		return p, err
	}
	p.Tags, err = tagsOf(ctx, s.db, row.ID)
	return p, err
}

// ProviderByURL returns the provider of an issuer, with or without https://.
func (s *Service) ProviderByURL(ctx context.Context, account, issuer string) (Provider, error) {
	return s.Provider(ctx, account, providerARN(account, strings.TrimPrefix(issuer, "https://")))
}

// Providers lists the account's providers by URL.
func (s *Service) Providers(ctx context.Context, account string) ([]Provider, error) {
	var rows []providerRow
	if err := s.db.NewSelect().Model(&rows).Where("account_id = ?", account).Order("url").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list providers: %w", err)
	}
	all := make([]Provider, len(rows))
	for i := range rows {
		var err error
		if all[i], err = rows[i].provider(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// AddClientID makes a provider accept one more audience; having it already is
// no error.
func (s *Service) AddClientID(ctx context.Context, account, arn, id string) error {
	return s.updateProvider(ctx, account, arn, func(p Provider, row *providerRow) error {
		return row.setClientIDs(append(p.ClientIDs, id))
	})
}

// RemoveClientID makes a provider refuse an audience; not having it is no
// error.
func (s *Service) RemoveClientID(ctx context.Context, account, arn, id string) error {
	return s.updateProvider(ctx, account, arn, func(p Provider, row *providerRow) error {
		return row.setClientIDs(slices.DeleteFunc(p.ClientIDs, func(have string) bool { return have == id }))
	})
}

// SetThumbprints replaces a provider's thumbprints.
func (s *Service) SetThumbprints(ctx context.Context, account, arn string, prints []string) error {
	return s.updateProvider(ctx, account, arn, func(_ Provider, row *providerRow) error { return row.setThumbprints(prints) })
}

// SetProviderTrust replaces how a provider is reached and trusted.
func (s *Service) SetProviderTrust(ctx context.Context, account, arn string, t ProviderTrust) error {
	return s.updateProvider(ctx, account, arn, func(_ Provider, row *providerRow) error { return row.setTrust(t) })
}

func (s *Service) updateProvider(ctx context.Context, account, arn string, f func(Provider, *providerRow) error) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		row, err := findProvider(ctx, tx, account, arn)
		if err != nil {
			return err
		}
		p, err := row.provider()
		if err != nil {
			return err
		}
		if err := f(p, row); err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model(row).Column("client_ids", "thumbprints", "ca", "jwks", "internal_url").WherePK().Exec(ctx)
		return err
	})
}

// DeleteProvider removes an OpenID Connect provider. As in AWS, one that is not
// there is an error and roles that trust it stay.
func (s *Service) DeleteProvider(ctx context.Context, account, arn string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		row, err := findProvider(ctx, tx, account, arn)
		if err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model((*tagRow)(nil)).Where("owner_id = ?", row.ID).Exec(ctx); err != nil {
			return err
		}
		_, err = tx.NewDelete().Model(row).WherePK().Exec(ctx)
		return err
	})
}
