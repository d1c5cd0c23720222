package app

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/server/api"
)

// TestServerHasTheRoutesThatAreWalked: what a server serves is what the tests of
// the edge walk through with wrong identities.
func TestServerHasTheRoutesThatAreWalked(t *testing.T) {
	s := startServer(t, testConfig(t.TempDir()))
	want, err := os.ReadFile("../server/api/testdata/routes.txt")
	require.NoError(t, err)
	require.Equal(t, string(want), api.ListRoutes(s.router.Routes()), "a route was added or removed: change the file, and see that the walk fills in its path")
}
