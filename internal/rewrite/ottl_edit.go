package rewrite

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// editor is a function that changes something.
type editor interface {
	edit(s *subject)
	touches() touch
	// onResource reports whether it changes a resource.
	onResource() bool
}

// editors are the parameters of the editors, by name; all but the last few are needed.
var editors = map[string]struct {
	parameters []string
	required   int
}{
	"set":                  {[]string{"target", "value"}, 2},
	"delete_key":           {[]string{"target", "key"}, 2},
	"delete_matching_keys": {[]string{"target", "pattern"}, 2},
	"keep_keys":            {[]string{"target", "keys"}, 2},
	"keep_matching_keys":   {[]string{"target", "pattern"}, 2},
	"replace_pattern":      {[]string{"target", "regex_pattern", "replacement"}, 3},
	"replace_all_patterns": {[]string{"target", "mode", "regex_pattern", "replacement"}, 4},
	"truncate_all":         {[]string{"target", "limit"}, 2},
}

// editor reads an editor and its arguments.
func (p *parser) editor() (editor, error) {
	t := p.next()
	if t.kind != wordToken || isUpper(t.text) {
		return nil, p.errorf(t, "expected an editor such as set or delete_key, found %s", t)
	}
	e, ok := editors[t.text]
	if !ok {
		return nil, p.errorf(t, "the editor %q is not supported (supported: %s)", t.text, strings.Join(sortedNames(editors), ", "))
	}
	args, err := p.arguments(t, e.parameters, e.required)
	if err != nil {
		return nil, err
	}
	if t.text == "set" || t.text == "replace_pattern" {
		return p.valueEditor(t, args)
	}
	target, ok := args[0].(attributeMap)
	if !ok {
		return nil, p.errorf(t, "%s needs attributes as its target", t.text)
	}
	return p.mapEditor(t, target, args[1:])
}

// valueEditor makes an editor of one value.
func (p *parser) valueEditor(t token, args []expr) (editor, error) {
	if t.text == "set" {
		switch target := args[0].(type) {
		case attribute:
			return setAttribute{attribute: target, Value: args[1]}, nil
		case metricField:
			if target.Name == "name" {
				return setName{args[1]}, nil
			}
			return nil, p.errorf(t, "metric.%s cannot be changed here", target.Name)
		}
		return nil, p.errorf(t, "set needs an attribute or metric.name as its target")
	}
	re, err := p.pattern(t, args[1])
	if err != nil {
		return nil, err
	}
	replacement, err := p.text(t, args[2])
	if err != nil {
		return nil, err
	}
	e := replaced{Of: args[0], Pattern: re, Replacement: replacement}
	switch target := args[0].(type) {
	case attribute:
		return setAttribute{attribute: target, Value: e}, nil
	case metricField:
		if target.Name == "name" {
			return setName{e}, nil
		}
	}
	return nil, p.errorf(t, "replace_pattern needs an attribute or metric.name as its target")
}

// mapEditor makes an editor of all attributes.
func (p *parser) mapEditor(t token, target attributeMap, args []expr) (editor, error) {
	e := editAll{attributeMap: target, Name: t.text}
	// Changing all attributes is not looking at any.
	p.reads = slices.DeleteFunc(p.reads, func(key string) bool { return key == "" })
	var err error
	switch t.text {
	case "delete_key":
		var key string
		key, err = p.text(t, args[0])
		e.Keys = []string{key}
	case "keep_keys":
		items, ok := args[0].(list)
		if !ok {
			return nil, p.errorf(t, `keep_keys needs a list of keys such as ["a", "b"]`)
		}
		for _, item := range items {
			key, err := p.text(t, item)
			if err != nil {
				return nil, err
			}
			e.Keys = append(e.Keys, key)
		}
	case "delete_matching_keys", "keep_matching_keys":
		e.Pattern, err = p.pattern(t, args[0])
	case "replace_all_patterns":
		var mode string
		if mode, err = p.text(t, args[0]); err == nil && mode != "value" && mode != "key" {
			err = p.errorf(t, `the mode must be "value" or "key", found %q`, mode)
		}
		e.OfKeys = mode == "key"
		if err == nil {
			e.Pattern, err = p.pattern(t, args[1])
		}
		if err == nil {
			e.Replacement, err = p.text(t, args[2])
		}
	case "truncate_all":
		l, ok := args[0].(literal)
		limit, isInt := l.Value.(int64)
		if !ok || !isInt || limit < 0 {
			return nil, p.errorf(t, "the limit must be a whole number, not below 0")
		}
		e.Limit = int(limit)
	}
	return e, err
}

// setAttribute gives an attribute a value. A value that is not there takes the
// attribute away, as an empty one is not exported.
type setAttribute struct {
	attribute
	Value expr
}

func (e setAttribute) edit(s *subject) {
	v, ok := e.Value.eval(s)
	if !ok {
		return
	}
	t, _ := text(v)
	s.attributes(e.Resource).set(e.Key, t)
}

func (e setAttribute) touches() touch {
	if e.Resource {
		return touchOfKey(e.Key)
	}
	return writesSeries
}

func (e setAttribute) onResource() bool { return e.Resource }

// setName gives the metric another name.
type setName struct{ Value expr }

func (e setName) edit(s *subject) {
	if v, ok := e.Value.eval(s); ok {
		if name, ok := v.(string); ok {
			s.m.rename(s.b, name)
			s.m = metricOf(s.b, s.family)
		}
	}
}

func (setName) touches() touch   { return writesSeries | renames }
func (setName) onResource() bool { return false }

// replaced is a text with every match of a pattern replaced.
type replaced struct {
	Of          expr
	Pattern     *regexp.Regexp
	Replacement string
}

func (e replaced) eval(s *subject) (any, bool) {
	v, ok := e.Of.eval(s)
	old, isText := v.(string)
	if !ok || !isText {
		return nil, false // there is nothing to replace anything in
	}
	return e.Pattern.ReplaceAllString(old, e.Replacement), true
}

// editAll changes all attributes that it chooses.
type editAll struct {
	attributeMap
	Name        string
	Keys        []string
	Pattern     *regexp.Regexp
	Replacement string
	OfKeys      bool
	Limit       int
}

func (e editAll) edit(s *subject) {
	a := s.attributes(e.Resource)
	a.each(func(key, value string) {
		switch e.Name {
		case "delete_key", "keep_keys":
			if slices.Contains(e.Keys, key) == (e.Name == "delete_key") {
				a.set(key, "")
			}
		case "delete_matching_keys", "keep_matching_keys":
			if e.Pattern.MatchString(key) == (e.Name == "delete_matching_keys") {
				a.set(key, "")
			}
		case "replace_all_patterns":
			e.replace(a, key, value)
		case "truncate_all":
			if len(value) > e.Limit {
				a.set(key, truncate(value, e.Limit))
			}
		}
	})
}

func (e editAll) replace(a attributes, key, value string) {
	if !e.OfKeys {
		if e.Pattern.MatchString(value) {
			a.set(key, e.Pattern.ReplaceAllString(value, e.Replacement))
		}
		return
	}
	if newKey := e.Pattern.ReplaceAllString(key, e.Replacement); newKey != key {
		a.set(key, "")
		a.set(newKey, value)
	}
}

// truncate cuts a text to at most limit bytes, between characters.
func truncate(s string, limit int) string {
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

func (e editAll) touches() touch {
	if !e.Resource {
		return writesSeries
	}
	if e.Name == "delete_key" {
		return touchOfKey(e.Keys[0])
	}
	return writesResource | writesIdentity | readsResource
}

func (e editAll) onResource() bool { return e.Resource }
