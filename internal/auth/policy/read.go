package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxBytes is the most that Parse reads. It is the limit of AWS' API for any
// document, white space included; the smaller ones of each kind of policy are
// the caller's to check.
const MaxBytes = 131072

// rawDocument is a document as JSON has it, before anything but the types of
// its members is checked.
type rawDocument struct {
	version, id *string
	statements  []rawStatement
}

type rawStatement struct {
	where             string
	start, end        int64
	sid, effect       *string
	principal         *rawPrincipal
	notPrincipal      bool
	action, notAction *[]string
	resource, notRes  *[]string
	conditions        []rawCondition
}

// rawPrincipal is "*", or lists by kind of principal.
type rawPrincipal struct {
	star  bool
	kinds []rawPrincipalKind
}

type rawPrincipalKind struct {
	name   string
	values []string
}

// rawCondition is one key below one operator.
type rawCondition struct {
	operator, key string
	values        []string
}

// reader walks a document that is known to be JSON. What it expects is fixed at
// each place, so nesting is bounded by the grammar.
type reader struct {
	dec *json.Decoder
	msg string
}

// read reads a document.
func read(doc []byte, kind Kind) (*rawDocument, error) {
	msg := msgSyntax
	if kind == Trust {
		msg = msgTrustJSON
	}
	if len(doc) > MaxBytes {
		return nil, malformed(msg, "", "%d bytes, at most %d", len(doc), MaxBytes)
	}
	if !utf8.Valid(doc) || !json.Valid(doc) {
		return nil, malformed(msg, "", "%s", jsonFault(doc))
	}
	r := &reader{dec: json.NewDecoder(bytes.NewReader(doc)), msg: msgSyntax}
	r.dec.UseNumber()
	raw := &rawDocument{}
	hasStatement := false
	err := r.object("document", func(key, where string) error {
		var err error
		switch key {
		case "Version":
			raw.version, err = r.text(where)
		case "Id":
			raw.id, err = r.text(where)
		case "Statement":
			hasStatement = true
			raw.statements, err = r.statements()
		default:
			return malformed(msgSyntax, "", "unknown member %q; allowed are Version, Id, Statement", key)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if !hasStatement {
		return nil, malformed(msgSyntax, "", "member Statement is missing")
	}
	return raw, nil
}

// jsonFault says why a document is no JSON.
func jsonFault(doc []byte) string {
	if !utf8.Valid(doc) {
		return "not UTF-8"
	}
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		return err.Error()
	}
	return "not JSON"
}

// next returns the next token.
func (r *reader) next(where string) (json.Token, error) {
	tok, err := r.dec.Token()
	if err != nil {
		return nil, malformed(r.msg, where, "%v", err)
	}
	return tok, nil
}

// object reads an object and calls member for each of its keys, with the value
// next. A key that is there twice is refused: readers of JSON differ in which
// one counts.
func (r *reader) object(where string, member func(key, where string) error) error {
	tok, err := r.next(where)
	if err != nil {
		return err
	}
	if tok != json.Delim('{') {
		return malformed(r.msg, where, "found %s, must be an object", typeOf(tok))
	}
	return r.members(where, member)
}

// members reads what follows an opening brace.
func (r *reader) members(where string, member func(key, where string) error) error {
	seen := make(map[string]struct{})
	for r.dec.More() {
		tok, err := r.next(where)
		if err != nil {
			return err
		}
		key, ok := tok.(string)
		if !ok {
			return malformed(r.msg, where, "found %s, must be a name", typeOf(tok))
		}
		if _, dup := seen[key]; dup {
			return malformed(r.msg, where, "member %q is there twice", key)
		}
		seen[key] = struct{}{}
		inner := key
		if where != "document" {
			inner = where + "." + key
		}
		if err := member(key, inner); err != nil {
			return err
		}
	}
	_, err := r.next(where) // the closing brace
	return err
}

// text reads a string.
func (r *reader) text(where string) (*string, error) {
	tok, err := r.next(where)
	if err != nil {
		return nil, err
	}
	s, ok := tok.(string)
	if !ok {
		return nil, malformed(r.msg, where, "found %s, must be a string", typeOf(tok))
	}
	return &s, nil
}

// list reads one string or an array of them. With scalars, numbers and booleans
// count as the strings that they are written as.
func (r *reader) list(where string, scalars bool) ([]string, error) {
	tok, err := r.next(where)
	if err != nil {
		return nil, err
	}
	if tok != json.Delim('[') {
		s, err := r.scalar(tok, where, scalars)
		return []string{s}, err
	}
	values := []string{}
	for r.dec.More() {
		tok, err := r.next(where)
		if err != nil {
			return nil, err
		}
		s, err := r.scalar(tok, where, scalars)
		if err != nil {
			return nil, err
		}
		values = append(values, s)
	}
	_, err = r.next(where) // the closing bracket
	return values, err
}

func (r *reader) scalar(tok json.Token, where string, scalars bool) (string, error) {
	switch v := tok.(type) {
	case string:
		return v, nil
	case json.Number:
		if scalars {
			return v.String(), nil
		}
	case bool:
		if scalars {
			return fmt.Sprint(v), nil
		}
	}
	return "", malformed(r.msg, where, "found %s, must be a string or a list of strings", typeOf(tok))
}

func typeOf(tok json.Token) string {
	switch v := tok.(type) {
	case json.Delim:
		if v == '{' {
			return "an object"
		}
		return "a list"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "a boolean"
	}
	return "null"
}

// statements reads one statement or a list of them.
func (r *reader) statements() ([]rawStatement, error) {
	tok, err := r.next("Statement")
	if err != nil {
		return nil, err
	}
	if tok == json.Delim('{') {
		s, err := r.statement("Statement")
		return []rawStatement{s}, err
	}
	if tok != json.Delim('[') {
		return nil, malformed(r.msg, "Statement", "found %s, must be an object or a list of objects", typeOf(tok))
	}
	var all []rawStatement
	for r.dec.More() {
		where := fmt.Sprintf("Statement[%d]", len(all))
		tok, err := r.next(where)
		if err != nil {
			return nil, err
		}
		if tok != json.Delim('{') {
			return nil, malformed(r.msg, where, "found %s, must be an object", typeOf(tok))
		}
		s, err := r.statement(where)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, malformed(r.msg, "Statement", "the list is empty")
	}
	_, err = r.next("Statement") // the closing bracket
	return all, err
}

// statement reads what follows a statement's opening brace.
func (r *reader) statement(where string) (rawStatement, error) {
	s := rawStatement{where: where, start: r.dec.InputOffset() - 1}
	err := r.members(where, func(key, where string) error { return r.member(&s, key, where) })
	s.end = r.dec.InputOffset()
	return s, err
}

func (r *reader) member(s *rawStatement, key, where string) (err error) {
	lists := map[string]**[]string{"Action": &s.action, "NotAction": &s.notAction, "Resource": &s.resource, "NotResource": &s.notRes}
	if target, ok := lists[key]; ok {
		values, err := r.list(where, false)
		*target = &values
		return err
	}
	switch key {
	case "Sid":
		s.sid, err = r.text(where)
	case "Effect":
		s.effect, err = r.text(where)
	case "Principal", "NotPrincipal":
		if s.principal != nil {
			return malformed(r.msg, where, "a statement has either Principal or NotPrincipal")
		}
		s.notPrincipal = key == "NotPrincipal"
		s.principal, err = r.principal(where)
	case "Condition":
		s.conditions, err = r.conditions(where)
	default:
		return malformed(r.msg, strings.TrimSuffix(where, "."+key), "unknown member %q", key)
	}
	return err
}

// principal reads "*" or an object of lists.
func (r *reader) principal(where string) (*rawPrincipal, error) {
	tok, err := r.next(where)
	if err != nil {
		return nil, err
	}
	if tok == "*" {
		return &rawPrincipal{star: true}, nil
	}
	if tok != json.Delim('{') {
		return nil, malformed(r.msg, where, `found %s, must be "*" or an object`, typeOf(tok))
	}
	p := &rawPrincipal{}
	err = r.members(where, func(key, where string) error {
		values, err := r.list(where, false)
		p.kinds = append(p.kinds, rawPrincipalKind{key, values})
		return err
	})
	return p, err
}

// conditions reads the operators of a statement. Names of keys do not depend on
// case, so two that differ only in it are the same key twice.
func (r *reader) conditions(where string) ([]rawCondition, error) {
	var all []rawCondition
	err := r.object(where, func(operator, where string) error {
		if _, ok := operatorOf(operator); !ok {
			return malformed(r.msg, where, "unknown condition operator %q", operator)
		}
		seen := make(map[string]struct{})
		return r.object(where, func(key, where string) error {
			lower := strings.ToLower(key)
			if _, dup := seen[lower]; dup {
				return malformed(r.msg, where, "key %q is there twice", key)
			}
			seen[lower] = struct{}{}
			values, err := r.list(where, true)
			if err == nil && len(values) == 0 {
				err = malformed(r.msg, where, "the list of values is empty")
			}
			all = append(all, rawCondition{operator, key, values})
			return err
		})
	})
	return all, err
}
