package iam

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/auth/policy"
)

// Role is an identity that trusted callers take on for a while.
type Role struct {
	AccountID, Name, Path string
	// ID is the unique id (AROA…): a role that is deleted and made anew is
	// another one.
	ID, ARN     string
	Description string
	// Trust is the document that says who may take the role on.
	Trust string
	// MaxSession is how long a session may last, 1 to 12 hours.
	MaxSession time.Duration
	// Boundary is the ARN of the permissions boundary, "" for none.
	Boundary string
	Created  time.Time
	LastUsed Usage
	Tags     map[string]string // nil in lists
}

func (r *roleRow) role() Role {
	return Role{AccountID: r.AccountID, Name: r.Name, Path: r.Path, ID: r.ID, ARN: ARN(r.AccountID, KindRole, r.Path, r.Name),
		Description: r.Description, Trust: r.Trust, MaxSession: time.Duration(r.MaxSession) * time.Second, Boundary: r.Boundary,
		Created: timeOf(r.CreatedAt), LastUsed: Usage{At: timeOf(r.UsedAt), Region: r.UsedRegion}}
}

// RoleSpec is what a new role is like.
type RoleSpec struct {
	Name, Path, Description string
	Trust                   string
	MaxSession              time.Duration // 0 means an hour
	Boundary                string
	Tags                    map[string]string
}

// CreateRole makes a role without permissions.
func (s *Service) CreateRole(ctx context.Context, account string, spec RoleSpec) (Role, error) {
	if err := checkName("roleName", spec.Name, 64); err != nil {
		return Role{}, err
	}
	path, err := checkPath(spec.Path)
	if err != nil {
		return Role{}, err
	}
	if spec.MaxSession == 0 {
		spec.MaxSession = minSessionSeconds * time.Second
	}
	if err := checkRole(spec.Description, spec.MaxSession); err != nil {
		return Role{}, err
	}
	if err := checkTrust(spec.Trust); err != nil {
		return Role{}, err
	}
	row := roleRow{ID: newID(prefixRole), AccountID: account, Name: spec.Name, Path: path, Description: spec.Description, Trust: spec.Trust,
		MaxSession: int64(spec.MaxSession / time.Second), Boundary: spec.Boundary, CreatedAt: s.now()}
	err = s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if taken, err := nameTaken(ctx, tx, (*roleRow)(nil), account, spec.Name); err != nil {
			return err
		} else if taken {
			return newError(ErrExists, "Role with name %s already exists.", spec.Name)
		}
		if err := checkCount(ctx, tx, (*roleRow)(nil), account, "Roles", maxRoles); err != nil {
			return err
		}
		if err := checkBoundary(ctx, tx, account, spec.Boundary); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return err
		}
		return putTags(ctx, tx, row.ID, spec.Tags)
	})
	if err != nil {
		return Role{}, fmt.Errorf("create role: %w", err)
	}
	r := row.role()
	r.Tags = spec.Tags
	return r, nil
}

func checkRole(description string, maxSession time.Duration) error {
	if maxSession < minSessionSeconds*time.Second || maxSession > maxSessionSeconds*time.Second || maxSession%time.Second != 0 {
		return newError(ErrInvalidInput, "The specified value for maxSessionDuration is invalid. It must be between %d and %d seconds.",
			minSessionSeconds, maxSessionSeconds)
	}
	return checkDescription(description)
}

func checkTrust(document string) error {
	if _, err := parse(document, policy.Trust); err != nil {
		return err
	}
	if sizeOf(document) > maxTrustPolicySize {
		return newError(ErrLimitExceeded, "Cannot exceed quota for ACLSizePerRole: %d", maxTrustPolicySize)
	}
	return nil
}

func findRole(ctx context.Context, db bun.IDB, account, name string) (*roleRow, error) {
	r := new(roleRow)
	err := db.NewSelect().Model(r).Where("account_id = ? AND name = ?", account, name).Scan(ctx)
	if err != nil {
		return nil, found(err, "The role with name %s cannot be found.", name)
	}
	return r, nil
}

// Role returns a role with its tags.
func (s *Service) Role(ctx context.Context, account, name string) (Role, error) {
	row, err := findRole(ctx, s.db, account, name)
	if err != nil {
		return Role{}, err
	}
	r := row.role()
	r.LastUsed = s.usage.newest(r.ID, r.LastUsed)
	r.LastUsed.Service = ""
	r.Tags, err = tagsOf(ctx, s.db, r.ID)
	return r, err
}

// Roles lists roles; more says whether there are others after the page.
func (s *Service) Roles(ctx context.Context, account string, p Page) (roles []Role, more bool, err error) {
	var rows []roleRow
	if err := p.apply(s.db.NewSelect().Model(&rows), account).Scan(ctx); err != nil {
		return nil, false, fmt.Errorf("list roles: %w", err)
	}
	rows, more = cut(p, rows)
	roles = make([]Role, len(rows))
	for i := range rows {
		roles[i] = rows[i].role()
	}
	return roles, more, nil
}

// UpdateRole changes a role's description or longest session; nil keeps them.
func (s *Service) UpdateRole(ctx context.Context, account, name string, description *string, maxSession *time.Duration) error {
	return s.updateRole(ctx, account, name, func(r *roleRow) error {
		if description != nil {
			r.Description = *description
		}
		if maxSession != nil {
			r.MaxSession = int64(*maxSession / time.Second)
		}
		return checkRole(r.Description, time.Duration(r.MaxSession)*time.Second)
	})
}

// SetTrust replaces the document that says who may take a role on.
func (s *Service) SetTrust(ctx context.Context, account, name, document string) error {
	if err := checkTrust(document); err != nil {
		return err
	}
	return s.updateRole(ctx, account, name, func(r *roleRow) error {
		r.Trust = document
		return nil
	})
}

func (s *Service) updateRole(ctx context.Context, account, name string, f func(*roleRow) error) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		r, err := findRole(ctx, tx, account, name)
		if err != nil {
			return err
		}
		if err := f(r); err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model(r).Column("description", "max_session", "trust").WherePK().Exec(ctx)
		return err
	})
}

// DeleteRole removes a role that has no policies left. Its sessions may do
// nothing from then on.
func (s *Service) DeleteRole(ctx context.Context, account, name string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		r, err := findRole(ctx, tx, account, name)
		if err != nil {
			return err
		}
		return deleteOwner(ctx, tx, (*roleRow)(nil), r.ID)
	})
}
