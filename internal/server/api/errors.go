package api

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/awsquery"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/server/workspace"
)

// Error is an answer other than success. It is written in the protocol that the
// caller speaks.
type Error struct {
	Status  int
	Code    string
	Message string
	// Extra members of the body on the control plane, JSON only.
	Extra map[string]any
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// workspaceType is the resource type in errors about workspaces.
const workspaceType = "workspace"

// Names that the edge itself gives; in the Query protocol they have others.
const (
	codeDenied           = "AccessDeniedException"
	codeInternal         = "InternalServerException"
	codeUnavailable      = "ServiceUnavailableException"
	codeUnknownOperation = "UnknownOperationException"
)

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
	var parameter *awsquery.Error
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
		return &Error{Status: http.StatusForbidden, Code: codeDenied, Message: denied.Error()}
	case errors.As(err, &parameter):
		return &Error{Status: http.StatusBadRequest, Code: parameter.Code, Message: parameter.Error()}
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
		return &Error{Status: http.StatusServiceUnavailable, Code: codeUnavailable, Message: wait.Error()}
	}
	return &Error{Status: http.StatusInternalServerError, Code: codeInternal, Message: "Internal error."}
}

// queryCodes are the names that services of the Query protocol have for what is
// refused at the edge.
func queryCode(r sigv4.Reason) (status int, code string) {
	switch r {
	case sigv4.ReasonMissing:
		return http.StatusForbidden, "MissingAuthenticationToken"
	case sigv4.ReasonIncomplete:
		return http.StatusBadRequest, "IncompleteSignature"
	case sigv4.ReasonUnknownKey:
		return http.StatusForbidden, "InvalidClientTokenId"
	case sigv4.ReasonExpiredToken:
		return http.StatusForbidden, "ExpiredToken"
	case sigv4.ReasonExpired:
		return http.StatusBadRequest, "RequestExpired"
	case sigv4.ReasonThrottled:
		return http.StatusBadRequest, "Throttling"
	case sigv4.ReasonTooLarge:
		return http.StatusRequestEntityTooLarge, "RequestEntityTooLarge"
	case sigv4.ReasonBody:
		return http.StatusBadRequest, "MalformedInput"
	}
	return http.StatusForbidden, "SignatureDoesNotMatch"
}

// inProtocol gives what is refused at the edge the status and name that the
// protocol has for it. Errors of handlers are named by them.
func inProtocol(p Protocol, e *Error, err error) *Error {
	var sig *sigv4.Error
	isSig := errors.As(err, &sig)
	out := *e
	switch p {
	case Query:
		switch {
		case isSig:
			out.Status, out.Code = queryCode(sig.Reason)
		case e.Code == codeDenied:
			out.Code = "AccessDenied"
		case e.Code == codeInternal:
			out.Code = "InternalFailure"
		case e.Code == codeUnavailable:
			out.Code = "ServiceUnavailable"
		case e.Code == codeUnknownOperation:
			out.Code, out.Status = "InvalidAction", http.StatusBadRequest
		}
	case JSON11:
		// All that is the caller's fault has one status; the name tells.
		if out.Status >= 400 && out.Status < 500 && out.Status != http.StatusRequestEntityTooLarge {
			out.Status = http.StatusBadRequest
		}
	}
	return &out
}

// refuse answers with an error in the caller's protocol. The reason goes into
// the request's log line.
func (rt *Router) refuse(w http.ResponseWriter, r *http.Request, x *exchange, err error) {
	e := inProtocol(x.protocol, toError(err, x.params), err)
	x.status, x.code = e.Status, e.Code
	requestID := httpserver.RequestID(r.Context())
	if e.Status >= 500 {
		rt.logger.Error("request failed", "request_id", requestID, "err", err)
	}
	httpserver.Annotate(r.Context(), slog.String("error", e.Code))
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	if x.principal.ARN == "" && e.Status < http.StatusInternalServerError && rt.hold.wait(r.Context(), rt.cfg.Proxies.ClientAddr(r)) {
		w.Header().Set("Connection", "close")
	}
	if x.protocol == Query {
		// An error here is the connection's, and the log line has the status.
		_ = awsquery.WriteError(w, e.Status, x.service.Namespace, e.Code, e.Message, requestID)
		return
	}
	body := make(map[string]any, 2+len(e.Extra))
	switch {
	case x.data && e.Code == codeDenied:
		body["Message"] = e.Message
	case x.data:
		body["message"] = e.Message
	default:
		for k, v := range e.Extra {
			body[k] = v
		}
		body["__type"], body["message"] = e.Code, e.Message
	}
	w.Header().Set("x-amzn-errortype", e.Code)
	contentType := "application/json"
	if x.protocol == JSON11 {
		contentType = "application/x-amz-json-1.1"
	}
	writeJSONAs(w, contentType, e.Status, body)
}

func writeJSONAs(w http.ResponseWriter, contentType string, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"__type":"InternalServerException","message":"Internal error."}`)
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
