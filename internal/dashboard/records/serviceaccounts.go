package records

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/dashboard/caller"
)

// ServiceAccount is a caller that is no person.
type ServiceAccount struct {
	bun.BaseModel `bun:"table:dash_service_accounts"`

	WorkspaceID string `bun:",pk"`
	ID          int64  `bun:",pk"`
	Name        string
	Login       string
	Role        caller.Role
	Disabled    bool
	CreatedAt   int64
	UpdatedAt   int64
}

// Token lets a service account in. Only its hash is kept.
type Token struct {
	bun.BaseModel `bun:"table:dash_tokens"`

	TokenHash        string `bun:",pk"`
	WorkspaceID      string
	ID               int64
	ServiceAccountID int64
	Name             string
	CreatedAt        int64
	ExpiresAt        int64 // 0: never
	UsedAt           int64 // 0: never
}

// ServiceAccounts lists the service accounts by name.
func (s *Store) ServiceAccounts(ctx context.Context, ws string) ([]*ServiceAccount, error) {
	var list []*ServiceAccount
	err := s.db.NewSelect().Model(&list).Where("workspace_id = ?", ws).Order("name", "id").Scan(ctx)
	return list, err
}

// ServiceAccount returns the service account with a number.
func (s *Store) ServiceAccount(ctx context.Context, ws string, id int64) (*ServiceAccount, error) {
	var a ServiceAccount
	err := s.db.NewSelect().Model(&a).Where("workspace_id = ? AND id = ?", ws, id).Scan(ctx)
	return &a, notFound(err)
}

// CreateServiceAccount makes a service account.
func (s *Store) CreateServiceAccount(ctx context.Context, ws, name string, role caller.Role, disabled bool) (*ServiceAccount, error) {
	now := s.millis()
	a := &ServiceAccount{
		WorkspaceID: ws, Name: name, Login: "sa-1-" + Slug(name), Role: role, Disabled: disabled, CreatedAt: now, UpdatedAt: now,
	}
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model((*ServiceAccount)(nil)).Where("workspace_id = ? AND login = ?", ws, a.Login).Count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			return ErrNameTaken
		}
		// Users and service accounts share their numbers, as in Grafana.
		if a.ID, err = number(ctx, tx, ws, "user"); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(a).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// UpdateServiceAccount changes a service account's name, role and whether it is
// disabled.
func (s *Store) UpdateServiceAccount(ctx context.Context, a *ServiceAccount) error {
	a.UpdatedAt = s.millis()
	return changed(s.db.NewUpdate().Model(a).WherePK().Exec(ctx))
}

// DeleteServiceAccount removes a service account with its tokens.
func (s *Store) DeleteServiceAccount(ctx context.Context, ws string, id int64) error {
	return changed(s.db.NewDelete().Model((*ServiceAccount)(nil)).Where("workspace_id = ? AND id = ?", ws, id).Exec(ctx))
}

// tokenPrefix is what tokens of service accounts begin with, as Grafana's do.
const tokenPrefix = "glsa_"

// CreateToken makes a token that is good until expires (0: for ever) and returns
// its text, which nobody can read again.
func (s *Store) CreateToken(ctx context.Context, ws string, account int64, name string, expires int64) (*Token, string, error) {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	secret := hex.EncodeToString(b[:])
	// The end is a checksum, by which scanners recognise a leaked token.
	text := fmt.Sprintf("%s%s_%08x", tokenPrefix, secret, crc32.ChecksumIEEE([]byte(secret)))
	t := &Token{TokenHash: tokenHash(text), WorkspaceID: ws, ServiceAccountID: account, Name: name, CreatedAt: s.millis(), ExpiresAt: expires}
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model((*Token)(nil)).Where("workspace_id = ? AND service_account_id = ? AND name = ?", ws, account, name).Count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			return ErrNameTaken
		}
		if t.ID, err = number(ctx, tx, ws, "token"); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(t).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return t, text, nil
}

// tokenHash is what is kept of a token. Tokens are random and long, so a plain
// hash is enough.
func tokenHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Tokens lists the tokens of a service account, or of all for 0.
func (s *Store) Tokens(ctx context.Context, ws string, account int64) ([]*Token, error) {
	var list []*Token
	q := s.db.NewSelect().Model(&list).Where("workspace_id = ?", ws).Order("id")
	if account != 0 {
		q = q.Where("service_account_id = ?", account)
	}
	return list, q.Scan(ctx)
}

// DeleteToken removes a token.
func (s *Store) DeleteToken(ctx context.Context, ws string, account, id int64) error {
	return changed(s.db.NewDelete().Model((*Token)(nil)).Where("workspace_id = ? AND service_account_id = ? AND id = ?", ws, account, id).Exec(ctx))
}

// TokenCaller returns whom a token lets in, or caller.ErrNotSignedIn.
func (s *Store) TokenCaller(ctx context.Context, text string) (caller.Caller, error) {
	if !strings.HasPrefix(text, tokenPrefix) {
		return caller.Caller{}, caller.ErrNotSignedIn
	}
	var t Token
	err := notFound(s.db.NewSelect().Model(&t).Where("token_hash = ?", tokenHash(text)).Scan(ctx))
	if errors.Is(err, ErrNotFound) || (err == nil && t.ExpiresAt != 0 && t.ExpiresAt <= s.millis()) {
		return caller.Caller{}, caller.ErrNotSignedIn
	}
	if err != nil {
		return caller.Caller{}, fmt.Errorf("look up a token: %w", err)
	}
	a, err := s.ServiceAccount(ctx, t.WorkspaceID, t.ServiceAccountID)
	if errors.Is(err, ErrNotFound) || (err == nil && a.Disabled) {
		return caller.Caller{}, caller.ErrNotSignedIn
	}
	if err != nil {
		return caller.Caller{}, fmt.Errorf("look up a token's account: %w", err)
	}
	if now := s.millis(); now-t.UsedAt >= seenEvery {
		if _, err := s.db.NewUpdate().Model((*Token)(nil)).Set("used_at = ?", now).Where("token_hash = ?", t.TokenHash).Exec(ctx); err != nil {
			return caller.Caller{}, fmt.Errorf("note a token's use: %w", err)
		}
	}
	return caller.Caller{
		Workspace: a.WorkspaceID, ServiceAccount: a.ID, UserID: a.ID, Login: a.Login, Name: a.Name, Role: a.Role,
	}, nil
}
