// Package awsquery is the Query protocol of AWS (IAM, STS), both directions:
// requests are HTTP forms, answers are XML.
//
// One struct describes a shape for both. A field's name on the wire is the Go
// name unless its tag says otherwise:
//
//	type CreateUserRequest struct {
//		UserName string `query:",required"`
//		Path     string
//		Tags     []Tag             // Tags.member.1.Key=a&Tags.member.1.Value=b
//		Extra    map[string]string // Extra.entry.1.key=a&Extra.entry.1.value=b
//	}
//
// Fields are strings, bools, integers, []byte (base64), time.Time (ISO 8601,
// UTC), structs, slices, string maps, and pointers to those; a pointer tells an
// absent member from an empty one.
package awsquery

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Bounds on what is decoded.
const (
	// MaxMembers bounds a list or map, and the index of a member.
	MaxMembers = 1000
	// maxDepth bounds the nesting of an answer that is read.
	maxDepth = 16
)

// timeFormat is how AWS writes times in XML.
const timeFormat = "2006-01-02T15:04:05Z"

var (
	timeType  = reflect.TypeFor[time.Time]()
	bytesType = reflect.TypeFor[[]byte]()
)

// field is one member of a shape.
type field struct {
	name     string
	index    []int
	required bool
	always   bool // written even when empty
}

// fieldsOf lists the members of a struct type, with those of embedded structs.
// A tag that is not understood is a mistake in the program and panics.
func fieldsOf(t reflect.Type) []field {
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		sf := t.Field(i)
		if sf.Anonymous && sf.Type.Kind() == reflect.Struct {
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{i}, f.index...)
				fields = append(fields, f)
			}
			continue
		}
		if !sf.IsExported() {
			continue
		}
		name, options, _ := strings.Cut(sf.Tag.Get("query"), ",")
		if name == "-" {
			continue
		}
		f := field{name: name, index: []int{i}}
		if name == "" {
			f.name = sf.Name
		}
		for o := range strings.SplitSeq(options, ",") {
			switch o {
			case "":
			case "required":
				f.required = true
			case "always":
				f.always = true
			default:
				panic(fmt.Sprintf("awsquery: %s.%s has the unknown option %q", t, sf.Name, o))
			}
		}
		fields = append(fields, f)
	}
	return fields
}
