package api

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/server/workspace"
)

// Error is an answer other than success, in the form of AWS' REST-JSON.
type Error struct {
	Status  int
	Code    string
	Message string
	// Extra members of the body on the control plane.
	Extra map[string]any
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// workspaceType is the resource type in errors about workspaces.
const workspaceType = "workspace"

// The reasons of a ValidationException.
const (
	reasonCannotParse = "CANNOT_PARSE"
	reasonField       = "FIELD_VALIDATION_FAILED"
)

func invalid(reason, field, message string) *Error {
	e := &Error{Status: http.StatusBadRequest, Code: "ValidationException", Message: message, Extra: map[string]any{"reason": reason}}
	if field != "" {
		e.Extra["fieldList"] = []map[string]string{{"name": field, "message": message}}
	}
	return e
}

func notFound(id string) *Error {
	return &Error{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: "Workspace not found: " + id,
		Extra: map[string]any{"resourceId": id, "resourceType": workspaceType}}
}

// toError gives an error its answer. What is not meant for the caller becomes
// an internal error without details.
func toError(err error, c map[string]string) *Error {
	var own *Error
	var sig *sigv4.Error
	var denied *iam.DeniedError
	var bad *workspace.InvalidError
	var conflict *workspace.ConflictError
	var quota *workspace.QuotaError
	var wait interface {
		error
		Unavailable() bool
	}
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &sig):
		return &Error{Status: sig.Status, Code: sig.Code, Message: sig.Message}
	case errors.As(err, &denied):
		return &Error{Status: http.StatusForbidden, Code: "AccessDeniedException", Message: denied.Error()}
	case errors.As(err, &bad):
		return invalid(reasonField, bad.Field, bad.Error())
	case errors.As(err, &conflict):
		return &Error{Status: http.StatusConflict, Code: "ConflictException", Message: conflict.Message,
			Extra: map[string]any{"resourceId": conflict.ID, "resourceType": workspaceType}}
	case errors.As(err, &quota):
		return &Error{Status: http.StatusPaymentRequired, Code: "ServiceQuotaExceededException", Message: quota.Message,
			Extra: map[string]any{"resourceId": "*", "resourceType": workspaceType, "serviceCode": "aps", "quotaCode": "L-WORKSPACES"}}
	case errors.Is(err, workspace.ErrNotFound):
		return notFound(c["workspaceId"])
	case errors.As(err, &wait) && wait.Unavailable():
		return &Error{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailableException", Message: wait.Error()}
	}
	return &Error{Status: http.StatusInternalServerError, Code: "InternalServerException", Message: "Internal error."}
}

// refuse answers with an error. The reason goes into the request's log line.
func (rt *Router) refuse(w http.ResponseWriter, r *http.Request, t target, err error) {
	e := toError(err, t.params)
	if e.Status >= 500 {
		rt.logger.Error("request failed", "request_id", httpserver.RequestID(r.Context()), "err", err)
	}
	httpserver.Annotate(r.Context(), slog.String("error", e.Code))
	body := make(map[string]any, 2+len(e.Extra))
	switch {
	case t.data && e.Code == "AccessDeniedException":
		body["Message"] = e.Message
	case t.data:
		body["message"] = e.Message
	default:
		for k, v := range e.Extra {
			body[k] = v
		}
		body["__type"], body["message"] = e.Code, e.Message
	}
	w.Header().Set("x-amzn-errortype", e.Code)
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	writeJSON(w, e.Status, body)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"__type":"InternalServerException","message":"Internal error."}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
