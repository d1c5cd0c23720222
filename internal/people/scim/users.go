package scim

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/mangru/mangru/internal/people/directory"
)

// plainAttributes are those of a user that are texts.
var plainAttributes = []string{"displayName", "nickName", "profileUrl", "userType", "title", "preferredLanguage", "locale", "timezone"}

// scimUser is a user in bodies. The names inside are those of the directory's
// profile but for their case, which reading does not mind.
type scimUser struct {
	UserName   string `json:"userName"`
	ExternalID string `json:"externalId"`
	// Active is left out by providers that mean true.
	Active *bool `json:"active"`
	directory.Profile
}

// meta of an answer.
func (s *session) meta(kind, id string, created, updated time.Time) map[string]any {
	return map[string]any{"resourceType": kind, "created": created.Format(time.RFC3339), "lastModified": updated.Format(time.RFC3339),
		"location": s.base + "/" + kind + "s/" + id}
}

// lowerNames gives the members of JSON objects SCIM's case.
func lowerNames(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, inner := range v {
			out[lowerFirst(k)] = lowerNames(inner)
		}
		return out
	case []any:
		for i := range v {
			v[i] = lowerNames(v[i])
		}
	}
	return v
}

func (s *session) userResource(u directory.User) (resource, error) {
	text, err := json.Marshal(u.Profile)
	if err != nil {
		return nil, err
	}
	var profile map[string]any
	if err := json.Unmarshal(text, &profile); err != nil {
		return nil, err
	}
	m, _ := lowerNames(profile).(map[string]any)
	out := resource(m)
	out["schemas"], out["id"], out["userName"], out["active"] = []string{schemaUser}, u.ID, u.UserName, !u.Disabled
	out["meta"] = s.meta("User", u.ID, u.Created, u.Updated)
	if id := externalID(u.ExternalIDs); id != "" {
		out["externalId"] = id
	}
	return out, nil
}

func externalID(ids []directory.ExternalID) string {
	for _, id := range ids {
		if id.Issuer == issuer {
			return id.ID
		}
	}
	return ""
}

// withExternalID sets the provider's id among those of others.
func withExternalID(ids []directory.ExternalID, id string) []directory.ExternalID {
	out := []directory.ExternalID{}
	for _, other := range ids {
		if other.Issuer != issuer {
			out = append(out, other)
		}
	}
	if id != "" {
		out = append(out, directory.ExternalID{Issuer: issuer, ID: id})
	}
	return out
}

func (u *scimUser) complete() error {
	if u.UserName == "" {
		return invalid("invalidValue", "userName: is required")
	}
	if u.DisplayName != "" {
		return nil
	}
	u.DisplayName = u.UserName
	if n := u.Name; n != nil {
		switch {
		case n.Formatted != "":
			u.DisplayName = n.Formatted
		case n.GivenName != "" && n.FamilyName != "":
			u.DisplayName = n.GivenName + " " + n.FamilyName
		}
	}
	return nil
}

func (u *scimUser) disabled() bool { return u.Active != nil && !*u.Active }

func createUser(s *session) (int, any, error) {
	var in scimUser
	if err := s.decode(&in); err != nil {
		return 0, nil, err
	}
	if err := in.complete(); err != nil {
		return 0, nil, err
	}
	u, err := s.dir.CreateUser(s.ctx, s.by, directory.User{StoreID: s.store, UserName: in.UserName, Profile: in.Profile,
		Disabled: in.disabled(), ExternalIDs: withExternalID(nil, in.ExternalID)})
	if err != nil {
		return 0, nil, err
	}
	out, err := s.userResource(u)
	return http.StatusCreated, out, err
}

func getUser(s *session) (int, any, error) {
	u, err := s.dir.User(s.ctx, s.store, s.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	out, err := s.userResource(u)
	return http.StatusOK, out, err
}

// replace writes in over the user u.
func (s *session) replace(u directory.User, in *scimUser) (int, any, error) {
	if err := in.complete(); err != nil {
		return 0, nil, err
	}
	ids, disabled := withExternalID(u.ExternalIDs, in.ExternalID), in.disabled()
	u, err := s.dir.UpdateUser(s.ctx, s.by, s.store, u.ID, directory.UserUpdate{
		UserName: &in.UserName, Disabled: &disabled, ExternalIDs: &ids,
		Profile: func(p *directory.Profile) error { *p = in.Profile; return nil },
	})
	if err != nil {
		return 0, nil, err
	}
	out, err := s.userResource(u)
	return http.StatusOK, out, err
}

func replaceUser(s *session) (int, any, error) {
	u, err := s.dir.User(s.ctx, s.store, s.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	var in scimUser
	if err := s.decode(&in); err != nil {
		return 0, nil, err
	}
	return s.replace(u, &in)
}

func patchUser(s *session) (int, any, error) {
	u, err := s.dir.User(s.ctx, s.store, s.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	ops, err := s.patch()
	if err != nil {
		return 0, nil, err
	}
	now, err := s.userResource(u)
	if err != nil {
		return 0, nil, err
	}
	for _, op := range ops {
		if err := op.apply(now); err != nil {
			return 0, nil, err
		}
	}
	for _, own := range []string{"schemas", "id", "meta"} {
		delete(now, own)
	}
	// Entra ID writes booleans as text.
	if text, ok := now["active"].(string); ok {
		switch text {
		case "True", "true":
			now["active"] = true
		case "False", "false":
			now["active"] = false
		}
	}
	text, err := json.Marshal(now)
	if err != nil {
		return 0, nil, err
	}
	var in scimUser
	if err := json.Unmarshal(text, &in); err != nil {
		return 0, nil, invalid("invalidValue", "The user that the operations make is not one: %v", err)
	}
	return s.replace(u, &in)
}

func deleteUser(s *session) (int, any, error) {
	return http.StatusNoContent, nil, s.dir.DeleteUser(s.ctx, s.store, s.r.PathValue("id"))
}

func listUsers(s *session) (int, any, error) {
	start, count, terms, err := s.wanted()
	if err != nil {
		return 0, nil, err
	}
	var f directory.UserFilter
	for _, t := range terms {
		switch t.path {
		case "username":
			f.UserName = t.value
		case "displayname":
			f.DisplayName = t.value
		case "emails.value", "emails":
			f.Email = t.value
		case "externalid":
			f.ExternalID = &directory.ExternalID{Issuer: issuer, ID: t.value}
		default:
			return 0, nil, invalid("invalidFilter", "found %.60q, allowed are userName, displayName, emails.value and externalId", t.path)
		}
	}
	users, total, err := window(start, count, func(after string) ([]directory.User, string, error) {
		return s.dir.Users(s.ctx, s.store, f, directory.Page{After: after})
	})
	if err != nil {
		return 0, nil, err
	}
	var list []resource
	for _, u := range users {
		m, err := s.userResource(u)
		if err != nil {
			return 0, nil, err
		}
		list = append(list, m)
	}
	return listAnswer(start, total, list)
}
