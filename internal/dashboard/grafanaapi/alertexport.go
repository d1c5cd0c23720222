package grafanaapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"

	"github.com/mangru/mangru/internal/dashboard/alerting"
)

// export answers a file for Grafana's provisioning directory, in YAML or JSON.
func (c *call) export(content map[string]any) (any, error) {
	content["apiVersion"] = 1
	format := c.URL.Query().Get("format")
	if format == "" && strings.Contains(c.Header.Get("Accept"), "json") {
		format = "json"
	}
	if c.URL.Query().Get("download") == "true" {
		c.w.Header().Set("Content-Disposition", `attachment; filename="export.`+exportName(format)+`"`)
	}
	switch format {
	case "json":
		return content, nil
	case "", "yaml":
	default:
		return nil, fail(http.StatusBadRequest, "format: found "+format+", allowed are yaml and json")
	}
	// By way of JSON, so that the names of fields are those of the API.
	var plain any
	if err := json.Unmarshal(jsonText(content), &plain); err != nil {
		return nil, err
	}
	text, err := yaml.Marshal(plain)
	if err != nil {
		return nil, err
	}
	c.w.Header().Set("Content-Type", "application/yaml")
	_, _ = c.w.Write(text) // a caller that left is no error of ours
	return answered{}, nil
}

func exportName(format string) string {
	if format == "json" {
		return format
	}
	return "yaml"
}

func (a *api) exportAlertRules(c *call) (any, error) {
	list, err := a.visibleRules(c)
	if err == nil && len(list) == 0 {
		err = fail(http.StatusNotFound, "alert rule not found")
	}
	if err != nil {
		return nil, err
	}
	groups := []map[string]any{}
	for _, r := range list {
		folder := r.Rule.FolderUID
		if f := c.rights.Folder(folder); f != nil {
			folder = f.Title
		}
		if n := len(groups); n == 0 || groups[n-1]["name"] != r.Rule.RuleGroup || groups[n-1]["folder"] != folder {
			interval := model.Duration(time.Duration(r.Interval) * time.Second).String()
			groups = append(groups, map[string]any{"orgId": OrgID, "name": r.Rule.RuleGroup, "folder": folder, "interval": interval, "rules": []any{}})
		}
		g := groups[len(groups)-1]
		one := map[string]any{
			"uid": r.Rule.UID, "title": r.Rule.Title, "condition": r.Rule.Condition, "data": r.Rule.Data, "noDataState": r.Rule.NoDataState,
			"execErrState": r.Rule.ExecErrState, "for": r.Rule.For, "annotations": r.Rule.Annotations, "labels": r.Rule.Labels, "isPaused": r.Rule.IsPaused,
		}
		if r.Rule.Record != nil {
			one["record"] = r.Rule.Record
		}
		g["rules"] = append(g["rules"].([]any), one)
	}
	return c.export(map[string]any{"groups": groups})
}

func (a *api) exportContacts(c *call) (any, error) {
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	points, want := []map[string]any{}, c.URL.Query().Get("name")
	for _, p := range n.Contacts {
		if want != "" && p.Name != want {
			continue
		}
		// Secrets leave for administrators who ask for them, as Grafana has it.
		if c.URL.Query().Get("decrypt") != "true" || !mayCall(c.caller.Role, admins) {
			if p, err = contactBody(p); err != nil {
				return nil, err
			}
		}
		if i := len(points); i == 0 || points[i-1]["name"] != p.Name {
			points = append(points, map[string]any{"orgId": OrgID, "name": p.Name, "receivers": []any{}})
		}
		last := points[len(points)-1]
		last["receivers"] = append(last["receivers"].([]any), map[string]any{
			"uid": p.UID, "type": p.Type, "settings": p.Settings, "disableResolveMessage": p.DisableResolveMessage,
		})
	}
	return c.export(map[string]any{"contactPoints": points})
}

func (a *api) exportPolicies(c *call) (any, error) {
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	root := n.Policies
	if root == nil {
		root = alerting.DefaultRoute()
	}
	var out map[string]any
	if err := json.Unmarshal(jsonText(root), &out); err != nil {
		return nil, err
	}
	delete(out, "provenance")
	out["orgId"] = OrgID
	return c.export(map[string]any{"policies": []any{out}})
}

func (a *api) exportTimings(c *call) (any, error) {
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	list, want := []map[string]any{}, c.PathValue("name")
	for _, t := range n.Timings {
		if want == "" || t.Name == want {
			list = append(list, map[string]any{"orgId": OrgID, "name": t.Name, "time_intervals": t.TimeIntervals})
		}
	}
	if want != "" && len(list) == 0 {
		return nil, fail(http.StatusNotFound, "mute timing not found")
	}
	return c.export(map[string]any{"muteTimes": list})
}
