package portal

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/people/federation"
	"github.com/mangru/mangru/internal/people/signin"
)

// testKey is made once: making one takes long.
var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// opponent is an OpenID provider that tests make lie.
type opponent struct {
	t      *testing.T
	url    string
	key    *rsa.PrivateKey
	kid    string
	claims map[string]any // of the next ID token, over the right ones
	info   map[string]any // of userinfo
	sign   func(claims map[string]any) string
	// asked is what the browser brought to it.
	asked url.Values
	used  bool
}

func newOpponent(t *testing.T) *opponent {
	key := testKey()
	o := &opponent{t: t, key: key, kid: "k1", claims: map[string]any{}}
	o.sign = func(claims map[string]any) string { return o.jwt(jose.RS256, o.key, claims) }
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": o.url, "authorization_endpoint": o.url + "/authorize", "token_endpoint": o.url + "/token", "jwks_uri": o.url + "/keys",
			"userinfo_endpoint": o.url + "/userinfo", "end_session_endpoint": o.url + "/logout"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &o.key.PublicKey, KeyID: o.kid, Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", o.token)
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.info) })
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	o.url = srv.URL
	return o
}

func (o *opponent) jwt(alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: o.kid}}, nil)
	require.NoError(o.t, err)
	text, err := json.Marshal(claims)
	require.NoError(o.t, err)
	made, err := signer.Sign(text)
	require.NoError(o.t, err)
	out, err := made.CompactSerialize()
	require.NoError(o.t, err)
	return out
}

// token is the token endpoint: client, code once, PKCE, redirect.
func (o *opponent) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	id, secret, _ := r.BasicAuth()
	sum := sha256.Sum256([]byte(r.Form.Get("code_verifier")))
	if id != "mangru" || secret != "s3cret-of-client" || r.Form.Get("code") != "the-code" || o.used ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != o.asked.Get("code_challenge") || r.Form.Get("redirect_uri") != o.asked.Get("redirect_uri") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	o.used = true
	now := time.Now()
	claims := map[string]any{"iss": o.url, "aud": "mangru", "sub": "sub-ann", "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix(), "nonce": o.asked.Get("nonce"),
		"preferred_username": "ann", "email": "ann@example.com", "email_verified": true, "name": "Ann Lee"}
	maps.Copy(claims, o.claims)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": o.sign(claims)})
}

// provider sets up the opponent at the site, as Keycloak-like claims want it.
func (s *site) provider(o *opponent, change func(*federation.Settings)) {
	s.t.Helper()
	set := federation.Settings{Issuer: o.url, ClientID: "mangru", CreateAccounts: true, Groups: map[string]string{"/ops": "SRE"}}
	if change != nil {
		change(&set)
	}
	require.NoError(s.t, s.outside.Put(s.t.Context(), &federation.Provider{ID: "corp", Kind: federation.OIDC, Name: "Corp", Enabled: true, Settings: set, Secret: "s3cret-of-client"}))
}

// visit opens an address as a browser does, without following.
func (b *browser) visit(address string) *url.URL {
	b.t.Helper()
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, strings.Replace(address, base, b.url, 1), nil)
	require.NoError(b.t, err)
	res, err := b.client.Do(req)
	require.NoError(b.t, err)
	require.NoError(b.t, res.Body.Close())
	require.Equal(b.t, http.StatusSeeOther, res.StatusCode, address)
	to, err := url.Parse(res.Header.Get("Location"))
	require.NoError(b.t, err)
	return to
}

// start goes to the provider's door.
func (b *browser) start(o *opponent) {
	b.t.Helper()
	to := b.visit(b.url + federation.Base + "/corp/start?redirectTo=%2Fd%2Fx")
	require.Equal(b.t, o.url+"/authorize", to.Scheme+"://"+to.Host+to.Path)
	o.asked, o.used = to.Query(), false
}

func (o *opponent) back() string {
	return federation.Base + "/corp/callback?code=the-code&state=" + url.QueryEscape(o.asked.Get("state"))
}

// come goes the whole way and returns the last address.
func (b *browser) come(o *opponent) *url.URL {
	b.t.Helper()
	b.start(o)
	to := b.visit(b.url + o.back())
	if strings.HasSuffix(to.Path, "/arrived") {
		to = b.visit(b.url + to.String())
	}
	return to
}

func (b *browser) refused(to *url.URL, part string) {
	b.t.Helper()
	require.Equal(b.t, "/login", to.Path)
	problem, err := url.QueryUnescape(strings.TrimPrefix(to.EscapedFragment(), "problem="))
	require.NoError(b.t, err)
	require.Contains(b.t, problem, part, "%s", b.logs)
	b.must(401, "GET", "/me", "")
}

func TestOpenIDSignIn(t *testing.T) {
	s, o := open(t), newOpponent(t)
	s.provider(o, nil)
	g, err := s.dir.CreateGroup(t.Context(), "test", directory.Group{StoreID: s.store.ID, DisplayName: "SRE"})
	require.NoError(t, err)
	o.info = map[string]any{"sub": "sub-ann", "groups": []string{"/ops", "/others"}}
	b := s.browser()
	to := b.come(o)
	require.Equal(t, base+"/d/x", to.String(), "the page that was wanted")
	require.Equal(t, "S256", o.asked.Get("code_challenge_method"))
	require.Equal(t, base+federation.Base+"/corp/callback", o.asked.Get("redirect_uri"))
	me := b.must(200, "GET", "/me", "")
	require.Equal(t, "ann", me["login"])
	require.Equal(t, true, me["emailVerified"])
	id := me["id"].(string)
	in, err := s.dir.GroupsOf(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, []string{g.ID}, in)
	// Again, with another name and address: the same account, by what does not
	// change; and out of the group.
	o.claims = map[string]any{"preferred_username": "ann2", "email": "ann2@example.com"}
	o.info = map[string]any{"sub": "sub-ann", "groups": []string{"/others"}}
	again := s.browser()
	again.come(o)
	require.Equal(t, id, again.must(200, "GET", "/me", "")["id"])
	in, err = s.dir.GroupsOf(t.Context(), id)
	require.NoError(t, err)
	require.Empty(t, in)
	// Nothing that proves anything is in the log.
	for _, secret := range []string{"s3cret-of-client", o.asked.Get("state"), o.asked.Get("nonce")} {
		require.NotContains(t, s.logs.String(), secret)
	}
	// Where the session at the provider ends.
	end, err := s.outside.EndURL(t.Context(), "corp", "sub-ann")
	require.NoError(t, err)
	require.Contains(t, end, o.url+"/logout?client_id=mangru&post_logout_redirect_uri=")
	// A second factor that she has here is asked for.
	u, err := s.dir.User(t.Context(), s.store.ID, id)
	require.NoError(t, err)
	disabled := true
	_, err = s.dir.UpdateUser(t.Context(), "test", s.store.ID, u.ID, directory.UserUpdate{Disabled: &disabled})
	require.NoError(t, err)
	out := s.browser()
	out.refused(out.come(o), "disabled")
}

// Answers that must not sign anybody in.
func TestOpenIDRefused(t *testing.T) {
	hour := time.Now().Add(time.Hour).Unix()
	for name, lie := range map[string]func(o *opponent){
		"another nonce":                    func(o *opponent) { o.claims["nonce"] = "x" },
		"no nonce":                         func(o *opponent) { o.claims["nonce"] = "" },
		"for another client":               func(o *opponent) { o.claims["aud"] = "other" },
		"by another issuer":                func(o *opponent) { o.claims["iss"] = "https://evil.test" },
		"over, by more than clocks differ": func(o *opponent) { o.claims["exp"] = time.Now().Add(-5 * time.Minute).Unix() },
		"of the future":                    func(o *opponent) { o.claims["iat"] = hour },
		"no subject":                       func(o *opponent) { o.claims["sub"] = "" },
		"userinfo of somebody else":        func(o *opponent) { o.info = map[string]any{"sub": "sub-boss"} },
		"several audiences, azp of another": func(o *opponent) {
			o.claims["aud"], o.claims["azp"] = []string{"mangru", "other"}, "other"
		},
		"unsigned": func(o *opponent) {
			o.sign = func(c map[string]any) string {
				text, _ := json.Marshal(c)
				return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(text) + "."
			}
		},
		"signed with the public key as if it were a secret": func(o *opponent) {
			o.sign = func(c map[string]any) string {
				return o.jwt(jose.HS256, x509.MarshalPKCS1PublicKey(&o.key.PublicKey), c)
			}
		},
		"signed with the client's secret": func(o *opponent) {
			o.sign = func(c map[string]any) string {
				return o.jwt(jose.HS256, []byte("s3cret-of-client-and-then-some-more-bytes"), c)
			}
		},
		"signed with another key": func(o *opponent) {
			other, err := rsa.GenerateKey(rand.Reader, 2048)
			require.NoError(o.t, err)
			o.sign = func(c map[string]any) string { return o.jwt(jose.RS256, other, c) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, o := open(t), newOpponent(t)
			s.provider(o, nil)
			o.info = map[string]any{"sub": "sub-ann"}
			lie(o)
			b := s.browser()
			b.refused(b.come(o), "was not accepted")
			_, err := s.dir.UserByName(t.Context(), s.store.ID, "ann")
			require.True(t, directory.IsNotFound(err), "no account was made")
		})
	}
	t.Run("clocks that differ by half a minute", func(t *testing.T) {
		s, o := open(t), newOpponent(t)
		s.provider(o, nil)
		o.info = map[string]any{"sub": "sub-ann"}
		o.claims["iat"] = time.Now().Add(30 * time.Second).Unix()
		b := s.browser()
		b.come(o)
		b.must(200, "GET", "/me", "")
	})
}

// What else a browser may bring.
func TestOpenIDWaysBack(t *testing.T) {
	s, o := open(t), newOpponent(t)
	s.provider(o, nil)
	o.info = map[string]any{"sub": "sub-ann"}
	b := s.browser()
	b.start(o)
	// Mix-up: another provider says that it was.
	b.refused(b.visit(b.url+o.back()+"&iss=https%3A%2F%2Fevil.test"), "was not accepted")
	b.refused(b.visit(b.url+o.back()), "Try again") // and that used the state up
	b.start(o)
	require.NoError(t, s.outside.Put(t.Context(), &federation.Provider{ID: "other", Kind: federation.OIDC, Name: "Other", Enabled: true,
		Settings: federation.Settings{Issuer: o.url, ClientID: "mangru", CreateAccounts: true}, Secret: "s3cret-of-client"}))
	b.refused(b.visit(b.url+strings.Replace(o.back(), "/corp/", "/other/", 1)), "was not accepted")
	b.start(o)
	b.refused(b.visit(b.url+federation.Base+"/corp/callback?error=access_denied&state="+url.QueryEscape(o.asked.Get("state"))), "was not accepted")
	b.refused(b.visit(b.url+federation.Base+"/corp/callback?code=the-code&state=guessed"), "Try again")
	// Login CSRF: one's own answer, put into somebody else's browser.
	mallory, victim := s.browser(), s.browser()
	mallory.start(o)
	arrived := mallory.visit(b.url + o.back())
	victim.refused(victim.visit(b.url+arrived.String()), "Try again")
	mallory.refused(mallory.visit(b.url+arrived.String()), "Try again") // used up
	// The same answer a second time.
	b.start(o)
	first := o.back()
	b.visit(b.url + b.visit(b.url+first).String())
	b.must(200, "GET", "/me", "")
	late := s.browser()
	late.refused(late.visit(b.url+first), "Try again")
	// Open redirect.
	for _, to := range []string{"/" + strings.Repeat("x", 2000), "https://evil.test", "//evil.test", "/\\evil.test", "/login"} {
		require.Equal(t, "/", wanted(to), to)
	}
	require.Equal(t, "/d/x?y=1", wanted("/d/x?y=1"))
	// A provider that is switched off, or that there is not.
	require.NoError(t, s.outside.Put(t.Context(), &federation.Provider{ID: "corp", Kind: federation.OIDC, Name: "Corp", Settings: federation.Settings{Issuer: o.url, ClientID: "mangru"}}))
	off := s.browser()
	off.refused(off.visit(b.url+federation.Base+"/corp/start"), "no such identity provider")
}

// Whose account somebody who comes the first time gets.
func TestOutsideAccounts(t *testing.T) {
	verified := func(s *site, u directory.User) {
		_, err := s.dir.UpdateUser(s.t.Context(), "test", s.store.ID, u.ID, directory.UserUpdate{EmailVerified: true})
		require.NoError(s.t, err)
	}
	link := func(set *federation.Settings) { set.LinkByEmail = true }
	for name, c := range map[string]struct {
		settings func(*federation.Settings)
		before   func(*site) // who has the address here
		claims   map[string]any
		problem  string // empty: linked
	}{
		"linking is off":                       {nil, func(s *site) { verified(s, s.person("ann", false)) }, nil, "not linked"},
		"verified by both":                     {link, func(s *site) { verified(s, s.person("ann", false)) }, nil, ""},
		"not verified here":                    {link, func(s *site) { s.person("ann", false) }, nil, "not linked"},
		"not verified there":                   {link, func(s *site) { verified(s, s.person("ann", false)) }, map[string]any{"email_verified": false}, "not linked"},
		"said to be verified in another claim": {func(set *federation.Settings) { link(set); set.Claims.Email = "mail" }, func(s *site) { verified(s, s.person("ann", false)) }, map[string]any{"mail": "ann@example.com"}, "not linked"},
		"an administrator":                     {link, func(s *site) { verified(s, s.person("ann", true)) }, nil, "administrators"},
		"nobody, and no accounts are made":     {func(set *federation.Settings) { set.CreateAccounts = false }, func(*site) {}, nil, "no account"},
	} {
		t.Run(name, func(t *testing.T) {
			s, o := open(t), newOpponent(t)
			s.provider(o, c.settings)
			c.before(s)
			o.info = map[string]any{"sub": "sub-ann"}
			maps.Copy(o.claims, c.claims)
			b := s.browser()
			to := b.come(o)
			if c.problem != "" {
				b.refused(to, c.problem)
				return
			}
			u, err := s.dir.UserByName(t.Context(), s.store.ID, "ann")
			require.NoError(t, err)
			require.Equal(t, u.ID, b.must(200, "GET", "/me", "")["id"])
			// Somebody else of the provider who gets the address later.
			o.claims["sub"], o.info = "sub-other", map[string]any{"sub": "sub-other"}
			other := s.browser()
			other.refused(other.come(o), "somebody else")
		})
	}
	t.Run("a taken name", func(t *testing.T) {
		s, o := open(t), newOpponent(t)
		s.provider(o, nil)
		boss := s.person("boss", true)
		o.claims = map[string]any{"preferred_username": "boss", "email": "", "email_verified": true}
		o.info = map[string]any{"sub": "sub-ann"}
		b := s.browser()
		b.come(o)
		me := b.must(200, "GET", "/me", "")
		require.NotEqual(t, boss.ID, me["id"])
		require.Regexp(t, `^boss-[0-9a-f]{12}$`, me["login"])
		require.Equal(t, false, me["administrator"])
	})
}

// A second factor that somebody has here is asked for after a provider, too.
func TestOutsideThenSecondFactor(t *testing.T) {
	s, o := open(t), newOpponent(t)
	s.provider(o, nil)
	o.info = map[string]any{"sub": "sub-ann"}
	b := s.browser()
	b.come(o)
	b.csrf = b.must(200, "GET", "/me", "")["csrfToken"].(string)
	codes := b.enrol()
	next := s.browser()
	to := next.come(o)
	require.Equal(t, "/login", to.Path)
	factor, ok := strings.CutPrefix(to.Fragment, "factor=")
	require.True(t, ok, to.Fragment)
	next.must(401, "GET", "/me", "")
	require.Equal(t, "done", next.must(200, "POST", "/factor", `{"token":"`+factor+`","code":"`+codes[0]+`"}`)["next"])
	sess, err := s.signIn.Session(t.Context(), next.session())
	require.NoError(t, err)
	require.Equal(t, []string{"outside", "recovery"}, sess.Methods)
	require.Equal(t, &signin.Outside{Provider: "corp", Subject: "sub-ann"}, sess.Outside)
}

func TestProvidersByAdministrators(t *testing.T) {
	s := open(t)
	admin := s.signedIn(s.person("boss", true))
	body := `{"kind":"oidc","name":"Corp","enabled":true,"secret":"s3cret","settings":{"issuer":"ISSUER","clientId":"c","claims":{},"createAccounts":true,"linkByEmail":false}}`
	for _, bad := range []string{"http://id.example.com", "http://127.evil.test", "ftp://x", "https://user@x", ""} {
		require.Contains(t, admin.must(400, "PUT", "/providers/corp", strings.Replace(body, "ISSUER", bad, 1))["message"], "settings.issuer")
	}
	admin.must(400, "PUT", "/providers/Corp!", strings.Replace(body, "ISSUER", "https://id.example.com", 1))
	admin.must(200, "PUT", "/providers/corp", strings.Replace(body, "ISSUER", "https://id.example.com", 1))
	res, err := admin.client.Get(s.url + Base + "/providers")
	require.NoError(t, err)
	var list []map[string]any
	require.NoError(t, json.NewDecoder(res.Body).Decode(&list))
	require.NoError(t, res.Body.Close())
	require.Len(t, list, 1)
	require.Equal(t, true, list[0]["hasSecret"])
	require.NotContains(t, list[0], "secret")
	// The secret is kept for the issuer that it is of, and sent to no other.
	kept := strings.Replace(body, "s3cret", "", 1)
	admin.must(200, "PUT", "/providers/corp", strings.Replace(kept, "ISSUER", "https://id.example.com", 1))
	require.Contains(t, admin.must(400, "PUT", "/providers/corp", strings.Replace(kept, "ISSUER", "https://evil.test", 1))["message"], "secret")
	admin.must(200, "DELETE", "/providers/corp", "")
	admin.must(404, "DELETE", "/providers/corp", "")
	require.Contains(t, s.estate.deeds, "mangru:PutIdentityProvider corp")
	require.Contains(t, s.estate.deeds, "mangru:DeleteIdentityProvider corp")
}

// Every step of the way can be asked for by anybody, so each is counted.
func TestOutsideIsRateLimited(t *testing.T) {
	for _, step := range []string{"/nobody/start", "/nobody/callback?state=x", "/nobody/arrived?ticket=x"} {
		s := open(t)
		b := s.browser()
		for range 60 {
			require.NotContains(t, b.visit(b.url+federation.Base+step).Fragment, "too+many", step)
		}
		b.refused(b.visit(b.url+federation.Base+step), "too many tries")
	}
}
