package otelconf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	promyaml "go.yaml.in/yaml/v2"
	"gopkg.in/yaml.v3"
)

// A node is one YAML value that knows where it was written. Nodes are not
// changed once built: merging and expanding make new ones, so that one value
// may be part of several trees.
type node struct {
	pos  position
	kind kind
	// entries are a mapping's, in the order written.
	entries []entry
	// items are a sequence's.
	items []*node
	// text is a scalar's, without quotes; tag what YAML takes it for.
	text, tag string
	// plain is true for a scalar written without quotes and without a tag.
	plain bool
	// literal is true for a block scalar that keeps its lines ("|").
	literal bool
	// original is the text that a value had before it was read as YAML, which is
	// what a string field gets. It is set on what a ${...} was replaced with.
	original *string
}

type entry struct {
	key   string
	pos   position
	value *node
}

type kind uint8

const (
	scalar kind = iota
	mapping
	sequence
)

func (k kind) String() string {
	return [...]string{"a single value", "a mapping", "a list"}[k]
}

const (
	tagString = "!!str"
	tagNull   = "!!null"
	tagBool   = "!!bool"
	tagInt    = "!!int"
	tagFloat  = "!!float"
)

// maxNodes bounds what aliases can blow a small file up to.
const maxNodes = 1 << 20

func (n *node) isNull() bool { return n == nil || n.kind == scalar && n.tag == tagNull }

// get returns the value of a mapping's key, or nil.
func (n *node) get(key string) *node {
	if e := n.entry(key); e != nil {
		return e.value
	}
	return nil
}

func (n *node) entry(key string) *entry {
	if n == nil {
		return nil
	}
	for i := range n.entries {
		if n.entries[i].key == key {
			return &n.entries[i]
		}
	}
	return nil
}

// at follows keys through mappings; nil where one is missing.
func (n *node) at(keys ...string) *node {
	for _, k := range keys {
		n = n.get(k)
	}
	return n
}

func (n *node) keys() []string {
	if n == nil {
		return nil
	}
	keys := make([]string, len(n.entries))
	for i, e := range n.entries {
		keys[i] = e.key
	}
	return keys
}

// source is a text of YAML and a way to say where a line of it is.
type source struct {
	name string
	data []byte
	// firstLine is the line of name at which data begins, less one.
	firstLine int
	// fixed, if not 0, is the line for all of data.
	fixed int
}

func (s source) position(line int) position {
	if s.fixed != 0 {
		return position{s.name, s.fixed}
	}
	return position{s.name, s.firstLine + line}
}

// parse reads all documents of s. Empty documents are left out.
func (s source) parse() ([]*node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(s.data))
	var docs []*node
	for {
		var y yaml.Node
		err := decodeDocument(dec, &y)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, s.syntaxError(err)
		}
		if y.Kind != yaml.DocumentNode || len(y.Content) == 0 {
			continue
		}
		c := converter{source: s, open: map[*yaml.Node]bool{}}
		n, err := c.convert(y.Content[0])
		if err != nil {
			return nil, err
		}
		if !n.isNull() {
			docs = append(docs, n)
		}
	}
}

// decodeDocument reads one document and turns the parser's panics on input that
// it did not foresee into errors.
func decodeDocument(dec *yaml.Decoder, y *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	return dec.Decode(y)
}

var yamlErrorLine = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

func (s source) syntaxError(err error) error {
	text, line := err.Error(), 0
	if m := yamlErrorLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	if strings.HasPrefix(text, "did not find expected") {
		line = problemLine(s.data, line)
	}
	pos := position{file: s.name}
	if line > 0 || s.fixed != 0 {
		pos = s.position(line)
	}
	return &Error{File: pos.file, Line: pos.line, Text: "not valid YAML: " + text, Cause: err}
}

// problemLine asks the older parser, which names the line of the offending token
// (counted from 0) where the newer one names the block that the token is in.
func problemLine(data []byte, fallback int) (line int) {
	defer func() {
		if recover() != nil {
			line = fallback
		}
	}()
	dec := promyaml.NewDecoder(bytes.NewReader(data))
	for range maxNodes {
		var ignored any
		err := dec.Decode(&ignored)
		if err == nil {
			continue
		}
		if m := yamlErrorLine.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
			line, _ := strconv.Atoi(m[1])
			return min(line, bytes.Count(bytes.TrimRight(data, "\n"), []byte("\n"))) + 1
		}
		break
	}
	return fallback
}

type converter struct {
	source source
	open   map[*yaml.Node]bool // anchors being converted
	count  int
}

func (c *converter) convert(y *yaml.Node) (*node, error) {
	pos := c.source.position(y.Line)
	if c.count++; c.count > maxNodes {
		return nil, &Error{File: pos.file, Line: pos.line, Text: fmt.Sprintf("more than %d values, aliases included", maxNodes)}
	}
	switch y.Kind {
	case yaml.AliasNode:
		if c.open[y.Alias] {
			return nil, &Error{File: pos.file, Line: pos.line, Text: fmt.Sprintf("anchor %q contains itself", y.Value)}
		}
		c.open[y.Alias] = true
		defer delete(c.open, y.Alias)
		return c.convert(y.Alias)
	case yaml.MappingNode:
		return c.mapping(y, pos)
	case yaml.SequenceNode:
		n := &node{pos: pos, kind: sequence, items: make([]*node, 0, len(y.Content))}
		for _, item := range y.Content {
			v, err := c.convert(item)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, v)
		}
		return n, nil
	}
	n := &node{pos: pos, text: y.Value, tag: y.ShortTag(), plain: y.Style == 0, literal: y.Style == yaml.LiteralStyle}
	switch n.tag {
	case tagNull, tagBool, tagInt, tagFloat:
		if !n.plain {
			n.tag = tagString
		}
	default: // !!timestamp, !!binary, !!merge and own tags are text here
		n.tag = tagString
	}
	return n, nil
}

func (c *converter) mapping(y *yaml.Node, pos position) (*node, error) {
	n := &node{pos: pos, kind: mapping, entries: make([]entry, 0, len(y.Content)/2)}
	seen := make(map[string]position, len(y.Content)/2)
	var inherited []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		kpos := c.source.position(k.Line)
		if k.Kind != yaml.ScalarNode {
			return nil, &Error{File: kpos.file, Line: kpos.line, Text: "a key must be a single value"}
		}
		if k.ShortTag() == "!!merge" {
			inherited = append(inherited, v)
			continue
		}
		if first, ok := seen[k.Value]; ok {
			return nil, &Error{File: kpos.file, Line: kpos.line, Text: fmt.Sprintf("key %q is already set at line %d", k.Value, first.line)}
		}
		seen[k.Value] = kpos
		value, err := c.convert(v)
		if err != nil {
			return nil, err
		}
		n.entries = append(n.entries, entry{key: k.Value, pos: kpos, value: value})
	}
	for _, v := range inherited {
		if err := c.inherit(n, v); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// inherit adds the entries that a "<<" key names and that n does not have.
func (c *converter) inherit(n *node, y *yaml.Node) error {
	from, err := c.convert(y)
	if err != nil {
		return err
	}
	maps := []*node{from}
	if from.kind == sequence {
		maps = from.items
	}
	for _, m := range maps {
		if m.kind != mapping {
			return &Error{File: from.pos.file, Line: from.pos.line, Text: `"<<" needs a mapping or a list of mappings, found ` + m.kind.String()}
		}
		for _, e := range m.entries {
			if n.entry(e.key) == nil {
				n.entries = append(n.entries, e)
			}
		}
	}
	return nil
}

// merge lays over on top of base the way the OpenTelemetry Collector merges
// several --config: mappings are merged key by key, everything else is replaced.
func merge(base, over *node) *node {
	if base == nil {
		return over
	}
	if over == nil {
		return base
	}
	if base.kind != mapping || over.kind != mapping {
		return over
	}
	out := &node{pos: base.pos, kind: mapping, entries: append([]entry(nil), base.entries...)}
	for _, e := range over.entries {
		if old := out.entry(e.key); old != nil {
			*old = entry{key: e.key, pos: e.pos, value: merge(old.value, e.value)}
			continue
		}
		out.entries = append(out.entries, e)
	}
	return out
}

// splitKeys turns top-level keys of the form a::b::c into nested mappings, as
// the yaml: form of --config and --set use them.
func splitKeys(n *node) *node {
	if n == nil || n.kind != mapping {
		return n
	}
	var out *node
	for _, e := range n.entries {
		parts := strings.Split(e.key, "::")
		value := e.value
		for i := len(parts) - 1; i >= 0; i-- {
			value = &node{pos: e.pos, kind: mapping, entries: []entry{{key: parts[i], pos: e.pos, value: value}}}
		}
		out = merge(out, value)
	}
	if out == nil {
		return n
	}
	return out
}

// replaceChild returns a copy of n whose i-th child is v, or is gone if v is nil.
func (n *node) replaceChild(i int, v *node) *node {
	out := *n
	switch {
	case n.kind == mapping && v != nil:
		out.entries = append([]entry(nil), n.entries...)
		out.entries[i].value = v
	case n.kind == mapping:
		out.entries = append(append([]entry(nil), n.entries[:i]...), n.entries[i+1:]...)
	case v != nil:
		out.items = append([]*node(nil), n.items...)
		out.items[i] = v
	default:
		out.items = append(append([]*node(nil), n.items[:i]...), n.items[i+1:]...)
	}
	return &out
}

// child returns the i-th value of a mapping or sequence, where it is written
// and how a path goes on to it.
func (n *node) child(i int) (v *node, pos position, step string) {
	if n.kind == mapping {
		return n.entries[i].value, n.entries[i].pos, "." + n.entries[i].key
	}
	return n.items[i], n.items[i].pos, fmt.Sprintf("[%d]", i)
}

func (n *node) children() int { return len(n.entries) + len(n.items) }
