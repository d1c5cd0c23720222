// Package workspaces keeps dashboard workspaces: what Amazon Managed Grafana
// calls workspaces, with who may enter each as what. Boards, folders and data
// sources of a workspace are kept elsewhere, under its key.
//
// Roles come from here only. They are read anew for every request, so that a
// change holds at once, for open sessions too.
package workspaces

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/people/directory"
)

// Status is the state of a workspace.
type Status string

// The states. Creation is done when Create returns; StatusDeleting is seen
// where a deletion was interrupted, until Resume has ended it.
const (
	StatusActive   Status = "ACTIVE"
	StatusDeleting Status = "DELETING"
)

// How people prove who they are to a workspace.
const (
	ProviderSSO  = "AWS_SSO"
	ProviderSAML = "SAML"
)

// Workspace is one dashboard workspace.
type Workspace struct {
	// ID is g- and ten hexadecimal digits.
	ID                string
	AccountID, Region string
	// Key is what the workspace's boards and so on are kept under.
	Key    string
	Name   string // "" for none
	Status Status
	Spec   Spec
	Tags   map[string]string
	// BaseRole is what everybody of the directory has here without a
	// permission; empty for nothing.
	BaseRole          Role
	Created, Modified time.Time
}

// Default reports whether w is the workspace that an installation always has.
func (w *Workspace) Default() bool { return w.Key == caller.DefaultWorkspace }

// ARN returns the workspace's Amazon Resource Name.
func (w *Workspace) ARN() string { return ARN(w.Region, w.AccountID, w.ID) }

// ARN returns the name of a workspace, existing or not.
func ARN(region, account, id string) string {
	return "arn:aws:grafana:" + region + ":" + account + ":/workspaces/" + id
}

// ParseARN returns the parts of a workspace's ARN.
func ParseARN(arn string) (region, account, id string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] != "aws" || parts[2] != "grafana" {
		return "", "", "", false
	}
	id, ok = strings.CutPrefix(parts[5], "/workspaces/")
	return parts[3], parts[4], id, ok && ValidID(id)
}

var validID = regexp.MustCompile(`^g-[0-9a-f]{10}$`)

// PathPrefix begins the paths of workspaces on the pages' address.
const PathPrefix = "/w/"

// Path is where a workspace's pages are: /w/g-0123456789.
func Path(id string) string { return PathPrefix + id }

// ValidID reports whether id has the form of a workspace id.
func ValidID(id string) bool { return validID.MatchString(id) }

// Role is what a permission gives, in the words of the API.
type Role string

// The roles.
const (
	RoleAdmin  Role = "ADMIN"
	RoleEditor Role = "EDITOR"
	RoleViewer Role = "VIEWER"
)

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return r == RoleAdmin || r == RoleEditor || r == RoleViewer }

// Caller is the role in the words of Grafana's API.
func (r Role) Caller() caller.Role {
	switch r {
	case RoleAdmin:
		return caller.RoleAdmin
	case RoleEditor:
		return caller.RoleEditor
	case RoleViewer:
		return caller.RoleViewer
	}
	return caller.RoleNone
}

// RoleOf is a role of Grafana's API in the words of this one.
func RoleOf(r caller.Role) Role { return Role(strings.ToUpper(string(r))) }

// Errors of this package.
var (
	// ErrNotFound says that the account has no such workspace.
	ErrNotFound = errors.New("no such workspace")
	// ErrNoAccess says that somebody has no role in a workspace.
	ErrNoAccess = errors.New("no role in this workspace")
)

// InvalidError says what is wrong with a field, and what is allowed.
type InvalidError struct{ Field, Message string }

// Error implements error.
func (e *InvalidError) Error() string { return e.Field + ": " + e.Message }

// ConflictError says that the state of a workspace, or an earlier call, does not
// allow this one.
type ConflictError struct{ ID, Message string }

// Error implements error.
func (e *ConflictError) Error() string { return e.Message }

// QuotaError says that there are as many workspaces as there may be.
type QuotaError struct{ Message string }

// Error implements error.
func (e *QuotaError) Error() string { return e.Message }

// Config of a Service.
type Config struct {
	// Region that workspaces are made in. Required.
	Region string
	// Directory has the people and groups. Required.
	Directory *directory.Directory
	// Purge takes away everything that is kept under a workspace's key. It may be
	// called again after a failure. Required.
	Purge func(ctx context.Context, key string) error
	// MaxWorkspaces bounds the workspaces of an account. Zero means 100.
	MaxWorkspaces int
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Service is the records of workspaces. It keeps nothing in memory, so that any
// number of processes may have one.
type Service struct {
	cfg Config
	db  *bun.DB
}

// New returns the service over db.
func New(cfg Config, db *bun.DB) (*Service, error) {
	if cfg.Region == "" || cfg.Directory == nil || cfg.Purge == nil {
		return nil, errors.New("workspaces: region, directory and purge are required")
	}
	if cfg.MaxWorkspaces == 0 {
		cfg.MaxWorkspaces = 100
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg, db: db}, nil
}

func (s *Service) now() int64 { return s.cfg.Now().UnixMilli() }

// EnsureDefault returns the workspace that an installation always has, made
// where it is missing. Everybody of the directory may look at its boards;
// administrators of the installation administer it.
func (s *Service) EnsureDefault(ctx context.Context, account string) (*Workspace, error) {
	w, err := s.byKey(ctx, caller.DefaultWorkspace)
	if !errors.Is(err, ErrNotFound) {
		return w, err
	}
	spec := Spec{AccountAccessType: "CURRENT_ACCOUNT", PermissionType: "SERVICE_MANAGED", DataSources: []string{"PROMETHEUS"}, Providers: []string{ProviderSSO}}
	if err := spec.complete(); err != nil {
		return nil, err
	}
	r := &row{ID: newID(), AccountID: account, Region: s.cfg.Region, RecordsKey: caller.DefaultWorkspace, Name: "default", Status: StatusActive,
		BaseRole: RoleViewer, Spec: spec.text(), Tags: "{}", CreatedAt: s.now(), UpdatedAt: s.now()}
	if _, err := s.db.NewInsert().Model(r).On("CONFLICT (records_key) DO NOTHING").Exec(ctx); err != nil {
		return nil, fmt.Errorf("make the default dashboard workspace: %w", err)
	}
	return s.byKey(ctx, caller.DefaultWorkspace)
}
