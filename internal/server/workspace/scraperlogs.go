package workspace

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

type scraperLogRow struct {
	bun.BaseModel `bun:"table:scraper_logs"`
	ScraperID     string `bun:"scraper_id,pk"`
	Destination   string `bun:"destination"`
	Components    string `bun:"components"`
	Status        string `bun:"status"`
	StatusReason  string `bun:"status_reason"`
	ModifiedAt    int64  `bun:"modified_at"`
}

// scraperComponents are the parts of a scraper that log.
var scraperComponents = []string{"SERVICE_DISCOVERY", "COLLECTOR", "EXPORTER"}

// maxOptions bounds the options of a component.
const maxOptions = 32

// findScraperLog returns nil if there is none.
func (s *Service) findScraperLog(ctx context.Context, id string) (*ScraperLog, error) {
	r := &scraperLogRow{ScraperID: id}
	err := s.db.NewSelect().Model(r).WherePK().Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read logging of scraper %s: %w", id, err)
	}
	l := &ScraperLog{Destination: LogDestination{Target: r.Destination}, Status: Status(r.Status), StatusReason: r.StatusReason,
		ModifiedAt: time.UnixMilli(r.ModifiedAt).UTC()}
	if err := json.Unmarshal([]byte(r.Components), &l.Components); err != nil {
		return nil, fmt.Errorf("log components of scraper %s: %w", id, err)
	}
	return l, nil
}

// ScraperLog returns where a scraper's messages go.
func (s *Service) ScraperLog(ctx context.Context, account, id string) (*ScraperLog, error) {
	if _, err := s.findScraper(ctx, s.db, account, id); err != nil {
		return nil, err
	}
	l, err := s.findScraperLog(ctx, id)
	if err == nil && l == nil {
		err = &NotFoundError{TypeScraperLogging, id}
	}
	return l, err
}

// SetScraperLog says where a scraper's messages go from now on. No components
// means all.
func (s *Service) SetScraperLog(ctx context.Context, account, id string, to LogDestination, components []ScraperComponent) (*ScraperLog, error) {
	if err := s.checkDestination(account, LogScraper, to); err != nil {
		return nil, err
	}
	if err := checkComponents(components); err != nil {
		return nil, err
	}
	if len(components) == 0 {
		for _, t := range scraperComponents {
			components = append(components, ScraperComponent{Type: t})
		}
	}
	b, _ := json.Marshal(components) // strings always encode
	status, reason := s.deliverable(ctx, LogScraper, StatusUpdateFailed, to)
	row := &scraperLogRow{ScraperID: id, Destination: to.Target, Components: string(b), Status: string(status), StatusReason: reason, ModifiedAt: s.cfg.Now().UnixMilli()}
	err := s.changeScraperLog(ctx, account, id, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(row).On("CONFLICT (scraper_id) DO UPDATE").Set("destination = EXCLUDED.destination").
			Set("components = EXCLUDED.components").Set("status = EXCLUDED.status").Set("status_reason = EXCLUDED.status_reason").
			Set("modified_at = EXCLUDED.modified_at").Exec(ctx)
		return err
	})
	if err != nil {
		return nil, wrapDB("set logging of scraper "+id, err)
	}
	return s.ScraperLog(ctx, account, id)
}

// DeleteScraperLog ends the logging of a scraper's messages.
func (s *Service) DeleteScraperLog(ctx context.Context, account, id, clientToken string) error {
	t := &tokenRow{AccountID: account, Operation: "DeleteScraperLoggingConfiguration", Token: clientToken, Input: hashInput(id), WorkspaceID: id}
	err := s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		return s.scraperLogChanged(ctx, tx, account, id, func() error {
			res, err := tx.NewDelete().Model(&scraperLogRow{ScraperID: id}).WherePK().Exec(ctx)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil {
				return err
			} else if n == 0 {
				return &NotFoundError{TypeScraperLogging, id}
			}
			return nil
		})
	})
	if err != nil {
		return wrapDB("delete logging of scraper "+id, err)
	}
	s.Kick()
	return nil
}

func (s *Service) changeScraperLog(ctx context.Context, account, id string, change func(context.Context, bun.Tx) error) error {
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		return s.scraperLogChanged(ctx, tx, account, id, func() error { return change(ctx, tx) })
	})
	if err == nil {
		s.Kick()
	}
	return err
}

// scraperLogChanged changes a scraper's logging and has the runner hear of it: a
// scraper that runs is run anew.
func (s *Service) scraperLogChanged(ctx context.Context, tx bun.Tx, account, id string, change func() error) error {
	r, err := s.changeableScraper(ctx, tx, account, id, false)
	if err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	if Status(r.Status) == StatusActive {
		r.Status = string(StatusUpdating)
	}
	r.Version++
	_, err = tx.NewUpdate().Model(r).Column("status", "version").WherePK().Exec(ctx)
	return err
}

func checkComponents(components []ScraperComponent) error {
	seen := make(map[string]bool)
	for i, c := range components {
		field := "scraperComponents[" + strconv.Itoa(i) + "]"
		if !slices.Contains(scraperComponents, c.Type) {
			return &InvalidError{field + ".type", fmt.Sprintf("found %.100q, allowed are %s", c.Type, strings.Join(scraperComponents, ", "))}
		}
		if seen[c.Type] {
			return &InvalidError{field + ".type", c.Type + " is there twice"}
		}
		seen[c.Type] = true
		if len(c.Options) > maxOptions {
			return &InvalidError{field + ".config.options", fmt.Sprintf("%d options, allowed are %d", len(c.Options), maxOptions)}
		}
		for k, v := range c.Options {
			if k == "" || len(k) > maxTagKey || len(v) > maxTagValue {
				return &InvalidError{field + ".config.options", fmt.Sprintf("%.100q: names of 1 to %d and values of up to %d bytes are allowed", k, maxTagKey, maxTagValue)}
			}
		}
	}
	return nil
}
