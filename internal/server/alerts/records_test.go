package alerts

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/workspace"
)

// What the routes need.
var (
	_ api.AlertManagers = (*Records)(nil)
	_ api.QueryHandler  = (*Manager)(nil).ServeWorkspace
)

type noStorage struct{}

func (noStorage) Create(context.Context, string) error { return nil }
func (noStorage) Remove(context.Context, string) error { return nil }

func openDB(t testing.TB) *bun.DB {
	t.Helper()
	conn, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "records.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func newWorkspace(t testing.TB, conn *bun.DB) *workspace.Workspace {
	t.Helper()
	s, err := workspace.New(workspace.Config{Region: "eu-west-1"}, conn, noStorage{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ws, err := s.Create(t.Context(), "123456789012", workspace.CreateInput{})
	require.NoError(t, err)
	require.NoError(t, s.Reconcile(t.Context()))
	ws, err = s.Get(t.Context(), "123456789012", ws.ID)
	require.NoError(t, err)
	return ws
}

// define indents a configuration into a definition.
func define(config string) []byte {
	return []byte("alertmanager_config: |\n  " + strings.ReplaceAll(strings.TrimSpace(config), "\n", "\n  ") + "\n")
}

const small = "route: {receiver: a}\nreceivers: [{name: a}]"

func TestRecordsLifeOfDefinition(t *testing.T) {
	conn := openDB(t)
	ws := newWorkspace(t, conn)
	now := time.UnixMilli(1_700_000_000_000).UTC()
	s := NewRecords(RecordsConfig{Now: func() time.Time { return now }, MaxBytes: 1000}, conn)
	ctx := t.Context()
	_, err := s.Describe(ctx, ws)
	require.True(t, isNotFound(err), "%v", err)
	_, err = s.Put(ctx, ws, define(small), "")
	require.True(t, isNotFound(err), "%v", err)
	require.True(t, isNotFound(s.Delete(ctx, ws, "")))

	d, err := s.Create(ctx, ws, define(small), "t1")
	require.NoError(t, err)
	require.Equal(t, &workspace.Definition{Data: define(small), Status: workspace.StatusCreating, CreatedAt: now, ModifiedAt: now}, d)
	_, err = s.Create(ctx, ws, define(small), "t1")
	require.NoError(t, err, "the same call again")
	var conflict *ConflictError
	_, err = s.Create(ctx, ws, define(small+"\n"), "t1")
	require.NoError(t, err, "define trims")
	_, err = s.Create(ctx, ws, define(small+" # other"), "t1")
	require.ErrorAs(t, err, &conflict)
	_, err = s.Create(ctx, ws, define(small), "t2")
	require.ErrorAs(t, err, &conflict)

	now = now.Add(time.Minute)
	d, err = s.Put(ctx, ws, define(small+" # other"), "")
	require.NoError(t, err)
	require.Equal(t, now, d.ModifiedAt)
	require.Contains(t, string(d.Data), "# other")
	var invalid *InvalidError
	_, err = s.Put(ctx, ws, define(small+" # "+strings.Repeat("x", 1000)), "")
	require.ErrorAs(t, err, &invalid)

	require.NoError(t, s.Delete(ctx, ws, ""))
	d, err = s.Describe(ctx, ws)
	require.NoError(t, err)
	require.Equal(t, workspace.StatusDeleting, d.Status)
	_, err = s.Put(ctx, ws, define(small), "")
	require.ErrorAs(t, err, &conflict)
	_, err = s.Create(ctx, ws, define(small), "")
	require.ErrorAs(t, err, &conflict)
	_, err = conn.NewDelete().Table("workspaces").Where("id = ?", ws.ID).Exec(ctx)
	require.NoError(t, err)
	_, err = s.Describe(ctx, ws)
	require.True(t, isNotFound(err), "%v", err)
}

func TestParseSaysWhere(t *testing.T) {
	webhook := func(lines string) []byte {
		return define("route: {receiver: a}\nreceivers:\n- name: a\n  webhook_configs:\n  - url: http://example.com/\n" + lines)
	}
	for want, data := range map[string][]byte{
		"the data is empty": []byte("\n"),
		"line 1: a mapping with the field alertmanager_config is expected":                        []byte("- x"),
		"line 1, field alertmanager_config: is required":                                          []byte("template_files: {}"),
		"line 1, field global: unknown field, allowed are alertmanager_config and template_files": []byte("global: {}\n"),
		"line 2, field alertmanager_config: a text is expected":                                   []byte("alertmanager_config:\n  route: {}\n"),
		"field alertmanager_config: no routes provided":                                           define("receivers: []"),
		`line 2, field alertmanager_config: undefined receiver "b" used in route`:                 define("route: {receiver: b}\nreceivers: [{name: a}]"),
		"line 4, field alertmanager_config: field foo not found":                                  define(small + "\nfoo: 1"),
		"line 7, field alertmanager_config: field colour not found":                               webhook("    colour: red"),
		"line 8, field alertmanager_config: password_file: files of the server cannot be used":    webhook("    http_config: {basic_auth: {username: u,\n      password_file: /etc/passwd}}"),
		"line 7, field alertmanager_config: proxy_url: a proxy cannot be chosen":                  webhook("    http_config: {proxy_url: 'http://10.0.0.1'}"),
		"line 7, field alertmanager_config: ca_file: files of the server":                         webhook("    http_config: {tls_config: {ca_file: /x}}"),
		"line 7, field alertmanager_config: files: files of the server":                           webhook("    http_config: {http_headers: {X-A: {files: [/etc/passwd]}}}"),
		"line 2, field alertmanager_config: smtp_auth_password_file: files of the server":         define("global: {smtp_auth_password_file: /x}\n" + small),
		"line 4, field alertmanager_config: event_recorder: is the server's to configure":         define(small + "\nevent_recorder: {file_outputs: [{path: /tmp/x}]}"),
		"line 4, field alertmanager_config: tracing: is the server's to configure":                define(small + "\ntracing: {endpoint: 'x:1'}"),
		"line 4, field alertmanager_config: profile: profiles of the server":                      define("route: {receiver: a}\nreceivers:\n- {name: a, sns_configs: [{topic_arn: t, sigv4: {profile: default, region: r}}]}"),
		`line 4, field alertmanager_config: templates: "/etc/*" is none of template_files`:        define(small + "\ntemplates: ['/etc/*']"),
		"field template_files.x: template: :1: unclosed action":                                   append(define(small+"\ntemplates: [x]"), "template_files:\n  x: '{{'\n"...),
		"line 5, field template_files.x: every name stands for one text":                          append(define(small), "template_files:\n  x: [1]\n"...),
		`field alertmanager_config: line 2 of it: field foo not found`:                            []byte(`{"alertmanager_config": "route: {receiver: a}\nfoo: 1\nreceivers: [{name: a}]"}`),
	} {
		d, issues := parse(data)
		require.Nil(t, d, want)
		require.NotEmpty(t, issues, want)
		require.True(t, strings.HasPrefix(issues[0].String(), want), "%s\n got %s\nwant %s", data, issues[0], want)
	}
	// What only looks like a file's name is allowed.
	d, issues := parse(append(webhook("    http_config: {follow_redirects: true}\ntemplates: ['b*', a]\ninhibit_rules:\n- {source_matchers: [config_file=x], target_matchers: [é=\"1\"], equal: [some_file]}"),
		"template_files:\n  a: '{{ define \"a\" }}{{ end }}'\n  b1: b\n  c: '{{ define \"c\" }}{{ end }}'\n"...))
	require.Empty(t, issues)
	require.Equal(t, []string{"b", `{{ define "a" }}{{ end }}`}, d.templates)
}

func FuzzParse(f *testing.F) {
	f.Add(define(small))
	f.Add(append(define(small+"\ntemplates: ['*']"), "template_files: {x: '{{ . }}'}"...))
	f.Add([]byte("alertmanager_config: &a \"route: {receiver: a}\"\ntemplate_files: {a: *a}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, issues := parse(data)
		if (d == nil) != (len(issues) > 0) {
			t.Fatalf("definition %v and issues %v", d, issues)
		}
		if d == nil {
			return
		}
		if _, err := d.newTemplate(); err != nil {
			t.Fatal(err)
		}
		if len(forbidden(d.config)) > 0 {
			t.Fatal("forbidden")
		}
	})
}
