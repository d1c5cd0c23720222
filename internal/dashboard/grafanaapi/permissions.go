package grafanaapi

import (
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/records"
)

// Permissions come in two shapes: lists of the older API (numbers for levels),
// and those of access control (words), which newer clients use.
func permissionRoutes() []route {
	return []route{
		{"GET /api/folders/{uid}/permissions", signedIn, (*api).folderACL},
		{"POST /api/folders/{uid}/permissions", signedIn, (*api).setFolderACL},
		{"GET /api/dashboards/uid/{uid}/permissions", signedIn, (*api).boardACL},
		{"POST /api/dashboards/uid/{uid}/permissions", signedIn, (*api).setBoardACL},
		{"GET /api/dashboards/id/{id}/permissions", signedIn, (*api).boardACL},
		{"POST /api/dashboards/id/{id}/permissions", signedIn, (*api).setBoardACL},
		{"GET /api/access-control/status", signedIn, func(*api, *call) (any, error) { return map[string]bool{"enabled": true}, nil }},
		{"GET /api/access-control/{resource}/description", signedIn, (*api).describeResource},
		{"GET /api/access-control/{resource}/{uid}", signedIn, (*api).resourcePermissions},
		{"POST /api/access-control/{resource}/{uid}", signedIn, (*api).setResourcePermissions},
		{"POST /api/access-control/{resource}/{uid}/builtInRoles/{role}", signedIn, (*api).setOnePermission},
		{"POST /api/access-control/{resource}/{uid}/teams/{team}", signedIn, (*api).setOnePermission},
		{"POST /api/access-control/{resource}/{uid}/users/{user}", signedIn, (*api).setOnePermission},
	}
}

// target is a folder or a board whose permissions are looked at.
type target struct {
	folder *records.Folder
	board  *records.Board
}

func (t target) permissions(rights *records.Access) []records.Permission {
	if t.folder != nil {
		return rights.FolderPermissions(t.folder.UID)
	}
	return rights.BoardPermissions(t.board)
}

func (a *api) setTarget(c *call, t target, list []records.Permission) error {
	for _, p := range list {
		if err := a.checkSubject(c, p); err != nil {
			return err
		}
	}
	if t.folder != nil {
		return a.Store.SetFolderPermissions(c.Context(), c.ws, t.folder.UID, list)
	}
	return a.Store.SetBoardPermissions(c.Context(), c.ws, t.board.UID, list)
}

// checkSubject refuses permissions for roles, users and teams that there are not.
func (a *api) checkSubject(c *call, p records.Permission) error {
	var err error
	switch p.SubjectKind {
	case records.SubjectRole:
		if r := caller.Role(p.Subject); r != caller.RoleViewer && r != caller.RoleEditor && r != caller.RoleAdmin {
			return fail(http.StatusBadRequest, "role: found "+p.Subject+", allowed are Viewer, Editor and Admin")
		}
	case records.SubjectTeam:
		_, err = a.Store.Team(c.Context(), c.ws, p.Subject)
	default:
		id, _ := strconv.ParseInt(p.Subject, 10, 64)
		if _, err = a.Store.User(c.Context(), c.ws, id); errors.Is(err, records.ErrNotFound) {
			_, err = a.Store.ServiceAccount(c.Context(), c.ws, id)
		}
	}
	if errors.Is(err, records.ErrNotFound) {
		return fail(http.StatusBadRequest, p.SubjectKind+" "+p.Subject+" not found")
	}
	return err
}

func (a *api) folderACL(c *call) (any, error) {
	f, err := a.folder(c, records.Admin)
	if err != nil {
		return nil, err
	}
	return a.aclBody(c, target{folder: f})
}

func (a *api) boardACL(c *call) (any, error) {
	b, err := a.board(c, records.Admin)
	if err != nil {
		return nil, err
	}
	return a.aclBody(c, target{board: b})
}

func (a *api) aclBody(c *call, t target) (any, error) {
	names, err := a.names(c)
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for _, p := range t.permissions(c.rights) {
		item := map[string]any{
			"created": stamp(p.CreatedAt), "updated": stamp(p.CreatedAt), "permission": p.Level, "permissionName": p.Level.Name(), "inherited": p.Inherited != "",
			"userId": 0, "userLogin": "", "userEmail": "", "teamId": 0, "team": "", "teamEmail": "",
		}
		if t.folder != nil {
			item["uid"], item["title"], item["url"], item["isFolder"], item["folderUid"], item["folderId"] = t.folder.UID, t.folder.Title, t.folder.URL(), true, t.folder.UID, t.folder.ID
		} else {
			item["uid"], item["title"], item["url"], item["slug"], item["isFolder"], item["dashboardId"] = t.board.UID, t.board.Title, t.board.URL(), t.board.Slug(), false, t.board.ID
		}
		switch p.SubjectKind {
		case records.SubjectRole:
			item["role"] = p.Subject
		case records.SubjectTeam:
			team := names.teams[p.Subject]
			item["teamId"], item["team"], item["teamEmail"], item["teamUid"] = team.ID, team.Name, team.Email, team.UID
		default:
			u := names.users[p.Subject]
			item["userId"], item["userLogin"], item["userEmail"], item["userUid"] = u.ID, u.Login, u.Email, u.UID
		}
		out = append(out, item)
	}
	return out, nil
}

// nameBook knows users (service accounts among them) and teams by their numbers.
type nameBook struct {
	users    map[string]records.User
	accounts map[string]bool
	teams    map[string]records.Team
}

func (a *api) names(c *call) (nameBook, error) {
	book := nameBook{users: map[string]records.User{}, accounts: map[string]bool{}, teams: map[string]records.Team{}}
	users, err := a.Store.Users(c.Context(), c.ws)
	if err != nil {
		return book, err
	}
	for _, u := range users {
		book.users[strconv.FormatInt(u.ID, 10)] = *u
	}
	accounts, err := a.Store.ServiceAccounts(c.Context(), c.ws)
	if err != nil {
		return book, err
	}
	for _, s := range accounts {
		key := strconv.FormatInt(s.ID, 10)
		book.accounts[key] = true
		book.users[key] = records.User{ID: s.ID, UID: "service-account:" + key, Login: s.Login, Name: s.Name}
	}
	teams, err := a.Store.Teams(c.Context(), c.ws)
	for _, t := range teams {
		book.teams[strconv.FormatInt(t.ID, 10)] = *t
	}
	return book, err
}

// aclItem is one entry of the older API.
type aclItem struct {
	Role       string        `json:"role"`
	UserID     int64         `json:"userId"`
	TeamID     int64         `json:"teamId"`
	Permission records.Level `json:"permission"`
}

func (i aclItem) permission() (records.Permission, error) {
	if i.Permission.Name() == "" {
		return records.Permission{}, fail(http.StatusBadRequest, "permission: allowed are 1 (View), 2 (Edit) and 4 (Admin)")
	}
	p := records.Permission{Level: i.Permission}
	switch {
	case i.Role != "" && i.UserID == 0 && i.TeamID == 0:
		p.SubjectKind, p.Subject = records.SubjectRole, i.Role
	case i.Role == "" && i.UserID != 0 && i.TeamID == 0:
		p.SubjectKind, p.Subject = records.SubjectUser, strconv.FormatInt(i.UserID, 10)
	case i.Role == "" && i.UserID == 0 && i.TeamID != 0:
		p.SubjectKind, p.Subject = records.SubjectTeam, strconv.FormatInt(i.TeamID, 10)
	default:
		return p, fail(http.StatusBadRequest, "a permission is for one of role, userId and teamId")
	}
	return p, nil
}

func (a *api) setFolderACL(c *call) (any, error) {
	f, err := a.folder(c, records.Admin)
	if err != nil {
		return nil, err
	}
	if err := a.setACL(c, target{folder: f}); err != nil {
		return nil, err
	}
	return map[string]any{"message": "Folder permissions updated", "id": f.ID, "title": f.Title}, nil
}

func (a *api) setBoardACL(c *call) (any, error) {
	b, err := a.board(c, records.Admin)
	if err != nil {
		return nil, err
	}
	if err := a.setACL(c, target{board: b}); err != nil {
		return nil, err
	}
	return map[string]any{"message": "Dashboard permissions updated", "id": b.ID, "title": b.Title}, nil
}

func (a *api) setACL(c *call, t target) error {
	var in struct {
		Items []aclItem `json:"items"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	list := make([]records.Permission, 0, len(in.Items))
	for _, i := range in.Items {
		p, err := i.permission()
		if err != nil {
			return err
		}
		list = append(list, p)
	}
	return a.setTarget(c, t, list)
}

func (a *api) describeResource(c *call) (any, error) {
	levels := []string{"View", "Edit", "Admin"}
	switch c.PathValue("resource") {
	case "folders", "dashboards":
	case "datasources":
		levels = []string{"Query", "Edit", "Admin"}
	case "serviceaccounts":
		levels = []string{"Edit", "Admin"}
	case "teams":
		levels = []string{"Member", "Admin"}
	default:
		return nil, fail(http.StatusNotFound, "Not found")
	}
	return map[string]any{
		"assignments": map[string]bool{"users": true, "serviceAccounts": true, "teams": true, "builtInRoles": true}, "permissions": levels,
	}, nil
}

// resource finds what a path of access control means. Of data sources, service
// accounts and teams only the roles' rights exist, which can't be changed.
func (a *api) resource(c *call) (target, error) {
	switch c.PathValue("resource") {
	case "folders":
		f, err := a.folder(c, records.Admin)
		return target{folder: f}, err
	case "dashboards":
		b, err := a.board(c, records.Admin)
		return target{board: b}, err
	case "datasources", "serviceaccounts", "teams":
		return target{}, fail(http.StatusNotImplemented, "permissions of single "+c.PathValue("resource")+" can't be set here: roles decide")
	default:
		return target{}, fail(http.StatusNotFound, "Not found")
	}
}

var actions = map[string]map[records.Level][]string{
	"folders": {
		records.View:  {"dashboards:read", "folders:read"},
		records.Edit:  {"dashboards:read", "dashboards:write", "dashboards:delete", "dashboards:create", "folders:read", "folders:write", "folders:create", "folders:delete"},
		records.Admin: {"dashboards:read", "dashboards:write", "dashboards:delete", "dashboards:create", "folders:read", "folders:write", "folders:create", "folders:delete", "folders.permissions:read", "folders.permissions:write", "dashboards.permissions:read", "dashboards.permissions:write"},
	},
	"dashboards": {
		records.View:  {"dashboards:read"},
		records.Edit:  {"dashboards:read", "dashboards:write", "dashboards:delete"},
		records.Admin: {"dashboards:read", "dashboards:write", "dashboards:delete", "dashboards.permissions:read", "dashboards.permissions:write"},
	},
}

func (a *api) resourcePermissions(c *call) (any, error) {
	resource := c.PathValue("resource")
	if resource == "datasources" || resource == "serviceaccounts" || resource == "teams" {
		return []any{}, nil
	}
	t, err := a.resource(c)
	if err != nil {
		return nil, err
	}
	names, err := a.names(c)
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for i, p := range t.permissions(c.rights) {
		item := map[string]any{
			"id": i + 1, "roleName": "managed:" + p.SubjectKind + "s:" + p.Subject + ":permissions", "isManaged": true, "isInherited": p.Inherited != "",
			"isServiceAccount": false, "actions": actions[resource][p.Level], "permission": p.Level.Name(),
		}
		switch p.SubjectKind {
		case records.SubjectRole:
			item["builtInRole"] = p.Subject
		case records.SubjectTeam:
			team := names.teams[p.Subject]
			item["teamId"], item["team"], item["teamUid"] = team.ID, team.Name, team.UID
		default:
			u := names.users[p.Subject]
			item["userId"], item["userLogin"], item["userUid"], item["isServiceAccount"] = u.ID, u.Login, u.UID, names.accounts[p.Subject]
		}
		out = append(out, item)
	}
	return out, nil
}

// resourceCommand is one entry of access control.
type resourceCommand struct {
	UserID      int64  `json:"userId"`
	TeamID      int64  `json:"teamId"`
	BuiltInRole string `json:"builtInRole"`
	Permission  string `json:"permission"`
}

func (r resourceCommand) permission() (records.Permission, error) {
	level, ok := records.LevelNamed(r.Permission)
	if !ok {
		return records.Permission{}, fail(http.StatusBadRequest, "permission: found "+r.Permission+", allowed are View, Edit, Admin and nothing")
	}
	item := aclItem{Role: r.BuiltInRole, UserID: r.UserID, TeamID: r.TeamID, Permission: max(level, records.View)}
	p, err := item.permission()
	p.Level = level
	return p, err
}

func (a *api) setResourcePermissions(c *call) (any, error) {
	t, err := a.resource(c)
	if err != nil {
		return nil, err
	}
	var in struct {
		Permissions []resourceCommand `json:"permissions"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	// The list is of changes: what it does not name stays.
	list := ownPermissions(t, c.rights)
	for _, r := range in.Permissions {
		p, err := r.permission()
		if err != nil {
			return nil, err
		}
		list = withPermission(list, p)
	}
	if err := a.setTarget(c, t, list); err != nil {
		return nil, err
	}
	return message("Permissions updated"), nil
}

func ownPermissions(t target, rights *records.Access) []records.Permission {
	return slices.DeleteFunc(t.permissions(rights), func(p records.Permission) bool { return p.Inherited != "" })
}

// withPermission replaces the entry of p's subject; one without a level goes.
func withPermission(list []records.Permission, p records.Permission) []records.Permission {
	list = slices.DeleteFunc(list, func(o records.Permission) bool { return o.SubjectKind == p.SubjectKind && o.Subject == p.Subject })
	if p.Level == records.None {
		return list
	}
	return append(list, p)
}

func (a *api) setOnePermission(c *call) (any, error) {
	t, err := a.resource(c)
	if err != nil {
		return nil, err
	}
	var in resourceCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	in.UserID, in.TeamID, in.BuiltInRole = 0, 0, c.PathValue("role")
	if ref := c.PathValue("team"); ref != "" {
		team, err := a.Store.Team(c.Context(), c.ws, ref)
		if err != nil {
			return nil, fail(http.StatusBadRequest, "team "+ref+" not found")
		}
		in.TeamID = team.ID
	}
	if ref := c.PathValue("user"); ref != "" {
		if in.UserID, err = a.userNumber(c, ref); err != nil {
			return nil, err
		}
	}
	p, err := in.permission()
	if err != nil {
		return nil, err
	}
	if err := a.setTarget(c, t, withPermission(ownPermissions(t, c.rights), p)); err != nil {
		return nil, err
	}
	if p.Level == records.None {
		return message("Permission removed"), nil
	}
	return message("Permission updated"), nil
}

// userNumber reads a user's number or uid.
func (a *api) userNumber(c *call, ref string) (int64, error) {
	if id, err := strconv.ParseInt(ref, 10, 64); err == nil {
		return id, nil
	}
	names, err := a.names(c)
	if err != nil {
		return 0, err
	}
	for _, u := range names.users {
		if u.UID == ref {
			return u.ID, nil
		}
	}
	return 0, fail(http.StatusBadRequest, "user "+ref+" not found")
}
