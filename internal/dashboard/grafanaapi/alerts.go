package grafanaapi

import (
	"net/http"
	"strings"
)

// alertRoutes lead to the rules and silences behind a data source, by the paths
// that Grafana's own pages use.
func alertRoutes() []route {
	return []route{
		{"GET /api/prometheus/{uid}/api/v1/{path...}", viewers, (*api).rulesOf},
		{"GET /api/alertmanager/{uid}/api/v2/{path...}", viewers, (*api).alertmanagerOf},
		{"POST /api/alertmanager/{uid}/api/v2/{path...}", editors, (*api).alertmanagerOf},
		{"DELETE /api/alertmanager/{uid}/api/v2/{path...}", editors, (*api).alertmanagerOf},
	}
}

func (a *api) rulesOf(c *call) (any, error) {
	path := c.PathValue("path")
	if path != "rules" && path != "alerts" {
		return nil, fail(http.StatusNotFound, "Not found")
	}
	return a.forward(c, "api/v1/"+path)
}

func (a *api) alertmanagerOf(c *call) (any, error) {
	return a.forward(c, "api/v2/"+c.PathValue("path"))
}

// forward hands a request to a data source. The alert manager of a workspace is
// below the workspace's own address.
func (a *api) forward(c *call, path string) (any, error) {
	d, err := a.Store.DataSource(c.Context(), c.ws, c.PathValue("uid"))
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(path, "api/v2/") && d.Type != "alertmanager" {
		path = "alertmanager/" + path
	}
	a.Sources.Proxy(c.w, c.Request, d, path)
	return answered{}, nil
}
