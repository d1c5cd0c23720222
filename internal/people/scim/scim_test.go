package scim

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/people/directory"
)

type fixture struct {
	t      *testing.T
	h      http.Handler
	dir    *directory.Directory
	store  directory.Store
	secret string
	now    time.Time
}

func open(t *testing.T) *fixture {
	t.Helper()
	records, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, records.Close()) })
	f := &fixture{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	f.dir = directory.New(directory.Config{Now: func() time.Time { return f.now }}, records)
	f.store, err = f.dir.Store(t.Context(), "000000000000")
	require.NoError(t, err)
	f.secret, _, err = f.dir.CreateToken(t.Context(), "test", f.store.ID)
	require.NoError(t, err)
	f.h = New(f.dir, slog.New(slog.DiscardHandler))
	return f
}

func (f *fixture) do(method, path, body string) (int, map[string]any) {
	f.t.Helper()
	r := httptest.NewRequestWithContext(f.t.Context(), method, Base+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+f.secret)
	if body != "" {
		r.Header.Set("Content-Type", "application/scim+json")
	}
	w := httptest.NewRecorder()
	f.h.ServeHTTP(w, r)
	var out map[string]any
	if w.Body.Len() > 0 {
		require.NoError(f.t, json.Unmarshal(w.Body.Bytes(), &out))
	}
	return w.Code, out
}

func (f *fixture) must(status int, method, path, body string) map[string]any {
	f.t.Helper()
	code, out := f.do(method, path, body)
	require.Equal(f.t, status, code, "%s %s: %v", method, path, out)
	return out
}

const ann = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"externalId":"00u1","userName":"ann@example.com","name":{"givenName":"Ann","familyName":"Lee"},` +
	`"displayName":"Ann Lee","emails":[{"value":"ann@example.com","type":"work","primary":true}],"active":true,"locale":"ko-KR","groups":[],"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"x"}}`

func TestTokens(t *testing.T) {
	f := open(t)
	good := f.secret
	for _, bad := range []string{"", "mgs_none", good + "x"} {
		f.secret = bad
		f.must(http.StatusUnauthorized, "GET", "/Users", "")
	}
	f.secret = good
	f.must(http.StatusOK, "GET", "/Users", "")
	f.now = f.now.Add(directory.TokenLife)
	f.must(http.StatusUnauthorized, "GET", "/Users", "")
}

func TestUserAsProvidersSendIt(t *testing.T) {
	f := open(t)
	made := f.must(http.StatusCreated, "POST", "/Users", ann)
	id := made["id"].(string)
	require.Equal(t, "00u1", made["externalId"])
	require.Equal(t, "uniqueness", f.must(http.StatusConflict, "POST", "/Users", ann)["scimType"])
	require.EqualValues(t, 1, f.must(http.StatusOK, "GET", `/Users?filter=userName+eq+%22ANN%40example.com%22`, "")["totalResults"])
	require.EqualValues(t, 1, f.must(http.StatusOK, "GET", `/Users?filter=externalId+eq+%2200u1%22`, "")["totalResults"])
	require.EqualValues(t, 0, f.must(http.StatusOK, "GET", `/Users?filter=userName+eq+%22bob%22`, "")["totalResults"])
	require.Equal(t, "invalidFilter", f.must(http.StatusBadRequest, "GET", `/Users?filter=userName+co+%22a%22`, "")["scimType"])

	// Okta replaces without a path, Entra ID with one, and writes booleans as text.
	f.must(http.StatusOK, "PATCH", "/Users/"+id, `{"schemas":["`+schemaPatch+`"],"Operations":[{"op":"replace","value":{"active":false}}]}`)
	u, err := f.dir.User(t.Context(), f.store.ID, id)
	require.NoError(t, err)
	require.True(t, u.Disabled)
	out := f.must(http.StatusOK, "PATCH", "/Users/"+id, `{"Operations":[
		{"op":"Replace","path":"active","value":"True"},
		{"op":"Replace","path":"emails[type eq \"work\"].value","value":"lee@example.com"},
		{"op":"Add","path":"name.middleName","value":"M."},
		{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"y"},
		{"op":"remove","path":"locale"}]}`)
	require.Equal(t, true, out["active"])
	require.Equal(t, "lee@example.com", out["emails"].([]any)[0].(map[string]any)["value"])
	require.Equal(t, map[string]any{"givenName": "Ann", "familyName": "Lee", "middleName": "M."}, out["name"])
	require.NotContains(t, out, "locale")
	require.Equal(t, "00u1", out["externalId"])

	out = f.must(http.StatusOK, "PUT", "/Users/"+id, `{"userName":"ann2","externalId":"00u1","active":true}`)
	require.Equal(t, "ann2", out["userName"])
	require.NotContains(t, out, "emails")
	f.must(http.StatusNoContent, "DELETE", "/Users/"+id, "")
	f.must(http.StatusNotFound, "GET", "/Users/"+id, "")
}

func TestProviderMakesNoAdministrator(t *testing.T) {
	f := open(t)
	made := f.must(http.StatusCreated, "POST", "/Users", strings.Replace(ann, `"active":true`, `"active":true,"administrator":true,"Administrator":true,"emailVerified":true`, 1))
	u, err := f.dir.User(t.Context(), f.store.ID, made["id"].(string))
	require.NoError(t, err)
	require.False(t, u.Administrator)
	require.True(t, u.EmailVerified.IsZero())
}

// An address that changes is not the one that was verified.
func TestChangedAddressIsNotVerified(t *testing.T) {
	f := open(t)
	id := f.must(http.StatusCreated, "POST", "/Users", ann)["id"].(string)
	u, err := f.dir.UpdateUser(t.Context(), "test", f.store.ID, id, directory.UserUpdate{EmailVerified: true})
	require.NoError(t, err)
	require.False(t, u.EmailVerified.IsZero())
	f.must(http.StatusOK, "PATCH", "/Users/"+id, `{"Operations":[{"op":"replace","path":"emails[type eq \"work\"].value","value":"thief@example.com"}]}`)
	u, err = f.dir.User(t.Context(), f.store.ID, id)
	require.NoError(t, err)
	require.True(t, u.EmailVerified.IsZero())
}

func TestGroupAsProvidersSendIt(t *testing.T) {
	f := open(t)
	id := f.must(http.StatusCreated, "POST", "/Users", ann)["id"].(string)
	bob := f.must(http.StatusCreated, "POST", "/Users", `{"userName":"bob"}`)["id"].(string)
	g := f.must(http.StatusCreated, "POST", "/Groups", `{"displayName":"SRE","externalId":"g1","members":[{"value":"`+id+`"}]}`)
	gid := g["id"].(string)
	require.Len(t, g["members"], 1)
	patch := func(op string) {
		t.Helper()
		f.must(http.StatusNoContent, "PATCH", "/Groups/"+gid, `{"Operations":[`+op+`]}`)
	}
	members := func() int { return len(f.must(http.StatusOK, "GET", "/Groups/"+gid, "")["members"].([]any)) }
	patch(`{"op":"add","path":"members","value":[{"value":"` + bob + `"},{"value":"` + id + `"}]}`)
	require.Equal(t, 2, members())
	patch(`{"op":"remove","path":"members[value eq \"` + id + `\"]"}`)
	require.Equal(t, 1, members())
	patch(`{"op":"replace","value":{"id":"` + gid + `","displayName":"SRE 2"}}`)
	require.Equal(t, "SRE 2", f.must(http.StatusOK, "GET", "/Groups?excludedAttributes=members&filter=displayName+eq+%22sre+2%22", "")["Resources"].([]any)[0].(map[string]any)["displayName"])
	patch(`{"op":"replace","path":"members","value":[{"value":"` + id + `"}]}`)
	require.Equal(t, 1, members())
	f.must(http.StatusBadRequest, "PATCH", "/Groups/"+gid, `{"Operations":[{"op":"add","path":"members","value":[{"value":"nobody"}]}]}`)
	f.must(http.StatusNoContent, "DELETE", "/Groups/"+gid, "")
}

func TestPages(t *testing.T) {
	f := open(t)
	for _, n := range []string{"a", "b", "c", "d"} {
		f.must(http.StatusCreated, "POST", "/Users", `{"userName":"`+n+`"}`)
	}
	out := f.must(http.StatusOK, "GET", "/Users?startIndex=2&count=2", "")
	require.EqualValues(t, 4, out["totalResults"])
	list := out["Resources"].([]any)
	require.Len(t, list, 2)
	require.Equal(t, "b", list[0].(map[string]any)["userName"])
	require.EqualValues(t, 4, f.must(http.StatusOK, "GET", "/Users?count=0", "")["totalResults"])
}

func FuzzFilter(f *testing.F) {
	f.Add(`userName eq "a"`)
	f.Add(`emails.value eq "a" and active eq true`)
	f.Add(`a eq "\"] x`)
	f.Fuzz(func(t *testing.T, text string) {
		terms, err := parseFilter(text)
		if err == nil {
			for _, term := range terms {
				require.NotEmpty(t, term.path+text)
			}
		}
	})
}

func FuzzPatch(f *testing.F) {
	f.Add("replace", `emails[type eq "work"].value`, `"a@example.com"`)
	f.Add("add", "", `{"name.givenName":"x","emails":[{"value":"x"}]}`)
	f.Add("remove", "members[value eq \"1\"]", "")
	f.Fuzz(func(t *testing.T, op, path, value string) {
		m := resource{"userName": "a", "name": map[string]any{"givenName": "A"}, "emails": []any{map[string]any{"type": "work", "value": "a@example.com"}}}
		if (operation{op, path, json.RawMessage(value)}).apply(m) != nil {
			return
		}
		_, err := json.Marshal(m)
		require.NoError(t, err)
	})
}
