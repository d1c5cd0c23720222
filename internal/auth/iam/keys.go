package iam

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// AccessKey is an access key with its secret and owner.
type AccessKey struct {
	ID        string
	Secret    string
	Active    bool
	Principal Principal
}

// String keeps the secret out of logs.
func (k AccessKey) String() string { return "access key " + k.ID }

// GoString keeps the secret out of logs.
func (k AccessKey) GoString() string { return k.String() }

// AccessKeyInfo is what may be told about an access key after it was made.
type AccessKeyInfo struct {
	ID, UserName string
	Active       bool
	Created      time.Time
	LastUsed     Usage
}

const (
	statusActive   = "Active"
	statusInactive = "Inactive"
)

// CreateAccessKey makes one more access key for a user. It is the only time
// that the secret is shown.
func (s *Service) CreateAccessKey(ctx context.Context, account, user string) (AccessKey, error) {
	var key AccessKey
	err := s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		u, err := findUser(ctx, tx, account, user)
		if err != nil {
			return err
		}
		n, err := tx.NewSelect().Model((*keyRow)(nil)).Where("user_id = ?", u.ID).Count(ctx)
		if err != nil {
			return err
		}
		if n >= maxAccessKeys {
			return newError(ErrLimitExceeded, "Cannot exceed quota for AccessKeysPerUser: %d", maxAccessKeys)
		}
		key, err = s.insertKey(ctx, tx, u)
		return err
	})
	if err != nil {
		return AccessKey{}, fmt.Errorf("create access key for user %s: %w", user, err)
	}
	return key, nil
}

func (s *Service) insertKey(ctx context.Context, tx bun.Tx, u *userRow) (AccessKey, error) {
	key := AccessKey{ID: newID(prefixKey), Secret: newSecret(), Active: true}
	key.Principal = u.principal(key.ID)
	sealed, err := s.seal.seal(ctx, tx, key.Secret, key.ID)
	if err != nil {
		return AccessKey{}, err
	}
	row := keyRow{ID: key.ID, UserID: u.ID, Secret: sealed, Status: statusActive, CreatedAt: s.now()}
	_, err = tx.NewInsert().Model(&row).Exec(ctx)
	return key, err
}

// AccessKeys lists a user's access keys, the oldest first.
func (s *Service) AccessKeys(ctx context.Context, account, user string) ([]AccessKeyInfo, error) {
	u, err := findUser(ctx, s.db, account, user)
	if err != nil {
		return nil, err
	}
	var rows []keyRow
	if err := s.db.NewSelect().Model(&rows).Where("user_id = ?", u.ID).Order("created_at", "id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list access keys: %w", err)
	}
	keys := make([]AccessKeyInfo, len(rows))
	for i := range rows {
		keys[i] = s.keyInfo(&rows[i], user)
	}
	return keys, nil
}

func (s *Service) keyInfo(k *keyRow, user string) AccessKeyInfo {
	stored := Usage{At: timeOf(k.UsedAt), Service: k.UsedService, Region: k.UsedRegion}
	return AccessKeyInfo{ID: k.ID, UserName: user, Active: k.Status == statusActive, Created: timeOf(k.CreatedAt), LastUsed: s.usage.newest(k.ID, stored)}
}

// AccessKeyInfo returns what is known about an access key of the account.
func (s *Service) AccessKeyInfo(ctx context.Context, account, id string) (AccessKeyInfo, error) {
	missing := "The Access Key with id %s cannot be found."
	var k keyRow
	if err := s.db.NewSelect().Model(&k).Where("id = ?", id).Scan(ctx); err != nil {
		return AccessKeyInfo{}, found(err, missing, id)
	}
	var u userRow
	if err := s.db.NewSelect().Model(&u).Where("id = ? AND account_id = ?", k.UserID, account).Scan(ctx); err != nil {
		return AccessKeyInfo{}, found(err, missing, id)
	}
	return s.keyInfo(&k, u.Name), nil
}

// UpdateAccessKey switches a user's access key on or off.
func (s *Service) UpdateAccessKey(ctx context.Context, account, user, id string, active bool) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		u, err := findUser(ctx, tx, account, user)
		if err != nil {
			return err
		}
		res, err := tx.NewUpdate().Model((*keyRow)(nil)).Set("status = ?", statusOf(active)).Where("id = ? AND user_id = ?", id, u.ID).Exec(ctx)
		return oneChanged(res, err, "The Access Key with id %s cannot be found.", id)
	})
}

func statusOf(active bool) string {
	if active {
		return statusActive
	}
	return statusInactive
}

// RemoveAccessKey removes a user's access key.
func (s *Service) RemoveAccessKey(ctx context.Context, account, user, id string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		u, err := findUser(ctx, tx, account, user)
		if err != nil {
			return err
		}
		res, err := tx.NewDelete().Model((*keyRow)(nil)).Where("id = ? AND user_id = ?", id, u.ID).Exec(ctx)
		return oneChanged(res, err, "The Access Key with id %s cannot be found.", id)
	})
}

// SetAccessKeyActive switches an access key of any account on or off.
func (s *Service) SetAccessKeyActive(ctx context.Context, id string, active bool) error {
	res, err := s.db.NewUpdate().Model((*keyRow)(nil)).Set("status = ?", statusOf(active)).Where("id = ?", id).Exec(ctx)
	s.changed()
	return oneChanged(res, err, "The Access Key with id %s cannot be found.", id)
}

// DeleteAccessKey removes an access key of any account.
func (s *Service) DeleteAccessKey(ctx context.Context, id string) error {
	res, err := s.db.NewDelete().Model((*keyRow)(nil)).Where("id = ?", id).Exec(ctx)
	s.changed()
	return oneChanged(res, err, "The Access Key with id %s cannot be found.", id)
}

// LookupKey returns an active access key with its owner, or ErrNoSuchEntity.
func (s *Service) LookupKey(ctx context.Context, id string) (AccessKey, error) {
	k, err := s.key(ctx, id)
	if err != nil {
		return AccessKey{}, err
	}
	if !k.Active {
		return AccessKey{}, fmt.Errorf("access key %s is inactive: %w", id, ErrNoSuchEntity)
	}
	return k, nil
}

// key reads an access key and its owner, from memory if fresh.
func (s *Service) key(ctx context.Context, id string) (AccessKey, error) {
	return remember(s, s.keys, id, func() (AccessKey, error) {
		k, err := s.readKey(ctx, id)
		if errors.Is(err, errWrongKey) {
			// The row may have been read just before a rotation that took the
			// old secret key away.
			k, err = s.readKey(ctx, id)
		}
		return k, err
	})
}

func (s *Service) readKey(ctx context.Context, id string) (AccessKey, error) {
	var k keyRow
	if err := s.db.NewSelect().Model(&k).Where("id = ?", id).Scan(ctx); err != nil {
		return AccessKey{}, fmt.Errorf("read access key: %w", found(err, "The Access Key with id %s cannot be found.", id))
	}
	var u userRow
	if err := s.db.NewSelect().Model(&u).Where("id = ?", k.UserID).Scan(ctx); err != nil {
		return AccessKey{}, fmt.Errorf("read user of access key %s: %w", id, err)
	}
	secret, err := s.seal.open(ctx, k.Secret, k.ID)
	if err != nil {
		return AccessKey{}, fmt.Errorf("secret of access key %s: %w", id, err)
	}
	return AccessKey{ID: k.ID, Secret: secret, Active: k.Status == statusActive, Principal: u.principal(k.ID)}, nil
}
