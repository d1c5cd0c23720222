// Package scim lets a provider outside (Okta, Entra ID, Keycloak) write users,
// groups and memberships into the directory: SCIM 2.0, RFC 7643 and 7644, with
// bearer tokens. A provider can make nobody an administrator and sees no
// passwords.
package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/mangru/mangru/internal/people/directory"
)

// Base is the path below which the handler serves.
const Base = "/scim/v2"

// issuer stands for the provider in the directory's external ids.
const issuer = "scim"

const (
	schemaUser    = "urn:ietf:params:scim:schemas:core:2.0:User"
	schemaGroup   = "urn:ietf:params:scim:schemas:core:2.0:Group"
	schemaList    = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	schemaError   = "urn:ietf:params:scim:api:messages:2.0:Error"
	schemaPatch   = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	schemaConfig  = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
	schemaType    = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
	contentType   = "application/scim+json"
	maxBody       = 1 << 20
	maxList       = 100
	maxOperations = 1000
)

// scimError is an answer other than success.
type scimError struct {
	status   int
	scimType string
	detail   string
}

// Error implements error.
func (e *scimError) Error() string { return e.detail }

func invalid(scimType, format string, args ...any) error {
	return &scimError{http.StatusBadRequest, scimType, fmt.Sprintf(format, args...)}
}

type server struct {
	dir *directory.Directory
	log *slog.Logger
}

// session is a request with its token.
type session struct {
	ctx   context.Context
	dir   *directory.Directory
	store string
	by    string
	base  string // URL of the service, as the caller reaches it
	r     *http.Request
}

// New returns the handler for everything below Base.
func New(dir *directory.Directory, log *slog.Logger) http.Handler {
	s := &server{dir, log}
	mux := http.NewServeMux()
	for pattern, do := range map[string]func(*session) (int, any, error){
		"GET /Users": listUsers, "POST /Users": createUser,
		"GET /Users/{id}": getUser, "PUT /Users/{id}": replaceUser, "PATCH /Users/{id}": patchUser, "DELETE /Users/{id}": deleteUser,
		"GET /Groups": listGroups, "POST /Groups": createGroup,
		"GET /Groups/{id}": getGroup, "PUT /Groups/{id}": replaceGroup, "PATCH /Groups/{id}": patchGroup, "DELETE /Groups/{id}": deleteGroup,
		"GET /ServiceProviderConfig": serviceConfig, "GET /ResourceTypes": resourceTypes, "GET /Schemas": schemas,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		mux.Handle(method+" "+Base+path, s.guard(do))
	}
	mux.Handle("/", s.guard(func(*session) (int, any, error) {
		return 0, nil, &scimError{http.StatusNotFound, "", "There is no such resource."}
	}))
	return mux
}

// guard settles whose token a request has before anything is looked at.
func (s *server) guard(do func(*session) (int, any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		token, err := directory.Token{}, directory.ErrBadToken
		if strings.EqualFold(scheme, "Bearer") {
			token, err = s.dir.UseToken(r.Context(), strings.TrimSpace(secret))
		}
		if errors.Is(err, directory.ErrBadToken) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="scim"`)
			s.fail(w, r, &scimError{http.StatusUnauthorized, "", "A valid bearer token is required."})
			return
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		status, out, err := do(&session{ctx: r.Context(), dir: s.dir, store: token.StoreID, by: "scim/" + token.ID, base: Base, r: r})
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if m, ok := out.(resource); ok && status == http.StatusCreated {
			w.Header().Set("Location", m.location())
		}
		reply(w, status, out)
	})
}

func reply(w http.ResponseWriter, status int, out any) {
	if out == nil {
		w.WriteHeader(status)
		return
	}
	text, err := json.Marshal(out)
	if err != nil {
		panic("BUG: a SCIM answer is not JSON: " + err.Error())
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(text) // a caller that left is no error of ours
}

func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var own *scimError
	var missing *directory.NotFoundError
	var bad *directory.InvalidError
	var taken *directory.ConflictError
	var limit *directory.LimitError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &own):
	case errors.As(err, &missing):
		own = &scimError{http.StatusNotFound, "", "There is no such resource."}
	case errors.As(err, &bad):
		own = &scimError{http.StatusBadRequest, "invalidValue", bad.Error()}
	case errors.As(err, &taken):
		own = &scimError{http.StatusConflict, "uniqueness", taken.Message}
	case errors.As(err, &limit):
		own = &scimError{http.StatusForbidden, "", limit.Message}
	case errors.As(err, &large):
		own = &scimError{http.StatusRequestEntityTooLarge, "tooMany", fmt.Sprintf("The body is larger than %d bytes.", maxBody)}
	default:
		if r.Context().Err() != nil {
			return
		}
		s.log.Error("SCIM request failed", "path", r.URL.Path, "err", err)
		own = &scimError{http.StatusInternalServerError, "", "Internal error."}
	}
	body := map[string]any{"schemas": []string{schemaError}, "status": strconv.Itoa(own.status), "detail": own.detail}
	if own.scimType != "" {
		body["scimType"] = own.scimType
	}
	reply(w, own.status, body)
}

// decode reads a body. Content types other than SCIM's and JSON are refused.
func (s *session) decode(into any) error {
	kind, _, err := mime.ParseMediaType(s.r.Header.Get("Content-Type"))
	if err != nil || kind != contentType && kind != "application/json" {
		return &scimError{http.StatusUnsupportedMediaType, "", "Content-Type must be " + contentType + " or application/json."}
	}
	text, err := io.ReadAll(s.r.Body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return invalid("invalidSyntax", "The body is not the JSON expected: %v", err)
	}
	return nil
}

// resource is a user or group in the answers.
type resource map[string]any

func (m resource) location() string {
	meta, _ := m["meta"].(map[string]any)
	at, _ := meta["location"].(string)
	return at
}

// bounds reads startIndex and count. Both are as RFC 7644 has them: what is out
// of range counts as the nearest.
func (s *session) bounds() (start, count int, err error) {
	read := func(name string, def int) (int, error) {
		v := s.r.URL.Query().Get(name)
		if v == "" {
			return def, nil
		}
		n, err := strconv.Atoi(v)
		if err != nil {
			return 0, invalid("invalidValue", "%s: %.40q is not a number", name, v)
		}
		return n, nil
	}
	if start, err = read("startIndex", 1); err != nil {
		return 0, 0, err
	}
	if count, err = read("count", maxList); err != nil {
		return 0, 0, err
	}
	return max(start, 1), min(max(count, 0), maxList), nil
}

// wanted reads which part of a list is asked for, and its filter.
func (s *session) wanted() (start, count int, terms []term, err error) {
	if start, count, err = s.bounds(); err != nil {
		return 0, 0, nil, err
	}
	terms, err = parseFilter(s.r.URL.Query().Get("filter"))
	return start, count, terms, err
}

// window collects the part of a list that was asked for. page is called until it
// returns no next.
func window[T any](start, count int, page func(after string) ([]T, string, error)) (part []T, total int, err error) {
	after := ""
	for {
		list, next, err := page(after)
		if err != nil {
			return nil, 0, err
		}
		for _, v := range list {
			total++
			if total >= start && len(part) < count {
				part = append(part, v)
			}
		}
		if next == "" {
			return part, total, nil
		}
		after = next
	}
}

func listAnswer(start, total int, list []resource) (int, any, error) {
	if list == nil {
		list = []resource{}
	}
	return http.StatusOK, map[string]any{"schemas": []string{schemaList}, "totalResults": total, "startIndex": start, "itemsPerPage": len(list), "Resources": list}, nil
}

func serviceConfig(*session) (int, any, error) {
	on := func(yes bool) map[string]any { return map[string]any{"supported": yes} }
	return http.StatusOK, map[string]any{
		"schemas": []string{schemaConfig}, "patch": on(true), "changePassword": on(false), "sort": on(false), "etag": on(false),
		"bulk":   map[string]any{"supported": false, "maxOperations": 0, "maxPayloadSize": maxBody},
		"filter": map[string]any{"supported": true, "maxResults": maxList},
		"authenticationSchemes": []any{map[string]any{"type": "oauthbearertoken", "name": "OAuth Bearer Token", "primary": true,
			"description": "A token made by mangru person token create."}},
	}, nil
}

func resourceTypes(*session) (int, any, error) {
	list := []resource{
		{"schemas": []string{schemaType}, "id": "User", "name": "User", "endpoint": "/Users", "schema": schemaUser},
		{"schemas": []string{schemaType}, "id": "Group", "name": "Group", "endpoint": "/Groups", "schema": schemaGroup},
	}
	return listAnswer(1, len(list), list)
}

func schemas(*session) (int, any, error) {
	attribute := func(name string, more map[string]any) map[string]any {
		m := map[string]any{"name": name, "type": "string", "multiValued": false, "required": false, "mutability": "readWrite", "returned": "default", "uniqueness": "none"}
		for k, v := range more {
			m[k] = v
		}
		return m
	}
	complexMany := map[string]any{"type": "complex", "multiValued": true}
	user := []any{attribute("userName", map[string]any{"required": true, "uniqueness": "server"}), attribute("name", map[string]any{"type": "complex"}),
		attribute("active", map[string]any{"type": "boolean"}), attribute("emails", complexMany), attribute("addresses", complexMany), attribute("phoneNumbers", complexMany)}
	for _, name := range plainAttributes {
		user = append(user, attribute(name, nil))
	}
	list := []resource{
		{"id": schemaUser, "name": "User", "attributes": user},
		{"id": schemaGroup, "name": "Group", "attributes": []any{attribute("displayName", map[string]any{"required": true}), attribute("members", complexMany)}},
	}
	return listAnswer(1, len(list), list)
}
