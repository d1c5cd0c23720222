package workspace

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
)

type row struct {
	bun.BaseModel `bun:"table:workspaces,alias:w"`
	ID            string `bun:"id,pk"`
	AccountID     string `bun:"account_id"`
	Region        string `bun:"region"`
	Alias         string `bun:"alias"`
	Status        string `bun:"status"`
	Tags          string `bun:"tags"`
	CreatedAt     int64  `bun:"created_at"`
}

type tokenRow struct {
	bun.BaseModel `bun:"table:workspace_tokens"`
	AccountID     string `bun:"account_id,pk"`
	Operation     string `bun:"operation,pk"`
	Token         string `bun:"token,pk"`
	Input         string `bun:"input"`
	WorkspaceID   string `bun:"workspace_id"`
	CreatedAt     int64  `bun:"created_at"`
}

// tokenLife is how long a client token is remembered.
const tokenLife = 24 * time.Hour

func (r *row) workspace() (*Workspace, error) {
	w := &Workspace{ID: r.ID, AccountID: r.AccountID, Region: r.Region, Alias: r.Alias,
		Status: Status(r.Status), CreatedAt: time.UnixMilli(r.CreatedAt).UTC()}
	if err := json.Unmarshal([]byte(r.Tags), &w.Tags); err != nil {
		return nil, fmt.Errorf("tags of workspace %s: %w", r.ID, err)
	}
	return w, nil
}

func encodeTags(tags map[string]string) string {
	if tags == nil {
		tags = map[string]string{}
	}
	b, _ := json.Marshal(tags) // strings always encode
	return string(b)
}

// CreateInput is what a new workspace is made from.
type CreateInput struct {
	Alias       string
	Tags        map[string]string
	ClientToken string
}

// Create makes a workspace in state CREATING; Run brings it to ACTIVE. The same
// client token with the same input returns the workspace made before.
func (s *Service) Create(ctx context.Context, account string, in CreateInput) (*Workspace, error) {
	alias, err := cleanAlias(in.Alias)
	if err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	r := &row{ID: "ws-" + uuid.NewString(), AccountID: account, Region: s.cfg.Region, Alias: alias,
		Status: string(StatusCreating), Tags: encodeTags(in.Tags), CreatedAt: s.cfg.Now().UnixMilli()}
	t := &tokenRow{AccountID: account, Operation: "CreateWorkspace", Token: in.ClientToken,
		Input: hashInput(alias, r.Tags), WorkspaceID: r.ID}
	err = s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model((*row)(nil)).Where("account_id = ? AND region = ?", account, s.cfg.Region).Count(ctx)
		if err != nil {
			return err
		}
		if n >= s.cfg.MaxWorkspaces {
			return &QuotaError{fmt.Sprintf("%d workspaces are the most an account may have in a region (setting max_workspaces)", s.cfg.MaxWorkspaces)}
		}
		_, err = tx.NewInsert().Model(r).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, wrapDB("create workspace", err)
	}
	s.Kick()
	w, err := s.Get(ctx, account, t.WorkspaceID)
	if errors.Is(err, ErrNotFound) {
		return nil, &ConflictError{t.WorkspaceID, "The client token was used for a workspace that has been deleted."}
	}
	return w, err
}

// once runs do in a transaction unless t's token was used before. With the same
// input t.WorkspaceID then is that of the first call; other input is a conflict.
func (s *Service) once(ctx context.Context, t *tokenRow, do func(context.Context, bun.Tx) error) error {
	if err := checkToken(t.Token); err != nil {
		return err
	}
	now := s.cfg.Now()
	t.CreatedAt = now.UnixMilli()
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if t.Token == "" {
			return do(ctx, tx)
		}
		_, err := tx.NewDelete().Model((*tokenRow)(nil)).Where("created_at < ?", now.Add(-tokenLife).UnixMilli()).Exec(ctx)
		if err != nil {
			return err
		}
		var old tokenRow
		err = tx.NewSelect().Model(&old).
			Where("account_id = ? AND operation = ? AND token = ?", t.AccountID, t.Operation, t.Token).Scan(ctx)
		switch {
		case err == nil && old.Input != t.Input:
			return &ConflictError{old.WorkspaceID, "The client token was used before with other parameters."}
		case err == nil:
			t.WorkspaceID = old.WorkspaceID
			return nil
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		if err := do(ctx, tx); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(t).Exec(ctx)
		return err
	})
}

func hashInput(parts ...string) string {
	b, _ := json.Marshal(parts)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Get returns a workspace of the account, or ErrNotFound.
func (s *Service) Get(ctx context.Context, account, id string) (*Workspace, error) {
	r, err := s.find(ctx, s.db, account, id)
	if err != nil {
		return nil, err
	}
	return r.workspace()
}

func (s *Service) find(ctx context.Context, db bun.IDB, account, id string) (*row, error) {
	var r row
	err := db.NewSelect().Model(&r).Where("id = ? AND account_id = ? AND region = ?", id, account, s.cfg.Region).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read workspace %s: %w", id, err)
	}
	return &r, nil
}

// ListInput selects and pages.
type ListInput struct {
	AliasPrefix string
	MaxResults  int // zero means 100
	NextToken   string
}

// pageToken is where the next page begins. The filter is part of it, so that a
// token is not carried over to another list.
type pageToken struct {
	Time  int64  `json:"t"`
	ID    string `json:"i"`
	Alias string `json:"a,omitempty"`
}

// List returns workspaces in order of creation, and the token of the next page.
func (s *Service) List(ctx context.Context, account string, in ListInput) ([]*Workspace, string, error) {
	if in.MaxResults == 0 {
		in.MaxResults = 100
	}
	if in.MaxResults < 1 || in.MaxResults > 1000 {
		return nil, "", &InvalidError{"maxResults", "must be between 1 and 1000"}
	}
	prefix, err := cleanAlias(in.AliasPrefix)
	if err != nil {
		return nil, "", err
	}
	q := s.db.NewSelect().Model((*row)(nil)).Where("account_id = ? AND region = ?", account, s.cfg.Region)
	if prefix != "" {
		// substr counts characters in SQLite and PostgreSQL alike, and is
		// case-sensitive in both, which LIKE is not.
		q = q.Where("substr(alias, 1, ?) = ?", utf8.RuneCountInString(prefix), prefix)
	}
	if in.NextToken != "" {
		var at pageToken
		b, err := base64.RawURLEncoding.DecodeString(in.NextToken)
		if err != nil || json.Unmarshal(b, &at) != nil || at.Alias != prefix {
			return nil, "", &InvalidError{"nextToken", "is not a token that this list returned"}
		}
		q = q.Where("created_at > ? OR (created_at = ? AND id > ?)", at.Time, at.Time, at.ID)
	}
	var rows []row
	if err := q.Order("created_at", "id").Limit(in.MaxResults+1).Scan(ctx, &rows); err != nil {
		return nil, "", fmt.Errorf("list workspaces: %w", err)
	}
	next := ""
	if len(rows) > in.MaxResults {
		rows = rows[:in.MaxResults]
		last := rows[len(rows)-1]
		b, _ := json.Marshal(pageToken{last.CreatedAt, last.ID, prefix})
		next = base64.RawURLEncoding.EncodeToString(b)
	}
	out := make([]*Workspace, 0, len(rows))
	for i := range rows {
		w, err := rows[i].workspace()
		if err != nil {
			return nil, "", err
		}
		out = append(out, w)
	}
	return out, next, nil
}

// Delete puts a workspace into state DELETING; Run takes its samples and its
// record away.
func (s *Service) Delete(ctx context.Context, account, id, clientToken string) error {
	t := &tokenRow{AccountID: account, Operation: "DeleteWorkspace", Token: clientToken, Input: hashInput(id), WorkspaceID: id}
	err := s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.find(ctx, tx, account, id)
		if err != nil {
			return err
		}
		if Status(r.Status) == StatusDeleting {
			return &ConflictError{id, "Workspace is being deleted."}
		}
		_, err = tx.NewUpdate().Model((*row)(nil)).Set("status = ?", string(StatusDeleting)).Where("id = ?", id).Exec(ctx)
		return err
	})
	if err != nil {
		return wrapDB("delete workspace "+id, err)
	}
	s.Kick()
	return nil
}

// UpdateAlias changes a workspace's alias; "" takes it away.
func (s *Service) UpdateAlias(ctx context.Context, account, id, alias, clientToken string) error {
	alias, err := cleanAlias(alias)
	if err != nil {
		return err
	}
	t := &tokenRow{AccountID: account, Operation: "UpdateWorkspaceAlias", Token: clientToken, Input: hashInput(id, alias), WorkspaceID: id}
	err = s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		_, err := s.changeable(ctx, tx, account, id)
		if err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model((*row)(nil)).Set("alias = ?", alias).Where("id = ?", id).Exec(ctx)
		return err
	})
	return wrapDB("update alias of workspace "+id, err)
}

// Tag adds tags to a workspace or replaces their values.
func (s *Service) Tag(ctx context.Context, account, id string, tags map[string]string) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	return s.updateTags(ctx, account, id, func(have map[string]string) error {
		maps.Copy(have, tags)
		return checkTags(have)
	})
}

// Untag removes tags; names it does not have are no error.
func (s *Service) Untag(ctx context.Context, account, id string, keys []string) error {
	return s.updateTags(ctx, account, id, func(have map[string]string) error {
		for _, k := range keys {
			delete(have, k)
		}
		return nil
	})
}

func (s *Service) updateTags(ctx context.Context, account, id string, change func(map[string]string) error) error {
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.changeable(ctx, tx, account, id)
		if err != nil {
			return err
		}
		w, err := r.workspace()
		if err != nil {
			return err
		}
		if err := change(w.Tags); err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model((*row)(nil)).Set("tags = ?", encodeTags(w.Tags)).Where("id = ?", id).Exec(ctx)
		return err
	})
	return wrapDB("update tags of workspace "+id, err)
}

func (s *Service) changeable(ctx context.Context, tx bun.Tx, account, id string) (*row, error) {
	r, err := s.find(ctx, tx, account, id)
	if err != nil {
		return nil, err
	}
	if Status(r.Status) == StatusDeleting {
		return nil, &ConflictError{id, "Workspace is being deleted."}
	}
	return r, nil
}

// wrapDB adds what was tried to an error that is not the caller's own doing.
func wrapDB(what string, err error) error {
	var invalid *InvalidError
	var conflict *ConflictError
	var quota *QuotaError
	if err == nil || errors.Is(err, ErrNotFound) || errors.As(err, &invalid) || errors.As(err, &conflict) || errors.As(err, &quota) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}
