package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/api"
)

// TestServerHasTheRoutesThatAreWalked: what a server serves is what the tests of
// the edge walk through with wrong identities. Services that they do not have
// are walked through here, without a signature and with that of a user who may do
// nothing.
func TestServerHasTheRoutesThatAreWalked(t *testing.T) {
	s := startServer(t, testConfig(t.TempDir()))
	text, err := os.ReadFile("../server/api/testdata/routes.txt")
	require.NoError(t, err)
	isWalked := func(r api.RouteInfo) bool { return strings.Contains("\n"+string(text), "\n"+r.Service+" ") }
	routes := s.router.Routes()
	require.Equal(t, string(text), api.ListRoutes(slices.DeleteFunc(slices.Clone(routes), func(r api.RouteInfo) bool { return !isWalked(r) })),
		"a route was added or removed: change the file, and see that the walk fills in its path")

	_, err = s.IAM().CreateUser(t.Context(), s.Account(), "nothing")
	require.NoError(t, err)
	powerless, err := s.IAM().CreateAccessKey(t.Context(), s.Account(), "nothing")
	require.NoError(t, err)
	for _, r := range slices.DeleteFunc(routes, isWalked) {
		for _, key := range []iam.AccessKey{{}, powerless} {
			if r.Anonymous || r.NoPermission && key.ID != "" {
				continue
			}
			w := httptest.NewRecorder()
			s.router.ServeHTTP(w, routeRequest(t, r, key, s.cfg.Region))
			require.GreaterOrEqual(t, w.Code, 400, "%s %s: %s", r.Service, r.Name, w.Body)
			require.Less(t, w.Code, 500, "%s %s: %s", r.Service, r.Name, w.Body)
		}
	}
}

// routeRequest calls a route whatever it is about, signed if there is a key.
func routeRequest(t *testing.T, route api.RouteInfo, key iam.AccessKey, region string) *http.Request {
	t.Helper()
	method, target, body := route.Method, strings.NewReplacer("{", "", "}", "", "...", "").Replace(route.Path), "{}"
	switch route.Protocol {
	case api.Query:
		method, target, body = "POST", "/", url.Values{"Action": {route.Name}, "Version": {route.Version}}.Encode()
	case api.JSON11:
		method, target = "POST", "/"
	}
	r, err := http.NewRequest(method, "http://mangru.test"+target, strings.NewReader(body))
	require.NoError(t, err)
	switch route.Protocol {
	case api.Query:
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	case api.JSON11:
		r.Header.Set("X-Amz-Target", route.TargetPrefix+"."+route.Name)
	}
	if key.ID != "" {
		sum := sha256.Sum256([]byte(body))
		require.NoError(t, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret},
			r, hex.EncodeToString(sum[:]), route.Service, region, time.Now()))
	}
	return r
}
