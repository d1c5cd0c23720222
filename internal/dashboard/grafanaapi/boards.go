package grafanaapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/dashboard/records"
)

func boardRoutes() []route {
	return []route{
		{"POST /api/dashboards/db", signedIn, (*api).saveBoard},
		{"GET /api/dashboards/uid/{uid}", signedIn, (*api).getBoard},
		{"DELETE /api/dashboards/uid/{uid}", signedIn, (*api).deleteBoard},
		{"GET /api/dashboards/home", signedIn, (*api).homeBoard},
		{"GET /api/dashboards/tags", signedIn, (*api).boardTags},
		{"GET /api/dashboards/uid/{uid}/versions", signedIn, (*api).listVersions},
		{"GET /api/dashboards/uid/{uid}/versions/{version}", signedIn, (*api).getVersion},
		{"POST /api/dashboards/uid/{uid}/restore", signedIn, (*api).restoreVersion},
		{"GET /api/dashboards/id/{id}/versions", signedIn, (*api).listVersions},
		{"GET /api/dashboards/id/{id}/versions/{version}", signedIn, (*api).getVersion},
		{"POST /api/dashboards/id/{id}/restore", signedIn, (*api).restoreVersion},
		{"POST /api/dashboards/calculate-diff", signedIn, (*api).diffVersions},
		{"GET /api/search", signedIn, (*api).search},
		{"GET /api/search/sorting", signedIn, (*api).searchSorting},
	}
}

var errBoardNotFound = &apiError{http.StatusNotFound, map[string]any{"status": "not-found", "message": "Dashboard not found"}}

// board finds the board of a path by uid or number and makes sure that the
// caller may do with it what need says.
func (a *api) board(c *call, need records.Level) (*records.Board, error) {
	var b *records.Board
	var err error
	if uid := c.PathValue("uid"); uid != "" {
		b, err = a.Store.Board(c.Context(), c.ws, uid)
	} else {
		id, perr := strconv.ParseInt(c.PathValue("id"), 10, 64)
		if perr != nil {
			return nil, fail(http.StatusBadRequest, "dashboardId is invalid")
		}
		b, err = a.Store.BoardByID(c.Context(), c.ws, id)
	}
	if errors.Is(err, records.ErrNotFound) {
		return nil, errBoardNotFound
	}
	if err != nil {
		return nil, err
	}
	return b, a.mayBoard(c, b, need)
}

func (a *api) mayBoard(c *call, b *records.Board, need records.Level) error {
	rights, err := c.access()
	if err != nil {
		return err
	}
	if rights.BoardLevel(c.caller, b) < need {
		return denied(map[records.Level]string{records.View: "dashboards:read", records.Edit: "dashboards:write", records.Admin: "dashboards.permissions:write"}[need])
	}
	return nil
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05Z") }

func (a *api) getBoard(c *call) (any, error) {
	b, err := a.board(c, records.View)
	if err != nil {
		return nil, err
	}
	meta, err := a.boardMeta(c, b)
	if err != nil {
		return nil, err
	}
	board, err := a.withLibraryPanels(c, b.Data)
	return map[string]any{"meta": meta, "dashboard": board}, err
}

func (a *api) boardMeta(c *call, b *records.Board) (map[string]any, error) {
	rights, err := c.access()
	if err != nil {
		return nil, err
	}
	stars, err := a.Store.Stars(c.Context(), c.ws, c.caller.UserID)
	if err != nil {
		return nil, err
	}
	level := rights.BoardLevel(c.caller, b)
	own := slices.ContainsFunc(rights.BoardPermissions(b), func(p records.Permission) bool { return p.Inherited == "" })
	meta := map[string]any{
		"type": "db", "slug": b.Slug(), "url": b.URL(), "version": b.Version, "hasAcl": own, "isFolder": false, "isSnapshot": false,
		"canSave": level >= records.Edit, "canEdit": level >= records.Edit, "canDelete": level >= records.Edit,
		"canAdmin": level >= records.Admin, "canStar": c.caller.Person != "", "isStarred": stars[b.UID],
		"created": stamp(b.CreatedAt), "updated": stamp(b.UpdatedAt), "createdBy": b.CreatedBy, "updatedBy": b.UpdatedBy, "expires": "0001-01-01T00:00:00Z",
		"folderId": 0, "folderUid": "", "folderTitle": "General", "folderUrl": "",
		"provisioned": b.ProvisionedBy != "" && !b.Editable, "provisionedExternalId": b.Source,
		"annotationsPermissions": map[string]any{
			"dashboard":    map[string]bool{"canAdd": level >= records.Edit, "canEdit": level >= records.Edit, "canDelete": level >= records.Edit},
			"organization": map[string]bool{"canAdd": true, "canEdit": true, "canDelete": true},
		},
	}
	if f := rights.Folder(b.FolderUID); f != nil {
		meta["folderId"], meta["folderUid"], meta["folderTitle"], meta["folderUrl"] = f.ID, f.UID, f.Title, f.URL()
	}
	return meta, nil
}

// saveCommand is what /api/dashboards/db takes.
type saveCommand struct {
	Dashboard json.RawMessage `json:"dashboard"`
	FolderID  int64           `json:"folderId"`
	FolderUID string          `json:"folderUid"`
	Overwrite bool            `json:"overwrite"`
	Message   string          `json:"message"`
	IsFolder  bool            `json:"isFolder"`
}

func (a *api) saveBoard(c *call) (any, error) {
	var in saveCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if len(in.Dashboard) == 0 || string(in.Dashboard) == "null" {
		return nil, fail(http.StatusBadRequest, "bad request data: the field dashboard is missing")
	}
	folder, err := a.folderRef(c, in.FolderUID, in.FolderID)
	if err != nil {
		return nil, err
	}
	b, err := a.store(c, records.SaveInput{Board: in.Dashboard, FolderUID: folder, Overwrite: in.Overwrite, Message: in.Message})
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"status": "success", "id": b.ID, "uid": b.UID, "version": b.Version, "slug": b.Slug(), "url": b.URL(), "folderUid": b.FolderUID, "title": b.Title,
	}, nil
}

// folderRef is the uid of the folder that a request names by uid or, as old
// clients do, by number. Empty is the top.
func (a *api) folderRef(c *call, uid string, id int64) (string, error) {
	if uid == records.GeneralFolder {
		return "", nil
	}
	if uid != "" || id <= 0 {
		return uid, nil
	}
	list, err := a.Store.Folders(c.Context(), c.ws)
	if err != nil {
		return "", err
	}
	for _, f := range list {
		if f.ID == id {
			return f.UID, nil
		}
	}
	return "", records.ErrFolderNotFound
}

// store checks that the caller may save a board where it is and where it goes,
// and saves it.
func (a *api) store(c *call, in records.SaveInput) (*records.Board, error) {
	rights, err := c.access()
	if err != nil {
		return nil, err
	}
	var head struct {
		ID  json.Number `json:"id"`
		UID string      `json:"uid"`
	}
	if err := json.Unmarshal(in.Board, &head); err != nil {
		return nil, fail(http.StatusBadRequest, "bad request data: "+err.Error())
	}
	old, err := a.existing(c, head.ID, head.UID)
	if err != nil {
		return nil, err
	}
	if old != nil && rights.BoardLevel(c.caller, old) < records.Edit {
		return nil, denied("dashboards:write")
	}
	if in.FolderUID != "" && rights.Folder(in.FolderUID) == nil {
		return nil, &apiError{http.StatusBadRequest, message("Folder not found")}
	}
	if (old == nil || old.FolderUID != in.FolderUID) && rights.FolderLevel(c.caller, in.FolderUID) < records.Edit {
		return nil, denied("dashboards:create")
	}
	if in.Board, err = a.withoutLibraryPanels(c, in.Board); err != nil {
		return nil, err
	}
	in.By = c.caller.Login
	if old == nil {
		in.Creator = c.creator()
	}
	return a.Store.SaveBoard(c.Context(), c.ws, in)
}

// creator is whom a new thing belongs to: people, not service accounts.
func (c *call) creator() int64 {
	if c.caller.Person == "" {
		return 0
	}
	return c.caller.UserID
}

// existing returns the board that a save would replace, or nil.
func (a *api) existing(c *call, id json.Number, uid string) (*records.Board, error) {
	if n, err := id.Int64(); err == nil && n != 0 {
		if b, err := a.Store.BoardByID(c.Context(), c.ws, n); err == nil || !errors.Is(err, records.ErrNotFound) {
			return b, err
		}
		if uid == "" {
			return nil, errBoardNotFound
		}
	}
	if uid == "" {
		return nil, nil
	}
	b, err := a.Store.Board(c.Context(), c.ws, uid)
	if errors.Is(err, records.ErrNotFound) {
		return nil, nil
	}
	return b, err
}

func (a *api) deleteBoard(c *call) (any, error) {
	b, err := a.board(c, records.Edit)
	if err != nil {
		return nil, err
	}
	if err := a.Store.DeleteBoard(c.Context(), c.ws, b.UID, ""); err != nil {
		return nil, err
	}
	return map[string]any{"title": b.Title, "message": "Dashboard " + b.Title + " deleted", "id": b.ID, "uid": b.UID}, nil
}

// homeBoard answers the board that the caller's preferences choose, as a
// redirect, or an empty one.
func (a *api) homeBoard(c *call) (any, error) {
	p, err := a.effectivePreferences(c)
	if err != nil {
		return nil, err
	}
	if p.HomeDashboardUID != "" {
		b, err := a.Store.Board(c.Context(), c.ws, p.HomeDashboardUID)
		if err == nil && a.mayBoard(c, b, records.View) == nil {
			return map[string]any{"redirectUri": b.URL()}, nil
		}
	}
	return map[string]any{
		"meta":      map[string]any{"type": "db", "canSave": false, "canEdit": false, "canStar": false, "isFolder": false, "folderTitle": "General"},
		"dashboard": map[string]any{"title": "Home", "panels": []any{}, "schemaVersion": 41},
	}, nil
}

func (a *api) boardTags(c *call) (any, error) {
	boards, err := a.visibleBoards(c)
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	for _, b := range boards {
		for _, t := range b.Tags {
			count[t]++
		}
	}
	list := []map[string]any{}
	for t, n := range count {
		list = append(list, map[string]any{"term": t, "count": n})
	}
	slices.SortFunc(list, func(x, y map[string]any) int { return strings.Compare(x["term"].(string), y["term"].(string)) })
	return list, nil
}

func (a *api) visibleBoards(c *call) ([]*records.Board, error) {
	rights, err := c.access()
	if err != nil {
		return nil, err
	}
	all, err := a.Store.Boards(c.Context(), c.ws)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(b *records.Board) bool { return rights.BoardLevel(c.caller, b) < records.View }), nil
}

func versionBody(b *records.Board, v *records.Version) map[string]any {
	out := map[string]any{
		"id": v.ID, "dashboardId": b.ID, "dashboardUID": b.UID, "uid": b.UID, "parentVersion": v.ParentVersion, "restoredFrom": v.RestoredFrom,
		"version": v.Version, "created": stamp(v.CreatedAt), "createdBy": v.CreatedBy, "message": v.Message,
	}
	if len(v.Data) > 0 {
		out["data"] = v.Data
	}
	return out
}

func (a *api) listVersions(c *call) (any, error) {
	b, err := a.board(c, records.Edit)
	if err != nil {
		return nil, err
	}
	start, limit := c.number("start", 0), c.number("limit", 1000)
	list, err := a.Store.Versions(c.Context(), c.ws, b.UID, start, min(max(limit, 1), 1000))
	if err != nil {
		return nil, err
	}
	out := make([]map[string]any, 0, len(list))
	for _, v := range list {
		out = append(out, versionBody(b, v))
	}
	// By uid the list is wrapped since Grafana 11; by number it never was.
	if c.PathValue("uid") != "" {
		return map[string]any{"continueToken": "", "versions": out}, nil
	}
	return out, nil
}

// number reads a query parameter.
func (c *call) number(name string, def int) int {
	n, err := strconv.Atoi(c.URL.Query().Get(name))
	if err != nil || n < 0 {
		return def
	}
	return n
}

func (a *api) version(c *call, b *records.Board, n int64) (*records.Version, error) {
	v, err := a.Store.BoardVersion(c.Context(), c.ws, b.UID, n)
	if errors.Is(err, records.ErrNotFound) {
		return nil, fail(http.StatusNotFound, "Dashboard version "+strconv.FormatInt(n, 10)+" not found for dashboard "+b.UID)
	}
	return v, err
}

func (a *api) getVersion(c *call) (any, error) {
	b, err := a.board(c, records.Edit)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(c.PathValue("version"), 10, 64)
	if err != nil {
		return nil, fail(http.StatusBadRequest, "version is invalid")
	}
	v, err := a.version(c, b, n)
	if err != nil {
		return nil, err
	}
	return versionBody(b, v), nil
}

func (a *api) restoreVersion(c *call) (any, error) {
	b, err := a.board(c, records.Edit)
	if err != nil {
		return nil, err
	}
	var in struct {
		Version int64 `json:"version"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.Version == b.Version {
		return nil, fail(http.StatusBadRequest, "Current version is identical to the requested one")
	}
	v, err := a.version(c, b, in.Version)
	if err != nil {
		return nil, err
	}
	saved, err := a.store(c, records.SaveInput{
		Board: withIdentity(v.Data, b), FolderUID: b.FolderUID, Overwrite: true, RestoredFrom: v.Version,
		Message: "Restored from version " + strconv.FormatInt(v.Version, 10),
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"status": "success", "id": saved.ID, "uid": saved.UID, "version": saved.Version, "slug": saved.Slug(), "url": saved.URL(), "title": saved.Title}, nil
}

// withIdentity gives an old version the id and uid that its board has now.
func withIdentity(data json.RawMessage, b *records.Board) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return data
	}
	fields["id"], _ = json.Marshal(b.ID)
	fields["uid"], _ = json.Marshal(b.UID)
	out, err := json.Marshal(fields)
	if err != nil {
		return data
	}
	return out
}

func (a *api) searchSorting(*call) (any, error) {
	type option struct {
		Name        string `json:"name"`
		DisplayName string `json:"displayName"`
		Description string `json:"description"`
		Meta        string `json:"meta"`
	}
	return map[string]any{"sortOptions": []option{
		{"alpha-asc", "Alphabetically (A–Z)", "Sort results in an alphabetically ascending order", ""},
		{"alpha-desc", "Alphabetically (Z–A)", "Sort results in an alphabetically descending order", ""},
	}}, nil
}
