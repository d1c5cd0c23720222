package grafanaapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/mangru/mangru/internal/dashboard/records"
)

// change is one difference between two versions of a board.
type change struct {
	Path string `json:"path"` // such as panels[3].title
	Op   string `json:"op"`   // add, remove or replace
	Old  any    `json:"old,omitempty"`
	New  any    `json:"new,omitempty"`
}

// diffVersions compares two versions of one or two boards, or a version with
// what is not saved yet, and answers the list of changes.
func (a *api) diffVersions(c *call) (any, error) {
	type side struct {
		DashboardID      int64           `json:"dashboardId"`
		DashboardUID     string          `json:"dashboardUid"`
		Version          int64           `json:"version"`
		UnsavedDashboard json.RawMessage `json:"unsavedDashboard"`
	}
	var in struct {
		Base side `json:"base"`
		New  side `json:"new"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	read := func(s side) (any, error) {
		text := s.UnsavedDashboard
		if len(text) == 0 {
			c.SetPathValue("uid", s.DashboardUID)
			c.SetPathValue("id", strconv.FormatInt(s.DashboardID, 10))
			b, err := a.board(c, records.Edit)
			if err != nil {
				return nil, err
			}
			v, err := a.version(c, b, s.Version)
			if err != nil {
				return nil, err
			}
			text = v.Data
		}
		var value any
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		if err := dec.Decode(&value); err != nil {
			return nil, fail(http.StatusBadRequest, "bad request data: "+err.Error())
		}
		if m, ok := value.(map[string]any); ok {
			delete(m, "version")
		}
		return value, nil
	}
	old, err := read(in.Base)
	if err != nil {
		return nil, err
	}
	now, err := read(in.New)
	if err != nil {
		return nil, err
	}
	changes := []change{}
	if err := compare("", old, now, &changes); err != nil {
		return nil, err
	}
	return changes, nil
}

// maxChanges bounds a diff; beyond it boards have little in common.
const maxChanges = 5000

var errTooDifferent = errors.New("too many differences")

// compare appends the differences between two JSON values. Panels and variables
// are matched by what identifies them, other lists by position.
func compare(path string, old, now any, out *[]change) error {
	if len(*out) > maxChanges {
		return &apiError{http.StatusUnprocessableEntity, message(errTooDifferent.Error())}
	}
	switch o := old.(type) {
	case map[string]any:
		if n, ok := now.(map[string]any); ok {
			return compareObjects(path, o, n, out)
		}
	case []any:
		if n, ok := now.([]any); ok {
			return compareLists(path, o, n, out)
		}
	}
	if !reflect.DeepEqual(old, now) {
		*out = append(*out, change{Path: path, Op: "replace", Old: old, New: now})
	}
	return nil
}

func compareObjects(path string, old, now map[string]any, out *[]change) error {
	names := []string{}
	for k := range old {
		names = append(names, k)
	}
	for k := range now {
		if _, ok := old[k]; !ok {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	for _, k := range names {
		at := k
		if path != "" {
			at = path + "." + k
		}
		o, had := old[k]
		n, has := now[k]
		switch {
		case !had:
			*out = append(*out, change{Path: at, Op: "add", New: n})
		case !has:
			*out = append(*out, change{Path: at, Op: "remove", Old: o})
		default:
			if err := compare(at, o, n, out); err != nil {
				return err
			}
		}
	}
	return nil
}

// identity is what tells an item of a list from the others; empty for none.
func identity(v any) string {
	m, ok := v.(map[string]any)
	if !ok {
		return ""
	}
	for _, k := range []string{"id", "refId", "name"} {
		switch x := m[k].(type) {
		case string:
			return k + "=" + x
		case json.Number:
			return k + "=" + x.String()
		}
	}
	return ""
}

func compareLists(path string, old, now []any, out *[]change) error {
	place := map[string]int{}
	for i, v := range now {
		id := identity(v)
		if _, twice := place[id]; twice || id == "" {
			place = nil
			break
		}
		place[id] = i
	}
	if place == nil || slices.ContainsFunc(old, func(v any) bool { return identity(v) == "" }) {
		return compareByPosition(path, old, now, out)
	}
	seen := map[string]bool{}
	for i, o := range old {
		id := identity(o)
		seen[id] = true
		j, ok := place[id]
		if !ok {
			*out = append(*out, change{Path: fmt.Sprintf("%s[%d]", path, i), Op: "remove", Old: o})
			continue
		}
		if err := compare(fmt.Sprintf("%s[%d]", path, j), o, now[j], out); err != nil {
			return err
		}
	}
	for j, n := range now {
		if !seen[identity(n)] {
			*out = append(*out, change{Path: fmt.Sprintf("%s[%d]", path, j), Op: "add", New: n})
		}
	}
	return nil
}

func compareByPosition(path string, old, now []any, out *[]change) error {
	for i := range max(len(old), len(now)) {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case i >= len(old):
			*out = append(*out, change{Path: at, Op: "add", New: now[i]})
		case i >= len(now):
			*out = append(*out, change{Path: at, Op: "remove", Old: old[i]})
		default:
			if err := compare(at, old[i], now[i], out); err != nil {
				return err
			}
		}
	}
	return nil
}
