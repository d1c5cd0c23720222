// Package caller says who sends a request to a dashboard workspace. It holds no
// logic of sign-in: whoever checks cookies and tokens fills a Caller in.
package caller

import (
	"context"
	"errors"
)

// ErrNotSignedIn says that a request carries no proof of who sends it, or one
// that is unknown or too old; which of these is not told.
var ErrNotSignedIn = errors.New("not signed in")

// ErrNoAccess says that whoever sends a request is known, and has no role in the
// workspace that it is for.
var ErrNoAccess = errors.New("you have no role in this dashboard workspace: ask one of its administrators, or those of the installation, for one")

// DefaultWorkspace is the id of the dashboard workspace that is always there.
const DefaultWorkspace = "default"

// Role is what somebody may do in a dashboard workspace, in Grafana's words.
type Role string

// The roles, strongest first. RoleNone may do only what permissions of folders
// and boards grant by name.
const (
	RoleAdmin  Role = "Admin"
	RoleEditor Role = "Editor"
	RoleViewer Role = "Viewer"
	RoleNone   Role = "None"
)

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool {
	return r == RoleAdmin || r == RoleEditor || r == RoleViewer || r == RoleNone
}

// Includes reports whether r may do what other may.
func (r Role) Includes(other Role) bool { return r.rank() >= other.rank() }

func (r Role) rank() int {
	switch r {
	case RoleAdmin:
		return 3
	case RoleEditor:
		return 2
	case RoleViewer:
		return 1
	default:
		return 0
	}
}

type workspaceKey struct{}

// InWorkspace returns a context of requests to the workspace whose records are
// kept under key.
func InWorkspace(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, workspaceKey{}, key)
}

// WorkspaceIn returns the workspace that a request is for: the default one where
// nothing else was said.
func WorkspaceIn(ctx context.Context) string {
	if key, ok := ctx.Value(workspaceKey{}).(string); ok {
		return key
	}
	return DefaultWorkspace
}

// Caller is who sends a request, and to which dashboard workspace.
type Caller struct {
	// Workspace is the id of the dashboard workspace; records are kept per workspace.
	Workspace string
	// WorkspaceName is what people call it; empty for no name of its own.
	WorkspaceName string
	// Person is the id of the signed-in person; empty for a service account.
	Person string
	// ServiceAccount is the number of the service account; 0 for a person.
	ServiceAccount int64
	// UserID is the person's number in the workspace. The API fills it in.
	UserID int64
	Login  string
	Name   string
	Email  string
	// Role is the highest that the caller has in the workspace.
	Role Role
	// Teams are the numbers of the workspace's teams that the caller is in. The
	// API fills them in.
	Teams []int64
	// Administrator says that the person administers the installation: people
	// and workspaces. It gives no right inside a workspace.
	Administrator bool
	// CSRFToken must come back with every request that changes something. It is
	// empty where the proof is not a cookie, and browsers so do not send it unasked.
	CSRFToken string
}

// Member is somebody who may sign in to a workspace.
type Member struct {
	Person, Login, Name, Email string
	Role                       Role
}
