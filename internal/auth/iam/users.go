package iam

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// User is a person or program of an account with long-lived keys.
type User struct {
	AccountID, ID, Name, Path, ARN string
	Boundary                       string
	Created                        time.Time
	Tags                           map[string]string // nil in lists
}

func (u *userRow) user() User {
	return User{AccountID: u.AccountID, ID: u.ID, Name: u.Name, Path: u.Path, ARN: ARN(u.AccountID, KindUser, u.Path, u.Name),
		Boundary: u.Boundary, Created: timeOf(u.CreatedAt)}
}

func (u *userRow) principal(keyID string) Principal {
	return Principal{AccountID: u.AccountID, Type: TypeUser, ARN: ARN(u.AccountID, KindUser, u.Path, u.Name),
		ID: u.ID, Name: u.Name, AccessKeyID: keyID}
}

// UserSpec is what a new user is like.
type UserSpec struct {
	Name, Path string
	Boundary   string
	Tags       map[string]string
}

// CreateUser makes a user without keys or permissions.
func (s *Service) CreateUser(ctx context.Context, account, name string) (Principal, error) {
	u, err := s.AddUser(ctx, account, UserSpec{Name: name})
	if err != nil {
		return Principal{}, err
	}
	return Principal{AccountID: account, Type: TypeUser, ARN: u.ARN, ID: u.ID, Name: u.Name}, nil
}

// AddUser makes a user without keys or permissions.
func (s *Service) AddUser(ctx context.Context, account string, spec UserSpec) (User, error) {
	if err := checkName("userName", spec.Name, 64); err != nil {
		return User{}, err
	}
	path, err := checkPath(spec.Path)
	if err != nil {
		return User{}, err
	}
	row := userRow{ID: newID(prefixUser), AccountID: account, Name: spec.Name, Path: path, Boundary: spec.Boundary, CreatedAt: s.now()}
	err = s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if taken, err := nameTaken(ctx, tx, (*userRow)(nil), account, spec.Name); err != nil {
			return err
		} else if taken {
			return newError(ErrExists, "User with name %s already exists.", spec.Name)
		}
		if err := checkCount(ctx, tx, (*userRow)(nil), account, "Users", maxUsers); err != nil {
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
		return User{}, fmt.Errorf("create user: %w", err)
	}
	u := row.user()
	u.Tags = spec.Tags
	return u, nil
}

func findUser(ctx context.Context, db bun.IDB, account, name string) (*userRow, error) {
	u := new(userRow)
	err := db.NewSelect().Model(u).Where("account_id = ? AND name = ?", account, name).Scan(ctx)
	if err != nil {
		return nil, found(err, "The user with name %s cannot be found.", name)
	}
	return u, nil
}

// User returns a user with its tags.
func (s *Service) User(ctx context.Context, account, name string) (User, error) {
	row, err := findUser(ctx, s.db, account, name)
	if err != nil {
		return User{}, err
	}
	u := row.user()
	u.Tags, err = tagsOf(ctx, s.db, u.ID)
	return u, err
}

// Users lists users; more says whether there are others after the page.
func (s *Service) Users(ctx context.Context, account string, p Page) (users []User, more bool, err error) {
	var rows []userRow
	if err := p.apply(s.db.NewSelect().Model(&rows), account).Scan(ctx); err != nil {
		return nil, false, fmt.Errorf("list users: %w", err)
	}
	rows, more = cut(p, rows)
	users = make([]User, len(rows))
	for i := range rows {
		users[i] = rows[i].user()
	}
	return users, more, nil
}

// RenameUser gives a user another name or path; nil keeps the old one.
func (s *Service) RenameUser(ctx context.Context, account, name string, newName, newPath *string) error {
	return s.rename(ctx, UserRef(account, name), (*userRow)(nil), newName, newPath, 64)
}

// rename changes the name or path of a user or group. Its id stays, and what
// hangs on the id with it.
func (s *Service) rename(ctx context.Context, ref Ref, model any, newName, newPath *string, most int) error {
	if newName != nil {
		if err := checkName("new"+string(ref.Kind)+"Name", *newName, most); err != nil {
			return err
		}
	}
	if newPath != nil {
		path, err := checkPath(*newPath)
		if err != nil {
			return err
		}
		newPath = &path
	}
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		e, err := entityOf(ctx, tx, ref)
		if err != nil {
			return err
		}
		q := tx.NewUpdate().Model(model).Where("id = ?", e.ID)
		if newName != nil && *newName != ref.Name {
			n, err := tx.NewSelect().Model(model).Where("account_id = ? AND lower(name) = lower(?) AND id <> ?", ref.Account, *newName, e.ID).Count(ctx)
			if err != nil {
				return err
			}
			if n > 0 {
				return newError(ErrExists, "A %s with name %s already exists.", ref.Kind, *newName)
			}
			q = q.Set("name = ?", *newName)
		}
		if newPath != nil {
			q = q.Set("path = ?", *newPath)
		}
		if newName == nil && newPath == nil || newPath == nil && *newName == ref.Name {
			return nil
		}
		_, err = q.Exec(ctx)
		return err
	})
}

// DeleteUser removes a user that has no keys, groups or policies left.
func (s *Service) DeleteUser(ctx context.Context, account, name string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		u, err := findUser(ctx, tx, account, name)
		if err != nil {
			return err
		}
		if err := checkUnused(ctx, tx, u.ID, (*keyRow)(nil), "user_id", "must delete access keys first"); err != nil {
			return err
		}
		if err := checkUnused(ctx, tx, u.ID, (*memberRow)(nil), "user_id", "must remove users from group first"); err != nil {
			return err
		}
		return deleteOwner(ctx, tx, (*userRow)(nil), u.ID)
	})
}

// checkUnused refuses to delete a record while rows of another table point to
// it.
func checkUnused(ctx context.Context, tx bun.Tx, id string, model any, column, advice string) error {
	n, err := tx.NewSelect().Model(model).Where("? = ?", bun.Ident(column), id).Count(ctx)
	if err != nil {
		return err
	}
	if n > 0 {
		return newError(ErrDeleteConflict, "Cannot delete entity, %s.", advice)
	}
	return nil
}

// deleteOwner removes a user, group or role and its tags; policies have to be
// gone.
func deleteOwner(ctx context.Context, tx bun.Tx, model any, id string) error {
	if err := checkUnused(ctx, tx, id, (*attachmentRow)(nil), "owner_id", "must detach all policies first"); err != nil {
		return err
	}
	if err := checkUnused(ctx, tx, id, (*inlineRow)(nil), "owner_id", "must delete policies first"); err != nil {
		return err
	}
	if _, err := tx.NewDelete().Model((*tagRow)(nil)).Where("owner_id = ?", id).Exec(ctx); err != nil {
		return err
	}
	_, err := tx.NewDelete().Model(model).Where("id = ?", id).Exec(ctx)
	return err
}
