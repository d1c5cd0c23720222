package grafanaapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/records"
)

func annotationRoutes() []route {
	return []route{
		{"GET /api/annotations", signedIn, (*api).listAnnotations},
		{"POST /api/annotations", signedIn, (*api).createAnnotation},
		{"POST /api/annotations/graphite", signedIn, (*api).graphiteAnnotation},
		{"POST /api/annotations/mass-delete", admins, (*api).deleteAnnotations},
		{"GET /api/annotations/tags", signedIn, (*api).annotationTags},
		{"GET /api/annotations/{id}", signedIn, (*api).getAnnotation},
		{"PUT /api/annotations/{id}", signedIn, (*api).updateAnnotation},
		{"PATCH /api/annotations/{id}", signedIn, (*api).updateAnnotation},
		{"DELETE /api/annotations/{id}", signedIn, (*api).deleteAnnotation},
	}
}

// mayAnnotate says what a caller may do with the annotations of a board; those
// of no board are for all to see and for editors to change.
func (a *api) mayAnnotate(c *call, boardUID string, need records.Level) error {
	if boardUID == "" {
		if need == records.View || c.caller.Role.Includes(caller.RoleEditor) {
			return nil
		}
		return denied("annotations:write")
	}
	b, err := a.Store.Board(c.Context(), c.ws, boardUID)
	if errors.Is(err, records.ErrNotFound) {
		return errBoardNotFound
	}
	if err != nil {
		return err
	}
	return a.mayBoard(c, b, need)
}

func annotationBody(n *records.Annotation, names nameBook) map[string]any {
	u := names.users[strconv.FormatInt(n.UserID, 10)]
	tags := n.Tags
	if tags == nil {
		tags = []string{}
	}
	return map[string]any{
		"id": n.ID, "alertId": 0, "alertName": "", "dashboardId": 0, "dashboardUID": n.BoardUID, "panelId": n.PanelID, "userId": n.UserID, "login": u.Login,
		"email": u.Email, "avatarUrl": "", "newState": "", "prevState": "", "created": n.CreatedAt, "updated": n.UpdatedAt, "time": n.Time, "timeEnd": n.TimeEnd,
		"text": n.Text, "tags": tags, "data": n.Data,
	}
}

func (a *api) listAnnotations(c *call) (any, error) {
	q := c.URL.Query()
	query := records.AnnotationQuery{
		BoardUID: q.Get("dashboardUID"), PanelID: int64(c.number("panelId", 0)), UserID: int64(c.number("userId", 0)),
		From: int64(c.number("from", 0)), To: int64(c.number("to", 0)),
	}
	if id := c.number("dashboardId", 0); id != 0 && query.BoardUID == "" {
		b, err := a.Store.BoardByID(c.Context(), c.ws, int64(id))
		if err != nil {
			return nil, errBoardNotFound
		}
		query.BoardUID = b.UID
	}
	list, err := a.Store.Annotations(c.Context(), c.ws, query)
	if err != nil {
		return nil, err
	}
	names, err := a.names(c)
	if err != nil {
		return nil, err
	}
	boards, err := a.visibleBoards(c)
	if err != nil {
		return nil, err
	}
	visible := map[string]bool{"": true}
	for _, b := range boards {
		visible[b.UID] = true
	}
	limit, wanted, one := c.number("limit", 100), q["tags"], q.Get("matchAny") == "true"
	out := []map[string]any{}
	for _, n := range list {
		if len(out) == limit {
			break
		}
		if visible[n.BoardUID] && hasTags(n.Tags, wanted, one) && q.Get("type") != "alert" {
			out = append(out, annotationBody(n, names))
		}
	}
	return out, nil
}

func hasTags(have, want []string, one bool) bool {
	if len(want) == 0 {
		return true
	}
	found := 0
	for _, t := range want {
		if slices.Contains(have, t) {
			found++
		}
	}
	return found == len(want) || (one && found > 0)
}

type annotationCommand struct {
	DashboardID  int64           `json:"dashboardId"`
	DashboardUID string          `json:"dashboardUID"`
	PanelID      int64           `json:"panelId"`
	Time         *int64          `json:"time"`
	TimeEnd      *int64          `json:"timeEnd"`
	Text         *string         `json:"text"`
	Tags         []string        `json:"tags"`
	Data         json.RawMessage `json:"data"`
}

func (a *api) createAnnotation(c *call) (any, error) {
	var in annotationCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.Text == nil || strings.TrimSpace(*in.Text) == "" {
		return nil, fail(http.StatusBadRequest, "Failed to save annotation: text field should not be empty")
	}
	if in.DashboardUID == "" && in.DashboardID != 0 {
		b, err := a.Store.BoardByID(c.Context(), c.ws, in.DashboardID)
		if err != nil {
			return nil, errBoardNotFound
		}
		in.DashboardUID = b.UID
	}
	if err := a.mayAnnotate(c, in.DashboardUID, records.Edit); err != nil {
		return nil, err
	}
	n := &records.Annotation{WorkspaceID: c.ws, BoardUID: in.DashboardUID, PanelID: in.PanelID, UserID: c.caller.UserID, Text: *in.Text, Tags: in.Tags, Data: in.Data}
	if in.Time != nil {
		n.Time = *in.Time
	}
	if in.TimeEnd != nil {
		n.TimeEnd = *in.TimeEnd
	}
	if n.TimeEnd != 0 && n.TimeEnd < n.Time {
		n.Time, n.TimeEnd = n.TimeEnd, n.Time
	}
	if err := a.Store.CreateAnnotation(c.Context(), n); err != nil {
		return nil, err
	}
	return map[string]any{"message": "Annotation added", "id": n.ID}, nil
}

func (a *api) graphiteAnnotation(c *call) (any, error) {
	var in struct {
		What string `json:"what"`
		When int64  `json:"when"`
		Data string `json:"data"`
		Tags any    `json:"tags"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.What == "" {
		return nil, fail(http.StatusBadRequest, "Failed to save Graphite annotation: what field should not be empty")
	}
	if err := a.mayAnnotate(c, "", records.Edit); err != nil {
		return nil, err
	}
	var tags []string
	switch v := in.Tags.(type) {
	case string:
		tags = strings.Fields(v)
	case []any:
		for _, t := range v {
			s, ok := t.(string)
			if !ok {
				return nil, fail(http.StatusBadRequest, "Failed to save Graphite annotation: tags should be strings")
			}
			tags = append(tags, s)
		}
	case nil:
	default:
		return nil, fail(http.StatusBadRequest, "Failed to save Graphite annotation: unsupported tags format")
	}
	text := in.What
	if in.Data != "" {
		text += "\n" + in.Data
	}
	n := &records.Annotation{WorkspaceID: c.ws, UserID: c.caller.UserID, Text: text, Tags: tags, Time: in.When * 1000}
	if err := a.Store.CreateAnnotation(c.Context(), n); err != nil {
		return nil, err
	}
	return map[string]any{"message": "Graphite annotation added", "id": n.ID}, nil
}

func (a *api) annotation(c *call, need records.Level) (*records.Annotation, error) {
	id, err := strconv.ParseInt(c.PathValue("id"), 10, 64)
	if err != nil {
		return nil, fail(http.StatusBadRequest, "annotationId is invalid")
	}
	n, err := a.Store.Annotation(c.Context(), c.ws, id)
	if errors.Is(err, records.ErrNotFound) {
		return nil, fail(http.StatusNotFound, "Could not find annotation to update")
	}
	if err != nil {
		return nil, err
	}
	return n, a.mayAnnotate(c, n.BoardUID, need)
}

func (a *api) getAnnotation(c *call) (any, error) {
	n, err := a.annotation(c, records.View)
	if err != nil {
		return nil, err
	}
	names, err := a.names(c)
	return annotationBody(n, names), err
}

// updateAnnotation serves PUT and PATCH: what is not given stays, but for the
// tags of a PUT.
func (a *api) updateAnnotation(c *call) (any, error) {
	n, err := a.annotation(c, records.Edit)
	if err != nil {
		return nil, err
	}
	var in annotationCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.Text != nil {
		n.Text = *in.Text
	}
	if in.Time != nil {
		n.Time = *in.Time
	}
	if in.TimeEnd != nil {
		n.TimeEnd = *in.TimeEnd
	}
	n.TimeEnd = max(n.Time, n.TimeEnd)
	if in.Tags != nil || c.Method == http.MethodPut {
		n.Tags = in.Tags
	}
	if len(in.Data) > 0 {
		n.Data = in.Data
	}
	if err := a.Store.UpdateAnnotation(c.Context(), n); err != nil {
		return nil, err
	}
	if c.Method == http.MethodPatch {
		return message("Annotation patched"), nil
	}
	return map[string]any{"message": "Annotation updated", "id": n.ID}, nil
}

func (a *api) deleteAnnotation(c *call) (any, error) {
	n, err := a.annotation(c, records.Edit)
	if err != nil {
		return nil, err
	}
	return message("Annotation deleted"), a.Store.DeleteAnnotation(c.Context(), c.ws, n.ID)
}

func (a *api) deleteAnnotations(c *call) (any, error) {
	var in struct {
		AnnotationID int64  `json:"annotationId"`
		DashboardID  int64  `json:"dashboardId"`
		DashboardUID string `json:"dashboardUID"`
		PanelID      int64  `json:"panelId"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.AnnotationID != 0 {
		return message("Annotations deleted"), a.Store.DeleteAnnotation(c.Context(), c.ws, in.AnnotationID)
	}
	if in.DashboardUID == "" && in.DashboardID != 0 {
		b, err := a.Store.BoardByID(c.Context(), c.ws, in.DashboardID)
		if err != nil {
			return nil, errBoardNotFound
		}
		in.DashboardUID = b.UID
	}
	if in.DashboardUID == "" || in.PanelID == 0 {
		return nil, fail(http.StatusBadRequest, "DashboardUID and PanelId are both required when AnnotationId is not specified")
	}
	list, err := a.Store.Annotations(c.Context(), c.ws, records.AnnotationQuery{BoardUID: in.DashboardUID, PanelID: in.PanelID})
	if err != nil {
		return nil, err
	}
	for _, n := range list {
		if err := a.Store.DeleteAnnotation(c.Context(), c.ws, n.ID); err != nil {
			return nil, err
		}
	}
	return message("Annotations deleted"), nil
}

func (a *api) annotationTags(c *call) (any, error) {
	list, err := a.Store.Annotations(c.Context(), c.ws, records.AnnotationQuery{})
	if err != nil {
		return nil, err
	}
	part, count := strings.ToLower(c.URL.Query().Get("tag")), map[string]int{}
	for _, n := range list {
		for _, t := range n.Tags {
			if strings.Contains(strings.ToLower(t), part) {
				count[t]++
			}
		}
	}
	tags := []map[string]any{}
	for t, n := range count {
		tags = append(tags, map[string]any{"tag": t, "count": n})
	}
	slices.SortFunc(tags, func(x, y map[string]any) int { return strings.Compare(x["tag"].(string), y["tag"].(string)) })
	return map[string]any{"result": map[string]any{"tags": tags[:min(len(tags), c.number("limit", 100))]}}, nil
}
