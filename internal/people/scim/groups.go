package scim

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mangru/mangru/internal/people/directory"
)

type member struct {
	Value string `json:"value"`
}

type scimGroup struct {
	DisplayName string   `json:"displayName"`
	ExternalID  string   `json:"externalId"`
	Members     []member `json:"members"`
}

// groupResource writes a group; its members only where they are wanted.
func (s *session) groupResource(g directory.Group, withMembers bool) (resource, error) {
	out := resource{"schemas": []string{schemaGroup}, "id": g.ID, "displayName": g.DisplayName, "meta": s.meta("Group", g.ID, g.Created, g.Updated)}
	if id := externalID(g.ExternalIDs); id != "" {
		out["externalId"] = id
	}
	if !withMembers {
		return out, nil
	}
	list, err := s.members(g.ID)
	if err != nil {
		return nil, err
	}
	all := make([]any, len(list))
	for i, m := range list {
		all[i] = map[string]any{"value": m.UserID, "type": "User", "$ref": s.base + "/Users/" + m.UserID}
	}
	out["members"] = all
	return out, nil
}

func (s *session) members(group string) ([]directory.Membership, error) {
	const all = 1 << 30
	list, _, err := window(1, all, func(after string) ([]directory.Membership, string, error) {
		return s.dir.Members(s.ctx, s.store, group, "", directory.Page{After: after})
	})
	return list, err
}

// wantsMembers reports whether the caller asked for members to be left out.
func (s *session) wantsMembers() bool { return s.r.URL.Query().Get("excludedAttributes") != "members" }

func createGroup(s *session) (int, any, error) {
	var in scimGroup
	if err := s.decode(&in); err != nil {
		return 0, nil, err
	}
	g, err := s.dir.CreateGroup(s.ctx, s.by, directory.Group{StoreID: s.store, DisplayName: in.DisplayName, ExternalIDs: withExternalID(nil, in.ExternalID)})
	if err != nil {
		return 0, nil, err
	}
	if err := s.addMembers(g.ID, in.Members); err != nil {
		return 0, nil, err
	}
	out, err := s.groupResource(g, true)
	return http.StatusCreated, out, err
}

func (s *session) addMembers(group string, list []member) error {
	for _, m := range list {
		_, err := s.dir.AddMember(s.ctx, s.by, s.store, group, m.Value)
		var there *directory.ConflictError
		if err != nil && !errors.As(err, &there) {
			if directory.IsNotFound(err) {
				return invalid("invalidValue", "members: there is no user %.60q", m.Value)
			}
			return err
		}
	}
	return nil
}

func (s *session) removeMember(group, user string) error {
	m, err := s.dir.MembershipOf(s.ctx, s.store, group, user)
	if directory.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.dir.RemoveMember(s.ctx, s.store, m.ID)
}

// setMembers makes list the members of a group.
func (s *session) setMembers(group string, list []member) error {
	want := make(map[string]bool, len(list))
	for _, m := range list {
		want[m.Value] = true
	}
	now, err := s.members(group)
	if err != nil {
		return err
	}
	if err := s.addMembers(group, list); err != nil {
		return err
	}
	for _, m := range now {
		if !want[m.UserID] {
			if err := s.dir.RemoveMember(s.ctx, s.store, m.ID); err != nil && !directory.IsNotFound(err) {
				return err
			}
		}
	}
	return nil
}

func getGroup(s *session) (int, any, error) {
	g, err := s.dir.Group(s.ctx, s.store, s.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	out, err := s.groupResource(g, s.wantsMembers())
	return http.StatusOK, out, err
}

func replaceGroup(s *session) (int, any, error) {
	g, err := s.dir.Group(s.ctx, s.store, s.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	var in scimGroup
	if err := s.decode(&in); err != nil {
		return 0, nil, err
	}
	ids := withExternalID(g.ExternalIDs, in.ExternalID)
	if g, err = s.dir.UpdateGroup(s.ctx, s.by, s.store, g.ID, directory.GroupUpdate{DisplayName: &in.DisplayName, ExternalIDs: &ids}); err != nil {
		return 0, nil, err
	}
	if err := s.setMembers(g.ID, in.Members); err != nil {
		return 0, nil, err
	}
	out, err := s.groupResource(g, true)
	return http.StatusOK, out, err
}

func patchGroup(s *session) (int, any, error) {
	g, err := s.dir.Group(s.ctx, s.store, s.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	ops, err := s.patch()
	if err != nil {
		return 0, nil, err
	}
	for _, op := range ops {
		if err := s.patchOneGroup(g.ID, op); err != nil {
			return 0, nil, err
		}
	}
	return http.StatusNoContent, nil, nil
}

func (s *session) patchOneGroup(id string, op operation) error {
	if op.Path == "" {
		var all map[string]json.RawMessage
		if err := json.Unmarshal(op.Value, &all); err != nil {
			return invalid("noTarget", "an operation without a path needs an object as value")
		}
		for name, v := range all {
			if name == "id" || name == "schemas" { // Okta repeats them
				continue
			}
			if err := s.patchOneGroup(id, operation{op.Op, name, v}); err != nil {
				return err
			}
		}
		return nil
	}
	t, err := parseTarget(op.Path)
	if err != nil {
		return err
	}
	switch t.attr {
	case "members":
		return s.patchMembers(id, op, t)
	case "displayName", "externalId":
		var text string
		if err := json.Unmarshal(op.Value, &text); err != nil && op.Op != "remove" {
			return invalid("invalidValue", "%s: is not a text", t.attr)
		}
		up := directory.GroupUpdate{DisplayName: &text}
		if t.attr == "externalId" {
			ids := withExternalID(nil, text)
			up = directory.GroupUpdate{ExternalIDs: &ids}
		}
		_, err := s.dir.UpdateGroup(s.ctx, s.by, s.store, id, up)
		return err
	}
	return invalid("invalidPath", "found %.60q, allowed are displayName, externalId and members", op.Path)
}

func (s *session) patchMembers(group string, op operation, t target) error {
	if t.where != nil {
		if op.Op != "remove" || t.where.path != "value" || t.sub != "" {
			return invalid("invalidPath", "members[value eq \"...\"] can be removed")
		}
		return s.removeMember(group, t.where.value)
	}
	var list []member
	if len(op.Value) > 0 {
		if err := json.Unmarshal(op.Value, &list); err != nil {
			return invalid("invalidValue", "members: is not a list of objects with a value")
		}
	}
	switch {
	case op.Op == "add":
		return s.addMembers(group, list)
	case op.Op == "replace" || len(list) == 0: // removing without a value removes all
		return s.setMembers(group, list)
	}
	for _, m := range list {
		if err := s.removeMember(group, m.Value); err != nil {
			return err
		}
	}
	return nil
}

func deleteGroup(s *session) (int, any, error) {
	return http.StatusNoContent, nil, s.dir.DeleteGroup(s.ctx, s.store, s.r.PathValue("id"))
}

func listGroups(s *session) (int, any, error) {
	start, count, terms, err := s.wanted()
	if err != nil {
		return 0, nil, err
	}
	var f directory.GroupFilter
	for _, t := range terms {
		switch t.path {
		case "displayname":
			f.DisplayName = t.value
		case "externalid":
			f.ExternalID = &directory.ExternalID{Issuer: issuer, ID: t.value}
		default:
			return 0, nil, invalid("invalidFilter", "found %.60q, allowed are displayName and externalId", t.path)
		}
	}
	groups, total, err := window(start, count, func(after string) ([]directory.Group, string, error) {
		return s.dir.Groups(s.ctx, s.store, f, directory.Page{After: after})
	})
	if err != nil {
		return 0, nil, err
	}
	var list []resource
	for _, g := range groups {
		m, err := s.groupResource(g, s.wantsMembers())
		if err != nil {
			return 0, nil, err
		}
		list = append(list, m)
	}
	return listAnswer(start, total, list)
}
