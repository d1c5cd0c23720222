package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// PlaceOf returns where in a document, as far as it can be told, is what an error
// of Parse is about: where the innermost member of its Where that is there begins,
// or where the document stops being JSON.
func PlaceOf(doc []byte, err error) (Position, bool) {
	var syntax *json.SyntaxError
	var v any
	if errors.As(json.Unmarshal(doc, &v), &syntax) {
		return newPositions(doc).at(max(0, syntax.Offset-1)), true
	}
	var bad *MalformedError
	if !errors.As(err, &bad) || bad.Where == "" || !json.Valid(doc) {
		return Position{}, false
	}
	w := walk{dec: json.NewDecoder(bytes.NewReader(doc)), doc: doc, at: -1}
	w.value(bad.Where)
	if w.at < 0 {
		return Position{}, false
	}
	return newPositions(doc).at(w.at), true
}

// walk looks for a place in a document that is known to be JSON.
type walk struct {
	dec *json.Decoder
	doc []byte
	at  int64
}

// value reads one value, and looks into it for the place that is left to find;
// "" means that it is not in there.
func (w *walk) value(place string) {
	tok, err := w.dec.Token()
	if err != nil {
		return
	}
	switch tok {
	case json.Delim('{'):
		for w.dec.More() {
			w.member(place)
		}
	case json.Delim('['):
		for i := 0; w.dec.More(); i++ {
			rest, found := strings.CutPrefix(place, "["+strconv.Itoa(i)+"]")
			if found {
				w.at = w.begin()
			}
			w.value(inside(rest, found))
		}
	default:
		return
	}
	_, _ = w.dec.Token() // the end of the list or object
}

// member reads a key and its value. Keys may have dots.
func (w *walk) member(place string) {
	begin := w.begin()
	tok, err := w.dec.Token()
	key, isKey := tok.(string)
	if err != nil || !isKey {
		return
	}
	rest, found := strings.CutPrefix(place, key)
	if found = found && key != "" && (rest == "" || rest[0] == '.' || rest[0] == '['); found {
		w.at = begin
	}
	w.value(inside(rest, found))
}

// inside is the place that is left to find in a value.
func inside(rest string, found bool) string {
	if !found {
		return ""
	}
	return strings.TrimPrefix(rest, ".")
}

// begin is the offset of the next token.
func (w *walk) begin() int64 {
	at := w.dec.InputOffset()
	for at < int64(len(w.doc)) && strings.IndexByte(" \t\r\n,:", w.doc[at]) >= 0 {
		at++
	}
	return at
}
