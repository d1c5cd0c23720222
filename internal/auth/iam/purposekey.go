package iam

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/uptrace/bun"
)

// purposeKeyRow is a key that another part of the program encrypts with. It is
// sealed, so a rotation of the secret key reaches what that part keeps too.
type purposeKeyRow struct {
	bun.BaseModel `bun:"table:iam_purpose_keys"`

	Purpose   string `bun:",pk"`
	Secret    string
	CreatedAt int64
}

func purposeKeyOwner(purpose string) string { return "purpose key " + purpose }

// PurposeKey returns the 32 secret bytes for a purpose, made when they are asked
// for first. They stay the same when the secret key is rotated.
func (s *Service) PurposeKey(ctx context.Context, purpose string) ([]byte, error) {
	var text string
	err := s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		row := purposeKeyRow{Purpose: purpose}
		err := tx.NewSelect().Model(&row).WherePK().Scan(ctx)
		if err == nil {
			text, err = s.seal.open(ctx, row.Secret, purposeKeyOwner(purpose))
			return err
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		text = base64.StdEncoding.EncodeToString(newKey())
		if row.Secret, err = s.seal.seal(ctx, tx, text, purposeKeyOwner(purpose)); err != nil {
			return err
		}
		row.CreatedAt = s.now()
		_, err = tx.NewInsert().Model(&row).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("key for %s: %w", purpose, err)
	}
	return base64.StdEncoding.DecodeString(text)
}
