package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// Body returns the bytes of the request's body, which the edge has bounded. It can
// be called again: what the conditions of a call are taken from and what its
// handler then does are the same bytes. They must not be changed.
func (c *Call) Body() ([]byte, error) {
	if b, ok := c.Request.Body.(interface{ Bytes() []byte }); ok {
		return b.Bytes(), nil
	}
	b, err := io.ReadAll(c.Request.Body)
	c.Request.Body = io.NopCloser(bytes.NewReader(b))
	return b, err
}

// BodyError says what is wrong with a JSON body.
type BodyError struct {
	Member  string // "" for the body as a whole
	Message string
}

// Error implements error.
func (e *BodyError) Error() string { return e.Message }

// Decode reads a JSON body; an empty one has no members. What is wrong with the
// body is a *BodyError.
func (c *Call) Decode(into any) error {
	b, err := c.Body()
	if err != nil || len(b) == 0 {
		return err
	}
	err = json.Unmarshal(b, into)
	var typ *json.UnmarshalTypeError
	var blob base64.CorruptInputError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &typ) && typ.Field == "":
		return &BodyError{"", "the body must be a JSON object, found " + typ.Value}
	case errors.As(err, &typ):
		return &BodyError{typ.Field, "member '" + typ.Field + "' must be a " + typ.Type.String() + ", found " + typ.Value}
	case errors.As(err, &blob):
		return &BodyError{"", "a member that holds bytes is not base64: " + blob.Error()}
	}
	return &BodyError{"", "the body is not valid JSON: " + err.Error()}
}

// WriteJSON answers with JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	writeJSONAs(w, "application/json", status, v)
}
