package store

import (
	"context"
	"fmt"

	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
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
	p := s.policy(id)
	err := e.db.ApplyConfig(&config.Config{StorageConfig: config.StorageConfig{
		ExemplarsConfig: &config.ExemplarsConfig{MaxExemplars: max(s.cfg.MaxExemplars, 0)},
		TSDBConfig: &config.TSDBConfig{
			OutOfOrderTimeWindow: s.cfg.OutOfOrderWindow.Milliseconds(),
			Retention:            &config.TSDBRetentionConfig{Time: model.Duration(p.Retention), Size: units.Base2Bytes(p.MaxBytes)},
		}},
	})
	if err != nil {
		return fmt.Errorf("set retention of workspace %s: %w", id, err)
	}
	return nil
}
