package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/logs"
	"github.com/mangru/mangru/internal/server/query"
)

// openQuery makes what answers queries, over the store.
func (s *Server) openQuery() (err error) {
	c := s.cfg.Query
	if c.Log.File != "" {
		s.queryLog, err = query.OpenFileLog(query.FileLogConfig{File: c.Log.File, MaxSize: int64(c.Log.MaxSize), MaxFiles: c.Log.MaxFiles}, s.logger)
		if err != nil {
			return &ExitError{Code: exitUsage, Err: err}
		}
	}
	prices := query.AMPPrices()
	if c.PriceList != "" {
		if prices, err = query.LoadPrices(c.PriceList); err != nil {
			return &ExitError{Code: exitUsage, Err: fmt.Errorf("query.price_list: %w", err)}
		}
	}
	s.query, err = query.New(query.Config{
		MaxConcurrent: c.MaxConcurrent, MaxTotal: c.MaxTotal, MaxWaiting: c.MaxWaiting, MaxSamples: c.MaxSamples, MaxSelectors: c.MaxSelectors,
		Timeout: time.Duration(c.Timeout), LookbackDelta: time.Duration(c.LookbackDelta), Workers: c.Workers,
		Weight:    func(id string) float64 { return c.Weights[id] },
		Retention: s.retention, Log: queryLogs{s}, Who: s.whoAsks,
		Prices: prices, Version: version, Registerer: s.registry,
		Open: func(ctx context.Context, id string) (query.Storage, func(), error) {
			h, err := s.store.AcquireRead(ctx, id)
			if err != nil {
				return nil, nil, storeError(err)
			}
			return h.DB, h.Release, nil
		},
	}, s.logger)
	return err
}

// retention returns how long a workspace's samples are kept.
func (s *Server) retention(id string) time.Duration {
	if settings := s.workspaces.Settings(id); settings != nil {
		return settings.Retention
	}
	return time.Duration(s.cfg.Store.Retention)
}

// whoAsks names a caller and its address.
func (s *Server) whoAsks(r *http.Request) (who, source string) {
	p, _ := iam.PrincipalFrom(r.Context())
	return p.ARN, s.identity.proxies.ClientAddr(r).String()
}

// queryLogs hands entries to whoever wants them.
type queryLogs struct{ s *Server }

// LogQuery implements query.QueryLog.
func (l queryLogs) LogQuery(e query.LogEntry) {
	s := l.s
	if s.queryLog != nil && e.Samples >= s.cfg.Query.Log.MinSamples && e.Eval >= time.Duration(s.cfg.Query.Log.MinTime) {
		s.queryLog.LogQuery(e)
	}
	settings := s.workspaces.Settings(e.Workspace)
	if settings == nil {
		return
	}
	for _, to := range settings.QueryLogs {
		if e.Samples < to.QSPThreshold {
			continue
		}
		if line, ok := logs.Line(e.Time, e.Workspace, "query", e.Fields()); ok {
			s.logs.Write(to, line)
		}
	}
}
