package workspace

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// tokenLife is how long a client token is remembered.
const tokenLife = 24 * time.Hour

type tokenRow struct {
	bun.BaseModel `bun:"table:workspace_tokens"`
	AccountID     string `bun:"account_id,pk"`
	Operation     string `bun:"operation,pk"`
	Token         string `bun:"token,pk"`
	Input         string `bun:"input"`
	WorkspaceID   string `bun:"workspace_id"` // or the id of whatever the operation is about
	CreatedAt     int64  `bun:"created_at"`
	Answer        string `bun:"answer"`
}

func checkToken(token string) error {
	if len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r < '!' || r > '~' }) {
		return &InvalidError{"clientToken", fmt.Sprintf("allowed are 1 to %d printable ASCII characters", maxToken)}
	}
	return nil
}

// once runs do in a transaction unless t's token was used before. With the same
// input t.WorkspaceID and t.Answer then are those of the first call; other input
// is a conflict.
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
		used, err := t.used(ctx, tx, now)
		if err != nil || used {
			return err
		}
		if err := do(ctx, tx); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(t).Exec(ctx)
		return err
	})
}

// used looks for an earlier call with t's token and, after one with the same
// input, takes over what it gave.
func (t *tokenRow) used(ctx context.Context, db bun.IDB, now time.Time) (bool, error) {
	_, err := db.NewDelete().Model((*tokenRow)(nil)).Where("created_at < ?", now.Add(-tokenLife).UnixMilli()).Exec(ctx)
	if err != nil {
		return false, err
	}
	var old tokenRow
	err = db.NewSelect().Model(&old).
		Where("account_id = ? AND operation = ? AND token = ?", t.AccountID, t.Operation, t.Token).Scan(ctx)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, err
	case old.Input != t.Input:
		return false, &ConflictError{ID: old.WorkspaceID, Message: "The client token was used before with other parameters."}
	}
	t.WorkspaceID, t.Answer = old.WorkspaceID, old.Answer
	return true, nil
}

func hashInput(parts ...string) string {
	b, _ := json.Marshal(parts)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// wrapDB adds what was tried to an error that is not the caller's own doing.
func wrapDB(what string, err error) error {
	if err == nil || isCallers(err) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}
