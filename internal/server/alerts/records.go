package alerts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/server/workspace"
)

type row struct {
	bun.BaseModel `bun:"table:alert_definitions,alias:d"`
	WorkspaceID   string `bun:"workspace_id,pk"`
	Data          string `bun:"data"`
	Status        string `bun:"status"`
	StatusReason  string `bun:"status_reason"`
	Revision      int64  `bun:"revision"`
	CreatedAt     int64  `bun:"created_at"`
	ModifiedAt    int64  `bun:"modified_at"`
}

type tokenRow struct {
	bun.BaseModel `bun:"table:alert_tokens"`
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
	// MaxBytes bounds the YAML of a definition.
	MaxBytes int // 1 MiB
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Records keeps the definitions. The caller has looked up the workspace, for the
// account that asks. It is safe for concurrent use.
type Records struct {
	cfg     RecordsConfig
	db      *bun.DB
	changed chan struct{} // to the Manager
}

// NewRecords returns the Records over db.
func NewRecords(cfg RecordsConfig, db *bun.DB) *Records {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 1 << 20
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Records{cfg: cfg, db: db, changed: make(chan struct{}, 1)}
}

// kick makes the Manager look for changes.
func (s *Records) kick() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// check reads the data of a definition.
func (s *Records) check(data []byte) error {
	if len(data) > s.cfg.MaxBytes {
		return &InvalidError{Field: "data", Message: fmt.Sprintf("%d bytes, allowed are %d (setting alerts.max_bytes)", len(data), s.cfg.MaxBytes)}
	}
	if _, issues := parse(data); len(issues) > 0 {
		return &InvalidError{Field: "data", Message: joinIssues(issues)}
	}
	return nil
}

// Create makes a workspace's definition, in state CREATING; the Manager brings it
// to ACTIVE. Data that is not valid is an *InvalidError which says where and why.
// The same client token with the same data returns the definition made before.
func (s *Records) Create(ctx context.Context, ws *workspace.Workspace, data []byte, clientToken string) (*workspace.Definition, error) {
	if err := s.check(data); err != nil {
		return nil, err
	}
	t := &tokenRow{WorkspaceID: ws.ID, Operation: "Create", Token: clientToken, Input: hashInput(string(data))}
	err := s.change(ctx, ws, t, func(ctx context.Context, tx bun.Tx) error {
		old, err := s.find(ctx, tx, ws.ID)
		if err == nil {
			return conflict(old, "The workspace has an alert manager definition.")
		}
		if !isNotFound(err) {
			return err
		}
		now := s.cfg.Now().UnixMilli()
		_, err = tx.NewInsert().Model(&row{WorkspaceID: ws.ID, Data: string(data), Status: string(workspace.StatusCreating),
			Revision: now, CreatedAt: now, ModifiedAt: now}).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	d, err := s.Describe(ctx, ws)
	if isNotFound(err) {
		return nil, &ConflictError{Type: workspace.TypeAlertDefinition, ID: ws.ID, Message: "The client token was used for an alert manager definition that has been deleted."}
	}
	return d, err
}

// Put replaces the definition that there is.
func (s *Records) Put(ctx context.Context, ws *workspace.Workspace, data []byte, clientToken string) (*workspace.Definition, error) {
	if err := s.check(data); err != nil {
		return nil, err
	}
	t := &tokenRow{WorkspaceID: ws.ID, Operation: "Put", Token: clientToken, Input: hashInput(string(data))}
	err := s.change(ctx, ws, t, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.find(ctx, tx, ws.ID)
		if err != nil {
			return err
		}
		switch workspace.Status(r.Status) {
		case workspace.StatusDeleting:
			return conflict(r, "")
		case workspace.StatusCreating, workspace.StatusCreationFailed:
			r.Status = string(workspace.StatusCreating)
		default:
			r.Status = string(workspace.StatusUpdating)
		}
		r.Data, r.StatusReason, r.ModifiedAt = string(data), "", s.cfg.Now().UnixMilli()
		r.Revision = max(r.ModifiedAt, r.Revision+1)
		_, err = tx.NewUpdate().Model(r).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.Describe(ctx, ws)
}

// Delete puts the definition into state DELETING; the Manager stops telling about
// alerts and takes the record away.
func (s *Records) Delete(ctx context.Context, ws *workspace.Workspace, clientToken string) error {
	t := &tokenRow{WorkspaceID: ws.ID, Operation: "Delete", Token: clientToken, Input: hashInput()}
	return s.change(ctx, ws, t, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.find(ctx, tx, ws.ID)
		if err != nil {
			return err
		}
		if workspace.Status(r.Status) == workspace.StatusDeleting {
			return conflict(r, "")
		}
		r.Status, r.StatusReason, r.Revision = string(workspace.StatusDeleting), "", r.Revision+1
		_, err = tx.NewUpdate().Model(r).WherePK().Exec(ctx)
		return err
	})
}

// Describe returns the definition, or a *NotFoundError.
func (s *Records) Describe(ctx context.Context, ws *workspace.Workspace) (*workspace.Definition, error) {
	r, err := s.find(ctx, s.db, ws.ID)
	if err != nil {
		return nil, err
	}
	return &workspace.Definition{Data: []byte(r.Data), Status: workspace.Status(r.Status), StatusReason: r.StatusReason,
		CreatedAt: time.UnixMilli(r.CreatedAt).UTC(), ModifiedAt: time.UnixMilli(r.ModifiedAt).UTC()}, nil
}

func (s *Records) find(ctx context.Context, db bun.IDB, workspaceID string) (*row, error) {
	var r row
	err := db.NewSelect().Model(&r).Where("workspace_id = ?", workspaceID).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &NotFoundError{Type: workspace.TypeAlertDefinition, ID: workspaceID}
	}
	if err != nil {
		return nil, fmt.Errorf("read alert manager definition of workspace %s: %w", workspaceID, err)
	}
	return &r, nil
}

func conflict(r *row, message string) error {
	if workspace.Status(r.Status) == workspace.StatusDeleting {
		message = "Alert manager definition is being deleted."
	}
	return &ConflictError{Type: workspace.TypeAlertDefinition, ID: r.WorkspaceID, Message: message}
}

// change runs do in a transaction, unless t's token was used before with the
// same input, and tells the Manager.
func (s *Records) change(ctx context.Context, ws *workspace.Workspace, t *tokenRow, do func(context.Context, bun.Tx) error) error {
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
			return &ConflictError{Type: workspace.TypeAlertDefinition, ID: ws.ID, Message: "The client token was used before with other parameters."}
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
		return wrapDB("change alert manager definition of workspace "+ws.ID, err)
	}
	s.kick()
	return nil
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
	return wrapDB("remove alert manager definition of workspace "+workspaceID, err)
}

// revisions returns all definitions, without data.
func (s *Records) revisions(ctx context.Context) (map[string]row, error) {
	var rows []row
	if err := s.db.NewSelect().Model(&rows).Column("workspace_id", "status", "revision").Scan(ctx); err != nil {
		return nil, fmt.Errorf("look for alert manager definitions: %w", err)
	}
	out := make(map[string]row, len(rows))
	for _, r := range rows {
		out[r.WorkspaceID] = r
	}
	return out, nil
}

// settle notes how a change ended, if the record has not changed again; "" is
// that the record goes.
func (s *Records) settle(ctx context.Context, r *row, to workspace.Status, reason string) error {
	var err error
	if to == "" {
		_, err = s.db.NewDelete().Model((*row)(nil)).Where("workspace_id = ? AND revision = ?", r.WorkspaceID, r.Revision).Exec(ctx)
	} else {
		_, err = s.db.NewUpdate().Model((*row)(nil)).Set("status = ?", string(to)).Set("status_reason = ?", reason).
			Where("workspace_id = ? AND revision = ?", r.WorkspaceID, r.Revision).Exec(ctx)
	}
	return wrapDB("settle alert manager definition of workspace "+r.WorkspaceID, err)
}

// wrapDB adds what was tried to an error that is not the caller's own doing.
func wrapDB(what string, err error) error {
	var invalid *InvalidError
	var conflict *ConflictError
	if err == nil || isNotFound(err) || errors.As(err, &invalid) || errors.As(err, &conflict) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}
