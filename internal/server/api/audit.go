package api

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/mangru/mangru/internal/audit"
	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/httpserver"
)

// Audit takes a record of every decision; it must not wait. *audit.Log is one.
type Audit interface{ Record(audit.Event) }

// audit records what became of a request. A call that was let through counts as
// allowed, whatever its handler then found wrong with it.
func (rt *Router) audit(r *http.Request, x *exchange, start time.Time, err error) {
	if x.refusedFor != "" {
		rt.refused.WithLabelValues(x.service.Name, x.refusedFor).Inc()
	}
	if rt.cfg.Audit == nil {
		return
	}
	e := audit.Event{Time: start, RequestID: httpserver.RequestID(r.Context()), Principal: x.principal.ARN,
		AccessKeyID: cmp.Or(x.principal.AccessKeyID, x.keyID), Service: x.service.Name, Resource: x.resource, Policy: x.policy,
		Source: rt.cfg.Proxies.ClientAddr(r), UserAgent: r.UserAgent(), Data: x.data, Decision: audit.Allow}
	switch {
	case x.route != nil && x.route.Action != "":
		e.Action = x.route.Action
	case x.operation != "":
		e.Action = x.service.Name + ":" + x.operation
	}
	// Where the operation itself finds out who calls, it says so in the log.
	if named, subject := httpserver.Notes(r.Context(), "subject"); e.Principal == "" {
		e.Principal, e.Subject = named, subject
	}
	if e.Resource == "" {
		_, e.Resource = httpserver.Notes(r.Context(), "resource")
	}
	if err != nil {
		e.Status, e.Code, e.Reason = x.status, x.code, toError(err, x.params).Message
		if _, why := httpserver.Notes(r.Context(), "reason"); why != "" {
			e.Reason += " (" + why + ")"
		}
		switch {
		case x.status >= http.StatusInternalServerError:
			e.Decision = audit.Error
		case !x.allowed || x.judgesItself():
			e.Decision = audit.Deny
		}
	}
	rt.cfg.Audit.Record(e)
}

// judgesItself reports whether the operation decides who may use it, so that its
// refusals are ones of the gate.
func (x *exchange) judgesItself() bool {
	return x.route != nil && (x.route.Anonymous || x.route.NoPermission)
}

// refusedFor gives the reason under which a refusal is counted here; the
// verifier counts signatures itself.
func refusedFor(err error) string {
	var sig *sigv4.Error
	var denied *iam.DeniedError
	var own *Error
	switch {
	case errors.As(err, &sig):
		return ""
	case errors.As(err, &denied):
		return "denied"
	case errors.As(err, &own) && own.Status < http.StatusInternalServerError:
		return "malformed"
	}
	return "failed"
}
