package portal

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/xml"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	"github.com/crewjam/saml/logger"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/people/federation"
)

// assertingParty is a SAML identity provider, of the same library's other half.
type assertingParty struct {
	t       *testing.T
	idp     *saml.IdentityProvider
	sp      *saml.EntityDescriptor
	session saml.Session
	// change lies in an assertion before it is signed.
	change func(*saml.Assertion)
}

func (p *assertingParty) GetServiceProvider(*http.Request, string) (*saml.EntityDescriptor, error) {
	return p.sp, nil
}

func (p *assertingParty) GetSession(http.ResponseWriter, *http.Request, *saml.IdpAuthnRequest) *saml.Session {
	return &p.session
}

func (p *assertingParty) MakeAssertion(req *saml.IdpAuthnRequest, s *saml.Session) error {
	if err := (saml.DefaultAssertionMaker{}).MakeAssertion(req, s); err != nil {
		return err
	}
	if p.change != nil {
		p.change(req.Assertion)
	}
	return nil
}

func newAssertingParty(t *testing.T, s *site) *assertingParty {
	key := testKey()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	at := func(path string) url.URL { return url.URL{Scheme: "https", Host: "idp.example", Path: path} }
	p := &assertingParty{t: t, session: saml.Session{ID: "1", NameID: "id-ann", NameIDFormat: string(saml.PersistentNameIDFormat), UserName: "ann", UserEmail: "ann@example.com",
		UserCommonName: "Ann Lee", Groups: []string{"ops"}, ExpireTime: time.Now().Add(time.Hour), CreateTime: time.Now()}}
	p.idp = &saml.IdentityProvider{Key: key, Certificate: cert, MetadataURL: at("/metadata"), SSOURL: at("/sso"), LogoutURL: at("/slo"),
		Logger: logger.DefaultLogger, ServiceProviderProvider: p, SessionProvider: p, AssertionMaker: p}
	text, err := xml.Marshal(p.idp.Metadata())
	require.NoError(t, err)
	require.NoError(t, s.outside.Put(t.Context(), &federation.Provider{ID: "corp", Kind: federation.SAML, Name: "Corp", Enabled: true,
		Settings: federation.Settings{Metadata: string(text), CreateAccounts: true, LinkByEmail: true, Claims: federation.Claims{Groups: "eduPersonAffiliation"}, Groups: map[string]string{"ops": "SRE"}}}))
	res, err := http.Get(s.url + federation.Base + "/corp/metadata")
	require.NoError(t, err)
	own, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	p.sp = new(saml.EntityDescriptor)
	require.NoError(t, xml.Unmarshal(own, p.sp))
	return p
}

var formValue = regexp.MustCompile(`name="(SAMLResponse|RelayState)" value="([^"]*)"`)

// answer is what the provider's page would post for a browser that was sent to it.
func (p *assertingParty) answer(to *url.URL) (document, relay string) {
	w := httptest.NewRecorder()
	p.idp.ServeSSO(w, httptest.NewRequest(http.MethodGet, to.String(), nil))
	require.Equal(p.t, http.StatusOK, w.Code, w.Body.String())
	for _, m := range formValue.FindAllStringSubmatch(w.Body.String(), -1) {
		value := strings.ReplaceAll(m[2], "&#43;", "+")
		if m[1] == "RelayState" {
			relay = value
			continue
		}
		text, err := base64.StdEncoding.DecodeString(value)
		require.NoError(p.t, err)
		document = string(text)
	}
	return document, relay
}

// post brings an answer back, as another site's form does: without cookies.
func (b *browser) post(document, relay string) *url.URL {
	b.t.Helper()
	form := url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(document))}, "RelayState": {relay}}
	bare := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := bare.PostForm(b.url+federation.Base+"/corp/callback", form)
	require.NoError(b.t, err)
	require.NoError(b.t, res.Body.Close())
	to, err := res.Location()
	require.NoError(b.t, err)
	if strings.HasSuffix(to.Path, "/arrived") {
		return b.visit(to.String())
	}
	return to
}

func (b *browser) startSAML() *url.URL {
	b.t.Helper()
	return b.visit(b.url + federation.Base + "/corp/start?redirectTo=%2Fd%2Fx")
}

func TestSAMLSignIn(t *testing.T) {
	s := open(t)
	p := newAssertingParty(t, s)
	g, err := s.dir.CreateGroup(t.Context(), "test", directory.Group{StoreID: s.store.ID, DisplayName: "SRE"})
	require.NoError(t, err)
	b := s.browser()
	document, relay := p.answer(b.startSAML())
	require.Equal(t, base+"/d/x", b.post(document, relay).String(), "%s", s.logs)
	me := b.must(200, "GET", "/me", "")
	require.Equal(t, "ann", me["login"])
	require.Equal(t, false, me["emailVerified"], "SAML says nothing about that")
	in, err := s.dir.GroupsOf(t.Context(), me["id"].(string))
	require.NoError(t, err)
	require.Equal(t, []string{g.ID}, in)

	// The same answer again, here or elsewhere (replay).
	late := s.browser()
	late.refused(late.post(document, relay), "Try again")
	// With the state of another sign-in.
	_, other := p.answer(late.startSAML())
	late.refused(late.post(document, other), "was not accepted")
	// In the browser of somebody else (login CSRF).
	victim := s.browser()
	document, relay = p.answer(late.startSAML())
	victim.refused(victim.post(document, relay), "Try again")
	// That nobody asked for.
	victim.refused(victim.post(document, ""), "Try again")

	end, err := s.outside.EndURL(t.Context(), "corp", "id-ann")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(end, "https://idp.example/slo?SAMLRequest="), end)
	require.Equal(t, "/login", b.visit(s.url+federation.Base+"/corp/signed-out").Path)
}

// SAML has no word about addresses being verified: nobody is linked by one.
func TestSAMLLinksNobody(t *testing.T) {
	s := open(t)
	p := newAssertingParty(t, s)
	u := s.person("ann", false)
	_, err := s.dir.UpdateUser(t.Context(), "test", s.store.ID, u.ID, directory.UserUpdate{EmailVerified: true})
	require.NoError(t, err)
	b := s.browser()
	document, relay := p.answer(b.startSAML())
	b.refused(b.post(document, relay), "not linked")
}

// Assertions, signed as they should be, that say what must not be accepted.
func TestSAMLRefused(t *testing.T) {
	for name, lie := range map[string]func(*saml.Assertion){
		"over": func(a *saml.Assertion) {
			a.Conditions.NotOnOrAfter = time.Now().Add(-4 * time.Minute)
			a.Subject.SubjectConfirmations[0].SubjectConfirmationData.NotOnOrAfter = time.Now().Add(-4 * time.Minute)
		},
		"not yet good":        func(a *saml.Assertion) { a.Conditions.NotBefore = time.Now().Add(4 * time.Minute) },
		"for another program": func(a *saml.Assertion) { a.Conditions.AudienceRestrictions[0].Audience.Value = "https://other.example" },
		"for another address": func(a *saml.Assertion) {
			a.Subject.SubjectConfirmations[0].SubjectConfirmationData.Recipient = "https://evil.test/acs"
		},
		"for another request": func(a *saml.Assertion) {
			a.Subject.SubjectConfirmations[0].SubjectConfirmationData.InResponseTo = "id-other"
		},
		"for whomever":        func(a *saml.Assertion) { a.Conditions.AudienceRestrictions = nil },
		"brought by whomever": func(a *saml.Assertion) { a.Subject.SubjectConfirmations = nil },
		"by another provider": func(a *saml.Assertion) { a.Issuer.Value = "https://evil.test" },
		"of a transient name": func(a *saml.Assertion) { a.Subject.NameID.Format = string(saml.TransientNameIDFormat) },
		"of nobody":           func(a *saml.Assertion) { a.Subject.NameID.Value = "" },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			p := newAssertingParty(t, s)
			p.change = lie
			b := s.browser()
			document, relay := p.answer(b.startSAML())
			b.refused(b.post(document, relay), "was not accepted")
		})
	}
	t.Run("clocks that differ by two minutes", func(t *testing.T) {
		s := open(t)
		p := newAssertingParty(t, s)
		p.change = func(a *saml.Assertion) { a.Conditions.NotBefore = time.Now().Add(2 * time.Minute) }
		b := s.browser()
		document, relay := p.answer(b.startSAML())
		b.post(document, relay)
		b.must(200, "GET", "/me", "")
	})
}

// forged is an assertion of one's own, with the id of the signed one or another.
func forged(signed *etree.Element, id string) *etree.Element {
	evil := signed.Copy()
	if sig := evil.FindElement("./Signature"); sig != nil {
		evil.RemoveChild(sig)
	}
	evil.CreateAttr("ID", id)
	evil.FindElement("./Subject/NameID").SetText("id-boss")
	return evil
}

// Signatures that are good, of something else than what would be read
// (XML signature wrapping), and none.
func TestSAMLWrapping(t *testing.T) {
	for name, attack := range map[string]func(response, assertion *etree.Element){
		"no signatures": func(response, assertion *etree.Element) {
			for _, e := range []*etree.Element{response, assertion} {
				e.RemoveChild(e.FindElement("./Signature"))
			}
			assertion.FindElement("./Subject/NameID").SetText("id-boss")
		},
		"a changed name": func(_, assertion *etree.Element) { assertion.FindElement("./Subject/NameID").SetText("id-boss") },
		"a changed name, the response's signature gone": func(response, assertion *etree.Element) {
			response.RemoveChild(response.FindElement("./Signature"))
			assertion.FindElement("./Subject/NameID").SetText("id-boss")
		},
		"a forged assertion before the signed one": func(response, assertion *etree.Element) {
			response.RemoveChild(response.FindElement("./Signature"))
			response.InsertChildAt(assertion.Index(), forged(assertion, "id-evil"))
		},
		"a forged assertion behind the signed one": func(response, assertion *etree.Element) {
			response.RemoveChild(response.FindElement("./Signature"))
			response.AddChild(forged(assertion, "id-evil"))
		},
		"a forged assertion around the signed one": func(response, assertion *etree.Element) {
			response.RemoveChild(response.FindElement("./Signature"))
			evil := forged(assertion, "id-evil")
			response.RemoveChild(assertion)
			evil.AddChild(assertion)
			response.AddChild(evil)
		},
		"the signed assertion inside the forged one's signature": func(response, assertion *etree.Element) {
			response.RemoveChild(response.FindElement("./Signature"))
			evil := forged(assertion, "id-evil")
			response.RemoveChild(assertion)
			sig := assertion.FindElement("./Signature").Copy()
			object := sig.CreateElement("Object")
			object.AddChild(assertion)
			evil.AddChild(sig)
			response.AddChild(evil)
		},
		"the same id twice": func(response, assertion *etree.Element) {
			response.RemoveChild(response.FindElement("./Signature"))
			response.InsertChildAt(assertion.Index(), forged(assertion, assertion.SelectAttrValue("ID", "")))
		},
		"the signed response inside a forged one": func(response, assertion *etree.Element) {
			whole := response.Copy()
			response.CreateAttr("ID", "id-evil")
			evil := forged(assertion, "id-evil-assertion")
			response.RemoveChild(assertion)
			response.AddChild(evil)
			ext := response.CreateElement("samlp:Extensions")
			ext.AddChild(whole)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			p := newAssertingParty(t, s)
			b := s.browser()
			document, relay := p.answer(b.startSAML())
			doc := etree.NewDocument()
			require.NoError(t, doc.ReadFromString(document))
			response := doc.Root()
			assertion := response.FindElement("./Assertion")
			require.NotNil(t, assertion)
			attack(response, assertion)
			changed, err := doc.WriteToString()
			require.NoError(t, err)
			require.NotEqual(t, document, changed)
			to := b.post(changed, relay)
			// Where the signed part is found all the same, it is what counts.
			if to.Path == "/login" {
				b.refused(to, "was not accepted")
				return
			}
			require.Equal(t, "ann", b.must(200, "GET", "/me", "")["login"])
			u, err := s.dir.UserByName(t.Context(), s.store.ID, "ann")
			require.NoError(t, err)
			require.Equal(t, "id-ann", u.ExternalIDs[0].ID)
		})
	}
	// A comment inside a name is no end of it.
	t.Run("a comment in the name", func(t *testing.T) {
		s := open(t)
		p := newAssertingParty(t, s)
		p.session.NameID = "id-boss.evil"
		b := s.browser()
		document, relay := p.answer(b.startSAML())
		b.post(strings.Replace(document, "id-boss.evil", "id-boss<!-- -->.evil", 1), relay)
		_, err := s.dir.UserByExternalID(t.Context(), s.store.ID, directory.ExternalID{Issuer: "https://idp.example/metadata", ID: "id-boss"})
		require.True(t, directory.IsNotFound(err))
	})
}

func TestSAMLMetadataOfProviders(t *testing.T) {
	s := open(t)
	for _, bad := range []string{"<x/>", "no xml", `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="x"></EntityDescriptor>`} {
		err := s.outside.Put(t.Context(), &federation.Provider{ID: "corp", Kind: federation.SAML, Name: "Corp", Settings: federation.Settings{Metadata: bad}})
		require.ErrorContains(t, err, "settings.metadata")
	}
}

// Metadata that are elsewhere may change, but not whose people a provider names:
// each could name those of the others else.
func TestSAMLProviderKeepsItsName(t *testing.T) {
	s, o := open(t), newOpponent(t)
	p := newAssertingParty(t, s)
	require.NoError(t, s.outside.Put(t.Context(), &federation.Provider{ID: "openid", Kind: federation.OIDC, Name: "OpenID", Settings: federation.Settings{Issuer: o.url, ClientID: "c"}}))
	var served atomic.Pointer[string]
	remote := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, *served.Load()) }))
	t.Cleanup(remote.Close)
	serve := func(entity string) {
		d := p.idp.Metadata()
		d.EntityID = entity
		text, err := xml.Marshal(d)
		require.NoError(t, err)
		served.Store(new(string))
		*served.Load() = string(text)
	}
	put := func() error {
		return s.outside.Put(t.Context(), &federation.Provider{ID: "second", Kind: federation.SAML, Name: "Second", Enabled: true,
			Settings: federation.Settings{MetadataURL: remote.URL, EntityID: "https://idp.example/metadata", CreateAccounts: true}})
	}
	begin := func() error {
		_, err := s.outside.Begin(t.Context(), "second", "state", new(federation.Pending))
		return err
	}
	serve("https://idp.example/metadata")
	require.ErrorContains(t, put(), "corp is")
	serve(o.url)
	require.ErrorContains(t, put(), "openid is")
	serve("https://second.example")
	require.NoError(t, put())
	require.NoError(t, put(), "it may be saved again")
	require.NoError(t, begin())
	serve("https://idp.example/metadata")
	require.ErrorContains(t, begin(), "save the provider again")
	err := s.outside.Put(t.Context(), &federation.Provider{ID: "third", Kind: federation.OIDC, Name: "Third", Settings: federation.Settings{Issuer: "https://second.example", ClientID: "c"}})
	require.ErrorContains(t, err, "second is")
	remote.Close()
	require.ErrorContains(t, put(), "settings.metadataUrl")
}

func TestSAMLMetadataOfThisSide(t *testing.T) {
	s := open(t)
	for path, want := range map[string]int{"/new/metadata": http.StatusOK, "/No!/metadata": http.StatusNotFound} {
		res, err := http.Get(s.url + federation.Base + path)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, want, res.StatusCode, path)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+federation.Base+"/new/metadata", nil)
	require.NoError(t, err)
	req.Host = "evil.test"
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusMisdirectedRequest, res.StatusCode)
}
