package awsquery

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
)

// ResponseError is an answer that says that the call failed.
type ResponseError struct {
	Status                   int
	Code, Message, RequestID string
}

// Error implements error.
func (e *ResponseError) Error() string {
	return fmt.Sprintf("%s (%d): %s", e.Code, e.Status, e.Message)
}

// maxAnswer bounds an answer that is read, in bytes.
const maxAnswer = 16 << 20

// Read reads the answer to a call of action into the struct that result points
// to (nil for none) and returns a *ResponseError when it says that the call
// failed. Members that the struct has no place for are passed over. The body is
// not closed.
func Read(r *http.Response, action string, result any) error {
	root, err := readTree(io.LimitReader(r.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("answer to %s (status %d) is not XML: %w", action, r.StatusCode, err)
	}
	if root.name == "ErrorResponse" || r.StatusCode >= http.StatusMultipleChoices {
		e := &ResponseError{Status: r.StatusCode, RequestID: root.child("RequestId").text()}
		if inner := root.child("Error"); inner != nil {
			e.Code, e.Message = inner.child("Code").text(), inner.child("Message").text()
		}
		return e
	}
	if root.name != action+"Response" {
		return fmt.Errorf("answer to %s is a %s", action, clip(root.name))
	}
	if inner := root.child(action + "Result"); inner != nil && result != nil {
		return inner.decode(action+"Result", reflect.ValueOf(result).Elem())
	}
	return nil
}

type element struct {
	name     string
	chars    strings.Builder
	children []*element
}

func (e *element) child(name string) *element {
	if e == nil {
		return nil
	}
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (e *element) text() string {
	if e == nil {
		return ""
	}
	return e.chars.String()
}

func readTree(r io.Reader) (*element, error) {
	d := xml.NewDecoder(r)
	top := &element{}
	stack := []*element{top}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		at := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.StartElement:
			if len(stack) > maxDepth {
				return nil, errors.New("too deep")
			}
			e := &element{name: token.Name.Local}
			at.children = append(at.children, e)
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			at.chars.Write(token)
		}
	}
	if len(top.children) != 1 {
		return nil, errors.New("no root element")
	}
	return top.children[0], nil
}

func (e *element) decode(name string, v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch {
	case v.Type() == timeType || v.Type() == bytesType:
	case v.Kind() == reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			if c := e.child(f.name); c != nil {
				if err := c.decode(join(name, f.name), v.FieldByIndex(f.index)); err != nil {
					return err
				}
			}
		}
		return nil
	case v.Kind() == reflect.Slice:
		list := reflect.MakeSlice(v.Type(), len(e.children), len(e.children))
		for i, c := range e.children {
			if err := c.decode(name+".member."+strconv.Itoa(i+1), list.Index(i)); err != nil {
				return err
			}
		}
		v.Set(list)
		return nil
	case v.Kind() == reflect.Map:
		m := reflect.MakeMapWithSize(v.Type(), len(e.children))
		for _, c := range e.children {
			value := reflect.New(v.Type().Elem()).Elem()
			if err := setScalar(join(name, c.child("key").text()), c.child("value").text(), value); err != nil {
				return err
			}
			m.SetMapIndex(reflect.ValueOf(c.child("key").text()).Convert(v.Type().Key()), value)
		}
		v.Set(m)
		return nil
	}
	return setScalar(name, e.text(), v)
}
