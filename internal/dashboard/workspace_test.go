package dashboard

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
)

// A change of a role holds for the next request of a session that is open.
func TestRolesOfAWorkspaceHoldAtOnce(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	ws, err := s.spaces.Create(ctx, iam.DefaultAccount, workspaces.CreateInput{Name: "eks-workshop",
		Spec: workspaces.Spec{AccountAccessType: "CURRENT_ACCOUNT", PermissionType: "SERVICE_MANAGED", Providers: []string{workspaces.ProviderSSO}}})
	require.NoError(t, err)
	prefix := workspaces.Path(ws.ID)
	code, said := s.do("GET", prefix+"/api/mangru/workspace", "")
	require.Equal(t, 200, code)
	require.Equal(t, ws.ID, said["id"])
	require.NotContains(t, said, "name", "who is not signed in learns no name")
	code, _ = s.do("GET", prefix+"/api/user", "")
	require.Equal(t, 401, code)

	require.Equal(t, 200, s.signIn(s.link()))
	code, said = s.do("GET", prefix+"/api/user", "")
	require.Equal(t, 403, code, "an administrator of the installation has no role in it until given one")
	require.Contains(t, said["message"], "no role")
	code, _ = s.do("GET", prefix+"/api/mangru/overview", "")
	require.Equal(t, 403, code)
	code, _ = s.do("GET", "/api/mangru/overview", "")
	require.Equal(t, 200, code, "the default workspace is at the root")

	me := workspaces.Subject{ID: s.admin.ID, Kind: workspaces.KindUser}
	for _, step := range []struct {
		role workspaces.Role
		want string
	}{{workspaces.RoleViewer, "Viewer"}, {workspaces.RoleAdmin, "Admin"}, {workspaces.RoleEditor, "Editor"}} {
		require.NoError(t, s.spaces.Grant(ctx, "test", ws, me, step.role))
		code, said = s.do("GET", prefix+"/api/user", "")
		require.Equal(t, 200, code)
		require.Equal(t, step.want, said["orgRole"])
	}
	require.NoError(t, s.spaces.Revoke(ctx, ws, me, workspaces.RoleEditor))
	code, _ = s.do("GET", prefix+"/api/user", "")
	require.Equal(t, 403, code)

	_, err = s.spaces.Delete(ctx, iam.DefaultAccount, ws.ID)
	require.NoError(t, err)
	for _, path := range []string{prefix + "/api/user", "/w/g-0000000000/api/user", "/w/../api/user", "/w//api/user", "/w/" + ws.ID + "x/"} {
		code, _ := s.do("GET", path, "")
		require.Contains(t, []int{404, 301, 307}, code, path)
	}
}
