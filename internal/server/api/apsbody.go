package api

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/server/workspace"
)

// seconds is a time as AWS' JSON has it, the milliseconds as fraction.
type seconds []byte

// MarshalJSON implements json.Marshaler.
func (s seconds) MarshalJSON() ([]byte, error) { return s, nil }

func secondsOf(t time.Time) seconds {
	return strconv.AppendFloat(nil, float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// decodeBody reads a JSON body, and says what is wrong with it as AMP does.
func decodeBody(c *Call, into any) error {
	err := c.Decode(into)
	var bad *BodyError
	if errors.As(err, &bad) {
		return invalid(reasonCannotParse, bad.Member, bad.Message)
	}
	return err
}

// queryToken returns the client token of a call that has no body.
func queryToken(c *Call) string { return c.Request.URL.Query().Get("clientToken") }

// fields gathers what is wrong with the members of a request.
type fields []field

type field struct {
	Message string `json:"message"`
	Name    string `json:"name"`
}

// require notes a member that is missing.
func (f *fields) require(name string, there bool) {
	if !there {
		f.add(name, "is required")
	}
}

func (f *fields) add(name, message string) { *f = append(*f, field{Message: message, Name: name}) }

// err returns the answer to the request, nil if nothing is wrong.
func (f fields) err() error {
	if len(f) == 0 {
		return nil
	}
	parts := make([]string, len(f))
	for i := range f {
		parts[i] = f[i].Name + ": " + f[i].Message
	}
	return &Error{Status: http.StatusBadRequest, Code: "ValidationException", Message: strings.Join(parts, "; "),
		Extra: map[string]any{"reason": reasonField, "fieldList": []field(f)}}
}

const (
	defaultResults = 100
	mostResults    = 1000
)

// maxResults reads the size of a page.
func maxResults(q url.Values) (int, error) {
	s := q.Get("maxResults")
	if s == "" {
		return defaultResults, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > mostResults {
		return 0, invalid(reasonField, "maxResults", fmt.Sprintf("must be a number between 1 and %d", mostResults))
	}
	return n, nil
}

// pageToken says where a page begins. The list with its filters is part of it,
// so that a token is not carried over to another one.
type pageToken struct {
	List  string `json:"l"`
	After string `json:"a"`
}

// maxPageToken is the length of a token in bytes.
const maxPageToken = 1000

// page cuts a page out of a list that is sorted by key. What is added or removed
// between two pages moves nothing else.
func page[T any](q url.Values, list string, all []T, key func(T) string) (part []T, next string, err error) {
	most, err := maxResults(q)
	if err != nil {
		return nil, "", err
	}
	if s := q.Get("nextToken"); s != "" {
		var at pageToken
		b, err := base64.RawURLEncoding.DecodeString(s)
		if len(s) > maxPageToken || err != nil || json.Unmarshal(b, &at) != nil || at.List != list {
			return nil, "", invalid(reasonField, "nextToken", "is not a token that this list returned")
		}
		i, found := slices.BinarySearchFunc(all, at.After, func(e T, after string) int { return strings.Compare(key(e), after) })
		if found {
			i++
		}
		all = all[i:]
	}
	if len(all) <= most {
		return all, "", nil
	}
	all = all[:most]
	b, _ := json.Marshal(pageToken{list, key(all[most-1])}) // strings always encode
	return all, base64.RawURLEncoding.EncodeToString(b), nil
}

// apsError gives errors of the records their names and members.
func apsError(err error, c *Call) error {
	var missing *workspace.NotFoundError
	var bad *workspace.InvalidError
	var refused *workspace.RefusedError
	var conflict *workspace.ConflictError
	var quota *workspace.QuotaError
	typeOf := func(t string) string { return cmp.Or(t, workspaceType) }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &missing):
		return &Error{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: missing.Error(),
			Extra: map[string]any{"resourceId": missing.ID, "resourceType": missing.Type}}
	case errors.As(err, &bad):
		return fields{{Name: bad.Field, Message: bad.Message}}.err()
	case errors.As(err, &refused):
		return invalid("OTHER", "", refused.Message)
	case errors.As(err, &conflict):
		return &Error{Status: http.StatusConflict, Code: "ConflictException", Message: conflict.Message,
			Extra: map[string]any{"resourceId": conflict.ID, "resourceType": typeOf(conflict.Type)}}
	case errors.As(err, &quota):
		return &Error{Status: http.StatusPaymentRequired, Code: "ServiceQuotaExceededException", Message: quota.Message,
			Extra: map[string]any{"resourceId": cmp.Or(quota.ID, "*"), "resourceType": typeOf(quota.Type), "serviceCode": ServiceAPS,
				"quotaCode": cmp.Or(quota.Code, "L-"+strings.ToUpper(typeOf(quota.Type)))}}
	case errors.Is(err, workspace.ErrNotFound):
		return notFound(c.Params["workspaceId"])
	}
	return err
}
