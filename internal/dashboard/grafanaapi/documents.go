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

func documentRoutes() []route {
	return []route{
		{"GET /api/playlists", signedIn, (*api).listPlaylists},
		{"POST /api/playlists", editors, (*api).savePlaylist},
		{"GET /api/playlists/{uid}", signedIn, (*api).getPlaylist},
		{"GET /api/playlists/{uid}/items", signedIn, (*api).playlistItems},
		{"PUT /api/playlists/{uid}", editors, (*api).savePlaylist},
		{"DELETE /api/playlists/{uid}", editors, (*api).deletePlaylist},
		{"POST /api/snapshots", editors, (*api).createSnapshot},
		{"GET /api/snapshots/{key}", signedIn, (*api).getSnapshot},
		{"DELETE /api/snapshots/{key}", editors, (*api).deleteSnapshot},
		{"GET /api/snapshots-delete/{key}", editors, (*api).deleteSnapshotByKey},
		{"GET /api/dashboard/snapshots", signedIn, (*api).listSnapshots},
		{"GET /api/snapshot/shared-options", signedIn, func(*api, *call) (any, error) {
			return map[string]any{"snapshotEnabled": true, "externalEnabled": false, "externalSnapshotName": "", "externalSnapshotURL": ""}, nil
		}},
		{"POST /api/short-urls", signedIn, (*api).createShortURL},
		{"GET /api/short-urls/{uid}", signedIn, (*api).getShortURL},
		{"GET /api/query-history", signedIn, (*api).listHistory},
		{"POST /api/query-history", signedIn, (*api).addHistory},
		{"POST /api/query-history/star/{uid}", signedIn, starHistory(true)},
		{"DELETE /api/query-history/star/{uid}", signedIn, starHistory(false)},
		{"PATCH /api/query-history/{uid}", signedIn, (*api).commentHistory},
		{"DELETE /api/query-history/{uid}", signedIn, (*api).deleteHistory},
	}
}

func (a *api) document(c *call, kind, uid, missing string) (*records.Document, error) {
	d, err := a.Store.Document(c.Context(), c.ws, kind, uid)
	if errors.Is(err, records.ErrNotFound) {
		return nil, fail(http.StatusNotFound, missing)
	}
	return d, err
}

// playlist is a list of boards that are shown one after another.
type playlist struct {
	Name     string `json:"name"`
	Interval string `json:"interval"`
	Items    []struct {
		Type  string `json:"type"`
		Value string `json:"value"`
		Title string `json:"title,omitempty"`
	} `json:"items"`
}

func playlistBody(d *records.Document, items bool) (map[string]any, error) {
	var p playlist
	if err := json.Unmarshal(d.Data, &p); err != nil {
		return nil, err
	}
	out := map[string]any{"id": d.ID, "uid": d.UID, "name": p.Name, "interval": p.Interval}
	if items {
		out["items"] = p.Items
	}
	return out, nil
}

func (a *api) listPlaylists(c *call) (any, error) {
	list, err := a.Store.Documents(c.Context(), c.ws, records.KindPlaylist, nil)
	if err != nil {
		return nil, err
	}
	query, out := strings.ToLower(c.URL.Query().Get("query")), []map[string]any{}
	for _, d := range list {
		if strings.Contains(strings.ToLower(d.Name), query) && len(out) < c.number("limit", 1000) {
			body, err := playlistBody(d, false)
			if err != nil {
				return nil, err
			}
			out = append(out, body)
		}
	}
	return out, nil
}

func (a *api) getPlaylist(c *call) (any, error) {
	d, err := a.document(c, records.KindPlaylist, c.PathValue("uid"), "Playlist not found")
	if err != nil {
		return nil, err
	}
	return playlistBody(d, true)
}

func (a *api) playlistItems(c *call) (any, error) {
	d, err := a.document(c, records.KindPlaylist, c.PathValue("uid"), "Playlist not found")
	if err != nil {
		return nil, err
	}
	var p playlist
	err = json.Unmarshal(d.Data, &p)
	return p.Items, err
}

func (a *api) savePlaylist(c *call) (any, error) {
	var p playlist
	if err := c.body(&p); err != nil {
		return nil, err
	}
	if strings.TrimSpace(p.Name) == "" || p.Interval == "" {
		return nil, fail(http.StatusBadRequest, "a playlist needs a name and an interval")
	}
	d := &records.Document{WorkspaceID: c.ws, Kind: records.KindPlaylist, UID: c.PathValue("uid"), Name: p.Name, Data: jsonText(p)}
	if d.UID == "" {
		if err := a.Store.CreateDocument(c.Context(), d); err != nil {
			return nil, err
		}
		return playlistBody(d, false)
	}
	old, err := a.document(c, records.KindPlaylist, d.UID, "Playlist not found")
	if err != nil {
		return nil, err
	}
	d.ID, d.Version = old.ID, old.Version+1
	if err := a.Store.PutDocument(c.Context(), d); err != nil {
		return nil, err
	}
	return playlistBody(d, true)
}

func (a *api) deletePlaylist(c *call) (any, error) {
	if _, err := a.document(c, records.KindPlaylist, c.PathValue("uid"), "Playlist not found"); err != nil {
		return nil, err
	}
	return map[string]any{}, a.Store.DeleteDocument(c.Context(), c.ws, records.KindPlaylist, c.PathValue("uid"))
}

// snapshot is a board with its data at one moment.
type snapshot struct {
	Name      string          `json:"name"`
	DeleteKey string          `json:"deleteKey"`
	Dashboard json.RawMessage `json:"dashboard"`
	UserID    int64           `json:"userId"`
}

func (a *api) createSnapshot(c *call) (any, error) {
	var in struct {
		snapshot
		Key      string `json:"key"`
		Expires  int64  `json:"expires"`
		External bool   `json:"external"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.External {
		return nil, fail(http.StatusForbidden, "External dashboard creation is disabled")
	}
	if len(in.Dashboard) == 0 {
		return nil, fail(http.StatusBadRequest, "bad request data: the field dashboard is missing")
	}
	d := &records.Document{WorkspaceID: c.ws, Kind: records.KindSnapshot, UID: in.Key, Name: in.Name}
	if in.Expires > 0 {
		d.ExpiresAt = time.Now().UnixMilli() + 1000*in.Expires
	}
	if in.DeleteKey == "" {
		in.DeleteKey = records.NewUID() + records.NewUID()
	}
	if d.UID == "" {
		d.UID = records.NewUID() + records.NewUID()
	}
	in.UserID = c.caller.UserID
	d.Data = jsonText(in.snapshot)
	err := a.Store.CreateDocument(c.Context(), d)
	if errors.Is(err, records.ErrNameTaken) {
		return nil, fail(http.StatusConflict, "Dashboard snapshot with the same key already exists")
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"key": d.UID, "deleteKey": in.DeleteKey, "url": "/dashboard/snapshot/" + d.UID, "deleteUrl": "/api/snapshots-delete/" + in.DeleteKey, "id": d.ID,
	}, nil
}

func readSnapshot(d *records.Document) (snapshot, error) {
	var s snapshot
	return s, json.Unmarshal(d.Data, &s)
}

func (a *api) getSnapshot(c *call) (any, error) {
	d, err := a.document(c, records.KindSnapshot, c.PathValue("key"), "Dashboard snapshot not found")
	if err != nil {
		return nil, err
	}
	s, err := readSnapshot(d)
	meta := map[string]any{"type": "snapshot", "isSnapshot": true, "canSave": false, "canEdit": false, "canAdmin": false, "canStar": false, "created": stamp(d.CreatedAt), "expires": stamp(d.ExpiresAt)}
	return map[string]any{"meta": meta, "dashboard": s.Dashboard}, err
}

func (a *api) mayDeleteSnapshot(c *call, d *records.Document) error {
	s, err := readSnapshot(d)
	if err == nil && s.UserID != c.caller.UserID && !mayCall(c.caller.Role, admins) {
		err = fail(http.StatusForbidden, "Access denied to this snapshot")
	}
	return err
}

func (a *api) deleteSnapshot(c *call) (any, error) {
	d, err := a.document(c, records.KindSnapshot, c.PathValue("key"), "Failed to get dashboard snapshot")
	if err != nil {
		return nil, err
	}
	if err := a.mayDeleteSnapshot(c, d); err != nil {
		return nil, err
	}
	return map[string]any{"message": "Snapshot deleted. It might take an hour before it's cleared from any CDN caches.", "id": d.ID},
		a.Store.DeleteDocument(c.Context(), c.ws, records.KindSnapshot, d.UID)
}

func (a *api) deleteSnapshotByKey(c *call) (any, error) {
	list, err := a.Store.Documents(c.Context(), c.ws, records.KindSnapshot, nil)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		s, err := readSnapshot(d)
		if err != nil {
			return nil, err
		}
		if s.DeleteKey == c.PathValue("key") {
			return map[string]any{"message": "Snapshot deleted. It might take an hour before it's cleared from any CDN caches.", "id": d.ID},
				a.Store.DeleteDocument(c.Context(), c.ws, records.KindSnapshot, d.UID)
		}
	}
	return nil, fail(http.StatusNotFound, "Failed to get dashboard snapshot")
}

func (a *api) listSnapshots(c *call) (any, error) {
	list, err := a.Store.Documents(c.Context(), c.ws, records.KindSnapshot, nil)
	if err != nil {
		return nil, err
	}
	query, out := strings.ToLower(c.URL.Query().Get("query")), []map[string]any{}
	for _, d := range list {
		if strings.Contains(strings.ToLower(d.Name), query) && a.mayDeleteSnapshot(c, d) == nil {
			out = append(out, map[string]any{"key": d.UID, "name": d.Name, "external": false, "externalUrl": "", "created": stamp(d.CreatedAt), "updated": stamp(d.UpdatedAt), "expires": stamp(d.ExpiresAt)})
		}
	}
	return out, nil
}

func (a *api) createShortURL(c *call) (any, error) {
	var in struct {
		Path string `json:"path"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	in.Path = strings.TrimPrefix(strings.TrimSpace(in.Path), "/")
	if in.Path == "" || strings.Contains(in.Path, "../") || strings.Contains(in.Path, "://") || strings.HasPrefix(in.Path, "/") || strings.Contains(in.Path, "\\") || len(in.Path) > 8192 {
		return nil, fail(http.StatusBadRequest, "path: allowed is the part of an address after the host, without ../")
	}
	d := &records.Document{WorkspaceID: c.ws, Kind: records.KindShortURL, Name: "", Data: jsonText(map[string]string{"path": in.Path})}
	if err := a.Store.CreateDocument(c.Context(), d); err != nil {
		return nil, err
	}
	return map[string]any{"uid": d.UID, "url": "/goto/" + d.UID + "?orgId=1"}, nil
}

func (a *api) getShortURL(c *call) (any, error) {
	d, err := a.document(c, records.KindShortURL, c.PathValue("uid"), "Short URL not found")
	if err != nil {
		return nil, err
	}
	var body map[string]string
	err = json.Unmarshal(d.Data, &body)
	return map[string]any{"uid": d.UID, "path": body["path"]}, err
}

// keptQueries is how many queries are remembered for each user, starred ones too.
const keptQueries = 500

// remembered is a query of Explore.
type remembered struct {
	DatasourceUID string          `json:"datasourceUid"`
	Queries       json.RawMessage `json:"queries"`
	Comment       string          `json:"comment"`
	Starred       bool            `json:"starred"`
}

func (c *call) owner() string { return strconv.FormatInt(c.caller.UserID, 10) }

func historyBody(d *records.Document) (map[string]any, error) {
	var q remembered
	if err := json.Unmarshal(d.Data, &q); err != nil {
		return nil, err
	}
	by, _ := strconv.ParseInt(d.Owner, 10, 64)
	return map[string]any{
		"uid": d.UID, "datasourceUid": q.DatasourceUID, "createdBy": by, "createdAt": d.CreatedAt / 1000, "comment": q.Comment, "queries": q.Queries, "starred": q.Starred,
	}, nil
}

func (a *api) listHistory(c *call) (any, error) {
	owner := c.owner()
	list, err := a.Store.Documents(c.Context(), c.ws, records.KindQueryHistory, &owner)
	if err != nil {
		return nil, err
	}
	q, out := c.URL.Query(), []map[string]any{}
	text, sources := strings.ToLower(q.Get("searchString")), q["datasourceUid"]
	for _, d := range list {
		body, err := historyBody(d)
		if err != nil {
			return nil, err
		}
		if q.Get("onlyStarred") == "true" && body["starred"] != true {
			continue
		}
		if len(sources) > 0 && !slices.Contains(sources, body["datasourceUid"].(string)) {
			continue
		}
		if strings.Contains(strings.ToLower(string(d.Data)), text) {
			out = append(out, body)
		}
	}
	if q.Get("sort") == "time-asc" {
		slices.Reverse(out)
	}
	total, per := len(out), max(min(c.number("limit", 100), 500), 1)
	page := max(c.number("page", 1), 1)
	from := min((page-1)*per, total)
	return map[string]any{"result": map[string]any{"totalCount": total, "page": page, "perPage": per, "queryHistory": out[from:min(from+per, total)]}}, nil
}

func (a *api) addHistory(c *call) (any, error) {
	var in remembered
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.DatasourceUID == "" || len(in.Queries) == 0 {
		return nil, fail(http.StatusBadRequest, "bad request data: datasourceUid and queries are needed")
	}
	in.Starred, in.Comment = false, ""
	d := &records.Document{WorkspaceID: c.ws, Kind: records.KindQueryHistory, Owner: c.owner(), Data: jsonText(in)}
	if err := a.Store.CreateDocument(c.Context(), d); err != nil {
		return nil, err
	}
	if err := a.Store.TrimDocuments(c.Context(), c.ws, records.KindQueryHistory, d.Owner, keptQueries); err != nil {
		return nil, err
	}
	body, err := historyBody(d)
	return map[string]any{"result": body}, err
}

// history finds one remembered query of the caller's own.
func (a *api) history(c *call) (*records.Document, remembered, error) {
	var q remembered
	d, err := a.document(c, records.KindQueryHistory, c.PathValue("uid"), "Query in query history not found")
	if err != nil {
		return nil, q, err
	}
	if d.Owner != c.owner() {
		return nil, q, fail(http.StatusNotFound, "Query in query history not found")
	}
	return d, q, json.Unmarshal(d.Data, &q)
}

func (a *api) keepHistory(c *call, d *records.Document, q remembered) (any, error) {
	d.Data = jsonText(q)
	if err := a.Store.PutDocument(c.Context(), d); err != nil {
		return nil, err
	}
	body, err := historyBody(d)
	return map[string]any{"result": body}, err
}

func starHistory(on bool) func(*api, *call) (any, error) {
	return func(a *api, c *call) (any, error) {
		d, q, err := a.history(c)
		if err != nil {
			return nil, err
		}
		q.Starred = on
		return a.keepHistory(c, d, q)
	}
}

func (a *api) commentHistory(c *call) (any, error) {
	d, q, err := a.history(c)
	if err != nil {
		return nil, err
	}
	var in struct {
		Comment string `json:"comment"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	q.Comment = in.Comment
	return a.keepHistory(c, d, q)
}

func (a *api) deleteHistory(c *call) (any, error) {
	d, _, err := a.history(c)
	if err != nil {
		return nil, err
	}
	return map[string]any{"message": "Query deleted", "id": d.ID}, a.Store.DeleteDocument(c.Context(), c.ws, records.KindQueryHistory, d.UID)
}
