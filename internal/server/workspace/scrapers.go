package workspace

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
)

// Scraper collects metrics of a cluster into a workspace, without an agent
// there.
type Scraper struct {
	ID        string
	AccountID string
	Region    string
	Alias     string // "" for none
	Tags      map[string]string
	// Configuration is a Prometheus configuration in YAML.
	Configuration []byte
	Source        ScraperSource
	// WorkspaceARN is where the samples go.
	WorkspaceARN string
	Status       Status
	StatusReason string
	// Log is where the scraper's messages go; nil for nothing.
	Log                   *ScraperLog
	CreatedAt, ModifiedAt time.Time
	version               int64
}

// ScraperSource is the cluster that is scraped. The networks are recorded only:
// the cluster is reached at the address that it was registered with.
type ScraperSource struct {
	ClusterARN       string   `json:"clusterArn"`
	SecurityGroupIDs []string `json:"securityGroupIds,omitempty"`
	SubnetIDs        []string `json:"subnetIds"`
}

// ScraperLog is where a scraper's messages go, and which.
type ScraperLog struct {
	Destination  LogDestination
	Components   []ScraperComponent
	Status       Status
	StatusReason string
	ModifiedAt   time.Time
}

// ScraperComponent is a part of a scraper that logs.
type ScraperComponent struct {
	Type    string            `json:"type"`
	Options map[string]string `json:"options,omitempty"`
}

// ScraperRunner runs scrapers. Run and Stop are called one at a time and must
// not take long: what else there is to do waits for them.
type ScraperRunner interface {
	// Check says what is wrong with a scraper before it is recorded, such as a
	// cluster that is not known or a configuration that cannot be read. Its error
	// is shown to the caller.
	Check(ctx context.Context, s *Scraper) error
	// Run makes a scraper run as it is described, in place of how it did. It is
	// called for every scraper at the start. What it returns is shown as the
	// reason of the failure.
	Run(ctx context.Context, s *Scraper) error
	// Stop ends a scraper. It may be called again, and for one that never ran.
	Stop(ctx context.Context, id string) error
}

// ScraperARN returns the name of a scraper, existing or not.
func ScraperARN(region, account, id string) string {
	return "arn:aws:aps:" + region + ":" + account + ":scraper/" + id
}

// ScraperListARN returns the resource that operations on all scrapers act on.
func ScraperListARN(region, account string) string {
	return "arn:aws:aps:" + region + ":" + account + ":/scrapers"
}

// ARN returns the scraper's Amazon Resource Name.
func (s *Scraper) ARN() string { return ScraperARN(s.Region, s.AccountID, s.ID) }

// RoleARN returns the name that AWS has for the role of a scraper. There is no
// such role to be assumed.
func (s *Scraper) RoleARN() string {
	return "arn:aws:iam::" + s.AccountID + ":role/aws-service-role/scraper.aps.amazonaws.com/AWSServiceRoleForAmazonPrometheusScraper_" + strings.TrimPrefix(s.ID, "s-")
}

type scraperRow struct {
	bun.BaseModel `bun:"table:scrapers,alias:s"`
	ID            string `bun:"id,pk"`
	AccountID     string `bun:"account_id"`
	Region        string `bun:"region"`
	Alias         string `bun:"alias"`
	Tags          string `bun:"tags"`
	Configuration string `bun:"configuration"`
	Source        string `bun:"source"`
	WorkspaceARN  string `bun:"workspace_arn"`
	Status        string `bun:"status"`
	StatusReason  string `bun:"status_reason"`
	Version       int64  `bun:"version"`
	CreatedAt     int64  `bun:"created_at"`
	ModifiedAt    int64  `bun:"modified_at"`
}

func (r *scraperRow) scraper() (*Scraper, error) {
	s := &Scraper{ID: r.ID, AccountID: r.AccountID, Region: r.Region, Alias: r.Alias, WorkspaceARN: r.WorkspaceARN,
		Status: Status(r.Status), StatusReason: r.StatusReason, version: r.Version,
		CreatedAt: time.UnixMilli(r.CreatedAt).UTC(), ModifiedAt: time.UnixMilli(r.ModifiedAt).UTC()}
	var err error
	if s.Configuration, err = base64.StdEncoding.DecodeString(r.Configuration); err != nil {
		return nil, fmt.Errorf("configuration of scraper %s: %w", r.ID, err)
	}
	if err := json.Unmarshal([]byte(r.Source), &s.Source); err != nil {
		return nil, fmt.Errorf("source of scraper %s: %w", r.ID, err)
	}
	if err := json.Unmarshal([]byte(r.Tags), &s.Tags); err != nil {
		return nil, fmt.Errorf("tags of scraper %s: %w", r.ID, err)
	}
	return s, nil
}

func (r *scraperRow) set(s *Scraper) {
	source, _ := json.Marshal(s.Source) // strings always encode
	r.Alias, r.Tags, r.WorkspaceARN, r.Source = s.Alias, encodeTags(s.Tags), s.WorkspaceARN, string(source)
	r.Configuration = base64.StdEncoding.EncodeToString(s.Configuration)
}

// ValidScraperID reports whether id has the form of a scraper's id.
func ValidScraperID(id string) bool { return validScraperID().MatchString(id) }

// errNoRunner answers to those who want scrapers where there are none.
var errNoRunner = &RefusedError{"This server runs no scrapers. Run a collector in the cluster, or have the server's scrapers switched on."}

// checkDestinationOf finds the workspace that a scraper is to write to.
func (s *Service) checkDestinationOf(ctx context.Context, db bun.IDB, account, arn string) error {
	const field = "destination.ampConfiguration.workspaceArn"
	region, owner, id, ok := ParseARN(arn)
	if !ok || region != s.cfg.Region {
		return &InvalidError{field, fmt.Sprintf("'%.200s' is not the ARN of a workspace in %s", arn, s.cfg.Region)}
	}
	if owner != account {
		return &InvalidError{field, "a workspace of another account cannot be written to by a scraper"}
	}
	r, err := s.find(ctx, db, account, id)
	if errors.Is(err, ErrNotFound) {
		return &NotFoundError{TypeWorkspace, id}
	}
	if err != nil {
		return err
	}
	if Status(r.Status) == StatusDeleting {
		return &ConflictError{ID: id, Message: "Workspace is being deleted."}
	}
	return nil
}

var (
	validScraperAlias = whenUsed(`^[0-9A-Za-z][-.0-9A-Z_a-z]{0,99}$`)
	validScraperID    = whenUsed(`^s-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	validClusterARN   = whenUsed(`^arn:aws[-a-z]*:eks:[-a-z0-9]+:[0-9]{12}:cluster/[0-9A-Za-z][A-Za-z0-9_-]{0,99}$`)
	validSubnet       = whenUsed(`^subnet-[0-9a-z]{1,248}$`)
	validGroup        = whenUsed(`^sg-[0-9a-z]{1,252}$`)
)

// whenUsed compiles an expression when it is first used: those that count to
// hundreds take a lot of memory, and every process of the program has this package.
func whenUsed(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// maxScrapeConfiguration bounds a scraper's configuration in bytes.
const maxScrapeConfiguration = 512 << 10

// checkScraper refuses what has not the form of a scraper.
func checkScraper(sc *Scraper) error {
	src := sc.Source
	switch {
	case sc.Alias != "" && !validScraperAlias().MatchString(sc.Alias):
		return &InvalidError{"alias", "allowed are 1 to 100 letters, digits and -._, a letter or digit first"}
	case len(sc.Configuration) == 0 || len(sc.Configuration) > maxScrapeConfiguration:
		return &InvalidError{"scrapeConfiguration.configurationBlob", fmt.Sprintf("%d bytes, allowed are 1 to %d", len(sc.Configuration), maxScrapeConfiguration)}
	case !validClusterARN().MatchString(src.ClusterARN):
		return &InvalidError{"source.eksConfiguration.clusterArn", fmt.Sprintf("'%.200s' is not the ARN of a cluster", src.ClusterARN)}
	case len(src.SubnetIDs) < 1 || len(src.SubnetIDs) > 5 || !all(src.SubnetIDs, validSubnet()):
		return &InvalidError{"source.eksConfiguration.subnetIds", "allowed are 1 to 5 such as subnet-0a1b2c"}
	case len(src.SecurityGroupIDs) > 5 || !all(src.SecurityGroupIDs, validGroup()):
		return &InvalidError{"source.eksConfiguration.securityGroupIds", "allowed are up to 5 such as sg-0a1b2c"}
	}
	return checkTags(sc.Tags)
}

func all(list []string, valid *regexp.Regexp) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !valid.MatchString(s) })
}

// CreateScraper records a scraper in state CREATING; Run has it run. ID, states
// and times of sc are not looked at.
func (s *Service) CreateScraper(ctx context.Context, account string, sc Scraper, clientToken string) (*Scraper, error) {
	if s.cfg.Scrapers == nil {
		return nil, errNoRunner
	}
	if err := checkScraper(&sc); err != nil {
		return nil, err
	}
	sc.ID, sc.AccountID, sc.Region = "s-"+uuid.NewString(), account, s.cfg.Region
	now := s.cfg.Now().UnixMilli()
	r := &scraperRow{ID: sc.ID, AccountID: account, Region: s.cfg.Region, Status: string(StatusCreating), Version: 1, CreatedAt: now, ModifiedAt: now}
	r.set(&sc)
	t := &tokenRow{AccountID: account, Operation: "CreateScraper", Token: clientToken, WorkspaceID: sc.ID,
		Input: hashInput(r.Alias, r.Tags, r.Configuration, r.Source, r.WorkspaceARN)}
	// The runner may want the database too, so it is asked outside of the
	// transaction; a repeated call does not care for what it says.
	checked := s.cfg.Scrapers.Check(ctx, &sc)
	err := s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		if err := s.checkDestinationOf(ctx, tx, account, sc.WorkspaceARN); err != nil {
			return err
		}
		if checked != nil {
			return runnerError(checked)
		}
		n, err := tx.NewSelect().Model((*scraperRow)(nil)).Where("account_id = ? AND region = ?", account, s.cfg.Region).Count(ctx)
		if err != nil {
			return err
		}
		if n >= s.cfg.MaxScrapers {
			return &QuotaError{Type: TypeScraper, Code: "L-SCRAPERS", Message: fmt.Sprintf("%d scrapers are the most an account may have in a region (setting max_scrapers)", s.cfg.MaxScrapers)}
		}
		_, err = tx.NewInsert().Model(r).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, wrapDB("create scraper", err)
	}
	s.Kick()
	if t.WorkspaceID == sc.ID {
		return r.scraper() // as it was made: Run may have been at it since
	}
	made, err := s.Scraper(ctx, account, t.WorkspaceID)
	var missing *NotFoundError
	if errors.As(err, &missing) {
		return nil, &ConflictError{TypeScraper, t.WorkspaceID, "The client token was used for a scraper that has been deleted."}
	}
	return made, err
}

// runnerError gives what a runner has against a scraper to the caller.
func runnerError(err error) error {
	if isCallers(err) {
		return err
	}
	return &RefusedError{err.Error()}
}

// Scraper returns a scraper of the account.
func (s *Service) Scraper(ctx context.Context, account, id string) (*Scraper, error) {
	r, err := s.findScraper(ctx, s.db, account, id)
	if err != nil {
		return nil, err
	}
	return r.scraper()
}

func (s *Service) findScraper(ctx context.Context, db bun.IDB, account, id string) (*scraperRow, error) {
	var r scraperRow
	err := db.NewSelect().Model(&r).Where("id = ? AND account_id = ? AND region = ?", id, account, s.cfg.Region).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &NotFoundError{TypeScraper, id}
	}
	if err != nil {
		return nil, fmt.Errorf("read scraper %s: %w", id, err)
	}
	return &r, nil
}

// Scrapers returns all scrapers of the account in order of creation. The bound
// on their number is one on this list too.
func (s *Service) Scrapers(ctx context.Context, account string) ([]*Scraper, error) {
	var rows []scraperRow
	err := s.db.NewSelect().Model(&rows).Where("account_id = ? AND region = ?", account, s.cfg.Region).Order("created_at", "id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list scrapers: %w", err)
	}
	out := make([]*Scraper, 0, len(rows))
	for i := range rows {
		sc, err := rows[i].scraper()
		if err != nil {
			return nil, err
		}
		out = append(out, sc)
	}
	return out, nil
}

// ScraperChange is what is to be changed; nil stays as it is.
type ScraperChange struct {
	Alias         *string
	Configuration []byte
	WorkspaceARN  *string
}

// UpdateScraper changes a scraper that neither comes nor goes. It is in state
// UPDATING until it runs as it is described.
func (s *Service) UpdateScraper(ctx context.Context, account, id string, in ScraperChange, clientToken string) (*Scraper, error) {
	if s.cfg.Scrapers == nil {
		return nil, errNoRunner
	}
	input, _ := json.Marshal(in) // strings always encode
	t := &tokenRow{AccountID: account, Operation: "UpdateScraper", Token: clientToken, Input: hashInput(id, string(input)), WorkspaceID: id}
	// As in CreateScraper. What changes in between is a conflict.
	sc, checked := s.changedScraper(ctx, account, id, &in)
	err := s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.changeableScraper(ctx, tx, account, id, true)
		if err != nil {
			return err
		}
		if checked != nil {
			return checked
		}
		if r.Version != sc.version {
			return &ConflictError{TypeScraper, id, "Scraper is being changed by another call."}
		}
		if in.WorkspaceARN != nil {
			if err := s.checkDestinationOf(ctx, tx, account, sc.WorkspaceARN); err != nil {
				return err
			}
		}
		tags := r.Tags // may have changed since, which is no conflict
		r.set(sc)
		r.Tags = tags
		r.Status, r.StatusReason, r.ModifiedAt = string(StatusUpdating), "", s.cfg.Now().UnixMilli()
		r.Version++
		_, err = tx.NewUpdate().Model(r).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return nil, wrapDB("update scraper "+id, err)
	}
	s.Kick()
	return s.Scraper(ctx, account, id)
}

// changedScraper returns a scraper as it is to be, and what is wrong with it.
func (s *Service) changedScraper(ctx context.Context, account, id string, in *ScraperChange) (*Scraper, error) {
	sc, err := s.Scraper(ctx, account, id)
	if err != nil {
		return nil, err
	}
	if in.Alias != nil {
		sc.Alias = *in.Alias
	}
	if in.Configuration != nil {
		sc.Configuration = in.Configuration
	}
	if in.WorkspaceARN != nil {
		sc.WorkspaceARN = *in.WorkspaceARN
	}
	if err := checkScraper(sc); err != nil {
		return nil, err
	}
	if err := s.cfg.Scrapers.Check(ctx, sc); err != nil {
		return nil, runnerError(err)
	}
	return sc, nil
}

// changeableScraper refuses a scraper that is being deleted, and where settled
// is true one that is being made or changed.
func (s *Service) changeableScraper(ctx context.Context, tx bun.Tx, account, id string, settled bool) (*scraperRow, error) {
	r, err := s.findScraper(ctx, tx, account, id)
	if err != nil {
		return nil, err
	}
	switch st := Status(r.Status); {
	case st == StatusDeleting:
		return nil, &ConflictError{TypeScraper, id, "Scraper is being deleted."}
	case settled && (st == StatusCreating || st == StatusUpdating):
		return nil, &ConflictError{TypeScraper, id, "Scraper is being changed, its state is " + r.Status + "."}
	}
	return r, nil
}

// DeleteScraper puts a scraper into state DELETING; Run stops it and takes its
// record away.
func (s *Service) DeleteScraper(ctx context.Context, account, id, clientToken string) error {
	t := &tokenRow{AccountID: account, Operation: "DeleteScraper", Token: clientToken, Input: hashInput(id), WorkspaceID: id}
	err := s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.changeableScraper(ctx, tx, account, id, false)
		if err != nil {
			return err
		}
		r.Status, r.StatusReason = string(StatusDeleting), ""
		r.Version++
		_, err = tx.NewUpdate().Model(r).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return wrapDB("delete scraper "+id, err)
	}
	s.Kick()
	return nil
}

// updateScraperTags changes a scraper's tags.
func (s *Service) updateScraperTags(ctx context.Context, account, id string, change func(map[string]string) error) error {
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.changeableScraper(ctx, tx, account, id, false)
		if err != nil {
			return err
		}
		sc, err := r.scraper()
		if err != nil {
			return err
		}
		if err := change(sc.Tags); err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model((*scraperRow)(nil)).Set("tags = ?", encodeTags(sc.Tags)).Where("id = ?", id).Exec(ctx)
		return err
	})
	return wrapDB("update tags of scraper "+id, err)
}

// TagScraper adds tags to a scraper or replaces their values.
func (s *Service) TagScraper(ctx context.Context, account, id string, tags map[string]string) error {
	return s.updateScraperTags(ctx, account, id, adding(tags))
}

// UntagScraper removes tags; names it does not have are no error.
func (s *Service) UntagScraper(ctx context.Context, account, id string, keys []string) error {
	return s.updateScraperTags(ctx, account, id, removing(keys))
}

// runScrapers has the scrapers run that are in one of the states.
func (s *Service) runScrapers(ctx context.Context, states ...Status) error {
	var rows []scraperRow
	err := s.db.NewSelect().Model(&rows).Where("region = ?", s.cfg.Region).Where("status IN (?)", bun.In(states)).Order("created_at", "id").Scan(ctx)
	if err != nil {
		return fmt.Errorf("look for scrapers to run: %w", err)
	}
	var errs []error
	for i := range rows {
		do := s.runScraper
		if Status(rows[i].Status) == StatusDeleting {
			do = s.removeScraper
		}
		if err := do(ctx, &rows[i]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *Service) runScraper(ctx context.Context, r *scraperRow) error {
	sc, err := r.scraper()
	if err != nil {
		return err
	}
	if sc.Log, err = s.findScraperLog(ctx, r.ID); err != nil {
		return err
	}
	status, reason := StatusActive, ""
	if s.cfg.Scrapers == nil {
		err = errNoRunner
	} else {
		err = s.cfg.Scrapers.Run(ctx, sc)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		status, reason = StatusUpdateFailed, reasonOf(err)
		if sc.Status == StatusCreating || sc.Status == StatusCreationFailed {
			status = StatusCreationFailed
		}
		s.logger.Error("scraper does not run", "scraper", r.ID, "err", err)
	}
	// Only if it has not changed again since.
	_, err = s.db.NewUpdate().Model((*scraperRow)(nil)).Set("status = ?", string(status)).Set("status_reason = ?", reason).
		Where("id = ? AND version = ?", r.ID, r.Version).Exec(ctx)
	if err != nil {
		return fmt.Errorf("note state of scraper %s: %w", r.ID, err)
	}
	return nil
}

func (s *Service) removeScraper(ctx context.Context, r *scraperRow) error {
	if s.cfg.Scrapers != nil {
		if err := s.cfg.Scrapers.Stop(ctx, r.ID); err != nil {
			return fmt.Errorf("stop scraper %s: %w", r.ID, err)
		}
	}
	if _, err := s.db.NewDelete().Model((*scraperRow)(nil)).Where("id = ?", r.ID).Exec(ctx); err != nil {
		return fmt.Errorf("remove record of scraper %s: %w", r.ID, err)
	}
	return nil
}
