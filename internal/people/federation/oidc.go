package federation

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// signatures are the algorithms that an ID token may be signed with: all with
// keys of which this side has the public half only.
var signatures = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// tokenSkew is by how much a provider's clock may be ahead of ours. The library
// takes the same off a token's life, so that it cannot be as long as for SAML.
const tokenSkew = time.Minute

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails; it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// relyingParty reads the provider's discovery document anew each time: sign-ins
// are rare, and keys and addresses change.
func (s *Service) relyingParty(ctx context.Context, p *Provider, nonce string) (rp.RelyingParty, error) {
	scopes := []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail}
	for _, extra := range p.Settings.Scopes {
		if !slices.Contains(scopes, extra) {
			scopes = append(scopes, extra)
		}
	}
	party, err := rp.NewRelyingPartyOIDC(ctx, p.Settings.Issuer, p.Settings.ClientID, p.Secret, s.callbackURL(p.ID), scopes,
		rp.WithHTTPClient(s.cfg.Client), rp.WithLogger(s.log),
		rp.WithVerifierOpts(rp.WithIssuedAtOffset(tokenSkew), rp.WithNonce(func(context.Context) string { return nonce }), rp.WithSupportedSigningAlgorithms(signatures...)))
	if err != nil {
		return nil, fmt.Errorf("identity provider %s: %w", p.ID, err)
	}
	return party, nil
}

func (s *Service) beginOIDC(ctx context.Context, p *Provider, state string, pending *Pending) (string, error) {
	pending.Nonce, pending.Verifier = random(), random()
	party, err := s.relyingParty(ctx, p, pending.Nonce)
	if err != nil {
		return "", err
	}
	return rp.AuthURL(state, party, rp.WithCodeChallenge(oidc.NewSHACodeChallenge(pending.Verifier)),
		rp.AuthURLOpt(rp.WithURLParam("nonce", pending.Nonce))), nil
}

func (s *Service) finishOIDC(r *http.Request, p *Provider, pending *Pending) (*Assertion, error) {
	ctx, q := r.Context(), r.URL.Query()
	// RFC 9207: a provider that names itself has to be the one that was asked.
	if iss := q.Get("iss"); iss != "" && iss != p.Settings.Issuer {
		return nil, fmt.Errorf("%w: it is of %.200q", ErrRefused, iss)
	}
	if code := q.Get("error"); code != "" {
		return nil, fmt.Errorf("%w: %.100q %.200q", ErrRefused, code, q.Get("error_description"))
	}
	party, err := s.relyingParty(ctx, p, pending.Nonce)
	if err != nil {
		return nil, err
	}
	tokens, err := rp.CodeExchange[*oidc.IDTokenClaims](ctx, q.Get("code"), party, rp.WithCodeVerifier(pending.Verifier))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	id := tokens.IDTokenClaims
	// The library lets a token without a nonce pass where none is expected.
	if pending.Nonce == "" || subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(pending.Nonce)) != 1 {
		return nil, fmt.Errorf("%w: its nonce is another one", ErrRefused)
	}
	claims := make(map[string]any, len(id.Claims))
	for k, v := range id.Claims {
		claims[k] = v
	}
	if party.UserinfoEndpoint() != "" && tokens.AccessToken != "" {
		// Many providers tell groups only here. The library refuses another subject.
		info, err := rp.Userinfo[*oidc.UserInfo](ctx, tokens.AccessToken, tokens.TokenType, id.Subject, party)
		if err != nil {
			return nil, fmt.Errorf("%w: userinfo: %w", ErrRefused, err)
		}
		for k, v := range info.Claims {
			if _, signed := claims[k]; !signed {
				claims[k] = v
			}
		}
	}
	c := p.Settings.Claims
	verified, _ := claims["email_verified"].(bool)
	a := &Assertion{Provider: p.ID, Issuer: p.Settings.Issuer, Subject: id.Subject, Login: first(claims, c.Login, "preferred_username", "nickname"),
		Email: first(claims, c.Email, "email"), Name: first(claims, c.Name, "name"), Groups: list(claims[cmp.Or(c.Groups, "groups")])}
	// Only the standard claim has a standard word about being verified.
	a.EmailVerified = verified && (c.Email == "" || c.Email == "email")
	if a.Subject == "" {
		return nil, fmt.Errorf("%w: it names nobody", ErrRefused)
	}
	return a, nil
}

// first returns the first claim that is a text: the one that was set, else those
// that are usual.
func first(claims map[string]any, set string, usual ...string) string {
	if set != "" {
		usual = []string{set}
	}
	for _, name := range usual {
		if text, ok := claims[name].(string); ok && text != "" {
			return text
		}
	}
	return ""
}

func list(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, x := range v {
			if text, ok := x.(string); ok {
				out = append(out, text)
			}
		}
		return out
	}
	return nil
}

// EndURL is where the browser goes to end its session at the provider too; empty
// where the provider has no such place.
func (s *Service) EndURL(ctx context.Context, id, subject string) (string, error) {
	p, err := s.open(ctx, id)
	if err != nil {
		return "", err
	}
	if p.Kind == SAML {
		return s.endSAML(ctx, p, subject)
	}
	party, err := s.relyingParty(ctx, p, "")
	if err != nil || party.GetEndSessionEndpoint() == "" {
		return "", err
	}
	u, err := url.Parse(party.GetEndSessionEndpoint())
	if err != nil {
		return "", fmt.Errorf("end of session of identity provider %s: %w", id, err)
	}
	q := u.Query()
	q.Set("client_id", p.Settings.ClientID)
	q.Set("post_logout_redirect_uri", s.cfg.BaseURL()+"/login")
	u.RawQuery = q.Encode()
	return u.String(), nil
}
