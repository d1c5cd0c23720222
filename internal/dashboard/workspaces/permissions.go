package workspaces

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/people/directory"
)

// The kinds of subjects.
const (
	KindUser  = "SSO_USER"
	KindGroup = "SSO_GROUP"
)

// Subject is a user or group of the directory.
type Subject struct {
	ID   string `json:"id"`
	Kind string `json:"type"`
}

// Permission gives a subject a role.
type Permission struct {
	Subject Subject
	Role    Role
	Created time.Time
}

type permissionRow struct {
	bun.BaseModel `bun:"table:dash_workspace_permissions"`

	WorkspaceID string `bun:",pk"`
	Kind        string `bun:",pk"`
	Subject     string `bun:",pk"`
	Role        Role
	CreatedAt   int64
	CreatedBy   string
}

// RefusedError says why one change of a permission was not made. Status is that
// of HTTP.
type RefusedError struct {
	Status  int
	Message string
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Message }

// Grant gives a subject a role, in the place of the one that it has.
func (s *Service) Grant(ctx context.Context, by string, w *Workspace, who Subject, role Role) error {
	if !role.Valid() {
		return &RefusedError{400, fmt.Sprintf("role: found '%.50s', allowed are ADMIN, EDITOR and VIEWER", role)}
	}
	if err := s.exists(ctx, w, who); err != nil {
		return err
	}
	r := &permissionRow{WorkspaceID: w.ID, Kind: who.Kind, Subject: who.ID, Role: role, CreatedAt: s.now(), CreatedBy: by}
	_, err := s.db.NewInsert().Model(r).On("CONFLICT (workspace_id, kind, subject) DO UPDATE").
		Set("role = EXCLUDED.role").Set("created_by = EXCLUDED.created_by").Exec(ctx)
	if err != nil {
		return fmt.Errorf("grant a role: %w", err)
	}
	return nil
}

// exists demands that a subject is in the directory of the workspace's account.
func (s *Service) exists(ctx context.Context, w *Workspace, who Subject) error {
	store, err := s.cfg.Directory.Store(ctx, w.AccountID)
	if err != nil {
		return err
	}
	switch who.Kind {
	case KindUser:
		_, err = s.cfg.Directory.User(ctx, store.ID, who.ID)
	case KindGroup:
		_, err = s.cfg.Directory.Group(ctx, store.ID, who.ID)
	default:
		return &RefusedError{400, fmt.Sprintf("type: found '%.50s', allowed are SSO_USER and SSO_GROUP", who.Kind)}
	}
	if directory.IsNotFound(err) {
		return &RefusedError{404, fmt.Sprintf("the directory has no %s with the id '%.47s'", strings.ToLower(strings.TrimPrefix(who.Kind, "SSO_")), who.ID)}
	}
	return err
}

// Revoke takes a role away from a subject that has it.
func (s *Service) Revoke(ctx context.Context, w *Workspace, who Subject, role Role) error {
	res, err := s.db.NewDelete().Model((*permissionRow)(nil)).
		Where("workspace_id = ? AND kind = ? AND subject = ? AND role = ?", w.ID, who.Kind, who.ID, role).Exec(ctx)
	if err != nil {
		return fmt.Errorf("revoke a role: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, &RefusedError{404, fmt.Sprintf("'%.47s' does not have the role %.50s", who.ID, role)})
	}
	return nil
}

// PermissionFilter selects permissions; empty members select all.
type PermissionFilter struct{ Kind, UserID, GroupID string }

// Permissions lists who has which role by a permission. next is empty on the
// last page.
func (s *Service) Permissions(ctx context.Context, w *Workspace, f PermissionFilter, p Page) (list []Permission, next string, err error) {
	limit, after, err := p.limits()
	if err != nil {
		return nil, "", err
	}
	var rows []permissionRow
	q := s.db.NewSelect().Model(&rows).Where("workspace_id = ?", w.ID).OrderExpr("kind || '/' || subject").Limit(limit + 1)
	if after != "" {
		q.Where("kind || '/' || subject > ?", after)
	}
	if f.Kind != "" {
		q.Where("kind = ?", f.Kind)
	}
	if f.UserID != "" {
		q.Where("kind = ? AND subject = ?", KindUser, f.UserID)
	}
	if f.GroupID != "" {
		q.Where("kind = ? AND subject = ?", KindGroup, f.GroupID)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, "", fmt.Errorf("list permissions: %w", err)
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = nextPage(rows[limit-1].Kind + "/" + rows[limit-1].Subject)
	}
	for _, r := range rows {
		list = append(list, Permission{Subject{r.Subject, r.Kind}, r.Role, time.UnixMilli(r.CreatedAt).UTC()})
	}
	return list, next, nil
}

// RoleOf returns the highest role that somebody has in a workspace, by
// themselves or through a group, or ErrNoAccess. Only people of the directory of
// the workspace's account, and only through AWS_SSO, have one.
func (s *Service) RoleOf(ctx context.Context, w *Workspace, u *directory.User) (caller.Role, error) {
	if u.Disabled || !slices.Contains(w.Spec.Providers, ProviderSSO) {
		return caller.RoleNone, ErrNoAccess
	}
	store, err := s.cfg.Directory.Store(ctx, w.AccountID)
	if err != nil {
		return caller.RoleNone, err
	}
	if store.ID != u.StoreID {
		return caller.RoleNone, ErrNoAccess
	}
	if w.Default() && u.Administrator {
		return caller.RoleAdmin, nil
	}
	groups, err := s.cfg.Directory.GroupsOf(ctx, u.ID)
	if err != nil {
		return caller.RoleNone, err
	}
	roles := []Role{}
	q := s.db.NewSelect().Model((*permissionRow)(nil)).Column("role").Where("workspace_id = ?", w.ID)
	if len(groups) == 0 {
		q.Where("kind = ? AND subject = ?", KindUser, u.ID)
	} else {
		q.Where("(kind = ? AND subject = ?) OR (kind = ? AND subject IN (?))", KindUser, u.ID, KindGroup, bun.In(groups))
	}
	if err := q.Scan(ctx, &roles); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return caller.RoleNone, fmt.Errorf("read roles: %w", err)
	}
	best := w.BaseRole.Caller()
	for _, r := range roles {
		if r.Caller().Includes(best) {
			best = r.Caller()
		}
	}
	if best == caller.RoleNone {
		return best, ErrNoAccess
	}
	return best, nil
}

// Entry is a workspace that somebody may enter, with their role.
type Entry struct {
	Workspace *Workspace
	Role      caller.Role
}

// Of lists the workspaces of an account that somebody may enter, by name.
func (s *Service) Of(ctx context.Context, account string, u *directory.User) ([]Entry, error) {
	var out []Entry
	p := Page{}
	for {
		list, next, err := s.List(ctx, account, p)
		if err != nil {
			return nil, err
		}
		for _, w := range list {
			role, err := s.RoleOf(ctx, w, u)
			if errors.Is(err, ErrNoAccess) || w.Status != StatusActive {
				continue
			}
			if err != nil {
				return nil, err
			}
			out = append(out, Entry{w, role})
		}
		if next == "" {
			slices.SortStableFunc(out, func(a, b Entry) int { return strings.Compare(a.Workspace.Name, b.Workspace.Name) })
			return out, nil
		}
		p.After = next
	}
}

// Members lists who of the directory may enter a workspace.
func (s *Service) Members(ctx context.Context, w *Workspace) ([]caller.Member, error) {
	store, err := s.cfg.Directory.Store(ctx, w.AccountID)
	if err != nil {
		return nil, err
	}
	ids, err := s.memberIDs(ctx, w)
	if err != nil {
		return nil, err
	}
	var out []caller.Member
	add := func(u *directory.User) error {
		role, err := s.RoleOf(ctx, w, u)
		if errors.Is(err, ErrNoAccess) {
			return nil
		}
		out = append(out, caller.Member{Person: u.ID, Login: u.UserName, Name: u.Shown(), Email: u.Email(), Role: role})
		return err
	}
	if w.BaseRole == "" {
		for _, id := range ids {
			u, err := s.cfg.Directory.User(ctx, store.ID, id)
			if directory.IsNotFound(err) {
				continue
			}
			if err := errors.Join(err, add(&u)); err != nil {
				return nil, err
			}
		}
		slices.SortFunc(out, func(a, b caller.Member) int { return strings.Compare(a.Login, b.Login) })
		return out, nil
	}
	p := directory.Page{}
	for {
		users, next, err := s.cfg.Directory.Users(ctx, store.ID, directory.UserFilter{}, p)
		if err != nil {
			return nil, err
		}
		for i := range users {
			if err := add(&users[i]); err != nil {
				return nil, err
			}
		}
		if next == "" {
			return out, nil
		}
		p.After = next
	}
}

// memberIDs are the users that have a permission, by themselves or through a
// group.
func (s *Service) memberIDs(ctx context.Context, w *Workspace) ([]string, error) {
	ids := map[string]bool{}
	p := Page{}
	for {
		list, next, err := s.Permissions(ctx, w, PermissionFilter{}, p)
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			if x.Subject.Kind == KindUser {
				ids[x.Subject.ID] = true
				continue
			}
			if err := s.groupMembers(ctx, w, x.Subject.ID, ids); err != nil {
				return nil, err
			}
		}
		if next == "" {
			break
		}
		p.After = next
	}
	out := make([]string, 0, len(ids))
	for id := range ids {
		out = append(out, id)
	}
	slices.Sort(out)
	return out, nil
}

func (s *Service) groupMembers(ctx context.Context, w *Workspace, group string, into map[string]bool) error {
	store, err := s.cfg.Directory.Store(ctx, w.AccountID)
	if err != nil {
		return err
	}
	p := directory.Page{}
	for {
		list, next, err := s.cfg.Directory.Members(ctx, store.ID, group, "", p)
		if err != nil {
			return err
		}
		for _, m := range list {
			into[m.UserID] = true
		}
		if next == "" {
			return nil
		}
		p.After = next
	}
}
