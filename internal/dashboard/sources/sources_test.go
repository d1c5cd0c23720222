package sources

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/dashboard/records"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain has secrets that are not sealed.
type plain map[string]string

func (p plain) Secrets(*records.DataSource) (map[string]string, error) { return p, nil }

func open(t *testing.T, cfg Config, secrets plain) *Sources {
	t.Helper()
	s := New(cfg, secrets, slog.New(slog.DiscardHandler))
	t.Cleanup(s.Close)
	return s
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

func source(url string) *records.DataSource {
	return &records.DataSource{WorkspaceID: "w", ID: 1, Name: "src", Type: "prometheus", URL: url, JSONData: map[string]any{}}
}

func TestAddressesThatAreNoDataSource(t *testing.T) {
	for _, a := range []string{
		"169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "fe80::1", "fe80::a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
		"fd00:ec2::254", "fd00:ec2::23", "100.100.100.200", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "64:ff9b::100.100.100.200",
	} {
		require.Error(t, CheckAddress(netip.MustParseAddr(a)), a)
	}
	for _, a := range []string{"127.0.0.1", "10.1.2.3", "192.168.1.1", "8.8.8.8", "2600::1", "fd12::1"} {
		require.NoError(t, CheckAddress(netip.MustParseAddr(a)), a)
	}
}

// The address is looked at after the name was resolved, and whatever way it is
// written.
func TestMetadataIsOutOfReach(t *testing.T) {
	s := open(t, Config{Refuse: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, nil)
	for _, url := range []string{
		"http://169.254.169.254/latest", "http://[::ffff:a9fe:a9fe]/", "http://[fe80::1%25lo]/", "http://0.0.0.0:9009/", "http://127.0.0.1:1/", "http://localhost:1/",
	} {
		_, err := s.Check(t.Context(), source(url))
		require.ErrorContains(t, err, "may not be called from here", url)
		w := httptest.NewRecorder()
		s.Proxy(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?query=up", http.NoBody), source(url), "api/v1/query")
		require.Equal(t, http.StatusBadGateway, w.Code, url)
	}
}

func TestRedirectionsAreNotFollowed(t *testing.T) {
	inside := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"status":"success","secret":"inside"}`))
	})
	outside := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "mangru_session=stolen")
		http.Redirect(w, r, inside.URL, http.StatusTemporaryRedirect)
	})
	s := open(t, Config{}, nil)
	_, err := s.Check(t.Context(), source(outside.URL))
	require.ErrorContains(t, err, "redirection")
	w := httptest.NewRecorder()
	s.Proxy(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?query=up", http.NoBody), source(outside.URL), "api/v1/query")
	require.Equal(t, http.StatusBadGateway, w.Code)
	require.Empty(t, w.Header().Get("Location"))
	require.Empty(t, w.Header().Get("Set-Cookie"))
	require.NotContains(t, w.Body.String(), "inside")
}

// Only reading goes through, at the paths of the API, and nothing of the browser
// goes along.
func TestProxyLetsLittleThrough(t *testing.T) {
	var seen []string
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		require.Empty(t, r.Header.Get("Cookie"))
		require.Empty(t, r.Header.Get("X-Csrf-Token"))
		require.Equal(t, "Bearer of-the-source", r.Header.Get("Authorization"))
		seen = append(seen, r.Method+" "+r.URL.Path)
		_, _ = w.Write([]byte(`{"status":"success"}`))
	})
	s := open(t, Config{}, plain{"httpHeaderValue1": "Bearer of-the-source"})
	d := source(srv.URL + "/workspaces/ws")
	d.JSONData["httpHeaderName1"] = "Authorization"
	do := func(method, path string) int {
		r := httptest.NewRequestWithContext(t.Context(), method, "/", strings.NewReader("query=up"))
		r.Header.Set("Cookie", "mangru_session=mine")
		r.Header.Set("X-CSRF-Token", "mine")
		r.Header.Set("Authorization", "Bearer of-the-caller")
		w := httptest.NewRecorder()
		s.Proxy(w, r, d, path)
		return w.Code
	}
	require.Equal(t, 200, do("POST", "api/v1/query"))
	require.Equal(t, 200, do("GET", "api/v1/label/job/values"))
	for _, bad := range []string{
		"POST api/v1/remote_write", "POST api/v1/admin/tsdb/delete_series", "GET api/v1/../../admin", "GET api/v1/query/../../x", "GET ../x", "GET api/v1/%2e%2e/x",
		"GET api/v1/label/..%2f..%2fx/values", "PUT api/v1/query", "DELETE api/v1/series", "GET ", "GET //evil.example/api/v1/query", "POST api/v1/write", "GET metrics",
	} {
		method, path, _ := strings.Cut(bad, " ")
		require.Equal(t, 403, do(method, path), bad)
	}
	require.Equal(t, []string{"POST /workspaces/ws/api/v1/query", "GET /workspaces/ws/api/v1/label/job/values"}, seen)
}

// What a check says leads to what is wrong.
func TestCheckSaysWhatToDo(t *testing.T) {
	answer := func(status int, body string) string {
		return serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}).URL
	}
	tlsServer := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tlsServer.Close)
	late := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(403)
		_, _ = w.Write([]byte(`{"message":"Signature expired"}`))
	}).URL
	signed := func(url string) *records.DataSource {
		d := source(url)
		d.JSONData["sigV4Auth"], d.JSONData["sigV4AuthType"], d.JSONData["sigV4Region"] = true, "keys", "eu-west-1"
		return d
	}
	chain := signed(answer(200, "{}"))
	chain.JSONData["sigV4AuthType"] = "default"
	id := int64(1)
	s := open(t, Config{}, plain{"sigV4AccessKey": "AKIDEXAMPLE", "sigV4SecretKey": "not-to-be-shown"})
	for name, c := range map[string]struct {
		d               *records.DataSource
		problem, remedy string
	}{
		"path of the API": {source("https://aps.example/workspaces/ws-1/api/v1/query"), "path of the API", "Set the URL to https://aps.example/workspaces/ws-1."},
		"nobody there":    {source("http://127.0.0.1:1"), "Nothing listens", "host and port"},
		"no such name":    {source("http://nowhere.invalid"), "not known", "typing"},
		"authority":       {source(tlsServer.URL), "authority", "CA cert"},
		"no TLS":          {source(strings.Replace(answer(200, ""), "http:", "https:", 1)), "does not speak TLS", "http://"},
		"a page":          {source(answer(200, "<html>sign in")), "not that of a Prometheus", "its pages"},
		"no such path":    {source(answer(404, `{"message":"no workspace"}`)), "no workspace", "/workspaces/"},
		"password":        {source(answer(401, `{}`)), "401", "user and password"},
		"unsigned":        {source(answer(403, `{"message":"Missing Authentication Token"}`)), "Missing", "switch on SigV4"},
		"key":             {signed(answer(403, `{"message":"The security token included in the request is invalid."}`)), "security token", "access key is not known"},
		"secret":          {signed(answer(403, `{"message":"The request signature we calculated does not match the signature you provided."}`)), "does not match", "enter both again"},
		"region":          {signed(answer(403, `{"message":"Credential should be scoped to a valid region."}`)), "valid region", `"eu-west-1"`},
		"clock":           {signed(late), "expired", "clocks"},
		"permission":      {signed(answer(403, `{"Message":"User: x is not authorized to perform: aps:QueryMetrics"}`)), "not authorized", "AmazonPrometheusQueryAccess"},
		"own credentials": {chain, "own credentials", "Complete"},
	} {
		id++
		c.d.ID = id // connections are kept by it
		_, err := s.Check(t.Context(), c.d)
		var f *Fault
		require.True(t, errors.As(err, &f), "%s: %v", name, err)
		require.Contains(t, f.Problem, c.problem, name)
		require.Contains(t, f.Remedy, c.remedy, name)
		require.NotContains(t, f.Problem+f.Remedy, "not-to-be-shown", name)
	}
	text, err := s.Check(t.Context(), source(answer(200, `{"status":"success","data":{}}`)))
	require.NoError(t, err)
	require.Equal(t, "Successfully queried the Prometheus API.", text)
}
