// Package iam keeps who may call: accounts, users, their access keys, and the
// policies attached to them. It stands behind the edge of the server: the
// signature verifier asks it for secrets, the router asks it for permission,
// and the identity it returns travels in the request's context from there on.
//
// Records live in the database; an access key's secret is sealed with the key
// in the secret key file and is plain only in this process' memory.
package iam

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// DefaultAccount is the account that the first start makes.
const DefaultAccount = "000000000000"

// AdminUser is the user that the first start makes.
const AdminUser = "admin"

// maxAccessKeys is how many keys a user may have, as in AWS: one in use, one
// to change over to.
const maxAccessKeys = 2

// Errors of the record keeping. Test with errors.Is.
var (
	ErrNoSuchEntity  = errors.New("no such entity")
	ErrExists        = errors.New("entity already exists")
	ErrLimitExceeded = errors.New("limit exceeded")
	ErrInvalidInput  = errors.New("invalid input")
)

// Config of a Service.
type Config struct {
	// KeyFile holds the key that seals secrets; it is made when there is none.
	KeyFile string
	// CacheFor is how long a key and its user's policies may be answered from
	// memory when another process changes them. Changes made through this
	// Service show at once. Zero means 5s.
	CacheFor time.Duration
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Service is the store of identities and the judge of permissions. It is safe
// for concurrent use.
type Service struct {
	cfg   Config
	db    *bun.DB
	seal  *sealer
	mu    sync.Mutex
	cache map[string]cached // by access key id
	epoch int               // grows with every change, so that no older read is cached after it
}

type cached struct {
	key      AccessKey
	policies []string
	until    time.Time
}

// AccessKey is an access key with its secret and owner.
type AccessKey struct {
	ID        string
	Secret    string
	Active    bool
	Principal Principal
}

// String keeps the secret out of logs.
func (k AccessKey) String() string { return "access key " + k.ID }

// Open returns the Service over db. A new secret key file is made only while
// the database holds no sealed secrets: a lost file is an error, not a reset.
func Open(ctx context.Context, db *bun.DB, cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.CacheFor == 0 {
		cfg.CacheFor = 5 * time.Second
	}
	n, err := db.NewSelect().Model((*keyRow)(nil)).Count(ctx)
	if err != nil {
		return nil, fmt.Errorf("count access keys: %w", err)
	}
	s, err := openSealer(cfg.KeyFile, n == 0)
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, db: db, seal: s, cache: make(map[string]cached)}, nil
}

type accountRow struct {
	bun.BaseModel `bun:"table:iam_accounts"`
	ID            string `bun:"id,pk"`
	Name          string `bun:"name"`
	CreatedAt     int64  `bun:"created_at"`
}

type userRow struct {
	bun.BaseModel `bun:"table:iam_users"`
	ID            string `bun:"id,pk"`
	AccountID     string `bun:"account_id"`
	Name          string `bun:"name"`
	Path          string `bun:"path"`
	CreatedAt     int64  `bun:"created_at"`
}

type keyRow struct {
	bun.BaseModel `bun:"table:iam_access_keys"`
	ID            string `bun:"id,pk"`
	UserID        string `bun:"user_id"`
	Secret        string `bun:"secret"`
	Status        string `bun:"status"`
	CreatedAt     int64  `bun:"created_at"`
}

type attachmentRow struct {
	bun.BaseModel `bun:"table:iam_user_policies"`
	UserID        string `bun:"user_id,pk"`
	PolicyARN     string `bun:"policy_arn,pk"`
}

const (
	statusActive   = "Active"
	statusInactive = "Inactive"
)

// Bootstrap makes the default account with an administrator and an access key,
// once. The key is returned only by the call that made it; created is false
// and the key empty when everything was there already.
func (s *Service) Bootstrap(ctx context.Context) (key AccessKey, created bool, err error) {
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model((*accountRow)(nil)).Where("id = ?", DefaultAccount).Count(ctx)
		if err != nil || n > 0 {
			return err
		}
		acc := accountRow{ID: DefaultAccount, Name: "default", CreatedAt: s.now()}
		if _, err := tx.NewInsert().Model(&acc).Exec(ctx); err != nil {
			return err
		}
		u, err := s.insertUser(ctx, tx, DefaultAccount, AdminUser)
		if err != nil {
			return err
		}
		at := attachmentRow{UserID: u.ID, PolicyARN: PolicyAdministratorAccess}
		if _, err := tx.NewInsert().Model(&at).Exec(ctx); err != nil {
			return err
		}
		key, err = s.insertKey(ctx, tx, u)
		created = err == nil
		return err
	})
	if err != nil {
		return AccessKey{}, false, fmt.Errorf("make first account: %w", err)
	}
	s.changed()
	return key, created, nil
}

var validUserName = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)

// CreateUser makes a user without keys or permissions.
func (s *Service) CreateUser(ctx context.Context, account, name string) (Principal, error) {
	if !validUserName.MatchString(name) {
		return Principal{}, fmt.Errorf("user name %q: allowed are 1 to 64 letters, digits and +=,.@_-: %w", name, ErrInvalidInput)
	}
	var u userRow
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model((*userRow)(nil)).Where("account_id = ? AND name = ?", account, name).Count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			return ErrExists
		}
		u, err = s.insertUser(ctx, tx, account, name)
		return err
	})
	if err != nil {
		return Principal{}, fmt.Errorf("create user %s: %w", name, err)
	}
	return u.principal(""), nil
}

// CreateAccessKey makes one more access key for a user. It is the only time
// that the secret is shown.
func (s *Service) CreateAccessKey(ctx context.Context, account, user string) (AccessKey, error) {
	var key AccessKey
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		u, err := findUser(ctx, tx, account, user)
		if err != nil {
			return err
		}
		n, err := tx.NewSelect().Model((*keyRow)(nil)).Where("user_id = ?", u.ID).Count(ctx)
		if err != nil {
			return err
		}
		if n >= maxAccessKeys {
			return fmt.Errorf("%d access keys are the most a user may have: %w", maxAccessKeys, ErrLimitExceeded)
		}
		key, err = s.insertKey(ctx, tx, u)
		return err
	})
	if err != nil {
		return AccessKey{}, fmt.Errorf("create access key for user %s: %w", user, err)
	}
	s.changed()
	return key, nil
}

// SetAccessKeyActive switches an access key on or off.
func (s *Service) SetAccessKeyActive(ctx context.Context, id string, active bool) error {
	status := statusInactive
	if active {
		status = statusActive
	}
	res, err := s.db.NewUpdate().Model((*keyRow)(nil)).Set("status = ?", status).Where("id = ?", id).Exec(ctx)
	return s.oneChanged(res, err, "update access key "+id)
}

// DeleteAccessKey removes an access key.
func (s *Service) DeleteAccessKey(ctx context.Context, id string) error {
	res, err := s.db.NewDelete().Model((*keyRow)(nil)).Where("id = ?", id).Exec(ctx)
	return s.oneChanged(res, err, "delete access key "+id)
}

// AttachUserPolicy gives a user the permissions of a managed policy.
func (s *Service) AttachUserPolicy(ctx context.Context, account, user, policyARN string) error {
	if _, ok := managedPolicies[policyARN]; !ok {
		return fmt.Errorf("attach policy %s: %w", policyARN, ErrNoSuchEntity)
	}
	u, err := findUser(ctx, s.db, account, user)
	if err != nil {
		return err
	}
	at := attachmentRow{UserID: u.ID, PolicyARN: policyARN}
	if _, err := s.db.NewInsert().Model(&at).On("CONFLICT (user_id, policy_arn) DO NOTHING").Exec(ctx); err != nil {
		return fmt.Errorf("attach policy to user %s: %w", user, err)
	}
	s.changed()
	return nil
}

// DetachUserPolicy takes a managed policy from a user.
func (s *Service) DetachUserPolicy(ctx context.Context, account, user, policyARN string) error {
	u, err := findUser(ctx, s.db, account, user)
	if err != nil {
		return err
	}
	res, err := s.db.NewDelete().Model((*attachmentRow)(nil)).Where("user_id = ? AND policy_arn = ?", u.ID, policyARN).Exec(ctx)
	return s.oneChanged(res, err, "detach policy "+policyARN+" from user "+user)
}

func (s *Service) oneChanged(res sql.Result, err error, what string) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	s.changed()
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return fmt.Errorf("%s: %w", what, ErrNoSuchEntity)
	}
	return nil
}

// LookupKey returns an active access key with its owner, or ErrNoSuchEntity.
func (s *Service) LookupKey(ctx context.Context, id string) (AccessKey, error) {
	c, err := s.load(ctx, id)
	if err != nil {
		return AccessKey{}, err
	}
	if !c.key.Active {
		return AccessKey{}, fmt.Errorf("access key %s is inactive: %w", id, ErrNoSuchEntity)
	}
	return c.key, nil
}

// load reads a key, its owner and the owner's policies, from memory if fresh.
func (s *Service) load(ctx context.Context, id string) (cached, error) {
	now := s.cfg.Now()
	s.mu.Lock()
	c, ok := s.cache[id]
	epoch := s.epoch
	s.mu.Unlock()
	if ok && now.Before(c.until) {
		return c, nil
	}
	var k keyRow
	if err := s.db.NewSelect().Model(&k).Where("id = ?", id).Scan(ctx); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			return cached{}, fmt.Errorf("access key: %w", ErrNoSuchEntity)
		}
		return cached{}, fmt.Errorf("read access key: %w", err)
	}
	var u userRow
	if err := s.db.NewSelect().Model(&u).Where("id = ?", k.UserID).Scan(ctx); err != nil {
		return cached{}, fmt.Errorf("read user of access key %s: %w", id, err)
	}
	secret, err := s.seal.open(k.Secret, k.ID)
	if err != nil {
		return cached{}, fmt.Errorf("secret of access key %s: %w", id, err)
	}
	c = cached{key: AccessKey{ID: k.ID, Secret: secret, Active: k.Status == statusActive, Principal: u.principal(k.ID)},
		until: now.Add(s.cfg.CacheFor)}
	if c.policies, err = s.policiesOf(ctx, u.ID); err != nil {
		return cached{}, err
	}
	s.mu.Lock()
	if epoch == s.epoch {
		s.cache[id] = c // only ids that exist get here, which bounds the map
	}
	s.mu.Unlock()
	return c, nil
}

func (s *Service) policiesOf(ctx context.Context, userID string) ([]string, error) {
	var arns []string
	err := s.db.NewSelect().Model((*attachmentRow)(nil)).Column("policy_arn").Where("user_id = ?", userID).Scan(ctx, &arns)
	if err != nil {
		return nil, fmt.Errorf("read policies of user %s: %w", userID, err)
	}
	return arns, nil
}

func (s *Service) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	clear(s.cache)
}

func (s *Service) now() int64 { return s.cfg.Now().UnixMilli() }

func (s *Service) insertUser(ctx context.Context, tx bun.Tx, account, name string) (userRow, error) {
	u := userRow{ID: newID("AIDA"), AccountID: account, Name: name, Path: "/", CreatedAt: s.now()}
	_, err := tx.NewInsert().Model(&u).Exec(ctx)
	return u, err
}

func (s *Service) insertKey(ctx context.Context, tx bun.Tx, u userRow) (AccessKey, error) {
	key := AccessKey{ID: newID("AKIA"), Secret: newSecret(), Active: true}
	key.Principal = u.principal(key.ID)
	row := keyRow{ID: key.ID, UserID: u.ID, Secret: s.seal.seal(key.Secret, key.ID), Status: statusActive, CreatedAt: s.now()}
	_, err := tx.NewInsert().Model(&row).Exec(ctx)
	return key, err
}

func findUser(ctx context.Context, db bun.IDB, account, name string) (userRow, error) {
	var u userRow
	err := db.NewSelect().Model(&u).Where("account_id = ? AND name = ?", account, name).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return u, fmt.Errorf("user %s: %w", name, ErrNoSuchEntity)
	}
	if err != nil {
		return u, fmt.Errorf("read user %s: %w", name, err)
	}
	return u, nil
}

func (u userRow) principal(keyID string) Principal {
	return Principal{AccountID: u.AccountID, Type: TypeUser, ARN: "arn:aws:iam::" + u.AccountID + ":user" + u.Path + u.Name,
		ID: u.ID, Name: u.Name, AccessKeyID: keyID}
}

// newID returns a unique id in AWS' form: a prefix that says what it is and 16
// characters of base 32.
func newID(prefix string) string {
	b := make([]byte, 10)
	_, _ = rand.Read(b) // never fails
	return prefix + base32.StdEncoding.EncodeToString(b)
}

// newSecret returns 40 characters, 240 bits, without the two that break
// careless shell lines and connection strings.
func newSecret() string {
	for {
		b := make([]byte, 30)
		_, _ = rand.Read(b) // never fails
		if s := base64.StdEncoding.EncodeToString(b); !strings.ContainsAny(s, "+/") {
			return s
		}
	}
}
