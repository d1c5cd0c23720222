package grafanaapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/mangru/mangru/internal/dashboard/records"
)

func importRoutes() []route {
	return []route{
		{"POST /api/dashboards/import", editors, (*api).importBoard},
		{"GET /api/gnet/dashboards/{id}", editors, (*api).gnetBoard},
		{"GET /api/mangru/catalogue", signedIn, (*api).catalogue},
		{"POST /api/mangru/fetch-board", editors, (*api).fetchBoard},
	}
}

// importInput fills one of a board's __inputs.
type importInput struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	PluginID string `json:"pluginId"`
	Value    string `json:"value"`
}

func (a *api) importBoard(c *call) (any, error) {
	var in struct {
		Dashboard json.RawMessage `json:"dashboard"`
		Overwrite bool            `json:"overwrite"`
		FolderID  int64           `json:"folderId"`
		FolderUID string          `json:"folderUid"`
		Message   string          `json:"message"`
		Inputs    []importInput   `json:"inputs"`
		PluginID  string          `json:"pluginId"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if len(in.Dashboard) == 0 || string(in.Dashboard) == "null" {
		return nil, &apiError{http.StatusUnprocessableEntity, message("Dashboard must be set")}
	}
	filled, err := fillInputs(in.Dashboard, in.Inputs)
	if err != nil {
		return nil, fail(http.StatusBadRequest, err.Error())
	}
	folder, err := a.folderRef(c, in.FolderUID, in.FolderID)
	if err != nil {
		return nil, err
	}
	b, err := a.store(c, records.SaveInput{Board: filled, FolderUID: folder, Overwrite: in.Overwrite, Message: in.Message})
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"uid": b.UID, "pluginId": in.PluginID, "title": b.Title, "imported": true, "importedUri": "db/" + b.Slug(), "importedUrl": b.URL(), "slug": b.Slug(),
		"dashboardId": b.ID, "folderId": in.FolderID, "folderUid": b.FolderUID, "importedRevision": b.Version, "revision": b.Version, "description": "", "path": "", "removed": false,
	}, nil
}

// fillInputs puts values in place of a board's ${INPUT} references and takes
// __inputs and __requires away. A board of another installation has no number here.
func fillInputs(data json.RawMessage, values []importInput) (json.RawMessage, error) {
	var board map[string]any
	if err := json.Unmarshal(data, &board); err != nil {
		return nil, fmt.Errorf("not a dashboard: %w", err)
	}
	if inner, ok := board["dashboard"].(map[string]any); ok && board["panels"] == nil {
		board = inner
	}
	var declared []struct{ Name, Type, Value string }
	if raw, ok := board["__inputs"]; ok {
		if err := json.Unmarshal(jsonText(raw), &declared); err != nil {
			return nil, fmt.Errorf("field __inputs: %w", err)
		}
	}
	pairs := []string{}
	for _, d := range declared {
		value := d.Value // a constant has its own default
		for _, v := range values {
			if v.Name == d.Name && (v.Type == "" || d.Type == "" || v.Type == d.Type) {
				value = v.Value
			}
		}
		if value == "" && d.Type == "datasource" {
			return nil, fmt.Errorf("Dashboard input missing for %s", d.Name) //nolint:staticcheck // Grafana's sentence
		}
		pairs = append(pairs, "${"+d.Name+"}", value)
	}
	delete(board, "__inputs")
	delete(board, "__requires")
	if len(pairs) > 0 {
		board, _ = replaceTexts(board, strings.NewReplacer(pairs...)).(map[string]any)
	}
	board["id"] = nil
	return jsonText(board), nil
}

// replaceTexts applies r to every text in a value, however deep.
func replaceTexts(v any, r *strings.Replacer) any {
	switch v := v.(type) {
	case string:
		return r.Replace(v)
	case []any:
		for i := range v {
			v[i] = replaceTexts(v[i], r)
		}
		return v
	case map[string]any:
		for k := range v {
			v[k] = replaceTexts(v[k], r)
		}
		return v
	default:
		return v
	}
}

func (a *api) gnetBoard(c *call) (any, error) {
	b, err := a.Catalogue.Board(c.Context(), c.PathValue("id"))
	if errors.Is(err, records.ErrNotFound) {
		return nil, fail(http.StatusNotFound, "Dashboard not found")
	}
	if err != nil {
		return nil, fail(http.StatusBadGateway, err.Error())
	}
	return b, nil
}

func (a *api) catalogue(*call) (any, error) { return a.Catalogue.List(), nil }

// fetchBoard loads a board from an address that a person gave.
func (a *api) fetchBoard(c *call) (any, error) {
	var in struct {
		URL string `json:"url"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	data, err := a.Catalogue.Fetch(c.Context(), in.URL)
	if err != nil {
		return nil, fail(http.StatusBadGateway, err.Error())
	}
	return map[string]any{"dashboard": data}, nil
}
