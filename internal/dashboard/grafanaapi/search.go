package grafanaapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mangru/mangru/internal/dashboard/records"
)

// searchQuery is what /api/search is asked for.
type searchQuery struct {
	words              []string
	tags               []string
	boardUIDs          []string
	boardIDs           []int64
	folderUIDs         []string // general for the top
	anyFolder, starred bool
	folders, boards    bool
	need               records.Level
	descending         bool
	page, limit        int
}

func readSearch(v url.Values, folderByID map[int64]string) (searchQuery, error) {
	q := searchQuery{
		words: strings.Fields(strings.ToLower(v.Get("query"))), tags: v["tag"], starred: v.Get("starred") == "true",
		boardUIDs: append(v["dashboardUIDs"], v["dashboardUID"]...), need: records.View, descending: v.Get("sort") == "alpha-desc", page: 1, limit: 1000,
	}
	for _, s := range v["dashboardIds"] {
		id, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return q, fail(http.StatusBadRequest, "dashboardIds: found "+s+", allowed are numbers")
		}
		q.boardIDs = append(q.boardIDs, id)
	}
	switch t := v.Get("type"); t {
	case "":
		q.folders, q.boards = true, true
	case "dash-db":
		q.boards = true
	case "dash-folder":
		q.folders = true
	default: // dash-annotation and what else there may come: nothing of it here
	}
	if v.Get("permission") == "Edit" {
		q.need = records.Edit
	}
	q.folderUIDs = slices.Clone(v["folderUIDs"])
	for _, s := range v["folderIds"] {
		if id, err := strconv.ParseInt(s, 10, 64); err == nil && id > 0 {
			q.folderUIDs = append(q.folderUIDs, folderByID[id])
		} else {
			q.folderUIDs = append(q.folderUIDs, records.GeneralFolder)
		}
	}
	q.anyFolder = len(q.folderUIDs) == 0
	if n, err := strconv.Atoi(v.Get("limit")); err == nil && n > 0 {
		if n > 5000 {
			return q, fail(http.StatusUnprocessableEntity, "Limit is above maximum allowed (5000), use page parameter to access hits beyond limit")
		}
		q.limit = n
	}
	if n, err := strconv.Atoi(v.Get("page")); err == nil && n > 1 {
		q.page = n
	}
	return q, nil
}

func (q *searchQuery) matchesTitle(title string) bool {
	title = strings.ToLower(title)
	return !slices.ContainsFunc(q.words, func(w string) bool { return !strings.Contains(title, w) })
}

func (q *searchQuery) inFolder(uid string) bool {
	if uid == "" {
		uid = records.GeneralFolder
	}
	return q.anyFolder || slices.Contains(q.folderUIDs, uid)
}

func (q *searchQuery) matchesBoard(b *records.Board, starred bool) bool {
	if len(q.boardUIDs)+len(q.boardIDs) > 0 && !slices.Contains(q.boardUIDs, b.UID) && !slices.Contains(q.boardIDs, b.ID) {
		return false
	}
	return q.boards && (!q.starred || starred) && q.inFolder(b.FolderUID) && q.matchesTitle(b.Title) &&
		!slices.ContainsFunc(q.tags, func(t string) bool { return !slices.Contains(b.Tags, t) })
}

// search answers folders first, then boards, each by title.
func (a *api) search(c *call) (any, error) {
	rights, err := c.access()
	if err != nil {
		return nil, err
	}
	folders, err := a.Store.Folders(c.Context(), c.ws)
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]string, len(folders))
	for _, f := range folders {
		byID[f.ID] = f.UID
	}
	q, err := readSearch(c.URL.Query(), byID)
	if err != nil {
		return nil, err
	}
	boards, err := a.visibleBoards(c)
	if err != nil {
		return nil, err
	}
	stars, err := a.Store.Stars(c.Context(), c.ws, c.caller.UserID)
	if err != nil {
		return nil, err
	}
	var hits, boardHits []map[string]any
	if q.folders && len(q.tags) == 0 && !q.starred && len(q.boardIDs)+len(q.boardUIDs) == 0 {
		for _, f := range folders {
			if q.inFolder(f.ParentUID) && q.matchesTitle(f.Title) && rights.FolderLevel(c.caller, f.UID) >= q.need {
				hits = append(hits, folderHit(rights, f))
			}
		}
	}
	for _, b := range boards {
		if q.matchesBoard(b, stars[b.UID]) && (q.need == records.View || rights.BoardLevel(c.caller, b) >= q.need) {
			boardHits = append(boardHits, boardHit(rights, b, stars[b.UID]))
		}
	}
	for _, list := range [][]map[string]any{hits, boardHits} {
		slices.SortStableFunc(list, func(x, y map[string]any) int {
			n := strings.Compare(strings.ToLower(x["title"].(string)), strings.ToLower(y["title"].(string)))
			if q.descending {
				n = -n
			}
			return n
		})
	}
	hits = append(hits, boardHits...)
	from := min((q.page-1)*q.limit, len(hits))
	hits = hits[from:min(from+q.limit, len(hits))]
	if hits == nil {
		hits = []map[string]any{}
	}
	return hits, nil
}

func folderHit(rights *records.Access, f *records.Folder) map[string]any {
	hit := map[string]any{
		"id": f.ID, "orgId": OrgID, "uid": f.UID, "title": f.Title, "uri": "db/" + records.Slug(f.Title), "url": f.URL(), "slug": "",
		"type": "dash-folder", "tags": []string{}, "isStarred": false, "sortMeta": 0, "isDeleted": false,
	}
	parent(rights, f.ParentUID, hit)
	return hit
}

func boardHit(rights *records.Access, b *records.Board, starred bool) map[string]any {
	tags := b.Tags
	if tags == nil {
		tags = []string{}
	}
	hit := map[string]any{
		"id": b.ID, "orgId": OrgID, "uid": b.UID, "title": b.Title, "uri": "db/" + b.Slug(), "url": b.URL(), "slug": "",
		"type": "dash-db", "tags": tags, "isStarred": starred, "sortMeta": 0, "isDeleted": false,
	}
	parent(rights, b.FolderUID, hit)
	return hit
}

func parent(rights *records.Access, uid string, hit map[string]any) {
	if f := rights.Folder(uid); f != nil {
		hit["folderId"], hit["folderUid"], hit["folderTitle"], hit["folderUrl"] = f.ID, f.UID, f.Title, f.URL()
	}
}
