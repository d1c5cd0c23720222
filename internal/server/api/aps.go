package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/workspace"
)

// ServiceAPS is the signing name of Managed Prometheus, both planes.
const ServiceAPS = "aps"

// DataHandler serves one workspace's part of the data plane. It answers the
// request, or returns an error before it has written.
type DataHandler func(w http.ResponseWriter, r *http.Request, workspaceID string) error

// QueryHandler serves a path of an API of Prometheus, such as "/query". Variable
// parts of the path are percent-encoded, but for the name in /label/NAME/values.
type QueryHandler func(w http.ResponseWriter, r *http.Request, workspaceID, path string) error

// APSConfig of Managed Prometheus' API. Operations whose part is nil are not
// there.
type APSConfig struct {
	Region string
	// PublicURL is how callers reach the server, without path. Empty means: as
	// the request at hand did.
	PublicURL string
	// Domain is the suffix of virtual hosts, "" for none.
	Domain     string
	Workspaces *workspace.Service
	// Export answers with an archive of a workspace's samples, Import takes one
	// piece by piece. No resource policy opens them. Nil serves none.
	Export, Import DataHandler
	Write          DataHandler
	Query          QueryHandler
	// OTLP takes OpenTelemetry's metrics at api/v1/otlp/v1/metrics.
	OTLP DataHandler
	// RulesAPI serves "/rules" and "/alerts" in Query's place.
	RulesAPI QueryHandler
	// RulerAPI serves the configuration API of Cortex' ruler, with which Grafana
	// edits rules.
	RulerAPI RulerHandler
	// AlertManagerAPI serves Alertmanager's API, such as "/alerts".
	AlertManagerAPI QueryHandler
	// RuleNamespaces and AlertManagers keep what rules and alerts are made from.
	RuleNamespaces RuleNamespaces
	AlertManagers  AlertManagers
	// Authorizer judges what a scraper would do in its maker's name. Without one
	// scrapers cannot be made.
	Authorizer iam.Authorizer
	// ScraperConfiguration answers GetDefaultScraperConfiguration. Empty means
	// a built-in one.
	ScraperConfiguration []byte
	// MaxWriteBody bounds a remote-write request as it is on the wire. Zero
	// means 10 MiB.
	MaxWriteBody int64
	// Rates bound how often an account may call.
	Rates Rates
	// Registerer takes the metrics. Nil means none are kept.
	Registerer prometheus.Registerer
}

type aps struct {
	cfg      APSConfig
	throttle *throttle
}

// NewAPS returns Managed Prometheus' operations.
func NewAPS(cfg APSConfig) (Service, error) {
	if cfg.Region == "" || cfg.Workspaces == nil || cfg.Write == nil || cfg.Query == nil {
		return Service{}, errors.New("api: aps needs region, workspaces, write and query")
	}
	if cfg.MaxWriteBody == 0 {
		cfg.MaxWriteBody = 10 << 20
	}
	if len(cfg.ScraperConfiguration) == 0 {
		cfg.ScraperConfiguration = defaultScraperConfiguration
	}
	if cfg.RulesAPI == nil {
		cfg.RulesAPI = cfg.Query
	}
	t, err := newThrottle(cfg.Rates, cfg.Registerer)
	if err != nil {
		return Service{}, err
	}
	a := &aps{cfg, t}
	return Service{Name: ServiceAPS, Hosts: []string{"aps", "aps-workspaces"}, Routes: append(a.control(), a.data()...)}, nil
}

type (
	resourceFunc = func(*Call) (string, error)
	handleFunc   = func(http.ResponseWriter, *Call) error
)

// route is an operation of the control plane.
func (a *aps) route(name, method, path string, resource resourceFunc, h handleFunc) Route {
	return Route{Name: name, Method: method, Path: path, Action: "aps:" + name, Resource: resource,
		Conditions: a.conditions, Handle: a.handle(rateControl, h)}
}

// handle puts before a handler what holds the account back, and after it what
// gives errors their names.
func (a *aps) handle(class rateClass, h handleFunc) handleFunc {
	return func(w http.ResponseWriter, c *Call) error {
		if err := a.throttle.take(w, c, class); err != nil {
			return err
		}
		return apsError(h(w, c), c)
	}
}

const (
	pathWorkspaces = "/workspaces"
	pathWorkspace  = pathWorkspaces + "/{workspaceId}"
)

// control lists the operations on records.
func (a *aps) control() []Route {
	const configuration = pathWorkspace + "/configuration"
	const resourcePolicy = pathWorkspace + "/policy"
	const tags = "/tags/{resourceArn...}"
	routes := []Route{
		a.tagging(a.route("CreateWorkspace", "POST", pathWorkspaces, a.all, a.createWorkspace)),
		a.route("ListWorkspaces", "GET", pathWorkspaces, a.all, a.listWorkspaces),
		a.route("DescribeWorkspace", "GET", pathWorkspace, a.one, a.describeWorkspace),
		a.route("DeleteWorkspace", "DELETE", pathWorkspace, a.one, a.deleteWorkspace),
		a.route("UpdateWorkspaceAlias", "POST", pathWorkspace+"/alias", a.one, a.updateAlias),
		a.route("DescribeWorkspaceConfiguration", "GET", configuration, a.one, a.describeConfiguration),
		a.route("UpdateWorkspaceConfiguration", "PATCH", configuration, a.one, a.updateConfiguration),
		a.route("PutResourcePolicy", "PUT", resourcePolicy, a.one, a.putPolicy),
		a.route("DescribeResourcePolicy", "GET", resourcePolicy, a.one, a.describePolicy),
		a.route("DeleteResourcePolicy", "DELETE", resourcePolicy, a.one, a.deletePolicy),
		a.tagging(a.route("TagResource", "POST", tags, a.tagged, a.tag)),
		a.tagging(a.route("UntagResource", "DELETE", tags, a.tagged, a.untag)),
		a.route("ListTagsForResource", "GET", tags, a.tagged, a.listTags),
	}
	routes = append(routes, a.logging()...)
	routes = append(routes, a.scrapers()...)
	routes = append(routes, a.ruleNamespaces()...)
	return append(routes, a.alertManagers()...)
}

// The resources that routes are about.

func (a *aps) all(c *Call) (string, error) {
	return workspace.ListARN(a.cfg.Region, c.Principal.AccountID), nil
}

func (a *aps) one(c *Call) (string, error) {
	return workspace.ARN(a.cfg.Region, c.Principal.AccountID, c.Params["workspaceId"]), nil
}

type statusJSON struct {
	StatusCode   workspace.Status `json:"statusCode"`
	StatusReason string           `json:"statusReason,omitempty"`
}

type workspaceJSON struct {
	Alias       string            `json:"alias,omitempty"`
	ARN         string            `json:"arn"`
	CreatedAt   seconds           `json:"createdAt,omitempty"`
	KMSKeyARN   string            `json:"kmsKeyArn,omitempty"`
	Endpoint    string            `json:"prometheusEndpoint,omitempty"`
	Status      statusJSON        `json:"status"`
	Tags        map[string]string `json:"tags"`
	WorkspaceID string            `json:"workspaceId"`
}

// summary writes a workspace as lists have it.
func summary(w *workspace.Workspace) workspaceJSON {
	return workspaceJSON{WorkspaceID: w.ID, ARN: w.ARN(), Alias: w.Alias, Status: statusJSON{StatusCode: w.Status},
		CreatedAt: secondsOf(w.CreatedAt), KMSKeyARN: w.KMSKeyARN, Tags: w.Tags}
}

func (a *aps) createWorkspace(w http.ResponseWriter, c *Call) error {
	var in struct {
		Alias       string            `json:"alias"`
		Tags        map[string]string `json:"tags"`
		ClientToken string            `json:"clientToken"`
		KMSKeyARN   string            `json:"kmsKeyArn"`
	}
	if err := decodeBody(c, &in); err != nil {
		return err
	}
	ws, err := a.cfg.Workspaces.Create(c.Request.Context(), c.Principal.AccountID,
		workspace.CreateInput{Alias: in.Alias, Tags: in.Tags, KMSKeyARN: in.KMSKeyARN, ClientToken: in.ClientToken})
	if err != nil {
		return err
	}
	out := summary(ws)
	out.Alias, out.CreatedAt = "", nil
	WriteJSON(w, http.StatusAccepted, out)
	return nil
}

func (a *aps) listWorkspaces(w http.ResponseWriter, c *Call) error {
	q := c.Request.URL.Query()
	most, err := maxResults(q)
	if err != nil {
		return err
	}
	list, next, err := a.cfg.Workspaces.List(c.Request.Context(), c.Principal.AccountID,
		workspace.ListInput{AliasPrefix: q.Get("alias"), NextToken: q.Get("nextToken"), MaxResults: most})
	if err != nil {
		return err
	}
	out := struct {
		NextToken  string          `json:"nextToken,omitempty"`
		Workspaces []workspaceJSON `json:"workspaces"`
	}{NextToken: next, Workspaces: make([]workspaceJSON, 0, len(list))}
	for _, ws := range list {
		out.Workspaces = append(out.Workspaces, summary(ws))
	}
	WriteJSON(w, http.StatusOK, out)
	return nil
}

func (a *aps) describeWorkspace(w http.ResponseWriter, c *Call) error {
	ws, err := a.cfg.Workspaces.Get(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"])
	if err != nil {
		return err
	}
	out := summary(ws)
	out.Endpoint = a.endpoint(c.Request, ws.ID)
	WriteJSON(w, http.StatusOK, map[string]workspaceJSON{"workspace": out})
	return nil
}

// endpoint returns a workspace's base URL. Scripts append to it, so the slash
// at the end matters.
func (a *aps) endpoint(r *http.Request, id string) string {
	path := "/workspaces/" + id + "/"
	if a.cfg.PublicURL != "" {
		return strings.TrimSuffix(a.cfg.PublicURL, "/") + path
	}
	scheme, host := "http://", r.Host
	if r.TLS != nil {
		scheme = "https://"
	}
	if first, _, ok := splitVirtualHost(host, a.cfg.Domain); ok && first == "aps" {
		host = "aps-workspaces" + host[len(first):]
	}
	return scheme + host + path
}

func (a *aps) deleteWorkspace(w http.ResponseWriter, c *Call) error {
	err := a.cfg.Workspaces.Delete(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], queryToken(c))
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (a *aps) updateAlias(w http.ResponseWriter, c *Call) error {
	var in struct {
		Alias       string `json:"alias"`
		ClientToken string `json:"clientToken"`
	}
	if err := decodeBody(c, &in); err != nil {
		return err
	}
	err := a.cfg.Workspaces.UpdateAlias(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], in.Alias, in.ClientToken)
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
