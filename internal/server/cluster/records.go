package cluster

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
)

type row struct {
	bun.BaseModel `bun:"table:clusters,alias:c"`
	ID            string `bun:"id,pk"`
	AccountID     string `bun:"account_id"`
	Region        string `bun:"region"`
	Name          string `bun:"name"`
	Version       string `bun:"version"`
	Endpoint      string `bun:"endpoint"`
	CA            string `bun:"ca"`
	Issuer        string `bun:"issuer"`
	JWKS          string `bun:"jwks"`
	InternalURL   string `bun:"internal_url"`
	Connector     string `bun:"connector"`
	Tags          string `bun:"tags"`
	ScraperToken  string `bun:"scraper_token"` // sealed
	CreatedAt     int64  `bun:"created_at"`
}

type tokenRow struct {
	bun.BaseModel `bun:"table:cluster_tokens"`
	AccountID     string `bun:"account_id,pk"`
	Operation     string `bun:"operation,pk"`
	Token         string `bun:"token,pk"`
	Input         string `bun:"input"`
	Result        string `bun:"result"`
	CreatedAt     int64  `bun:"created_at"`
}

// tokenLife is how long a client request token is remembered.
const tokenLife = 24 * time.Hour

func (r *row) set(reg Registration) {
	r.Version, r.Endpoint, r.CA = reg.Version, reg.Endpoint, reg.CA
	r.Issuer, r.JWKS, r.InternalURL = reg.Issuer, reg.JWKS, reg.InternalURL
	r.Connector = encode(reg.Connector)
}

func (r *row) cluster() (*Cluster, error) {
	c := &Cluster{ID: r.ID, AccountID: r.AccountID, Region: r.Region, Name: r.Name,
		CreatedAt: time.UnixMilli(r.CreatedAt).UTC(), Scrapable: r.ScraperToken != "",
		Registration: Registration{Version: r.Version, Endpoint: r.Endpoint, CA: r.CA,
			Issuer: r.Issuer, JWKS: r.JWKS, InternalURL: r.InternalURL}}
	err := errors.Join(json.Unmarshal([]byte(r.Connector), &c.Connector), json.Unmarshal([]byte(r.Tags), &c.Tags))
	if err != nil {
		return nil, fmt.Errorf("record of cluster %s: %w", r.Name, err)
	}
	return c, nil
}

// encode writes what always encodes: strings, and maps and structs of them.
func encode(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func encodeTags(tags map[string]string) string {
	if tags == nil {
		tags = map[string]string{}
	}
	return encode(tags)
}

// RegisterInput is what a cluster's record is made from.
type RegisterInput struct {
	Name         string
	Tags         map[string]string
	ClientToken  string
	Registration Registration
}

// Register records a cluster. The same client token with the same input returns
// the record made before.
func (s *Service) Register(ctx context.Context, account string, in RegisterInput) (*Cluster, error) {
	if !validName().MatchString(in.Name) {
		return nil, &InvalidError{"name", "allowed are 1 to 100 letters, digits, '-' and '_', the first a letter or digit"}
	}
	if err := in.Registration.check(); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	r := &row{ID: uuid.NewString(), AccountID: account, Region: s.cfg.Region, Name: in.Name,
		Tags: encodeTags(in.Tags), CreatedAt: s.cfg.Now().UnixMilli()}
	r.set(in.Registration)
	if err := s.setToken(r, in.Registration, r.Endpoint); err != nil {
		return nil, err
	}
	t := &tokenRow{AccountID: account, Operation: "RegisterCluster", Token: in.ClientToken,
		Input: hashInput(in.Name, r.Tags, encode(in.Registration)), Result: r.ID}
	err := s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		n, err := s.mine(tx, account).Count(ctx)
		if err != nil {
			return err
		}
		if n >= s.cfg.MaxClusters {
			return &LimitError{fmt.Sprintf("%d clusters are the most an account may have in a region.", s.cfg.MaxClusters)}
		}
		if _, err := s.find(ctx, tx, account, in.Name); err == nil {
			return &ExistsError{"Cluster already exists with name: " + in.Name}
		} else if !isNotFound(err) {
			return err
		}
		_, err = tx.NewInsert().Model(r).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, wrapDB("register cluster "+in.Name, err)
	}
	c, err := s.Get(ctx, account, in.Name)
	if err == nil && c.ID != t.Result {
		return nil, &ExistsError{"The client request token was used for a cluster that has been deregistered."}
	}
	return c, err
}

// Update replaces what a cluster was registered with.
func (s *Service) Update(ctx context.Context, account, name string, reg Registration) (*Cluster, error) {
	if err := reg.check(); err != nil {
		return nil, err
	}
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.find(ctx, tx, account, name)
		if err != nil {
			return err
		}
		endpoint := r.Endpoint
		r.set(reg)
		if err := s.setToken(r, reg, endpoint); err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model(r).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return nil, wrapDB("update cluster "+name, err)
	}
	return s.Get(ctx, account, name)
}

// Deregister removes a cluster's record and its associations, and returns what
// it was.
func (s *Service) Deregister(ctx context.Context, account, name string) (*Cluster, error) {
	var c *Cluster
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.find(ctx, tx, account, name)
		if err != nil {
			return err
		}
		if c, err = r.cluster(); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model((*associationRow)(nil)).Where("cluster_id = ?", r.ID).Exec(ctx); err != nil {
			return err
		}
		_, err = tx.NewDelete().Model(r).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return nil, wrapDB("deregister cluster "+name, err)
	}
	return c, nil
}

// Get returns a cluster of the account, or a *NotFoundError.
func (s *Service) Get(ctx context.Context, account, name string) (*Cluster, error) {
	r, err := s.find(ctx, s.db, account, name)
	if err != nil {
		return nil, err
	}
	return r.cluster()
}

// ByID returns a cluster of whatever account, or a *NotFoundError.
func (s *Service) ByID(ctx context.Context, id string) (*Cluster, error) {
	var r row
	err := s.db.NewSelect().Model(&r).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &NotFoundError{"No cluster found for id: " + id + "."}
	}
	if err != nil {
		return nil, fmt.Errorf("read cluster %s: %w", id, err)
	}
	return r.cluster()
}

// Named returns the clusters of that name in all accounts: a token is presented
// for a name alone, before it is known whose it is.
func (s *Service) Named(ctx context.Context, name string) ([]*Cluster, error) {
	var rows []row
	err := s.db.NewSelect().Model(&rows).Where("region = ? AND name = ?", s.cfg.Region, name).Order("account_id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read clusters named %s: %w", name, err)
	}
	return clusters(rows)
}

func clusters(rows []row) ([]*Cluster, error) {
	out := make([]*Cluster, 0, len(rows))
	for i := range rows {
		c, err := rows[i].cluster()
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func (s *Service) mine(db bun.IDB, account string) *bun.SelectQuery {
	return db.NewSelect().Model((*row)(nil)).Where("account_id = ? AND region = ?", account, s.cfg.Region)
}

func (s *Service) find(ctx context.Context, db bun.IDB, account, name string) (*row, error) {
	var r row
	err := db.NewSelect().Model(&r).Where("account_id = ? AND region = ? AND name = ?", account, s.cfg.Region, name).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &NotFoundError{"No cluster found for name: " + name + "."}
	}
	if err != nil {
		return nil, fmt.Errorf("read cluster %s: %w", name, err)
	}
	return &r, nil
}

// pageToken is where the next page begins. The filter is part of it, so that a
// token is not carried over to another list.
type pageToken struct {
	After  string `json:"a"`
	Filter string `json:"f,omitempty"`
}

func (p pageToken) encode() string { return base64.RawURLEncoding.EncodeToString([]byte(encode(p))) }

func decodePage(token, filter string) (after string, err error) {
	if token == "" {
		return "", nil
	}
	var p pageToken
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || json.Unmarshal(b, &p) != nil || p.Filter != filter {
		return "", &InvalidError{"nextToken", "is not a token that this list returned"}
	}
	return p.After, nil
}

// maxPage is the most that a page holds, and what it holds when not asked.
const maxPage = 100

func pageSize(n int) (int, error) {
	if n == 0 {
		return maxPage, nil
	}
	if n < 1 || n > maxPage {
		return 0, &InvalidError{"maxResults", fmt.Sprintf("must be between 1 and %d", maxPage)}
	}
	return n, nil
}

// List returns clusters in order of their names, at most max (zero means 100),
// and the token of the next page.
func (s *Service) List(ctx context.Context, account string, limit int, token string) ([]*Cluster, string, error) {
	limit, err := pageSize(limit)
	if err != nil {
		return nil, "", err
	}
	after, err := decodePage(token, "")
	if err != nil {
		return nil, "", err
	}
	var rows []row
	err = s.db.NewSelect().Model(&rows).Where("account_id = ? AND region = ? AND name > ?", account, s.cfg.Region, after).
		Order("name").Limit(limit + 1).Scan(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("list clusters: %w", err)
	}
	next := ""
	if len(rows) > limit {
		rows = rows[:limit]
		next = pageToken{After: rows[limit-1].Name}.encode()
	}
	out, err := clusters(rows)
	return out, next, err
}

// Tag adds tags to a cluster or replaces their values.
func (s *Service) Tag(ctx context.Context, account, name string, tags map[string]string) error {
	return s.updateTags(ctx, account, name, func(have map[string]string) { maps.Copy(have, tags) })
}

// Untag removes tags; names it does not have are no error.
func (s *Service) Untag(ctx context.Context, account, name string, keys []string) error {
	return s.updateTags(ctx, account, name, func(have map[string]string) { deleteKeys(have, keys) })
}

func deleteKeys(have map[string]string, keys []string) {
	for _, k := range keys {
		delete(have, k)
	}
}

func (s *Service) updateTags(ctx context.Context, account, name string, change func(map[string]string)) error {
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.find(ctx, tx, account, name)
		if err != nil {
			return err
		}
		if r.Tags, err = changeTags(r.Tags, change); err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model(r).Column("tags").WherePK().Exec(ctx)
		return err
	})
	return wrapDB("update tags of cluster "+name, err)
}

func changeTags(text string, change func(map[string]string)) (string, error) {
	have := make(map[string]string)
	if err := json.Unmarshal([]byte(text), &have); err != nil {
		return "", fmt.Errorf("tags: %w", err)
	}
	change(have)
	return encodeTags(have), checkTags(have)
}

// once runs do in a transaction unless t's token was used before. With the same
// input t.Result then is that of the first call; other input is an error.
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
		_, err := tx.NewDelete().Model((*tokenRow)(nil)).Where("created_at < ?", now.Add(-tokenLife).UnixMilli()).Exec(ctx)
		if err != nil {
			return err
		}
		var old tokenRow
		err = tx.NewSelect().Model(&old).
			Where("account_id = ? AND operation = ? AND token = ?", t.AccountID, t.Operation, t.Token).Scan(ctx)
		switch {
		case err == nil && old.Input != t.Input:
			return &InvalidError{"clientRequestToken", "was used before with other parameters"}
		case err == nil:
			t.Result = old.Result
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
}

func hashInput(parts ...string) string {
	sum := sha256.Sum256([]byte(encode(parts)))
	return hex.EncodeToString(sum[:])
}

func isNotFound(err error) bool {
	var e *NotFoundError
	return errors.As(err, &e)
}

// wrapDB adds what was tried to an error that is not the caller's own doing.
func wrapDB(what string, err error) error {
	var invalid *InvalidError
	var exists *ExistsError
	var limit *LimitError
	if err == nil || isNotFound(err) || errors.As(err, &invalid) || errors.As(err, &exists) || errors.As(err, &limit) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}
