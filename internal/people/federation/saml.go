package federation

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/crewjam/saml"
	"github.com/crewjam/saml/samlsp"
)

const maxMetadata = 1 << 20

func parseMetadata(text []byte) (*saml.EntityDescriptor, error) {
	d, err := samlsp.ParseMetadata(text)
	if err != nil {
		return nil, fmt.Errorf("this is no SAML metadata: %w", err)
	}
	if d.EntityID == "" || len(d.IDPSSODescriptors) == 0 {
		return nil, errors.New("the metadata are not of an identity provider: they have no IDPSSODescriptor")
	}
	for _, role := range d.IDPSSODescriptors {
		for _, key := range role.KeyDescriptors {
			if key.Use != "encryption" && len(key.KeyInfo.X509Data.X509Certificates) > 0 {
				return d, nil
			}
		}
	}
	return nil, errors.New("the metadata name no certificate to check signatures with")
}

func (s *Service) metadata(ctx context.Context, p *Provider) (*saml.EntityDescriptor, error) {
	if p.Settings.Metadata != "" {
		return parseMetadata([]byte(p.Settings.Metadata))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Settings.MetadataURL, nil)
	if err != nil {
		return nil, err
	}
	res, err := s.cfg.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("its metadata: the answer is %s", res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxMetadata))
	if err != nil {
		return nil, err
	}
	return parseMetadata(text)
}

// serviceProvider is this side, as one provider knows it.
func (s *Service) serviceProvider(ctx context.Context, p *Provider) (*saml.ServiceProvider, error) {
	sp, err := s.ownSide(p.ID)
	if err != nil {
		return nil, err
	}
	if sp.IDPMetadata, err = s.metadata(ctx, p); err != nil {
		return nil, fmt.Errorf("identity provider %s: %w", p.ID, err)
	}
	if sp.IDPMetadata.EntityID != p.Settings.EntityID {
		return nil, fmt.Errorf("identity provider %s: its metadata are of %.200q, they were of %.200q; save the provider again if that is meant", p.ID, sp.IDPMetadata.EntityID, p.Settings.EntityID)
	}
	return sp, nil
}

func (s *Service) ownSide(id string) (*saml.ServiceProvider, error) {
	metadata, err1 := url.Parse(s.cfg.BaseURL() + Base + "/" + id + "/metadata")
	acs, err2 := url.Parse(s.callbackURL(id))
	slo, err3 := url.Parse(s.cfg.BaseURL() + Base + "/" + id + "/signed-out")
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	// Answers that nobody asked for here are refused (AllowIDPInitiated): with
	// them anybody could be signed in as somebody else.
	return &saml.ServiceProvider{EntityID: metadata.String(), MetadataURL: *metadata, AcsURL: *acs, SloURL: *slo, HTTPClient: s.cfg.Client,
		AuthnNameIDFormat: saml.UnspecifiedNameIDFormat, LogoutBindings: []string{saml.HTTPRedirectBinding}}, nil
}

// Metadata describe this side to a SAML provider, as XML. The provider need not
// be there yet: it may want to be told first.
func (s *Service) Metadata(id string) ([]byte, error) {
	if !idPattern.MatchString(id) {
		return nil, ErrNotFound
	}
	sp, err := s.ownSide(id)
	if err != nil {
		return nil, err
	}
	return xml.MarshalIndent(sp.Metadata(), "", "  ")
}

func (s *Service) beginSAML(ctx context.Context, p *Provider, state string, pending *Pending) (string, error) {
	sp, err := s.serviceProvider(ctx, p)
	if err != nil {
		return "", err
	}
	at := sp.GetSSOBindingLocation(saml.HTTPRedirectBinding)
	if at == "" {
		return "", fmt.Errorf("identity provider %s: its metadata have no SingleSignOnService with HTTP-Redirect", p.ID)
	}
	req, err := sp.MakeAuthenticationRequest(at, saml.HTTPRedirectBinding, saml.HTTPPostBinding)
	if err != nil {
		return "", fmt.Errorf("identity provider %s: %w", p.ID, err)
	}
	pending.Request = req.ID
	to, err := req.Redirect(state, sp)
	if err != nil {
		return "", fmt.Errorf("identity provider %s: %w", p.ID, err)
	}
	return to.String(), nil
}

func (s *Service) finishSAML(r *http.Request, p *Provider, pending *Pending) (*Assertion, error) {
	sp, err := s.serviceProvider(r.Context(), p)
	if err != nil {
		return nil, err
	}
	if pending.Request == "" {
		return nil, fmt.Errorf("%w: nothing was asked", ErrRefused)
	}
	// Clocks may differ by three minutes, as the library has it. Only what is
	// signed is read: the element that the signature is about, and nothing else of
	// the document.
	got, err := sp.ParseResponse(r, []string{pending.Request})
	if err != nil {
		var bad *saml.InvalidResponseError
		if errors.As(err, &bad) {
			err = bad.PrivateErr
		}
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := complete(got); err != nil {
		return nil, err
	}
	if got.Subject == nil || got.Subject.NameID == nil || got.Subject.NameID.Value == "" {
		return nil, fmt.Errorf("%w: it names nobody", ErrRefused)
	}
	name := got.Subject.NameID
	if name.Format == string(saml.TransientNameIDFormat) {
		return nil, fmt.Errorf("%w: its NameID is transient, so that nobody can be known again; set another format at the provider", ErrRefused)
	}
	values := attributes(got)
	c := p.Settings.Claims
	a := &Assertion{Provider: p.ID, Issuer: sp.IDPMetadata.EntityID, Subject: name.Value,
		Login:  pick(values, c.Login, "login", "username", "uid", "urn:oid:0.9.2342.19200300.100.1.1"),
		Email:  pick(values, c.Email, "email", "mail", "urn:oid:0.9.2342.19200300.100.1.3", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress"),
		Name:   pick(values, c.Name, "displayName", "name", "urn:oid:2.16.840.1.113730.3.1.241", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"),
		Groups: values[cmp.Or(c.Groups, "groups")]}
	if a.Email == "" && name.Format == string(saml.EmailAddressNameIDFormat) {
		a.Email = name.Value
	}
	// SAML has no word about addresses being verified; so none is.
	return a, nil
}

// complete refuses an assertion that leaves out what ties it to this side and
// to the browser that brings it (SAML profiles, 4.1.4.2). The library has checked
// what is there; what is not, it lets pass.
func complete(a *saml.Assertion) error {
	const bearer = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
	if a.Conditions == nil || len(a.Conditions.AudienceRestrictions) == 0 {
		return fmt.Errorf("%w: it does not say whom it is for (AudienceRestriction)", ErrRefused)
	}
	if a.Subject == nil || !slices.ContainsFunc(a.Subject.SubjectConfirmations, func(c saml.SubjectConfirmation) bool { return c.Method == bearer }) {
		return fmt.Errorf("%w: it does not say who may bring it (SubjectConfirmation of a bearer)", ErrRefused)
	}
	return nil
}

// attributes reads an assertion's attributes by name and by friendly name.
func attributes(a *saml.Assertion) map[string][]string {
	out := make(map[string][]string)
	for _, st := range a.AttributeStatements {
		for _, at := range st.Attributes {
			var values []string
			for _, v := range at.Values {
				values = append(values, v.Value)
			}
			out[at.Name] = append(out[at.Name], values...)
			if at.FriendlyName != "" && at.FriendlyName != at.Name {
				out[at.FriendlyName] = append(out[at.FriendlyName], values...)
			}
		}
	}
	return out
}

func pick(values map[string][]string, set string, usual ...string) string {
	if set != "" {
		usual = []string{set}
	}
	for _, name := range usual {
		if v := values[name]; len(v) > 0 && v[0] != "" {
			return v[0]
		}
	}
	return ""
}

func (s *Service) endSAML(ctx context.Context, p *Provider, subject string) (string, error) {
	sp, err := s.serviceProvider(ctx, p)
	if err != nil || sp.GetSLOBindingLocation(saml.HTTPRedirectBinding) == "" {
		return "", err
	}
	u, err := sp.MakeRedirectLogoutRequest(subject, "")
	if err != nil {
		return "", fmt.Errorf("end of session of identity provider %s: %w", p.ID, err)
	}
	return u.String(), nil
}
