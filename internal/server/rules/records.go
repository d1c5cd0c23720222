package rules

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

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/server/workspace"
)

type row struct {
	bun.BaseModel `bun:"table:rule_namespaces,alias:n"`
	WorkspaceID   string `bun:"workspace_id,pk"`
	Name          string `bun:"name,pk"`
	Data          string `bun:"data"`
	RuleCount     int64  `bun:"rule_count"`
	Tags          string `bun:"tags"`
	Status        string `bun:"status"`
	StatusReason  string `bun:"status_reason"`
	Revision      int64  `bun:"revision"`
	CreatedAt     int64  `bun:"created_at"`
	ModifiedAt    int64  `bun:"modified_at"`
}

type tokenRow struct {
	bun.BaseModel `bun:"table:rule_tokens"`
	WorkspaceID   string `bun:"workspace_id,pk"`
	Operation     string `bun:"operation,pk"`
	Token         string `bun:"token,pk"`
	Input         string `bun:"input"`
	CreatedAt     int64  `bun:"created_at"`
}

// tokenLife is how long a client token is remembered.
const tokenLife = 24 * time.Hour

// RecordsConfig of Records. Zero values take the defaults named at the fields.
type RecordsConfig struct {
	// MaxNamespaces and MaxRules bound what a workspace may have.
	MaxNamespaces int // 1000
	MaxRules      int // 2000
	// MaxBytes bounds the YAML of a namespace.
	MaxBytes int // 1 MiB
	// MinInterval is how often a group may be evaluated at most.
	MinInterval time.Duration // 1s
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

func (c *RecordsConfig) setDefaults() {
	if c.MaxNamespaces == 0 {
		c.MaxNamespaces = 1000
	}
	if c.MaxRules == 0 {
		c.MaxRules = 2000
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 20
	}
	if c.MinInterval == 0 {
		c.MinInterval = time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// Records keeps the namespaces. The caller has looked up the workspace, for the
// account that asks. It is safe for concurrent use.
type Records struct {
	cfg     RecordsConfig
	db      *bun.DB
	changed chan struct{} // to the Manager
}

// NewRecords returns the Records over db.
func NewRecords(cfg RecordsConfig, db *bun.DB) *Records {
	cfg.setDefaults()
	return &Records{cfg: cfg, db: db, changed: make(chan struct{}, 1)}
}

// kick makes the Manager look for changes.
func (s *Records) kick() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (r *row) namespace() (*workspace.Definition, error) {
	n := &workspace.Definition{Name: r.Name, Status: workspace.Status(r.Status), StatusReason: r.StatusReason,
		CreatedAt: time.UnixMilli(r.CreatedAt).UTC(), ModifiedAt: time.UnixMilli(r.ModifiedAt).UTC()}
	if r.Data != "" {
		n.Data = []byte(r.Data)
	}
	if err := json.Unmarshal([]byte(r.Tags), &n.Tags); err != nil {
		return nil, fmt.Errorf("tags of rule groups namespace %s of workspace %s: %w", r.Name, r.WorkspaceID, err)
	}
	return n, nil
}

// Create makes a namespace of the name, data and tags of in. It is CREATING; the
// Manager brings it to ACTIVE.
// Data that is not valid is an *InvalidError which says where and why. The same
// client token with the same input returns the namespace made before.
func (s *Records) Create(ctx context.Context, ws *workspace.Workspace, in workspace.Definition, clientToken string) (*workspace.Definition, error) {
	if err := checkName(in.Name); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	groups, err := s.check(in.Name, in.Data)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now().UnixMilli()
	r := &row{WorkspaceID: ws.ID, Name: in.Name, Data: string(in.Data), RuleCount: countRules(groups),
		Tags: encodeTags(in.Tags), Status: string(workspace.StatusCreating), Revision: now, CreatedAt: now, ModifiedAt: now}
	t := &tokenRow{WorkspaceID: ws.ID, Operation: "Create", Token: clientToken, Input: hashInput(in.Name, r.Data, r.Tags)}
	err = s.change(ctx, ws, t, in.Name, func(ctx context.Context, tx bun.Tx) error {
		old, err := s.find(ctx, tx, ws.ID, in.Name)
		if err == nil {
			return conflict(old, "A rule groups namespace with this name exists.")
		}
		if !isNotFound(err) {
			return err
		}
		if err := s.checkQuota(ctx, tx, r); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(r).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	n, err := s.Describe(ctx, ws, in.Name)
	if isNotFound(err) {
		return nil, &ConflictError{Type: workspace.TypeRuleNamespace, ID: in.Name, Message: "The client token was used for a rule groups namespace that has been deleted."}
	}
	return n, err
}

// Put replaces the data of a namespace that there is.
func (s *Records) Put(ctx context.Context, ws *workspace.Workspace, name string, data []byte, clientToken string) (*workspace.Definition, error) {
	groups, err := s.check(name, data)
	if err != nil {
		return nil, err
	}
	t := &tokenRow{WorkspaceID: ws.ID, Operation: "Put", Token: clientToken, Input: hashInput(name, string(data))}
	err = s.change(ctx, ws, t, name, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.find(ctx, tx, ws.ID, name)
		if err != nil {
			return err
		}
		if workspace.Status(r.Status) == workspace.StatusDeleting {
			return conflict(r, "")
		}
		return s.replace(ctx, tx, r, data, groups)
	})
	if err != nil {
		return nil, err
	}
	return s.Describe(ctx, ws, name)
}

// replace writes new data into a row.
func (s *Records) replace(ctx context.Context, tx bun.Tx, r *row, data []byte, groups *rulefmt.RuleGroups) error {
	r.Data, r.RuleCount = string(data), countRules(groups)
	if err := s.checkQuota(ctx, tx, r); err != nil {
		return err
	}
	if st := workspace.Status(r.Status); st != workspace.StatusCreating && st != workspace.StatusCreationFailed {
		r.Status = string(workspace.StatusUpdating)
	} else {
		r.Status = string(workspace.StatusCreating)
	}
	r.StatusReason = ""
	r.ModifiedAt = s.cfg.Now().UnixMilli()
	r.Revision = max(r.ModifiedAt, r.Revision+1)
	_, err := tx.NewUpdate().Model(r).WherePK().Exec(ctx)
	return err
}

// Delete puts a namespace into state DELETING; the Manager takes its rules out
// of evaluation and its record away.
func (s *Records) Delete(ctx context.Context, ws *workspace.Workspace, name, clientToken string) error {
	t := &tokenRow{WorkspaceID: ws.ID, Operation: "Delete", Token: clientToken, Input: hashInput(name)}
	return s.change(ctx, ws, t, name, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.find(ctx, tx, ws.ID, name)
		if err != nil {
			return err
		}
		if workspace.Status(r.Status) == workspace.StatusDeleting {
			return conflict(r, "")
		}
		return s.markDeleting(ctx, tx, r)
	})
}

func (s *Records) markDeleting(ctx context.Context, tx bun.Tx, r *row) error {
	r.Status, r.StatusReason, r.Revision = string(workspace.StatusDeleting), "", r.Revision+1
	_, err := tx.NewUpdate().Model(r).WherePK().Exec(ctx)
	return err
}

// Tag adds tags to a namespace or replaces their values.
func (s *Records) Tag(ctx context.Context, ws *workspace.Workspace, name string, tags map[string]string) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	return s.updateTags(ctx, ws, name, func(have map[string]string) { maps.Copy(have, tags) })
}

// Untag removes tags; names it does not have are no error.
func (s *Records) Untag(ctx context.Context, ws *workspace.Workspace, name string, keys []string) error {
	return s.updateTags(ctx, ws, name, func(have map[string]string) {
		for _, k := range keys {
			delete(have, k)
		}
	})
}

func (s *Records) updateTags(ctx context.Context, ws *workspace.Workspace, name string, change func(map[string]string)) error {
	return s.change(ctx, ws, &tokenRow{}, name, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.find(ctx, tx, ws.ID, name)
		if err != nil {
			return err
		}
		n, err := r.namespace()
		if err != nil {
			return err
		}
		change(n.Tags)
		if err := checkTags(n.Tags); err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model((*row)(nil)).Set("tags = ?", encodeTags(n.Tags)).
			Where("workspace_id = ? AND name = ?", ws.ID, name).Exec(ctx)
		return err
	})
}

// Describe returns a namespace with its data, or a *NotFoundError.
func (s *Records) Describe(ctx context.Context, ws *workspace.Workspace, name string) (*workspace.Definition, error) {
	r, err := s.find(ctx, s.db, ws.ID, name)
	if err != nil {
		return nil, err
	}
	return r.namespace()
}

func (s *Records) find(ctx context.Context, db bun.IDB, workspaceID, name string) (*row, error) {
	var r row
	err := db.NewSelect().Model(&r).Where("workspace_id = ? AND name = ?", workspaceID, name).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound(name)
	}
	if err != nil {
		return nil, fmt.Errorf("read rule groups namespace %s of workspace %s: %w", name, workspaceID, err)
	}
	return &r, nil
}

// pageToken is where the next page begins. The filter is part of it, so that a
// token is not carried over to another list.
type pageToken struct {
	After  string `json:"a"`
	Prefix string `json:"p,omitempty"`
}

// maxPageToken is the length of a token in bytes.
const maxPageToken = 2000

// List returns the namespaces whose names begin with prefix, in order of their
// names and without data, and the token of the next page. Zero results are 100.
func (s *Records) List(ctx context.Context, ws *workspace.Workspace, prefix string, maxResults int, nextToken string) ([]*workspace.Definition, string, error) {
	if maxResults == 0 {
		maxResults = 100
	}
	if maxResults < 1 || maxResults > 1000 {
		return nil, "", &InvalidError{Field: "maxResults", Message: "must be between 1 and 1000"}
	}
	q := s.db.NewSelect().Model((*row)(nil)).ExcludeColumn("data").Where("workspace_id = ?", ws.ID)
	if prefix != "" {
		// substr counts characters in SQLite and PostgreSQL alike, and is
		// case-sensitive in both, which LIKE is not.
		q = q.Where("substr(name, 1, ?) = ?", utf8.RuneCountInString(prefix), prefix)
	}
	if nextToken != "" {
		var at pageToken
		b, err := base64.RawURLEncoding.DecodeString(nextToken)
		if len(nextToken) > maxPageToken || err != nil || json.Unmarshal(b, &at) != nil || at.Prefix != prefix {
			return nil, "", &InvalidError{Field: "nextToken", Message: "is not a token that this list returned"}
		}
		q = q.Where("name > ?", at.After)
	}
	var rows []row
	if err := q.Order("name").Limit(maxResults+1).Scan(ctx, &rows); err != nil {
		return nil, "", fmt.Errorf("list rule groups namespaces of workspace %s: %w", ws.ID, err)
	}
	next := ""
	if len(rows) > maxResults {
		rows = rows[:maxResults]
		b, _ := json.Marshal(pageToken{rows[len(rows)-1].Name, prefix})
		next = base64.RawURLEncoding.EncodeToString(b)
	}
	out := make([]*workspace.Definition, 0, len(rows))
	for i := range rows {
		n, err := rows[i].namespace()
		if err != nil {
			return nil, "", err
		}
		out = append(out, n)
	}
	return out, next, nil
}

// change runs do in a transaction, unless t's token was used before with the
// same input, and tells the Manager.
func (s *Records) change(ctx context.Context, ws *workspace.Workspace, t *tokenRow, name string, do func(context.Context, bun.Tx) error) error {
	if err := checkToken(t.Token); err != nil {
		return err
	}
	if ws.Status == workspace.StatusDeleting {
		return &ConflictError{ID: ws.ID, Message: "Workspace is being deleted."}
	}
	now := s.cfg.Now()
	t.CreatedAt = now.UnixMilli()
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if t.Token == "" {
			return do(ctx, tx)
		}
		_, err := tx.NewDelete().Model((*tokenRow)(nil)).Where("created_at < ?", now.Add(-tokenLife).UnixMilli()).Exec(ctx)
		if err != nil {
			return err
		}
		var old tokenRow
		err = tx.NewSelect().Model(&old).
			Where("workspace_id = ? AND operation = ? AND token = ?", t.WorkspaceID, t.Operation, t.Token).Scan(ctx)
		switch {
		case err == nil && old.Input != t.Input:
			return &ConflictError{Type: workspace.TypeRuleNamespace, ID: name, Message: "The client token was used before with other parameters."}
		case err == nil:
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
	if err != nil {
		return wrapDB("change rule groups namespace "+name+" of workspace "+ws.ID, err)
	}
	s.kick()
	return nil
}

// checkQuota counts what the workspace has beside r.
func (s *Records) checkQuota(ctx context.Context, tx bun.Tx, r *row) error {
	var have struct {
		Namespaces int64 `bun:"namespaces"`
		Rules      int64 `bun:"rules"`
	}
	err := tx.NewSelect().Model((*row)(nil)).ColumnExpr("count(*) AS namespaces, coalesce(sum(rule_count), 0) AS rules").
		Where("workspace_id = ? AND name <> ?", r.WorkspaceID, r.Name).Scan(ctx, &have)
	if err != nil {
		return err
	}
	if have.Namespaces >= int64(s.cfg.MaxNamespaces) {
		return &QuotaError{Type: workspace.TypeRuleNamespace, ID: r.Name, Message: fmt.Sprintf("%d rule groups namespaces are the most a workspace may have (setting rules.max_namespaces)", s.cfg.MaxNamespaces)}
	}
	if n := have.Rules + r.RuleCount; n > int64(s.cfg.MaxRules) {
		return &QuotaError{Type: workspace.TypeRuleNamespace, ID: r.Name, Message: fmt.Sprintf("%d rules, %d are the most a workspace may have (setting rules.max_rules)", n, s.cfg.MaxRules)}
	}
	return nil
}

func countRules(groups *rulefmt.RuleGroups) (n int64) {
	for i := range groups.Groups {
		n += int64(len(groups.Groups[i].Rules))
	}
	return n
}

func conflict(r *row, message string) error {
	if workspace.Status(r.Status) == workspace.StatusDeleting {
		message = "Rule groups namespace is being deleted."
	}
	return &ConflictError{Type: workspace.TypeRuleNamespace, ID: r.Name, Message: message}
}

// forget removes all records of a workspace.
func (s *Records) forget(ctx context.Context, workspaceID string) error {
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewDelete().Model((*row)(nil)).Where("workspace_id = ?", workspaceID).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model((*tokenRow)(nil)).Where("workspace_id = ?", workspaceID).Exec(ctx)
		return err
	})
	return wrapDB("remove rule groups namespaces of workspace "+workspaceID, err)
}

// revisions returns what every workspace has, without data.
func (s *Records) revisions(ctx context.Context) (map[string][]row, error) {
	var rows []row
	err := s.db.NewSelect().Model(&rows).Column("workspace_id", "name", "status", "revision").Order("workspace_id", "name").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for rule groups namespaces: %w", err)
	}
	out := make(map[string][]row)
	for _, r := range rows {
		out[r.WorkspaceID] = append(out[r.WorkspaceID], r)
	}
	return out, nil
}

// load returns the namespaces of a workspace with their data.
func (s *Records) load(ctx context.Context, workspaceID string) ([]row, error) {
	var rows []row
	err := s.db.NewSelect().Model(&rows).Where("workspace_id = ?", workspaceID).Order("name").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read rule groups namespaces of workspace %s: %w", workspaceID, err)
	}
	return rows, nil
}

// settle notes how a change ended, if the record has not changed again.
func (s *Records) settle(ctx context.Context, r *row, to workspace.Status, reason string) error {
	var err error
	if to == "" {
		_, err = s.db.NewDelete().Model((*row)(nil)).
			Where("workspace_id = ? AND name = ? AND revision = ?", r.WorkspaceID, r.Name, r.Revision).Exec(ctx)
	} else {
		_, err = s.db.NewUpdate().Model((*row)(nil)).Set("status = ?", string(to)).Set("status_reason = ?", reason).
			Where("workspace_id = ? AND name = ? AND revision = ?", r.WorkspaceID, r.Name, r.Revision).Exec(ctx)
	}
	return wrapDB("settle rule groups namespace "+r.Name+" of workspace "+r.WorkspaceID, err)
}

// wrapDB adds what was tried to an error that is not the caller's own doing.
func wrapDB(what string, err error) error {
	var invalid *InvalidError
	var conflict *ConflictError
	var quota *QuotaError
	if err == nil || isNotFound(err) || errors.As(err, &invalid) || errors.As(err, &conflict) || errors.As(err, &quota) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}
