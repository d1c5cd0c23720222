package app

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/dashboard/records"
	"github.com/mangru/mangru/internal/dashboard/sources"
)

// TestSaveAndTestAgainstTheServer: what the server answers is understood by "Save
// & test", for each way to set a data source up wrongly.
func TestSaveAndTestAgainstTheServer(t *testing.T) {
	s := startServer(t, testConfig(t.TempDir()))
	ctx := t.Context()
	w, err := s.Workspaces().Ensure(ctx, s.Account(), "default")
	require.NoError(t, err)
	key, ok := s.FirstKey()
	require.True(t, ok)
	_, err = s.IAM().CreateUser(ctx, s.Account(), "nobody")
	require.NoError(t, err)
	powerless, err := s.IAM().CreateAccessKey(ctx, s.Account(), "nobody")
	require.NoError(t, err)
	conns := sources.New(sources.Config{}, s.identity.boards, slog.New(slog.DiscardHandler))
	t.Cleanup(conns.Close)
	url := s.Endpoint(w.ID)
	for _, c := range []struct{ name, url, id, secret, region, problem, remedy string }{
		{"right", url, key.ID, key.Secret, s.cfg.Region, "", ""},
		{"right without a slash", url[:len(url)-1], key.ID, key.Secret, s.cfg.Region, "", ""},
		{"secret", url, key.ID, key.Secret + "x", s.cfg.Region, "signature", "secret access key does not belong"},
		{"key", url, "AKIAAAAAAAAAAAAAAAAA", key.Secret, s.cfg.Region, "security token", "not known there"},
		{"region", url, key.ID, key.Secret, "ap-northeast-2", "ap-northeast-2", "default region"},
		{"permission", url, powerless.ID, powerless.Secret, s.cfg.Region, "not authorized to perform: aps:QueryMetrics", "AmazonPrometheusQueryAccess"},
		{"unsigned", url, "", "", "", "Missing Authentication Token", "switch on SigV4"},
		{"query URL", url + "api/v1/query", key.ID, key.Secret, s.cfg.Region, "path of the API", url[:len(url)-1]},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &records.DataSource{WorkspaceID: "w", Name: c.name, Type: "prometheus", URL: c.url, Access: "proxy", JSONData: map[string]any{}}
			if c.id != "" {
				d.JSONData = map[string]any{"sigV4Auth": true, "sigV4AuthType": "keys", "sigV4Region": c.region}
			}
			require.NoError(t, s.identity.boards.CreateDataSource(ctx, d, map[string]string{"sigV4AccessKey": c.id, "sigV4SecretKey": c.secret}))
			text, err := conns.Check(ctx, d)
			if c.problem == "" {
				require.NoError(t, err)
				require.Equal(t, "Successfully queried the Prometheus API.", text)
				return
			}
			var f *sources.Fault
			require.ErrorAs(t, err, &f)
			require.Contains(t, f.Problem, c.problem)
			require.Contains(t, f.Remedy, c.remedy)
			if c.secret != "" {
				require.NotContains(t, f.Problem+f.Remedy, c.secret)
			}
		})
	}
}
