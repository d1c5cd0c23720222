package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/workspace"
)

// TestRequests sends every request that the SDK has a record of, byte for byte
// but for its placeholders, and looks which operation it arrives at.
func TestRequests(t *testing.T) {
	s := start(t, nil)
	reached := ""
	service := s.service
	service.Routes = slices.Clone(service.Routes)
	for i := range service.Routes {
		r := &service.Routes[i]
		r.Handle = func(http.ResponseWriter, *api.Call) error { reached = r.Name; return nil }
	}
	router, err := api.NewRouter(api.Config{Services: []api.Service{service}, Verifier: s.verifier, Authorizer: s.identity}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(fixtures(t, "request_snapshot"), "*.request.snap"))
	require.NoError(t, err)
	require.Greater(t, len(files), 40)
	ws := "ws-00000000-0000-0000-0000-000000000000"
	fill := strings.NewReplacer("__WorkspaceId__", ws, "__ResourceArn__", url.PathEscape(workspace.ARN(region, account, ws)), "key0=", "alias=")
	for _, file := range files {
		operation := strings.TrimSuffix(filepath.Base(file), ".request.snap")
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		head, body, _ := strings.Cut(string(raw), "\n")
		headers, body, _ := strings.Cut(strings.TrimPrefix(body, "\n"), "\n\n")
		method, path, _ := strings.Cut(head, " ")
		r, err := http.NewRequestWithContext(t.Context(), method, "http://mangru.test"+fill.Replace(path), strings.NewReader(body))
		require.NoError(t, err)
		for line := range strings.Lines(headers) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
				r.Header.Set(k, v)
			}
		}
		sum := sha256.Sum256([]byte(body))
		require.NoError(t, v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: s.key.ID, SecretAccessKey: s.key.Secret}, r,
			hex.EncodeToString(sum[:]), "aps", region, time.Now()))
		reached = ""
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		if notServed[operation] != "" {
			require.Equal(t, "UnknownOperationException", w.Header().Get("x-amzn-errortype"), operation)
			continue
		}
		require.Equal(t, operation, reached, "%s: %s", head, w.Body)
	}
}
