package grafanaapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mangru/mangru/internal/dashboard/records"
)

func libraryRoutes() []route {
	return []route{
		{"GET /api/library-elements", signedIn, (*api).listElements},
		{"POST /api/library-elements", editors, (*api).createElement},
		{"GET /api/library-elements/name/{name}", signedIn, (*api).elementsNamed},
		{"GET /api/library-elements/{uid}", signedIn, (*api).getElement},
		{"PATCH /api/library-elements/{uid}", editors, (*api).updateElement},
		{"DELETE /api/library-elements/{uid}", editors, (*api).deleteElement},
		{"GET /api/library-elements/{uid}/connections", signedIn, (*api).elementConnections},
	}
}

// element is a panel (kind 1) or variable (kind 2) that boards share. Its folder
// is the document's owner.
type element struct {
	Kind  int64           `json:"kind"`
	Model json.RawMessage `json:"model"`
}

func (a *api) elementBody(c *call, d *records.Document) (map[string]any, error) {
	var e element
	if err := json.Unmarshal(d.Data, &e); err != nil {
		return nil, err
	}
	var model struct{ Type, Description string }
	_ = json.Unmarshal(e.Model, &model) // a variable's model has neither
	rights, err := c.access()
	if err != nil {
		return nil, err
	}
	if c.uses == nil {
		if c.uses, err = a.usesOfElements(c); err != nil {
			return nil, err
		}
	}
	name, folderID := "General", int64(0)
	if f := rights.Folder(d.Owner); f != nil {
		name, folderID = f.Title, f.ID
	}
	return map[string]any{
		"id": d.ID, "orgId": OrgID, "folderId": folderID, "folderUid": d.Owner, "uid": d.UID, "name": d.Name, "kind": e.Kind, "type": model.Type,
		"description": model.Description, "model": e.Model, "version": d.Version, "schemaVersion": 0,
		"meta": map[string]any{"folderName": name, "folderUid": d.Owner, "connectedDashboards": len(c.uses[d.UID]), "created": stamp(d.CreatedAt), "updated": stamp(d.UpdatedAt),
			"canEdit": rights.FolderLevel(c.caller, d.Owner) >= records.Edit && mayCall(c.caller.Role, editors)},
	}, nil
}

var errElementNotFound = fail(http.StatusNotFound, "library element could not be found")

func (a *api) element(c *call, uid string, need records.Level) (*records.Document, error) {
	d, err := a.Store.Document(c.Context(), c.ws, records.KindLibraryElement, uid)
	if errors.Is(err, records.ErrNotFound) {
		return nil, errElementNotFound
	}
	if err != nil {
		return nil, err
	}
	rights, err := c.access()
	if err == nil && rights.FolderLevel(c.caller, d.Owner) < need {
		err = denied("library.panels:write")
	}
	return d, err
}

func (a *api) visibleElements(c *call) ([]map[string]any, error) {
	list, err := a.Store.Documents(c.Context(), c.ws, records.KindLibraryElement, nil)
	if err != nil {
		return nil, err
	}
	rights, err := c.access()
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for _, d := range list {
		if rights.FolderLevel(c.caller, d.Owner) < records.View {
			continue
		}
		body, err := a.elementBody(c, d)
		if err != nil {
			return nil, err
		}
		out = append(out, body)
	}
	slices.SortFunc(out, func(x, y map[string]any) int { return strings.Compare(x["name"].(string), y["name"].(string)) })
	return out, nil
}

func (a *api) listElements(c *call) (any, error) {
	all, err := a.visibleElements(c)
	if err != nil {
		return nil, err
	}
	q, out := c.URL.Query(), []map[string]any{}
	text, kind := strings.ToLower(q.Get("searchString")), int64(c.number("kind", 0))
	types, folders := commaList(q.Get("typeFilter")), append(commaList(q.Get("folderFilterUIDs")), commaList(q.Get("folderFilter"))...)
	for _, e := range all {
		about := strings.ToLower(e["name"].(string) + "\n" + e["description"].(string))
		if !strings.Contains(about, text) || kind != 0 && e["kind"] != kind || e["uid"] == q.Get("excludeUid") || len(types) > 0 && !slices.Contains(types, e["type"].(string)) {
			continue
		}
		if len(folders) > 0 && !slices.Contains(folders, e["folderUid"].(string)) && !slices.Contains(folders, fmt.Sprint(e["folderId"])) && (e["folderUid"] != "" || !slices.Contains(folders, records.GeneralFolder)) {
			continue
		}
		out = append(out, e)
	}
	if q.Get("sortDirection") == "alpha-desc" {
		slices.Reverse(out)
	}
	total, per, page := len(out), max(c.number("perPage", 100), 1), max(c.number("page", 1), 1)
	from := min((page-1)*per, total)
	return map[string]any{"result": map[string]any{"totalCount": total, "page": page, "perPage": per, "elements": out[from:min(from+per, total)]}}, nil
}

func commaList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

func (a *api) elementsNamed(c *call) (any, error) {
	all, err := a.visibleElements(c)
	if err != nil {
		return nil, err
	}
	out := slices.DeleteFunc(all, func(e map[string]any) bool { return e["name"] != c.PathValue("name") })
	if len(out) == 0 {
		return nil, errElementNotFound
	}
	return map[string]any{"result": out}, nil
}

func (a *api) getElement(c *call) (any, error) {
	d, err := a.element(c, c.PathValue("uid"), records.View)
	if err != nil {
		return nil, err
	}
	body, err := a.elementBody(c, d)
	return map[string]any{"result": body}, err
}

type elementCommand struct {
	UID       string          `json:"uid"`
	Name      string          `json:"name"`
	FolderUID *string         `json:"folderUid"`
	Kind      int64           `json:"kind"`
	Model     json.RawMessage `json:"model"`
	Version   int64           `json:"version"`
}

func (a *api) createElement(c *call) (any, error) {
	var in elementCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.Kind != 1 && in.Kind != 2 {
		return nil, fail(http.StatusBadRequest, "kind: found "+strconv.FormatInt(in.Kind, 10)+", allowed are 1 (panel) and 2 (variable)")
	}
	if strings.TrimSpace(in.Name) == "" || len(in.Model) == 0 {
		return nil, fail(http.StatusBadRequest, "library element needs a name and a model")
	}
	d := &records.Document{WorkspaceID: c.ws, Kind: records.KindLibraryElement, UID: in.UID, Name: in.Name, Data: jsonText(element{in.Kind, in.Model})}
	if in.FolderUID != nil && *in.FolderUID != records.GeneralFolder {
		d.Owner = *in.FolderUID
	}
	if err := a.mayPutElement(c, d); err != nil {
		return nil, err
	}
	err := a.Store.CreateDocument(c.Context(), d)
	if errors.Is(err, records.ErrNameTaken) {
		return nil, fail(http.StatusBadRequest, "library element with that name or UID already exists")
	}
	if err != nil {
		return nil, err
	}
	body, err := a.elementBody(c, d)
	return map[string]any{"result": body}, err
}

// mayPutElement checks the folder that an element goes into, and that its name is free there.
func (a *api) mayPutElement(c *call, d *records.Document) error {
	rights, err := c.access()
	if err != nil {
		return err
	}
	if d.Owner != "" && rights.Folder(d.Owner) == nil {
		return records.ErrFolderNotFound
	}
	if rights.FolderLevel(c.caller, d.Owner) < records.Edit {
		return denied("library.panels:create")
	}
	list, err := a.Store.Documents(c.Context(), c.ws, records.KindLibraryElement, &d.Owner)
	for _, o := range list {
		if o.Name == d.Name && o.UID != d.UID {
			return fail(http.StatusBadRequest, "library element with that name or UID already exists")
		}
	}
	return err
}

func (a *api) updateElement(c *call) (any, error) {
	d, err := a.element(c, c.PathValue("uid"), records.Edit)
	if err != nil {
		return nil, err
	}
	var in elementCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.Version != d.Version {
		return nil, fail(http.StatusPreconditionFailed, "the library element has been changed by someone else")
	}
	var e element
	if err := json.Unmarshal(d.Data, &e); err != nil {
		return nil, err
	}
	if len(in.Model) > 0 {
		e.Model = in.Model
	}
	if in.Name != "" {
		d.Name = in.Name
	}
	if in.FolderUID != nil {
		d.Owner = strings.TrimSuffix(*in.FolderUID, records.GeneralFolder)
	}
	if err := a.mayPutElement(c, d); err != nil {
		return nil, err
	}
	d.Data = jsonText(e)
	d.Version++
	if err := a.Store.PutDocument(c.Context(), d); err != nil {
		return nil, err
	}
	body, err := a.elementBody(c, d)
	return map[string]any{"result": body}, err
}

func (a *api) deleteElement(c *call) (any, error) {
	d, err := a.element(c, c.PathValue("uid"), records.Edit)
	if err != nil {
		return nil, err
	}
	used, err := a.usesOfElements(c)
	if err != nil {
		return nil, err
	}
	if len(used[d.UID]) > 0 {
		return nil, fail(http.StatusForbidden, "the library element has connections")
	}
	return map[string]any{"message": "Library element deleted", "id": d.ID}, a.Store.DeleteDocument(c.Context(), c.ws, records.KindLibraryElement, d.UID)
}

// usesOfElements finds which boards show which library panels, also those that
// the caller may not see.
func (a *api) usesOfElements(c *call) (map[string][]*records.Board, error) {
	boards, err := a.Store.BoardsHolding(c.Context(), c.ws, `"libraryPanel"`)
	if err != nil {
		return nil, err
	}
	out := map[string][]*records.Board{}
	for _, b := range boards {
		for uid := range elementsIn(b.Data, panelLevels, map[string]bool{}) {
			out[uid] = append(out[uid], b)
		}
	}
	return out, nil
}

// elementsIn notes the library panels of a board or of a row.
func elementsIn(data json.RawMessage, levels int, found map[string]bool) map[string]bool {
	var p struct {
		LibraryPanel struct {
			UID string `json:"uid"`
		} `json:"libraryPanel"`
		Panels []json.RawMessage `json:"panels"`
	}
	if json.Unmarshal(data, &p) != nil {
		return found
	}
	if p.LibraryPanel.UID != "" {
		found[p.LibraryPanel.UID] = true
	}
	for _, inner := range p.Panels {
		if levels > 0 {
			elementsIn(inner, levels-1, found)
		}
	}
	return found
}

func (a *api) elementConnections(c *call) (any, error) {
	d, err := a.element(c, c.PathValue("uid"), records.View)
	if err != nil {
		return nil, err
	}
	used, err := a.usesOfElements(c)
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for i, b := range used[d.UID] {
		if c.rights.BoardLevel(c.caller, b) < records.View {
			continue
		}
		out = append(out, map[string]any{"id": i + 1, "kind": 1, "elementId": d.ID, "connectionId": b.ID, "connectionUid": b.UID, "created": stamp(b.CreatedAt)})
	}
	return map[string]any{"result": out}, nil
}
