package iam

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// Group lends its policies to the users in it.
type Group struct {
	AccountID, ID, Name, Path, ARN string
	Created                        time.Time
}

func (g *groupRow) group() Group {
	return Group{AccountID: g.AccountID, ID: g.ID, Name: g.Name, Path: g.Path, ARN: ARN(g.AccountID, KindGroup, g.Path, g.Name),
		Created: timeOf(g.CreatedAt)}
}

// CreateGroup makes an empty group without permissions.
func (s *Service) CreateGroup(ctx context.Context, account, name, path string) (Group, error) {
	if err := checkName("groupName", name, 128); err != nil {
		return Group{}, err
	}
	path, err := checkPath(path)
	if err != nil {
		return Group{}, err
	}
	row := groupRow{ID: newID(prefixGroup), AccountID: account, Name: name, Path: path, CreatedAt: s.now()}
	err = s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if taken, err := nameTaken(ctx, tx, (*groupRow)(nil), account, name); err != nil {
			return err
		} else if taken {
			return newError(ErrExists, "Group with name %s already exists.", name)
		}
		if err := checkCount(ctx, tx, (*groupRow)(nil), account, "Groups", maxGroups); err != nil {
			return err
		}
		_, err := tx.NewInsert().Model(&row).Exec(ctx)
		return err
	})
	if err != nil {
		return Group{}, fmt.Errorf("create group: %w", err)
	}
	return row.group(), nil
}

func findGroup(ctx context.Context, db bun.IDB, account, name string) (*groupRow, error) {
	g := new(groupRow)
	err := db.NewSelect().Model(g).Where("account_id = ? AND name = ?", account, name).Scan(ctx)
	if err != nil {
		return nil, found(err, "The group with name %s cannot be found.", name)
	}
	return g, nil
}

// Group returns a group.
func (s *Service) Group(ctx context.Context, account, name string) (Group, error) {
	row, err := findGroup(ctx, s.db, account, name)
	if err != nil {
		return Group{}, err
	}
	return row.group(), nil
}

// Members lists the users of a group by name.
func (s *Service) Members(ctx context.Context, account, group string) ([]User, error) {
	g, err := findGroup(ctx, s.db, account, group)
	if err != nil {
		return nil, err
	}
	var rows []userRow
	members := s.db.NewSelect().Model((*memberRow)(nil)).Column("user_id").Where("group_id = ?", g.ID)
	if err := s.db.NewSelect().Model(&rows).Where("id IN (?)", members).Order("name").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list users of group: %w", err)
	}
	users := make([]User, len(rows))
	for i := range rows {
		users[i] = rows[i].user()
	}
	return users, nil
}

// Groups lists groups; more says whether there are others after the page.
func (s *Service) Groups(ctx context.Context, account string, p Page) (groups []Group, more bool, err error) {
	var rows []groupRow
	if err := p.apply(s.db.NewSelect().Model(&rows), account).Scan(ctx); err != nil {
		return nil, false, fmt.Errorf("list groups: %w", err)
	}
	rows, more = cut(p, rows)
	return groupsOf(rows), more, nil
}

// GroupsOf lists the groups that a user is in, by name.
func (s *Service) GroupsOf(ctx context.Context, account, user string) ([]Group, error) {
	u, err := findUser(ctx, s.db, account, user)
	if err != nil {
		return nil, err
	}
	rows, err := groupRows(ctx, s.db, u.ID)
	return groupsOf(rows), err
}

func groupRows(ctx context.Context, db bun.IDB, userID string) ([]groupRow, error) {
	var rows []groupRow
	in := db.NewSelect().Model((*memberRow)(nil)).Column("group_id").Where("user_id = ?", userID)
	if err := db.NewSelect().Model(&rows).Where("id IN (?)", in).Order("name").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list groups of user: %w", err)
	}
	return rows, nil
}

func groupsOf(rows []groupRow) []Group {
	groups := make([]Group, len(rows))
	for i := range rows {
		groups[i] = rows[i].group()
	}
	return groups
}

// RenameGroup gives a group another name or path; nil keeps the old one.
func (s *Service) RenameGroup(ctx context.Context, account, name string, newName, newPath *string) error {
	return s.rename(ctx, GroupRef(account, name), (*groupRow)(nil), newName, newPath, 128)
}

// DeleteGroup removes a group that has no users or policies left.
func (s *Service) DeleteGroup(ctx context.Context, account, name string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		g, err := findGroup(ctx, tx, account, name)
		if err != nil {
			return err
		}
		if err := checkUnused(ctx, tx, g.ID, (*memberRow)(nil), "group_id", "must remove users from group first"); err != nil {
			return err
		}
		return deleteOwner(ctx, tx, (*groupRow)(nil), g.ID)
	})
}

// AddToGroup puts a user into a group; being there already is no error.
func (s *Service) AddToGroup(ctx context.Context, account, group, user string) error {
	return s.member(ctx, account, group, user, func(tx bun.Tx, m memberRow) error {
		n, err := tx.NewSelect().Model((*memberRow)(nil)).Where("user_id = ? AND group_id <> ?", m.UserID, m.GroupID).Count(ctx)
		if err != nil {
			return err
		}
		if n >= maxGroupsPerUser {
			return newError(ErrLimitExceeded, "Cannot exceed quota for GroupsPerUser: %d", maxGroupsPerUser)
		}
		_, err = tx.NewInsert().Model(&m).On("CONFLICT (group_id, user_id) DO NOTHING").Exec(ctx)
		return err
	})
}

// RemoveFromGroup takes a user out of a group; not being there is no error.
func (s *Service) RemoveFromGroup(ctx context.Context, account, group, user string) error {
	return s.member(ctx, account, group, user, func(tx bun.Tx, m memberRow) error {
		_, err := tx.NewDelete().Model(&m).WherePK().Exec(ctx)
		return err
	})
}

func (s *Service) member(ctx context.Context, account, group, user string, f func(tx bun.Tx, m memberRow) error) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		g, err := findGroup(ctx, tx, account, group)
		if err != nil {
			return err
		}
		u, err := findUser(ctx, tx, account, user)
		if err != nil {
			return err
		}
		return f(tx, memberRow{GroupID: g.ID, UserID: u.ID})
	})
}
