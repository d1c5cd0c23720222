package api

import (
	"net/http"

	"github.com/mangru/mangru/internal/server/workspace"
)

// data lists the data plane below /workspaces/<id>/api/v1. Paths that Managed
// Prometheus does not have take the permission of what they are closest to.
func (a *aps) data() []Route {
	const base = "/workspaces/{workspaceId}/api/v1"
	var out []Route
	add := func(name, action, path string, methods ...string) {
		for _, m := range methods {
			out = append(out, Route{Name: name, Method: m, Path: base + path, Action: "aps:" + action,
				Resource: a.one, Conditions: a.conditions, Data: true, Handle: a.query(path)})
		}
	}
	out = append(out, Route{Name: "RemoteWrite", Method: "POST", Path: base + "/remote_write", Action: "aps:RemoteWrite",
		Resource: a.one, Conditions: a.conditions, Data: true, MaxBody: a.cfg.MaxWriteBody, MaxBodyKnob: "limits.max_request_size", Handle: a.write})
	add("QueryMetrics", "QueryMetrics", "/query", "GET", "POST")
	add("QueryMetrics", "QueryMetrics", "/query_range", "GET", "POST")
	add("GetLabels", "GetLabels", "/labels", "GET", "POST")
	add("GetLabels", "GetLabels", "/label/{name}/values", "GET")
	add("GetSeries", "GetSeries", "/series", "GET", "POST")
	add("GetMetricMetadata", "GetMetricMetadata", "/metadata", "GET")
	add("ListRules", "ListRules", "/rules", "GET")
	add("ListAlerts", "ListAlerts", "/alerts", "GET")
	// Beyond Managed Prometheus.
	add("QueryExemplars", "QueryMetrics", "/query_exemplars", "GET", "POST")
	add("RemoteRead", "QueryMetrics", "/read", "POST")
	add("FormatQuery", "QueryMetrics", "/format_query", "GET", "POST")
	add("ParseQuery", "QueryMetrics", "/parse_query", "GET", "POST")
	add("BuildInfo", "QueryMetrics", "/status/buildinfo", "GET")
	add("TSDBStatus", "GetSeries", "/status/tsdb", "GET")
	return out
}

// usable refuses a workspace that takes no data. The record was read for the
// conditions of this very request.
func (a *aps) usable(c *Call) (*workspace.Workspace, error) {
	ws := c.workspace
	if ws == nil {
		return nil, notFound(c.Params["workspaceId"])
	}
	switch ws.Status {
	case workspace.StatusActive:
		return ws, nil
	case workspace.StatusCreating:
		return nil, &Error{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailableException", Message: "The workspace is being created."}
	}
	return nil, notFound(ws.ID)
}

func (a *aps) write(w http.ResponseWriter, c *Call) error {
	ws, err := a.usable(c)
	if err != nil {
		return err
	}
	return a.cfg.Write(w, c.Request, ws.ID)
}

func (a *aps) query(path string) func(http.ResponseWriter, *Call) error {
	return func(w http.ResponseWriter, c *Call) error {
		ws, err := a.usable(c)
		if err != nil {
			return err
		}
		at := path
		if name, ok := c.Params["name"]; ok {
			at = "/label/" + name + "/values"
		}
		return a.cfg.Query(w, c.Request, ws.ID, at)
	}
}
