package grafanaapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/mangru/mangru/internal/dashboard/records"
)

// ownOfPanel are the fields of a library panel that are the board's, not the
// library's.
var ownOfPanel = []string{"id", "gridPos", "libraryPanel", "repeat", "repeatDirection", "maxPerRow", "scopedVars"}

// panelLevels are the levels of panels of a board: its own, and those inside rows.
// Deeper ones are nobody's, and reading them once a level would take for ever.
const panelLevels = 2

// eachLibraryPanel rewrites the library panels of a board, those inside rows too.
// Without any the board stays byte for byte what it was.
func eachLibraryPanel(data json.RawMessage, levels int, change func(uid string, panel map[string]json.RawMessage) error) (json.RawMessage, error) {
	if !bytes.Contains(data, []byte(`"libraryPanel"`)) {
		return data, nil
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(data, &fields) // a board that is none is somebody else's to tell
	if fields == nil {
		return data, nil
	}
	var ref struct {
		UID string `json:"uid"`
	}
	if raw, ok := fields["libraryPanel"]; ok && json.Unmarshal(raw, &ref) == nil && ref.UID != "" {
		if err := change(ref.UID, fields); err != nil {
			return nil, err
		}
	}
	var panels []json.RawMessage
	if levels > 0 && json.Unmarshal(fields["panels"], &panels) == nil && panels != nil {
		for i := range panels {
			var err error
			if panels[i], err = eachLibraryPanel(panels[i], levels-1, change); err != nil {
				return nil, err
			}
		}
		fields["panels"] = jsonText(panels)
	}
	return jsonText(fields), nil
}

// modelOf is the model of a library panel, nil where there is none.
func (a *api) modelOf(c *call, uid string) (map[string]json.RawMessage, *records.Document, error) {
	d, err := a.Store.Document(c.Context(), c.ws, records.KindLibraryElement, uid)
	if errors.Is(err, records.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var e struct {
		Model map[string]json.RawMessage `json:"model"`
	}
	if err := json.Unmarshal(d.Data, &e); err != nil {
		return nil, nil, fmt.Errorf("library panel %s: %w", uid, err)
	}
	model := e.Model
	for _, name := range ownOfPanel {
		delete(model, name)
	}
	return model, d, nil
}

// withLibraryPanels fills in what the library panels of a board show. Who may see
// a board sees its library panels. One that is gone stays as it is in the board.
func (a *api) withLibraryPanels(c *call, data json.RawMessage) (json.RawMessage, error) {
	return eachLibraryPanel(data, panelLevels, func(uid string, panel map[string]json.RawMessage) error {
		model, d, err := a.modelOf(c, uid)
		if err != nil || model == nil {
			return err
		}
		keepOnly(panel, ownOfPanel)
		maps.Copy(panel, model)
		panel["libraryPanel"] = jsonText(map[string]any{"uid": d.UID, "name": d.Name, "version": d.Version})
		return nil
	})
}

// withoutLibraryPanels takes out what library panels show before a board is kept,
// so that there is one copy of it. Somebody who edited it in the board is told:
// it would be lost.
func (a *api) withoutLibraryPanels(c *call, data json.RawMessage) (json.RawMessage, error) {
	return eachLibraryPanel(data, panelLevels, func(uid string, panel map[string]json.RawMessage) error {
		model, d, err := a.modelOf(c, uid)
		if err != nil || model == nil {
			return err
		}
		if c.caller.CSRFToken != "" && panel["type"] != nil && differs(panel, model) {
			return &apiError{http.StatusBadRequest, map[string]any{"status": "library-panel", "message": "The panel \"" + d.Name +
				"\" is a library panel: change it in the library, where all boards get it from, or unlink it first"}}
		}
		keepOnly(panel, ownOfPanel)
		panel["libraryPanel"] = jsonText(map[string]any{"uid": d.UID, "name": d.Name})
		return nil
	})
}

func keepOnly(panel map[string]json.RawMessage, names []string) {
	maps.DeleteFunc(panel, func(name string, _ json.RawMessage) bool { return !slices.Contains(names, name) })
}

// differs compares what a panel shows, but for what editors add by themselves.
func differs(panel, model map[string]json.RawMessage) bool {
	for _, name := range []string{"type", "title", "description", "targets", "options", "fieldConfig", "datasource", "transformations"} {
		want, ok := model[name]
		if !ok {
			continue
		}
		var a, b any
		if json.Unmarshal(want, &a) != nil || panel[name] == nil || json.Unmarshal(panel[name], &b) != nil {
			continue
		}
		if !bytes.Equal(jsonText(a), jsonText(b)) {
			return true
		}
	}
	return false
}
