package operator

import (
	"reflect"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// object is JSON.
type object = map[string]any

// Definition returns the CustomResourceDefinition, without the addresses of the
// conversion webhook. Its schema is made from the types of this package, so that
// what the API server checks is what the operator reads.
func Definition() map[string]any {
	beta := schemaOf(reflect.TypeFor[Collector]())
	alpha := schemaOf(reflect.TypeFor[alphaCollector]())
	columns := []any{
		column("Mode", "string", "Deployment mode", ".spec.mode"),
		column("Version", "string", "Version of the collector", ".status.version"),
		column("Ready", "string", "Pods that are ready", ".status.scale.statusReplicas"),
		column("Age", "date", "", ".metadata.creationTimestamp"),
		column("Image", "string", "", ".status.image"),
		column("Management", "string", "Management state", ".spec.managementState"),
	}
	version := func(name string, storage bool, schema object) object {
		return object{
			"name": name, "served": true, "storage": storage, "additionalPrinterColumns": columns,
			"schema": object{"openAPIV3Schema": schema},
			"subresources": object{"status": object{}, "scale": object{
				"labelSelectorPath": ".status.scale.selector", "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.scale.replicas",
			}},
		}
	}
	old := version(versionAlpha, false, alpha)
	old["deprecated"] = true
	old["deprecationWarning"] = "OpenTelemetryCollector v1alpha1 is deprecated. Migrate to v1beta1."
	return object{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": object{"name": "opentelemetrycollectors." + Group},
		"spec": object{
			"group": Group, "scope": "Namespaced",
			"names": object{
				"kind": Kind, "listKind": Kind + "List", "plural": "opentelemetrycollectors", "singular": "opentelemetrycollector",
				"shortNames": []any{"otelcol", "otelcols"},
			},
			"versions": []any{old, version(versionBeta, true, beta)},
		},
	}
}

func column(name, kind, text, path string) object {
	c := object{"name": name, "type": kind, "jsonPath": path}
	if text != "" {
		c["description"] = text
	}
	return c
}

// special are types that JSON does not show as what they are in Go.
var special = map[reflect.Type]func() object{
	reflect.TypeFor[resource.Quantity]():   intOrString,
	reflect.TypeFor[intstr.IntOrString]():  intOrString,
	reflect.TypeFor[metav1.Time]():         func() object { return object{"type": "string", "format": "date-time"} },
	reflect.TypeFor[metav1.MicroTime]():    func() object { return object{"type": "string", "format": "date-time"} },
	reflect.TypeFor[metav1.Duration]():     func() object { return object{"type": "string"} },
	reflect.TypeFor[metav1.ObjectMeta]():   func() object { return object{"type": "object"} },
	reflect.TypeFor[metav1.FieldsV1]():     func() object { return object{"type": "object"} },
	reflect.TypeFor[corev1.ResourceList](): func() object { return object{"type": "object", "additionalProperties": intOrString()} },
	reflect.TypeFor[Free](): func() object {
		return object{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	},
}

func intOrString() object {
	return object{"anyOf": []any{object{"type": "integer"}, object{"type": "string"}}, "x-kubernetes-int-or-string": true}
}

func schemaOf(t reflect.Type) object {
	if s, ok := special[t]; ok {
		return s()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.Struct:
		return structSchema(t)
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "format": "byte"}
		}
		return object{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int32:
		return object{"type": "integer", "format": "int32"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.String:
		return object{"type": "string"}
	}
	panic("no schema for " + t.String()) // a type of this package: the first start of a test would tell
}

func structSchema(t reflect.Type) object {
	properties := object{}
	var required []any
	addFields(t, properties, &required)
	s := object{"type": "object"}
	if len(properties) > 0 {
		s["properties"] = properties
	}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func addFields(t reflect.Type, properties object, required *[]any) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" && f.Anonymous {
			addFields(f.Type, properties, required)
			continue
		}
		if name == "-" || !f.IsExported() {
			continue
		}
		s := schemaOf(f.Type)
		annotate(s, f.Tag)
		properties[name] = s
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") && f.Type.Kind() != reflect.Pointer {
			*required = append(*required, name)
		}
	}
}

// annotate adds what the tags of this package's own types say.
func annotate(s object, tag reflect.StructTag) {
	if values, ok := tag.Lookup("enum"); ok {
		var enum []any
		for _, v := range strings.Split(values, ",") {
			enum = append(enum, v)
		}
		s["enum"] = enum
	}
	if v, ok := tag.Lookup("default"); ok {
		s["default"] = literal(s, v)
	}
	if v, ok := tag.Lookup("min"); ok {
		s["minimum"] = literal(s, v)
	}
}

func literal(s object, v string) any {
	if s["type"] == "integer" {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n
		}
	}
	return v
}
