package grafanaapi

import (
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/mangru/mangru/internal/dashboard/records"
)

func folderRoutes() []route {
	return []route{
		{"GET /api/folders", signedIn, (*api).listFolders},
		{"POST /api/folders", signedIn, (*api).createFolder},
		{"GET /api/folders/id/{id}", signedIn, (*api).getFolder},
		{"GET /api/folders/{uid}", signedIn, (*api).getFolder},
		{"PUT /api/folders/{uid}", signedIn, (*api).updateFolder},
		{"DELETE /api/folders/{uid}", signedIn, (*api).deleteFolder},
		{"POST /api/folders/{uid}/move", signedIn, (*api).moveFolder},
		{"GET /api/folders/{uid}/counts", signedIn, (*api).folderCounts},
	}
}

// folder finds the folder of a path and makes sure of what the caller may do.
func (a *api) folder(c *call, need records.Level) (*records.Folder, error) {
	rights, err := c.access()
	if err != nil {
		return nil, err
	}
	uid := c.PathValue("uid")
	if uid == "" {
		id, err := strconv.ParseInt(c.PathValue("id"), 10, 64)
		if err != nil {
			return nil, fail(http.StatusBadRequest, "id is invalid")
		}
		if uid, err = a.folderRef(c, "", id); err != nil {
			return nil, err
		}
	}
	f := rights.Folder(uid)
	if f == nil {
		return nil, records.ErrFolderNotFound
	}
	if rights.FolderLevel(c.caller, uid) < need {
		return nil, denied(map[records.Level]string{records.View: "folders:read", records.Edit: "folders:write", records.Admin: "folders.permissions:write"}[need])
	}
	return f, nil
}

func folderBody(c *call, rights *records.Access, f *records.Folder) map[string]any {
	level := rights.FolderLevel(c.caller, f.UID)
	out := map[string]any{
		"id": f.ID, "uid": f.UID, "orgId": OrgID, "title": f.Title, "description": f.Description, "url": f.URL(),
		"hasAcl":  slices.ContainsFunc(rights.FolderPermissions(f.UID), func(p records.Permission) bool { return p.Inherited == "" }),
		"canSave": level >= records.Edit, "canEdit": level >= records.Edit, "canAdmin": level >= records.Admin, "canDelete": level >= records.Edit,
		"createdBy": f.CreatedBy, "created": stamp(f.CreatedAt), "updatedBy": f.UpdatedBy, "updated": stamp(f.UpdatedAt), "version": f.Version,
	}
	if f.ParentUID != "" {
		out["parentUid"] = f.ParentUID
		parents := []map[string]any{}
		for _, p := range rights.Parents(f.UID) {
			parents = append(parents, map[string]any{"id": p.ID, "uid": p.UID, "title": p.Title, "url": p.URL(), "parentUid": p.ParentUID})
		}
		out["parents"] = parents
	}
	return out
}

func (a *api) listFolders(c *call) (any, error) {
	rights, err := c.access()
	if err != nil {
		return nil, err
	}
	folders, err := a.Store.Folders(c.Context(), c.ws)
	if err != nil {
		return nil, err
	}
	q := c.URL.Query()
	parentUID, need := q.Get("parentUid"), records.View
	if q.Get("permission") == "Edit" {
		need = records.Edit
	}
	if parentUID != "" && rights.Folder(parentUID) == nil {
		return nil, records.ErrFolderNotFound
	}
	out := []map[string]any{}
	for _, f := range folders {
		if f.ParentUID != parentUID || rights.FolderLevel(c.caller, f.UID) < need {
			continue
		}
		item := map[string]any{"id": f.ID, "uid": f.UID, "title": f.Title}
		if f.ParentUID != "" {
			item["parentUid"] = f.ParentUID
		}
		out = append(out, item)
	}
	limit := c.number("limit", 1000)
	from := min((max(c.number("page", 1), 1)-1)*limit, len(out))
	return out[from:min(from+limit, len(out))], nil
}

func (a *api) getFolder(c *call) (any, error) {
	if c.PathValue("uid") == records.GeneralFolder {
		level := (&records.Access{}).FolderLevel(c.caller, "")
		return map[string]any{
			"id": 0, "uid": records.GeneralFolder, "orgId": OrgID, "title": "Dashboards", "url": "", "canEdit": level >= records.Edit,
			"canSave": level >= records.Edit, "canAdmin": level >= records.Admin, "canDelete": false,
		}, nil
	}
	f, err := a.folder(c, records.View)
	if err != nil {
		return nil, err
	}
	return folderBody(c, c.rights, f), nil
}

func (a *api) createFolder(c *call) (any, error) {
	var in struct {
		UID         string `json:"uid"`
		Title       string `json:"title"`
		Description string `json:"description"`
		ParentUID   string `json:"parentUid"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	rights, err := c.access()
	if err != nil {
		return nil, err
	}
	if in.ParentUID == records.GeneralFolder {
		in.ParentUID = ""
	}
	if in.ParentUID != "" && rights.Folder(in.ParentUID) == nil {
		return nil, records.ErrFolderNotFound
	}
	if rights.FolderLevel(c.caller, in.ParentUID) < records.Edit {
		return nil, denied("folders:create")
	}
	f, err := a.Store.CreateFolder(c.Context(), c.ws, records.FolderInput{
		UID: in.UID, Title: in.Title, Description: in.Description, ParentUID: in.ParentUID, By: c.caller.Login, Creator: c.creator(),
	})
	if err != nil {
		return nil, err
	}
	return a.freshFolder(c, f)
}

// freshFolder answers a folder as it is after a change.
func (a *api) freshFolder(c *call, f *records.Folder) (any, error) {
	c.rights = nil
	rights, err := c.access()
	if err != nil {
		return nil, err
	}
	return folderBody(c, rights, f), nil
}

func (a *api) updateFolder(c *call) (any, error) {
	f, err := a.folder(c, records.Edit)
	if err != nil {
		return nil, err
	}
	var in struct {
		Title       string  `json:"title"`
		Description *string `json:"description"`
		Version     int64   `json:"version"`
		Overwrite   bool    `json:"overwrite"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.Description == nil {
		in.Description = &f.Description
	}
	renamed := in.Title != f.Title
	f, err = a.Store.UpdateFolder(c.Context(), c.ws, records.FolderInput{
		UID: f.UID, Title: in.Title, Description: *in.Description, Version: in.Version, Overwrite: in.Overwrite, By: c.caller.Login,
	})
	if err != nil {
		return nil, err
	}
	out, err := a.freshFolder(c, f)
	if err == nil && renamed {
		err = a.republish(c, f.UID) // alerts carry the folder's title
	}
	return out, err
}

func (a *api) moveFolder(c *call) (any, error) {
	f, err := a.folder(c, records.Edit)
	if err != nil {
		return nil, err
	}
	var in struct {
		ParentUID string `json:"parentUid"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.ParentUID == records.GeneralFolder {
		in.ParentUID = ""
	}
	if in.ParentUID != "" && c.rights.Folder(in.ParentUID) == nil {
		return nil, records.ErrFolderNotFound
	}
	if c.rights.FolderLevel(c.caller, in.ParentUID) < records.Edit {
		return nil, &apiError{http.StatusForbidden, map[string]any{"messageId": "folders.forbiddenMove", "message": "Access denied to the destination folder", "statusCode": 403}}
	}
	// Nobody gains rights over a folder by moving it to where they have more.
	if c.rights.FolderLevel(c.caller, in.ParentUID) > c.rights.FolderLevel(c.caller, f.UID) {
		return nil, &apiError{http.StatusForbidden, map[string]any{
			"messageId": "folders.accessEscalation", "message": "Cannot move a folder to a folder where you have higher permissions", "statusCode": 403,
		}}
	}
	if f, err = a.Store.MoveFolder(c.Context(), c.ws, f.UID, in.ParentUID, c.caller.Login); err != nil {
		return nil, err
	}
	return a.freshFolder(c, f)
}

func (a *api) deleteFolder(c *call) (any, error) {
	f, err := a.folder(c, records.Edit)
	if err != nil {
		return nil, err
	}
	if err := a.dropFolderRules(c, f.UID, c.URL.Query().Get("forceDeleteRules") == "true"); err != nil {
		return nil, err
	}
	err = a.Store.DeleteFolder(c.Context(), c.ws, f.UID)
	if errors.Is(err, records.ErrDeleteProvision) {
		return nil, fail(http.StatusBadRequest, "Folder cannot be deleted: it contains provisioned dashboards")
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"id": f.ID, "title": f.Title, "message": "Folder " + f.Title + " deleted"}, nil
}

func (a *api) folderCounts(c *call) (any, error) {
	f, err := a.folder(c, records.View)
	if err != nil {
		return nil, err
	}
	n, err := a.Store.FolderCounts(c.Context(), c.ws, f.UID)
	if err != nil {
		return nil, err
	}
	rules, err := a.folderRules(c, f.UID)
	return map[string]int{"folder": n.Folders, "dashboard": n.Boards, "librarypanel": n.LibraryElements, "library_elements": n.LibraryElements, "alertrule": len(rules)}, err
}
