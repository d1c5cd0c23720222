package app

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/dashboard/workspaces"
)

// The server serves people too, and its API says where.
func TestServerServesPages(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.UI.Listen = "127.0.0.1:0"
	s := startServer(t, cfg)
	d, err := s.OpenUI(t.Context(), UIOptions{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	def, err := s.identity.spaces.Open(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, d.URL()+workspaces.Path(def.ID), "http://"+s.dashboardEndpoint(def))
	for path, want := range map[string]int{
		"/api/health": 200, "/login": 200, "/api/user": 401, "/api/people/me": 401, workspaces.Path(def.ID) + "/api/user": 401, workspaces.Path(def.ID) + "/": 200,
		"/w/g-0000000000/api/health": 404, "/scim/v2/Users": 401,
	} {
		res, err := s.client.Get(d.URL() + path)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, want, res.StatusCode, path)
	}
	link, err := d.LoginLink(t.Context())
	require.NoError(t, err)
	_, token, _ := strings.Cut(link, "#token=")
	res, err := s.client.Post(d.URL()+"/api/login/link", "application/json", strings.NewReader(`{"token":"`+token+`"}`))
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL()+"/api/mangru/overview", http.NoBody)
	require.NoError(t, err)
	req.AddCookie(res.Cookies()[0])
	answer, err := s.client.Do(req)
	require.NoError(t, err)
	defer answer.Body.Close()
	var o struct{ Account string }
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&o))
	require.Equal(t, s.Account(), o.Account)
}
