package iam

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"
)

// ErrNoNewKey says that the key command still prints the key that is in use.
var ErrNoNewKey = errors.New("the key command prints no new key: make it print the new one on the first line and the old one below, and try again")

// Rotate replaces the secret key: everything in the database is sealed anew, in
// one transaction, and session tokens are made with a new key from now on. Live
// sessions go on; their key stays for SessionKeyLife.
//
// A key file gets a new key, made here; while the transaction runs it holds both, so
// that a crash at any moment loses nothing. A key command has to print the new
// key before the old one. Other processes notice by themselves.
func (s *Service) Rotate(ctx context.Context) error {
	var next []byte
	err := s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		old, err := s.seal.current(ctx, tx)
		if err != nil {
			return err
		}
		if next, err = s.seal.next(ctx, old); err != nil {
			return err
		}
		k, err := newSecretKey(next)
		if err != nil {
			return err
		}
		if err := s.seal.read(ctx); err != nil {
			return err
		}
		if err := s.reseal(ctx, tx, k); err != nil {
			return err
		}
		if err := s.sessions.retire(ctx, tx); err != nil {
			return err
		}
		return s.sessions.insert(ctx, tx, k)
	})
	if err != nil {
		return fmt.Errorf("rotate the secret key: %w", err)
	}
	if s.seal.source.canCreate() {
		if err := s.seal.source.write([][]byte{next}); err != nil {
			return fmt.Errorf("the secret key was rotated, but the old one is still in the file: %w", err)
		}
		if err := s.seal.read(ctx); err != nil {
			return err
		}
	}
	return s.sessions.load(ctx)
}

// next returns the key to change to. With a file, it is written there, before
// the old one.
func (s *sealer) next(ctx context.Context, old *secretKey) ([]byte, error) {
	keys, err := s.source.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.source, err)
	}
	if !s.source.canCreate() {
		first, err := newSecretKey(keys[0])
		if err != nil {
			return nil, err
		}
		if first.id == old.id {
			return nil, ErrNoNewKey
		}
		return keys[0], nil
	}
	for _, raw := range keys {
		k, err := newSecretKey(raw)
		if err != nil {
			return nil, err
		}
		if k.id == old.id {
			next := newKey()
			return next, s.source.write([][]byte{next, raw})
		}
	}
	return nil, fmt.Errorf("%s does not hold the key in use", s.source)
}

// reseal seals every value with k and notes that it is in use.
func (s *Service) reseal(ctx context.Context, tx bun.Tx, k *secretKey) error {
	values, err := sealedValues(ctx, tx)
	if err != nil {
		return err
	}
	for _, v := range values {
		plain, err := s.seal.open(ctx, v.sealed, v.owner)
		if err != nil {
			return fmt.Errorf("secret of %s: %w", v.owner, err)
		}
		sealed := k.seal(plain, v.owner)
		q := tx.NewUpdate().Model((*keyRow)(nil)).Where("id = ?", v.owner)
		if v.session != 0 {
			q = tx.NewUpdate().Model((*sessionKeyRow)(nil)).Where("id = ?", v.session)
		}
		if v.purpose != "" {
			q = tx.NewUpdate().Model((*purposeKeyRow)(nil)).Where("purpose = ?", v.purpose)
		}
		if _, err := q.Set("secret = ?", sealed).Exec(ctx); err != nil {
			return err
		}
	}
	_, err = tx.NewUpdate().Model((*settingRow)(nil)).Set("value = ?", k.id).Where("name = ?", settingKeyID).Exec(ctx)
	return err
}

// SecretKeyID returns the id of the secret key in use, which may be shown.
func (s *Service) SecretKeyID(ctx context.Context) (string, error) {
	k, err := s.seal.current(ctx, s.db)
	if err != nil {
		return "", err
	}
	return k.id, nil
}
