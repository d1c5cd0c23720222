package store

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
)

// ErrUnknownSeries is what an append by reference and without labels answers
// when the series of that reference is no longer in memory.
var ErrUnknownSeries = tsdb.ErrInvalidSample

// DB is one workspace's open database. Besides reading and appending it serves
// what Prometheus' status and administration APIs ask for.
type DB struct {
	*tsdb.DB
	id       string
	registry *prometheus.Registry
	stats    *tsdb.DBStats
	failed   atomic.Bool // a commit failed: see Store.reopen
	metadata families

	valuesMu sync.Mutex
	values   map[any]any
}

func (s *Store) open(id string) (*DB, error) {
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration = s.cfg.Retention.Milliseconds()
	// Blocks grow up to a tenth of the retention, at most a month, as in
	// Prometheus.
	opts.MaxBlockDuration = max(min(s.cfg.Retention/10, 31*24*time.Hour).Milliseconds(), opts.MinBlockDuration)
	opts.OutOfOrderTimeWindow = s.cfg.OutOfOrderWindow.Milliseconds()
	opts.WALCompression = compression.Snappy
	opts.StripeSize = 1 << 12
	opts.EnableExemplarStorage = s.cfg.MaxExemplars > 0
	opts.MaxExemplars = max(s.cfg.MaxExemplars, 0)
	// No snapshot of memory at close: it would need room on a disk that may be
	// the reason for closing, and a replay that starts from one passes over a
	// torn place in the log, which then can never be truncated.
	opts.EnableMemorySnapshotOnShutdown = false
	reg := prometheus.NewRegistry()
	start := time.Now()
	logger := s.logger.With("workspace", id)
	stats := tsdb.NewDBStats()
	db, err := tsdb.Open(filepath.Join(s.path(id), dbDir), logger.With("component", "tsdb"), reg, opts, stats)
	if err != nil {
		return nil, fmt.Errorf("open workspace %s: %w", id, err)
	}
	logger.Info("workspace opened", "series", db.Head().NumSeries(), "took", time.Since(start).Round(time.Millisecond))
	return &DB{DB: db, id: id, registry: reg, stats: stats, values: make(map[any]any)}, nil
}

// close shuts the database and the values that others keep with it.
func (d *DB) close() error {
	err := d.DB.Close()
	if err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// ID returns the workspace's id.
func (d *DB) ID() string { return d.id }

// NumSeries returns how many series are in memory, which is how many took
// samples lately.
func (d *DB) NumSeries() uint64 { return d.Head().NumSeries() }

// Value returns what make returned at the first call with key. It is how other
// stages keep things that are good only as long as this database stays open,
// such as series references.
func (d *DB) Value(key any, create func() any) any {
	d.valuesMu.Lock()
	defer d.valuesMu.Unlock()
	v, ok := d.values[key]
	if !ok {
		v = create()
		d.values[key] = v
	}
	return v
}

// Appender returns an appender for one request. A sample whose Commit returned
// nil survives the process.
func (d *DB) Appender(ctx context.Context) storage.Appender {
	return &appender{Appender: d.DB.Appender(ctx), db: d}
}

// appender notes failed commits.
type appender struct {
	storage.Appender
	db *DB
}

// Commit implements storage.Appender.
func (a *appender) Commit() error {
	err := a.Appender.Commit()
	if err != nil {
		a.db.failed.Store(true)
		return &UnavailableError{fmt.Sprintf("samples could not be stored: %v", err)}
	}
	return nil
}

// GetRef implements storage.GetRef.
func (a *appender) GetRef(lset labels.Labels, hash uint64) (storage.SeriesRef, labels.Labels) {
	if g, ok := a.Appender.(storage.GetRef); ok {
		return g.GetRef(lset, hash)
	}
	return 0, labels.EmptyLabels()
}

// Stats returns the head's cardinality statistics.
func (d *DB) Stats(byLabel string, limit int) (*tsdb.Stats, error) {
	return d.Head().Stats(byLabel, limit), nil
}

// WALReplayStatus says how far the replay at open was; an open database is done.
func (d *DB) WALReplayStatus() (tsdb.WALReplayStatus, error) {
	return d.stats.Head.WALReplayStatus.GetWALReplayStatus(), nil
}

// BlockMetas returns the metadata of the blocks on disk.
func (d *DB) BlockMetas() ([]tsdb.BlockMeta, error) { return d.DB.BlockMetas(), nil }
