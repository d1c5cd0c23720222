// Package grafanaapi answers Grafana's HTTP API over the records of dashboard
// workspaces, so that what speaks to Grafana (Terraform's provider, grizzly, the
// Grafana operator, scripts) and our own pages work against it: the same paths,
// bodies, status codes and sentences.
//
// Who sends a request is settled by an Identity; here it is only decided what
// they may do. Every workspace is the organisation number 1 of its own.
package grafanaapi

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/records"
)

// OrgID is the number of the one organisation of every workspace.
const OrgID = 1

// maxBody bounds what a request may carry.
const maxBody = records.MaxBoardBytes + 1<<20

// Identity says who people are.
type Identity interface {
	// Caller returns who a request's cookie or password proves, or
	// caller.ErrNotSignedIn or caller.ErrNoAccess. Tokens of service accounts are looked at before.
	Caller(r *http.Request) (caller.Caller, error)
	// Members lists who may sign in to a workspace.
	Members(ctx context.Context, workspace string) ([]caller.Member, error)
}

// Sources connects to data sources.
type Sources interface {
	// Proxy forwards a request to the path below a data source's URL.
	Proxy(w http.ResponseWriter, r *http.Request, d *records.DataSource, path string)
	// Check asks a data source for something simple and returns the sentence
	// for people, or an error that says what is wrong.
	Check(ctx context.Context, d *records.DataSource) (string, error)
	// Manage calls the control plane of the workspace that a data source queries:
	// a method, a path below the workspace, a body in JSON.
	Manage(ctx context.Context, d *records.DataSource, method, path string, body []byte) (status int, answer []byte, err error)
	// Managed says why a data source is no workspace that Manage reaches; nil where it is.
	Managed(d *records.DataSource) error
	// Query calls the Prometheus API of a data source: op is query or
	// query_range. It returns the status and the whole answer.
	Query(ctx context.Context, d *records.DataSource, op string, form map[string]string) (status int, body []byte, err error)
}

// Catalogue has boards by their number on grafana.com.
type Catalogue interface {
	// Board returns a board as grafana.com describes it, with its JSON under
	// "json", or an error wrapping records.ErrNotFound.
	Board(ctx context.Context, id string) (map[string]any, error)
	// Fetch returns the JSON at a URL that a person gave.
	Fetch(ctx context.Context, url string) (json.RawMessage, error)
	// List describes the boards that come with the program.
	List() []CatalogueEntry
}

// CatalogueEntry describes a board that comes with the program.
type CatalogueEntry struct {
	ID          int64    `json:"id"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Tags        []string `json:"tags"`
}

// Config is what the API works with.
type Config struct {
	Version   string
	Store     *records.Store
	Identity  Identity
	Sources   Sources
	Catalogue Catalogue
	// Renderer makes pictures of the pages at PageURL; nil for none.
	Renderer Renderer
	PageURL  func() string
}

type api struct {
	Config
	log       *slog.Logger
	alerting  sync.Map // of *sync.Mutex by dashboard workspace, held while its provisioned alerting changes
	rendering renderKeys
}

// call is one request with who sends it.
type call struct {
	*http.Request
	w      http.ResponseWriter
	caller caller.Caller
	ws     string
	rights *records.Access             // read when first asked for
	uses   map[string][]*records.Board // of library panels, read when first asked for
	api    *api
}

// access says who may call a route at all.
type access int

const (
	anyone   access = iota + 1 // also without proof of identity
	signedIn                   // any role, none too
	viewers
	editors
	admins
)

// route is one line of a table. A route without an access rule does not start.
type route struct {
	pattern string // method, space, path with {names}; {name...} at the end takes the rest, escaped
	access  access
	serve   func(*api, *call) (any, error)
}

// answered is returned by handlers that have written the answer themselves.
type answered struct{}

// reply is an answer with another status than 200.
type reply struct {
	status int
	body   any
}

// apiError is an error with the status and body that the caller gets.
type apiError struct {
	status int
	body   any
}

func (e *apiError) Error() string { return fmt.Sprint(e.status, " ", e.body) }

func fail(status int, message string) error {
	return &apiError{status, map[string]any{"message": message}}
}

func message(text string) map[string]any { return map[string]any{"message": text} }

func routes() []route {
	return slices.Concat(boardRoutes(), folderRoutes(), permissionRoutes(), sourceRoutes(), orgRoutes(), teamRoutes(), accountRoutes(),
		annotationRoutes(), documentRoutes(), libraryRoutes(), importRoutes(), alertRoutes(),
		alertRuleRoutes(), notificationRoutes(), renderRoutes())
}

// Patterns lists the method and path of every route.
func Patterns() []string {
	var list []string
	for _, r := range routes() {
		list = append(list, r.pattern)
	}
	return list
}

// New returns the handler for everything under /api but sign-in.
func New(cfg Config, log *slog.Logger) (http.Handler, error) {
	a := &api{Config: cfg, log: log}
	mux := &router{}
	for _, r := range routes() {
		if r.access == 0 {
			return nil, fmt.Errorf("BUG: route %s has no access rule", r.pattern)
		}
		mux.add(r.pattern, a.guard(r))
	}
	return mux, nil
}

// guard settles who calls before the route sees the request.
func (a *api) guard(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		c := &call{Request: r, w: w, api: a}
		if rt.access != anyone {
			if err := a.identify(c); err != nil {
				a.refuse(c, err)
				return
			}
			if !mayCall(c.caller.Role, rt.access) {
				a.refuse(c, denied(rt.pattern))
				return
			}
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		out, err := rt.serve(a, c)
		switch v := out.(type) {
		case nil:
			if err == nil {
				err = errors.New("BUG: a handler answers nothing: " + rt.pattern)
			}
			a.refuse(c, err)
		case answered:
		case reply:
			a.finish(c, v.status, v.body, err)
		default:
			a.finish(c, http.StatusOK, v, err)
		}
	})
}

func (a *api) finish(c *call, status int, body any, err error) {
	if err != nil {
		a.refuse(c, err)
		return
	}
	writeJSON(c.w, status, body)
}

func mayCall(r caller.Role, need access) bool {
	switch need {
	case admins:
		return r == caller.RoleAdmin
	case editors:
		return r.Includes(caller.RoleEditor)
	case viewers:
		return r.Includes(caller.RoleViewer)
	default:
		return true
	}
}

// identify finds out who sends a request: a service account's token, or what the
// Identity knows.
func (a *api) identify(c *call) error {
	who, err := a.tokenCaller(c.Request)
	if err != nil {
		return err
	}
	if who.Workspace != "" && who.Workspace != caller.WorkspaceIn(c.Context()) {
		return fail(http.StatusUnauthorized, "Invalid API key") // of another workspace
	}
	if one, ok := a.rendering.caller(c.Request); ok && who.Workspace == "" && one.Workspace == caller.WorkspaceIn(c.Context()) {
		who = one
	}
	if who.Workspace == "" {
		if who, err = a.Identity.Caller(c.Request); errors.Is(err, caller.ErrNotSignedIn) {
			return &apiError{http.StatusUnauthorized, map[string]any{
				"message": "Unauthorized", "messageId": "auth.unauthorized", "statusCode": 401, "extra": nil, "traceID": "",
			}}
		} else if errors.Is(err, caller.ErrNoAccess) {
			return &apiError{http.StatusForbidden, map[string]any{"message": caller.ErrNoAccess.Error(), "messageId": "workspace.no-access", "errorType": "no-access"}}
		} else if err != nil {
			return err
		}
	}
	read := c.Method == http.MethodGet || c.Method == http.MethodHead
	if who.CSRFToken != "" && !read && subtle.ConstantTimeCompare([]byte(c.Header.Get("X-CSRF-Token")), []byte(who.CSRFToken)) != 1 {
		return fail(http.StatusForbidden, "the X-CSRF-Token header does not hold the session's token")
	}
	if who.Person != "" {
		u, err := a.Store.EnsureUser(c.Context(), who.Workspace, caller.Member{
			Person: who.Person, Login: who.Login, Name: who.Name, Email: who.Email, Role: who.Role,
		}, true)
		if err != nil {
			return err
		}
		who.UserID = u.ID
		if who.Teams, err = a.Store.TeamsOf(c.Context(), who.Workspace, u.ID); err != nil {
			return err
		}
	}
	c.caller, c.ws = who, who.Workspace
	return nil
}

// tokenCaller reads the token of a service account: a bearer token, or the
// password of the user "api_key". The result is empty where there is none.
func (a *api) tokenCaller(r *http.Request) (caller.Caller, error) {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token := ""
	switch strings.ToLower(scheme) {
	case "bearer":
		token = value
	case "basic":
		plain, err := base64.StdEncoding.DecodeString(value)
		if user, pass, _ := strings.Cut(string(plain), ":"); err == nil && user == "api_key" {
			token = pass
		}
	}
	if token == "" {
		return caller.Caller{}, nil
	}
	who, err := a.Store.TokenCaller(r.Context(), strings.TrimSpace(token))
	if errors.Is(err, caller.ErrNotSignedIn) {
		return who, fail(http.StatusUnauthorized, "Invalid API key")
	}
	return who, err
}

// denied is Grafana's answer to who may not do something.
func denied(what string) error {
	return &apiError{http.StatusForbidden, map[string]any{
		"title": "Access denied", "accessErrorId": "ACE0000000000",
		"message": "You'll need additional permissions to perform this action. Permissions needed: " + what,
	}}
}

// access reads the permissions of the workspace, once a request.
func (c *call) access() (*records.Access, error) {
	if c.rights != nil {
		return c.rights, nil
	}
	var err error
	c.rights, err = c.api.Store.Access(c.Context(), c.ws)
	return c.rights, err
}

// body reads the request's JSON into v.
func (c *call) body(v any) error {
	text, err := io.ReadAll(c.Body)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return fail(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", tooLarge.Limit))
	}
	if err != nil {
		return fail(http.StatusBadRequest, "bad request data")
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return fail(http.StatusBadRequest, "bad request data")
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fail(http.StatusBadRequest, "bad request data: "+err.Error())
	}
	return nil
}

// refuse answers an error: ours with what it says, others with 500 and a line in
// the log.
func (a *api) refuse(c *call, err error) {
	var e *apiError
	if errors.As(err, &e) {
		writeJSON(c.w, e.status, e.body)
		return
	}
	if status, body := known(err); status != 0 {
		writeJSON(c.w, status, body)
		return
	}
	if c.Context().Err() != nil {
		return // the caller went away
	}
	a.log.Error("request failed", "path", c.URL.Path, "err", err)
	writeJSON(c.w, http.StatusInternalServerError, message("Internal server error"))
}

// known translates errors of the records to Grafana's status and body.
func known(err error) (int, map[string]any) {
	withStatus := func(code, text string) map[string]any { return map[string]any{"status": code, "message": text} }
	for _, t := range []struct {
		err    error
		status int
		body   map[string]any
	}{
		{records.ErrVersionMismatch, 412, withStatus("version-mismatch", "The dashboard has been changed by someone else")},
		{records.ErrTitleEmpty, 400, withStatus("empty-name", "Dashboard title cannot be empty")},
		{records.ErrTitleTooLong, 400, withStatus("title-too-long", "Dashboard title cannot contain more than 5 000 characters")},
		{records.ErrFolderNotFound, 404, withStatus("not-found", records.ErrFolderNotFound.Error())},
		{records.ErrFolderVersion, 412, withStatus("version-mismatch", records.ErrFolderVersion.Error())},
		{records.ErrFolderUIDTaken, 409, message(records.ErrFolderUIDTaken.Error())},
		{records.ErrFolderTitleEmpty, 400, message(records.ErrFolderTitleEmpty.Error())},
		{records.ErrFolderTooDeep, 400, map[string]any{"messageId": "folder.maximum-depth-reached", "message": "Maximum nested folder depth reached", "statusCode": 400}},
		{records.ErrFolderCircular, 400, map[string]any{"messageId": "folder.circular-reference", "message": "Circular reference detected", "statusCode": 400}},
		{records.ErrUIDTaken, 400, message("A dashboard with the same uid already exists")},
		{records.ErrProvisioned, 400, message("Cannot save provisioned dashboard")},
		{records.ErrDeleteProvision, 400, message(records.ErrDeleteProvision.Error())},
		{records.ErrMessageTooLong, 400, message(records.ErrMessageTooLong.Error())},
		{records.ErrInvalidUID, 400, message(records.ErrInvalidUID.Error())},
		{records.ErrUIDTooLong, 400, message(records.ErrUIDTooLong.Error())},
		{records.ErrDataSourceNotFound, 404, message("Data source not found")},
		{records.ErrDataSourceName, 409, message(records.ErrDataSourceName.Error())},
		{records.ErrDataSourceUID, 409, message(records.ErrDataSourceUID.Error())},
		{records.ErrDataSourceVersion, 409, message("Datasource has already been updated by someone else. Please reload and try again")},
		{records.ErrReadOnly, 403, message("Cannot update read-only data source")},
		{records.ErrBadBoard, 400, message(err.Error())},
		{records.ErrBadFolder, 400, message(err.Error())},
		{records.ErrNotFound, 404, message("Not found")},
	} {
		if errors.Is(err, t.err) {
			return t.status, t.body
		}
	}
	return 0, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("BUG: reply is not JSON: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(bytes.TrimRight(out.Bytes(), "\n")) // a caller that left is no error of ours
}
