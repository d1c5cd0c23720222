package awsquery

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"reflect"
)

const contentType = "text/xml"

// Write answers a call: an <actionResponse> with the <actionResult>, left out
// when result is nil, and the request's id. Strings and times that are empty and
// pointers, lists and maps that are nil are left out, unless their tag says
// "always"; numbers and bools, and lists that are empty but not nil, are
// written. An error is one of the connection.
func Write(w http.ResponseWriter, status int, namespace, action, requestID string, result any) error {
	var b bytes.Buffer
	open(&b, action+"Response", namespace)
	if result != nil {
		encodeXML(&b, action+"Result", reflect.ValueOf(result), true)
	}
	b.WriteString("<ResponseMetadata><RequestId>")
	text(&b, requestID)
	b.WriteString("</RequestId></ResponseMetadata></" + action + "Response>\n")
	return send(w, status, requestID, &b)
}

// WriteError answers a call that failed, in AWS' form. The receiver is at fault
// when status is 500 or more, else the sender.
func WriteError(w http.ResponseWriter, status int, namespace, code, message, requestID string) error {
	fault := "Sender"
	if status >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	var b bytes.Buffer
	open(&b, "ErrorResponse", namespace)
	b.WriteString("<Error><Type>" + fault + "</Type><Code>")
	text(&b, code)
	b.WriteString("</Code><Message>")
	text(&b, message)
	b.WriteString("</Message></Error><RequestId>")
	text(&b, requestID)
	b.WriteString("</RequestId></ErrorResponse>\n")
	return send(w, status, requestID, &b)
}

func send(w http.ResponseWriter, status int, requestID string, b *bytes.Buffer) error {
	w.Header().Set("Content-Type", contentType)
	if requestID != "" {
		w.Header().Set("X-Amzn-Requestid", requestID)
	}
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	return err
}

func open(b *bytes.Buffer, name, namespace string) {
	b.WriteString("<" + name)
	if namespace != "" {
		b.WriteString(` xmlns="`)
		text(b, namespace)
		b.WriteString(`"`)
	}
	b.WriteString(">")
}

// text writes s with XML's special characters escaped; what XML cannot hold
// becomes U+FFFD.
func text(b *bytes.Buffer, s string) {
	_ = xml.EscapeText(b, []byte(s)) // a buffer takes everything
}

func encodeXML(b *bytes.Buffer, name string, v reflect.Value, always bool) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v, always = v.Elem(), true
	}
	if s, ok := scalar(v); ok {
		if empty := v.IsZero() && (v.Kind() == reflect.String || v.Kind() == reflect.Struct || v.Kind() == reflect.Slice); empty && !always {
			return
		}
		b.WriteString("<" + name + ">")
		text(b, s)
		b.WriteString("</" + name + ">")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		b.WriteString("<" + name + ">")
		for _, f := range fieldsOf(v.Type()) {
			encodeXML(b, f.name, v.FieldByIndex(f.index), f.always)
		}
		b.WriteString("</" + name + ">")
	case reflect.Slice:
		if v.IsNil() && !always {
			return
		}
		b.WriteString("<" + name + ">")
		for i := range v.Len() {
			encodeXML(b, "member", v.Index(i), true)
		}
		b.WriteString("</" + name + ">")
	case reflect.Map:
		if v.IsNil() && !always {
			return
		}
		b.WriteString("<" + name + ">")
		for _, key := range sortedKeys(v) {
			b.WriteString("<entry><key>")
			text(b, key)
			b.WriteString("</key>")
			encodeXML(b, "value", v.MapIndex(reflect.ValueOf(key).Convert(v.Type().Key())), true)
			b.WriteString("</entry>")
		}
		b.WriteString("</" + name + ">")
	default:
		panic(fmt.Sprintf("awsquery: no form for %s", v.Type()))
	}
}
