package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/mangru/mangru/internal/server/workspace"
)

// RuleNamespaces keeps the rule groups namespaces of workspaces, and evaluates
// what is in them. The workspaces exist and are the caller's; those on their way
// out are a conflict to changes. The errors are package workspace's:
// NotFoundError, ConflictError, QuotaError, InvalidError. What is wrong with the
// rules may as well show as a failed state. A client token that was used before
// with the same input changes nothing.
type RuleNamespaces interface {
	// Create makes a namespace; Name, Data and Tags of in are looked at.
	Create(ctx context.Context, ws *workspace.Workspace, in workspace.Definition, clientToken string) (*workspace.Definition, error)
	// Put replaces the data of a namespace that there is.
	Put(ctx context.Context, ws *workspace.Workspace, name string, data []byte, clientToken string) (*workspace.Definition, error)
	Describe(ctx context.Context, ws *workspace.Workspace, name string) (*workspace.Definition, error)
	// List returns a page of those whose names begin with prefix, and the token
	// of the next page.
	List(ctx context.Context, ws *workspace.Workspace, prefix string, maxResults int, nextToken string) ([]*workspace.Definition, string, error)
	// Delete begins to take a namespace away.
	Delete(ctx context.Context, ws *workspace.Workspace, name, clientToken string) error
	Tag(ctx context.Context, ws *workspace.Workspace, name string, tags map[string]string) error
	Untag(ctx context.Context, ws *workspace.Workspace, name string, keys []string) error
}

// AlertManagers keeps the alert manager definitions of workspaces, and acts by
// them. What is said of RuleNamespaces holds here too.
type AlertManagers interface {
	// Create makes the definition of a workspace that has none.
	Create(ctx context.Context, ws *workspace.Workspace, data []byte, clientToken string) (*workspace.Definition, error)
	// Put replaces the definition that there is.
	Put(ctx context.Context, ws *workspace.Workspace, data []byte, clientToken string) (*workspace.Definition, error)
	Describe(ctx context.Context, ws *workspace.Workspace) (*workspace.Definition, error)
	// Delete begins to take the definition away.
	Delete(ctx context.Context, ws *workspace.Workspace, clientToken string) error
}

// RulerHandler serves the configuration API of rulers on one workspace.
// Namespace and group are decoded; "" is none.
type RulerHandler func(w http.ResponseWriter, r *http.Request, ws *workspace.Workspace, namespace, group string) error

// maxDefinition bounds a definition in bytes, as AWS does, and
// maxDefinitionBody a request with one: base64 makes it larger.
const (
	maxDefinition     = 1 << 20
	maxDefinitionBody = 2 << 20
)

func (a *aps) ruleNamespaces() []Route {
	if a.cfg.RuleNamespaces == nil {
		return nil
	}
	const list = pathWorkspace + "/rulegroupsnamespaces"
	const one = list + "/{namespace}"
	large := func(r Route) Route {
		r.MaxBody = maxDefinitionBody
		return r
	}
	create := large(a.tagging(a.route("CreateRuleGroupsNamespace", "POST", list, a.newNamespace, a.createNamespace)))
	return []Route{
		create,
		large(a.route("PutRuleGroupsNamespace", "PUT", one, a.namespace, a.putNamespace)),
		a.route("DescribeRuleGroupsNamespace", "GET", one, a.namespace, a.describeNamespace),
		a.route("ListRuleGroupsNamespaces", "GET", list, a.one, a.listNamespaces),
		a.route("DeleteRuleGroupsNamespace", "DELETE", one, a.namespace, a.deleteNamespace),
	}
}

func (a *aps) alertManagers() []Route {
	if a.cfg.AlertManagers == nil {
		return nil
	}
	const path = pathWorkspace + "/alertmanager/definition"
	set := func(name, method string, do definitionFunc) Route {
		r := a.route(name, method, path, a.one, func(w http.ResponseWriter, c *Call) error { return a.setDefinition(w, c, do) })
		r.MaxBody = maxDefinitionBody
		return r
	}
	return []Route{
		set("CreateAlertManagerDefinition", "POST", a.cfg.AlertManagers.Create),
		set("PutAlertManagerDefinition", "PUT", a.cfg.AlertManagers.Put),
		a.route("DescribeAlertManagerDefinition", "GET", path, a.one, a.describeDefinition),
		a.route("DeleteAlertManagerDefinition", "DELETE", path, a.one, a.deleteDefinition),
	}
}

type definitionFunc = func(context.Context, *workspace.Workspace, []byte, string) (*workspace.Definition, error)

func (a *aps) namespace(c *Call) (string, error) {
	return workspace.RuleNamespaceARN(a.cfg.Region, c.Principal.AccountID, c.Params["workspaceId"], c.Params["namespace"]), nil
}

// newNamespace names the namespace that a call is to make.
func (a *aps) newNamespace(c *Call) (string, error) {
	var in struct {
		Name string `json:"name"`
	}
	if err := decodeBody(c, &in); err != nil {
		return "", err // what cannot be read cannot be judged
	}
	return workspace.RuleNamespaceARN(a.cfg.Region, c.Principal.AccountID, c.Params["workspaceId"], in.Name), nil
}

// owned returns the workspace that a call is about, if it is the caller's
// account's. It was looked up for the conditions of this very call.
func (a *aps) owned(c *Call) (*workspace.Workspace, error) {
	if c.workspace == nil {
		return nil, workspace.ErrNotFound
	}
	return c.workspace, nil
}

// of says in errors what kind of thing they are about, where those who keep it
// have said nothing.
func of(kind string, ws *workspace.Workspace, err error) error {
	var conflict *workspace.ConflictError
	var quota *workspace.QuotaError
	switch {
	case errors.As(err, &conflict) && conflict.Type == "" && conflict.ID != ws.ID:
		return &workspace.ConflictError{Type: kind, ID: conflict.ID, Message: conflict.Message}
	case errors.As(err, &quota) && quota.Type == "":
		return &workspace.QuotaError{Type: kind, ID: cmp.Or(quota.ID, ws.ID), Code: quota.Code, Message: quota.Message}
	}
	return err
}

type namespaceJSON struct {
	ARN        string            `json:"arn"`
	CreatedAt  seconds           `json:"createdAt,omitempty"`
	Data       []byte            `json:"data,omitempty"`
	ModifiedAt seconds           `json:"modifiedAt,omitempty"`
	Name       string            `json:"name"`
	Status     statusJSON        `json:"status"`
	Tags       map[string]string `json:"tags"`
}

// namespaceOf writes a namespace as answers to changes have it.
func namespaceOf(ws *workspace.Workspace, d *workspace.Definition) namespaceJSON {
	out := namespaceJSON{ARN: workspace.RuleNamespaceARN(ws.Region, ws.AccountID, ws.ID, d.Name),
		Name: d.Name, Status: statusJSON{d.Status, d.StatusReason}, Tags: d.Tags}
	if out.Tags == nil {
		out.Tags = map[string]string{}
	}
	return out
}

// checkData refuses a definition that is missing or too large.
func checkData(bad *fields, data []byte) {
	bad.require("data", len(data) > 0)
	if len(data) > maxDefinition {
		bad.add("data", fmt.Sprintf("%d bytes, allowed are %d", len(data), maxDefinition))
	}
}

func (a *aps) createNamespace(w http.ResponseWriter, c *Call) error {
	var in struct {
		ClientToken string            `json:"clientToken"`
		Data        []byte            `json:"data"`
		Name        string            `json:"name"`
		Tags        map[string]string `json:"tags"`
	}
	if err := decodeBody(c, &in); err != nil {
		return err
	}
	var bad fields
	checkData(&bad, in.Data)
	if !workspace.ValidNamespace(in.Name) {
		bad.add("name", "allowed are 1 to 128 characters without controls, a letter or digit among them")
	}
	if err := bad.err(); err != nil {
		return err
	}
	ws, err := a.owned(c)
	if err != nil {
		return err
	}
	d, err := a.cfg.RuleNamespaces.Create(c.Request.Context(), ws, workspace.Definition{Name: in.Name, Data: in.Data, Tags: in.Tags}, in.ClientToken)
	if err != nil {
		return of(workspace.TypeRuleNamespace, ws, err)
	}
	WriteJSON(w, http.StatusAccepted, namespaceOf(ws, d))
	return nil
}

func (a *aps) putNamespace(w http.ResponseWriter, c *Call) error {
	var in struct {
		ClientToken string `json:"clientToken"`
		Data        []byte `json:"data"`
	}
	if err := decodeBody(c, &in); err != nil {
		return err
	}
	var bad fields
	checkData(&bad, in.Data)
	if err := bad.err(); err != nil {
		return err
	}
	ws, err := a.owned(c)
	if err != nil {
		return err
	}
	d, err := a.cfg.RuleNamespaces.Put(c.Request.Context(), ws, c.Params["namespace"], in.Data, in.ClientToken)
	if err != nil {
		return of(workspace.TypeRuleNamespace, ws, err)
	}
	WriteJSON(w, http.StatusAccepted, namespaceOf(ws, d))
	return nil
}

func (a *aps) describeNamespace(w http.ResponseWriter, c *Call) error {
	ws, err := a.owned(c)
	if err != nil {
		return err
	}
	d, err := a.cfg.RuleNamespaces.Describe(c.Request.Context(), ws, c.Params["namespace"])
	if err != nil {
		return err
	}
	out := namespaceOf(ws, d)
	out.CreatedAt, out.ModifiedAt, out.Data = secondsOf(d.CreatedAt), secondsOf(d.ModifiedAt), d.Data
	WriteJSON(w, http.StatusOK, map[string]namespaceJSON{"ruleGroupsNamespace": out})
	return nil
}

func (a *aps) listNamespaces(w http.ResponseWriter, c *Call) error {
	ws, err := a.owned(c)
	if err != nil {
		return err
	}
	q := c.Request.URL.Query()
	most, err := maxResults(q)
	if err != nil {
		return err
	}
	list, next, err := a.cfg.RuleNamespaces.List(c.Request.Context(), ws, q.Get("name"), most, q.Get("nextToken"))
	if err != nil {
		return err
	}
	out := struct {
		NextToken  string          `json:"nextToken,omitempty"`
		Namespaces []namespaceJSON `json:"ruleGroupsNamespaces"`
	}{next, make([]namespaceJSON, 0, len(list))}
	for _, d := range list {
		n := namespaceOf(ws, d)
		n.CreatedAt, n.ModifiedAt = secondsOf(d.CreatedAt), secondsOf(d.ModifiedAt)
		out.Namespaces = append(out.Namespaces, n)
	}
	WriteJSON(w, http.StatusOK, out)
	return nil
}

func (a *aps) deleteNamespace(w http.ResponseWriter, c *Call) error {
	ws, err := a.owned(c)
	if err != nil {
		return err
	}
	if err := a.cfg.RuleNamespaces.Delete(c.Request.Context(), ws, c.Params["namespace"], queryToken(c)); err != nil {
		return of(workspace.TypeRuleNamespace, ws, err)
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (a *aps) setDefinition(w http.ResponseWriter, c *Call, do definitionFunc) error {
	var in struct {
		ClientToken string `json:"clientToken"`
		Data        []byte `json:"data"`
	}
	if err := decodeBody(c, &in); err != nil {
		return err
	}
	var bad fields
	checkData(&bad, in.Data)
	if err := bad.err(); err != nil {
		return err
	}
	ws, err := a.owned(c)
	if err != nil {
		return err
	}
	d, err := do(c.Request.Context(), ws, in.Data, in.ClientToken)
	if err != nil {
		return of(workspace.TypeAlertDefinition, ws, err)
	}
	writeStatus(w, statusJSON{d.Status, d.StatusReason})
	return nil
}

func (a *aps) describeDefinition(w http.ResponseWriter, c *Call) error {
	ws, err := a.owned(c)
	if err != nil {
		return err
	}
	d, err := a.cfg.AlertManagers.Describe(c.Request.Context(), ws)
	if err != nil {
		return err
	}
	WriteJSON(w, http.StatusOK, map[string]any{"alertManagerDefinition": struct {
		CreatedAt  seconds    `json:"createdAt"`
		Data       []byte     `json:"data"`
		ModifiedAt seconds    `json:"modifiedAt"`
		Status     statusJSON `json:"status"`
	}{secondsOf(d.CreatedAt), d.Data, secondsOf(d.ModifiedAt), statusJSON{d.Status, d.StatusReason}}})
	return nil
}

func (a *aps) deleteDefinition(w http.ResponseWriter, c *Call) error {
	ws, err := a.owned(c)
	if err != nil {
		return err
	}
	if err := a.cfg.AlertManagers.Delete(c.Request.Context(), ws, queryToken(c)); err != nil {
		return of(workspace.TypeAlertDefinition, ws, err)
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}
