// Package addon keeps the records of add-ons, which are what the server puts
// into registered clusters, and has each become what its record asks for. The
// installing itself is somebody else's.
package addon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/server/cluster"
)

// Name is the one add-on that there is: the OpenTelemetry operator.
const Name = "adot"

// Status is the state of an add-on.
type Status string

// The states, as EKS names them.
const (
	Creating     Status = "CREATING"
	Active       Status = "ACTIVE"
	CreateFailed Status = "CREATE_FAILED"
	Updating     Status = "UPDATING"
	UpdateFailed Status = "UPDATE_FAILED"
	Deleting     Status = "DELETING"
	DeleteFailed Status = "DELETE_FAILED"
	Degraded     Status = "DEGRADED"
)

// The codes of issues, as EKS names them.
const (
	AccessDenied                 = "AccessDenied"
	InternalFailure              = "InternalFailure"
	ClusterUnreachable           = "ClusterUnreachable"
	InsufficientNumberOfReplicas = "InsufficientNumberOfReplicas"
	ConfigurationConflict        = "ConfigurationConflict"
	AdmissionRequestDenied       = "AdmissionRequestDenied"
	K8sResourceNotFound          = "K8sResourceNotFound"
)

// Issue is one reason why an add-on is not well.
type Issue struct {
	Code        string   `json:"code"`
	Message     string   `json:"message"`
	ResourceIDs []string `json:"resourceIds"`
}

// Error implements error, so that installers return issues.
func (i *Issue) Error() string { return i.Code + ": " + i.Message }

// What to do with objects that are in the cluster and not the add-on's.
const (
	Overwrite = "OVERWRITE"
	None      = "NONE"
	Preserve  = "PRESERVE"
)

// Addon is an add-on of a cluster.
type Addon struct {
	Cluster       *cluster.Cluster
	Name          string
	ID            string
	Version       string
	RoleARN       string // of its service account; "" for none
	Configuration string // YAML or JSON; "" for none
	Conflicts     string
	Status        Status
	Issues        []Issue
	Tags          map[string]string
	CreatedAt     time.Time
	ModifiedAt    time.Time

	preserve bool
}

// ARN returns the add-on's Amazon Resource Name.
func (a *Addon) ARN() string { return ARN(a.Cluster, a.Name, a.ID) }

// ARN returns the name of an add-on; without an id, what policies name it by.
func ARN(c *cluster.Cluster, name, id string) string {
	return "arn:aws:eks:" + c.Region + ":" + c.AccountID + ":addon/" + c.Name + "/" + name + "/" + id
}

// Installer changes clusters. What it returns is an *Issue, or several joined,
// where the caller can do something about it.
type Installer interface {
	// CheckConfiguration says what is wrong with a configuration.
	CheckConfiguration(text string) error
	// Install brings the add-on into its cluster, or up to date, and returns when
	// it works.
	Install(ctx context.Context, a *Addon) error
	// Remove takes it away. One that is not there is no error.
	Remove(ctx context.Context, a *Addon) error
	// Check says what is wrong with one that is installed.
	Check(ctx context.Context, a *Addon) error
}

// Versions are those that are offered, the newest first. All of them install
// the operator of this program: the numbers are those that AWS' documentation
// and workshops ask for.
func Versions() []string { return []string{"v0.151.0-eksbuild.2", "v0.74.0-eksbuild.1"} }

// Config of a Service.
type Config struct {
	Clusters  *cluster.Service
	Installer Installer
	Logger    *slog.Logger
	// CheckEvery is how often add-ons that are installed are looked at. Zero
	// means 30 s.
	CheckEvery time.Duration
	// Timeout bounds an installation and a removal. Zero means 10 minutes.
	Timeout time.Duration
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Service keeps the records, and carries them out while it runs.
type Service struct {
	cfg Config
	db  *bun.DB

	mu   sync.Mutex
	work map[string]bool // key of an add-on -> it is worked on
	wake chan struct{}
}

// New returns the Service over db. It does nothing to clusters before Run.
func New(cfg Config, db *bun.DB) (*Service, error) {
	if cfg.Clusters == nil || cfg.Installer == nil || cfg.Logger == nil {
		return nil, errors.New("add-ons: clusters, installer and logger are required")
	}
	if cfg.CheckEvery == 0 {
		cfg.CheckEvery = 30 * time.Second
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg, db: db, work: make(map[string]bool), wake: make(chan struct{}, 1)}, nil
}

var validVersion = regexp.MustCompile(`^v\d+\.\d+\.\d+-eksbuild\.\d+$`)

// Spec is what can be asked for. Nil leaves what is there as it is.
type Spec struct {
	Version, RoleARN, Configuration *string
	Conflicts                       string
}

func (s *Service) check(in Spec) error {
	if v := in.Version; v != nil && *v != "" && !validVersion.MatchString(*v) {
		return &cluster.InvalidError{Field: "addonVersion", Message: fmt.Sprintf("found %.64q, allowed are versions such as %s", *v, Versions()[0])}
	}
	switch in.Conflicts {
	case "", Overwrite, None, Preserve:
	default:
		return &cluster.InvalidError{Field: "resolveConflicts", Message: fmt.Sprintf("found %.32q, allowed are %s, %s, %s", in.Conflicts, Overwrite, None, Preserve)}
	}
	if r := in.RoleARN; r != nil && *r != "" {
		if err := cluster.CheckRole("serviceAccountRoleArn", *r); err != nil {
			return err
		}
	}
	if c := in.Configuration; c != nil && *c != "" {
		if len(*c) > maxConfiguration {
			return &cluster.InvalidError{Field: "configurationValues", Message: fmt.Sprintf("found %d bytes, allowed are %d", len(*c), maxConfiguration)}
		}
		if err := s.cfg.Installer.CheckConfiguration(*c); err != nil {
			return &cluster.InvalidError{Field: "configurationValues", Message: err.Error()}
		}
	}
	return nil
}

const maxConfiguration = 64 << 10

func value(p *string, otherwise string) string {
	if p == nil {
		return otherwise
	}
	return *p
}
