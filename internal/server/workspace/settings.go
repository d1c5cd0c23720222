package workspace

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun"
)

// Settings say how a workspace behaves. In a Config, durations that are zero
// take the defaults named here and negative ones mean none; elsewhere zero is
// none.
type Settings struct {
	// Retention is how long samples are kept, in whole days.
	Retention time.Duration // 150 days
	// OutOfOrderWindow is how far behind the newest sample one may be that is
	// not the newest of its series.
	OutOfOrderWindow time.Duration // 1h
	// RuleQueryOffset is how far in the past rules look, so that samples that
	// are on their way have come in.
	RuleQueryOffset time.Duration // 60s
	// LabelSets bound the series of parts of the workspace.
	LabelSets []LabelSetLimit
	// Log takes the workspace's own messages, such as about rules that fail; nil
	// for nothing.
	Log *LogDestination
	// QueryLogs take its queries.
	QueryLogs []LogDestination
}

// LabelSetLimit bounds the series that have all of some labels; with no labels,
// those that are in no other set.
type LabelSetLimit struct {
	Labels map[string]string
	// MaxSeries is how many there may be. Zero means that they are counted and
	// not bounded.
	MaxSeries int64
}

func (s *Settings) setDefaults() {
	for _, v := range []struct {
		of  *time.Duration
		def time.Duration
	}{{&s.Retention, 150 * day}, {&s.OutOfOrderWindow, time.Hour}, {&s.RuleQueryOffset, time.Minute}} {
		if *v.of == 0 {
			*v.of = v.def
		}
		*v.of = max(*v.of, 0)
	}
}

// Bounds of what may be set for a workspace. Zero values take the defaults named
// at the fields.
type Bounds struct {
	MaxRetention        time.Duration // 1095 days
	MaxOutOfOrderWindow time.Duration // 24h
	MaxRuleQueryOffset  time.Duration // 24h
	MaxLabelSets        int           // 100
}

func (b *Bounds) setDefaults() {
	for _, v := range []struct {
		of  *time.Duration
		def time.Duration
	}{{&b.MaxRetention, 1095 * day}, {&b.MaxOutOfOrderWindow, day}, {&b.MaxRuleQueryOffset, day}} {
		if *v.of == 0 {
			*v.of = v.def
		}
	}
	if b.MaxLabelSets == 0 {
		b.MaxLabelSets = 100
	}
}

const day = 24 * time.Hour

type configurationRow struct {
	bun.BaseModel     `bun:"table:workspace_configurations"`
	WorkspaceID       string `bun:"workspace_id,pk"`
	RetentionDays     *int64 `bun:"retention_days"`
	OutOfOrderSeconds *int64 `bun:"out_of_order_seconds"`
	RuleOffsetSeconds *int64 `bun:"rule_offset_seconds"`
	LabelSets         string `bun:"label_sets"`
	Status            string `bun:"status"`
	StatusReason      string `bun:"status_reason"`
	Version           int64  `bun:"version"`
}

// Configuration is a workspace's settings and whether they have taken effect.
type Configuration struct {
	Settings     *Settings
	Status       Status
	StatusReason string
}

// ConfigurationChange is what is to be set; the rest stays as it is.
type ConfigurationChange struct {
	RetentionDays, OutOfOrderSeconds, RuleOffsetSeconds *int64
	// LabelSets replace all that there are.
	LabelSets *[]LabelSetLimit
}

func (s *Service) findConfiguration(ctx context.Context, db bun.IDB, id string) (*configurationRow, error) {
	r := &configurationRow{WorkspaceID: id, LabelSets: "[]", Status: string(StatusActive)}
	err := db.NewSelect().Model(r).WherePK().Scan(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read configuration of workspace %s: %w", id, err)
	}
	return r, nil
}

// settings reads those of a workspace that exists.
func (s *Service) settings(ctx context.Context, db bun.IDB, id string) (*Settings, error) {
	r, err := s.findConfiguration(ctx, db, id)
	if err != nil {
		return nil, err
	}
	out, err := s.settingsOf(r)
	if err != nil {
		return nil, err
	}
	return out, s.addLogs(ctx, db, id, out)
}

// settingsOf puts the defaults where nothing is set.
func (s *Service) settingsOf(r *configurationRow) (*Settings, error) {
	out := s.cfg.Defaults
	for _, v := range []struct {
		of   *time.Duration
		set  *int64
		unit time.Duration
	}{{&out.Retention, r.RetentionDays, day}, {&out.OutOfOrderWindow, r.OutOfOrderSeconds, time.Second}, {&out.RuleQueryOffset, r.RuleOffsetSeconds, time.Second}} {
		if v.set != nil {
			*v.of = time.Duration(*v.set) * v.unit
		}
	}
	out.LabelSets = nil
	if err := json.Unmarshal([]byte(r.LabelSets), &out.LabelSets); err != nil {
		return nil, fmt.Errorf("label sets of workspace %s: %w", r.WorkspaceID, err)
	}
	if len(out.LabelSets) == 0 {
		out.LabelSets = s.cfg.Defaults.LabelSets
	}
	return &out, nil
}

// Configuration returns a workspace's settings, the defaults among them.
func (s *Service) Configuration(ctx context.Context, account, id string) (*Configuration, error) {
	if _, err := s.find(ctx, s.db, account, id); err != nil {
		return nil, err
	}
	r, err := s.findConfiguration(ctx, s.db, id)
	if err != nil {
		return nil, err
	}
	out := &Configuration{Status: Status(r.Status), StatusReason: r.StatusReason}
	out.Settings, err = s.settingsOf(r)
	return out, err
}

// UpdateConfiguration changes a workspace's settings. Those who ask for them
// find them at once; where somebody has to be told, the state is UPDATING until
// Run has done so.
func (s *Service) UpdateConfiguration(ctx context.Context, account, id string, in ConfigurationChange, clientToken string) (*Configuration, error) {
	if err := s.checkChange(&in); err != nil {
		return nil, err
	}
	input, _ := json.Marshal(in) // numbers and strings always encode
	t := &tokenRow{AccountID: account, Operation: "UpdateWorkspaceConfiguration", Token: clientToken, Input: hashInput(id, string(input)), WorkspaceID: id}
	err := s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		if _, err := s.changeable(ctx, tx, account, id); err != nil {
			return err
		}
		r, err := s.findConfiguration(ctx, tx, id)
		if err != nil {
			return err
		}
		r.apply(in)
		if r.Version++; s.cfg.Apply != nil {
			r.Status = string(StatusUpdating)
		}
		r.StatusReason = ""
		_, err = tx.NewInsert().Model(r).On("CONFLICT (workspace_id) DO UPDATE").Set("retention_days = EXCLUDED.retention_days").
			Set("out_of_order_seconds = EXCLUDED.out_of_order_seconds").Set("rule_offset_seconds = EXCLUDED.rule_offset_seconds").
			Set("label_sets = EXCLUDED.label_sets").Set("status = EXCLUDED.status").Set("status_reason = EXCLUDED.status_reason").
			Set("version = EXCLUDED.version").Exec(ctx)
		return err
	})
	s.entries.changed(id)
	if err != nil {
		return nil, wrapDB("update configuration of workspace "+id, err)
	}
	s.Kick()
	return s.Configuration(ctx, account, id)
}

func (r *configurationRow) apply(in ConfigurationChange) {
	for _, v := range []struct{ of, to **int64 }{{&r.RetentionDays, &in.RetentionDays}, {&r.OutOfOrderSeconds, &in.OutOfOrderSeconds}, {&r.RuleOffsetSeconds, &in.RuleOffsetSeconds}} {
		if *v.to != nil {
			*v.of = *v.to
		}
	}
	if in.LabelSets != nil {
		b, _ := json.Marshal(slices.Concat([]LabelSetLimit{}, *in.LabelSets)) // [] and not null
		r.LabelSets = string(b)
	}
}

// checkChange refuses what is out of bounds.
func (s *Service) checkChange(in *ConfigurationChange) error {
	if in.RetentionDays == nil && in.OutOfOrderSeconds == nil && in.RuleOffsetSeconds == nil && in.LabelSets == nil {
		return &RefusedError{"At least one of limitsPerLabelSet, outOfOrderTimeWindowInSeconds, retentionPeriodInDays and ruleQueryOffsetInSeconds is required."}
	}
	b := s.cfg.Bounds
	for _, v := range []struct {
		field    string
		value    *int64
		min, max int64
	}{
		{"retentionPeriodInDays", in.RetentionDays, 1, int64(b.MaxRetention / day)},
		{"outOfOrderTimeWindowInSeconds", in.OutOfOrderSeconds, 0, int64(b.MaxOutOfOrderWindow / time.Second)},
		{"ruleQueryOffsetInSeconds", in.RuleOffsetSeconds, 0, int64(b.MaxRuleQueryOffset / time.Second)},
	} {
		if v.value != nil && (*v.value < v.min || *v.value > v.max) {
			return &InvalidError{v.field, fmt.Sprintf("must be between %d and %d, found %d", v.min, v.max, *v.value)}
		}
	}
	if in.LabelSets == nil {
		return nil
	}
	return checkLabelSets(*in.LabelSets, b.MaxLabelSets)
}

var validLabel = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// maxLabels bounds a label set, maxLabelText a name or value in bytes.
const (
	maxLabels    = 150
	maxLabelText = 7168
)

func checkLabelSets(sets []LabelSetLimit, most int) error {
	if len(sets) > most {
		return &QuotaError{Type: TypeConfiguration, Code: "L-2C2449DB", Message: fmt.Sprintf("%d label sets, allowed are %d", len(sets), most)}
	}
	for i, set := range sets {
		field := "limitsPerLabelSet[" + strconv.Itoa(i) + "]"
		if set.MaxSeries < 0 {
			return &InvalidError{field + ".limits.maxSeries", fmt.Sprintf("must not be negative, found %d", set.MaxSeries)}
		}
		if len(set.Labels) > maxLabels {
			return &InvalidError{field + ".labelSet", fmt.Sprintf("%d labels, allowed are %d", len(set.Labels), maxLabels)}
		}
		for name, value := range set.Labels {
			if !validLabel.MatchString(name) || len(name) > maxLabelText {
				return &InvalidError{field + ".labelSet", fmt.Sprintf("%.100q is not the name of a label", name)}
			}
			if value == "" || len(value) > maxLabelText || !utf8.ValidString(value) {
				return &InvalidError{field + ".labelSet", fmt.Sprintf("value of %q: allowed are 1 to %d bytes", name, maxLabelText)}
			}
		}
		if slices.ContainsFunc(sets[:i], func(other LabelSetLimit) bool { return maps.Equal(other.Labels, set.Labels) }) {
			return &InvalidError{field + ".labelSet", "is there twice"}
		}
	}
	return nil
}

// applyConfigurations tells of the settings that somebody has to be told of.
// After a failure it is for the next change, or the next start, to try again.
func (s *Service) applyConfigurations(ctx context.Context, states ...Status) error {
	if s.cfg.Apply == nil {
		return nil
	}
	var rows []configurationRow
	err := s.db.NewSelect().Model(&rows).Where("status IN (?)", bun.In(states)).
		Where("workspace_id IN (SELECT id FROM workspaces WHERE region = ? AND status <> ?)", s.cfg.Region, StatusDeleting).Scan(ctx)
	if err != nil {
		return fmt.Errorf("look for configurations to apply: %w", err)
	}
	for i := range rows {
		r := &rows[i]
		set, err := s.settings(ctx, s.db, r.WorkspaceID)
		if err != nil {
			return err
		}
		status, reason := StatusActive, ""
		if err := s.cfg.Apply(ctx, r.WorkspaceID, set); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			status, reason = StatusUpdateFailed, reasonOf(err)
			s.logger.Error("configuration not applied", "workspace", r.WorkspaceID, "err", err)
		}
		// Only if it has not changed again since.
		_, err = s.db.NewUpdate().Model((*configurationRow)(nil)).Set("status = ?", string(status)).Set("status_reason = ?", reason).
			Where("workspace_id = ? AND version = ?", r.WorkspaceID, r.Version).Exec(ctx)
		if err != nil {
			return fmt.Errorf("note configuration of workspace %s: %w", r.WorkspaceID, err)
		}
	}
	return nil
}

// maxReason is the length of a reason in characters.
const maxReason = 256

func reasonOf(err error) string {
	r := []rune(err.Error())
	if len(r) > maxReason {
		r = append(r[:maxReason-1], '…')
	}
	return string(r)
}
