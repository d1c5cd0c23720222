// Package workspace keeps the records of workspaces: what AWS calls the control
// plane of Managed Prometheus. It owns ids, ARNs, aliases, tags, settings,
// resource policies, logging configurations and scrapers, with their states; the
// samples are the store's. Records live in SQL, and the states that mean work
// to do (CREATING, UPDATING, DELETING) are worked off by Run, also after a crash.
// What every request to a workspace needs is kept in memory as well.
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
	// Of what belongs to a workspace, and of scrapers.
	StatusUpdating     Status = "UPDATING"
	StatusUpdateFailed Status = "UPDATE_FAILED"
)

// Workspace is one workspace's record.
type Workspace struct {
	ID        string
	AccountID string
	Region    string
	Alias     string // "" for none
	Status    Status
	Tags      map[string]string
	KMSKeyARN string // "" for none
	CreatedAt time.Time
}

// Entry is what every request to a workspace needs of it, as Lookup finds it in
// memory. It is shared: nobody may change it.
type Entry struct {
	Workspace
	// Policy is the resource policy's document, "" for none.
	Policy string
	// Settings are never nil.
	Settings *Settings
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
	// MaxWorkspaces and MaxScrapers bound the records of an account in a region.
	// Zero means 1000 and 100.
	MaxWorkspaces, MaxScrapers int
	// Defaults are the settings of workspaces that have no others. Values that
	// are zero take the defaults named at the fields of Settings.
	Defaults Settings
	// Bounds of what may be set for a workspace.
	Bounds Bounds
	// Apply is told of a workspace's settings after they were changed, and again
	// at the start if that failed. What it returns is shown as the reason of the
	// failure. Nil means that those who use Settings ask for them each time.
	Apply func(ctx context.Context, id string, s *Settings) error
	// CheckKMSKey says whether a customer managed key may be named for a new
	// workspace. Nil refuses all: a key that is recorded and not used would
	// promise something.
	CheckKMSKey func(ctx context.Context, account, keyARN string) error
	// Logs is where logs go. Nil means that there is nothing that delivers them,
	// and logging configurations fail.
	Logs LogSinks
	// LogURLs are the origins, such as https://logs.example:8443, that accounts
	// may have their logs sent to instead of a log group. Others are refused:
	// the server's own network is not theirs to reach into.
	LogURLs []string
	// Scrapers runs scrapers. Nil means that none can be made.
	Scrapers ScraperRunner
	// CacheFor is how long an Entry may be answered from memory when another
	// process changes the records. Changes made through this Service show at
	// once. Zero means 5s.
	CacheFor time.Duration
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

func (c *Config) setDefaults() {
	for _, v := range []struct {
		of  *int
		def int
	}{{&c.MaxWorkspaces, 1000}, {&c.MaxScrapers, 100}} {
		if *v.of == 0 {
			*v.of = v.def
		}
	}
	if c.CacheFor == 0 {
		c.CacheFor = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Defaults.setDefaults()
	c.Bounds.setDefaults()
}

// Service keeps the records. It is safe for concurrent use.
type Service struct {
	cfg     Config
	db      *bun.DB
	storage Storage
	logger  *slog.Logger
	kick    chan struct{}
	entries entries
	// retryAfter is the pause before failed work is tried again.
	retryAfter time.Duration
}

// New returns the Service over db.
func New(cfg Config, db *bun.DB, storage Storage, logger *slog.Logger) (*Service, error) {
	if cfg.Region == "" {
		return nil, errors.New("workspaces: no region")
	}
	cfg.setDefaults()
	return &Service{cfg: cfg, db: db, storage: storage, logger: logger, kick: make(chan struct{}, 1), retryAfter: 5 * time.Second,
		entries: entries{byID: make(map[string]held)}}, nil
}

const (
	maxAlias    = 100
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
	maxToken    = 64
	maxKMSKey   = 2048
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

// checkTags refuses tags that a resource cannot have.
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

// validKMSKey is the form of a key's ARN.
var validKMSKey = regexp.MustCompile(`^arn:aws[-a-z]*:kms:[-a-z0-9]+:[0-9]{12}:key/[-a-f0-9]+$`)

func (s *Service) checkKMSKey(ctx context.Context, account, arn string) error {
	const field = "kmsKeyArn"
	switch {
	case arn == "":
		return nil
	case len(arn) > maxKMSKey || !validKMSKey.MatchString(arn):
		return &InvalidError{field, fmt.Sprintf("'%.200s' is not the ARN of a key", arn)}
	case s.cfg.CheckKMSKey == nil:
		return &InvalidError{field, "encryption of a workspace with a customer managed key is not supported"}
	}
	if err := s.cfg.CheckKMSKey(ctx, account, arn); err != nil {
		return &InvalidError{field, err.Error()}
	}
	return nil
}
