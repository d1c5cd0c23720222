package portal

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/mail"
	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/people/federation"
	"github.com/mangru/mangru/internal/people/signin"
)

const (
	good   = "Kx7#vorhang-blau"
	better = "Qz4!teller-gruen"
	base   = "https://mangru.example"
)

type outbox struct {
	mu    sync.Mutex
	mails []mail.Message
}

func (o *outbox) Send(m mail.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mails = append(o.mails, m)
	return nil
}

func (o *outbox) UsesOutbox() bool { return true }

func (o *outbox) last(t *testing.T) mail.Message {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	require.NotEmpty(t, o.mails)
	return o.mails[len(o.mails)-1]
}

type site struct {
	records *bun.DB
	t       *testing.T
	url     string
	dir     *directory.Directory
	signIn  *signin.Service
	store   directory.Store
	mails   *outbox
	logs    *bytes.Buffer
	spaces  *workspaces.Service
	outside *federation.Service
	estate  pretendedEstate
	left    []string
}

// pretendedEstate is an Estate with one user, who has no key yet.
type pretendedEstate struct {
	Estate
	deeds []string
}

func (*pretendedEstate) Metrics(context.Context) ([]MetricsWorkspace, error) { return nil, nil }
func (*pretendedEstate) CreateMetrics(context.Context, string) error         { return nil }
func (*pretendedEstate) RenameMetrics(_ context.Context, _, _ string) error  { return nil }
func (*pretendedEstate) DeleteMetrics(context.Context, string) error {
	return Refused(404, "no such workspace")
}
func (*pretendedEstate) Users(context.Context) ([]AccessUser, error)            { return nil, nil }
func (*pretendedEstate) CreateUser(context.Context, string) error               { return nil }
func (*pretendedEstate) SetKey(context.Context, string, string, bool) error     { return nil }
func (*pretendedEstate) DeleteKey(_ context.Context, _, _ string) error         { return nil }
func (*pretendedEstate) Roles(context.Context) ([]AccessRole, error)            { return nil, nil }
func (*pretendedEstate) Policies(context.Context) ([]AccessPolicy, error)       { return nil, nil }
func (*pretendedEstate) PolicyDocument(context.Context, string) (string, error) { return "{}", nil }
func (*pretendedEstate) Clusters(context.Context) ([]Cluster, error)            { return nil, nil }
func (*pretendedEstate) CreateKey(context.Context, string) (string, string, error) {
	return "AKIAX", "s3cret-of-key", nil
}
func (*pretendedEstate) Audit(context.Context, string, int) ([]json.RawMessage, error) {
	return nil, nil
}
func (e *pretendedEstate) Note(_ context.Context, d Deed) {
	text := d.Action + " " + d.Resource
	if d.Err != nil {
		text += ": " + d.Err.Error()
	}
	e.deeds = append(e.deeds, text)
}

// browser has a cookie jar of its own.
type browser struct {
	*site
	client *http.Client
	csrf   string
}

func open(t *testing.T) *site {
	t.Helper()
	records, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, records.Close()) })
	s := &site{records: records, t: t, mails: &outbox{}, logs: &bytes.Buffer{}}
	s.dir = directory.New(directory.Config{}, records)
	s.store, err = s.dir.Store(t.Context(), "000000000000")
	require.NoError(t, err)
	s.signIn, err = signin.New(signin.Config{Key: make([]byte, 32)}, records, s.dir)
	require.NoError(t, err)
	s.spaces, err = workspaces.New(workspaces.Config{Region: "us-east-1", Directory: s.dir, Purge: func(context.Context, string) error { return nil }}, records)
	require.NoError(t, err)
	reassign := func(_ context.Context, person string, heir *caller.Member) error {
		s.left = append(s.left, person)
		if heir != nil {
			s.left = append(s.left, heir.Person)
		}
		return nil
	}
	log := slog.New(slog.NewTextHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	baseURL := func() string { return base }
	s.outside = federation.New(federation.Config{Directory: s.dir, Store: s.store, Seal: s.signIn, BaseURL: baseURL}, records, log)
	cfg := Config{Workspaces: s.spaces, Reassign: reassign, Directory: s.dir, SignIn: s.signIn, Federation: s.outside, Estate: &s.estate, Store: s.store, Mail: s.mails, BaseURL: baseURL}
	mux := http.NewServeMux()
	mux.Handle(federation.Base+"/", Outside(cfg, log))
	mux.Handle("/", New(cfg, log))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *site) person(name string, administrator bool) directory.User {
	s.t.Helper()
	u := directory.User{StoreID: s.store.ID, UserName: name, Administrator: administrator}
	u.Profile.SetEmail(name + "@example.com")
	u, err := s.dir.CreateUser(s.t.Context(), "test", u)
	require.NoError(s.t, err)
	return u
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(s.t, err)
	return &browser{site: s, client: &http.Client{Jar: jar}}
}

func (b *browser) do(method, path, body string, header ...string) (int, map[string]any) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+Base+path, strings.NewReader(body))
	require.NoError(b.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(csrfHeader, b.csrf)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := b.client.Do(req)
	require.NoError(b.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	var out map[string]any
	_ = json.Unmarshal(text, &out) // lists are not looked at here
	return res.StatusCode, out
}

func (b *browser) must(want int, method, path, body string) map[string]any {
	b.t.Helper()
	code, out := b.do(method, path, body)
	require.Equal(b.t, want, code, "%s %s: %v", method, path, out)
	return out
}

func token(t *testing.T, link, page string) string {
	t.Helper()
	rest, ok := strings.CutPrefix(link, base+page+"#token=")
	require.True(t, ok, link)
	return rest
}

// signedIn returns a browser in which u set a password by an invitation.
func (s *site) signedIn(u directory.User) *browser {
	s.t.Helper()
	link, _, err := s.signIn.Invitation(s.t.Context(), &u)
	require.NoError(s.t, err)
	b := s.browser()
	require.Equal(s.t, "done", b.must(200, "POST", "/accept", `{"token":"`+link+`","password":"`+good+`"}`)["next"])
	b.csrf = b.must(200, "GET", "/me", "")["csrfToken"].(string)
	return b
}

// The way of a new colleague, from the administrator's button to their profile.
func TestInviteAcceptVerifySignIn(t *testing.T) {
	s := open(t)
	admin := s.signedIn(s.person("boss", true))
	u := admin.must(200, "POST", "/users", `{"login":"ann","email":"ann@example.com","givenName":"Ann","familyName":"Lee","language":"ko"}`)
	id := u["id"].(string)
	sent := admin.must(200, "POST", "/users/"+id+"/invitation", "{}")
	require.Equal(t, s.mails.last(t).Link, sent["link"], "without a mail server the administrator hands the link on")
	require.Equal(t, "ko", s.mails.last(t).Language)
	link := token(t, sent["link"].(string), "/accept")
	ann := s.browser()
	require.Equal(t, "ann", ann.must(200, "POST", "/invited", `{"token":"`+link+`"}`)["login"])
	require.Equal(t, "password.common", ann.must(400, "POST", "/accept", `{"token":"`+link+`","password":"Password1!"}`)["errorType"])
	require.Equal(t, "done", ann.must(200, "POST", "/accept", `{"token":"`+link+`","password":"`+good+`"}`)["next"])
	require.Equal(t, "link", ann.must(410, "POST", "/accept", `{"token":"`+link+`","password":"`+better+`"}`)["errorType"])
	me := ann.must(200, "GET", "/me", "")
	require.Equal(t, true, me["emailVerified"])
	admin.must(200, "POST", "/users/"+id+"/verification", "{}")
	verify := token(t, s.mails.last(t).Link, "/verify")
	require.Equal(t, "ann@example.com", s.browser().must(200, "POST", "/verify", `{"token":"`+verify+`"}`)["email"])
	s.browser().must(410, "POST", "/verify", `{"token":"`+verify+`"}`)

	other := s.browser()
	other.must(403, "POST", "/signin", `{"name":"ann","password":"wrong"}`)
	require.Equal(t, "done", other.must(200, "POST", "/signin", `{"name":"ann","password":"`+good+`"}`)["next"])
	// Nothing that proves anything is in the log.
	for _, secret := range []string{good, better, link, verify, me["csrfToken"].(string)} {
		require.NotContains(t, s.logs.String(), secret)
	}
	require.Contains(t, s.logs.String(), "signed in")
}

// enrol sets up an authenticator and returns the recovery codes.
func (b *browser) enrol() []string {
	b.t.Helper()
	e := b.must(200, "POST", "/me/factors", `{"name":"phone"}`)
	code, err := totp.GenerateCode(e["secret"].(string), time.Now())
	require.NoError(b.t, err)
	var out []string
	for _, c := range b.must(200, "POST", "/me/factors/"+e["id"].(string), `{"code":"`+code+`"}`)["recoveryCodes"].([]any) {
		out = append(out, c.(string))
	}
	return out
}

// session is the secret in the browser's cookie.
func (b *browser) session() string {
	at, err := url.Parse(b.url)
	require.NoError(b.t, err)
	for _, c := range b.client.Jar.Cookies(at) {
		if c.Name == SessionCookie {
			return c.Value
		}
	}
	return ""
}

func TestSecondFactorAndSessions(t *testing.T) {
	s := open(t)
	ann := s.signedIn(s.person("ann", false))
	recovery := ann.enrol()
	require.Equal(t, mail.Changed, s.mails.last(t).Kind)
	b := s.browser()
	step := b.must(200, "POST", "/signin", `{"name":"ann","password":"`+good+`"}`)
	require.Equal(t, "factor", step["next"])
	b.must(401, "GET", "/me", "")
	b.must(403, "POST", "/factor", `{"token":"`+step["token"].(string)+`","code":"000000"}`)
	require.Equal(t, "done", b.must(200, "POST", "/factor", `{"token":"`+step["token"].(string)+`","code":"`+recovery[0]+`"}`)["next"])
	b.csrf = b.must(200, "GET", "/me", "")["csrfToken"].(string)
	b.must(200, "DELETE", "/me/sessions", "")
	ann.must(401, "GET", "/me", "")
	b.must(200, "POST", "/me/password", `{"present":"`+good+`","new":"`+better+`"}`)
	b.must(200, "GET", "/me", "")
}

// A session is never one that the browser brought (fixation).
func TestSessionIsAlwaysNew(t *testing.T) {
	s := open(t)
	ann := s.signedIn(s.person("ann", false))
	at, err := url.Parse(s.url)
	require.NoError(t, err)
	secret := (*browser).session
	old := secret(ann)
	ann.must(200, "POST", "/signin", `{"name":"ann","password":"`+good+`"}`)
	require.NotEqual(t, old, secret(ann))
	_, err = s.signIn.Session(t.Context(), old)
	require.ErrorIs(t, err, signin.ErrNotSignedIn)
	planted := s.browser()
	planted.client.Jar.SetCookies(at, []*http.Cookie{{Name: SessionCookie, Value: "planted", Path: "/"}})
	planted.must(200, "POST", "/signin", `{"name":"ann","password":"`+good+`"}`)
	require.NotEqual(t, "planted", secret(planted))
}

func TestOtherPagesCannotAct(t *testing.T) {
	s := open(t)
	ann := s.signedIn(s.person("ann", false))
	for _, h := range [][]string{{csrfHeader, ""}, {csrfHeader, "wrong"}, {"Origin", "https://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}} {
		code, _ := ann.do("PUT", "/me", `{"displayName":"x"}`, h...)
		require.Equal(t, 403, code, h)
	}
	code, _ := ann.do("POST", "/signin", `{"name":"ann","password":"`+good+`"}`, "Origin", "https://evil.example")
	require.Equal(t, 403, code, "signing somebody in as somebody else")
	code, _ = ann.do("POST", "/signin", `{"name":"ann","password":"`+good+`"}`, "Content-Type", "text/plain")
	require.Equal(t, 415, code)
	code, _ = ann.do("GET", "/me", "", "Host", "evil.example")
	require.Equal(t, 421, code)
}

// The same answer for addresses that there are and that there are not, and
// links that begin with our own address whatever the request's host says.
func TestForgotTellsNothing(t *testing.T) {
	s := open(t)
	s.signedIn(s.person("ann", false))
	s.person("new", false) // not verified
	b := s.browser()
	before := len(s.mails.mails)
	for _, addr := range []string{"nobody@example.com", "new@example.com", "ann@example.com", "not an address"} {
		code, out := b.do("POST", "/forgot", `{"email":"`+addr+`"}`, "X-Forwarded-Host", "evil.example", "Forwarded", "host=evil.example")
		require.Equal(t, 200, code)
		require.Empty(t, out)
	}
	require.Len(t, s.mails.mails, before+1)
	require.True(t, strings.HasPrefix(s.mails.last(t).Link, base+"/accept#token="))
	for i := range 6 {
		known, _ := b.do("POST", "/forgot", `{"email":"ann@example.com"}`)
		unknown, _ := b.do("POST", "/forgot", `{"email":"nobody@example.com"}`)
		require.Equal(t, known, unknown, i)
	}
}

// Every route with nobody, a person and an administrator, against what its rule
// says. A route that is added shows up here by itself.
func TestEveryRouteWithEveryRole(t *testing.T) {
	s := open(t)
	nobody, ann, admin := s.browser(), s.signedIn(s.person("ann", false)), s.signedIn(s.person("boss", true))
	open := map[string]bool{"POST /signin": true, "POST /factor": true, "POST /forgot": true, "POST /invited": true, "POST /accept": true, "POST /verify": true,
		"POST /signin/passkey/begin": true, "POST /signin/passkey": true, "POST /factor/passkey/begin": true, "POST /factor/passkey": true, "GET /outside": true}
	for _, r := range allRoutes() {
		method, path, _ := strings.Cut(r.pattern, " ")
		require.Equal(t, open[r.pattern], r.access == anyone, r.pattern)
		own := r.access == anyone || strings.HasPrefix(path, "/me")
		require.Equal(t, own, r.access != administrators, r.pattern)
		path = strings.NewReplacer("{id}", "x", "{name}", "x").Replace(path)
		code, _ := nobody.do(method, path, "{}")
		if r.access == anyone {
			require.NotEqual(t, 401, code, r.pattern)
			continue
		}
		require.Equal(t, 401, code, r.pattern)
		code, out := ann.do(method, path, "{}")
		if r.access == administrators {
			require.Equal(t, 403, code, r.pattern)
			require.Equal(t, "only administrators may do this", out["message"])
			code, out = admin.do(method, path, "{}")
		}
		require.NotContains(t, []int{401, 500}, code, "%s: %v", r.pattern, out)
		require.NotEqual(t, "only administrators may do this", out["message"], r.pattern)
	}
}

func TestAdministratorLosesRightsAtOnce(t *testing.T) {
	s := open(t)
	boss := s.person("boss", true)
	admin := s.signedIn(boss)
	require.Equal(t, "field", admin.must(400, "PATCH", "/users/"+boss.ID, `{"administrator":false}`)["errorType"], "the last one stays")
	second := s.person("second", true)
	admin.must(200, "PATCH", "/users/"+second.ID, `{"administrator":true}`)
	admin.must(200, "PATCH", "/users/"+boss.ID, `{"administrator":false}`)
	admin.must(403, "GET", "/users", "")
	admin.must(200, "GET", "/me", "")
}

func TestSignInIsRateLimited(t *testing.T) {
	s := open(t)
	s.signedIn(s.person("ann", false))
	b := s.browser()
	var code int
	for range 21 {
		code, _ = b.do("POST", "/signin", `{"name":"ann","password":"Wrong1!x"}`)
	}
	require.Equal(t, 429, code)
}

// What administrators do besides people is written down; keys and deletions need
// a fresh proof.
func TestEstateDeeds(t *testing.T) {
	s := open(t)
	admin := s.signedIn(s.person("boss", true))
	require.Equal(t, "s3cret-of-key", admin.must(200, "POST", "/admin/users/ci/keys", "{}")["secret"])
	admin.must(404, "DELETE", "/admin/metrics/ws-1", "")
	require.Equal(t, []string{"iam:CreateAccessKey ci", "aps:DeleteWorkspace ws-1: no such workspace"}, s.estate.deeds)
	require.NotContains(t, s.logs.String(), "s3cret-of-key")
	admin.must(400, "GET", "/admin/audit?limit=0", "")
	_, err := s.records.ExecContext(t.Context(), "UPDATE person_sessions SET proved_at = proved_at - ?", (11 * time.Minute).Milliseconds())
	require.NoError(t, err)
	for _, r := range [][2]string{{"POST", "/admin/users/ci/keys"}, {"DELETE", "/admin/users/ci/keys/AKIAX"}, {"DELETE", "/admin/metrics/ws-1"}, {"PUT", "/providers/corp"}, {"DELETE", "/providers/corp"}} {
		require.Equal(t, "stepup", admin.must(403, r[0], r[1], "{}")["errorType"], r)
	}
}
