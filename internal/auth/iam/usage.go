package iam

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// Usage is when and for what an access key or role was used last. A zero At
// means never.
type Usage struct {
	At              time.Time
	Service, Region string
}

// usage gathers uses in memory, so that a request costs no write. Its size is
// bounded by the number of keys and roles that exist.
type usage struct {
	mu      sync.Mutex
	pending map[string]Usage // by access key or role id
}

func (u *usage) note(id string, at Usage) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pending == nil {
		u.pending = make(map[string]Usage)
	}
	if old, ok := u.pending[id]; !ok || !at.At.Before(old.At) {
		u.pending[id] = at
	}
}

// newest returns what is in memory if it is newer than what is stored.
func (u *usage) newest(id string, stored Usage) Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	if p, ok := u.pending[id]; ok && p.At.After(stored.At) {
		return p
	}
	return stored
}

// take empties the memory.
func (u *usage) take() map[string]Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.pending
	u.pending = nil
	return p
}

// Used notes that a caller's access key, or the role of its session, was used
// for a service just now. Authorize does it by itself; it is for operations
// that take no permission. The note is written by Run or FlushUsage.
func (s *Service) Used(p Principal, service, region string) {
	id := p.AccessKeyID
	if p.Session != nil {
		if id = p.Session.RoleID; id == "" {
			return // a user's own session: AWS does not count it for the key
		}
	}
	if id != "" {
		s.usage.note(id, Usage{At: s.cfg.Now().UTC().Truncate(time.Second), Service: service, Region: region})
	}
}

// flushEvery is how often Run writes.
const flushEvery = time.Minute

// Run writes what was used into the database once a minute, and once more when
// ctx is done.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := s.FlushUsage(ctx); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Warn("Could not write when keys were used last; the next try includes it.", slog.Any("err", err))
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := s.FlushUsage(last); err != nil {
				s.cfg.Logger.Warn("Could not write when keys were used last before the end.", slog.Any("err", err))
			}
			return
		}
	}
}

// FlushUsage writes what was used since the last time, in one transaction.
func (s *Service) FlushUsage(ctx context.Context) error {
	pending := s.usage.take()
	if len(pending) == 0 {
		return nil
	}
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		for id, u := range pending {
			at := u.At.UnixMilli()
			q := tx.NewUpdate().Model((*keyRow)(nil)).Set("used_service = ?", u.Service)
			if id[:len(prefixRole)] == prefixRole {
				q = tx.NewUpdate().Model((*roleRow)(nil))
			}
			_, err := q.Set("used_at = ?", at).Set("used_region = ?", u.Region).Where("id = ? AND used_at <= ?", id, at).Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		for id, u := range pending {
			s.usage.note(id, u)
		}
		return fmt.Errorf("write last use of keys and roles: %w", err)
	}
	return nil
}

// Changes grows with every change of a record, so that who remembers what was
// not there knows when to ask again.
func (s *Service) Changes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(s.epoch)
}
