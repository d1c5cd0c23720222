package grafanaapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/mangru/mangru/internal/dashboard/records"
)

func sourceRoutes() []route {
	routes := []route{
		{"GET /api/datasources", viewers, (*api).listSources},
		{"POST /api/datasources", admins, (*api).createSource},
		{"GET /api/datasources/uid/{uid}", viewers, (*api).getSource},
		{"PUT /api/datasources/uid/{uid}", admins, (*api).updateSource},
		{"DELETE /api/datasources/uid/{uid}", admins, (*api).deleteSource},
		{"GET /api/datasources/name/{name}", viewers, (*api).getSource},
		{"DELETE /api/datasources/name/{name}", admins, (*api).deleteSource},
		{"GET /api/datasources/id/{name}", viewers, (*api).sourceID},
		{"GET /api/datasources/{id}", viewers, (*api).getSource},
		{"PUT /api/datasources/{id}", admins, (*api).updateSource},
		{"DELETE /api/datasources/{id}", admins, (*api).deleteSource},
		{"GET /api/datasources/uid/{uid}/health", viewers, (*api).checkSource},
		{"GET /api/datasources/{id}/health", viewers, (*api).checkSource},
		{"GET /api/datasources/correlations", viewers, func(*api, *call) (any, error) {
			return map[string]any{"correlations": []any{}, "totalCount": 0, "page": 1, "limit": 100}, nil
		}},
		{"POST /api/ds/query", viewers, (*api).queryFrames},
	}
	for _, method := range []string{"GET", "POST"} {
		for _, path := range []string{
			"/api/datasources/proxy/uid/{uid}/{path...}", "/api/datasources/proxy/{id}/{path...}",
			"/api/datasources/uid/{uid}/resources/{path...}", "/api/datasources/{id}/resources/{path...}",
		} {
			routes = append(routes, route{method + " " + path, viewers, (*api).proxySource})
		}
	}
	for _, method := range []string{"PUT", "DELETE"} {
		routes = append(routes, route{method + " /api/datasources/proxy/uid/{uid}/{path...}", editors, (*api).proxySource})
	}
	return routes
}

// sourceBody is a data source as its page shows it. Who may not administer sees
// no address of it.
func sourceBody(c *call, d *records.DataSource) map[string]any {
	out := map[string]any{
		"id": d.ID, "uid": d.UID, "orgId": OrgID, "name": d.Name, "type": d.Type, "typeLogoUrl": "public/app/plugins/datasource/" + d.Type + "/img/logo.svg",
		"access": d.Access, "url": d.URL, "user": d.UserName, "database": d.DatabaseName, "basicAuth": d.BasicAuth, "basicAuthUser": d.BasicAuthUser,
		"withCredentials": d.WithCredentials, "isDefault": d.IsDefault, "jsonData": d.JSONData, "secureJsonFields": d.SecureFields(),
		"version": d.Version, "readOnly": d.ProvisionedBy != "", "apiVersion": "",
	}
	if !mayCall(c.caller.Role, admins) {
		out["url"], out["user"], out["basicAuthUser"], out["database"] = "", "", "", ""
		out["jsonData"], out["secureJsonFields"] = publicJSONData(d), map[string]bool{}
	}
	return out
}

// publicJSONData is what of jsonData queries are planned with.
func publicJSONData(d *records.DataSource) map[string]any {
	out := map[string]any{}
	for _, k := range []string{"timeInterval", "queryTimeout", "httpMethod", "prometheusType", "prometheusVersion", "manageAlerts", "implementation", "alertmanagerUid"} {
		if v, ok := d.JSONData[k]; ok {
			out[k] = v
		}
	}
	return out
}

func (a *api) listSources(c *call) (any, error) {
	list, err := a.Store.DataSources(c.Context(), c.ws)
	if err != nil {
		return nil, err
	}
	out := make([]map[string]any, 0, len(list))
	for _, d := range list {
		body := sourceBody(c, d)
		body["typeName"] = typeName(d.Type)
		delete(body, "secureJsonFields")
		delete(body, "version")
		delete(body, "withCredentials")
		delete(body, "basicAuthUser")
		out = append(out, body)
	}
	return out, nil
}

func typeName(t string) string {
	switch t {
	case "prometheus":
		return "Prometheus"
	case "grafana-amazonprometheus-datasource":
		return "Amazon Managed Service for Prometheus"
	case "alertmanager":
		return "Alertmanager"
	default:
		return t
	}
}

// source finds the data source of a path, by uid, name or number.
func (a *api) source(c *call) (*records.DataSource, error) {
	if uid := c.PathValue("uid"); uid != "" {
		return a.Store.DataSource(c.Context(), c.ws, uid)
	}
	if name := c.PathValue("name"); name != "" {
		return a.Store.DataSourceNamed(c.Context(), c.ws, name)
	}
	return a.Store.DataSourceByID(c.Context(), c.ws, c.PathValue("id"))
}

func (a *api) getSource(c *call) (any, error) {
	d, err := a.source(c)
	if err != nil {
		return nil, err
	}
	return sourceBody(c, d), nil
}

func (a *api) sourceID(c *call) (any, error) {
	d, err := a.source(c)
	if err != nil {
		return nil, err
	}
	return map[string]any{"id": d.ID}, nil
}

// sourceCommand is a data source as clients send it.
type sourceCommand struct {
	UID             string            `json:"uid"`
	Name            string            `json:"name"`
	Type            string            `json:"type"`
	Access          string            `json:"access"`
	URL             string            `json:"url"`
	User            string            `json:"user"`
	Database        string            `json:"database"`
	BasicAuth       bool              `json:"basicAuth"`
	BasicAuthUser   string            `json:"basicAuthUser"`
	WithCredentials bool              `json:"withCredentials"`
	IsDefault       bool              `json:"isDefault"`
	JSONData        map[string]any    `json:"jsonData"`
	SecureJSONData  map[string]string `json:"secureJsonData"`
	Version         int64             `json:"version"`
}

func (in *sourceCommand) check() error {
	in.Name = strings.TrimSpace(in.Name)
	if in.Name == "" || in.Type == "" {
		return fail(http.StatusBadRequest, "bad request data: the fields name and type are needed")
	}
	if len(in.Name) > 190 {
		return fail(http.StatusBadRequest, "Datasource name invalid, max length is 190 characters")
	}
	if in.Access == "" {
		in.Access = "proxy"
	}
	if in.URL != "" {
		u, err := url.Parse(in.URL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return fail(http.StatusBadRequest, "Validation error, invalid URL: "+in.URL+": allowed are addresses that begin with http:// or https://")
		}
		if u.RawQuery != "" || u.Fragment != "" {
			return fail(http.StatusBadRequest, "Validation error, invalid URL: "+in.URL+": a data source's URL ends with its path")
		}
		if u.User != nil {
			return fail(http.StatusBadRequest, "Validation error, invalid URL: user and password belong into the fields for them, not into the URL")
		}
	}
	for k := range in.JSONData {
		if strings.HasPrefix(k, "httpHeaderName") {
			if name, _ := in.JSONData[k].(string); strings.EqualFold(name, "X-Grafana-Org-Id") || strings.EqualFold(name, "Host") {
				return fail(http.StatusBadRequest, "Validation error, this header can't be set: "+name)
			}
		}
	}
	return nil
}

func (in *sourceCommand) record(ws string) *records.DataSource {
	return &records.DataSource{
		WorkspaceID: ws, UID: in.UID, Name: in.Name, Type: in.Type, URL: in.URL, Access: in.Access, IsDefault: in.IsDefault, BasicAuth: in.BasicAuth,
		BasicAuthUser: in.BasicAuthUser, WithCredentials: in.WithCredentials, DatabaseName: in.Database, UserName: in.User, JSONData: in.JSONData,
	}
}

func (a *api) createSource(c *call) (any, error) {
	var in sourceCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	d := in.record(c.ws)
	if err := a.Store.CreateDataSource(c.Context(), d, in.SecureJSONData); err != nil {
		return nil, err
	}
	return map[string]any{"id": d.ID, "message": "Datasource added", "name": d.Name, "datasource": sourceBody(c, d)}, nil
}

func (a *api) updateSource(c *call) (any, error) {
	old, err := a.source(c)
	if err != nil {
		return nil, err
	}
	var in sourceCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	d := in.record(c.ws)
	d.ID = old.ID
	if d.UID != "" && d.UID != old.UID || path.Base(d.URL) != path.Base(old.URL) { // the last part names the workspace
		defer a.changing(c)()
		if err := a.noRulesOf(c, old); err != nil {
			return nil, err
		}
	}
	if err := a.Store.UpdateDataSource(c.Context(), d, in.SecureJSONData, in.Version, ""); err != nil {
		return nil, err
	}
	return map[string]any{"id": d.ID, "message": "Datasource updated", "name": d.Name, "datasource": sourceBody(c, d)}, nil
}

// noRulesOf refuses what would leave alert rules behind in a workspace that no data
// source leads to.
func (a *api) noRulesOf(c *call, d *records.DataSource) error {
	rules, err := a.rulesWhere(c.Context(), c.ws, func(r *ruleRecord) bool { return r.Source == d.UID })
	if err == nil && len(rules) > 0 {
		err = fail(http.StatusConflict, fmt.Sprintf("%d alert rules are evaluated by the workspace of this data source, such as %q: delete them first", len(rules), rules[0].Rule.Title))
	}
	return err
}

func (a *api) deleteSource(c *call) (any, error) {
	d, err := a.source(c)
	if err != nil {
		return nil, err
	}
	if d.ProvisionedBy != "" {
		return nil, fail(http.StatusForbidden, "Cannot delete read-only data source")
	}
	defer a.changing(c)()
	if err := a.noRulesOf(c, d); err != nil {
		return nil, err
	}
	if err := a.Store.DeleteDataSource(c.Context(), c.ws, d.UID, ""); err != nil {
		return nil, err
	}
	return map[string]any{"message": "Data source deleted", "id": d.ID}, nil
}

// checkSource is "Save & test".
func (a *api) checkSource(c *call) (any, error) {
	d, err := a.source(c)
	if err != nil {
		return nil, err
	}
	text, err := a.Sources.Check(c.Context(), d)
	if err != nil {
		out := map[string]any{"status": "ERROR", "message": err.Error()}
		var known interface{ Advice() string }
		if errors.As(err, &known) {
			out["details"] = map[string]string{"advice": known.Advice()}
		}
		return reply{http.StatusBadRequest, out}, nil
	}
	return map[string]any{"status": "OK", "message": text, "details": map[string]any{}}, nil
}

func (a *api) proxySource(c *call) (any, error) {
	d, err := a.source(c)
	if err != nil {
		return nil, err
	}
	if c.Method != http.MethodGet && strings.Contains(c.PathValue("path"), "api/v2/") && !mayCall(c.caller.Role, editors) {
		return nil, denied("alert.silences:write")
	}
	// The path goes on as the caller escaped it.
	a.Sources.Proxy(c.w, c.Request, d, c.PathValue("path"))
	return answered{}, nil
}

// frontendSettings is what Grafana's own page asks for at its start.
func (a *api) frontendSettings(c *call) (any, error) {
	list, err := a.Store.DataSources(c.Context(), c.ws)
	if err != nil {
		return nil, err
	}
	all, def := map[string]any{}, ""
	for _, d := range list {
		body := sourceBody(c, d)
		delete(body, "secureJsonFields")
		all[d.Name] = body
		if d.IsDefault {
			def = d.Name
		}
	}
	return map[string]any{
		"buildInfo":   map[string]any{"version": a.Version, "edition": "Open Source", "env": "production", "commit": "", "hasUpdate": false},
		"datasources": all, "defaultDatasource": def, "panels": map[string]any{}, "appSubUrl": "", "appUrl": "/", "autoAssignOrg": true,
		"featureToggles": map[string]bool{"nestedFolders": true}, "unifiedAlertingEnabled": true, "anonymousEnabled": false, "rbacEnabled": true,
	}, nil
}

// jsonText is v as JSON; what is marshalled here always can be.
func jsonText(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic("BUG: not JSON: " + err.Error())
	}
	return text
}
