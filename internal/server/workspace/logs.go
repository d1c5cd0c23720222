package workspace

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// LogKind is what is logged.
type LogKind string

// The kinds of logs.
const (
	// LogMessages are a workspace's own messages, about rules and alerts.
	LogMessages LogKind = "messages"
	// LogQueries are the queries that a workspace is asked.
	LogQueries LogKind = "queries"
	// LogScraper are a scraper's messages.
	LogScraper LogKind = "scraper"
)

// resourceType names a logging configuration in errors.
func (k LogKind) resourceType() string {
	switch k {
	case LogQueries:
		return TypeQueryLogging
	case LogScraper:
		return TypeScraperLogging
	}
	return TypeLogging
}

// LogDestination is where logs go: a CloudWatch log group, which stands for a
// file here, or, beyond AWS, a URL that is posted to.
type LogDestination struct {
	// Target is the ARN of a log group, with :* at the end, or an http or https
	// URL.
	Target string `json:"target"`
	// QSPThreshold leaves out queries that process fewer samples.
	QSPThreshold int64 `json:"qspThreshold,omitempty"`
}

// URL returns the URL to post to, if that is what the destination is.
func (d LogDestination) URL() (string, bool) {
	return d.Target, strings.HasPrefix(d.Target, "https://") || strings.HasPrefix(d.Target, "http://")
}

// File returns the path of the file that stands for a log group, relative to the
// folder of logs and with slashes: account, group, ".log". It stays in that
// folder whatever the group is called.
func (d LogDestination) File() (string, bool) {
	m := validLogGroup().FindStringSubmatch(d.Target)
	if m == nil {
		return "", false
	}
	// What is no slash stays readable; dots alone would be other folders.
	name := strings.NewReplacer("/", "%2F", "#", "%23").Replace(m[3])
	if len(name) > maxFileName {
		sum := sha256.Sum256([]byte(name))
		name = name[:maxFileName] + "~" + hex.EncodeToString(sum[:8])
	}
	return m[2] + "/" + name + ".log", true
}

// maxFileName leaves room for what is added to it.
const maxFileName = 200

// validLogGroup has region, account and name as groups.
var validLogGroup = whenUsed(`^arn:aws[a-z0-9-]*:logs:([a-z0-9-]+):([0-9]{12}):log-group:([A-Za-z0-9._#/-]{1,512}):\*$`)

// LogSinks deliver logs. They ask for the destinations in Settings.
type LogSinks interface {
	// Check says whether logs of a kind can be delivered to a destination. Its
	// error is shown to the caller.
	Check(ctx context.Context, kind LogKind, d LogDestination) error
}

// LogConfiguration is where a workspace's messages or queries are logged.
type LogConfiguration struct {
	Destinations          []LogDestination
	Status                Status
	StatusReason          string
	CreatedAt, ModifiedAt time.Time
}

type logRow struct {
	bun.BaseModel `bun:"table:workspace_logs"`
	WorkspaceID   string `bun:"workspace_id,pk"`
	Kind          string `bun:"kind,pk"`
	Destinations  string `bun:"destinations"`
	Status        string `bun:"status"`
	StatusReason  string `bun:"status_reason"`
	CreatedAt     int64  `bun:"created_at"`
	ModifiedAt    int64  `bun:"modified_at"`
}

func (r *logRow) configuration() (*LogConfiguration, error) {
	c := &LogConfiguration{Status: Status(r.Status), StatusReason: r.StatusReason,
		CreatedAt: time.UnixMilli(r.CreatedAt).UTC(), ModifiedAt: time.UnixMilli(r.ModifiedAt).UTC()}
	if err := json.Unmarshal([]byte(r.Destinations), &c.Destinations); err != nil {
		return nil, fmt.Errorf("log destinations of workspace %s: %w", r.WorkspaceID, err)
	}
	return c, nil
}

// LogConfiguration returns where a workspace's messages or queries are logged.
func (s *Service) LogConfiguration(ctx context.Context, account, id string, kind LogKind) (*LogConfiguration, error) {
	if _, err := s.find(ctx, s.db, account, id); err != nil {
		return nil, err
	}
	r := &logRow{WorkspaceID: id, Kind: string(kind)}
	err := s.db.NewSelect().Model(r).WherePK().Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &NotFoundError{kind.resourceType(), id}
	}
	if err != nil {
		return nil, fmt.Errorf("read logging of workspace %s: %w", id, err)
	}
	return r.configuration()
}

// CreateLogConfiguration says where messages or queries of a workspace that has
// no logging of the kind are logged, UpdateLogConfiguration where from now on.
// Where nothing delivers logs, the configuration is in a failed state and says
// why.
func (s *Service) CreateLogConfiguration(ctx context.Context, account, id string, kind LogKind, to []LogDestination, clientToken string) (*LogConfiguration, error) {
	return s.setLogs(ctx, account, id, kind, to, clientToken, true)
}

// UpdateLogConfiguration is described at CreateLogConfiguration.
func (s *Service) UpdateLogConfiguration(ctx context.Context, account, id string, kind LogKind, to []LogDestination, clientToken string) (*LogConfiguration, error) {
	return s.setLogs(ctx, account, id, kind, to, clientToken, false)
}

func (s *Service) setLogs(ctx context.Context, account, id string, kind LogKind, to []LogDestination, clientToken string, create bool) (*LogConfiguration, error) {
	for _, d := range to {
		if err := s.checkDestination(account, kind, d); err != nil {
			return nil, err
		}
	}
	b, _ := json.Marshal(to) // strings and numbers always encode
	operation, failed := "Update", StatusUpdateFailed
	if create {
		operation, failed = "Create", StatusCreationFailed
	}
	t := &tokenRow{AccountID: account, Operation: operation + "LogConfiguration:" + string(kind), Token: clientToken, Input: hashInput(id, string(b)), WorkspaceID: id}
	status, reason := s.deliverable(ctx, kind, failed, to...)
	now := s.cfg.Now().UnixMilli()
	err := s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		if _, err := s.changeable(ctx, tx, account, id); err != nil {
			return err
		}
		old := &logRow{WorkspaceID: id, Kind: string(kind)}
		err := tx.NewSelect().Model(old).WherePK().Scan(ctx)
		there := err == nil
		switch {
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return err
		case create && there:
			return &RefusedError{"The workspace has a " + kind.resourceType() + " already."}
		case !create && !there:
			return &NotFoundError{kind.resourceType(), id}
		}
		r := &logRow{WorkspaceID: id, Kind: string(kind), Destinations: string(b), Status: string(status), StatusReason: reason, CreatedAt: now, ModifiedAt: now}
		if create {
			_, err = tx.NewInsert().Model(r).Exec(ctx)
			return err
		}
		r.CreatedAt = old.CreatedAt
		_, err = tx.NewUpdate().Model(r).WherePK().Exec(ctx)
		return err
	})
	s.entries.changed(id)
	if err != nil {
		return nil, wrapDB("set logging of workspace "+id, err)
	}
	return s.LogConfiguration(ctx, account, id, kind)
}

// deliverable returns the state of a logging configuration.
func (s *Service) deliverable(ctx context.Context, kind LogKind, failed Status, to ...LogDestination) (Status, string) {
	if s.cfg.Logs == nil {
		return failed, "This server does not deliver logs."
	}
	for _, d := range to {
		if err := s.cfg.Logs.Check(ctx, kind, d); err != nil {
			return failed, reasonOf(err)
		}
	}
	return StatusActive, ""
}

// checkDestination refuses what is not a log group of the account or an allowed
// URL.
func (s *Service) checkDestination(account string, kind LogKind, d LogDestination) error {
	field := "logGroupArn"
	if kind == LogQueries {
		field = "destinations"
	}
	if d.QSPThreshold < 0 {
		return &InvalidError{field, "filters.qspThreshold must not be negative"}
	}
	if m := validLogGroup().FindStringSubmatch(d.Target); m != nil {
		if m[1] != s.cfg.Region || m[2] != account {
			return &InvalidError{field, fmt.Sprintf("'%s' is not a log group of account %s in %s", d.Target, account, s.cfg.Region)}
		}
		return nil
	}
	if _, ok := d.URL(); !ok {
		return &InvalidError{field, fmt.Sprintf("'%.200s' is not the ARN of a log group, such as arn:aws:logs:%s:%s:log-group:NAME:*", d.Target, s.cfg.Region, account)}
	}
	u, err := url.Parse(d.Target)
	if err != nil || len(d.Target) > maxURL || u.Host == "" || u.User != nil || u.Fragment != "" {
		return &InvalidError{field, "is not a URL without user and fragment"}
	}
	if !slices.Contains(s.cfg.LogURLs, u.Scheme+"://"+strings.ToLower(u.Host)) {
		return &InvalidError{field, fmt.Sprintf("logs may not be sent to %s://%s on this server (setting logs.urls)", u.Scheme, u.Host)}
	}
	return nil
}

const maxURL = 2048

// DeleteLogConfiguration ends the logging of messages or queries.
func (s *Service) DeleteLogConfiguration(ctx context.Context, account, id string, kind LogKind, clientToken string) error {
	t := &tokenRow{AccountID: account, Operation: "DeleteLogConfiguration:" + string(kind), Token: clientToken, Input: hashInput(id), WorkspaceID: id}
	err := s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		if _, err := s.changeable(ctx, tx, account, id); err != nil {
			return err
		}
		res, err := tx.NewDelete().Model(&logRow{WorkspaceID: id, Kind: string(kind)}).WherePK().Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return &NotFoundError{kind.resourceType(), id}
		}
		return nil
	})
	s.entries.changed(id)
	return wrapDB("delete logging of workspace "+id, err)
}

// addLogs adds the destinations that are in use.
func (s *Service) addLogs(ctx context.Context, db bun.IDB, id string, to *Settings) error {
	var rows []logRow
	err := db.NewSelect().Model(&rows).Where("workspace_id = ? AND status = ?", id, string(StatusActive)).Scan(ctx)
	if err != nil {
		return fmt.Errorf("read logging of workspace %s: %w", id, err)
	}
	for i := range rows {
		c, err := rows[i].configuration()
		if err != nil {
			return err
		}
		switch {
		case LogKind(rows[i].Kind) == LogQueries:
			to.QueryLogs = c.Destinations
		case len(c.Destinations) > 0:
			to.Log = &c.Destinations[0]
		}
	}
	return nil
}
