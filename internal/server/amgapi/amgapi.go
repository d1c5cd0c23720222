// Package amgapi serves the API of Amazon Managed Grafana (`aws grafana`):
// dashboard workspaces, who may enter them as what, their authentication,
// configuration, service accounts, keys and tags.
// https://docs.aws.amazon.com/grafana/latest/APIReference/
package amgapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/records"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
	"github.com/mangru/mangru/internal/server/api"
)

// Service is the signing name.
const Service = "grafana"

// passTo is the service that a workspace's role is handed to.
const passTo = "grafana.amazonaws.com"

// Passer says whether a caller may hand a role to a service (iam:PassRole); it
// is what *iam.Service does. A nil error is the only yes.
type Passer interface {
	PassRole(ctx context.Context, r iam.Request, roleARN, service string) error
}

// Accounts keeps service accounts and their tokens; it is what *records.Store
// does. ws is a workspace's key.
type Accounts interface {
	ServiceAccounts(ctx context.Context, ws string) ([]*records.ServiceAccount, error)
	ServiceAccount(ctx context.Context, ws string, id int64) (*records.ServiceAccount, error)
	CreateServiceAccount(ctx context.Context, ws, name string, role caller.Role, disabled bool) (*records.ServiceAccount, error)
	DeleteServiceAccount(ctx context.Context, ws string, id int64) error
	Tokens(ctx context.Context, ws string, account int64) ([]*records.Token, error)
	CreateToken(ctx context.Context, ws string, account int64, name string, expires int64) (*records.Token, string, error)
	DeleteToken(ctx context.Context, ws string, account, id int64) error
}

// Config of the service.
type Config struct {
	Region     string
	Workspaces *workspaces.Service
	Accounts   Accounts
	Roles      Passer
	// Endpoint returns where a workspace's pages are, without a scheme, as the
	// API has it.
	Endpoint func(*workspaces.Workspace) string
}

type amg struct{ Config }

// New returns the operations of Amazon Managed Grafana.
func New(cfg Config) (api.Service, error) {
	if cfg.Region == "" || cfg.Workspaces == nil || cfg.Accounts == nil || cfg.Roles == nil || cfg.Endpoint == nil {
		return api.Service{}, errors.New("amgapi: every member of the configuration is required")
	}
	a := &amg{cfg}
	return api.Service{Name: Service, Hosts: []string{"grafana"}, Routes: a.routes()}, nil
}

func (a *amg) routes() []api.Route {
	route := func(name, method, path string, resource func(*api.Call) (string, error), h func(*api.Call) (int, any, error)) api.Route {
		return api.Route{Name: name, Method: method, Path: path, Action: Service + ":" + name, Resource: resource, Conditions: a.conditions,
			Handle: func(w http.ResponseWriter, c *api.Call) error {
				status, out, err := h(c)
				if err != nil {
					return toError(err, c.Params["workspaceId"])
				}
				api.WriteJSON(w, status, out)
				return nil
			}}
	}
	const (
		all      = "/workspaces"
		one      = all + "/{workspaceId}"
		accounts = one + "/serviceaccounts"
		tokens   = accounts + "/{serviceAccountId}/tokens"
		tags     = "/tags/{resourceArn...}"
		license  = one + "/licenses/{licenseType}"
	)
	return []api.Route{
		route("CreateWorkspace", "POST", all, a.list, a.createWorkspace),
		route("ListWorkspaces", "GET", all, a.list, a.listWorkspaces),
		route("DescribeWorkspace", "GET", one, a.named, a.describeWorkspace),
		route("UpdateWorkspace", "PUT", one, a.named, a.updateWorkspace),
		route("DeleteWorkspace", "DELETE", one, a.named, a.deleteWorkspace),
		route("UpdatePermissions", "PATCH", one+"/permissions", a.named, a.updatePermissions),
		route("ListPermissions", "GET", one+"/permissions", a.named, a.listPermissions),
		route("DescribeWorkspaceAuthentication", "GET", one+"/authentication", a.named, a.describeAuthentication),
		route("UpdateWorkspaceAuthentication", "POST", one+"/authentication", a.named, a.updateAuthentication),
		route("DescribeWorkspaceConfiguration", "GET", one+"/configuration", a.named, a.describeConfiguration),
		route("UpdateWorkspaceConfiguration", "PUT", one+"/configuration", a.named, a.updateConfiguration),
		route("CreateWorkspaceServiceAccount", "POST", accounts, a.named, a.createAccount),
		route("ListWorkspaceServiceAccounts", "GET", accounts, a.named, a.listAccounts),
		route("DeleteWorkspaceServiceAccount", "DELETE", accounts+"/{serviceAccountId}", a.named, a.deleteAccount),
		route("CreateWorkspaceServiceAccountToken", "POST", tokens, a.named, a.createToken),
		route("ListWorkspaceServiceAccountTokens", "GET", tokens, a.named, a.listTokens),
		route("DeleteWorkspaceServiceAccountToken", "DELETE", tokens+"/{tokenId}", a.named, a.deleteToken),
		route("CreateWorkspaceApiKey", "POST", one+"/apikeys", a.named, a.createKey),
		route("DeleteWorkspaceApiKey", "DELETE", one+"/apikeys/{keyName}", a.named, a.deleteKey),
		route("ListVersions", "GET", "/versions", a.versioned, a.listVersions),
		route("AssociateLicense", "POST", license, a.named, a.license),
		route("DisassociateLicense", "DELETE", license, a.named, a.license),
		route("TagResource", "POST", tags, a.tagged, a.tag),
		route("UntagResource", "DELETE", tags, a.tagged, a.untag),
		route("ListTagsForResource", "GET", tags, a.tagged, a.listTags),
	}
}

// The resources that routes are about.

func (a *amg) list(c *api.Call) (string, error) {
	return "arn:aws:grafana:" + a.Region + ":" + c.Principal.AccountID + ":/workspaces", nil
}

func (a *amg) named(c *api.Call) (string, error) {
	return workspaces.ARN(a.Region, c.Principal.AccountID, c.Params["workspaceId"]), nil
}

// versioned is about the workspace that is asked about, if any.
func (a *amg) versioned(c *api.Call) (string, error) {
	id := versionsOf(c)
	if id == "" {
		return a.list(c)
	}
	c.Params = map[string]string{"workspaceId": id}
	return a.named(c)
}

// versionsOf is the workspace of ListVersions, whose parameter has a hyphen.
func versionsOf(c *api.Call) string { return c.Request.URL.Query().Get("workspace-id") }

// tagged sets the parameter workspaceId from the ARN. An ARN of another account
// is none of the caller's, whatever their policies say.
func (a *amg) tagged(c *api.Call) (string, error) {
	arn := c.Params["resourceArn"]
	region, account, id, ok := workspaces.ParseARN(arn)
	if !ok || region != a.Region {
		return "", invalid("resourceArn", fmt.Sprintf("'%.300s' is not the ARN of a dashboard workspace in %s", arn, a.Region))
	}
	if account != c.Principal.AccountID {
		return "", &iam.DeniedError{Principal: c.Principal.ARN, Action: Service + ":TagResource", Resource: arn, Why: "no resource-based policy allows it"}
	}
	c.Params["workspaceId"] = id
	return arn, nil
}

// conditions gives the tags that a request brings or takes away, and those that
// its workspace has.
func (a *amg) conditions(c *api.Call) (map[string][]string, error) {
	keys := make(map[string][]string)
	var in struct {
		Tags map[string]string `json:"tags"`
	}
	if c.Request.Method == http.MethodPost {
		// What is wrong with a body is for the operation to say.
		if b, err := c.Body(); err == nil && json.Unmarshal(b, &in) == nil {
			iam.AddTagKeys(keys, "aws:requesttag/", in.Tags)
			for name := range in.Tags {
				keys["aws:tagkeys"] = append(keys["aws:tagkeys"], name)
			}
		}
	}
	if names := c.Request.URL.Query()["tagKeys"]; len(names) > 0 {
		keys["aws:tagkeys"] = names
	}
	id := c.Params["workspaceId"]
	if id == "" {
		return keys, nil
	}
	w, err := a.Workspaces.Get(c.Request.Context(), c.Principal.AccountID, id)
	if errors.Is(err, workspaces.ErrNotFound) {
		return keys, nil
	}
	if err != nil {
		return nil, err
	}
	iam.AddTagKeys(keys, "aws:resourcetag/", w.Tags)
	return keys, nil
}

// workspace is the one that a call is about.
func (a *amg) workspace(c *api.Call) (*workspaces.Workspace, error) {
	return a.Workspaces.Get(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"])
}

// decode reads a JSON body, and says what is wrong with it as AMG does.
func decode(c *api.Call, into any) error {
	err := c.Decode(into)
	var bad *api.BodyError
	switch {
	case !errors.As(err, &bad):
		return err
	case bad.Member != "":
		return invalid(bad.Member, bad.Message)
	}
	e := invalid("", bad.Message)
	e.Extra["reason"] = "CANNOT_PARSE"
	return e
}

func invalid(field, message string) *api.Error {
	e := &api.Error{Status: http.StatusBadRequest, Code: "ValidationException", Message: message, Extra: map[string]any{"reason": "FIELD_VALIDATION_FAILED"}}
	if field != "" {
		e.Message = field + ": " + message
		e.Extra["fieldList"] = []map[string]string{{"name": field, "message": message}}
	}
	return e
}

func conflict(id, kind, message string) *api.Error {
	return &api.Error{Status: http.StatusConflict, Code: "ConflictException", Message: message, Extra: map[string]any{"resourceId": id, "resourceType": kind}}
}

func missing(id, kind string) *api.Error {
	return &api.Error{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: "The " + kind + " '" + id + "' does not exist.",
		Extra: map[string]any{"resourceId": id, "resourceType": kind}}
}

// The resource types in errors.
const (
	typeWorkspace = "workspace"
	typeAccount   = "serviceAccount"
	typeToken     = "serviceAccountToken"
	typeKey       = "apiKey"
)

// toError gives errors of the records AWS' codes. Others stay as they are.
func toError(err error, id string) error {
	var bad *workspaces.InvalidError
	var taken *workspaces.ConflictError
	var quota *workspaces.QuotaError
	switch {
	case errors.As(err, &bad):
		return invalid(bad.Field, bad.Message)
	case errors.As(err, &taken):
		return conflict(taken.ID, typeWorkspace, taken.Message)
	case errors.As(err, &quota):
		return &api.Error{Status: http.StatusPaymentRequired, Code: "ServiceQuotaExceededException", Message: quota.Message,
			Extra: map[string]any{"resourceId": "*", "resourceType": typeWorkspace, "serviceCode": Service, "quotaCode": "L-WORKSPACES"}}
	case errors.Is(err, workspaces.ErrNotFound):
		return missing(id, typeWorkspace)
	}
	return err
}

// seconds writes a time as AWS' JSON has it, the milliseconds as fraction.
func seconds(t time.Time) json.RawMessage {
	return json.RawMessage(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64))
}

func pageOf(c *api.Call) (workspaces.Page, error) {
	q := c.Request.URL.Query()
	p := workspaces.Page{After: q.Get("nextToken")}
	if text := q.Get("maxResults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100 {
			return p, invalid("maxResults", "found '"+strings.ToValidUTF8(text, "?")+"', allowed are 1 to 100")
		}
		p.Max = n
	}
	return p, nil
}
