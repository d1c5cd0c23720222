// Package store keeps the samples: one Prometheus TSDB for each workspace, in a
// directory of its own, opened when somebody needs it and closed when nobody
// has for a while, so that an idle workspace costs nothing but disk. It stands
// between ingest, which appends, and query, which reads; both hold a Handle
// only while they serve one request.
//
// A sample counts as stored once the appender's Commit has returned: it is then
// in the write-ahead log. The log is written to the operating system at every
// Commit and synced to disk at segment ends only, as in Prometheus: killing the
// process loses nothing, pulling the machine's plug may lose the last seconds.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
)

// Config of a Store. Zero values take the defaults named at the fields.
type Config struct {
	// Dir holds one directory per workspace. Required.
	Dir string
	// Retention is how long samples are kept, counted back from the newest block,
	// so that a clock that was set wrong deletes nothing.
	Retention time.Duration // 150 days
	// MaxBytes bounds what a workspace has on disk; the oldest blocks go first.
	// Zero means no bound.
	MaxBytes int64
	// Policy returns what a workspace has in place of Retention and MaxBytes. It is
	// asked when a workspace is opened and at Apply. Nil, and a nil answer, mean
	// that there is nothing.
	Policy func(workspaceID string) *Policy
	// OutOfOrderWindow is how far behind the newest sample of the workspace a
	// sample may be. Samples less than a quarter of an hour behind go where all go if
	// they are the newest of their series; the others cost more to take in, and
	// nothing as long as there are none. So the default takes whatever a sender
	// kept during an outage, and how much disorder inside a series is wanted is
	// for the one who appends to say. Negative means none, and then series that
	// fell a quarter of an hour behind the others are refused too.
	OutOfOrderWindow time.Duration // 24h
	// IdleTimeout is how long an unused workspace stays open.
	IdleTimeout time.Duration // 1h
	// MinFreeDisk is the free space, in bytes, below which writes are refused,
	// so that the log is never torn by a full disk. Negative means none.
	MinFreeDisk int64 // 128 MiB
	// MaxExemplars is how many exemplars a workspace holds in memory.
	MaxExemplars int64 // 10,000
	// SeriesCallback makes what is told of series that come to and go from the
	// memory of a workspace, at every opening of it. Nil means nobody is told.
	SeriesCallback func(workspaceID string) tsdb.SeriesLifecycleCallback
	// FreeBytes tells the free space of the file system that holds a path. Nil
	// asks the operating system.
	FreeBytes func(path string) (uint64, error)
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Registerer takes the metrics. Nil means none are kept.
	Registerer prometheus.Registerer

	blockReload time.Duration // how often a database looks at its folder; 15s
}

func (c *Config) setDefaults() {
	if c.Retention == 0 {
		c.Retention = 150 * 24 * time.Hour
	}
	if c.OutOfOrderWindow == 0 {
		c.OutOfOrderWindow = 24 * time.Hour
	}
	c.OutOfOrderWindow = max(c.OutOfOrderWindow, 0)
	if c.IdleTimeout == 0 {
		c.IdleTimeout = time.Hour
	}
	if c.MinFreeDisk == 0 {
		c.MinFreeDisk = 128 << 20
	}
	if c.MaxExemplars == 0 {
		c.MaxExemplars = 10_000
	}
	if c.blockReload == 0 {
		c.blockReload = 15 * time.Second
	}
	if c.FreeBytes == nil {
		c.FreeBytes = freeBytes
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// Policy says how long the samples of one workspace are kept.
type Policy struct {
	Retention time.Duration // zero means the Config's
	MaxBytes  int64         // zero means the Config's
}

// ErrNotFound says that a workspace has no storage: it was not created yet, or
// it is gone.
var ErrNotFound = errors.New("workspace has no storage")

// ErrClosed says that the store is stopping.
var ErrClosed = errors.New("store is closed")

// UnavailableError says that a workspace takes no samples just now and why. The
// sender should try again later.
type UnavailableError struct{ Reason string }

// Error implements error.
func (e *UnavailableError) Error() string { return e.Reason }

// Unavailable marks the error as one that time may cure.
func (e *UnavailableError) Unavailable() bool { return true }

// Store holds the workspaces' databases. It is safe for concurrent use.
type Store struct {
	cfg    Config
	logger *slog.Logger
	disk   diskGauge

	mu      sync.Mutex
	entries map[string]*entry
	closed  bool
}

// entry is a workspace that was used since the start.
type entry struct {
	lock chan struct{} // a mutex that a context can give up on

	// Guarded by lock.
	db       *DB
	refs     int
	lastUsed time.Time
	drained  chan struct{} // set while somebody waits for refs to become zero
}

const (
	dbDir          = "tsdb"
	removingSuffix = ".removing"
)

// New returns a Store over cfg.Dir, which is made when missing, and finishes
// removals that a crash interrupted.
func New(cfg Config, logger *slog.Logger) (*Store, error) {
	cfg.setDefaults()
	if cfg.Dir == "" {
		return nil, errors.New("store: no directory")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	files, err := os.ReadDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), removingSuffix) {
			if err := os.RemoveAll(filepath.Join(cfg.Dir, f.Name())); err != nil {
				return nil, fmt.Errorf("store: finish removal: %w", err)
			}
		} else if err := clearLeftovers(filepath.Join(cfg.Dir, f.Name())); err != nil {
			return nil, fmt.Errorf("store: clear what an export or import left: %w", err)
		}
	}
	s := &Store{cfg: cfg, logger: logger, entries: make(map[string]*entry),
		disk: diskGauge{path: cfg.Dir, free: cfg.FreeBytes, now: cfg.Now}}
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(&collector{store: s}); err != nil {
			return nil, fmt.Errorf("store: register metrics: %w", err)
		}
	}
	return s, nil
}

func (s *Store) path(id string) string { return filepath.Join(s.cfg.Dir, id) }

// Create makes a workspace's directory.
func (s *Store) Create(_ context.Context, id string) error {
	if err := os.MkdirAll(filepath.Join(s.path(id), dbDir), 0o700); err != nil {
		return fmt.Errorf("create directory of workspace %s: %w", id, err)
	}
	return nil
}

// Handle is a workspace's database in use. Release it when the request is done.
type Handle struct {
	*DB
	entry *entry
	store *Store
}

// Release ends the use. The Handle must not be used afterwards.
func (h *Handle) Release() {
	e := h.entry
	e.lock <- struct{}{}
	e.refs--
	e.lastUsed = h.store.cfg.Now()
	if e.refs == 0 && e.drained != nil {
		close(e.drained)
		e.drained = nil
	}
	<-e.lock
}

// AcquireRead opens a workspace for reading, if it is not open yet.
func (s *Store) AcquireRead(ctx context.Context, id string) (*Handle, error) {
	return s.acquire(ctx, id, false)
}

// AcquireWrite opens a workspace for appending. It refuses with an
// *UnavailableError while the disk is full.
func (s *Store) AcquireWrite(ctx context.Context, id string) (*Handle, error) {
	if free, low := s.lowDisk(); low {
		return nil, &UnavailableError{fmt.Sprintf("disk full: %d bytes free, writes need %d (setting store.min_free_disk)", free, s.cfg.MinFreeDisk)}
	}
	return s.acquire(ctx, id, true)
}

func (s *Store) lowDisk() (uint64, bool) {
	if s.cfg.MinFreeDisk < 0 {
		return 0, false
	}
	free, err := s.disk.get()
	// Not knowing is no reason to refuse: a write that fails says so itself.
	return free, err == nil && free < uint64(s.cfg.MinFreeDisk)
}

func (s *Store) acquire(ctx context.Context, id string, write bool) (*Handle, error) {
	e, err := s.entry(id)
	if err != nil {
		return nil, err
	}
	if err := e.take(ctx); err != nil {
		return nil, fmt.Errorf("wait for workspace %s to open: %w", id, err)
	}
	defer e.release()
	if e.drained != nil {
		return nil, fmt.Errorf("workspace %s: %w", id, ErrNotFound) // being removed or closed
	}
	if write && e.db != nil && e.db.failed.Load() {
		if err := s.reopen(id, e); err != nil {
			return nil, err
		}
	}
	if e.db == nil {
		if s.isClosed() {
			return nil, ErrClosed
		}
		if e.db, err = s.open(id); err != nil {
			return nil, err
		}
	}
	e.refs++
	return &Handle{DB: e.db, entry: e, store: s}, nil
}

// reopen heals a database after a failed commit. Part of a record may be in the
// log, and series may be in memory that are not: appending on would make samples
// that a replay cannot read. Closing and replaying cuts that off; nothing of it
// was ever acknowledged. Reading goes on until then.
func (s *Store) reopen(id string, e *entry) error {
	if e.refs > 0 {
		return &UnavailableError{"a write failed; the workspace takes samples again as soon as running queries are done"}
	}
	s.logger.Warn("reopening workspace after a failed write", "workspace", id)
	err := e.db.close()
	e.db = nil
	if err != nil {
		s.logger.Error("closing workspace after a failed write", "workspace", id, "err", err)
	}
	return nil
}

func (e *entry) take(ctx context.Context) error {
	select {
	case e.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *entry) release() { <-e.lock }

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// entry returns the entry of a workspace that has a directory.
func (s *Store) entry(id string) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if e := s.entries[id]; e != nil {
		return e, nil
	}
	if _, err := os.Stat(filepath.Join(s.path(id), dbDir)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("workspace %s: %w", id, ErrNotFound)
	} else if err != nil {
		return nil, fmt.Errorf("workspace %s: %w", id, err)
	}
	e := &entry{lock: make(chan struct{}, 1), lastUsed: s.cfg.Now()}
	s.entries[id] = e
	return e, nil
}

// Remove waits for running requests, closes a workspace's database and deletes
// its directory. It renames first, so that after a crash nothing half deleted
// is taken for a database.
func (s *Store) Remove(ctx context.Context, id string) error {
	e, err := s.entry(id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.drain(ctx, e); err != nil {
		return fmt.Errorf("wait for users of workspace %s: %w", id, err)
	}
	defer e.release()
	if e.db != nil {
		if err := e.db.close(); err != nil {
			s.logger.Warn("closing workspace to remove it", "workspace", id, "err", err)
		}
		e.db = nil
	}
	gone := s.path(id) + removingSuffix
	if err := os.Rename(s.path(id), gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove workspace %s: %w", id, err)
	}
	s.mu.Lock()
	delete(s.entries, id)
	s.mu.Unlock()
	// Whoever got the entry before now finds it shut.
	e.drained = make(chan struct{})
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("remove workspace %s: %w", id, err)
	}
	return nil
}

// drain takes the entry's lock at a moment when nobody uses its database. New
// requests are refused meanwhile.
func (s *Store) drain(ctx context.Context, e *entry) error {
	if err := e.take(ctx); err != nil {
		return err
	}
	for e.refs > 0 {
		if e.drained == nil {
			e.drained = make(chan struct{})
		}
		wait := e.drained
		e.release()
		select {
		case <-wait:
		case <-ctx.Done():
			e.lock <- struct{}{}
			if e.drained == wait {
				e.drained = nil
			}
			e.release()
			return ctx.Err()
		}
		if err := e.take(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Run opens the workspaces that were in use lately, so that the first who asks
// need not wait for a replay, and closes idle ones until ctx is done.
func (s *Store) Run(ctx context.Context) error {
	var warming sync.WaitGroup
	warming.Go(func() { s.warm(ctx) })
	defer warming.Wait()
	t := time.NewTicker(max(s.cfg.IdleTimeout/4, time.Second))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			s.CloseIdle()
		}
	}
}

// warm opens the workspaces whose log was written to within the idle timeout, the
// latest first. A replay uses all processors, so they come one after the other.
func (s *Store) warm(ctx context.Context) {
	files, err := filepath.Glob(filepath.Join(s.cfg.Dir, "*", dbDir, "wal", "[0-9]*"))
	if err != nil {
		return // the pattern is none
	}
	last := make(map[string]time.Time)
	for _, f := range files {
		id := filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(f))))
		if st, err := os.Stat(f); err == nil && st.ModTime().After(last[id]) {
			last[id] = st.ModTime()
		}
	}
	maps.DeleteFunc(last, func(_ string, at time.Time) bool { return s.cfg.Now().Sub(at) > s.cfg.IdleTimeout })
	ids := slices.SortedFunc(maps.Keys(last), func(a, b string) int { return last[b].Compare(last[a]) })
	for _, id := range ids {
		if ctx.Err() != nil {
			return
		}
		h, err := s.AcquireRead(ctx, id)
		if err != nil {
			s.logger.Warn("workspace not opened at the start", "workspace", id, "err", err)
			continue
		}
		h.Release()
	}
}

// CloseIdle closes the workspaces that nobody used for the idle timeout.
func (s *Store) CloseIdle() {
	for id, e := range s.snapshot() {
		select {
		case e.lock <- struct{}{}:
		default:
			continue // in use
		}
		if e.db != nil && e.refs == 0 && s.cfg.Now().Sub(e.lastUsed) >= s.cfg.IdleTimeout {
			if err := e.db.close(); err != nil {
				s.logger.Error("closing idle workspace", "workspace", id, "err", err)
			}
			e.db = nil
			s.logger.Debug("idle workspace closed", "workspace", id)
		}
		e.release()
	}
}

func (s *Store) snapshot() map[string]*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]*entry, len(s.entries))
	for id, e := range s.entries {
		out[id] = e
	}
	return out
}

// Close refuses new requests, waits for the running ones until ctx is done and
// closes every database.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var errs []error
	for id, e := range s.snapshot() {
		if err := s.drain(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("workspace %s is still in use: %w", id, err))
			continue
		}
		if e.db != nil {
			if err := e.db.close(); err != nil {
				errs = append(errs, fmt.Errorf("close workspace %s: %w", id, err))
			}
			e.db = nil
		}
		e.release()
	}
	return errors.Join(errs...)
}
