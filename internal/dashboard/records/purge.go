package records

import (
	"context"
	"fmt"
	"strconv"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/dashboard/caller"
)

// tables lists every table whose rows belong to a workspace, children of others
// first.
var tables = []string{
	"dash_stars", "dash_board_versions", "dash_boards", "dash_permissions", "dash_folders", "dash_tokens", "dash_service_accounts",
	"dash_team_members", "dash_teams", "dash_annotations", "dash_documents", "dash_data_sources", "dash_users", "dash_counters",
}

// Purge takes away everything that is in a workspace. Calling it again is no
// error.
func (s *Store) Purge(ctx context.Context, ws string) error {
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		for _, t := range tables {
			if _, err := tx.NewDelete().Table(t).Where("workspace_id = ?", ws).Exec(ctx); err != nil {
				return fmt.Errorf("empty %s: %w", t, err)
			}
		}
		return nil
	})
}

// Reassign gives what a person owns, in every workspace, to an heir: permissions
// that are theirs by name, and administration of teams, annotations. What is about nobody else
// (stars, preferences, remembered queries) is taken away. Without an heir the
// permissions go too; administrators of a workspace reach everything in it all
// the same. It is for people who are deleted.
func (s *Store) Reassign(ctx context.Context, person string, heir *caller.Member) error {
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var users []User
		if err := tx.NewSelect().Model(&users).Where("uid = ?", person).Scan(ctx); err != nil {
			return fmt.Errorf("find what a person owns: %w", err)
		}
		for i := range users {
			if err := s.reassignIn(ctx, tx, &users[i], heir); err != nil {
				return fmt.Errorf("give away what %s owns: %w", users[i].Login, err)
			}
		}
		return nil
	})
}

func (s *Store) reassignIn(ctx context.Context, tx bun.Tx, u *User, heir *caller.Member) error {
	ws := u.WorkspaceID
	if heir != nil {
		to, err := s.ensureUser(ctx, tx, ws, *heir, false)
		if err != nil {
			return err
		}
		if err := s.handOver(ctx, tx, u, to.ID); err != nil {
			return err
		}
	}
	for _, q := range []*bun.DeleteQuery{
		tx.NewDelete().Model((*permissionRow)(nil)).Where("workspace_id = ? AND subject_kind = ? AND subject = ?", ws, SubjectUser, strconv.FormatInt(u.ID, 10)),
		tx.NewDelete().Model((*TeamMember)(nil)).Where("workspace_id = ? AND user_id = ?", ws, u.ID),
		tx.NewDelete().Model((*starRow)(nil)).Where("workspace_id = ? AND user_id = ?", ws, u.ID),
		tx.NewDelete().Model((*Document)(nil)).Where("workspace_id = ? AND kind = ? AND owner = ?", ws, KindQueryHistory, strconv.FormatInt(u.ID, 10)),
		tx.NewDelete().Model((*Document)(nil)).Where("workspace_id = ? AND kind = ? AND uid = ?", ws, KindPreferences, "user-"+strconv.FormatInt(u.ID, 10)),
		tx.NewDelete().Model(u).WherePK(),
	} {
		if _, err := q.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// handOver moves permissions and memberships to another user; where that one has
// any, the higher stays.
func (s *Store) handOver(ctx context.Context, tx bun.Tx, u *User, to int64) error {
	var rights []permissionRow
	err := tx.NewSelect().Model(&rights).Where("workspace_id = ? AND subject_kind = ? AND subject = ?", u.WorkspaceID, SubjectUser, strconv.FormatInt(u.ID, 10)).Scan(ctx)
	if err != nil {
		return err
	}
	for _, r := range rights {
		r.Subject = strconv.FormatInt(to, 10)
		_, err := tx.NewInsert().Model(&r).On("CONFLICT (workspace_id, kind, uid, subject_kind, subject) DO UPDATE").
			Set("level = CASE WHEN permission_row.level > EXCLUDED.level THEN permission_row.level ELSE EXCLUDED.level END").Exec(ctx)
		if err != nil {
			return err
		}
	}
	if _, err := tx.NewUpdate().Table("dash_annotations").Set("user_id = ?", to).Where("workspace_id = ? AND user_id = ?", u.WorkspaceID, u.ID).Exec(ctx); err != nil {
		return err
	}
	var teams []TeamMember
	if err := tx.NewSelect().Model(&teams).Where("workspace_id = ? AND user_id = ? AND permission > 0", u.WorkspaceID, u.ID).Scan(ctx); err != nil {
		return err
	}
	for _, m := range teams {
		m.UserID = to
		_, err := tx.NewInsert().Model(&m).On("CONFLICT (workspace_id, team_id, user_id) DO UPDATE").Set("permission = EXCLUDED.permission").Exec(ctx)
		if err != nil {
			return err
		}
	}
	return nil
}
