package conformance

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/grafana/grafana-openapi-client-go/client/access_control"
	"github.com/grafana/grafana-openapi-client-go/client/dashboards"
	"github.com/grafana/grafana-openapi-client-go/client/folders"
	"github.com/grafana/grafana-openapi-client-go/client/library_elements"
	"github.com/grafana/grafana-openapi-client-go/client/search"
	"github.com/grafana/grafana-openapi-client-go/client/service_accounts"
	"github.com/grafana/grafana-openapi-client-go/client/teams"
	"github.com/grafana/grafana-openapi-client-go/models"
	"github.com/stretchr/testify/require"
)

// TestAPI walks the families of the API that scripts, Terraform's provider and
// grizzly use, on one installation.
func TestAPI(t *testing.T) {
	in := start(t)
	for _, one := range []struct {
		name string
		walk func(*testing.T, *installation)
	}{
		{"folders", walkFolders}, {"dashboards", walkDashboards}, {"permissions", walkPermissions}, {"library", walkLibrary},
		{"sources", walkSources}, {"documents", walkDocuments}, {"people", walkPeople},
	} {
		t.Run(one.name, func(t *testing.T) { one.walk(t, in) })
	}
}

func walkFolders(t *testing.T, in *installation) {
	api := in.client.Folders
	top, err := api.CreateFolder(&models.CreateFolderCommand{UID: "top", Title: "Top", Description: "first"})
	valid(t, top, err)
	inner, err := api.CreateFolder(&models.CreateFolderCommand{UID: "inner", Title: "Inner", ParentUID: "top"})
	require.Equal(t, "top", valid(t, inner, err).Payload.ParentUID)
	var taken *folders.CreateFolderConflict
	_, err = api.CreateFolder(&models.CreateFolderCommand{UID: "top", Title: "Again"})
	require.ErrorAs(t, err, &taken)
	renamed, err := api.UpdateFolder("inner", &models.UpdateFolderCommand{Title: "Inside", Version: inner.Payload.Version})
	require.Equal(t, "Inside", valid(t, renamed, err).Payload.Title)
	_, err = api.UpdateFolder("inner", &models.UpdateFolderCommand{Title: "Late", Version: inner.Payload.Version})
	require.ErrorContains(t, err, "412", "as Grafana answers, and its own list of answers does not have")
	list, err := api.GetFolders(folders.NewGetFoldersParams().WithParentUID(ptr("top")))
	require.Len(t, valid(t, list, err).Payload, 1)
	moved, err := api.MoveFolder("inner", &models.MoveFolderCommand{})
	require.Empty(t, valid(t, moved, err).Payload.ParentUID)
	moved, err = api.MoveFolder("inner", &models.MoveFolderCommand{ParentUID: "top"})
	require.Equal(t, "top", valid(t, moved, err).Payload.ParentUID)
	counts, err := api.GetFolderDescendantCounts("top")
	require.EqualValues(t, 1, valid(t, counts, err).Payload["folder"])
	byID, err := api.GetFolderByID(top.Payload.ID)
	require.Equal(t, "top", valid(t, byID, err).Payload.UID)
	_, err = api.DeleteFolder(folders.NewDeleteFolderParams().WithFolderUID("top"))
	require.NoError(t, err)
	var gone *folders.GetFolderByUIDNotFound
	_, err = api.GetFolderByUID("inner")
	require.ErrorAs(t, err, &gone, "what is inside goes, too")
}

func walkDashboards(t *testing.T, in *installation) {
	api := in.client.Dashboards
	_, err := in.client.Folders.CreateFolder(&models.CreateFolderCommand{UID: "boards", Title: "Boards"})
	require.NoError(t, err)
	model := map[string]any{"title": "One", "uid": "one", "tags": []string{"kept"}, "schemaVersion": 39, "panels": []any{map[string]any{"id": 1, "type": "text", "title": "x"}}}
	made, err := api.PostDashboard(&models.SaveDashboardCommand{Dashboard: model, FolderUID: "boards", Message: "first", Overwrite: true})
	require.EqualValues(t, 1, *valid(t, made, err).Payload.Version)
	got, err := api.GetDashboardByUID("one")
	meta := valid(t, got, err).Payload.Meta
	require.Equal(t, "boards", meta.FolderUID)
	require.True(t, meta.CanSave)
	require.Equal(t, []any{"kept"}, got.Payload.Dashboard.(map[string]any)["tags"])
	model["title"] = "Two"
	_, err = api.PostDashboard(&models.SaveDashboardCommand{Dashboard: model, FolderUID: "boards", Overwrite: true})
	require.NoError(t, err)
	versions, err := api.GetDashboardVersionsByUID(dashboards.NewGetDashboardVersionsByUIDParams().WithUID("one"))
	require.Len(t, valid(t, versions, err).Payload.Versions, 2)
	first, err := api.GetDashboardVersionByUID("one", 1)
	require.Equal(t, "first", valid(t, first, err).Payload.Message)
	back, err := api.RestoreDashboardVersionByUID("one", &models.RestoreDashboardVersionCommand{Version: 1})
	require.EqualValues(t, 3, *valid(t, back, err).Payload.Version)
	var stale *dashboards.PostDashboardPreconditionFailed
	model["version"] = 1
	_, err = api.PostDashboard(&models.SaveDashboardCommand{Dashboard: model, FolderUID: "boards"})
	require.ErrorAs(t, err, &stale)

	hits, err := in.client.Search.Search(search.NewSearchParams().WithQuery(ptr("One")).WithType(ptr("dash-db")).WithFolderUIDs([]string{"boards"}).WithTag([]string{"kept"}))
	require.Len(t, valid(t, hits, err).Payload, 1)
	require.Equal(t, "one", hits.Payload[0].UID)
	tags, err := api.GetDashboardTags()
	valid(t, tags, err)
	sorting, err := in.client.Search.ListSortOptions()
	valid(t, sorting, err)
	imported, err := api.ImportDashboard(&models.ImportDashboardRequest{FolderUID: "boards", Dashboard: map[string]any{
		"title": "Imported", "uid": "imp", "__inputs": []any{map[string]any{"name": "DS_X", "type": "datasource", "pluginId": "prometheus"}},
		"panels": []any{map[string]any{"id": 1, "type": "stat", "datasource": "${DS_X}"}}},
		Inputs: []*models.ImportDashboardInput{{Name: "DS_X", Type: "datasource", PluginID: "prometheus", Value: in.source}}})
	require.Equal(t, "imp", valid(t, imported, err).Payload.UID)
	home, err := api.GetHomeDashboard()
	require.NoError(t, err)
	require.NotNil(t, home)
	removed, err := api.DeleteDashboardByUID("imp")
	valid(t, removed, err)
	var gone *dashboards.GetDashboardByUIDNotFound
	_, err = api.GetDashboardByUID("imp")
	require.ErrorAs(t, err, &gone)
}

// walkPermissions does what grafana_folder_permission and its sisters do.
func walkPermissions(t *testing.T, in *installation) {
	team, err := in.client.Teams.CreateTeam(&models.CreateTeamCommand{Name: ptr("crew"), Email: "crew@example.com"})
	id := valid(t, team, err).Payload.TeamID
	_, err = in.client.Folders.UpdateFolderPermissions("boards", &models.UpdateDashboardACLCommand{Items: []*models.DashboardACLUpdateItem{{Role: "Viewer", Permission: 1}, {TeamID: id, Permission: 2}}})
	require.NoError(t, err)
	list, err := in.client.Folders.GetFolderPermissionList("boards")
	require.Len(t, valid(t, list, err).Payload, 2)
	inherited, err := in.client.Dashboards.GetDashboardPermissionsListByUID("one")
	require.Len(t, valid(t, inherited, err).Payload, 2)
	require.True(t, inherited.Payload[0].Inherited)
	_, err = in.client.AccessControl.SetResourcePermissionsForTeam(access_control.NewSetResourcePermissionsForTeamParams().WithResource("folders").
		WithResourceID("boards").WithTeamID(id).WithBody(&models.SetPermissionCommand{Permission: "Admin"}))
	require.NoError(t, err)
	_, err = in.client.AccessControl.SetResourcePermissionsForBuiltInRole(access_control.NewSetResourcePermissionsForBuiltInRoleParams().WithResource("dashboards").
		WithResourceID("one").WithBuiltInRole("Editor").WithBody(&models.SetPermissionCommand{Permission: "View"}))
	require.NoError(t, err)
	found, err := in.client.AccessControl.GetResourcePermissions("one", "dashboards")
	levels := map[string]string{}
	for _, p := range valid(t, found, err).Payload {
		levels[p.BuiltInRole+p.Team] = p.Permission
	}
	require.Equal(t, map[string]string{"Viewer": "View", "crew": "Admin", "Editor": "View"}, levels)
	described, err := in.client.AccessControl.GetResourceDescription("folders")
	require.Equal(t, []string{"View", "Edit", "Admin"}, valid(t, described, err).Payload.Permissions)
	some, err := in.client.Teams.SearchTeams(teams.NewSearchTeamsParams().WithQuery(ptr("cre")))
	require.EqualValues(t, 1, valid(t, some, err).Payload.TotalCount)
	preferences, err := in.client.Teams.GetTeamPreferences(strconv.FormatInt(id, 10))
	valid(t, preferences, err)
}

func walkLibrary(t *testing.T, in *installation) {
	api := in.client.LibraryElements
	made, err := api.CreateLibraryElement(&models.CreateLibraryElementCommand{Name: "Shared", UID: "shared", FolderUID: "boards", Kind: 1,
		Model: map[string]any{"type": "text", "title": "Shared panel", "description": "why"}})
	require.Equal(t, "text", valid(t, made, err).Payload.Result.Type)
	model := map[string]any{"title": "With it", "uid": "with", "panels": []any{
		map[string]any{"type": "row", "collapsed": true, "panels": []any{map[string]any{"id": 2, "libraryPanel": map[string]any{"uid": "shared", "name": "Shared"}}}}}}
	_, err = in.client.Dashboards.PostDashboard(&models.SaveDashboardCommand{Dashboard: model, FolderUID: "boards"})
	require.NoError(t, err)
	users, err := api.GetLibraryElementConnections("shared")
	require.Len(t, valid(t, users, err).Payload.Result, 1)
	require.Equal(t, "with", users.Payload.Result[0].ConnectionUID)
	got, err := api.GetLibraryElementByUID("shared")
	require.EqualValues(t, 1, valid(t, got, err).Payload.Result.Meta.ConnectedDashboards)
	var used *library_elements.DeleteLibraryElementByUIDForbidden
	_, err = api.DeleteLibraryElementByUID("shared")
	require.ErrorAs(t, err, &used)
	changed, err := api.UpdateLibraryElement("shared", &models.PatchLibraryElementCommand{Name: "Renamed", Kind: 1, Version: got.Payload.Result.Version, Model: map[string]any{"type": "stat"}})
	require.EqualValues(t, 2, valid(t, changed, err).Payload.Result.Version)
	var stale *library_elements.UpdateLibraryElementPreconditionFailed
	_, err = api.UpdateLibraryElement("shared", &models.PatchLibraryElementCommand{Name: "Late", Kind: 1, Version: 1})
	require.ErrorAs(t, err, &stale)
	named, err := api.GetLibraryElementByName("Renamed")
	require.Len(t, valid(t, named, err).Payload.Result, 1)
	list, err := api.GetLibraryElements(library_elements.NewGetLibraryElementsParams().WithTypeFilter(ptr("stat")).WithSearchString(ptr("ren")))
	require.Len(t, valid(t, list, err).Payload.Result.Elements, 1)
	list, err = api.GetLibraryElements(library_elements.NewGetLibraryElementsParams().WithExcludeUID(ptr("shared")))
	require.Empty(t, valid(t, list, err).Payload.Result.Elements)
	_, err = in.client.Dashboards.DeleteDashboardByUID("with")
	require.NoError(t, err)
	_, err = api.DeleteLibraryElementByUID("shared")
	require.NoError(t, err)
}

func walkSources(t *testing.T, in *installation) {
	api := in.client.Datasources
	got, err := api.GetDataSourceByUID(in.source)
	source := valid(t, got, err).Payload
	require.True(t, source.SecureJSONFields["sigV4SecretKey"])
	require.NotContains(t, source.JSONData, "sigV4SecretKey")
	named, err := api.GetDataSourceByName("amp")
	require.Equal(t, in.source, valid(t, named, err).Payload.UID)
	list, err := api.GetDataSources()
	require.Len(t, valid(t, list, err).Payload, 1)
	_, err = api.UpdateDataSourceByUID(in.source, &models.UpdateDataSourceCommand{Name: "amp", Type: source.Type, Access: source.Access, URL: source.URL, IsDefault: true, JSONData: source.JSONData})
	require.NoError(t, err)
	health, err := api.CheckDatasourceHealthWithUID(in.source)
	require.NotEmpty(t, valid(t, health, err).Payload.Message, "secrets that are not sent stay")
	answer, _, err := api.QueryMetricsWithExpressions(&models.MetricRequest{From: ptr("now-5m"), To: ptr("now"), Queries: []models.JSON{
		map[string]any{"refId": "A", "datasource": map[string]any{"uid": in.source}, "expr": "vector(42)", "instant": true}}})
	require.NoError(t, err)
	text, err := json.Marshal(answer.Payload)
	require.NoError(t, err)
	require.Contains(t, string(text), `"Status":200`) // of frames the client has no form
}

func walkDocuments(t *testing.T, in *installation) {
	list, err := in.client.Playlists.CreatePlaylist(&models.CreatePlaylistCommand{Name: "tour", Interval: "5m", Items: []*models.PlaylistItem{{Type: "dashboard_by_uid", Value: "one"}}})
	uid := valid(t, list, err).Payload.UID
	items, err := in.client.Playlists.GetPlaylistItems(uid)
	require.Len(t, valid(t, items, err).Payload, 1)
	_, err = in.client.Playlists.UpdatePlaylist(uid, &models.UpdatePlaylistCommand{Name: "tour 2", Interval: "1m", Items: []*models.PlaylistItem{{Type: "dashboard_by_tag", Value: "kept"}}})
	require.NoError(t, err)
	_, err = in.client.Playlists.DeletePlaylist(uid)
	require.NoError(t, err)

	shot, err := in.client.Dashboards.CreateDashboardSnapshot(&models.CreateDashboardSnapshotCommand{Name: "then", Dashboard: map[string]any{"title": "Then"}, Expires: 3600})
	key := valid(t, shot, err).Payload.Key
	_, err = in.client.Dashboards.GetDashboardSnapshot(key)
	require.NoError(t, err)
	_, err = in.client.Dashboards.DeleteDashboardSnapshotByDeleteKey(shot.Payload.DeleteKey)
	require.NoError(t, err)

	note, err := in.client.Annotations.PostAnnotation(&models.PostAnnotationsCmd{DashboardUID: "one", Text: ptr("deployed"), Tags: []string{"deploy"}, Time: 1000})
	id := strconv.FormatInt(*valid(t, note, err).Payload.ID, 10)
	_, err = in.client.Annotations.PatchAnnotation(id, &models.PatchAnnotationsCmd{Text: "deployed twice"})
	require.NoError(t, err)
	one, err := in.client.Annotations.GetAnnotationByID(id)
	require.Equal(t, "deployed twice", valid(t, one, err).Payload.Text)
	_, err = in.client.Annotations.DeleteAnnotationByID(id)
	require.NoError(t, err)
	asked, err := in.client.QueryHistory.CreateQuery(&models.CreateQueryInQueryHistoryCommand{DatasourceUID: in.source, Queries: []any{map[string]any{"expr": "up"}}})
	query := valid(t, asked, err).Payload.Result.UID
	_, err = in.client.QueryHistory.StarQuery(query)
	require.NoError(t, err)
	_, err = in.client.QueryHistory.DeleteQuery(query)
	require.NoError(t, err)
}

func walkPeople(t *testing.T, in *installation) {
	health, err := in.client.Health.GetHealth()
	require.Equal(t, "ok", valid(t, health, err).Payload.Database)
	org, err := in.client.Org.GetCurrentOrg()
	require.EqualValues(t, 1, valid(t, org, err).Payload.ID)
	preferences, err := in.client.Org.GetOrgPreferences()
	valid(t, preferences, err)
	_, err = in.client.Org.PatchOrgPreferences(&models.PatchPrefsCmd{Timezone: "utc", HomeDashboardUID: "one"})
	require.NoError(t, err)
	me, err := in.client.SignedInUser.GetSignedInUser()
	require.NotEmpty(t, valid(t, me, err).Payload.Login)
	account, err := in.client.ServiceAccounts.CreateServiceAccount(service_accounts.NewCreateServiceAccountParams().WithBody(&models.CreateServiceAccountForm{Name: "ci", Role: "Viewer"}))
	id := valid(t, account, err).Payload.ID
	token, err := in.client.ServiceAccounts.CreateToken(service_accounts.NewCreateTokenParams().WithServiceAccountID(id).WithBody(&models.AddServiceAccountTokenCommand{Name: "ci", SecondsToLive: 60}))
	require.Regexp(t, `^glsa_`, valid(t, token, err).Payload.Key)
	_, err = in.client.ServiceAccounts.DeleteToken(token.Payload.ID, id)
	require.NoError(t, err)
	_, err = in.client.ServiceAccounts.DeleteServiceAccount(id)
	require.NoError(t, err)
	users, err := in.client.Users.SearchUsersWithPaging()
	require.NotEmpty(t, valid(t, users, err).Payload.Users)
	found, err := in.client.Users.GetUserByLoginOrEmail(users.Payload.Users[0].Login)
	require.Equal(t, users.Payload.Users[0].ID, valid(t, found, err).Payload.ID)
}
