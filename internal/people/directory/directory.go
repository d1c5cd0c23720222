// Package directory keeps people: users, groups and memberships, one identity
// store for each account. It knows nothing of passwords and sessions; what it
// says about a user holds for everybody who asks next, so that a disabled or
// deleted one is out at once.
package directory

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/text/unicode/norm"
)

// The kinds of records, in the words of the Identity Store's errors.
const (
	KindStore      = "IDENTITY_STORE"
	KindUser       = "USER"
	KindGroup      = "GROUP"
	KindMembership = "GROUP_MEMBERSHIP"
)

// NotFoundError says that there is no such record.
type NotFoundError struct{ Kind, ID string }

// Error implements error.
func (e *NotFoundError) Error() string {
	return strings.ToLower(strings.ReplaceAll(e.Kind, "_", " ")) + " not found"
}

// InvalidError says what is wrong with a field, and what is allowed.
type InvalidError struct{ Field, Message string }

// Error implements error.
func (e *InvalidError) Error() string { return e.Field + ": " + e.Message }

// ConflictError says that a value that has to be unique is taken.
type ConflictError struct{ Field, Message string }

// Error implements error.
func (e *ConflictError) Error() string { return e.Message }

// LimitError says that there are as many records as there may be.
type LimitError struct{ Message string }

// Error implements error.
func (e *LimitError) Error() string { return e.Message }

// IsNotFound reports whether err says that a record does not exist.
func IsNotFound(err error) bool {
	var missing *NotFoundError
	return errors.As(err, &missing)
}

// Config of a Directory.
type Config struct {
	// MaxUsers and MaxGroups bound an identity store. Zero means 100 000.
	MaxUsers, MaxGroups int
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Directory is the records of people. It is safe for concurrent use.
type Directory struct {
	cfg Config
	db  *bun.DB
}

const defaultMax = 100_000

// New returns the directory kept in db.
func New(cfg Config, db *bun.DB) *Directory {
	if cfg.MaxUsers == 0 {
		cfg.MaxUsers = defaultMax
	}
	if cfg.MaxGroups == 0 {
		cfg.MaxGroups = defaultMax
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Directory{cfg: cfg, db: db}
}

// Store is the identity store of an account.
type Store struct {
	// ID is d- and ten hexadecimal digits; InstanceID ssoins- and sixteen.
	ID, InstanceID string
	AccountID      string
	Created        time.Time
}

// ARN names the identity store in policies.
func (s Store) ARN() string {
	return "arn:aws:identitystore::" + s.AccountID + ":identitystore/" + s.ID
}

// InstanceARN names the instance of IAM Identity Center that the store is of.
func (s Store) InstanceARN() string { return "arn:aws:sso:::instance/" + s.InstanceID }

type storeRow struct {
	bun.BaseModel `bun:"table:identity_stores"`
	ID            string `bun:"id,pk"`
	AccountID     string
	Instance      string
	CreatedAt     int64
}

func (r *storeRow) store() Store {
	return Store{ID: r.ID, InstanceID: r.Instance, AccountID: r.AccountID, Created: time.UnixMilli(r.CreatedAt).UTC()}
}

// Store returns the identity store of an account, which is made when it is asked
// for first.
func (d *Directory) Store(ctx context.Context, account string) (Store, error) {
	row := new(storeRow)
	find := func() error {
		return d.db.NewSelect().Model(row).Where("account_id = ?", account).Scan(ctx)
	}
	err := find()
	if errors.Is(err, sql.ErrNoRows) {
		made := &storeRow{ID: "d-" + randomHex(5), AccountID: account, Instance: "ssoins-" + randomHex(8), CreatedAt: d.cfg.Now().UnixMilli()}
		if _, err := d.db.NewInsert().Model(made).On("CONFLICT (account_id) DO NOTHING").Exec(ctx); err != nil {
			return Store{}, fmt.Errorf("make an identity store: %w", err)
		}
		err = find()
	}
	if err != nil {
		return Store{}, fmt.Errorf("find the identity store of account %s: %w", account, err)
	}
	return row.store(), nil
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails; it ends the program instead
	return hex.EncodeToString(b)
}

// key is what names and addresses are compared by: without case, and the same
// for all ways to write the same characters.
func key(s string) string { return strings.ToLower(norm.NFKC.String(s)) }

// Page says which part of a list is wanted.
type Page struct {
	// Max is the number of records, 1 to 100; zero means 100.
	Max int
	// After is what the page before returned as next; empty for the first.
	After string
}

const maxPage = 100

func (p Page) limit() (int, error) {
	switch {
	case p.Max == 0:
		return maxPage, nil
	case p.Max < 1 || p.Max > maxPage:
		return 0, &InvalidError{"MaxResults", fmt.Sprintf("found %d, allowed are 1 to %d", p.Max, maxPage)}
	}
	return p.Max, nil
}

// inTx runs f in a transaction. Its errors that say what the caller did wrong
// come back as they are.
func (d *Directory) inTx(ctx context.Context, f func(context.Context, bun.Tx) error) error {
	return d.db.RunInTx(ctx, nil, f)
}

func (d *Directory) now() int64 { return d.cfg.Now().UnixMilli() }
