package alerts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/template"
	"gopkg.in/yaml.v3"
)

// issue is something that is wrong with a definition.
type issue struct {
	line    int    // of the definition, from 1; 0 is not known
	field   string // such as alertmanager_config or template_files.default
	message string
}

func (i issue) String() string {
	var b strings.Builder
	if i.line > 0 {
		fmt.Fprintf(&b, "line %d, ", i.line)
	}
	if i.field != "" {
		fmt.Fprintf(&b, "field %s", i.field)
	}
	if head := strings.TrimSuffix(b.String(), ", "); head != "" {
		return head + ": " + i.message
	}
	return i.message
}

// maxIssues is how many issues an error lists.
const maxIssues = 20

func joinIssues(issues []issue) string {
	lines := make([]string, 0, min(len(issues), maxIssues)+1)
	for n, i := range issues {
		if n == maxIssues {
			lines = append(lines, fmt.Sprintf("and %d more", len(issues)-n))
			break
		}
		lines = append(lines, i.String())
	}
	return strings.Join(lines, "; ")
}

// definition is a definition that was read and found good.
type definition struct {
	config    *config.Config
	templates []string // texts of the templates that the configuration names
}

// newTemplate reads the templates, Alertmanager's own among them.
func (d *definition) newTemplate() (*template.Template, error) {
	t, err := template.FromGlobs(nil)
	if err != nil {
		return nil, fmt.Errorf("read default templates: %w", err)
	}
	for _, text := range d.templates {
		if err := t.Parse(strings.NewReader(text)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// useUTF8 lets matchers be written in the new and in the old way. The choice is
// a global one of the library.
var useUTF8 = sync.OnceFunc(func() {
	compat.InitFromFlags(slog.New(slog.DiscardHandler), featurecontrol.NoopFlags{})
})

// parse reads the YAML of a definition and says what is wrong with it.
func parse(data []byte) (*definition, []issue) {
	useUTF8()
	doc, issues := document(data)
	if len(issues) > 0 {
		return nil, issues
	}
	var inner *yaml.Node
	files := make(map[string]string)
	for i := 0; i+1 < len(doc.Content); i += 2 {
		k, v := doc.Content[i], resolved(doc.Content[i+1])
		switch k.Value {
		case "alertmanager_config":
			if v.Kind != yaml.ScalarNode || v.Tag != "!!str" {
				issues = append(issues, issue{v.Line, k.Value, "a text is expected: write 'alertmanager_config: |' and indent the configuration below it"})
			}
			inner = v
		case "template_files":
			issues = append(issues, readFiles(v, files)...)
		default:
			issues = append(issues, issue{k.Line, k.Value, "unknown field, allowed are alertmanager_config and template_files"})
		}
	}
	if len(issues) == 0 && inner == nil {
		issues = append(issues, issue{doc.Line, "alertmanager_config", "is required"})
	}
	if len(issues) > 0 {
		return nil, issues
	}
	return parseConfig(text{inner}, files)
}

// document reads the one YAML document that there has to be.
func document(data []byte) (*yaml.Node, []issue) {
	if !utf8.Valid(data) {
		return nil, []issue{{message: "the data is not UTF-8"}}
	}
	var doc, second yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&doc); errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		return nil, []issue{{message: "the data is empty: an alert manager definition is expected"}}
	} else if err != nil {
		return nil, []issue{{message: strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	if err := d.Decode(&second); err == nil {
		return nil, []issue{{line: second.Line, message: "a second YAML document: only one is allowed"}}
	} else if !errors.Is(err, io.EOF) {
		return nil, []issue{{message: strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		return nil, []issue{{line: doc.Content[0].Line, message: "a mapping with the field alertmanager_config is expected"}}
	}
	return doc.Content[0], nil
}

func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func readFiles(n *yaml.Node, into map[string]string) (out []issue) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return []issue{{n.Line, "template_files", "a mapping of names to templates is expected"}}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], resolved(n.Content[i+1])
		if _, twice := into[k.Value]; twice || v.Kind != yaml.ScalarNode || k.Value == "" {
			out = append(out, issue{k.Line, "template_files." + k.Value, "every name stands for one text"})
		}
		into[k.Value] = v.Value
	}
	return out
}

// text is a text inside the definition.
type text struct{ node *yaml.Node }

// line returns the line of the definition that a line of the text is on, 0 if
// that is not known.
func (t text) line(inner int) int {
	if inner > 0 && t.node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return t.node.Line + inner
	}
	return 0
}

const configField = "alertmanager_config"

var yamlLine = regexp.MustCompile(`^\s*(?:yaml: )?line (\d+): (.*)$`)

// parseConfig reads Alertmanager's configuration.
func parseConfig(t text, files map[string]string) (*definition, []issue) {
	c, err := config.Load(t.node.Value)
	if err != nil {
		return nil, t.configIssues(err)
	}
	var issues []issue
	for _, f := range forbidden(c) {
		issues = append(issues, issue{t.find(f.key, true), configField, f.key + ": " + f.why})
	}
	d := &definition{config: c}
	for _, pattern := range c.Templates {
		found := false
		for _, name := range slices.Sorted(keys(files)) {
			if ok, err := path.Match(pattern, name); err == nil && ok {
				found = true
				d.templates = append(d.templates, files[name])
			}
		}
		if !found {
			issues = append(issues, issue{t.find(pattern, false), configField, fmt.Sprintf("templates: %q is none of template_files", pattern)})
		}
	}
	for _, name := range slices.Sorted(keys(files)) {
		one := definition{templates: []string{files[name]}}
		if _, err := one.newTemplate(); err != nil {
			issues = append(issues, issue{0, "template_files." + name, err.Error()})
		}
	}
	if len(issues) > 0 {
		return nil, issues
	}
	tmpl, err := d.newTemplate()
	if err != nil {
		return nil, []issue{{0, "template_files", err.Error()}}
	}
	// What only shows when a receiver is made is found out now.
	if _, err := (&receivers{logger: slog.New(slog.DiscardHandler)}).build(d.config, tmpl); err != nil {
		return nil, t.configIssues(err)
	}
	return d, nil
}

func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

var (
	quoted    = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)
	goType    = regexp.MustCompile(` in type [\w.]+$`)
	unmarshal = "yaml: unmarshal errors:\n"
)

// configIssues gives Alertmanager's errors the lines of the definition. Errors
// that have none are about the first place where what they quote is written.
func (t text) configIssues(err error) (out []issue) {
	for _, l := range strings.Split(strings.TrimPrefix(err.Error(), unmarshal), "\n") {
		i := issue{field: configField, message: goType.ReplaceAllString(strings.TrimPrefix(l, "yaml: "), "")}
		if m := yamlLine.FindStringSubmatch(l); m != nil {
			inner, _ := strconv.Atoi(m[1]) // digits
			i.line, i.message = t.line(inner), goType.ReplaceAllString(m[2], "")
			if i.line == 0 {
				i.message = "line " + m[1] + " of it: " + i.message
			}
		} else if m := quoted.FindStringSubmatch(l); m != nil {
			i.line = t.find(m[1], false)
		}
		out = append(out, i)
	}
	return out
}

// find returns the line of the definition with the first key or value of that
// name, 0 if there is none.
func (t text) find(what string, key bool) int {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(t.node.Value), &doc) != nil {
		return 0
	}
	var walk func(n *yaml.Node) int
	walk = func(n *yaml.Node) int {
		for i, c := range n.Content {
			isKey := n.Kind == yaml.MappingNode && i%2 == 0
			if c.Kind == yaml.ScalarNode && c.Value == what && isKey == key {
				return c.Line
			}
			if line := walk(c); line > 0 {
				return line
			}
		}
		return 0
	}
	return t.line(walk(&doc))
}

// ban is a field that a definition must not have.
type ban struct{ key, why string }

const (
	noFiles = "files of the server cannot be used: write the value itself"
	noRefs  = "there is no store of secrets to refer to: write the value itself"
	noProxy = "a proxy cannot be chosen"
)

// banned are fields by their name in YAML; those of files and references are told
// by their ending.
var banned = map[string]string{
	"files": noFiles, "proxy_url": noProxy, "proxy_from_environment": noProxy, "proxy_connect_header": noProxy, "no_proxy": noProxy,
	"profile":             "profiles of the server cannot be used: write access_key and secret_key",
	"use_aws_http_client": "is not supported",
	"tracing":             "is the server's to configure", "event_recorder": "is the server's to configure",
}

// forbidden finds what a definition must not have. It looks at what was read and
// not at how it was written, so that there is no way around it.
func forbidden(c *config.Config) (out []ban) {
	seen := make(map[string]bool)
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Map:
			for it := v.MapRange(); it.Next(); {
				walk(it.Value())
			}
		case reflect.Struct:
			for i := range v.NumField() {
				f := v.Type().Field(i)
				if !f.IsExported() {
					continue
				}
				key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
				if why := bannedKey(key); why != "" && !empty(v.Field(i)) && !seen[key] {
					seen[key] = true
					out = append(out, ban{key, why})
				}
				// What is of other modules, such as URLs, holds no settings.
				if f.Tag.Get("yaml") != "" {
					walk(v.Field(i))
				}
			}
		}
	}
	walk(reflect.ValueOf(c))
	slices.SortFunc(out, func(a, b ban) int { return strings.Compare(a.key, b.key) })
	return out
}

func bannedKey(key string) string {
	switch {
	case strings.HasSuffix(key, "_file"), strings.HasSuffix(key, "_files"):
		return noFiles
	case strings.HasSuffix(key, "_ref"):
		return noRefs
	}
	return banned[key]
}

// empty reports whether a field was not given.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	case reflect.Struct:
		// Such as a URL, whose own pointer tells.
		for i := range v.NumField() {
			if !empty(v.Field(i)) {
				return false
			}
		}
		return true
	}
	return v.IsZero()
}
