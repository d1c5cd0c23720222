package webidentity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// maxDepth bounds the nesting of JSON values. Tokens of Kubernetes have three.
const maxDepth = 16

// object is a JSON object whose members are told apart by their exact names:
// decoding into a struct would also take "ISS" for iss.
type object map[string]json.RawMessage

// parseObject reads one JSON object. Two members of one name, anywhere in it,
// are an error: readers differ in which of them counts (RFC 8725, 2.4).
func parseObject(b []byte) (object, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := checkMembers(d, 0); err != nil {
		return nil, err
	}
	var o object
	if err := json.Unmarshal(b, &o); err != nil { // also finds what follows the value
		return nil, err
	}
	if o == nil {
		return nil, errors.New("not an object")
	}
	return o, nil
}

// checkMembers walks over one value.
func checkMembers(d *json.Decoder, depth int) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth >= maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	var seen map[string]struct{}
	for d.More() {
		if open == '{' {
			t, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := t.(string)
			if _, twice := seen[name]; twice {
				return fmt.Errorf("member %s is there twice", shown(name))
			}
			if seen == nil {
				seen = make(map[string]struct{}, 8)
			}
			seen[name] = struct{}{}
		}
		if err := checkMembers(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// str returns a member that has to be a string; there is false where it is
// absent.
func (o object) str(name string) (s string, there bool, err error) {
	raw, ok := o[name]
	if !ok {
		return "", false, nil
	}
	var p *string
	if err := json.Unmarshal(raw, &p); err != nil || p == nil {
		return "", true, fmt.Errorf("member %s is not a string", name)
	}
	return *p, true, nil
}

// list returns a member that has to be a string or a list of strings.
func (o object) list(name string) ([]string, error) {
	raw, ok := o[name]
	if !ok {
		return nil, nil
	}
	if s, _, err := o.str(name); err == nil {
		return []string{s}, nil
	}
	var ps []*string
	if err := json.Unmarshal(raw, &ps); err != nil || ps == nil {
		return nil, fmt.Errorf("member %s is neither a string nor a list of strings", name)
	}
	out := make([]string, len(ps))
	for i, p := range ps {
		if p == nil {
			return nil, fmt.Errorf("member %s holds null", name)
		}
		out[i] = *p
	}
	return out, nil
}

// maxSeconds is the end of the year 9999.
const maxSeconds = 253402300799

// date returns a member that has to be a NumericDate (RFC 7519, 2): seconds
// since 1970, fractions allowed.
func (o object) date(name string) (at time.Time, there bool, err error) {
	raw, ok := o[name]
	if !ok {
		return time.Time{}, false, nil
	}
	var p *float64
	if err := json.Unmarshal(raw, &p); err != nil || p == nil || *p < 0 || *p > maxSeconds {
		return time.Time{}, true, fmt.Errorf("member %s is not a time in seconds", name)
	}
	whole, fraction := math.Modf(*p)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), true, nil
}

// parseList reads a list of objects whose members parseObject has looked at.
func parseList(raw json.RawMessage) ([]object, error) {
	var out []object
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, err
	}
	if out == nil {
		return nil, errors.New("not a list")
	}
	return out, nil
}
