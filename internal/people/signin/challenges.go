package signin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// challengeRow is what was asked of a browser, until it answers.
type challengeRow struct {
	bun.BaseModel `bun:"table:person_challenges"`
	TokenHash     string `bun:",pk"`
	Purpose       string
	UserID        string
	Data          string
	CreatedAt     int64
	ExpiresAt     int64
}

// NewChallenge keeps data, as JSON, until the browser that holds the returned
// token comes back with an answer. An empty userID is nobody yet.
func (s *Service) NewChallenge(ctx context.Context, purpose, userID string, data any, life time.Duration) (string, error) {
	token := NewToken()
	return token, s.KeepChallenge(ctx, purpose, userID, token, data, life)
}

// NewToken returns 256 random bits as text that needs no escaping anywhere.
func NewToken() string { return randomToken() }

// KeepChallenge is NewChallenge with a token that NewToken made before.
func (s *Service) KeepChallenge(ctx context.Context, purpose, userID, token string, data any, life time.Duration) error {
	text, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("keep a challenge: %w", err)
	}
	row := &challengeRow{TokenHash: hashToken(token), Purpose: purpose, UserID: userID, Data: string(text), CreatedAt: s.now(), ExpiresAt: s.cfg.Now().Add(life).UnixMilli()}
	if _, err := s.db.NewInsert().Model(row).Exec(ctx); err != nil {
		return fmt.Errorf("keep a challenge: %w", err)
	}
	return nil
}

// UseChallenge takes a challenge away and reads its data into into; a challenge
// is answered once. One that is unknown, used, of another purpose or person, or
// too old is ErrBadLink.
func (s *Service) UseChallenge(ctx context.Context, purpose, userID, token string, into any) error {
	var row challengeRow
	_, err := s.db.NewDelete().Model(&row).Where("token_hash = ? AND purpose = ? AND user_id = ?", hashToken(token), purpose, userID).Returning("*").Exec(ctx)
	if err != nil && !noRows(err) {
		return fmt.Errorf("use a challenge: %w", err)
	}
	if row.TokenHash == "" || row.ExpiresAt < s.now() {
		return ErrBadLink
	}
	if err := json.Unmarshal([]byte(row.Data), into); err != nil {
		return fmt.Errorf("read a challenge: %w", err)
	}
	return nil
}
