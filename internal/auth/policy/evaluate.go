package policy

import (
	"strings"
)

// Source is a document and where it comes from.
type Source struct {
	// Name is the ARN of a managed policy, or inline:NAME.
	Name     string
	Document *Document
}

// Request is what is asked for.
type Request struct {
	Principal Principal
	// Action such as aps:RemoteWrite; Resource is an ARN, or "*" for actions
	// that are about none.
	Action, Resource string
	// Context has the values of condition keys; the keys are in lower case. A
	// key without values counts as absent.
	Context map[string][]string
}

// Set is all the policies that have a say in a request.
type Set struct {
	// Identity are the policies of the user or role and of the user's groups.
	Identity []Source
	// Boundary is the permissions boundary, nil for none.
	Boundary *Source
	// Session are the session policies. HasSession says that the session has
	// some even if the list is empty; then it may do nothing.
	Session    []Source
	HasSession bool
	// Resource are the policies attached to the resource.
	Resource []Source
	// Trust says that the resource is a role to be assumed and Resource its
	// trust policy. It then has to allow what is asked, whoever asks; identity
	// policies are needed beyond that where it names an account instead of
	// somebody in it, and where the caller is of another account. Callers
	// without policies (web identities, services) need nothing else.
	Trust bool
	// ResourceAccount owns the resource. Empty means the account in its ARN; for
	// the resource "*" and for managed policies of AWS, the caller's.
	ResourceAccount string
}

// The layers of policies.
const (
	LayerIdentity = "identity"
	LayerBoundary = "boundary"
	LayerSession  = "session"
	LayerResource = "resource"
)

// Match is a statement that applies to a request.
type Match struct {
	Layer, Source string
	// Statement counts from 0.
	Statement  int
	Sid        string
	Effect     Effect
	Start, End Position
}

// LayerResult is what one layer says by itself.
type LayerResult struct {
	// Present says that the layer has a say at all; Allowed and Denied that a
	// statement applies that allows, and that one denies.
	Present, Allowed, Denied bool
}

// Decision is the outcome for one request, and why. The zero value refuses.
type Decision struct {
	Allowed bool
	// ExplicitDeny says that a statement denies, or that a policy cannot be
	// evaluated; otherwise, what is not allowed is denied implicitly.
	ExplicitDeny bool
	// Reason says in AWS' words why the request is denied, such as "no
	// identity-based policy allows the aps:QueryMetrics action" or "with an
	// explicit deny in an identity-based policy". Empty when it is allowed.
	Reason string
	// Layer, Source, Sid and Statement name the statement that decided; Layer
	// and Statement are "" and -1 when none did. On an implicit denial Layer is
	// the one that did not allow.
	Layer, Source, Sid string
	Statement          int
	// Matched are all statements that apply, also those that did not decide.
	Matched []Match
	// MissingContext are the condition keys that statements asked for and the
	// request does not have, as the policies write them.
	MissingContext []string
	// The layers by themselves.
	Identity, Boundary, Session, Resource LayerResult
}

// Clause returns the end of AWS' sentence about a denial, which begins "User: …
// is not authorized to perform: … on resource: …".
func (d *Decision) Clause() string {
	if d.Reason == "" || strings.HasPrefix(d.Reason, "with ") {
		return d.Reason
	}
	return "because " + d.Reason
}

// evaluation is one request being judged.
type evaluation struct {
	// The request is copied in, so that nothing of it has to be on the heap.
	principal        Principal
	action, resource string
	context          map[string][]string

	session bool // the session has policies
	trust   bool
	matched []Match
	missing []missingKey
}

// missingKey is a key in lower case, and as written.
type missingKey struct{ key, name string }

// miss notes a key that the request does not have.
func (e *evaluation) miss(key, name string) {
	for i := range e.missing {
		if e.missing[i].key == key {
			return
		}
	}
	e.missing = append(e.missing, missingKey{key, name})
}

// layer is the outcome of one layer.
type layer struct {
	LayerResult
	name string
	// allow and deny are the deciding statements' places in matched, -1 for none.
	allow, deny int
	// grant is the best that a resource policy gives.
	grant grant
	// broken names a source that cannot be evaluated.
	broken    string
	hasBroken bool
}

// Bounds of a request, so that what a policy costs is bounded too. AWS' own are
// 128 bytes for an action and 2048 for an ARN.
const (
	maxAction   = 256
	maxResource = 4096
	maxColons   = 64
)

// Evaluate decides whether a request is allowed. An explicit deny anywhere
// wins. Otherwise the identity policies have to allow it, and the permissions
// boundary and the session policies, where there are any; a policy of the
// resource can take their place as AWS documents it:
//
//   - In the same account it grants by itself what it allows to a user, to a
//     session by the session's ARN, to a service or to everybody. What it allows
//     to a role's ARN is limited by the boundary and the session policies. What
//     it allows to an account is left to the account's identity policies.
//   - For a caller of another account it has to allow the request, and the
//     caller's own policies too.
//
// A request that is not complete is refused, and so is one for which a policy
// is missing or of the wrong kind. Evaluate may be called concurrently.
func Evaluate(r Request, s Set) Decision {
	e := evaluation{
		principal: r.Principal, action: r.Action, resource: r.Resource, context: r.Context,
		session: s.HasSession || len(s.Session) > 0, trust: s.Trust,
	}
	d := Decision{Statement: -1}
	if !strings.Contains(r.Action, ":") || r.Resource == "" {
		d.Reason = "the request names no action or resource"
		return d
	}
	if len(r.Action) > maxAction || len(r.Resource) > maxResource || strings.Count(r.Resource, ":") > maxColons {
		d.Reason = "the name of the action or resource is too long"
		return d
	}
	if !r.Principal.known() {
		d.Reason = "the caller is not authenticated"
		return d
	}
	identity := e.judge(LayerIdentity, s.Identity, r.Principal.isAWS())
	var boundary layer
	if s.Boundary != nil {
		boundary = e.judge(LayerBoundary, []Source{*s.Boundary}, true)
	} else {
		boundary = e.judge(LayerBoundary, nil, false)
	}
	session := e.judge(LayerSession, s.Session, e.session)
	resource := e.judge(LayerResource, s.Resource, s.Trust || len(s.Resource) > 0)

	d.Matched = e.matched
	if len(e.missing) > 0 {
		d.MissingContext = make([]string, len(e.missing))
		for i := range e.missing {
			d.MissingContext[i] = e.missing[i].name
		}
	}
	d.Identity, d.Boundary, d.Session, d.Resource = identity.LayerResult, boundary.LayerResult, session.LayerResult, resource.LayerResult
	for _, l := range [...]*layer{&identity, &boundary, &session, &resource} {
		if l.hasBroken || l.Denied {
			e.deny(&d, l)
			return d
		}
	}
	e.decide(&d, &identity, &boundary, &session, &resource, s.ResourceAccount)
	return d
}

// decide combines the layers when none denies.
func (e *evaluation) decide(d *Decision, identity, boundary, session, resource *layer, owner string) {
	p := &e.principal
	if !p.isAWS() {
		if resource.Allowed && resource.grant == grantDirect {
			e.allow(d, resource)
			return
		}
		e.refuse(d, resource)
		return
	}
	if owner == "" {
		owner = ownerOf(e.resource, p.AccountID)
	}
	same := owner == p.AccountID
	own := identity
	switch {
	case (e.trust || !same) && !resource.Allowed:
		// Without it nothing helps. A caller whose own policies do not allow the
		// request either learns about those first: it is them it can change.
		if !same && !identity.Allowed {
			resource = identity
		}
		e.refuse(d, resource)
		return
	case same && resource.grant == grantDirect:
		e.allow(d, resource)
		return
	case same && resource.grant == grantLimited:
		own = resource
	}
	for _, l := range [...]*layer{own, boundary, session} {
		if l.Present && !l.Allowed {
			e.refuse(d, l)
			return
		}
	}
	e.allow(d, own)
}

// ownerOf returns the account that owns a resource, "" when it cannot be told.
func ownerOf(resource, caller string) string {
	if resource == "*" {
		return caller
	}
	var fields [arnFields - 1]string
	for i := range fields {
		field, rest, ok := strings.Cut(resource, ":")
		if !ok {
			return ""
		}
		fields[i], resource = field, rest
	}
	service, account := fields[2], fields[4]
	if account == "aws" && service == "iam" {
		return caller // managed policies of AWS are in every account
	}
	return account
}

// judge evaluates all documents of a layer. An absent layer can still deny.
func (e *evaluation) judge(name string, sources []Source, present bool) layer {
	l := layer{LayerResult: LayerResult{Present: present}, name: name, allow: -1, deny: -1}
	for i := range sources {
		d := sources[i].Document
		if d == nil || !e.fits(name, d) {
			l.broken, l.hasBroken = sources[i].Name, true
			continue
		}
		for j := range d.statements {
			s := &d.statements[j]
			g, applies := e.applies(s)
			if !applies {
				continue
			}
			if s.Effect == Allow {
				if !l.Allowed || g > l.grant {
					l.allow, l.grant = len(e.matched), g
				}
				l.Allowed = true
			} else {
				if !l.Denied {
					l.deny = len(e.matched)
				}
				l.Denied = true
			}
			if e.matched == nil {
				e.matched = make([]Match, 0, 2)
			}
			e.matched = append(e.matched, Match{
				Layer: name, Source: sources[i].Name, Statement: j, Sid: s.Sid, Effect: s.Effect, Start: s.Start, End: s.End,
			})
		}
	}
	return l
}

// fits reports whether a document may be in a layer. One that Parse has not
// made fits nowhere.
func (e *evaluation) fits(layer string, d *Document) bool {
	if len(d.statements) == 0 {
		return false
	}
	if layer == LayerResource {
		return d.kind == Trust || d.kind == Resource && !e.trust
	}
	return d.kind == Identity || d.kind == CustomerManaged
}

// applies reports whether a statement applies to the request, and for one that
// allows, what it grants. What cannot be told counts against the caller.
func (e *evaluation) applies(s *Statement) (grant, bool) {
	g := grantNone
	if s.principals != nil {
		switch {
		case s.Effect == Allow:
			if g = s.principals.grant(&e.principal, e.session); g == grantNone || s.notPrincipal {
				return g, false
			}
		case s.notPrincipal:
			if s.principals.exempts(&e.principal) {
				return g, false
			}
		case !s.principals.denies(&e.principal):
			return g, false
		}
	}
	if e.matchesAction(s) == s.notAction {
		return g, false
	}
	v := e.matchesResource(s)
	for i := range s.conditions {
		if v == verdictNo {
			return g, false
		}
		switch s.conditions[i].eval(e) {
		case verdictNo:
			v = verdictNo
		case verdictUnknown:
			v = verdictUnknown
		}
	}
	return g, v == verdictYes || v == verdictUnknown && s.Effect != Allow
}

func (e *evaluation) matchesAction(s *Statement) bool {
	for _, p := range s.actions {
		if matchAction(p, e.action) {
			return true
		}
	}
	return false
}

// matchesResource tells whether a statement is about the resource. Trust
// policies are about their role.
func (e *evaluation) matchesResource(s *Statement) verdict {
	if len(s.resources) == 0 {
		return verdictYes
	}
	unresolved := false
	for i := range s.resources {
		matched, resolved := s.resources[i].matchResource(e, e.resource)
		if matched {
			return verdictOf(!s.notResource)
		}
		unresolved = unresolved || !resolved
	}
	if unresolved && s.notResource {
		return verdictUnknown
	}
	return verdictOf(s.notResource)
}

// by names the statement that decides.
func (e *evaluation) by(d *Decision, l *layer, match int) {
	d.Layer = l.name
	if match >= 0 {
		m := &e.matched[match]
		d.Source, d.Sid, d.Statement = m.Source, m.Sid, m.Statement
	}
}

func (e *evaluation) allow(d *Decision, l *layer) {
	d.Allowed = true
	e.by(d, l, l.allow)
}

// refuse denies because a layer does not allow.
func (e *evaluation) refuse(d *Decision, l *layer) {
	e.by(d, l, -1)
	d.Reason = "no " + e.noun(l) + " allows the " + e.action + " action"
}

// deny denies because a layer says so, or cannot be read.
func (e *evaluation) deny(d *Decision, l *layer) {
	d.ExplicitDeny = true
	e.by(d, l, l.deny)
	article := "a "
	switch {
	case l.hasBroken && !l.Denied:
		d.Source = l.broken
		d.Reason = "the policy " + l.broken + " cannot be evaluated"
		return
	case l.name == LayerIdentity:
		article = "an "
	case l.name == LayerResource && e.trust:
		article = "the "
	}
	d.Reason = "with an explicit deny in " + article + e.noun(l)
}

// noun is AWS' name for a layer.
func (e *evaluation) noun(l *layer) string {
	switch l.name {
	case LayerIdentity:
		return "identity-based policy"
	case LayerBoundary:
		return "permissions boundary"
	case LayerSession:
		return "session policy"
	}
	if e.trust {
		return "role trust policy"
	}
	return "resource-based policy"
}
