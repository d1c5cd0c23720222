package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/mangru/mangru/internal/server/workspace"
)

// ServiceAPS is the signing name of Managed Prometheus, both planes.
const ServiceAPS = "aps"

// DataHandler serves one workspace's part of the data plane. It answers the
// request, or returns an error before it has written.
type DataHandler func(w http.ResponseWriter, r *http.Request, workspaceID string) error

// QueryHandler serves a path of Prometheus' API, such as "/query".
type QueryHandler func(w http.ResponseWriter, r *http.Request, workspaceID, path string) error

// APSConfig of Managed Prometheus' API.
type APSConfig struct {
	Region string
	// PublicURL is how callers reach the server, without path. Empty means: as
	// the request at hand did.
	PublicURL string
	// Domain is the suffix of virtual hosts, "" for none.
	Domain     string
	Workspaces *workspace.Service
	Write      DataHandler
	Query      QueryHandler
	// MaxWriteBody bounds a remote-write request as it is on the wire. Zero
	// means 10 MiB.
	MaxWriteBody int64
}

type aps struct{ cfg APSConfig }

// NewAPS returns Managed Prometheus' operations.
func NewAPS(cfg APSConfig) (Service, error) {
	if cfg.Region == "" || cfg.Workspaces == nil || cfg.Write == nil || cfg.Query == nil {
		return Service{}, errors.New("api: aps needs region, workspaces, write and query")
	}
	if cfg.MaxWriteBody == 0 {
		cfg.MaxWriteBody = 10 << 20
	}
	a := &aps{cfg}
	return Service{Name: ServiceAPS, Hosts: []string{"aps", "aps-workspaces"}, Routes: append(a.control(), a.data()...)}, nil
}

// control lists the operations on workspaces' records.
func (a *aps) control() []Route {
	route := func(name, method, path string, resource func(*Call) (string, error), h func(http.ResponseWriter, *Call) error) Route {
		return Route{Name: name, Method: method, Path: path, Action: "aps:" + name, Resource: resource, Conditions: a.conditions, Handle: h}
	}
	tagging := func(r Route) Route {
		r.Conditions = a.tagConditions
		return r
	}
	const one = "/workspaces/{workspaceId}"
	return []Route{
		tagging(route("CreateWorkspace", "POST", "/workspaces", a.all, a.createWorkspace)),
		route("ListWorkspaces", "GET", "/workspaces", a.all, a.listWorkspaces),
		route("DescribeWorkspace", "GET", one, a.one, a.describeWorkspace),
		route("DeleteWorkspace", "DELETE", one, a.one, a.deleteWorkspace),
		route("UpdateWorkspaceAlias", "POST", one+"/alias", a.one, a.updateAlias),
		tagging(route("TagResource", "POST", "/tags/{resourceArn...}", a.tagged, a.tag)),
		tagging(route("UntagResource", "DELETE", "/tags/{resourceArn...}", a.tagged, a.untag)),
		route("ListTagsForResource", "GET", "/tags/{resourceArn...}", a.tagged, a.listTags),
	}
}

// The resources that routes are about.

func (a *aps) all(c *Call) (string, error) {
	return workspace.ListARN(a.cfg.Region, c.Principal.AccountID), nil
}

func (a *aps) one(c *Call) (string, error) {
	return workspace.ARN(a.cfg.Region, c.Principal.AccountID, c.Params["workspaceId"]), nil
}

func (a *aps) tagged(c *Call) (string, error) {
	arn := c.Params["resourceArn"]
	region, _, id, ok := workspace.ParseARN(arn)
	if !ok || region != a.cfg.Region {
		return "", invalid(reasonField, "resourceArn", fmt.Sprintf("'%s' is not the ARN of a workspace in %s", arn, a.cfg.Region))
	}
	c.Params["workspaceId"] = id
	return arn, nil
}

type statusJSON struct {
	StatusCode workspace.Status `json:"statusCode"`
}

type workspaceJSON struct {
	WorkspaceID string            `json:"workspaceId"`
	ARN         string            `json:"arn"`
	Alias       string            `json:"alias,omitempty"`
	Status      statusJSON        `json:"status"`
	CreatedAt   json.RawMessage   `json:"createdAt,omitempty"`
	Tags        map[string]string `json:"tags"`
	Endpoint    string            `json:"prometheusEndpoint,omitempty"`
}

// summary writes a workspace as lists have it. Times are seconds, with the
// milliseconds as fraction.
func summary(w *workspace.Workspace) workspaceJSON {
	seconds := strconv.FormatFloat(float64(w.CreatedAt.UnixMilli())/1000, 'f', 3, 64)
	return workspaceJSON{WorkspaceID: w.ID, ARN: w.ARN(), Alias: w.Alias, Status: statusJSON{w.Status},
		CreatedAt: json.RawMessage(seconds), Tags: w.Tags}
}

// decodeBody reads a JSON body; an empty one has no members.
func decodeBody(c *Call, into any) error {
	err := json.NewDecoder(c.Request.Body).Decode(into)
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return bodyError(err)
}

func bodyError(err error) error {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return invalid(reasonCannotParse, typ.Field, fmt.Sprintf("member '%s' must be a %s, found %s", typ.Field, typ.Type, typ.Value))
	}
	return invalid(reasonCannotParse, "", "the body is not valid JSON: "+err.Error())
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
	if in.KMSKeyARN != "" {
		// Better refused than accepted and not done.
		return invalid(reasonField, "kmsKeyArn", "encryption of a workspace with a customer managed key is not supported")
	}
	ws, err := a.cfg.Workspaces.Create(c.Request.Context(), c.Principal.AccountID,
		workspace.CreateInput{Alias: in.Alias, Tags: in.Tags, ClientToken: in.ClientToken})
	if err != nil {
		return err
	}
	out := summary(ws)
	out.Alias, out.CreatedAt = "", nil
	writeJSON(w, http.StatusAccepted, out)
	return nil
}

func (a *aps) listWorkspaces(w http.ResponseWriter, c *Call) error {
	q := c.Request.URL.Query()
	in := workspace.ListInput{AliasPrefix: q.Get("alias"), NextToken: q.Get("nextToken")}
	if s := q.Get("maxResults"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n == 0 {
			return invalid(reasonField, "maxResults", "must be a number between 1 and 1000")
		}
		in.MaxResults = n
	}
	list, next, err := a.cfg.Workspaces.List(c.Request.Context(), c.Principal.AccountID, in)
	if err != nil {
		return err
	}
	out := struct {
		Workspaces []workspaceJSON `json:"workspaces"`
		NextToken  string          `json:"nextToken,omitempty"`
	}{Workspaces: make([]workspaceJSON, 0, len(list)), NextToken: next}
	for _, ws := range list {
		out.Workspaces = append(out.Workspaces, summary(ws))
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (a *aps) describeWorkspace(w http.ResponseWriter, c *Call) error {
	ws, err := a.get(c)
	if err != nil {
		return err
	}
	out := summary(ws)
	out.Endpoint = a.endpoint(c.Request, ws.ID)
	writeJSON(w, http.StatusOK, map[string]workspaceJSON{"workspace": out})
	return nil
}

func (a *aps) get(c *Call) (*workspace.Workspace, error) {
	return a.cfg.Workspaces.Get(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"])
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
	err := a.cfg.Workspaces.Delete(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], c.Request.URL.Query().Get("clientToken"))
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

func (a *aps) tag(w http.ResponseWriter, c *Call) error {
	var in struct {
		Tags map[string]string `json:"tags"`
	}
	if err := decodeBody(c, &in); err != nil {
		return err
	}
	if in.Tags == nil {
		return invalid(reasonField, "tags", "is required")
	}
	err := a.cfg.Workspaces.Tag(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], in.Tags)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct{}{})
	return nil
}

func (a *aps) untag(w http.ResponseWriter, c *Call) error {
	keys := c.Request.URL.Query()["tagKeys"]
	if len(keys) == 0 {
		return invalid(reasonField, "tagKeys", "is required")
	}
	err := a.cfg.Workspaces.Untag(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], keys)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct{}{})
	return nil
}

func (a *aps) listTags(w http.ResponseWriter, c *Call) error {
	ws, err := a.get(c)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]map[string]string{"tags": ws.Tags})
	return nil
}
