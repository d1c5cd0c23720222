package api

import (
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/mangru/mangru/internal/auth/sigv4"
)

const (
	// maxUnsignedForm bounds what an unsigned caller may send: a web identity
	// token has at most 20000 characters.
	maxUnsignedForm = 64 << 10
	// maxFormFields bounds the parameters of a call in the Query protocol.
	maxFormFields = 1000
)

func isForm(r *http.Request) bool {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && mediaType == "application/x-www-form-urlencoded"
}

// queryForm reads the parameters of a call in the Query protocol from the one
// place where they are: the body of a POST, or, if that is empty, the query.
// Parameters in both, or one given twice, could be understood in two ways and
// are refused. The body has been read by the verifier.
func queryForm(r *http.Request) (url.Values, error) {
	text := r.URL.RawQuery
	if body, ok := r.Body.(*sigv4.Body); ok && len(body.Bytes()) > 0 {
		if r.Method != http.MethodPost || !isForm(r) {
			return nil, &Error{Status: http.StatusBadRequest, Code: "MalformedInput",
				Message: "Parameters in a body need the method POST and the content type application/x-www-form-urlencoded."}
		}
		beside, err := parseForm(text)
		if err != nil {
			return nil, err
		}
		if len(beside) > 0 {
			return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidParameterCombination",
				Message: "Parameters may be in the query or in the body, not in both."}
		}
		text = string(body.Bytes())
	}
	return parseForm(text)
}

// parseForm decodes parameters, those of a presigned URL left out.
func parseForm(text string) (url.Values, error) {
	bad := func(message string) error {
		return &Error{Status: http.StatusBadRequest, Code: "MalformedQueryString", Message: message}
	}
	if strings.Count(text, "&") >= maxFormFields {
		return nil, bad("The request has too many parameters.")
	}
	form, err := url.ParseQuery(text)
	if err != nil {
		return nil, bad("The parameters contain a syntax error.")
	}
	for name, values := range form {
		if strings.HasPrefix(name, "X-Amz-") {
			delete(form, name)
		} else if len(values) > 1 {
			return nil, bad("A parameter is given more than once.")
		}
	}
	return form, nil
}
