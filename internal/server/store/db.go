package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/index"
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
	store    *Store
	room     atomic.Int64 // for exemplars
	growing  sync.Mutex   // held while the configuration is changed
	registry *prometheus.Registry
	stats    *tsdb.DBStats
	failed   atomic.Bool // a commit failed: see Store.reopen
	metadata families

	valuesMu sync.Mutex
	values   map[any]any

	commitMu sync.Mutex
	appended *appendedCounter
}

func (s *Store) open(id string) (*DB, error) {
	opts := tsdb.DefaultOptions()
	policy := s.policy(id)
	opts.RetentionDuration, opts.MaxBytes = policy.Retention.Milliseconds(), policy.MaxBytes
	// Memory is cut into blocks each half hour, and the log with it, so that what is
	// to be read again after a crash stays below an hour.
	opts.MinBlockDuration = blockRange.Milliseconds()
	// Blocks grow up to a tenth of the retention, at most a month, as in
	// Prometheus.
	opts.MaxBlockDuration = max(min(policy.Retention/10, 31*24*time.Hour).Milliseconds(), opts.MinBlockDuration)
	opts.OutOfOrderTimeWindow = s.cfg.OutOfOrderWindow.Milliseconds()
	opts.WALCompression = compression.Snappy
	// Stripes are paid for by every workspace that is open, and contended for by as
	// many goroutines as there are processors.
	opts.StripeSize = 1 << 9
	opts.HeadChunksWriteBufferSize = 256 << 10   // 4 MiB are for one database, not a hundred
	opts.BlockReloadInterval = s.cfg.blockReload // so that imports show soon
	opts.EnableExemplarStorage = s.cfg.MaxExemplars > 0
	opts.MaxExemplars = max(s.cfg.MaxExemplars, 0)
	// No snapshot of memory at close: it would need room on a disk that may be
	// the reason for closing, and a replay that starts from one passes over a
	// torn place in the log, which then can never be truncated.
	opts.EnableMemorySnapshotOnShutdown = false
	if s.cfg.SeriesCallback != nil {
		opts.SeriesLifecycleCallback = s.cfg.SeriesCallback(id)
	}
	reg := prometheus.NewRegistry()
	appended := new(appendedCounter)
	start := time.Now()
	logger := s.logger.With("workspace", id)
	stats := tsdb.NewDBStats()
	db, err := tsdb.Open(filepath.Join(s.path(id), dbDir), logger.With("component", "tsdb"),
		&catchingRegisterer{reg, appended}, opts, stats)
	if err != nil {
		return nil, fmt.Errorf("open workspace %s: %w", id, err)
	}
	if len(appended.all) == 0 {
		return nil, errors.Join(fmt.Errorf("open workspace %s: the database has no metric %s", id, appendedSamples), db.Close())
	}
	logger.Info("workspace opened", "series", db.Head().NumSeries(), "took", time.Since(start).Round(time.Millisecond))
	d := &DB{DB: db, id: id, store: s, registry: reg, stats: stats, values: make(map[any]any), appended: appended}
	d.room.Store(opts.MaxExemplars)
	if err := s.shrinkExemplars(context.Background(), d); err != nil {
		return nil, errors.Join(fmt.Errorf("open workspace %s: %w", id, err), db.Close())
	}
	return d, nil
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

// MaxTime returns the time of the newest sample, in milliseconds, and the lowest
// possible time when there is none.
func (d *DB) MaxTime() int64 { return d.Head().MaxTime() }

// EachSeries calls f for every series in memory, in no order.
func (d *DB) EachSeries(ctx context.Context, f func(labels.Labels)) error {
	ir, err := d.Head().Index()
	if err != nil {
		return fmt.Errorf("read index of memory: %w", err)
	}
	defer func() { _ = ir.Close() }()
	name, value := index.AllPostingsKey()
	p, err := ir.Postings(ctx, name, value)
	if err != nil {
		return fmt.Errorf("read index of memory: %w", err)
	}
	var b labels.ScratchBuilder
	for p.Next() {
		switch err := ir.Series(p.At(), &b, nil); {
		case errors.Is(err, storage.ErrNotFound): // gone meanwhile
		case err != nil:
			return fmt.Errorf("read index of memory: %w", err)
		default:
			f(b.Labels())
		}
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("read index of memory: %w", err)
	}
	return nil
}

// Gather implements prometheus.Gatherer: the database's own metrics.
func (d *DB) Gather() ([]*dto.MetricFamily, error) { return d.registry.Gather() }

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
