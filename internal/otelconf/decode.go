package otelconf

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// decodeInto fills the struct that out points to from the mapping n, by the
// "conf" tags of its fields. Fields that n does not have keep their values.
// A field of type *node takes whatever is there. Everything wrong is added to
// ps with its line.
func decodeInto(n *node, field string, out any, ps *problems) {
	d := decoder{ps: ps}
	d.value(n, field, reflect.ValueOf(out).Elem())
}

type decoder struct{ ps *problems }

var (
	nodeType     = reflect.TypeFor[*node]()
	durationType = reflect.TypeFor[time.Duration]()
)

func (d *decoder) value(n *node, field string, out reflect.Value) {
	if out.Type() == nodeType {
		out.Set(reflect.ValueOf(n))
		return
	}
	if n.isNull() && (n == nil || n.original == nil || out.Kind() != reflect.String) {
		return // a null body means the defaults
	}
	if out.Type() == durationType {
		d.duration(n, field, out)
		return
	}
	switch out.Kind() {
	case reflect.Pointer:
		v := reflect.New(out.Type().Elem())
		d.value(n, field, v.Elem())
		out.Set(v)
	case reflect.Struct:
		d.structure(n, field, out)
	case reflect.Map:
		d.stringMap(n, field, out)
	case reflect.Slice:
		d.list(n, field, out)
	case reflect.String:
		d.text(n, field, out)
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
		d.number(n, field, out)
	default:
		panic(fmt.Sprintf("BUG: otelconf cannot decode into %s", out.Type()))
	}
}

func (d *decoder) wrong(n *node, field, want string) {
	e := &Error{File: n.pos.file, Line: n.pos.line, Field: field, Text: "must be " + want}
	if n.kind == scalar {
		e.Found = found(field, n.text)
	} else {
		e.Text += ", found " + n.kind.String()
	}
	d.ps.add(e)
}

func (d *decoder) structure(n *node, field string, out reflect.Value) {
	if n.kind != mapping {
		d.wrong(n, field, "a mapping")
		return
	}
	fields := map[string]reflect.Value{}
	taggedFields(out, fields)
	names := sortedKeys(fields)
	for _, e := range n.entries {
		f, ok := fields[e.key]
		if !ok {
			d.ps.add(unknownField(e, field, names))
			continue
		}
		d.value(e.value, join(field, e.key), f)
	}
}

// taggedFields lists the fields of a struct, and of those embedded in it, by their tags.
func taggedFields(out reflect.Value, fields map[string]reflect.Value) {
	for i := range out.NumField() {
		f := out.Type().Field(i)
		switch tag := f.Tag.Get("conf"); {
		case tag != "":
			fields[tag] = out.Field(i)
		case f.Anonymous:
			taggedFields(out.Field(i), fields)
		}
	}
}

// unknownField says which field is not known and what it may have been meant to be.
func unknownField(e entry, parent string, allowed []string) *Error {
	text := fmt.Sprintf("unknown field %q", e.key)
	if near := nearest(e.key, allowed); near != "" {
		text += fmt.Sprintf(", did you mean %q?", near)
	}
	return &Error{File: e.pos.file, Line: e.pos.line, Field: join(parent, e.key), Text: text, Allowed: allowed}
}

func (d *decoder) stringMap(n *node, field string, out reflect.Value) {
	if n.kind != mapping {
		d.wrong(n, field, "a mapping")
		return
	}
	m := reflect.MakeMap(out.Type())
	for _, e := range n.entries {
		v := reflect.New(out.Type().Elem()).Elem()
		d.value(e.value, join(field, e.key), v)
		m.SetMapIndex(reflect.ValueOf(e.key), v)
	}
	out.Set(m)
}

func (d *decoder) list(n *node, field string, out reflect.Value) {
	if n.kind != sequence {
		d.wrong(n, field, "a list")
		return
	}
	s := reflect.MakeSlice(out.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		d.value(item, fmt.Sprintf("%s[%d]", field, i), s.Index(i))
	}
	out.Set(s)
}

func (d *decoder) text(n *node, field string, out reflect.Value) {
	switch {
	case n.original != nil:
		out.SetString(*n.original)
	case n.kind == scalar:
		out.SetString(n.text)
	default:
		d.wrong(n, field, "a string")
	}
}

func (d *decoder) number(n *node, field string, out reflect.Value) {
	if n.kind != scalar {
		d.wrong(n, field, wanted(out.Kind()))
		return
	}
	text := strings.ReplaceAll(n.text, "_", "")
	switch out.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(strings.ToLower(n.text))
		if err != nil || n.tag == tagInt {
			d.wrong(n, field, wanted(out.Kind()))
			return
		}
		out.SetBool(b)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			d.wrong(n, field, wanted(out.Kind()))
			return
		}
		out.SetFloat(f)
	default:
		i, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			d.wrong(n, field, wanted(out.Kind()))
			return
		}
		out.SetInt(i)
	}
}

func wanted(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

func (d *decoder) duration(n *node, field string, out reflect.Value) {
	const want = `a duration such as "30s" or "1m30s"`
	if n.kind != scalar {
		d.wrong(n, field, want)
		return
	}
	v, err := time.ParseDuration(n.text)
	if err != nil && n.tag == tagInt {
		// The collector takes a bare number for nanoseconds, which nobody means.
		d.wrong(n, field, want+" with a unit")
		return
	}
	if err != nil {
		d.wrong(n, field, want)
		return
	}
	if v < 0 {
		d.wrong(n, field, "a duration that is not negative")
		return
	}
	out.SetInt(int64(v))
}
