package otelconf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/model/relabel"
	promyaml "go.yaml.in/yaml/v2"
)

// Prometheus' own types decode themselves from Prometheus' own YAML package and
// report what is wrong with or without a line of the text they were given.
// So a value is written out again with a known line for each of its parts,
// decoded, and the line of an error led back to where the part came from.
// Where the error names no line, the part is found whose absence cures it.

// printed is a tree written out as YAML, and what stands on each of its lines.
type printed struct {
	text  bytes.Buffer
	lines []printedLine
}

type printedLine struct {
	pos  position
	path string
}

func printTree(n *node, path string) *printed {
	p := &printed{}
	p.print(n, n.pos, path, 0)
	return p
}

func (p *printed) line(pos position, path string) {
	p.text.WriteByte('\n')
	p.lines = append(p.lines, printedLine{pos, path})
}

// print writes n after what is already on the current line.
func (p *printed) print(n *node, pos position, path string, depth int) {
	if n.kind == scalar {
		p.text.WriteByte(' ')
		p.text.WriteString(scalarText(n))
		p.line(pos, path)
		return
	}
	if n.children() == 0 {
		p.text.WriteString(map[kind]string{mapping: " {}", sequence: " []"}[n.kind])
		p.line(pos, path)
		return
	}
	if p.text.Len() > 0 {
		p.line(pos, path)
	}
	for i := range n.children() {
		value, at, step := n.child(i)
		p.text.WriteString(strings.Repeat(" ", depth))
		if n.kind == mapping {
			p.text.WriteString(quote(n.entries[i].key) + ":")
		} else {
			p.text.WriteByte('-')
		}
		p.print(value, at, strings.TrimPrefix(path+step, "."), depth+1)
	}
}

// oldBooleans are the words that Prometheus' YAML 1.1 takes for booleans and the
// newer parser here for strings.
var oldBooleans = regexp.MustCompile(`^(?i:y|n|yes|no|on|off)$`)

func scalarText(n *node) string {
	if n.plain && (n.tag != tagString || oldBooleans.MatchString(n.text)) && !strings.ContainsAny(n.text, "\n\r") {
		if n.text == "" {
			return "null"
		}
		return n.text
	}
	if n.tag == tagNull {
		return "null"
	}
	return quote(n.text)
}

// quote renders s as JSON, which is a double-quoted YAML string too.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic("BUG: a string is not JSON: " + err.Error())
	}
	return string(b)
}

// decodeProm decodes n into out, which Prometheus' YAML package must be able to
// do, and runs check, if any, on the result.
func decodeProm(n *node, path string, out any, check func() error) (*printed, error) {
	text := printTree(n, path)
	if err := strictUnmarshal(text.text.Bytes(), out); err != nil {
		return text, err
	}
	if check != nil {
		return text, check()
	}
	return text, nil
}

func strictUnmarshal(data []byte, out any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not understood: %v", r)
		}
	}()
	return promyaml.UnmarshalStrict(data, out)
}

// attempt decodes a tree and checks the result; explain calls it again on
// trees that lack a part.
type attempt func(n *node, path string) (*printed, error)

// explain turns the error of an attempt on n into Errors with a place.
func explain(n *node, path string, root reflect.Type, try attempt, text *printed, err error) []*Error {
	var typeErr *promyaml.TypeError
	if !errors.As(err, &typeErr) {
		return []*Error{blame(n, path, try, err)}
	}
	var out []*Error
	for _, msg := range typeErr.Errors {
		line := 0
		if m := errorLine.FindStringSubmatch(msg); m != nil {
			line, _ = strconv.Atoi(m[1])
			msg = m[2]
		}
		e := &Error{File: n.pos.file, Line: n.pos.line, Field: path, Text: msg, Cause: err}
		if line >= 1 && line <= len(text.lines) {
			l := text.lines[line-1]
			e.File, e.Line, e.Field = l.pos.file, l.pos.line, l.path
		}
		if m := unknownFieldText.FindStringSubmatch(msg); m != nil {
			describeUnknown(e, m[1], path, root)
		}
		out = append(out, e)
	}
	return out
}

var (
	errorLine        = regexp.MustCompile(`(?s)^line (\d+): (.*)$`)
	unknownFieldText = regexp.MustCompile(`^field (.*) not found in type `)
)

// describeUnknown fills in the text and allowed fields for a field that
// Prometheus does not know.
func describeUnknown(e *Error, name, path string, root reflect.Type) {
	parent := strings.TrimSuffix(strings.TrimPrefix(e.Field, path), "."+name)
	if e.Field == path+"."+name || e.Field == name {
		parent = ""
	}
	e.Allowed = fieldsAt(root, parent)
	e.Text = fmt.Sprintf("unknown field %q", name)
	if sd, ok := strings.CutSuffix(name, "_sd_configs"); ok {
		e.Text = fmt.Sprintf("service discovery %q is not supported", sd)
		e.Allowed = slices.DeleteFunc(slices.Clone(e.Allowed), func(f string) bool {
			return !strings.HasSuffix(f, "_sd_configs") && f != "static_configs"
		})
		return
	}
	if near := nearest(name, e.Allowed); near != "" {
		e.Text += fmt.Sprintf(", did you mean %q?", near)
	}
}

var pathStep = regexp.MustCompile(`\.([^.\[]+)|\[\d+\]`)

// fieldsAt lists the YAML fields of the struct that path, relative to root,
// leads to; none if it leads elsewhere.
func fieldsAt(root reflect.Type, path string) []string {
	t := root
	for _, m := range pathStep.FindAllStringSubmatch(path, -1) {
		if m[1] == "" {
			continue // an index: lists are looked through below
		}
		if t = element(yamlFields(t)[m[1]]); t == nil {
			return nil
		}
	}
	var names []string
	for name := range yamlFields(t) {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func element(t reflect.Type) reflect.Type {
	for t != nil && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice) {
		t = t.Elem()
	}
	return t
}

// yamlFields lists a struct's fields by their YAML names, inlined ones included.
func yamlFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	if t == nil || t.Kind() != reflect.Struct {
		return fields
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || name == "-":
		case strings.Contains(options, "inline"):
			for k, v := range yamlFields(element(f.Type)) {
				fields[k] = v
			}
		case name != "":
			fields[name] = f.Type
		}
	}
	if t == reflect.TypeFor[config.ScrapeConfig]() {
		for k, v := range discoveryFields {
			fields[k] = v
		}
	}
	return fields
}

// identifying fields are part of other fields' error texts or needed by their
// neighbours, so an error that changes in their absence is not theirs.
var identifying = []string{"job_name", "role", "url", "action", "name"}

// blame finds the smallest part of n whose absence cures the error.
func blame(n *node, path string, try attempt, err error) *Error {
	e := &Error{File: n.pos.file, Line: n.pos.line, Field: path, Text: err.Error(), Cause: err}
	rebuild := func(part *node) *node { return part }
	part := n
	for part.kind != scalar {
		i := culprit(part, path, rebuild, try, err)
		if i < 0 {
			break
		}
		value, pos, step := part.child(i)
		parent, outer := part, rebuild
		rebuild = func(replaced *node) *node { return outer(parent.replaceChild(i, replaced)) }
		e.File, e.Line, e.Field = pos.file, pos.line, strings.TrimPrefix(e.Field+step, ".")
		part = value
	}
	if part.kind == scalar && part != n {
		e.Found = found(e.Field, part.text)
		e.Allowed = allowedValues(e.Field)
	}
	return e
}

// culprit returns the child of part without which the error is gone, or, if more
// than one thing is wrong, without which it is another error.
func culprit(part *node, path string, rebuild func(*node) *node, try attempt, err error) int {
	changes := -1
	for i := part.children() - 1; i >= 0; i-- {
		owns := part.kind == mapping && ownsError(part.entries[i], err)
		if part.kind == mapping && !owns && slices.Contains(identifying, part.entries[i].key) {
			continue
		}
		_, without := try(rebuild(part.replaceChild(i, nil)), path)
		switch {
		case without == nil, owns && without.Error() != err.Error():
			return i
		case without.Error() != err.Error() && !isMissing(without):
			changes = i
		}
	}
	return changes
}

// ownsError is true if the error repeats the field's value. Every error about a
// job repeats the job's name.
func ownsError(e entry, err error) bool {
	return e.key != "job_name" && e.value.kind == scalar && e.value.text != "" && strings.Contains(err.Error(), strconv.Quote(e.value.text))
}

// isMissing is true for errors about something that is not there.
func isMissing(err error) bool {
	return strings.Contains(err.Error(), "missing") || strings.Contains(err.Error(), "empty") || strings.Contains(err.Error(), "requires")
}

// allowedValues lists the values of the fields that take one of a few words.
func allowedValues(path string) []string {
	switch {
	case strings.HasSuffix(path, "].action"):
		return []string{
			string(relabel.Replace), string(relabel.Keep), string(relabel.Drop), string(relabel.KeepEqual), string(relabel.DropEqual),
			string(relabel.HashMod), string(relabel.LabelMap), string(relabel.LabelDrop), string(relabel.LabelKeep),
			string(relabel.Lowercase), string(relabel.Uppercase),
		}
	case strings.HasSuffix(path, "].role"):
		return []string{
			string(kubernetes.RolePod), string(kubernetes.RoleNode), string(kubernetes.RoleService),
			string(kubernetes.RoleEndpoint), string(kubernetes.RoleEndpointSlice), string(kubernetes.RoleIngress),
		}
	}
	return nil
}
