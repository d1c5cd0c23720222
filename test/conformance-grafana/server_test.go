// Package conformance judges the people's side by Grafana's own client for Go,
// which Terraform's provider is made of: the answers have to be those that the
// client was generated for. It is a module of its own, so that the client stays
// out of ours.
package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/go-openapi/strfmt"
	goapi "github.com/grafana/grafana-openapi-client-go/client"
	"github.com/stretchr/testify/require"
)

// installation is the real program with its pages, and a token for its API.
type installation struct {
	url    string // of the server
	ui     string // of the pages
	token  string // of an administrator
	client *goapi.GrafanaHTTPAPI
	source string // uid of the data source of the workspace
}

// program is the program under test: $MANGRU, or what `make build` made.
func program(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("MANGRU")
	if bin == "" {
		bin = filepath.Join("..", "..", "bin", "mangru")
	}
	bin, err := filepath.Abs(bin)
	require.NoError(t, err)
	if _, err := os.Stat(bin); err != nil {
		t.Skipf("no program to test, make build makes it: %v", err)
	}
	return bin
}

var listening = regexp.MustCompile(`msg="(server listens|pages for people)" url=(http://\S+)`)

// start runs the program until the test ends.
func start(t *testing.T) *installation {
	t.Helper()
	bin, dir := program(t), t.TempDir()
	in := &installation{}
	cmd := exec.Command(bin, "server", "--data", dir, "--listen", "127.0.0.1:0", "--ui", "127.0.0.1:0")
	log, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	drained := make(chan struct{})
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		<-drained
		require.NoError(t, cmd.Wait())
	})
	lines := bufio.NewReader(log)
	for in.url == "" || in.ui == "" {
		line, err := lines.ReadString('\n')
		if m := listening.FindStringSubmatch(line); m != nil && m[1] == "server listens" {
			in.url = m[2]
		} else if m != nil {
			in.ui = m[2]
		}
		if err != nil {
			close(drained)
			t.Fatalf("the server did not start: %v", err)
		}
	}
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, lines) // so that it can go on writing
	}()
	in.signIn(t, run(t, nil, bin, "login-link", "--data", dir, "--ui", strings.TrimPrefix(in.ui, "http://")))
	u, err := url.Parse(in.ui)
	require.NoError(t, err)
	in.client = goapi.NewHTTPClientWithConfig(strfmt.Default, &goapi.TransportConfig{Host: u.Host, BasePath: "/api", Schemes: []string{"http"}, APIKey: in.token})
	in.connect(t, bin, dir)
	return in
}

func run(t *testing.T, env []string, bin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(bin, args...)
	var problem bytes.Buffer
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), &problem
	out, err := cmd.Output()
	require.NoError(t, err, problem.String())
	return string(out)
}

// signIn uses a link as a browser does, and makes a service account with a token.
func (in *installation) signIn(t *testing.T, link string) {
	t.Helper()
	_, secret, _ := strings.Cut(strings.TrimSpace(link), "#token=")
	res, err := http.Post(in.ui+"/api/login/link", "application/json", strings.NewReader(`{"token":"`+secret+`"}`))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	cookie := res.Cookies()[0]
	as := func(csrf, method, path, body string) map[string]any {
		req, err := http.NewRequestWithContext(t.Context(), method, in.ui+path, strings.NewReader(body))
		require.NoError(t, err)
		req.AddCookie(cookie)
		req.Header.Set("X-CSRF-Token", csrf)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		var out map[string]any
		require.NoError(t, json.NewDecoder(res.Body).Decode(&out))
		require.Less(t, res.StatusCode, 300, out)
		return out
	}
	csrf := as("", "GET", "/api/user", "")["csrfToken"].(string)
	account := as(csrf, "POST", "/api/serviceaccounts", `{"name":"terraform","role":"Admin"}`)
	id, err := json.Marshal(account["id"])
	require.NoError(t, err)
	in.token = as(csrf, "POST", "/api/serviceaccounts/"+string(id)+"/tokens", `{"name":"t"}`)["key"].(string)
}

// valid checks an answer against the schema that the client was generated from.
func valid[T any](t *testing.T, answer T, err error) T {
	t.Helper()
	require.NoError(t, err)
	payload := reflect.ValueOf(answer).Elem().FieldByName("Payload")
	check := func(v reflect.Value) {
		if c, ok := v.Interface().(interface{ Validate(strfmt.Registry) error }); ok {
			require.NoError(t, c.Validate(strfmt.Default))
		}
	}
	if payload.IsValid() && payload.Kind() == reflect.Slice {
		for i := range payload.Len() {
			check(payload.Index(i))
		}
	} else if payload.IsValid() {
		check(payload)
	}
	return answer
}

func ptr[T any](v T) *T { return &v }
