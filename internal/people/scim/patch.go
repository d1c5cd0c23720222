package scim

import (
	"encoding/json"
	"strings"
)

// term is one comparison of a filter: an attribute, in lower case, and the value
// that it has to have.
type term struct{ path, value string }

// parseFilter reads comparisons with eq, joined by and. That is what providers
// send; other operators are refused.
func parseFilter(text string) ([]term, error) {
	var terms []term
	rest := strings.TrimSpace(text)
	for rest != "" {
		path, after, ok := strings.Cut(rest, " ")
		op, after, ok2 := strings.Cut(strings.TrimLeft(after, " "), " ")
		if !ok || !ok2 || !strings.EqualFold(op, "eq") {
			return nil, invalid("invalidFilter", "found %.120q, allowed is: attribute eq \"value\", joined by and", text)
		}
		value, after, err := quoted(strings.TrimLeft(after, " "))
		if err != nil {
			return nil, err
		}
		terms = append(terms, term{strings.ToLower(withoutSchema(path)), value})
		if rest = strings.TrimSpace(after); rest == "" {
			break
		}
		word, after, _ := strings.Cut(rest, " ")
		if rest = strings.TrimSpace(after); !strings.EqualFold(word, "and") || rest == "" {
			return nil, invalid("invalidFilter", "found %.120q, comparisons can be joined by and", text)
		}
	}
	return terms, nil
}

// quoted reads a JSON string, or a bare true or false, off the front of s.
func quoted(s string) (value, rest string, err error) {
	for _, word := range []string{"true", "false", "True", "False"} {
		if after, ok := strings.CutPrefix(s, word); ok && (after == "" || after[0] == ' ') {
			return strings.ToLower(word), after, nil
		}
	}
	dec := json.NewDecoder(strings.NewReader(s))
	t, err := dec.Token()
	value, ok := t.(string)
	if err != nil || !ok {
		return "", "", invalid("invalidFilter", "found %.80q where a text in quotes is expected", s)
	}
	return value, s[dec.InputOffset():], nil
}

// withoutSchema takes the URN of a core schema off an attribute's name.
func withoutSchema(path string) string {
	for _, schema := range []string{schemaUser, schemaGroup} {
		if len(path) > len(schema) && strings.EqualFold(path[:len(schema)], schema) {
			return strings.TrimPrefix(path[len(schema):], ":")
		}
	}
	return path
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// operation is one change of a PATCH.
type operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
}

// target is a path taken apart: attr, attr.sub, attr[term] or attr[term].sub.
type target struct {
	attr, sub string
	where     *term
}

func (s *session) patch() ([]operation, error) {
	var in struct {
		Operations []operation `json:"Operations"`
	}
	if err := s.decode(&in); err != nil {
		return nil, err
	}
	if len(in.Operations) == 0 || len(in.Operations) > maxOperations {
		return nil, invalid("invalidValue", "Operations: has %d entries, allowed are 1 to %d", len(in.Operations), maxOperations)
	}
	for i, op := range in.Operations {
		in.Operations[i].Op = strings.ToLower(op.Op)
		switch in.Operations[i].Op {
		case "add", "replace", "remove":
		default:
			return nil, invalid("invalidSyntax", "Operations[%d].op: found %.20q, allowed are add, replace and remove", i, op.Op)
		}
	}
	return in.Operations, nil
}

func parseTarget(path string) (target, error) {
	path = withoutSchema(strings.TrimSpace(path))
	bad := invalid("invalidPath", "found %.120q, allowed are attribute, attribute.sub, attribute[sub eq \"value\"] and the like", path)
	attr, filter, filtered := strings.Cut(path, "[")
	t := target{attr: attr}
	if filtered {
		end := strings.LastIndex(filter, "]")
		if end < 0 {
			return t, bad
		}
		terms, err := parseFilter(filter[:end])
		if err != nil {
			return t, err
		}
		after := filter[end+1:]
		if len(terms) != 1 || after != "" && !strings.HasPrefix(after, ".") {
			return t, bad
		}
		t.where, t.sub = &terms[0], strings.TrimPrefix(after, ".")
	} else if a, sub, ok := strings.Cut(attr, "."); ok {
		t.attr, t.sub = a, sub
	}
	if t.attr == "" || strings.ContainsAny(t.attr+t.sub, ".[]\" ") && !strings.HasPrefix(t.attr, "urn:") {
		return t, bad
	}
	t.attr, t.sub = lowerFirst(t.attr), lowerFirst(t.sub)
	return t, nil
}

// apply changes a resource. Attributes of schemas that are not kept here are
// passed over, as RFC 7644 allows.
func (op operation) apply(m resource) error {
	var value any
	if len(op.Value) > 0 {
		if err := json.Unmarshal(op.Value, &value); err != nil {
			return invalid("invalidSyntax", "value: is not JSON")
		}
	}
	if op.Path == "" {
		all, ok := value.(map[string]any)
		if !ok || op.Op == "remove" {
			return invalid("noTarget", "an operation without a path needs an object as value, and remove needs a path")
		}
		for k, v := range all {
			if err := set(m, op.Op, k, v); err != nil {
				return err
			}
		}
		return nil
	}
	return set(m, op.Op, op.Path, value)
}

func set(m resource, op, path string, value any) error {
	if strings.HasPrefix(strings.ToLower(path), "urn:ietf:params:scim:schemas:extension:") {
		return nil
	}
	t, err := parseTarget(path)
	if err != nil {
		return err
	}
	value = lowerNames(value)
	switch {
	case t.where != nil:
		return setWhere(m, op, t, value)
	case t.sub != "":
		inner, ok := m[t.attr].(map[string]any)
		if !ok {
			if m[t.attr] != nil {
				return invalid("invalidPath", "%s has no attribute %s", t.attr, t.sub)
			}
			inner = make(map[string]any)
			m[t.attr] = inner
		}
		put(inner, op, t.sub, value)
	case op == "add":
		// Adding to a list appends; the directory says when there are too many.
		if old, ok := m[t.attr].([]any); ok {
			if more, ok := value.([]any); ok {
				m[t.attr] = merge(old, more)
				return nil
			}
		}
		put(m, op, t.attr, value)
	default:
		put(m, op, t.attr, value)
	}
	return nil
}

func put(m map[string]any, op, name string, value any) {
	if op == "remove" || value == nil {
		delete(m, name)
		return
	}
	m[name] = value
}

// merge appends entries; one of a type that is there takes its place.
func merge(old, more []any) []any {
	out := append([]any{}, old...)
next:
	for _, entry := range more {
		e, _ := entry.(map[string]any)
		for i := range out {
			if o, _ := out[i].(map[string]any); o != nil && e != nil && o["type"] == e["type"] {
				out[i] = entry
				continue next
			}
		}
		out = append(out, entry)
	}
	return out
}

// setWhere changes the entries of a list that a filter names. Where none is,
// add and replace make one.
func setWhere(m resource, op string, t target, value any) error {
	list, _ := m[t.attr].([]any)
	var kept []any
	found := false
	for _, entry := range list {
		e, _ := entry.(map[string]any)
		if e == nil || !matches(e, *t.where) {
			kept = append(kept, entry)
			continue
		}
		found = true
		switch {
		case t.sub != "":
			put(e, op, t.sub, value)
			kept = append(kept, e)
		case op != "remove":
			kept = append(kept, value)
		}
	}
	if !found && op != "remove" {
		e := map[string]any{t.where.path: t.where.value}
		switch {
		case t.sub != "":
			e[t.sub] = value
		default:
			if v, ok := value.(map[string]any); ok {
				for k, inner := range v {
					e[k] = inner
				}
			}
		}
		kept = append(kept, e)
	}
	if len(kept) == 0 {
		delete(m, t.attr)
		return nil
	}
	m[t.attr] = kept
	return nil
}

func matches(e map[string]any, t term) bool {
	switch v := e[lowerFirst(t.path)].(type) {
	case string:
		return strings.EqualFold(v, t.value)
	case bool:
		return v == (t.value == "true")
	}
	return false
}
