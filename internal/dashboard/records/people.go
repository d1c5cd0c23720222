package records

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/dashboard/caller"
)

// User is a person as a workspace knows them.
type User struct {
	bun.BaseModel `bun:"table:dash_users"`

	WorkspaceID string `bun:",pk"`
	ID          int64  `bun:",pk"`
	UID         string `bun:"uid"` // id of the person
	Login       string
	Name        string
	Email       string
	Role        caller.Role
	CreatedAt   int64
	SeenAt      int64
}

// seenEvery bounds how often a user's last request is written down.
const seenEvery = 60_000

// EnsureUser returns the workspace's record of a person, made or brought up to
// date where needed. seen says that the person is here now.
func (s *Store) EnsureUser(ctx context.Context, ws string, m caller.Member, seen bool) (*User, error) {
	now := s.millis()
	var u User
	err := notFound(s.db.NewSelect().Model(&u).Where("workspace_id = ? AND uid = ?", ws, m.Person).Scan(ctx))
	if err == nil {
		stale := seen && now-u.SeenAt >= seenEvery
		if u.Login == m.Login && u.Name == m.Name && u.Email == m.Email && u.Role == m.Role && !stale {
			return &u, nil
		}
	} else if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	var made *User
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) (err error) {
		made, err = s.ensureUser(ctx, tx, ws, m, seen)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("note a user: %w", err)
	}
	return made, nil
}

func (s *Store) ensureUser(ctx context.Context, tx bun.Tx, ws string, m caller.Member, seen bool) (*User, error) {
	u := new(User)
	err := notFound(tx.NewSelect().Model(u).Where("workspace_id = ? AND uid = ?", ws, m.Person).Scan(ctx))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	isNew := err != nil
	if isNew {
		u = &User{WorkspaceID: ws, UID: m.Person, CreatedAt: s.millis()}
		if u.ID, err = number(ctx, tx, ws, "user"); err != nil {
			return nil, err
		}
	}
	u.Login, u.Name, u.Email, u.Role = m.Login, m.Name, m.Email, m.Role
	if seen {
		u.SeenAt = s.millis()
	}
	if isNew {
		_, err = tx.NewInsert().Model(u).Exec(ctx)
	} else {
		_, err = tx.NewUpdate().Model(u).WherePK().Exec(ctx)
	}
	return u, err
}

// Users lists the users of a workspace by login.
func (s *Store) Users(ctx context.Context, ws string) ([]*User, error) {
	var list []*User
	err := s.db.NewSelect().Model(&list).Where("workspace_id = ?", ws).Order("login", "id").Scan(ctx)
	return list, err
}

// User returns the user with a number.
func (s *Store) User(ctx context.Context, ws string, id int64) (*User, error) {
	var u User
	err := s.db.NewSelect().Model(&u).Where("workspace_id = ? AND id = ?", ws, id).Scan(ctx)
	return &u, notFound(err)
}

// Team is a group of users with permissions of its own.
type Team struct {
	bun.BaseModel `bun:"table:dash_teams"`

	WorkspaceID string `bun:",pk"`
	ID          int64  `bun:",pk"`
	UID         string `bun:"uid"`
	Name        string
	Email       string
	CreatedAt   int64
	UpdatedAt   int64
}

// TeamMember is a user in a team.
type TeamMember struct {
	bun.BaseModel `bun:"table:dash_team_members"`

	WorkspaceID string `bun:",pk"`
	TeamID      int64  `bun:",pk"`
	UserID      int64  `bun:",pk"`
	Permission  int64  // 0 member, 4 administrator of the team
}

// Teams lists the teams of a workspace by name.
func (s *Store) Teams(ctx context.Context, ws string) ([]*Team, error) {
	var list []*Team
	err := s.db.NewSelect().Model(&list).Where("workspace_id = ?", ws).Order("name").Scan(ctx)
	return list, err
}

// Team returns a team by its number or its uid.
func (s *Store) Team(ctx context.Context, ws, ref string) (*Team, error) {
	var t Team
	q := s.db.NewSelect().Model(&t).Where("workspace_id = ?", ws)
	if id, err := strconv.ParseInt(ref, 10, 64); err == nil {
		q = q.Where("id = ?", id)
	} else {
		q = q.Where("uid = ?", ref)
	}
	return &t, notFound(q.Scan(ctx))
}

// CreateTeam makes a team.
func (s *Store) CreateTeam(ctx context.Context, ws, name, email string) (*Team, error) {
	now := s.millis()
	t := &Team{WorkspaceID: ws, UID: NewUID(), Name: strings.TrimSpace(name), Email: email, CreatedAt: now, UpdatedAt: now}
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model((*Team)(nil)).Where("workspace_id = ? AND name = ?", ws, t.Name).Count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			return ErrNameTaken
		}
		if t.ID, err = number(ctx, tx, ws, "team"); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(t).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// UpdateTeam renames a team.
func (s *Store) UpdateTeam(ctx context.Context, ws string, id int64, name, email string) error {
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model((*Team)(nil)).Where("workspace_id = ? AND name = ? AND id <> ?", ws, name, id).Count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			return ErrNameTaken
		}
		return changed(tx.NewUpdate().Model((*Team)(nil)).Set("name = ?", strings.TrimSpace(name)).Set("email = ?", email).Set("updated_at = ?", s.millis()).
			Where("workspace_id = ? AND id = ?", ws, id).Exec(ctx))
	})
}

// DeleteTeam removes a team with its memberships and permissions.
func (s *Store) DeleteTeam(ctx context.Context, ws string, id int64) error {
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := changed(tx.NewDelete().Model((*Team)(nil)).Where("workspace_id = ? AND id = ?", ws, id).Exec(ctx)); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model((*TeamMember)(nil)).Where("workspace_id = ? AND team_id = ?", ws, id).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model((*permissionRow)(nil)).
			Where("workspace_id = ? AND subject_kind = ? AND subject = ?", ws, SubjectTeam, strconv.FormatInt(id, 10)).Exec(ctx)
		return err
	})
}

// TeamMembers lists the members of a team, or of all teams for 0.
func (s *Store) TeamMembers(ctx context.Context, ws string, team int64) ([]*TeamMember, error) {
	var list []*TeamMember
	q := s.db.NewSelect().Model(&list).Where("workspace_id = ?", ws).Order("team_id", "user_id")
	if team != 0 {
		q = q.Where("team_id = ?", team)
	}
	return list, q.Scan(ctx)
}

// TeamsOf lists the numbers of a user's teams.
func (s *Store) TeamsOf(ctx context.Context, ws string, user int64) ([]int64, error) {
	var list []int64
	err := s.db.NewSelect().Model((*TeamMember)(nil)).Column("team_id").Where("workspace_id = ? AND user_id = ?", ws, user).Order("team_id").Scan(ctx, &list)
	return list, err
}

// SetTeamMember adds a user to a team, or changes what they may do in it. It
// reports whether the user was in the team before.
func (s *Store) SetTeamMember(ctx context.Context, ws string, team, user, permission int64) (was bool, err error) {
	n, err := s.db.NewSelect().Model((*TeamMember)(nil)).Where("workspace_id = ? AND team_id = ? AND user_id = ?", ws, team, user).Count(ctx)
	if err != nil {
		return false, err
	}
	row := TeamMember{WorkspaceID: ws, TeamID: team, UserID: user, Permission: permission}
	_, err = s.db.NewInsert().Model(&row).On("CONFLICT (workspace_id, team_id, user_id) DO UPDATE").Set("permission = EXCLUDED.permission").Exec(ctx)
	return n > 0, err
}

// RemoveTeamMember takes a user out of a team.
func (s *Store) RemoveTeamMember(ctx context.Context, ws string, team, user int64) error {
	return changed(s.db.NewDelete().Model((*TeamMember)(nil)).Where("workspace_id = ? AND team_id = ? AND user_id = ?", ws, team, user).Exec(ctx))
}

type starRow struct {
	bun.BaseModel `bun:"table:dash_stars"`

	WorkspaceID string `bun:",pk"`
	UserID      int64  `bun:",pk"`
	BoardUID    string `bun:"board_uid,pk"`
}

// Stars lists the uids of the boards that a user has starred.
func (s *Store) Stars(ctx context.Context, ws string, user int64) (map[string]bool, error) {
	var uids []string
	err := s.db.NewSelect().Model((*starRow)(nil)).Column("board_uid").Where("workspace_id = ? AND user_id = ?", ws, user).Scan(ctx, &uids)
	set := make(map[string]bool, len(uids))
	for _, u := range uids {
		set[u] = true
	}
	return set, err
}

// Star stars a board, or takes the star away.
func (s *Store) Star(ctx context.Context, ws string, user int64, uid string, on bool) error {
	row := starRow{WorkspaceID: ws, UserID: user, BoardUID: uid}
	var err error
	if on {
		_, err = s.db.NewInsert().Model(&row).On("CONFLICT (workspace_id, user_id, board_uid) DO NOTHING").Exec(ctx)
	} else {
		_, err = s.db.NewDelete().Model(&row).WherePK().Exec(ctx)
	}
	return err
}
