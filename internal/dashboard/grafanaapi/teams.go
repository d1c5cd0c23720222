package grafanaapi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/mangru/mangru/internal/dashboard/records"
)

func teamRoutes() []route {
	return []route{
		{"GET /api/teams/search", signedIn, (*api).searchTeams},
		{"POST /api/teams", admins, (*api).createTeam},
		{"GET /api/teams/{team}", signedIn, (*api).getTeam},
		{"PUT /api/teams/{team}", signedIn, (*api).updateTeam},
		{"DELETE /api/teams/{team}", signedIn, (*api).deleteTeam},
		{"GET /api/teams/{team}/members", signedIn, (*api).teamMembers},
		{"POST /api/teams/{team}/members", signedIn, (*api).addTeamMember},
		{"PUT /api/teams/{team}/members", signedIn, (*api).setTeamMembers},
		{"PUT /api/teams/{team}/members/{user}", signedIn, (*api).updateTeamMember},
		{"DELETE /api/teams/{team}/members/{user}", signedIn, (*api).removeTeamMember},
		{"GET /api/teams/{team}/preferences", signedIn, preferences("team")},
		{"PUT /api/teams/{team}/preferences", admins, setPreferences("team", false)},
		{"GET /api/teams/{team}/groups", signedIn, func(*api, *call) (any, error) { return []any{}, nil }},
	}
}

func teamBody(t *records.Team, members []*records.TeamMember, user int64) map[string]any {
	n, permission := 0, int64(0)
	for _, m := range members {
		if m.TeamID == t.ID {
			n++
			if m.UserID == user {
				permission = m.Permission
			}
		}
	}
	return map[string]any{
		"id": t.ID, "uid": t.UID, "orgId": OrgID, "name": t.Name, "email": t.Email, "avatarUrl": "", "memberCount": n, "permission": permission,
		"externalUID": "", "isProvisioned": false, "accessControl": nil,
	}
}

// teamList lists the teams that a user is in.
func (a *api) teamList(c *call, user int64) (any, error) {
	teams, err := a.Store.Teams(c.Context(), c.ws)
	if err != nil {
		return nil, err
	}
	members, err := a.Store.TeamMembers(c.Context(), c.ws, 0)
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for _, t := range teams {
		for _, m := range members {
			if m.TeamID == t.ID && m.UserID == user {
				out = append(out, teamBody(t, members, user))
			}
		}
	}
	return out, nil
}

func (a *api) searchTeams(c *call) (any, error) {
	teams, err := a.Store.Teams(c.Context(), c.ws)
	if err != nil {
		return nil, err
	}
	members, err := a.Store.TeamMembers(c.Context(), c.ws, 0)
	if err != nil {
		return nil, err
	}
	q := c.URL.Query()
	name, query := q.Get("name"), strings.ToLower(q.Get("query"))
	out := []map[string]any{}
	for _, t := range teams {
		if (name == "" || t.Name == name) && strings.Contains(strings.ToLower(t.Name), query) {
			out = append(out, teamBody(t, members, c.caller.UserID))
		}
	}
	total, per := len(out), max(c.number("perpage", 1000), 1)
	from := min((max(c.number("page", 1), 1)-1)*per, total)
	return map[string]any{"totalCount": total, "teams": out[from:min(from+per, total)], "page": max(c.number("page", 1), 1), "perPage": per}, nil
}

// team finds the team of a path; to manage it one is an administrator of the
// workspace or of the team.
func (a *api) team(c *call, manage bool) (*records.Team, []*records.TeamMember, error) {
	t, err := a.Store.Team(c.Context(), c.ws, c.PathValue("team"))
	if errors.Is(err, records.ErrNotFound) {
		return nil, nil, fail(http.StatusNotFound, "Team not found")
	}
	if err != nil {
		return nil, nil, err
	}
	members, err := a.Store.TeamMembers(c.Context(), c.ws, t.ID)
	if err != nil {
		return nil, nil, err
	}
	if !manage || mayCall(c.caller.Role, admins) {
		return t, members, nil
	}
	for _, m := range members {
		if m.UserID == c.caller.UserID && m.Permission >= int64(records.Admin) {
			return t, members, nil
		}
	}
	return nil, nil, denied("teams:write")
}

type teamCommand struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

func (a *api) createTeam(c *call) (any, error) {
	var in teamCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if strings.TrimSpace(in.Name) == "" || len(in.Name) > 190 {
		return nil, fail(http.StatusBadRequest, "name: allowed are 1 to 190 characters")
	}
	t, err := a.Store.CreateTeam(c.Context(), c.ws, in.Name, in.Email)
	if errors.Is(err, records.ErrNameTaken) {
		return nil, fail(http.StatusConflict, "Team name taken")
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"teamId": t.ID, "uid": t.UID, "message": "Team created"}, nil
}

func (a *api) getTeam(c *call) (any, error) {
	t, members, err := a.team(c, false)
	if err != nil {
		return nil, err
	}
	return teamBody(t, members, c.caller.UserID), nil
}

func (a *api) updateTeam(c *call) (any, error) {
	t, _, err := a.team(c, true)
	if err != nil {
		return nil, err
	}
	var in teamCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if strings.TrimSpace(in.Name) == "" || len(in.Name) > 190 {
		return nil, fail(http.StatusBadRequest, "name: allowed are 1 to 190 characters")
	}
	err = a.Store.UpdateTeam(c.Context(), c.ws, t.ID, in.Name, in.Email)
	if errors.Is(err, records.ErrNameTaken) {
		return nil, fail(http.StatusBadRequest, "Team name taken")
	}
	return message("Team updated"), err
}

func (a *api) deleteTeam(c *call) (any, error) {
	t, _, err := a.team(c, true)
	if err != nil {
		return nil, err
	}
	return message("Team deleted"), a.Store.DeleteTeam(c.Context(), c.ws, t.ID)
}

func (a *api) teamMembers(c *call) (any, error) {
	t, members, err := a.team(c, false)
	if err != nil {
		return nil, err
	}
	names, err := a.names(c)
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for _, m := range members {
		u := names.users[strconv.FormatInt(m.UserID, 10)]
		out = append(out, map[string]any{
			"orgId": OrgID, "teamId": t.ID, "teamUID": t.UID, "userId": m.UserID, "userUID": u.UID, "auth_module": "", "email": u.Email, "name": u.Name,
			"login": u.Login, "avatarUrl": "", "labels": []string{}, "permission": m.Permission,
		})
	}
	return out, nil
}

type memberCommand struct {
	UserID     int64 `json:"userId"`
	Permission int64 `json:"permission"`
}

func (a *api) addTeamMember(c *call) (any, error) {
	t, _, err := a.team(c, true)
	if err != nil {
		return nil, err
	}
	var in memberCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if _, err := a.Store.User(c.Context(), c.ws, in.UserID); err != nil {
		return nil, errUserNotFound
	}
	was, err := a.Store.SetTeamMember(c.Context(), c.ws, t.ID, in.UserID, 0)
	if err != nil {
		return nil, err
	}
	if was {
		return nil, fail(http.StatusBadRequest, "User is already added to this team")
	}
	return message("Member added to Team"), nil
}

// setTeamMembers makes the members and administrators of a team those of two
// lists of e-mail addresses.
func (a *api) setTeamMembers(c *call) (any, error) {
	t, members, err := a.team(c, true)
	if err != nil {
		return nil, err
	}
	var in struct {
		Members []string `json:"members"`
		Admins  []string `json:"admins"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	users, err := a.members(c)
	if err != nil {
		return nil, err
	}
	want := map[int64]int64{}
	for i, email := range append(in.Members, in.Admins...) {
		id := int64(0)
		for _, u := range users {
			if strings.EqualFold(u.Email, email) || strings.EqualFold(u.Login, email) {
				id = u.ID
			}
		}
		if id == 0 {
			return nil, fail(http.StatusBadRequest, "user "+email+" not found")
		}
		want[id] = 0
		if i >= len(in.Members) {
			want[id] = int64(records.Admin)
		}
	}
	for _, m := range members {
		if _, ok := want[m.UserID]; !ok {
			if err := a.Store.RemoveTeamMember(c.Context(), c.ws, t.ID, m.UserID); err != nil {
				return nil, err
			}
		}
	}
	for id, permission := range want {
		if _, err := a.Store.SetTeamMember(c.Context(), c.ws, t.ID, id, permission); err != nil {
			return nil, err
		}
	}
	return message("Team memberships have been updated"), nil
}

func (a *api) teamMember(c *call) (team, user int64, err error) {
	t, members, err := a.team(c, true)
	if err != nil {
		return 0, 0, err
	}
	if user, err = a.userNumber(c, c.PathValue("user")); err != nil {
		return 0, 0, err
	}
	for _, m := range members {
		if m.UserID == user {
			return t.ID, user, nil
		}
	}
	return 0, 0, fail(http.StatusNotFound, "Team member not found.")
}

func (a *api) updateTeamMember(c *call) (any, error) {
	team, user, err := a.teamMember(c)
	if err != nil {
		return nil, err
	}
	var in memberCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	_, err = a.Store.SetTeamMember(c.Context(), c.ws, team, user, in.Permission)
	return message("Team member updated"), err
}

func (a *api) removeTeamMember(c *call) (any, error) {
	team, user, err := a.teamMember(c)
	if err != nil {
		return nil, err
	}
	return message("Team Member removed"), a.Store.RemoveTeamMember(c.Context(), c.ws, team, user)
}
