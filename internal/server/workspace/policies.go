package workspace

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/auth/policy"
)

// NoPolicy is the revision id of a workspace without a resource policy.
const NoPolicy = "NO_POLICY"

// maxPolicy bounds a resource policy in bytes.
const maxPolicy = 20 << 10

// Policy is a workspace's resource policy: who else may use its data plane.
type Policy struct {
	Document   string
	RevisionID string
}

type policyRow struct {
	bun.BaseModel `bun:"table:workspace_policies"`
	WorkspaceID   string `bun:"workspace_id,pk"`
	Document      string `bun:"document"`
	RevisionID    string `bun:"revision_id"`
	ModifiedAt    int64  `bun:"modified_at"`
}

// findPolicy returns nil if there is none.
func (s *Service) findPolicy(ctx context.Context, db bun.IDB, id string) (*policyRow, error) {
	r := &policyRow{WorkspaceID: id}
	err := db.NewSelect().Model(r).WherePK().Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read resource policy of workspace %s: %w", id, err)
	}
	return r, nil
}

// Policy returns a workspace's resource policy.
func (s *Service) Policy(ctx context.Context, account, id string) (*Policy, error) {
	if _, err := s.find(ctx, s.db, account, id); err != nil {
		return nil, err
	}
	r, err := s.findPolicy(ctx, s.db, id)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, &NotFoundError{TypePolicy, id}
	}
	return &Policy{r.Document, r.RevisionID}, nil
}

// PutPolicy gives a workspace a resource policy in place of the one it has. With
// a revision id it does so only if that is the present one.
func (s *Service) PutPolicy(ctx context.Context, account, id, document, revision, clientToken string) (*Policy, error) {
	if err := checkPolicy(document); err != nil {
		return nil, err
	}
	p := &Policy{document, uuid.NewString()}
	t := &tokenRow{AccountID: account, Operation: "PutResourcePolicy", Token: clientToken, Input: hashInput(id, document, revision), WorkspaceID: id}
	t.remember(p)
	err := s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		if err := s.checkRevision(ctx, tx, account, id, revision); err != nil {
			return err
		}
		r := &policyRow{WorkspaceID: id, Document: document, RevisionID: p.RevisionID, ModifiedAt: s.cfg.Now().UnixMilli()}
		_, err := tx.NewInsert().Model(r).On("CONFLICT (workspace_id) DO UPDATE").Set("document = EXCLUDED.document").
			Set("revision_id = EXCLUDED.revision_id").Set("modified_at = EXCLUDED.modified_at").Exec(ctx)
		return err
	})
	s.entries.changed(id)
	if err != nil {
		return nil, wrapDB("put resource policy of workspace "+id, err)
	}
	return p, t.recall(p)
}

// DeletePolicy takes a workspace's resource policy away.
func (s *Service) DeletePolicy(ctx context.Context, account, id, revision, clientToken string) error {
	t := &tokenRow{AccountID: account, Operation: "DeleteResourcePolicy", Token: clientToken, Input: hashInput(id, revision), WorkspaceID: id}
	err := s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		if err := s.checkRevision(ctx, tx, account, id, revision); err != nil {
			return err
		}
		res, err := tx.NewDelete().Model(&policyRow{WorkspaceID: id}).WherePK().Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return &NotFoundError{TypePolicy, id}
		}
		return nil
	})
	s.entries.changed(id)
	return wrapDB("delete resource policy of workspace "+id, err)
}

// checkRevision refuses a change of a policy that is not the one meant.
func (s *Service) checkRevision(ctx context.Context, tx bun.Tx, account, id, revision string) error {
	if _, err := s.changeable(ctx, tx, account, id); err != nil {
		return err
	}
	if revision == "" {
		return nil
	}
	old, err := s.findPolicy(ctx, tx, id)
	if err != nil {
		return err
	}
	present := NoPolicy
	if old != nil {
		present = old.RevisionID
	}
	if revision != present {
		return &ConflictError{Type: TypePolicy, ID: id, Message: "The revision id is not that of the present policy."}
	}
	return nil
}

func checkPolicy(document string) error {
	if document == "" {
		return &InvalidError{"policyDocument", "is required"}
	}
	if len(document) > maxPolicy {
		return &InvalidError{"policyDocument", fmt.Sprintf("%d bytes, allowed are %d", len(document), maxPolicy)}
	}
	if _, err := policy.Parse([]byte(document), policy.Resource); err != nil {
		return &InvalidError{"policyDocument", err.Error()}
	}
	return nil
}

// remember keeps an answer with the token, recall takes it back out after a
// repeated call.
func (t *tokenRow) remember(answer any) {
	b, _ := json.Marshal(answer) // strings always encode
	t.Answer = string(b)
}

func (t *tokenRow) recall(answer any) error {
	if t.Answer == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(t.Answer), answer); err != nil {
		return fmt.Errorf("answer to an earlier call: %w", err)
	}
	return nil
}
