package api

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/mangru/mangru/internal/server/workspace"
)

// dataRoute is an operation of the data plane below /workspaces/<id>. A resource
// policy can open it to others.
func (a *aps) dataRoute(name, action, method, path string, class rateClass, h handleFunc) Route {
	return Route{Name: name, Method: method, Path: pathWorkspace + path, Action: "aps:" + action, Resource: a.shared,
		Conditions: a.conditions, ResourcePolicy: a.resourcePolicy, Data: true, Handle: a.handle(class, h)}
}

// data lists the data plane. Paths that Managed Prometheus does not have take
// the permission of what they are closest to.
func (a *aps) data() []Route {
	const base = "/api/v1"
	var out []Route
	add := func(class rateClass, name, action, path string, methods ...string) {
		h := a.cfg.Query
		if name == "ListRules" || name == "ListAlerts" {
			h = a.cfg.RulesAPI
		}
		for _, m := range methods {
			out = append(out, a.dataRoute(name, action, m, base+path, class, a.query(h, path)))
		}
	}
	write := func(name, path string, h DataHandler) {
		r := a.dataRoute(name, "RemoteWrite", "POST", base+path, rateWrite, a.write(h))
		r.MaxBody, r.MaxBodyKnob = a.cfg.MaxWriteBody, "limits.max_request_size"
		out = append(out, r)
	}
	write("RemoteWrite", "/remote_write", a.cfg.Write)
	write("RemoteWrite", "/write", a.cfg.Write) // where Prometheus itself takes it, and promtool sends it
	add(rateQuery, "QueryMetrics", "QueryMetrics", "/query", "GET", "POST")
	add(rateQuery, "QueryMetrics", "QueryMetrics", "/query_range", "GET", "POST")
	add(rateSeries, "GetLabels", "GetLabels", "/labels", "GET", "POST")
	add(rateSeries, "GetLabels", "GetLabels", "/label/{name}/values", "GET")
	add(rateSeries, "GetSeries", "GetSeries", "/series", "GET", "POST")
	add(rateSeries, "GetMetricMetadata", "GetMetricMetadata", "/metadata", "GET")
	add(rateOther, "ListRules", "ListRules", "/rules", "GET")
	add(rateOther, "ListAlerts", "ListAlerts", "/alerts", "GET")
	// Beyond Managed Prometheus.
	if a.cfg.OTLP != nil {
		write("OTLPWrite", "/otlp/v1/metrics", a.cfg.OTLP)
	}
	add(rateQuery, "QueryExemplars", "QueryMetrics", "/query_exemplars", "GET", "POST")
	add(rateQuery, "RemoteRead", "QueryMetrics", "/read", "POST")
	add(rateOther, "FormatQuery", "QueryMetrics", "/format_query", "GET", "POST")
	add(rateOther, "ParseQuery", "QueryMetrics", "/parse_query", "GET", "POST")
	add(rateQuery, "Federate", "QueryMetrics", "/federate", "GET")
	for _, path := range []string{"/status/buildinfo", "/status/runtimeinfo", "/status/flags", "/status/config", "/status/walreplay", "/features",
		"/targets", "/scrape_pools", "/alertmanagers"} {
		add(rateOther, "BuildInfo", "QueryMetrics", path, "GET")
	}
	add(rateSeries, "GetMetricMetadata", "GetMetricMetadata", "/targets/metadata", "GET")
	add(rateSeries, "TSDBBlocks", "GetSeries", "/status/tsdb/blocks", "GET")
	add(rateSeries, "Cardinality", "GetSeries", "/cardinality", "GET", "POST")
	// Nothing of AWS' deletes samples: this takes a permission of its own.
	for _, path := range []string{"/admin/tsdb/delete_series", "/admin/tsdb/clean_tombstones"} {
		add(rateOther, "DeleteSeries", "DeleteSeries", path, "POST", "PUT")
	}
	add(rateSeries, "TSDBStatus", "GetSeries", "/status/tsdb", "GET")
	if a.cfg.Export != nil {
		r := a.dataRoute("ExportWorkspace", "ExportWorkspace", "GET", base+"/admin/tsdb/export", rateOther, a.write(a.cfg.Export))
		r.ResourcePolicy, r.Data = nil, false // the audit log has each of them
		out = append(out, r)
	}
	if a.cfg.Import != nil {
		r := a.dataRoute("ImportWorkspace", "ImportWorkspace", "POST", base+"/admin/tsdb/import", rateWrite, a.write(a.cfg.Import))
		r.ResourcePolicy, r.MaxBody, r.Data = nil, maxImportPiece, false
		out = append(out, r)
	}
	out = append(out, a.alertManagerAPI()...)
	return append(out, a.rulerAPI()...)
}

// maxImportPiece bounds a piece of an archive, in bytes.
const maxImportPiece = 8 << 20

// alertManagerAPI lists Alertmanager's API.
func (a *aps) alertManagerAPI() []Route {
	if a.cfg.AlertManagerAPI == nil {
		return nil
	}
	route := func(action, method, path string) Route {
		return a.dataRoute(action, action, method, "/alertmanager/api/v2"+path, rateOther, a.query(a.cfg.AlertManagerAPI, path))
	}
	return []Route{
		route("ListAlertManagerAlerts", "GET", "/alerts"),
		route("CreateAlertManagerAlerts", "POST", "/alerts"),
		route("ListAlertManagerAlertGroups", "GET", "/alerts/groups"),
		route("ListAlertManagerReceivers", "GET", "/receivers"),
		route("GetAlertManagerStatus", "GET", "/status"),
		route("ListAlertManagerSilences", "GET", "/silences"),
		route("PutAlertManagerSilences", "POST", "/silences"),
		route("GetAlertManagerSilence", "GET", "/silence/{silenceId}"),
		route("DeleteAlertManagerSilence", "DELETE", "/silence/{silenceId}"),
	}
}

// rulerAPI lists the configuration API of rulers, where Grafana looks for that
// of Mimir and for that of Cortex. What it does is what the operations on rule
// groups namespaces do, and it takes their permissions; no resource policy opens
// it.
func (a *aps) rulerAPI() []Route {
	if a.cfg.RulerAPI == nil {
		return nil
	}
	var out []Route
	for _, prefix := range []string{"/config/v1", ""} {
		route := func(action, method, path string, resource resourceFunc) {
			r := a.dataRoute("Ruler"+action, action, method, prefix+path, rateOther, a.ruler)
			r.Resource, r.ResourcePolicy, r.MaxBody = resource, nil, maxDefinitionBody
			out = append(out, r)
		}
		const all, one, group = "/rules", "/rules/{namespace}", "/rules/{namespace}/{group}"
		route("ListRuleGroupsNamespaces", "GET", all, a.one)
		route("DescribeRuleGroupsNamespace", "GET", one, a.namespace)
		route("DescribeRuleGroupsNamespace", "GET", group, a.namespace)
		route("PutRuleGroupsNamespace", "POST", one, a.namespace)
		route("PutRuleGroupsNamespace", "DELETE", group, a.namespace)
		route("DeleteRuleGroupsNamespace", "DELETE", one, a.namespace)
	}
	return out
}

// shared returns the workspace that a call is about, of whatever account, and
// keeps it. What is another account's and not shared with anybody is as if it
// were not there.
func (a *aps) shared(c *Call) (string, error) {
	e, err := a.cfg.Workspaces.Lookup(c.Request.Context(), c.Params["workspaceId"])
	switch {
	case errors.Is(err, workspace.ErrNotFound):
		return a.one(c)
	case err != nil:
		return "", err
	case e.AccountID != c.Principal.AccountID && e.Policy == "":
		return a.one(c)
	}
	c.workspace = &e.Workspace
	return e.ARN(), nil
}

// resourcePolicy returns the policy of the workspace that shared has found.
func (a *aps) resourcePolicy(c *Call) (string, error) {
	if c.workspace == nil {
		return "", nil
	}
	e, err := a.cfg.Workspaces.Lookup(c.Request.Context(), c.workspace.ID)
	if errors.Is(err, workspace.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return e.Policy, nil
}

// usable refuses a workspace that takes no data. The record was looked up for
// the authorisation of this very request.
func (a *aps) usable(c *Call) (*workspace.Workspace, error) {
	ws := c.workspace
	if ws == nil {
		return nil, notFound(c.Params["workspaceId"])
	}
	switch ws.Status {
	case workspace.StatusActive:
		return ws, nil
	case workspace.StatusCreating:
		return nil, &Error{Status: http.StatusServiceUnavailable, Code: codeUnavailable, Message: "The workspace is being created."}
	}
	return nil, notFound(ws.ID)
}

func (a *aps) write(h DataHandler) handleFunc {
	return func(w http.ResponseWriter, c *Call) error {
		ws, err := a.usable(c)
		if err != nil {
			return err
		}
		return h(w, c.Request, ws.ID)
	}
}

// query passes a call on with the variables of its path filled in.
func (a *aps) query(h QueryHandler, path string) handleFunc {
	return func(w http.ResponseWriter, c *Call) error {
		ws, err := a.usable(c)
		if err != nil {
			return err
		}
		at := path
		switch p := c.Params; {
		case p["name"] != "":
			at = "/label/" + p["name"] + "/values"
		case p["silenceId"] != "":
			at = "/silence/" + url.PathEscape(p["silenceId"])
		}
		return h(w, c.Request, ws.ID, at)
	}
}

func (a *aps) ruler(w http.ResponseWriter, c *Call) error {
	ws, err := a.usable(c)
	if err != nil {
		return err
	}
	return a.cfg.RulerAPI(w, c.Request, ws, c.Params["namespace"], c.Params["group"])
}
