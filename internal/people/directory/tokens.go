package directory

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
)

// Token is a bearer token with which a provider outside writes users and groups
// (SCIM). The secret itself is not kept.
type Token struct {
	ID, StoreID            string
	Created, Expires, Used time.Time
	CreatedBy              string
}

type tokenRow struct {
	bun.BaseModel `bun:"table:directory_tokens"`
	ID            string `bun:"id,pk"`
	StoreID       string
	Hash          string
	CreatedAt     int64
	CreatedBy     string
	ExpiresAt     int64
	UsedAt        int64
}

func (r *tokenRow) token() Token {
	return Token{ID: r.ID, StoreID: r.StoreID, Created: at(r.CreatedAt), Expires: at(r.ExpiresAt), Used: at(r.UsedAt), CreatedBy: r.CreatedBy}
}

const (
	// TokenLife is how long a token is good: a year, as in IAM Identity Center.
	TokenLife = 365 * 24 * time.Hour
	// maxTokens is two, so that one can be exchanged without a gap.
	maxTokens = 2
	// usedEvery bounds how often a token's last use is written down.
	usedEvery = time.Minute
)

// ErrBadToken says that a token is unknown or too old.
var ErrBadToken = errors.New("the bearer token is not valid")

// CreateToken makes a token and returns its secret, which is shown this once.
func (d *Directory) CreateToken(ctx context.Context, by, store string) (secret string, t Token, err error) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails; it ends the program instead
	secret = "mgs_" + base64.RawURLEncoding.EncodeToString(b[:])
	now := d.cfg.Now()
	row := &tokenRow{ID: uuid.NewString(), StoreID: store, Hash: tokenHash(secret), CreatedAt: now.UnixMilli(), CreatedBy: by, ExpiresAt: now.Add(TokenLife).UnixMilli()}
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model((*tokenRow)(nil)).Where("store_id = ?", store).Count(ctx)
		if err != nil {
			return err
		}
		if n >= maxTokens {
			return &LimitError{fmt.Sprintf("%d bearer tokens are the most that an identity store may have: delete one first.", maxTokens)}
		}
		_, err = tx.NewInsert().Model(row).Exec(ctx)
		return err
	})
	if err != nil {
		return "", Token{}, fmt.Errorf("create a bearer token: %w", err)
	}
	return secret, row.token(), nil
}

// Tokens lists the tokens of a store, oldest first.
func (d *Directory) Tokens(ctx context.Context, store string) ([]Token, error) {
	var rows []tokenRow
	if err := d.db.NewSelect().Model(&rows).Where("store_id = ?", store).Order("created_at", "id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list bearer tokens: %w", err)
	}
	var out []Token
	for i := range rows {
		out = append(out, rows[i].token())
	}
	return out, nil
}

// DeleteToken ends a token. Deleting what is gone is no error.
func (d *Directory) DeleteToken(ctx context.Context, store, id string) error {
	_, err := d.db.NewDelete().Model((*tokenRow)(nil)).Where("store_id = ? AND id = ?", store, id).Exec(ctx)
	if err != nil {
		return fmt.Errorf("delete a bearer token: %w", err)
	}
	return nil
}

// UseToken returns the token of a secret, or ErrBadToken.
func (d *Directory) UseToken(ctx context.Context, secret string) (Token, error) {
	row := new(tokenRow)
	err := d.db.NewSelect().Model(row).Where("hash = ?", tokenHash(secret)).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Token{}, ErrBadToken
	}
	if err != nil {
		return Token{}, fmt.Errorf("look up a bearer token: %w", err)
	}
	now := d.cfg.Now()
	if now.UnixMilli() >= row.ExpiresAt {
		return Token{}, ErrBadToken
	}
	if now.Sub(time.UnixMilli(row.UsedAt)) > usedEvery {
		row.UsedAt = now.UnixMilli()
		if _, err := d.db.NewUpdate().Model(row).Column("used_at").WherePK().Exec(ctx); err != nil {
			return Token{}, fmt.Errorf("note a bearer token's use: %w", err)
		}
	}
	return row.token(), nil
}

// tokenHash is what the database keeps of a token. Tokens are random and long,
// so a plain hash is enough.
func tokenHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
