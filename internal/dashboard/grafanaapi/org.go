package grafanaapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/dashboard/records"
)

func orgRoutes() []route {
	return []route{
		{"GET /api/health", anyone, (*api).health},
		{"GET /api/frontend/settings", signedIn, (*api).frontendSettings},
		{"GET /api/org", signedIn, (*api).org},
		{"PUT /api/org", admins, (*api).renameOrg},
		{"GET /api/org/users", admins, (*api).orgUsers},
		{"GET /api/org/users/search", admins, (*api).searchUsers},
		{"GET /api/org/users/lookup", editors, (*api).lookupUsers},
		{"GET /api/orgs", admins, (*api).orgs},
		{"GET /api/orgs/name/{name}", admins, (*api).orgByName},
		{"GET /api/orgs/{org}", admins, (*api).orgByID},
		{"GET /api/orgs/{org}/users", admins, (*api).orgUsers},
		{"GET /api/user", signedIn, (*api).user},
		{"GET /api/user/orgs", signedIn, (*api).userOrgs},
		{"GET /api/user/teams", signedIn, (*api).userTeams},
		{"POST /api/user/using/{org}", signedIn, (*api).useOrg},
		{"GET /api/user/preferences", signedIn, preferences("user")},
		{"PUT /api/user/preferences", signedIn, setPreferences("user", false)},
		{"PATCH /api/user/preferences", signedIn, setPreferences("user", true)},
		{"GET /api/org/preferences", signedIn, preferences("org")},
		{"PUT /api/org/preferences", admins, setPreferences("org", false)},
		{"PATCH /api/org/preferences", admins, setPreferences("org", true)},
		{"POST /api/user/stars/dashboard/uid/{uid}", signedIn, star(true)},
		{"DELETE /api/user/stars/dashboard/uid/{uid}", signedIn, star(false)},
		{"POST /api/user/stars/dashboard/{id}", signedIn, star(true)},
		{"DELETE /api/user/stars/dashboard/{id}", signedIn, star(false)},
		{"GET /api/user/stars", signedIn, (*api).stars},
		{"GET /api/users", admins, (*api).users},
		{"GET /api/users/search", admins, (*api).searchUsers},
		{"GET /api/users/lookup", admins, (*api).lookupUser},
		{"GET /api/users/{id}", admins, (*api).userByID},
		{"GET /api/users/{id}/orgs", admins, (*api).orgsOfUser},
		{"GET /api/users/{id}/teams", admins, (*api).teamsOfUser},
		{"GET /api/plugins", signedIn, (*api).plugins},
		{"GET /api/plugins/{id}/settings", signedIn, (*api).plugin},
	}
}

func (a *api) health(*call) (any, error) {
	return map[string]any{"database": "ok", "version": a.Version, "commit": ""}, nil
}

// orgName is the name of the workspace's one organisation, which may be changed.
func (a *api) orgName(c *call) (string, error) {
	d, err := a.Store.Document(c.Context(), c.ws, records.KindPreferences, "org-name")
	if errors.Is(err, records.ErrNotFound) {
		if c.caller.WorkspaceName != "" {
			return c.caller.WorkspaceName, nil
		}
		return "Main Org.", nil
	}
	if err != nil {
		return "", err
	}
	return d.Name, nil
}

func (a *api) org(c *call) (any, error) {
	name, err := a.orgName(c)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"id": OrgID, "name": name,
		"address": map[string]string{"address1": "", "address2": "", "city": "", "zipCode": "", "state": "", "country": ""},
	}, nil
}

func (a *api) renameOrg(c *call) (any, error) {
	var in struct {
		Name string `json:"name"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.Name = strings.TrimSpace(in.Name); in.Name == "" || len(in.Name) > 190 {
		return nil, fail(http.StatusBadRequest, "name: allowed are 1 to 190 characters")
	}
	err := a.Store.PutDocument(c.Context(), &records.Document{
		WorkspaceID: c.ws, Kind: records.KindPreferences, UID: "org-name", Name: in.Name, Data: json.RawMessage("{}"),
	})
	return message("Organization updated"), err
}

func (a *api) orgs(c *call) (any, error) {
	name, err := a.orgName(c)
	return []map[string]any{{"id": OrgID, "name": name}}, err
}

func (a *api) orgByID(c *call) (any, error) {
	if c.PathValue("org") != strconv.Itoa(OrgID) {
		return nil, fail(http.StatusNotFound, "Organization not found")
	}
	return a.org(c)
}

func (a *api) orgByName(c *call) (any, error) {
	name, err := a.orgName(c)
	if err != nil {
		return nil, err
	}
	if name != c.PathValue("name") {
		return nil, fail(http.StatusNotFound, "Organization not found")
	}
	return a.org(c)
}

func (a *api) useOrg(c *call) (any, error) {
	if c.PathValue("org") != strconv.Itoa(OrgID) {
		return nil, fail(http.StatusUnauthorized, "Not a valid organization")
	}
	return message("Active organization changed"), nil
}

// members brings the workspace's users up to date with who may sign in.
func (a *api) members(c *call) ([]*records.User, error) {
	list, err := a.Identity.Members(c.Context(), c.ws)
	if err != nil {
		return nil, err
	}
	out := make([]*records.User, 0, len(list))
	for _, m := range list {
		u, err := a.Store.EnsureUser(c.Context(), c.ws, m, false)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}

func userBody(u *records.User) map[string]any {
	seen := u.SeenAt
	age := "10 years"
	if seen > 0 {
		age = ago(time.Since(time.UnixMilli(seen)))
	}
	return map[string]any{
		"orgId": OrgID, "userId": u.ID, "id": u.ID, "uid": u.UID, "login": u.Login, "name": u.Name, "email": u.Email, "avatarUrl": "",
		"role": u.Role, "lastSeenAt": stamp(seen), "lastSeenAtAge": age, "isDisabled": false, "isAdmin": false, "authLabels": []string{},
		"isExternallySynced": true,
	}
}

func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "< 1 minute"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " minutes"
	case d < 24*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " hours"
	default:
		return strconv.Itoa(int(d.Hours()/24)) + " days"
	}
}

func (a *api) matchingUsers(c *call) ([]map[string]any, error) {
	list, err := a.members(c)
	if err != nil {
		return nil, err
	}
	query := strings.ToLower(c.URL.Query().Get("query"))
	out := []map[string]any{}
	for _, u := range list {
		if strings.Contains(strings.ToLower(u.Login+" "+u.Name+" "+u.Email), query) {
			out = append(out, userBody(u))
		}
	}
	return out, nil
}

func (a *api) orgUsers(c *call) (any, error) { return a.matchingUsers(c) }

func (a *api) users(c *call) (any, error) {
	list, err := a.matchingUsers(c)
	if err != nil {
		return nil, err
	}
	per := max(c.number("perpage", 1000), 1)
	from := min((max(c.number("page", 1), 1)-1)*per, len(list))
	return list[from:min(from+per, len(list))], nil
}

func (a *api) searchUsers(c *call) (any, error) {
	list, err := a.matchingUsers(c)
	if err != nil {
		return nil, err
	}
	key := "users"
	if strings.Contains(c.Pattern, "/org/") {
		key = "orgUsers"
	}
	return map[string]any{"totalCount": len(list), key: list, "page": 1, "perPage": max(len(list), 1000)}, nil
}

func (a *api) lookupUsers(c *call) (any, error) {
	list, err := a.members(c)
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for _, u := range list {
		out = append(out, map[string]any{"userId": u.ID, "uid": u.UID, "login": u.Login, "avatarUrl": ""})
	}
	return out, nil
}

var errUserNotFound = &apiError{http.StatusNotFound, map[string]any{"message": "user not found", "messageId": "user.not-found", "statusCode": 404}}

func profile(u *records.User) map[string]any {
	return map[string]any{
		"id": u.ID, "uid": u.UID, "email": u.Email, "name": u.Name, "login": u.Login, "theme": "", "orgId": OrgID, "isGrafanaAdmin": false,
		"isDisabled": false, "isExternal": true, "isExternallySynced": true, "isGrafanaAdminExternallySynced": false, "authLabels": []string{},
		"createdAt": stamp(u.CreatedAt), "updatedAt": stamp(u.CreatedAt), "avatarUrl": "",
	}
}

func (a *api) lookupUser(c *call) (any, error) {
	list, err := a.members(c)
	if err != nil {
		return nil, err
	}
	want := strings.ToLower(c.URL.Query().Get("loginOrEmail"))
	for _, u := range list {
		if want != "" && (strings.ToLower(u.Login) == want || strings.ToLower(u.Email) == want) {
			return profile(u), nil
		}
	}
	return nil, errUserNotFound
}

func (a *api) pathUser(c *call) (*records.User, error) {
	id, _ := strconv.ParseInt(c.PathValue("id"), 10, 64)
	u, err := a.Store.User(c.Context(), c.ws, id)
	if errors.Is(err, records.ErrNotFound) {
		return nil, errUserNotFound
	}
	return u, err
}

func (a *api) userByID(c *call) (any, error) {
	u, err := a.pathUser(c)
	if err != nil {
		return nil, err
	}
	return profile(u), nil
}

func (a *api) orgsOfUser(c *call) (any, error) {
	u, err := a.pathUser(c)
	if err != nil {
		return nil, err
	}
	name, err := a.orgName(c)
	return []map[string]any{{"orgId": OrgID, "name": name, "role": u.Role}}, err
}

func (a *api) teamsOfUser(c *call) (any, error) {
	u, err := a.pathUser(c)
	if err != nil {
		return nil, err
	}
	return a.teamList(c, u.ID)
}

func (a *api) user(c *call) (any, error) {
	who := c.caller
	if who.Person == "" {
		return map[string]any{
			"id": 0, "uid": "service-account:" + strconv.FormatInt(who.ServiceAccount, 10), "login": who.Login, "name": who.Name, "email": "", "orgId": OrgID,
			"orgRole": who.Role, "isGrafanaAdmin": false, "isDisabled": false, "isExternal": false, "authLabels": []string{}, "theme": "", "avatarUrl": "",
		}, nil
	}
	u, err := a.Store.User(c.Context(), c.ws, who.UserID)
	if err != nil {
		return nil, err
	}
	out := profile(u)
	// Our own pages read the role, the workspace and the anti-forgery token from here.
	out["orgRole"], out["csrfToken"], out["workspace"], out["administrator"] = who.Role, who.CSRFToken, c.ws, who.Administrator
	return out, nil
}

func (a *api) userOrgs(c *call) (any, error) {
	name, err := a.orgName(c)
	return []map[string]any{{"orgId": OrgID, "name": name, "role": c.caller.Role}}, err
}

func (a *api) userTeams(c *call) (any, error) { return a.teamList(c, c.caller.UserID) }

func star(on bool) func(*api, *call) (any, error) {
	return func(a *api, c *call) (any, error) {
		if c.caller.Person == "" {
			return nil, fail(http.StatusBadRequest, "only people have stars")
		}
		b, err := a.board(c, records.View)
		if err != nil {
			return nil, err
		}
		if err := a.Store.Star(c.Context(), c.ws, c.caller.UserID, b.UID, on); err != nil {
			return nil, err
		}
		if on {
			return message("Dashboard starred!"), nil
		}
		return message("Dashboard unstarred"), nil
	}
}

func (a *api) stars(c *call) (any, error) {
	set, err := a.Store.Stars(c.Context(), c.ws, c.caller.UserID)
	if err != nil {
		return nil, err
	}
	out := []string{}
	for uid := range set {
		out = append(out, uid)
	}
	return out, nil
}

// preferencesBody is what a user, team or the organisation prefers.
type preferencesBody struct {
	Theme            string          `json:"theme,omitempty"`
	HomeDashboardUID string          `json:"homeDashboardUID,omitempty"`
	Timezone         string          `json:"timezone,omitempty"`
	WeekStart        string          `json:"weekStart,omitempty"`
	Language         string          `json:"language,omitempty"`
	QueryHistory     json.RawMessage `json:"queryHistory,omitempty"`
	Navbar           json.RawMessage `json:"navbar,omitempty"`
}

func preferencesUID(c *call, scope string) string {
	switch scope {
	case "user":
		return "user-" + strconv.FormatInt(c.caller.UserID, 10)
	case "team":
		return "team-" + c.PathValue("team")
	default:
		return "org"
	}
}

func (a *api) readPreferences(c *call, uid string) (preferencesBody, error) {
	var p preferencesBody
	d, err := a.Store.Document(c.Context(), c.ws, records.KindPreferences, uid)
	if errors.Is(err, records.ErrNotFound) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(d.Data, &p)
}

// effectivePreferences are the user's own, and the organisation's where they are silent.
func (a *api) effectivePreferences(c *call) (preferencesBody, error) {
	p, err := a.readPreferences(c, preferencesUID(c, "org"))
	if err != nil {
		return p, err
	}
	own, err := a.readPreferences(c, preferencesUID(c, "user"))
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(jsonText(own), &p)
}

func preferences(scope string) func(*api, *call) (any, error) {
	return func(a *api, c *call) (any, error) { return a.readPreferences(c, preferencesUID(c, scope)) }
}

func setPreferences(scope string, patch bool) func(*api, *call) (any, error) {
	return func(a *api, c *call) (any, error) {
		uid := preferencesUID(c, scope)
		var p preferencesBody
		if patch {
			var err error
			if p, err = a.readPreferences(c, uid); err != nil {
				return nil, err
			}
		}
		if err := c.body(&p); err != nil {
			return nil, err
		}
		if p.Theme != "" && p.Theme != "light" && p.Theme != "dark" && p.Theme != "system" {
			return nil, fail(http.StatusBadRequest, "Invalid theme")
		}
		if p.HomeDashboardUID != "" {
			if _, err := a.Store.Board(c.Context(), c.ws, p.HomeDashboardUID); err != nil {
				return nil, fail(http.StatusNotFound, "Dashboard not found")
			}
		}
		err := a.Store.PutDocument(c.Context(), &records.Document{WorkspaceID: c.ws, Kind: records.KindPreferences, UID: uid, Data: jsonText(p)})
		return message("Preferences updated"), err
	}
}

// Roles decide what plugins would: the data source types that work here.
func (a *api) plugins(*call) (any, error) {
	out := []map[string]any{}
	for _, id := range []string{"prometheus", "grafana-amazonprometheus-datasource", "alertmanager"} {
		out = append(out, pluginBody(id))
	}
	return out, nil
}

func pluginBody(id string) map[string]any {
	return map[string]any{"id": id, "name": typeName(id), "type": "datasource", "enabled": true, "pinned": false, "category": "tsdb", "state": "", "signature": "internal"}
}

func (a *api) plugin(c *call) (any, error) {
	id := c.PathValue("id")
	if typeName(id) == id {
		return nil, fail(http.StatusNotFound, "Plugin not found, no installed plugin with that id")
	}
	return pluginBody(id), nil
}
