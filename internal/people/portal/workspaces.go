package portal

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
	"github.com/mangru/mangru/internal/people/directory"
)

func workspaceRoutes() []route {
	const one = "/workspaces/{id}"
	return []route{
		{"GET /me/workspaces", signedIn, (*server).myWorkspaces},
		{"GET /workspaces", administrators, (*server).workspaces},
		{"POST /workspaces", administrators, (*server).createWorkspace},
		{"GET " + one, administrators, (*server).workspace},
		{"PATCH " + one, administrators, (*server).changeWorkspace},
		{"DELETE " + one, administrators, (*server).deleteWorkspace},
		{"POST " + one + "/permissions", administrators, (*server).grant},
		{"POST " + one + "/revocations", administrators, (*server).revoke},
		{"GET /groups", administrators, (*server).groups},
	}
}

type workspaceOutput struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	URL         string    `json:"url"`
	Default     bool      `json:"default"`
	Status      string    `json:"status"`
	Providers   []string  `json:"providers"`
	DataSources []string  `json:"dataSources"`
	BaseRole    string    `json:"baseRole"`
	Version     string    `json:"grafanaVersion"`
	Created     time.Time `json:"created"`
	// Role is the asker's, where it is their own list.
	Role        string             `json:"role,omitempty"`
	Permissions []permissionOutput `json:"permissions,omitempty"`
}

type permissionOutput struct {
	Type string          `json:"type"`
	ID   string          `json:"id"`
	Role workspaces.Role `json:"role"`
	// Name is empty for who is not in the directory any more.
	Name  string `json:"name"`
	Login string `json:"login,omitempty"`
}

func (s *server) workspaceOf(w *workspaces.Workspace) workspaceOutput {
	return workspaceOutput{ID: w.ID, Name: w.Name, Description: w.Spec.Description, URL: s.BaseURL() + workspaces.Path(w.ID) + "/", Default: w.Default(),
		Status: string(w.Status), Providers: w.Spec.Providers, DataSources: w.Spec.DataSources, BaseRole: string(w.BaseRole), Version: w.Spec.GrafanaVersion, Created: w.Created}
}

func (s *server) myWorkspaces(c *call) (any, error) {
	list, err := s.Workspaces.Of(c.Context(), s.Store.AccountID, &c.sess.User)
	out := make([]workspaceOutput, 0, len(list))
	for _, e := range list {
		w := s.workspaceOf(e.Workspace)
		w.Role = string(e.Role)
		out = append(out, w)
	}
	return out, err
}

func (s *server) workspaces(c *call) (any, error) {
	list, next, err := s.Workspaces.List(c.Context(), s.Store.AccountID, workspaces.Page{After: c.URL.Query().Get("after")})
	if err != nil {
		return nil, workspaceError(err)
	}
	out := struct {
		Workspaces []workspaceOutput `json:"workspaces"`
		Next       string            `json:"next"`
	}{make([]workspaceOutput, 0, len(list)), next}
	for _, w := range list {
		out.Workspaces = append(out.Workspaces, s.workspaceOf(w))
	}
	return out, nil
}

// workspaceError gives errors of the records their answers.
func workspaceError(err error) error {
	var bad *workspaces.InvalidError
	var taken *workspaces.ConflictError
	var quota *workspaces.QuotaError
	var refused *workspaces.RefusedError
	switch {
	case errors.As(err, &bad):
		return &directory.InvalidError{Field: bad.Field, Message: bad.Message}
	case errors.As(err, &taken):
		return &httpError{http.StatusConflict, taken.Message}
	case errors.As(err, &quota):
		return &httpError{http.StatusConflict, quota.Message}
	case errors.As(err, &refused):
		return &httpError{refused.Status, refused.Message}
	case errors.Is(err, workspaces.ErrNotFound):
		return &httpError{http.StatusNotFound, "Not found"}
	}
	return err
}

func (s *server) createWorkspace(c *call) (any, error) {
	var in struct {
		Name        string   `json:"name"`
		Description string   `json:"description"`
		Providers   []string `json:"providers"`
		DataSources []string `json:"dataSources"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Name == "" {
		return nil, &directory.InvalidError{Field: "name", Message: "is required"}
	}
	w, err := s.Workspaces.Create(c.Context(), s.Store.AccountID, workspaces.CreateInput{Name: in.Name, Spec: workspaces.Spec{
		AccountAccessType: "CURRENT_ACCOUNT", PermissionType: "SERVICE_MANAGED", Description: in.Description, Providers: in.Providers, DataSources: in.DataSources,
	}})
	if err != nil {
		return nil, workspaceError(err)
	}
	s.note(c.Context(), "dashboard workspace created", c, c.sess.User.ID)
	return s.workspaceOf(w), nil
}

func (s *server) workspaceNamed(c *call) (*workspaces.Workspace, error) {
	w, err := s.Workspaces.Get(c.Context(), s.Store.AccountID, c.PathValue("id"))
	return w, workspaceError(err)
}

func (s *server) workspace(c *call) (any, error) {
	w, err := s.workspaceNamed(c)
	if err != nil {
		return nil, err
	}
	out := s.workspaceOf(w)
	out.Permissions = []permissionOutput{}
	for p := (workspaces.Page{}); ; {
		list, next, err := s.Workspaces.Permissions(c.Context(), w, workspaces.PermissionFilter{}, p)
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			named, err := s.named(c, x)
			if err != nil {
				return nil, err
			}
			out.Permissions = append(out.Permissions, named)
		}
		if next == "" {
			return out, nil
		}
		p.After = next
	}
}

// named adds what somebody is called.
func (s *server) named(c *call, p workspaces.Permission) (permissionOutput, error) {
	out := permissionOutput{Type: p.Subject.Kind, ID: p.Subject.ID, Role: p.Role}
	var err error
	if p.Subject.Kind == workspaces.KindUser {
		var u directory.User
		if u, err = s.Directory.User(c.Context(), s.Store.ID, p.Subject.ID); err == nil {
			out.Name, out.Login = u.Shown(), u.UserName
		}
	} else {
		var g directory.Group
		g, err = s.Directory.Group(c.Context(), s.Store.ID, p.Subject.ID)
		out.Name = g.DisplayName
	}
	if directory.IsNotFound(err) {
		err = nil
	}
	return out, err
}

func (s *server) changeWorkspace(c *call) (any, error) {
	var in struct {
		Name        *string          `json:"name"`
		Description *string          `json:"description"`
		BaseRole    *workspaces.Role `json:"baseRole"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	w, err := s.Workspaces.Change(c.Context(), s.Store.AccountID, c.PathValue("id"), func(w *workspaces.Workspace) error {
		if in.Name != nil {
			w.Name = *in.Name
		}
		if in.Description != nil {
			w.Spec.Description = *in.Description
		}
		if in.BaseRole != nil {
			w.BaseRole = *in.BaseRole
		}
		return nil
	})
	if err != nil {
		return nil, workspaceError(err)
	}
	s.note(c.Context(), "dashboard workspace changed", c, c.sess.User.ID)
	return s.workspaceOf(w), nil
}

func (s *server) deleteWorkspace(c *call) (any, error) {
	_, err := s.Workspaces.Delete(c.Context(), s.Store.AccountID, c.PathValue("id"))
	s.note(c.Context(), "dashboard workspace deleted", c, c.sess.User.ID)
	return nil, workspaceError(err)
}

type assignment struct {
	Role  workspaces.Role      `json:"role"`
	Users []workspaces.Subject `json:"users"`
}

func (s *server) grant(c *call) (any, error) {
	return s.assign(c, func(w *workspaces.Workspace, who workspaces.Subject, role workspaces.Role) error {
		return s.Workspaces.Grant(c.Context(), c.sess.User.ID, w, who, role)
	})
}

func (s *server) revoke(c *call) (any, error) {
	return s.assign(c, func(w *workspaces.Workspace, who workspaces.Subject, role workspaces.Role) error {
		return s.Workspaces.Revoke(c.Context(), w, who, role)
	})
}

func (s *server) assign(c *call, do func(*workspaces.Workspace, workspaces.Subject, workspaces.Role) error) (any, error) {
	var in assignment
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	w, err := s.workspaceNamed(c)
	if err != nil {
		return nil, err
	}
	for _, who := range in.Users {
		if err := do(w, who, in.Role); err != nil {
			return nil, workspaceError(err)
		}
		s.note(c.Context(), "role in a dashboard workspace changed", c, who.ID)
	}
	return nil, nil
}

func (s *server) groups(c *call) (any, error) {
	list, next, err := s.Directory.Groups(c.Context(), s.Store.ID, directory.GroupFilter{}, directory.Page{After: c.URL.Query().Get("after")})
	type group struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	out := struct {
		Groups []group `json:"groups"`
		Next   string  `json:"next"`
	}{make([]group, 0, len(list)), next}
	for _, g := range list {
		out.Groups = append(out.Groups, group{g.ID, g.DisplayName})
	}
	return out, err
}

// deleteUser deletes a person. What they own in dashboard workspaces becomes the
// heir's, by the parameter heir, or the workspaces' administrators'.
func (s *server) deleteUser(c *call) (any, error) {
	id, heir := c.PathValue("id"), (*caller.Member)(nil)
	if name := c.URL.Query().Get("heir"); name != "" {
		u, err := s.Directory.User(c.Context(), s.Store.ID, name)
		if err != nil {
			return nil, err
		}
		if name == id || u.Disabled {
			return nil, &directory.InvalidError{Field: "heir", Message: "has to be another person, who is not disabled"}
		}
		heir = &caller.Member{Person: u.ID, Login: u.UserName, Name: u.Shown(), Email: u.Email(), Role: caller.RoleNone}
	}
	if err := s.Directory.DeleteUser(c.Context(), s.Store.ID, id); err != nil {
		return nil, err
	}
	s.note(c.Context(), "person deleted", c, id)
	// Ids are never given out again, so that what an interruption leaves is
	// nobody's.
	return nil, s.Reassign(c.Context(), id, heir)
}

func allRoutes() []route {
	return slices.Concat(routes(), passkeyRoutes(), outsideRoutes(), estateRoutes(), workspaceRoutes())
}
