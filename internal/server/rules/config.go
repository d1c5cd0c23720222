package rules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/uptrace/bun"
	"gopkg.in/yaml.v3"

	"github.com/mangru/mangru/internal/server/workspace"
)

// ServeConfig answers the API with which Cortex has rules edited, group by
// group: GET of all, of a namespace or of a group, POST of a group to a
// namespace, DELETE of either. Namespace and group are decoded; "" is none. The
// namespaces are those of Managed Prometheus. The error, if any, is one for the
// caller to answer.
func (s *Records) ServeConfig(w http.ResponseWriter, r *http.Request, ws *workspace.Workspace, namespace, group string) error {
	err := s.serveConfig(w, r, ws, namespace, group)
	var invalid *InvalidError
	var conflict *ConflictError
	var quota *QuotaError
	switch {
	case errors.As(err, &invalid):
		http.Error(w, invalid.Error(), http.StatusBadRequest)
	case errors.As(err, &quota):
		http.Error(w, quota.Error(), http.StatusBadRequest)
	case errors.As(err, &conflict):
		http.Error(w, conflict.Error(), http.StatusConflict)
	case errors.Is(err, errNoGroup):
		http.Error(w, "group does not exist", http.StatusNotFound)
	case isNotFound(err):
		http.Error(w, "no rule groups found", http.StatusNotFound)
	default:
		return err
	}
	return nil
}

var errNoGroup = errors.New("group does not exist")

func (s *Records) serveConfig(w http.ResponseWriter, r *http.Request, ws *workspace.Workspace, namespace, group string) error {
	ctx := r.Context()
	switch {
	case r.Method == http.MethodGet && group != "":
		return s.getGroup(ctx, w, ws, namespace, group)
	case r.Method == http.MethodGet:
		return s.getGroups(ctx, w, ws, namespace)
	case r.Method == http.MethodPost && namespace != "" && group == "":
		body, err := io.ReadAll(io.LimitReader(r.Body, int64(s.cfg.MaxBytes)+1))
		if err != nil {
			return &InvalidError{Field: "body", Message: "could not be read"}
		}
		if err := s.SetGroup(ctx, ws, namespace, body); err != nil {
			return err
		}
	case r.Method == http.MethodDelete && group != "":
		if err := s.DeleteGroup(ctx, ws, namespace, group); err != nil {
			return err
		}
	case r.Method == http.MethodDelete && namespace != "":
		if err := s.Delete(ctx, ws, namespace, ""); err != nil {
			return err
		}
	default:
		http.Error(w, "This method is not allowed here.", http.StatusMethodNotAllowed)
		return nil
	}
	writeJSON(w, http.StatusAccepted, map[string]any{"status": "success", "data": nil, "errorType": "", "error": ""})
	return nil
}

func (s *Records) getGroups(ctx context.Context, w http.ResponseWriter, ws *workspace.Workspace, namespace string) error {
	rows, err := s.load(ctx, ws.ID)
	if err != nil {
		return err
	}
	out := make(map[string][]rulefmt.RuleGroup)
	for i := range rows {
		if namespace != "" && rows[i].Name != namespace || workspace.Status(rows[i].Status) == workspace.StatusDeleting {
			continue
		}
		groups, issues := Parse([]byte(rows[i].Data))
		if len(issues) > 0 {
			return &InvalidError{Field: rows[i].Name, Message: joinIssues(issues)}
		}
		if len(groups.Groups) > 0 {
			out[rows[i].Name] = groups.Groups
		}
	}
	if len(out) == 0 {
		return notFound(namespace)
	}
	return writeYAML(w, out)
}

func (s *Records) getGroup(ctx context.Context, w http.ResponseWriter, ws *workspace.Workspace, namespace, group string) error {
	r, err := s.find(ctx, s.db, ws.ID, namespace)
	if isNotFound(err) || err == nil && workspace.Status(r.Status) == workspace.StatusDeleting {
		return errNoGroup
	}
	if err != nil {
		return err
	}
	groups, issues := Parse([]byte(r.Data))
	if len(issues) > 0 {
		return &InvalidError{Field: namespace, Message: joinIssues(issues)}
	}
	for i := range groups.Groups {
		if groups.Groups[i].Name == group {
			return writeYAML(w, groups.Groups[i])
		}
	}
	return errNoGroup
}

func writeYAML(w http.ResponseWriter, v any) error {
	b, err := yaml.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode rule groups: %w", err)
	}
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(b)
	return nil
}

// SetGroup puts a group, in YAML, in the place of the one with its name in a
// namespace, or adds it. The namespace is made when there is none. What else is
// in it stays as it was written, comments too.
func (s *Records) SetGroup(ctx context.Context, ws *workspace.Workspace, namespace string, group []byte) error {
	if err := checkName(namespace); err != nil {
		return err
	}
	if len(group) > s.cfg.MaxBytes {
		return &InvalidError{Field: "body", Message: fmt.Sprintf("more than %d bytes (setting rules.max_bytes)", s.cfg.MaxBytes)}
	}
	node, issues := document(group)
	if len(issues) == 0 {
		issues = checkGroup(node)
	}
	if len(issues) > 0 {
		return &InvalidError{Field: "body", Message: joinIssues(issues)}
	}
	return s.edit(ctx, ws, namespace, func(data []byte) ([]byte, error) { return withGroup(data, node) })
}

// checkGroup says what is wrong with a group, with lines of where it was read
// from.
func checkGroup(group *yaml.Node) []Issue {
	doc := fileOf(group)
	data, err := yaml.Marshal(doc)
	if err != nil {
		return []Issue{{Message: err.Error()}}
	}
	if group.Kind != yaml.MappingNode {
		return []Issue{{Line: group.Line, Column: group.Column, Message: "a rule group is expected"}}
	}
	_, issues := parse(doc, data)
	return issues
}

func fileOf(groups ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{
		{Kind: yaml.ScalarNode, Tag: "!!str", Value: "groups"}, {Kind: yaml.SequenceNode, Tag: "!!seq", Content: groups}}}
}

// withGroup returns the data with a group replaced or added; no data is an empty
// file.
func withGroup(data []byte, group *yaml.Node) ([]byte, error) {
	if data == nil {
		return encode(fileOf(group))
	}
	doc, issues := document(data)
	if len(issues) > 0 {
		return nil, &InvalidError{Field: "data", Message: joinIssues(issues)}
	}
	_, list := child(doc, "groups")
	if list == nil || list.Kind != yaml.SequenceNode {
		return encode(fileOf(group))
	}
	name := text(group, "name")
	at := slices.IndexFunc(list.Content, func(g *yaml.Node) bool { return text(g, "name") == name })
	if at < 0 {
		list.Content = append(list.Content, nil)
		at = len(list.Content) - 1
	}
	list.Content[at] = group
	return readable(doc, data, func(groups []rulefmt.RuleGroup) ([]rulefmt.RuleGroup, error) {
		groups = slices.DeleteFunc(groups, func(g rulefmt.RuleGroup) bool { return g.Name == name })
		var added rulefmt.RuleGroup
		err := group.Decode(&added)
		return append(groups, added), err
	})
}

// readable encodes an edited document. Not every way of writing YAML survives
// that; the groups of one that does not are written anew, edited as change says.
func readable(doc *yaml.Node, data []byte, change func([]rulefmt.RuleGroup) ([]rulefmt.RuleGroup, error)) ([]byte, error) {
	edited, err := encode(doc)
	if err == nil {
		if _, issues := Parse(edited); len(issues) == 0 {
			return edited, nil
		}
	}
	groups, issues := Parse(data)
	if len(issues) > 0 {
		return nil, &InvalidError{Field: "data", Message: joinIssues(issues)}
	}
	if groups.Groups, err = change(groups.Groups); err != nil {
		return nil, &InvalidError{Field: "data", Message: err.Error()}
	}
	if edited, err = yaml.Marshal(groups); err != nil {
		return nil, fmt.Errorf("encode rule groups: %w", err)
	}
	return edited, nil
}

func encode(doc *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(doc); err != nil {
		return nil, fmt.Errorf("encode rule groups: %w", err)
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("encode rule groups: %w", err)
	}
	return b.Bytes(), nil
}

// DeleteGroup takes a group out of a namespace, and the namespace away with its
// last group.
func (s *Records) DeleteGroup(ctx context.Context, ws *workspace.Workspace, namespace, group string) error {
	return s.edit(ctx, ws, namespace, func(data []byte) ([]byte, error) {
		if data == nil {
			return nil, errNoGroup
		}
		doc, issues := document(data)
		if len(issues) > 0 {
			return nil, &InvalidError{Field: "data", Message: joinIssues(issues)}
		}
		_, list := child(doc, "groups")
		for i, g := range items(doc, "groups") {
			if text(g, "name") != group {
				continue
			}
			list.Content = append(list.Content[:i], list.Content[i+1:]...)
			if len(list.Content) == 0 {
				return nil, nil
			}
			return readable(doc, data, func(groups []rulefmt.RuleGroup) ([]rulefmt.RuleGroup, error) {
				return slices.DeleteFunc(groups, func(g rulefmt.RuleGroup) bool { return g.Name == group }), nil
			})
		}
		return nil, errNoGroup
	})
}

// edit changes the data of a namespace in one transaction. change is given nil
// when there is none, and returns nil when there is to be none.
func (s *Records) edit(ctx context.Context, ws *workspace.Workspace, namespace string, change func([]byte) ([]byte, error)) error {
	return s.change(ctx, ws, &tokenRow{}, namespace, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.find(ctx, tx, ws.ID, namespace)
		if err != nil && !isNotFound(err) {
			return err
		}
		var old []byte
		if err == nil && workspace.Status(r.Status) != workspace.StatusDeleting {
			old = []byte(r.Data)
		}
		data, err := change(old)
		if err != nil {
			return err
		}
		if data == nil {
			return s.markDeleting(ctx, tx, r)
		}
		groups, err := s.check(namespace, data)
		if err != nil {
			return err
		}
		if r != nil {
			if old == nil { // what was to be deleted is not any more
				r.Status = string(workspace.StatusCreating)
			}
			return s.replace(ctx, tx, r, data, groups)
		}
		now := s.cfg.Now().UnixMilli()
		r = &row{WorkspaceID: ws.ID, Name: namespace, Data: string(data), RuleCount: countRules(groups), Tags: encodeTags(nil),
			Status: string(workspace.StatusCreating), Revision: now, CreatedAt: now, ModifiedAt: now}
		if err := s.checkQuota(ctx, tx, r); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(r).Exec(ctx)
		return err
	})
}
