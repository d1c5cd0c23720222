package iam

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// Keyring holds the keys that seal session tokens. An id is in the clear in a
// token, so that a token says which key opens it.
type Keyring interface {
	// Current returns the key for new tokens.
	Current() (id byte, key [32]byte)
	// Key returns the key with an id, if it is still good for opening.
	Key(id byte) ([32]byte, bool)
}

// SessionKeyLife is how long a session key opens tokens after it was replaced:
// as long as the longest session.
const SessionKeyLife = 36 * time.Hour

const (
	// sessionKeysFresh is how old the picture of the keys may be that Current
	// answers from, as another process may rotate them.
	sessionKeysFresh = 30 * time.Second
	// sessionKeysAgain bounds how often an unknown id makes us look.
	sessionKeysAgain = time.Second
	sessionKeysWait  = 5 * time.Second
	maxSessionKeyID  = 255
)

// SessionKeys returns the keys that seal session tokens. They are in the
// database, sealed; so all replicas share them.
func (s *Service) SessionKeys() Keyring { return s.sessions }

type sessionKeys struct {
	service *Service

	mu       sync.Mutex
	keys     []sessionKey // oldest first; the last one is current
	loadedAt time.Time
	triedAt  time.Time
}

type sessionKey struct {
	id      byte
	key     [32]byte
	retired time.Time // zero: in use
}

func sessionKeyOwner(id int64) string { return "session-key/" + strconv.FormatInt(id, 10) }

// open makes the first key, if there is none, and loads all.
func (k *sessionKeys) open(ctx context.Context) error {
	err := k.service.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		// The lock makes sure that two processes do not both make one.
		current, err := k.service.seal.current(ctx, tx)
		if err != nil {
			return err
		}
		n, err := tx.NewSelect().Model((*sessionKeyRow)(nil)).Where("retired_at = 0").Count(ctx)
		if err != nil || n > 0 {
			return err
		}
		return k.insert(ctx, tx, current)
	})
	if err != nil {
		return err
	}
	return k.load(ctx)
}

// insert makes a new key with an id that no other has.
func (k *sessionKeys) insert(ctx context.Context, tx bun.Tx, with *secretKey) error {
	var rows []sessionKeyRow
	if err := tx.NewSelect().Model(&rows).Column("id").OrderExpr("created_at, id").Scan(ctx); err != nil {
		return err
	}
	taken, id := make(map[int64]bool, len(rows)), int64(0)
	for _, r := range rows {
		taken[r.ID], id = true, r.ID
	}
	if len(rows) >= maxSessionKeyID {
		return fmt.Errorf("%d keys were made in %s: wait until the first of them is old enough to go", len(rows), SessionKeyLife)
	}
	for id = id%maxSessionKeyID + 1; taken[id]; {
		id = id%maxSessionKeyID + 1
	}
	row := sessionKeyRow{ID: id, Secret: with.seal(hex.EncodeToString(newKey()), sessionKeyOwner(id)), CreatedAt: k.service.now()}
	_, err := tx.NewInsert().Model(&row).Exec(ctx)
	return err
}

// retire ends the making of tokens with the present keys, and forgets keys
// whose tokens have all expired.
func (k *sessionKeys) retire(ctx context.Context, tx bun.Tx) error {
	now := k.service.now()
	_, err := tx.NewDelete().Model((*sessionKeyRow)(nil)).Where("retired_at > 0 AND retired_at <= ?", now-SessionKeyLife.Milliseconds()).Exec(ctx)
	if err != nil {
		return err
	}
	_, err = tx.NewUpdate().Model((*sessionKeyRow)(nil)).Set("retired_at = ?", now).Where("retired_at = 0").Exec(ctx)
	return err
}

func (k *sessionKeys) load(ctx context.Context) error {
	err := k.loadOnce(ctx)
	if errors.Is(err, errWrongKey) { // read just before a rotation
		err = k.loadOnce(ctx)
	}
	return err
}

func (k *sessionKeys) loadOnce(ctx context.Context) error {
	var rows []sessionKeyRow
	if err := k.service.db.NewSelect().Model(&rows).OrderExpr("created_at, id").Scan(ctx); err != nil {
		return err
	}
	keys := make([]sessionKey, 0, len(rows))
	last := -1
	for _, r := range rows {
		plain, err := k.service.seal.open(ctx, r.Secret, sessionKeyOwner(r.ID))
		if err != nil {
			return err
		}
		secret, err := hex.DecodeString(plain)
		if err != nil || r.ID < 1 || r.ID > maxSessionKeyID {
			return errDamaged
		}
		sub, err := derive(secret, "mangru session token v1", keyBytes)
		if err != nil {
			return err
		}
		if r.RetiredAt == 0 {
			last = len(keys)
		}
		keys = append(keys, sessionKey{id: byte(r.ID), key: [32]byte(sub), retired: timeOf(r.RetiredAt)})
	}
	if last < 0 {
		return errors.New("no key is in use")
	}
	keys = append(append(keys[:last:last], keys[last+1:]...), keys[last])
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys, k.loadedAt = keys, k.service.cfg.Now()
	return nil
}

// refresh loads the keys again if they are older than age, but not more often
// than an unknown id may ask for. When that fails, the keys at hand stay good.
func (k *sessionKeys) refresh(age time.Duration) {
	now := k.service.cfg.Now()
	k.mu.Lock()
	due := now.Sub(k.loadedAt) >= age && now.Sub(k.triedAt) >= sessionKeysAgain
	if due {
		k.triedAt = now
	}
	k.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), sessionKeysWait)
	defer cancel()
	if err := k.load(ctx); err != nil {
		k.service.cfg.Logger.Warn("Could not read the keys of session tokens; those in memory stay in use.", slog.Any("err", err))
	}
}

// Current implements Keyring.
func (k *sessionKeys) Current() (byte, [32]byte) {
	k.refresh(sessionKeysFresh)
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.keys[len(k.keys)-1]
	return last.id, last.key
}

// Key implements Keyring.
func (k *sessionKeys) Key(id byte) ([32]byte, bool) {
	if key, ok := k.find(id); ok {
		return key, true
	}
	k.refresh(0)
	return k.find(id)
}

func (k *sessionKeys) find(id byte) ([32]byte, bool) {
	now := k.service.cfg.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.keys {
		if s.id == id && (s.retired.IsZero() || now.Before(s.retired.Add(SessionKeyLife))) {
			return s.key, true
		}
	}
	return [32]byte{}, false
}
