package awsquery

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Error says which parameter of a request cannot be read and why. Its text is
// for the caller; its code in AWS' protocol is Code.
type Error struct {
	// Code is ValidationError, MissingParameter, or MalformedQueryString.
	Code string
	// Parameter is its full name, such as Tags.member.2.Key.
	Parameter string
	Reason    string
}

// The codes of an Error.
const (
	CodeValidation = "ValidationError"
	CodeMissing    = "MissingParameter"
	CodeMalformed  = "MalformedQueryString"
)

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s", e.Parameter, e.Reason)
}

// Decode reads a request's form into the struct that into points to. It refuses
// what it cannot give a place: a parameter that is not a member, that is there
// twice, or that does not have the member's type. Action, Version and the
// parameters of a signature (X-Amz-…) belong to the protocol and are passed
// over. All errors are *Error.
func Decode(form url.Values, into any) error {
	v := reflect.ValueOf(into).Elem()
	root := &node{}
	for name, values := range form {
		if isProtocol(name) {
			continue
		}
		if len(values) != 1 {
			return &Error{CodeMalformed, name, "the parameter is there more than once"}
		}
		if err := root.add(name, values[0]); err != nil {
			return err
		}
	}
	return root.decode("", v)
}

func isProtocol(name string) bool {
	return name == "Action" || name == "Version" || len(name) >= 6 && strings.EqualFold(name[:6], "X-Amz-")
}

// node is a parameter or the common prefix of several.
type node struct {
	value    string
	set      bool
	children map[string]*node
}

func (n *node) add(name, value string) error {
	rest, depth := name, 0
	for {
		part, tail, more := strings.Cut(rest, ".")
		if depth++; part == "" || depth > maxDepth {
			return &Error{CodeMalformed, clip(name), "is not the name of a parameter"}
		}
		next := n.children[part]
		if next == nil {
			if n.children == nil {
				n.children = make(map[string]*node)
			}
			next = &node{}
			n.children[part] = next
		}
		n = next
		if !more {
			n.value, n.set = value, true
			return nil
		}
		rest = tail
	}
}

func (n *node) decode(name string, v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch {
	case v.Type() == timeType || v.Type() == bytesType:
	case v.Kind() == reflect.Struct:
		return n.decodeStruct(name, v)
	case v.Kind() == reflect.Slice:
		return n.decodeList(name, v)
	case v.Kind() == reflect.Map:
		return n.decodeMap(name, v)
	}
	if n.children != nil {
		return &Error{CodeValidation, name, "must be a single value"}
	}
	return setScalar(name, n.value, v)
}

func (n *node) decodeStruct(name string, v reflect.Value) error {
	if n.set {
		return &Error{CodeValidation, name, "must be a structure"}
	}
	known := 0
	for _, f := range fieldsOf(v.Type()) {
		full := join(name, f.name)
		child := n.children[f.name]
		if child == nil {
			if f.required {
				return &Error{CodeMissing, full, "is required"}
			}
			continue
		}
		known++
		if err := child.decode(full, v.FieldByIndex(f.index)); err != nil {
			return err
		}
		if f.required && isEmpty(v.FieldByIndex(f.index)) {
			return &Error{CodeValidation, full, "must not be empty"}
		}
	}
	if known == len(n.children) {
		return nil
	}
	names := make(map[string]bool)
	for _, f := range fieldsOf(v.Type()) {
		names[f.name] = true
	}
	var unknown []string
	for child := range n.children {
		if !names[child] {
			unknown = append(unknown, child)
		}
	}
	return &Error{CodeValidation, clip(join(name, slices.Min(unknown))), "is not a parameter of this operation"}
}

// isEmpty reports whether a member that was given says nothing.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String, reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return false
}

// indexed returns the members of a list or map, by number. Gaps are allowed, as
// AWS allows them; an empty value in place of the list is the empty list.
func (n *node) indexed(name, word string) ([]*node, []string, error) {
	if n.set && (n.value != "" || n.children != nil) {
		return nil, nil, &Error{CodeValidation, name, "must be a list"}
	}
	for child := range n.children {
		if child != word {
			return nil, nil, &Error{CodeValidation, clip(join(name, child)), "is not a parameter of this operation"}
		}
	}
	list := n.children[word]
	if list == nil {
		return nil, nil, nil
	}
	if list.set || len(list.children) > MaxMembers {
		return nil, nil, &Error{CodeValidation, join(name, word), fmt.Sprintf("must be a list of at most %d members", MaxMembers)}
	}
	numbers := make([]int, 0, len(list.children))
	for child := range list.children {
		i, err := strconv.Atoi(child)
		if err != nil || i < 1 || i > MaxMembers || strconv.Itoa(i) != child {
			return nil, nil, &Error{CodeMalformed, clip(join(name, word) + "." + child), fmt.Sprintf("members are numbered from 1 to %d", MaxMembers)}
		}
		numbers = append(numbers, i)
	}
	slices.Sort(numbers)
	nodes, names := make([]*node, len(numbers)), make([]string, len(numbers))
	for i, number := range numbers {
		key := strconv.Itoa(number)
		nodes[i], names[i] = list.children[key], join(name, word)+"."+key
	}
	return nodes, names, nil
}

func (n *node) decodeList(name string, v reflect.Value) error {
	members, names, err := n.indexed(name, "member")
	if err != nil {
		return err
	}
	list := reflect.MakeSlice(v.Type(), len(members), len(members))
	for i, m := range members {
		if err := m.decode(names[i], list.Index(i)); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}

// entry is one pair of a map.
type entry struct {
	Key   string `query:"key,required"`
	Value string `query:"value"`
}

func (n *node) decodeMap(name string, v reflect.Value) error {
	entries, names, err := n.indexed(name, "entry")
	if err != nil {
		return err
	}
	m := reflect.MakeMapWithSize(v.Type(), len(entries))
	for i, e := range entries {
		var pair entry
		if err := e.decode(names[i], reflect.ValueOf(&pair).Elem()); err != nil {
			return err
		}
		key := reflect.ValueOf(pair.Key).Convert(v.Type().Key())
		if m.MapIndex(key).IsValid() {
			return &Error{CodeValidation, names[i], "the key is there more than once"}
		}
		value := reflect.New(v.Type().Elem()).Elem()
		if err := setScalar(names[i]+".value", pair.Value, value); err != nil {
			return err
		}
		m.SetMapIndex(key, value)
	}
	v.Set(m)
	return nil
}

func setScalar(name, text string, v reflect.Value) error {
	if v.Type() == timeType {
		t, err := parseTime(text)
		if err != nil {
			return &Error{CodeValidation, name, "must be a time such as 2026-01-02T15:04:05Z"}
		}
		v.Set(reflect.ValueOf(t))
		return nil
	}
	if v.Type() == bytesType {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return &Error{CodeValidation, name, "must be base64"}
		}
		v.SetBytes(b)
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		switch text {
		case "true", "True":
			v.SetBool(true)
		case "false", "False":
			v.SetBool(false)
		default:
			return &Error{CodeValidation, name, "must be true or false"}
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return &Error{CodeValidation, name, "must be a whole number"}
		}
		v.SetInt(i)
	default:
		panic(fmt.Sprintf("awsquery: no form for %s", v.Type()))
	}
	return nil
}

// parseTime reads a time; its year has four digits, so that it can be written
// again.
func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, err
	}
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return time.Time{}, fmt.Errorf("year %d", y)
	}
	return t, nil
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// clip shortens a name that the caller made up, before it goes into an error.
func clip(name string) string {
	const most = 128
	if len(name) > most {
		return strings.ToValidUTF8(name[:most], "") + "…"
	}
	return name
}
