// Package workspace keeps the records of workspaces: what AWS calls the control
// plane of Managed Prometheus. It owns ids, ARNs, aliases, tags and states; the
// samples are the store's. Records live in SQL, and the states that mean work
// to do (CREATING, DELETING) are worked off by Run, also after a crash.
package workspace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun"
)

// Status is the state of a workspace.
type Status string

// The states. A workspace takes samples and answers queries while it is
// CREATING (its directory is made on demand) or ACTIVE.
const (
	StatusCreating       Status = "CREATING"
	StatusActive         Status = "ACTIVE"
	StatusDeleting       Status = "DELETING"
	StatusCreationFailed Status = "CREATION_FAILED"
)

// Workspace is one workspace's record.
type Workspace struct {
	ID        string
	AccountID string
	Region    string
	Alias     string // "" for none
	Status    Status
	Tags      map[string]string
	CreatedAt time.Time
}

// ARN returns the workspace's Amazon Resource Name.
func (w *Workspace) ARN() string { return ARN(w.Region, w.AccountID, w.ID) }

// ARN returns the name of a workspace, existing or not.
func ARN(region, account, id string) string {
	return "arn:aws:aps:" + region + ":" + account + ":workspace/" + id
}

// ListARN returns the resource that operations on all workspaces act on.
func ListARN(region, account string) string {
	return "arn:aws:aps:" + region + ":" + account + ":/workspaces"
}

// ParseARN returns the parts of a workspace's ARN.
func ParseARN(arn string) (region, account, id string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] != "aws" || parts[2] != "aps" {
		return "", "", "", false
	}
	id, ok = strings.CutPrefix(parts[5], "workspace/")
	return parts[3], parts[4], id, ok && ValidID(id)
}

var validID = regexp.MustCompile(`^ws-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// ValidID reports whether id has the form of a workspace id. Only such ids
// become names of directories.
func ValidID(id string) bool { return validID.MatchString(id) }

// Errors of the records. Test with errors.Is or errors.As.
var ErrNotFound = errors.New("workspace not found")

// InvalidError names the input that is wrong.
type InvalidError struct{ Field, Message string }

// Error implements error.
func (e *InvalidError) Error() string { return e.Field + ": " + e.Message }

// ConflictError says that the call and the workspace's state do not fit.
type ConflictError struct{ ID, Message string }

// Error implements error.
func (e *ConflictError) Error() string { return e.Message }

// QuotaError says that a bound on records is reached.
type QuotaError struct{ Message string }

// Error implements error.
func (e *QuotaError) Error() string { return e.Message }

// Storage is where a workspace's samples are; Run calls it.
type Storage interface {
	// Create makes room for a workspace. It may be called again.
	Create(ctx context.Context, id string) error
	// Remove takes all samples of a workspace away. It may be called again.
	Remove(ctx context.Context, id string) error
}

// Config of a Service.
type Config struct {
	// Region the workspaces are made in. Required.
	Region string
	// MaxWorkspaces bounds the records of an account in a region. Zero means
	// 1000.
	MaxWorkspaces int
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Service keeps the records. It is safe for concurrent use.
type Service struct {
	cfg     Config
	db      *bun.DB
	storage Storage
	logger  *slog.Logger
	kick    chan struct{}
	// retryAfter is the pause before failed work is tried again.
	retryAfter time.Duration
}

// New returns the Service over db.
func New(cfg Config, db *bun.DB, storage Storage, logger *slog.Logger) (*Service, error) {
	if cfg.Region == "" {
		return nil, errors.New("workspaces: no region")
	}
	if cfg.MaxWorkspaces == 0 {
		cfg.MaxWorkspaces = 1000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg, db: db, storage: storage, logger: logger, kick: make(chan struct{}, 1), retryAfter: 5 * time.Second}, nil
}

const (
	maxAlias    = 100
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
	maxToken    = 64
)

// cleanAlias trims and checks an alias. "" is no alias.
func cleanAlias(alias string) (string, error) {
	alias = strings.TrimSpace(alias)
	if !utf8.ValidString(alias) || utf8.RuneCountInString(alias) > maxAlias {
		return "", &InvalidError{"alias", fmt.Sprintf("must be at most %d characters", maxAlias)}
	}
	if strings.ContainsFunc(alias, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", &InvalidError{"alias", "must not contain control characters"}
	}
	return alias, nil
}

var validTag = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return &InvalidError{"tags", fmt.Sprintf("%d tags, allowed are %d", len(tags), maxTags)}
	}
	for k, v := range tags {
		if err := checkTagKey(k); err != nil {
			return err
		}
		if utf8.RuneCountInString(v) > maxTagValue || !validTag.MatchString(v) {
			return &InvalidError{"tags", fmt.Sprintf("value of %q: allowed are 0 to %d letters, digits, spaces and _.:/=+-@", k, maxTagValue)}
		}
	}
	return nil
}

func checkTagKey(k string) error {
	if n := utf8.RuneCountInString(k); n < 1 || n > maxTagKey || !validTag.MatchString(k) {
		return &InvalidError{"tags", fmt.Sprintf("key %q: allowed are 1 to %d letters, digits, spaces and _.:/=+-@", k, maxTagKey)}
	}
	if strings.HasPrefix(strings.ToLower(k), "aws:") {
		return &InvalidError{"tags", fmt.Sprintf("key %q: the prefix aws: is reserved", k)}
	}
	return nil
}

func checkToken(token string) error {
	if len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r < '!' || r > '~' }) {
		return &InvalidError{"clientToken", fmt.Sprintf("allowed are 1 to %d printable ASCII characters", maxToken)}
	}
	return nil
}
