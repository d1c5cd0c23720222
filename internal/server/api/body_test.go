package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDecode(t *testing.T) {
	type input struct {
		Tags map[string]string `json:"tags"`
		Blob []byte            `json:"blob"`
	}
	for body, want := range map[string]*BodyError{
		``:                   nil,
		`{"tags":{"a":"b"}}`: nil,
		// What comes after the first value is not left to whoever looks next.
		`{"tags":{"a":"b"}} {}`: {"", "the body is not valid JSON: invalid character '{' after top-level value"},
		`{"tags":{"a":1}}`:      {"tags", "member 'tags' must be a string, found number"},
		`[]`:                    {"", "the body must be a JSON object, found array"},
		`{"blob":"?"}`:          {"", "a member that holds bytes is not base64: illegal base64 data at input byte 0"},
	} {
		c := &Call{Request: httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", io.NopCloser(strings.NewReader(body)))}
		first, err := c.Body()
		require.NoError(t, err)
		require.Equal(t, body, string(first))
		err = c.Decode(&input{}) // it can be read again
		if want == nil {
			require.NoError(t, err, body)
			continue
		}
		var bad *BodyError
		require.ErrorAs(t, err, &bad, body)
		require.Equal(t, want, bad, body)
	}
}
