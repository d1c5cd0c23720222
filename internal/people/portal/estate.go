package portal

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/mangru/mangru/internal/people/signin"
)

// Estate is what administrators look after besides people: workspaces of
// metrics, who and what may call, clusters, the record of it all.
type Estate interface {
	Metrics(context.Context) ([]MetricsWorkspace, error)
	CreateMetrics(ctx context.Context, alias string) error
	RenameMetrics(ctx context.Context, id, alias string) error
	DeleteMetrics(ctx context.Context, id string) error
	Users(context.Context) ([]AccessUser, error)
	CreateUser(ctx context.Context, name string) error
	// CreateKey returns the secret, which is not to be had again.
	CreateKey(ctx context.Context, user string) (id, secret string, err error)
	SetKey(ctx context.Context, user, id string, active bool) error
	DeleteKey(ctx context.Context, user, id string) error
	Roles(context.Context) ([]AccessRole, error)
	Policies(context.Context) ([]AccessPolicy, error)
	PolicyDocument(ctx context.Context, arn string) (string, error)
	Clusters(context.Context) ([]Cluster, error)
	// Audit returns the newest lines of the record that contain text, newest first.
	Audit(ctx context.Context, text string, most int) ([]json.RawMessage, error)
	// Note adds to the record what a person did.
	Note(ctx context.Context, d Deed)
}

// Deed is what an administrator did in the browser.
type Deed struct {
	UserID, Action, Resource string
	Source                   netip.Addr
	Agent                    string
	Err                      error
}

// MetricsWorkspace is a workspace of metrics.
type MetricsWorkspace struct {
	ID             string            `json:"id"`
	Alias          string            `json:"alias"`
	ARN            string            `json:"arn"`
	Status         string            `json:"status"`
	Created        time.Time         `json:"created"`
	Tags           map[string]string `json:"tags"`
	RemoteWriteURL string            `json:"remoteWriteUrl"`
	QueryURL       string            `json:"queryUrl"`
}

// AccessKey is a key of a program, without its secret.
type AccessKey struct {
	ID       string    `json:"id"`
	Active   bool      `json:"active"`
	Created  time.Time `json:"created"`
	LastUsed time.Time `json:"lastUsed"` // zero for never
	Service  string    `json:"service"`
}

// AccessUser is an identity of programs.
type AccessUser struct {
	Name     string      `json:"name"`
	ARN      string      `json:"arn"`
	Created  time.Time   `json:"created"`
	Keys     []AccessKey `json:"keys"`
	Policies []string    `json:"policies"` // ARNs, and names of inline ones
}

// AccessRole is a role with who may take it on.
type AccessRole struct {
	Name        string    `json:"name"`
	ARN         string    `json:"arn"`
	Description string    `json:"description"`
	Trust       string    `json:"trust"`
	Policies    []string  `json:"policies"`
	Created     time.Time `json:"created"`
	LastUsed    time.Time `json:"lastUsed"`
}

// AccessPolicy is a managed policy.
type AccessPolicy struct {
	Name        string `json:"name"`
	ARN         string `json:"arn"`
	Description string `json:"description"`
	Own         bool   `json:"own"`
	Attachments int    `json:"attachments"`
}

// Cluster is a registered Kubernetes cluster.
type Cluster struct {
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	Endpoint  string    `json:"endpoint"`
	Issuer    string    `json:"issuer"`
	Scrapable bool      `json:"scrapable"`
	Created   time.Time `json:"created"`
}

// Refused is an answer of an Estate that is the caller's own doing.
func Refused(status int, message string) error { return &httpError{status, message} }

func estateRoutes() []route {
	const metrics, key = "/admin/metrics/{id}", "/admin/users/{name}/keys/{id}"
	return []route{
		{"GET /admin/metrics", administrators, listing(Estate.Metrics)},
		{"POST /admin/metrics", administrators, (*server).createMetrics},
		{"PATCH " + metrics, administrators, (*server).renameMetrics},
		{"DELETE " + metrics, administrators, (*server).deleteMetrics},
		{"GET /admin/users", administrators, listing(Estate.Users)},
		{"POST /admin/users", administrators, (*server).createAccessUser},
		{"POST /admin/users/{name}/keys", administrators, (*server).createKey},
		{"PATCH " + key, administrators, (*server).setKey},
		{"DELETE " + key, administrators, (*server).deleteKey},
		{"GET /admin/roles", administrators, listing(Estate.Roles)},
		{"GET /admin/policies", administrators, listing(Estate.Policies)},
		{"GET /admin/policy", administrators, (*server).policyDocument},
		{"GET /admin/clusters", administrators, listing(Estate.Clusters)},
		{"GET /admin/audit", administrators, (*server).auditLines},
	}
}

// listing answers with all records of a kind.
func listing[R any](of func(Estate, context.Context) ([]R, error)) func(*server, *call) (any, error) {
	return func(s *server, c *call) (any, error) {
		list, err := of(s.Estate, c.Context())
		if list == nil {
			list = []R{}
		}
		return list, err
	}
}

// did notes what an administrator did, and hands on how it went.
func (s *server) did(c *call, action, resource string, err error) error {
	source, _ := netip.ParseAddr(c.client().Address) // what is none is left out
	s.Estate.Note(c.Context(), Deed{UserID: c.sess.User.ID, Action: action, Resource: resource, Source: source, Agent: c.UserAgent(), Err: err})
	return err
}

func (s *server) createMetrics(c *call) (any, error) {
	var in struct {
		Alias string `json:"alias"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return nil, s.did(c, "aps:CreateWorkspace", in.Alias, s.Estate.CreateMetrics(c.Context(), in.Alias))
}

func (s *server) renameMetrics(c *call) (any, error) {
	var in struct {
		Alias string `json:"alias"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	id := c.PathValue("id")
	return nil, s.did(c, "aps:UpdateWorkspaceAlias", id, s.Estate.RenameMetrics(c.Context(), id, in.Alias))
}

func (s *server) deleteMetrics(c *call) (any, error) {
	if !c.sess.Fresh(time.Now()) {
		return nil, signin.ErrStepUp
	}
	id := c.PathValue("id")
	return nil, s.did(c, "aps:DeleteWorkspace", id, s.Estate.DeleteMetrics(c.Context(), id))
}

func (s *server) createAccessUser(c *call) (any, error) {
	var in struct {
		Name string `json:"name"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return nil, s.did(c, "iam:CreateUser", in.Name, s.Estate.CreateUser(c.Context(), in.Name))
}

// createKey needs a fresh proof: a key outlives the session.
func (s *server) createKey(c *call) (any, error) {
	if !c.sess.Fresh(time.Now()) {
		return nil, signin.ErrStepUp
	}
	name := c.PathValue("name")
	id, secret, err := s.Estate.CreateKey(c.Context(), name)
	if err := s.did(c, "iam:CreateAccessKey", name, err); err != nil {
		return nil, err
	}
	return map[string]string{"id": id, "secret": secret}, nil
}

func (s *server) setKey(c *call) (any, error) {
	var in struct {
		Active bool `json:"active"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	name, id := c.PathValue("name"), c.PathValue("id")
	return nil, s.did(c, "iam:UpdateAccessKey", name+"/"+id, s.Estate.SetKey(c.Context(), name, id, in.Active))
}

func (s *server) deleteKey(c *call) (any, error) {
	if !c.sess.Fresh(time.Now()) {
		return nil, signin.ErrStepUp
	}
	name, id := c.PathValue("name"), c.PathValue("id")
	return nil, s.did(c, "iam:DeleteAccessKey", name+"/"+id, s.Estate.DeleteKey(c.Context(), name, id))
}

func (s *server) policyDocument(c *call) (any, error) {
	text, err := s.Estate.PolicyDocument(c.Context(), c.URL.Query().Get("arn"))
	return map[string]string{"document": text}, err
}

func (s *server) auditLines(c *call) (any, error) {
	const usual, most = 200, 1000
	n := usual
	if text := c.URL.Query().Get("limit"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > most {
			return nil, &httpError{http.StatusBadRequest, "limit: allowed are 1 to " + strconv.Itoa(most)}
		}
	}
	lines, err := s.Estate.Audit(c.Context(), c.URL.Query().Get("search"), n)
	if lines == nil {
		lines = []json.RawMessage{}
	}
	return lines, err
}
