package store

import (
	"context"
	"fmt"
	"math"

	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
)

// policy returns how long the samples of a workspace are kept.
func (s *Store) policy(id string) Policy {
	p := Policy{Retention: s.cfg.Retention, MaxBytes: s.cfg.MaxBytes}
	if s.cfg.Policy == nil {
		return p
	}
	own := s.cfg.Policy(id)
	if own == nil {
		return p
	}
	if own.Retention > 0 {
		p.Retention = own.Retention
	}
	if own.MaxBytes > 0 {
		p.MaxBytes = own.MaxBytes
	}
	return p
}

// Apply makes an open workspace keep its samples as its Policy says now; one that
// is closed will when it is opened. What is too old or too much goes within a
// minute or two, when the database looks at its blocks.
func (s *Store) Apply(ctx context.Context, id string) error {
	s.mu.Lock()
	e := s.entries[id]
	s.mu.Unlock()
	if e == nil {
		return nil
	}
	if err := e.take(ctx); err != nil {
		return fmt.Errorf("wait for workspace %s: %w", id, err)
	}
	defer e.release()
	if e.db == nil {
		return nil
	}
	e.db.growing.Lock()
	defer e.db.growing.Unlock()
	if err := s.applyConfig(e.db, e.db.room.Load()); err != nil {
		return fmt.Errorf("set retention of workspace %s: %w", id, err)
	}
	return nil
}

// applyConfig makes a database keep its samples as its policy says, and gives it
// room for so many exemplars.
func (s *Store) applyConfig(d *DB, exemplars int64) error {
	p := s.policy(d.id)
	err := d.ApplyConfig(&config.Config{StorageConfig: config.StorageConfig{
		ExemplarsConfig: &config.ExemplarsConfig{MaxExemplars: exemplars},
		TSDBConfig: &config.TSDBConfig{
			OutOfOrderTimeWindow: s.cfg.OutOfOrderWindow.Milliseconds(),
			Retention:            &config.TSDBRetentionConfig{Time: model.Duration(p.Retention), Size: units.Base2Bytes(p.MaxBytes)},
		}},
	})
	if err == nil {
		d.room.Store(exemplars)
	}
	return err
}

// shrinkExemplars takes away the room for exemplars, 600 KiB, of a database that
// was opened and has none, as most.
func (s *Store) shrinkExemplars(ctx context.Context, d *DB) error {
	if d.room.Load() == 0 {
		return nil
	}
	q, err := d.ExemplarQuerier(ctx)
	if err != nil {
		return fmt.Errorf("look for exemplars: %w", err)
	}
	some, err := q.Select(math.MinInt64, math.MaxInt64, []*labels.Matcher{labels.MustNewMatcher(labels.MatchNotEqual, model.MetricNameLabel, "")})
	if err != nil {
		return fmt.Errorf("look for exemplars: %w", err)
	}
	if len(some) > 0 {
		return nil
	}
	return s.applyConfig(d, 0)
}

// growExemplars makes room before the first exemplar comes.
func (d *DB) growExemplars() error {
	if d.room.Load() > 0 || d.store.cfg.MaxExemplars <= 0 {
		return nil
	}
	d.growing.Lock()
	defer d.growing.Unlock()
	if d.room.Load() > 0 {
		return nil
	}
	if err := d.store.applyConfig(d, d.store.cfg.MaxExemplars); err != nil {
		return fmt.Errorf("make room for exemplars: %w", err)
	}
	return nil
}
