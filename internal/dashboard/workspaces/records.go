package workspaces

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

type row struct {
	bun.BaseModel `bun:"table:dash_workspaces"`

	ID         string `bun:",pk"`
	AccountID  string
	Region     string
	RecordsKey string
	Name       string
	Status     Status
	BaseRole   Role
	Spec       string
	Tags       string
	CreatedAt  int64
	UpdatedAt  int64
}

func (r *row) workspace() (*Workspace, error) {
	w := &Workspace{ID: r.ID, AccountID: r.AccountID, Region: r.Region, Key: r.RecordsKey, Name: r.Name, Status: r.Status, BaseRole: r.BaseRole,
		Created: time.UnixMilli(r.CreatedAt).UTC(), Modified: time.UnixMilli(r.UpdatedAt).UTC()}
	if err := errors.Join(json.Unmarshal([]byte(r.Spec), &w.Spec), json.Unmarshal([]byte(r.Tags), &w.Tags)); err != nil {
		return nil, fmt.Errorf("record of workspace %s: %w", r.ID, err)
	}
	return w, nil
}

func newID() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails
	return "g-" + hex.EncodeToString(b[:])
}

func tagsText(tags map[string]string) string {
	if tags == nil {
		return "{}"
	}
	b, _ := json.Marshal(tags) // strings always encode
	return string(b)
}

// CreateInput is what a new workspace is made from.
type CreateInput struct {
	Name        string
	Spec        Spec
	Tags        map[string]string
	ClientToken string
}

type tokenRow struct {
	bun.BaseModel `bun:"table:dash_workspace_tokens"`

	AccountID   string `bun:",pk"`
	Token       string `bun:",pk"`
	Input       string
	WorkspaceID string
	CreatedAt   int64
}

// tokenLife is how long a client token is remembered.
const tokenLife = 24 * time.Hour

// Create makes a workspace, empty, with nobody in it. The same client token with
// the same input returns the workspace made before.
func (s *Service) Create(ctx context.Context, account string, in CreateInput) (*Workspace, error) {
	if err := errors.Join(checkName(in.Name), in.Spec.complete(), checkTags(in.Tags)); err != nil {
		return nil, firstOf(err)
	}
	if len(in.ClientToken) > 64 || strings.ContainsFunc(in.ClientToken, func(r rune) bool { return r < '!' || r > '~' }) {
		return nil, &InvalidError{"clientToken", "allowed are 1 to 64 printable ASCII characters"}
	}
	id := newID()
	r := &row{ID: id, AccountID: account, Region: s.cfg.Region, RecordsKey: id, Name: in.Name, Status: StatusActive,
		Spec: in.Spec.text(), Tags: tagsText(in.Tags), CreatedAt: s.now(), UpdatedAt: s.now()}
	sum := sha256.Sum256([]byte(strings.Join([]string{r.Name, r.Spec, r.Tags}, "\x00")))
	t := &tokenRow{AccountID: account, Token: in.ClientToken, Input: hex.EncodeToString(sum[:]), WorkspaceID: id, CreatedAt: s.now()}
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		used, err := s.useToken(ctx, tx, t)
		if err != nil || used {
			return err
		}
		n, err := tx.NewSelect().Model((*row)(nil)).Where("account_id = ?", account).Count(ctx)
		if err != nil {
			return err
		}
		if n >= s.cfg.MaxWorkspaces {
			return &QuotaError{fmt.Sprintf("%d dashboard workspaces are the most an account may have (setting ui.max_workspaces)", s.cfg.MaxWorkspaces)}
		}
		_, err = tx.NewInsert().Model(r).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, wrap("create a dashboard workspace", err)
	}
	w, err := s.Get(ctx, account, t.WorkspaceID)
	if errors.Is(err, ErrNotFound) {
		return nil, &ConflictError{t.WorkspaceID, "The client token was used for a workspace that has been deleted."}
	}
	return w, err
}

// useToken notes a client token, or finds that it was used before and takes over
// what came of it.
func (s *Service) useToken(ctx context.Context, tx bun.Tx, t *tokenRow) (used bool, err error) {
	if t.Token == "" {
		return false, nil
	}
	if _, err := tx.NewDelete().Model((*tokenRow)(nil)).Where("created_at < ?", t.CreatedAt-tokenLife.Milliseconds()).Exec(ctx); err != nil {
		return false, err
	}
	old := &tokenRow{AccountID: t.AccountID, Token: t.Token}
	err = tx.NewSelect().Model(old).WherePK().Scan(ctx)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		_, err = tx.NewInsert().Model(t).Exec(ctx)
		return false, err
	case err != nil:
		return false, err
	case old.Input != t.Input:
		return false, &ConflictError{old.WorkspaceID, "The client token was used before with other parameters."}
	}
	t.WorkspaceID = old.WorkspaceID
	return true, nil
}

// firstOf is the first of joined errors that is the caller's doing.
func firstOf(err error) error {
	var bad *InvalidError
	if errors.As(err, &bad) {
		return bad
	}
	return err
}

// wrap adds what was tried to an error that is not the caller's own doing.
func wrap(what string, err error) error {
	var bad *InvalidError
	var taken *ConflictError
	var quota *QuotaError
	if err == nil || errors.As(err, &bad) || errors.As(err, &taken) || errors.As(err, &quota) || errors.Is(err, ErrNotFound) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (s *Service) one(ctx context.Context, db bun.IDB, where string, args ...any) (*row, error) {
	r := new(row)
	err := db.NewSelect().Model(r).Where(where, args...).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read a dashboard workspace: %w", err)
	}
	return r, nil
}

// Get returns a workspace of an account, or ErrNotFound.
func (s *Service) Get(ctx context.Context, account, id string) (*Workspace, error) {
	r, err := s.one(ctx, s.db, "id = ? AND account_id = ? AND region = ?", id, account, s.cfg.Region)
	if err != nil {
		return nil, err
	}
	return r.workspace()
}

// Open returns a workspace that people may enter, of whatever account; "" names
// the default one.
func (s *Service) Open(ctx context.Context, id string) (*Workspace, error) {
	where := "id = ?"
	if id == "" {
		where, id = "records_key = ?", "default"
	}
	r, err := s.one(ctx, s.db, where, id)
	if err != nil {
		return nil, err
	}
	if r.Status != StatusActive {
		return nil, ErrNotFound
	}
	return r.workspace()
}

func (s *Service) byKey(ctx context.Context, key string) (*Workspace, error) {
	r, err := s.one(ctx, s.db, "records_key = ?", key)
	if err != nil {
		return nil, err
	}
	return r.workspace()
}

// Page says which part of a list is wanted.
type Page struct {
	// Max is 1 to 100; zero means 100.
	Max int
	// After is what the page before returned as next.
	After string
}

func (p Page) limits() (limit int, after string, err error) {
	if p.Max < 0 || p.Max > 100 {
		return 0, "", &InvalidError{"maxResults", fmt.Sprintf("found %d, allowed are 1 to 100", p.Max)}
	}
	text, err := base64.RawURLEncoding.DecodeString(p.After)
	if err != nil {
		return 0, "", &InvalidError{"nextToken", "is not one that was given out"}
	}
	if p.Max == 0 {
		p.Max = 100
	}
	return p.Max, string(text), nil
}

func nextPage(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

// List returns the workspaces of an account. next is empty on the last page.
func (s *Service) List(ctx context.Context, account string, p Page) (list []*Workspace, next string, err error) {
	limit, after, err := p.limits()
	if err != nil {
		return nil, "", err
	}
	var rows []*row
	err = s.db.NewSelect().Model(&rows).Where("account_id = ? AND region = ? AND id > ?", account, s.cfg.Region, after).Order("id").Limit(limit + 1).Scan(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("list dashboard workspaces: %w", err)
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = nextPage(rows[limit-1].ID)
	}
	for _, r := range rows {
		w, err := r.workspace()
		if err != nil {
			return nil, "", err
		}
		list = append(list, w)
	}
	return list, next, nil
}

// Change changes a workspace by f, which may change its Name, Spec, Tags and
// BaseRole; what it leaves behind is checked.
func (s *Service) Change(ctx context.Context, account, id string, f func(*Workspace) error) (*Workspace, error) {
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.one(ctx, tx, "id = ? AND account_id = ? AND region = ?", id, account, s.cfg.Region)
		if err != nil {
			return err
		}
		if r.Status != StatusActive {
			return &ConflictError{id, "The workspace is being deleted."}
		}
		w, err := r.workspace()
		if err != nil {
			return err
		}
		if err := f(w); err != nil {
			return err
		}
		if err := errors.Join(checkName(w.Name), w.Spec.complete(), checkTags(w.Tags)); err != nil {
			return firstOf(err)
		}
		if w.BaseRole != "" && !w.BaseRole.Valid() {
			return &InvalidError{"baseRole", "allowed are ADMIN, EDITOR, VIEWER and nothing"}
		}
		r.Name, r.Spec, r.Tags, r.BaseRole, r.UpdatedAt = w.Name, w.Spec.text(), tagsText(w.Tags), w.BaseRole, s.now()
		_, err = tx.NewUpdate().Model(r).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return nil, wrap("change a dashboard workspace", err)
	}
	return s.Get(ctx, account, id)
}

// UpdateAuthentication says how people prove who they are. A nil m takes SAML's
// configuration away where SAML is not among the providers.
func (s *Service) UpdateAuthentication(ctx context.Context, account, id string, providers []string, m *SAML) (*Workspace, error) {
	if m != nil {
		if err := m.check(); err != nil {
			return nil, err
		}
	}
	return s.Change(ctx, account, id, func(w *Workspace) error {
		if w.Default() && !slices.Contains(providers, ProviderSSO) {
			return &ConflictError{id, "The default workspace is entered through AWS_SSO."}
		}
		w.Spec.Providers = slices.Clone(providers)
		switch saml := slices.Contains(providers, ProviderSAML); {
		case m != nil && !saml:
			return &InvalidError{"samlConfiguration", "is given, and SAML is not among authenticationProviders"}
		case m != nil:
			w.Spec.SAML = m
		case !saml:
			w.Spec.SAML = nil
		}
		return nil
	})
}

// UpdateConfiguration replaces a workspace's configuration and, where version is
// not empty, upgrades it.
func (s *Service) UpdateConfiguration(ctx context.Context, account, id, configuration, version string) error {
	_, err := s.Change(ctx, account, id, func(w *Workspace) error {
		if version != "" && version != w.Spec.GrafanaVersion {
			if err := oneOf("grafanaVersion", version, versions...); err != nil {
				return err
			}
			if !slices.Contains(Versions(w.Spec.GrafanaVersion), version) {
				return &InvalidError{"grafanaVersion", "a workspace cannot go back from " + w.Spec.GrafanaVersion + " to " + version}
			}
			w.Spec.GrafanaVersion = version
		}
		w.Spec.Configuration = configuration
		return checkConfiguration(configuration)
	})
	return err
}

// Tag sets tags beside those that are there.
func (s *Service) Tag(ctx context.Context, account, id string, tags map[string]string) error {
	_, err := s.Change(ctx, account, id, func(w *Workspace) error { maps.Copy(w.Tags, tags); return nil })
	return err
}

// Untag takes tags away.
func (s *Service) Untag(ctx context.Context, account, id string, keys []string) error {
	_, err := s.Change(ctx, account, id, func(w *Workspace) error {
		maps.DeleteFunc(w.Tags, func(k, _ string) bool { return slices.Contains(keys, k) })
		return nil
	})
	return err
}

// Delete deletes a workspace with everything in it. From the first moment on
// nobody can enter it.
func (s *Service) Delete(ctx context.Context, account, id string) (*Workspace, error) {
	w, err := s.Get(ctx, account, id)
	if err != nil {
		return nil, err
	}
	if w.Default() {
		return nil, &ConflictError{id, "The default workspace belongs to the installation and cannot be deleted."}
	}
	if _, err := s.db.NewUpdate().Model((*row)(nil)).Set("status = ?", StatusDeleting).Where("id = ?", id).Exec(ctx); err != nil {
		return nil, fmt.Errorf("delete a dashboard workspace: %w", err)
	}
	w.Status = StatusDeleting
	return w, s.finish(ctx, w.ID, w.Key)
}

func (s *Service) finish(ctx context.Context, id, key string) error {
	if err := s.cfg.Purge(ctx, key); err != nil {
		return fmt.Errorf("delete what is in dashboard workspace %s: %w", id, err)
	}
	if _, err := s.db.NewDelete().Model((*row)(nil)).Where("id = ?", id).Exec(ctx); err != nil {
		return fmt.Errorf("delete a dashboard workspace: %w", err)
	}
	return nil
}

// Resume ends deletions that a stop has interrupted.
func (s *Service) Resume(ctx context.Context) error {
	var rows []row
	if err := s.db.NewSelect().Model(&rows).Where("status = ?", StatusDeleting).Scan(ctx); err != nil {
		return fmt.Errorf("find interrupted deletions: %w", err)
	}
	var errs []error
	for _, r := range rows {
		errs = append(errs, s.finish(ctx, r.ID, r.RecordsKey))
	}
	return errors.Join(errs...)
}
