package dashboard

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
)

type openWorkspace struct{}

// inWorkspace takes the workspace out of the path, so that everything behind it
// sees the paths that Grafana has, and the workspace in the context. The default
// workspace is at the root, too.
func (a *api) inWorkspace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, path := "", r.URL.Path
		if rest, ok := strings.CutPrefix(path, workspaces.PathPrefix); ok {
			id, path, _ = strings.Cut(rest, "/")
			path = "/" + path
			if !workspaces.ValidID(id) {
				writeError(w, http.StatusNotFound, "there is no such dashboard workspace")
				return
			}
		}
		ws, err := a.Workspaces.Open(r.Context(), id)
		if errors.Is(err, workspaces.ErrNotFound) {
			writeError(w, http.StatusNotFound, "there is no such dashboard workspace")
			return
		}
		if err != nil {
			a.fail(w, r, err)
			return
		}
		ctx := context.WithValue(caller.InWorkspace(r.Context(), ws.Key), openWorkspace{}, ws)
		out := r.Clone(ctx)
		if id != "" {
			out.URL.Path = path
			if raw, ok := strings.CutPrefix(r.URL.EscapedPath(), workspaces.PathPrefix+id); ok && r.URL.RawPath != "" {
				out.URL.RawPath = "/" + strings.TrimPrefix(raw, "/")
			}
		}
		next.ServeHTTP(w, out)
	})
}

// workspaceIn is the workspace that a request is for.
func workspaceIn(ctx context.Context) (*workspaces.Workspace, error) {
	ws, ok := ctx.Value(openWorkspace{}).(*workspaces.Workspace)
	if !ok {
		return nil, errors.New("BUG: a request has no dashboard workspace")
	}
	return ws, nil
}

// Identity says who sends a request by the session cookie, and what they are in
// the workspace that it is for.
type Identity struct {
	People     *People
	Workspaces *workspaces.Service
}

// Caller implements grafanaapi.Identity.
func (i Identity) Caller(r *http.Request) (caller.Caller, error) {
	ctx := r.Context()
	ws, err := workspaceIn(ctx)
	if err != nil {
		return caller.Caller{}, err
	}
	s, err := i.People.Session(ctx, sessionSecret(r))
	if errors.Is(err, ErrNotSignedIn) {
		return caller.Caller{}, caller.ErrNotSignedIn
	}
	if err != nil {
		return caller.Caller{}, err
	}
	role, err := i.Workspaces.RoleOf(ctx, ws, &s.User)
	if errors.Is(err, workspaces.ErrNoAccess) {
		return caller.Caller{}, caller.ErrNoAccess
	}
	if err != nil {
		return caller.Caller{}, err
	}
	c := caller.Caller{Workspace: ws.Key, Person: s.User.ID, Login: s.User.UserName, Name: s.User.Shown(), Email: s.User.Email(), Role: role, CSRFToken: s.CSRFToken,
		Administrator: s.User.Administrator}
	if !ws.Default() {
		c.WorkspaceName = ws.Name
	}
	return c, nil
}

// Members implements grafanaapi.Identity.
func (i Identity) Members(ctx context.Context, _ string) ([]caller.Member, error) {
	ws, err := workspaceIn(ctx)
	if err != nil {
		return nil, err
	}
	return i.Workspaces.Members(ctx, ws)
}
