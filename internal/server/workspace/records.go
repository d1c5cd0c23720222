package workspace

import (
	"context"
	"database/sql"
	"encoding/base64"
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
	KMSKeyARN     string `bun:"kms_key_arn"`
}

func (r *row) workspace() (*Workspace, error) {
	w := &Workspace{ID: r.ID, AccountID: r.AccountID, Region: r.Region, Alias: r.Alias,
		Status: Status(r.Status), KMSKeyARN: r.KMSKeyARN, CreatedAt: time.UnixMilli(r.CreatedAt).UTC()}
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
	KMSKeyARN   string // "" for none
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
	if err := s.checkKMSKey(ctx, account, in.KMSKeyARN); err != nil {
		return nil, err
	}
	r := &row{ID: "ws-" + uuid.NewString(), AccountID: account, Region: s.cfg.Region, Alias: alias, KMSKeyARN: in.KMSKeyARN,
		Status: string(StatusCreating), Tags: encodeTags(in.Tags), CreatedAt: s.cfg.Now().UnixMilli()}
	t := &tokenRow{AccountID: account, Operation: "CreateWorkspace", Token: in.ClientToken,
		Input: hashInput(alias, r.Tags, in.KMSKeyARN), WorkspaceID: r.ID}
	err = s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model((*row)(nil)).Where("account_id = ? AND region = ?", account, s.cfg.Region).Count(ctx)
		if err != nil {
			return err
		}
		if n >= s.cfg.MaxWorkspaces {
			return &QuotaError{Code: "L-WORKSPACES", Message: fmt.Sprintf("%d workspaces are the most an account may have in a region (setting max_workspaces)", s.cfg.MaxWorkspaces)}
		}
		_, err = tx.NewInsert().Model(r).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, wrapDB("create workspace", err)
	}
	s.Kick()
	if t.WorkspaceID == r.ID {
		return r.workspace() // as it was made: Run may have been at it since
	}
	w, err := s.Get(ctx, account, t.WorkspaceID)
	if errors.Is(err, ErrNotFound) {
		return nil, &ConflictError{ID: t.WorkspaceID, Message: "The client token was used for a workspace that has been deleted."}
	}
	return w, err
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

// maxPageToken is the length of a token in bytes.
const maxPageToken = 1000

var errBadPageToken = &InvalidError{"nextToken", "is not a token that this list returned"}

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
		if len(in.NextToken) > maxPageToken {
			return nil, "", errBadPageToken
		}
		b, err := base64.RawURLEncoding.DecodeString(in.NextToken)
		if err != nil || json.Unmarshal(b, &at) != nil || at.Alias != prefix || !ValidID(at.ID) {
			return nil, "", errBadPageToken
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
			return &ConflictError{ID: id, Message: "Workspace is being deleted."}
		}
		_, err = tx.NewUpdate().Model((*row)(nil)).Set("status = ?", string(StatusDeleting)).Where("id = ?", id).Exec(ctx)
		return err
	})
	s.entries.changed(id)
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
	s.entries.changed(id)
	return wrapDB("update alias of workspace "+id, err)
}

// Tag adds tags to a workspace or replaces their values.
func (s *Service) Tag(ctx context.Context, account, id string, tags map[string]string) error {
	return s.updateTags(ctx, account, id, adding(tags))
}

// Untag removes tags; names it does not have are no error.
func (s *Service) Untag(ctx context.Context, account, id string, keys []string) error {
	return s.updateTags(ctx, account, id, removing(keys))
}

// adding returns the change that adds tags to those of a resource, checked.
func adding(tags map[string]string) func(map[string]string) error {
	return func(have map[string]string) error {
		if err := checkTags(tags); err != nil {
			return err
		}
		maps.Copy(have, tags)
		return checkTags(have)
	}
}

// removing returns the change that removes tags; names that there are not are no
// error.
func removing(keys []string) func(map[string]string) error {
	return func(have map[string]string) error {
		for _, k := range keys {
			delete(have, k)
		}
		return nil
	}
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
	s.entries.changed(id)
	return wrapDB("update tags of workspace "+id, err)
}

func (s *Service) changeable(ctx context.Context, tx bun.Tx, account, id string) (*row, error) {
	r, err := s.find(ctx, tx, account, id)
	if err != nil {
		return nil, err
	}
	if Status(r.Status) == StatusDeleting {
		return nil, &ConflictError{ID: id, Message: "Workspace is being deleted."}
	}
	return r, nil
}
