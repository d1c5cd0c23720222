package awsquery

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// Encode returns the form of a request: what Decode reads. Members that are
// empty are left out.
func Encode(action, version string, request any) url.Values {
	form := url.Values{"Action": {action}, "Version": {version}}
	if request != nil {
		encodeForm(form, "", reflect.ValueOf(request))
	}
	return form
}

func encodeForm(form url.Values, name string, v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if text, ok := scalar(v); ok {
		form.Set(name, text)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			if m := v.FieldByIndex(f.index); !m.IsZero() {
				encodeForm(form, join(name, f.name), m)
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			form.Set(name, "")
		}
		for i := range v.Len() {
			encodeForm(form, name+".member."+strconv.Itoa(i+1), v.Index(i))
		}
	case reflect.Map:
		for i, key := range sortedKeys(v) {
			at := name + ".entry." + strconv.Itoa(i+1)
			form.Set(at+".key", key)
			text, _ := scalar(v.MapIndex(reflect.ValueOf(key).Convert(v.Type().Key())))
			form.Set(at+".value", text)
		}
	default:
		panic(fmt.Sprintf("awsquery: no form for %s", v.Type()))
	}
}

func sortedKeys(v reflect.Value) []string {
	keys := make(map[string]bool, v.Len())
	for _, k := range v.MapKeys() {
		keys[k.String()] = true
	}
	return slices.Sorted(maps.Keys(keys))
}

// scalar returns the text of a value that is one.
func scalar(v reflect.Value) (string, bool) {
	if v.Type() == timeType {
		t, _ := v.Interface().(time.Time)
		return t.UTC().Format(timeFormat), true
	}
	if v.Type() == bytesType {
		return base64.StdEncoding.EncodeToString(v.Bytes()), true
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), true
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), true
	case reflect.Int, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), true
	}
	return "", false
}
