// Package conformance judges the server by AWS' own clients: the newest Go SDK
// for Managed Prometheus, the requests and answers that come with it, and the
// AWS CLI. It is a module of its own, so that the SDK stays out of ours.
package conformance

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/amp"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/workspace"
)

const (
	region  = "us-east-1"
	account = iam.DefaultAccount
	cluster = "arn:aws:eks:" + region + ":" + account + ":cluster/known"
	logs    = "arn:aws:logs:" + region + ":" + account + ":log-group:/aws/vendedlogs/g:*"
)

// storage, runner and sinks do nothing, well.
type (
	storage struct{}
	runner  struct{}
	sinks   struct{}
)

func (storage) Create(context.Context, string) error                                   { return nil }
func (storage) Remove(context.Context, string) error                                   { return nil }
func (runner) Check(context.Context, *workspace.Scraper) error                         { return nil }
func (runner) Run(context.Context, *workspace.Scraper) error                           { return nil }
func (runner) Stop(context.Context, string) error                                      { return nil }
func (sinks) Check(context.Context, workspace.LogKind, workspace.LogDestination) error { return nil }

// definitions keeps texts by name, one being in the place of both rules and
// alerts: what they mean is tested elsewhere.
type definitions struct {
	kind string
	mu   sync.Mutex
	kept map[string]*workspace.Definition
}

func (d *definitions) create(key string, in workspace.Definition) (*workspace.Definition, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept[key] != nil {
		return nil, &workspace.ConflictError{Type: d.kind, ID: key, Message: "It exists."}
	}
	in.Status, in.CreatedAt, in.ModifiedAt = workspace.StatusActive, time.Now(), time.Now()
	if in.Tags == nil {
		in.Tags = map[string]string{}
	}
	d.kept[key] = &in
	return &in, nil
}

func (d *definitions) get(key string) (*workspace.Definition, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if one := d.kept[key]; one != nil {
		return one, nil
	}
	return nil, &workspace.NotFoundError{Type: d.kind, ID: key}
}

func (d *definitions) put(key string, data []byte) (*workspace.Definition, error) {
	one, err := d.get(key)
	if err == nil {
		one.Data, one.ModifiedAt = data, time.Now()
	}
	return one, err
}

func (d *definitions) remove(key string) error {
	_, err := d.get(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.kept, key)
	return err
}

type ruleNamespaces struct{ definitions }

func (n *ruleNamespaces) Create(_ context.Context, _ *workspace.Workspace, in workspace.Definition, _ string) (*workspace.Definition, error) {
	return n.create(in.Name, in)
}

func (n *ruleNamespaces) Put(_ context.Context, _ *workspace.Workspace, name string, data []byte, _ string) (*workspace.Definition, error) {
	return n.put(name, data)
}

func (n *ruleNamespaces) Describe(_ context.Context, _ *workspace.Workspace, name string) (*workspace.Definition, error) {
	return n.get(name)
}

func (n *ruleNamespaces) List(_ context.Context, _ *workspace.Workspace, prefix string, most int, next string) ([]*workspace.Definition, string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	for name := range n.kept {
		if strings.HasPrefix(name, prefix) && name > next {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	next = ""
	if len(names) > most {
		names = names[:most]
		next = names[most-1]
	}
	var out []*workspace.Definition
	for _, name := range names {
		out = append(out, n.kept[name])
	}
	return out, next, nil
}

func (n *ruleNamespaces) Delete(_ context.Context, _ *workspace.Workspace, name, _ string) error {
	return n.remove(name)
}

func (n *ruleNamespaces) Tag(_ context.Context, _ *workspace.Workspace, name string, tags map[string]string) error {
	one, err := n.get(name)
	if err == nil {
		one.Tags = tags
	}
	return err
}

func (n *ruleNamespaces) Untag(_ context.Context, _ *workspace.Workspace, name string, keys []string) error {
	one, err := n.get(name)
	if err == nil {
		for _, k := range keys {
			delete(one.Tags, k)
		}
	}
	return err
}

type alertManagers struct{ definitions }

func (m *alertManagers) Create(_ context.Context, ws *workspace.Workspace, data []byte, _ string) (*workspace.Definition, error) {
	return m.create(ws.ID, workspace.Definition{Data: data})
}

func (m *alertManagers) Put(_ context.Context, ws *workspace.Workspace, data []byte, _ string) (*workspace.Definition, error) {
	return m.put(ws.ID, data)
}

func (m *alertManagers) Describe(_ context.Context, ws *workspace.Workspace) (*workspace.Definition, error) {
	return m.get(ws.ID)
}

func (m *alertManagers) Delete(_ context.Context, ws *workspace.Workspace, _ string) error {
	return m.remove(ws.ID)
}

// server is Managed Prometheus' API on a real port.
type server struct {
	url        string
	identity   *iam.Service
	workspaces *workspace.Service
	key        iam.AccessKey
	client     *amp.Client
	service    api.Service
	verifier   api.Verifier

	mu   sync.Mutex
	last answer
}

// answer is what came back over the wire last.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// RoundTrip implements http.RoundTripper.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	s.last = answer{resp.StatusCode, resp.Header, body}
	s.mu.Unlock()
	return resp, err
}

func start(t *testing.T, change func(*workspace.Config, *api.APSConfig)) *server {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	quiet := slog.New(slog.DiscardHandler)
	records, err := db.Open(ctx, filepath.Join(dir, "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = records.Close() })
	s := &server{}
	s.identity, err = iam.Open(ctx, records, iam.Config{KeyFile: filepath.Join(dir, "secret.key")})
	require.NoError(t, err)
	s.key, _, err = s.identity.Bootstrap(ctx)
	require.NoError(t, err)
	wc := workspace.Config{Region: region, Scrapers: runner{}, Logs: sinks{}, CheckKMSKey: func(context.Context, string, string) error { return nil }}
	ac := api.APSConfig{Region: region, Authorizer: s.identity,
		Write:          func(http.ResponseWriter, *http.Request, string) error { return nil },
		Query:          func(http.ResponseWriter, *http.Request, string, string) error { return nil },
		RuleNamespaces: &ruleNamespaces{definitions{kind: workspace.TypeRuleNamespace, kept: map[string]*workspace.Definition{}}},
		AlertManagers:  &alertManagers{definitions{kind: workspace.TypeAlertDefinition, kept: map[string]*workspace.Definition{}}}}
	if change != nil {
		change(&wc, &ac)
	}
	s.workspaces, err = workspace.New(wc, records, storage{}, quiet)
	require.NoError(t, err)
	ac.Workspaces = s.workspaces
	s.service, err = api.NewAPS(ac)
	require.NoError(t, err)
	s.verifier, err = sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{region}, Tolerances: sigv4.AllTolerances()}, api.Keys(s.identity))
	require.NoError(t, err)
	router, err := api.NewRouter(api.Config{Services: []api.Service{s.service}, Verifier: s.verifier, Authorizer: s.identity}, quiet)
	require.NoError(t, err)
	web := httptest.NewServer(router)
	s.url = web.URL
	run, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = s.workspaces.Run(run) })
	t.Cleanup(func() { stop(); done.Wait(); web.Close() })
	s.client = amp.New(amp.Options{Region: region, BaseEndpoint: &s.url, HTTPClient: &http.Client{Transport: s}, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(s.key.ID, s.key.Secret, "")})
	return s
}

// as returns a client of another key.
func (s *server) as(k iam.AccessKey) *amp.Client {
	o := s.client.Options()
	o.Credentials = aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(k.ID, k.Secret, ""))
	return amp.New(o)
}
