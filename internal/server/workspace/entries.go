package workspace

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// entries are the workspaces in use, as the database had them a short while ago.
// Only ids that exist get in, which bounds them.
type entries struct {
	mu    sync.RWMutex
	epoch uint64 // grows with every change, so that no older read is kept after it
	byID  map[string]held
}

type held struct {
	entry *Entry
	until time.Time
}

// changed makes a change of a workspace's records show at once.
func (e *entries) changed(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.epoch++
	delete(e.byID, id)
}

// Lookup returns a workspace of any account, from memory if it was asked for
// before. It returns ErrNotFound if there is none. Whether the caller may have
// anything to do with it is for others to say.
func (s *Service) Lookup(ctx context.Context, id string) (*Entry, error) {
	now := s.cfg.Now()
	e := &s.entries
	e.mu.RLock()
	h, ok := e.byID[id]
	epoch := e.epoch
	e.mu.RUnlock()
	if ok && now.Before(h.until) {
		return h.entry, nil
	}
	if !ValidID(id) {
		return nil, ErrNotFound
	}
	entry, err := s.load(ctx, id)
	if errors.Is(err, ErrNotFound) && ok {
		e.changed(id)
	}
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if epoch == e.epoch {
		e.byID[id] = held{entry, now.Add(s.cfg.CacheFor)}
	}
	return entry, nil
}

// load reads all that an Entry holds.
func (s *Service) load(ctx context.Context, id string) (*Entry, error) {
	var r row
	err := s.db.NewSelect().Model(&r).Where("id = ? AND region = ?", id, s.cfg.Region).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read workspace %s: %w", id, err)
	}
	w, err := r.workspace()
	if err != nil {
		return nil, err
	}
	e := &Entry{Workspace: *w}
	if e.Settings, err = s.settings(ctx, s.db, id); err != nil {
		return nil, err
	}
	p, err := s.findPolicy(ctx, s.db, id)
	if err != nil {
		return nil, err
	}
	if p != nil {
		e.Policy = p.Document
	}
	return e, nil
}

// Settings returns those of a workspace, from memory in general; nil if there is
// no such workspace, or it cannot be told. They are shared: nobody may change
// them. As long as they stay the same the pointer often does too.
func (s *Service) Settings(id string) *Settings {
	ctx, cancel := context.WithTimeout(context.Background(), settingsTimeout)
	defer cancel()
	e, err := s.Lookup(ctx, id)
	if err != nil {
		if !errors.Is(err, ErrNotFound) {
			s.logger.Error("settings of a workspace cannot be read", "workspace", id, "err", err)
		}
		return nil
	}
	return e.Settings
}

// settingsTimeout bounds the wait for the database where no request's deadline
// does.
const settingsTimeout = 5 * time.Second

// Derive returns a function that turns a workspace's settings into what another
// part of the program wants, and does so again only when they have changed. It
// returns nil where Settings does. It is safe for concurrent use; what make
// returns is shared.
func Derive[T any](settings func(id string) *Settings, make func(*Settings) *T) func(id string) *T {
	type made struct {
		from *Settings
		to   *T
	}
	var known sync.Map // of made by id
	return func(id string) *T {
		s := settings(id)
		if s == nil {
			known.Delete(id)
			return nil
		}
		if m, ok := known.Load(id); ok && m.(made).from == s {
			return m.(made).to
		}
		to := make(s)
		known.Store(id, made{s, to})
		return to
	}
}
