package policy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	workspace        = "arn:aws:aps:us-east-1:111111111111:workspace/ws-1"
	foreignWorkspace = "arn:aws:aps:us-east-1:222222222222:workspace/ws-1"
)

func identitySource(t testing.TB, name, members string) Source {
	t.Helper()
	return Source{Name: name, Document: mustParse(t, Identity, statement(members))}
}

func resourceSource(t testing.TB, effect, principal string) Source {
	t.Helper()
	return Source{Name: "resource", Document: mustParse(t, Resource, statement(`"Effect":"`+effect+`",`+principal+`,"Action":"aps:*","Resource":"*"`))}
}

// TestLayers goes through every combination of what the layers can say and
// compares the outcome with the rules, written as a formula.
func TestLayers(t *testing.T) {
	const (
		absent = iota
		nothing
		allows
		denies
		allowsAndDenies
	)
	source := func(name string, state int) []Source {
		members := []string{"", `"Effect":"Allow","Action":"aps:Other","Resource":"*"`, `"Effect":"Allow","Action":"aps:*","Resource":"*"`, `"Effect":"Deny","Action":"aps:*","Resource":"*"`}
		switch state {
		case absent:
			return nil
		case allowsAndDenies:
			return []Source{identitySource(t, name, members[allows]), identitySource(t, name, members[denies])}
		}
		return []Source{identitySource(t, name, members[state])}
	}
	layers := map[string][][]Source{}
	for _, name := range []string{"identity", "boundary", "session"} {
		for state := range 5 {
			layers[name] = append(layers[name], source(name, state))
		}
	}
	// What a resource policy says, and what it gives to whom.
	resources := []struct {
		effect, principal string
		user, session     grant
	}{
		{},
		{"Deny", `"Principal":"*"`, grantNone, grantNone},
		{"Allow", `"Principal":{"AWS":"arn:aws:iam::111111111111:user/other"}`, grantNone, grantNone},
		{"Allow", `"Principal":"*"`, grantDirect, grantDirect},
		{"Allow", `"Principal":{"AWS":"111111111111"}`, grantAccount, grantAccount},
		{"Allow", `"Principal":{"AWS":"arn:aws:iam::111111111111:root"}`, grantAccount, grantAccount},
		{"Allow", `"Principal":{"AWS":"` + user.ARN + `"}`, grantDirect, grantNone},
		{"Allow", `"Principal":{"AWS":"` + session.RoleARN + `"}`, grantNone, grantLimited},
		{"Allow", `"Principal":{"AWS":"` + session.ARN + `"}`, grantNone, grantDirect},
	}
	yes := func(state int) bool { return state == allows }
	unlimited := func(state int) bool { return state == absent || state == allows }
	no := func(states ...int) bool {
		for _, s := range states {
			if s >= denies {
				return true
			}
		}
		return false
	}
	count := 0
	for _, res := range resources {
		var attached []Source
		if res.effect != "" {
			attached = []Source{resourceSource(t, res.effect, res.principal)}
		}
		for i := range 5 {
			for b := range 4 {
				for s := range 5 {
					for _, who := range []Principal{user, session} {
						for _, target := range []string{workspace, foreignWorkspace} {
							for _, trust := range []bool{false, true} {
								g := res.user
								if who.RoleARN != "" {
									g = res.session
								}
								if who.RoleARN == "" && s != absent && g == grantDirect && strings.Contains(res.principal, "user/u") {
									g = grantLimited // a federated session, named by its user
								}
								// The rules, from "Policy evaluation for requests within a
								// single account" and "Cross-account policy evaluation logic".
								limits := unlimited(b) && unlimited(s)
								own := yes(i) && limits
								var want bool
								switch same := target == workspace; {
								case no(i, b, s) || res.effect == "Deny":
								case !same:
									want = own && g != grantNone
								case trust:
									want = g == grantDirect || g == grantLimited && limits || g == grantAccount && own
								default:
									want = own || g == grantDirect || g == grantLimited && limits
								}
								set := Set{Identity: layers["identity"][i], Session: layers["session"][s], Resource: attached, Trust: trust}
								if trust && attached != nil {
									set.Resource = []Source{{"trust", mustParse(t, Trust, statement(`"Effect":"`+res.effect+`",`+res.principal+`,"Action":"sts:AssumeRole"`))}}
								}
								if b != absent {
									set.Boundary = &layers["boundary"][b][0]
								}
								action := "aps:RemoteWrite"
								if trust {
									action = "sts:AssumeRole"
									set = inService(t, set)
								}
								d := Evaluate(Request{Principal: who, Action: action, Resource: target}, set)
								require.Equal(t, want, d.Allowed, "%+v identity %d boundary %d session %d %s %s trust %v: %+v", res, i, b, s, who.ARN, target, trust, d)
								require.Equal(t, no(i, b, s) || res.effect == "Deny", d.ExplicitDeny)
								require.Equal(t, d.Allowed, d.Reason == "")
								require.Equal(t, d.Statement >= 0, d.Allowed || d.ExplicitDeny)
								count++
							}
						}
					}
				}
			}
		}
	}
	require.Equal(t, len(resources)*5*4*5*2*2*2, count)
}

// inService rewrites the identity documents of a set from aps to sts.
func inService(t testing.TB, s Set) Set {
	rewrite := func(list []Source) []Source {
		var all []Source
		for _, src := range list {
			all = append(all, Source{src.Name, mustParse(t, Identity, strings.ReplaceAll(src.Document.String(), "aps:", "sts:"))})
		}
		return all
	}
	s.Identity, s.Session = rewrite(s.Identity), rewrite(s.Session)
	if s.Boundary != nil {
		s.Boundary = &rewrite([]Source{*s.Boundary})[0]
	}
	return s
}

func TestReasons(t *testing.T) {
	allow := identitySource(t, "inline:a", `"Sid":"A1","Effect":"Allow","Action":"aps:*","Resource":"*"`)
	deny := identitySource(t, "arn:aws:iam::111111111111:policy/d", `"Sid":"D1","Effect":"Deny","Action":"aps:Remote*","Resource":"*"`)
	other := identitySource(t, "inline:o", `"Effect":"Allow","Action":"aps:Other","Resource":"*"`)
	trustDeny := Source{"trust", mustParse(t, Trust, statement(`"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole"`))}
	trustOther := Source{"trust", mustParse(t, Trust, statement(`"Effect":"Allow","Principal":{"AWS":"222222222222"},"Action":"sts:AssumeRole"`))}
	for name, c := range map[string]struct {
		set            Set
		action         string
		resource       string
		clause, layer  string
		source, sid    string
		decidingNumber int
	}{
		"allowed":          {Set{Identity: []Source{other, allow}}, "", workspace, "", LayerIdentity, "inline:a", "A1", 0},
		"nothing":          {Set{}, "", workspace, "because no identity-based policy allows the aps:RemoteWrite action", LayerIdentity, "", "", -1},
		"identity":         {Set{Identity: []Source{other}}, "", workspace, "because no identity-based policy allows the aps:RemoteWrite action", LayerIdentity, "", "", -1},
		"boundary":         {Set{Identity: []Source{allow}, Boundary: &other}, "", workspace, "because no permissions boundary allows the aps:RemoteWrite action", LayerBoundary, "", "", -1},
		"session":          {Set{Identity: []Source{allow}, Session: []Source{other}}, "", workspace, "because no session policy allows the aps:RemoteWrite action", LayerSession, "", "", -1},
		"empty session":    {Set{Identity: []Source{allow}, HasSession: true}, "", workspace, "because no session policy allows the aps:RemoteWrite action", LayerSession, "", "", -1},
		"other account":    {Set{Identity: []Source{allow}}, "", foreignWorkspace, "because no resource-based policy allows the aps:RemoteWrite action", LayerResource, "", "", -1},
		"identity denies":  {Set{Identity: []Source{allow, deny}}, "", workspace, "with an explicit deny in an identity-based policy", LayerIdentity, deny.Name, "D1", 0},
		"boundary denies":  {Set{Identity: []Source{allow}, Boundary: &deny}, "", workspace, "with an explicit deny in a permissions boundary", LayerBoundary, deny.Name, "D1", 0},
		"session denies":   {Set{Identity: []Source{allow}, Session: []Source{deny}}, "", workspace, "with an explicit deny in a session policy", LayerSession, deny.Name, "D1", 0},
		"resource denies":  {Set{Identity: []Source{allow}, Resource: []Source{resourceSource(t, "Deny", `"Principal":"*"`)}}, "", workspace, "with an explicit deny in a resource-based policy", LayerResource, "resource", "", 0},
		"trust denies":     {Set{Resource: []Source{trustDeny}, Trust: true}, "sts:AssumeRole", "arn:aws:iam::111111111111:role/x", "with an explicit deny in the role trust policy", LayerResource, "trust", "", 0},
		"trust":            {Set{Resource: []Source{trustOther}, Trust: true}, "sts:AssumeRole", "arn:aws:iam::111111111111:role/x", "because no role trust policy allows the sts:AssumeRole action", LayerResource, "", "", -1},
		"no policy at all": {Set{Trust: true}, "sts:AssumeRole", "arn:aws:iam::111111111111:role/x", "because no role trust policy allows the sts:AssumeRole action", LayerResource, "", "", -1},
		"missing document": {Set{Identity: []Source{allow, {Name: "inline:gone"}}}, "", workspace, "because the policy inline:gone cannot be evaluated", LayerIdentity, "inline:gone", "", -1},
		"made by hand":     {Set{Identity: []Source{allow, {Name: "inline:zero", Document: &Document{}}}}, "", workspace, "because the policy inline:zero cannot be evaluated", LayerIdentity, "inline:zero", "", -1},
		"wrong kind":       {Set{Identity: []Source{allow}, Boundary: &trustOther}, "", workspace, "because the policy trust cannot be evaluated", LayerBoundary, "trust", "", -1},
		"wrong kind too":   {Set{Identity: []Source{allow}, Resource: []Source{allow}}, "", workspace, "because the policy inline:a cannot be evaluated", LayerResource, "inline:a", "", -1},
		"not a trust":      {Set{Identity: []Source{allow}, Trust: true, Resource: []Source{resourceSource(t, "Allow", `"Principal":"*"`)}}, "", workspace, "because the policy resource cannot be evaluated", LayerResource, "resource", "", -1},
	} {
		t.Run(name, func(t *testing.T) {
			if c.action == "" {
				c.action = "aps:RemoteWrite"
			}
			d := Evaluate(Request{Principal: user, Action: c.action, Resource: c.resource}, c.set)
			require.Equal(t, c.clause == "", d.Allowed)
			require.Equal(t, c.clause, d.Clause())
			require.Equal(t, []any{c.layer, c.source, c.sid, c.decidingNumber}, []any{d.Layer, d.Source, d.Sid, d.Statement})
		})
	}
}

func TestDecisionExplains(t *testing.T) {
	first := identitySource(t, "inline:first", `"Effect":"Allow","Action":"iam:*","Resource":"*"},{"Sid":"Mine","Effect":"Allow","Action":"APS:remotewrite","Resource":"*"`)
	second := identitySource(t, "inline:second", `"Effect":"Deny","Action":"aps:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/Env":"prod"},"StringEqualsIfExists":{"aws:SourceVpc":"v"}}`)
	d := Evaluate(Request{Principal: user, Action: "aps:RemoteWrite", Resource: workspace, Context: values{"aws:resourcetag/env": {"prod"}}},
		Set{Identity: []Source{first, second}, Resource: []Source{resourceSource(t, "Allow", `"Principal":"*"`)}})
	require.False(t, d.Allowed)
	require.Equal(t, []string{"inline:first", "inline:second", "resource"}, []string{d.Matched[0].Source, d.Matched[1].Source, d.Matched[2].Source})
	require.Equal(t, Match{
		Layer: LayerIdentity, Source: "inline:first", Statement: 1, Sid: "Mine", Effect: Allow,
		Start: first.Document.Statements()[1].Start, End: first.Document.Statements()[1].End,
	}, d.Matched[0])
	require.Equal(t, LayerResult{Present: true, Allowed: true, Denied: true}, d.Identity)
	require.Equal(t, LayerResult{Present: true, Allowed: true}, d.Resource)
	require.Equal(t, LayerResult{}, d.Boundary)
	require.Equal(t, LayerResult{}, d.Session)
	require.Equal(t, []string{"aws:SourceVpc"}, d.MissingContext)
}

func TestIncompleteRequestsAreRefused(t *testing.T) {
	set := Set{Identity: []Source{identitySource(t, "p", `"Effect":"Allow","Action":"*","Resource":"*"`)}, Resource: []Source{resourceSource(t, "Allow", `"Principal":"*"`)}}
	good := Request{Principal: user, Action: "aps:RemoteWrite", Resource: workspace}
	require.True(t, Evaluate(good, set).Allowed)
	for name, change := range map[string]func(r *Request){
		"no action":            func(r *Request) { r.Action = "" },
		"action of no service": func(r *Request) { r.Action = "RemoteWrite" },
		"no resource":          func(r *Request) { r.Resource = "" },
		"long action":          func(r *Request) { r.Action = "a:" + strings.Repeat("b", maxAction) },
		"long resource":        func(r *Request) { r.Resource += strings.Repeat("b", maxResource) },
		"many colons":          func(r *Request) { r.Resource += strings.Repeat(":", maxColons) },
		"nobody":               func(r *Request) { r.Principal = Principal{} },
		"no account":           func(r *Request) { r.Principal.AccountID = "" },
		"two at once":          func(r *Request) { r.Principal.Service = "x.amazonaws.com" },
		"anonymous user":       func(r *Request) { r.Principal.Anonymous = true },
	} {
		r := good
		change(&r)
		d := Evaluate(r, set)
		require.False(t, d.Allowed, name)
		require.NotEmpty(t, d.Reason, name)
	}
	require.False(t, (&Decision{}).Allowed)
}

func TestPrincipals(t *testing.T) {
	const provider = "arn:aws:iam::111111111111:oidc-provider/issuer.example.com"
	var (
		web       = Principal{Federated: provider, AccountID: "111111111111"}
		service   = Principal{Service: "pods.eks.amazonaws.com"}
		anonymous = Principal{Anonymous: true}
		foreign   = Principal{ARN: "arn:aws:iam::222222222222:user/u", AccountID: "222222222222"}
	)
	for _, c := range []struct {
		rule      string
		effect    string
		principal string
		who       Principal
		want      bool // the statement applies
	}{
		{"everybody", "Allow", `"Principal":"*"`, user, true},
		{"everybody", "Allow", `"Principal":{"AWS":"*"}`, foreign, true},
		{"everybody, anonymous too", "Allow", `"Principal":"*"`, anonymous, true},
		{"everybody, services too", "Allow", `"Principal":"*"`, service, true},
		{"everybody, but web identities are named", "Allow", `"Principal":"*"`, web, false},
		{"everybody", "Deny", `"Principal":"*"`, web, true},
		{"everybody", "Deny", `"Principal":{"AWS":"*"}`, anonymous, true},
		{"an account stands for all in it", "Allow", `"Principal":{"AWS":"111111111111"}`, session, true},
		{"an account stands for all in it", "Deny", `"Principal":{"AWS":"arn:aws:iam::111111111111:root"}`, user, true},
		{"an account stands for no other", "Allow", `"Principal":{"AWS":"111111111111"}`, foreign, false},
		{"an account has no web identities", "Allow", `"Principal":{"AWS":"111111111111"}`, web, false},
		{"a user", "Allow", `"Principal":{"AWS":"` + user.ARN + `"}`, user, true},
		{"names of users are case-sensitive", "Allow", `"Principal":{"AWS":"arn:aws:iam::111111111111:user/U"}`, user, false},
		{"a role stands for its sessions", "Allow", `"Principal":{"AWS":"` + session.RoleARN + `"}`, session, true},
		{"a role stands for its sessions", "Deny", `"Principal":{"AWS":"` + session.RoleARN + `"}`, session, true},
		{"a session", "Allow", `"Principal":{"AWS":"` + session.ARN + `"}`, session, true},
		{"another session", "Allow", `"Principal":{"AWS":"` + session.ARN + `x"}`, session, false},
		{"a provider", "Allow", `"Principal":{"Federated":"` + provider + `"}`, web, true},
		{"a provider", "Deny", `"Principal":{"Federated":"` + provider + `"}`, web, true},
		{"another provider", "Allow", `"Principal":{"Federated":"` + provider + `/x"}`, web, false},
		{"a provider is no user", "Allow", `"Principal":{"Federated":"` + provider + `"}`, user, false},
		{"a service", "Allow", `"Principal":{"Service":"pods.eks.amazonaws.com"}`, service, true},
		{"another service", "Allow", `"Principal":{"Service":"ec2.amazonaws.com"}`, service, false},
		{"one of several kinds", "Allow", `"Principal":{"AWS":"222222222222","Service":["ec2.amazonaws.com","pods.eks.amazonaws.com"]}`, service, true},
		{"a canonical user is nobody known", "Allow", `"Principal":{"CanonicalUser":"` + strings.Repeat("0", 64) + `"}`, user, false},
		{"a canonical user might be anybody", "Deny", `"Principal":{"CanonicalUser":"` + strings.Repeat("0", 64) + `"}`, user, true},
		{"NotPrincipal: the user and the account have to be listed", "Deny", `"NotPrincipal":{"AWS":["` + user.ARN + `","111111111111"]}`, user, false},
		{"NotPrincipal: the user and the account have to be listed", "Deny", `"NotPrincipal":{"AWS":"` + user.ARN + `"}`, user, true},
		{"NotPrincipal: the account alone spares nobody in it", "Deny", `"NotPrincipal":{"AWS":"111111111111"}`, user, true},
		{"NotPrincipal: session, role and account", "Deny", `"NotPrincipal":{"AWS":["` + session.ARN + `","` + session.RoleARN + `","111111111111"]}`, session, false},
		{"NotPrincipal: session, role and account", "Deny", `"NotPrincipal":{"AWS":["` + session.RoleARN + `","111111111111"]}`, session, true},
		{"NotPrincipal: session, role and account", "Deny", `"NotPrincipal":{"AWS":["` + session.ARN + `","111111111111"]}`, session, true},
		{"NotPrincipal: service", "Deny", `"NotPrincipal":{"Service":"pods.eks.amazonaws.com"}`, service, false},
		{"NotPrincipal: provider", "Deny", `"NotPrincipal":{"Federated":"` + provider + `"}`, web, false},
		{"NotPrincipal: everybody else", "Deny", `"NotPrincipal":{"Federated":"` + provider + `"}`, anonymous, true},
	} {
		d := Evaluate(Request{Principal: c.who, Action: "aps:RemoteWrite", Resource: workspace}, Set{Resource: []Source{resourceSource(t, c.effect, c.principal)}})
		require.Equal(t, c.want, len(d.Matched) == 1, "%s: %s %s %+v", c.rule, c.effect, c.principal, c.who)
	}
}

// Of several statements that allow, the one that gives most counts.
func TestBestGrant(t *testing.T) {
	byAccount := resourceSource(t, "Allow", `"Principal":{"AWS":"111111111111"}`)
	byRole := resourceSource(t, "Allow", `"Principal":{"AWS":"`+session.RoleARN+`"}`)
	bySession := resourceSource(t, "Allow", `"Principal":{"AWS":"`+session.ARN+`"}`)
	r := Request{Principal: session, Action: "aps:RemoteWrite", Resource: workspace}
	for _, c := range []struct {
		sources []Source
		limited bool // the session has policies that allow nothing
		want    bool
	}{
		{[]Source{byAccount}, false, false},
		{[]Source{byAccount, byRole}, false, true},
		{[]Source{byRole, byAccount}, false, true},
		{[]Source{byRole, byAccount}, true, false},
		{[]Source{byAccount, bySession, byRole}, true, true},
	} {
		require.Equal(t, c.want, Evaluate(r, Set{Resource: c.sources, HasSession: c.limited}).Allowed)
	}
}

// A service account of a cluster assumes a role, as eksctl writes its trust
// policy.
func TestWebIdentityTrust(t *testing.T) {
	const issuer = "oidc.eks.us-east-1.amazonaws.com/id/EXAMPLE"
	const provider = "arn:aws:iam::111111111111:oidc-provider/" + issuer
	trust := mustParse(t, Trust, statement(`"Effect":"Allow","Principal":{"Federated":"`+provider+`"},"Action":"sts:AssumeRoleWithWebIdentity",`+
		`"Condition":{"StringEquals":{"`+issuer+`:sub":"system:serviceaccount:prometheus:amp-irsa-role","`+issuer+`:aud":"sts.amazonaws.com"}}`))
	try := func(p, action string, context values) bool {
		return Evaluate(Request{Principal: Principal{Federated: p}, Action: action, Resource: "arn:aws:iam::111111111111:role/x", Context: context},
			Set{Resource: []Source{{"trust", trust}}, Trust: true}).Allowed
	}
	context := func(sub string, aud ...string) values {
		return values{strings.ToLower(issuer) + ":sub": {sub}, strings.ToLower(issuer) + ":aud": aud}
	}
	const action = "sts:AssumeRoleWithWebIdentity"
	good := context("system:serviceaccount:prometheus:amp-irsa-role", "sts.amazonaws.com")
	require.True(t, try(provider, action, good))
	require.False(t, try(provider, "sts:AssumeRole", good))
	require.False(t, try(provider+"2", action, good))
	require.False(t, try(provider, action, context("system:serviceaccount:prometheus:other", "sts.amazonaws.com")))
	require.False(t, try(provider, action, context("system:serviceaccount:prometheus:amp-irsa-role", "other")))
	require.False(t, try(provider, action, context("system:serviceaccount:prometheus:amp-irsa-role")))
	require.False(t, try(provider, action, nil))
	require.False(t, try(provider, action, context("system:serviceaccount:prometheus:amp-irsa-role", "other", "sts.amazonaws.com")), "not all audiences are the one")
}

func TestResourceOwner(t *testing.T) {
	all := Set{Identity: []Source{identitySource(t, "p", `"Effect":"Allow","Action":"*","Resource":"*"`)}}
	for resource, want := range map[string]bool{
		"*":       true,
		workspace: true,
		"arn:aws:iam::aws:policy/AdministratorAccess": true, // in every account
		foreignWorkspace:        false,
		"arn:aws:s3:::bucket":   false, // nobody knows whose
		"arn:aws:s3::aws:thing": false,
		"nonsense":              false,
	} {
		require.Equal(t, want, Evaluate(Request{Principal: user, Action: "a:b", Resource: resource}, all).Allowed, resource)
	}
	all.ResourceAccount = "111111111111"
	require.True(t, Evaluate(Request{Principal: user, Action: "a:b", Resource: "arn:aws:s3:::bucket"}, all).Allowed)
	all.ResourceAccount = "222222222222"
	require.False(t, Evaluate(Request{Principal: user, Action: "a:b", Resource: "*"}, all).Allowed)
}

// randomStatement makes a statement from few words, so that many apply.
func randomStatement(r *rand.Rand, effect string) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	members := `"Effect":"` + effect + `",` +
		pick(`"Action":"*"`, `"Action":["aps:*","iam:Get?"]`, `"Action":"aps:RemoteWrite"`, `"NotAction":"aps:Q*"`, `"NotAction":["iam:*","aps:remotewrite"]`) + "," +
		pick(`"Resource":"*"`, `"Resource":"arn:aws:aps:*:111111111111:workspace/*"`, `"Resource":"`+foreignWorkspace+`"`, `"NotResource":"`+workspace+`"`,
			`"Resource":"arn:aws:aps:us-east-1:*:workspace/${aws:username}"`, `"NotResource":"arn:aws:aps:us-east-1:*:workspace/${aws:username}"`)
	return members + pick(``, ``, `,"Condition":{"StringEquals":{"aws:k":"a"}}`, `,"Condition":{"StringNotLike":{"aws:k":["b*","c"]}}`,
		`,"Condition":{"ForAnyValue:StringEquals":{"aws:k":["a","b"]}}`, `,"Condition":{"ForAllValues:StringNotEquals":{"aws:k":"${aws:username}"},"Null":{"aws:n":"true"}}`,
		`,"Condition":{"NumericLessThanIfExists":{"aws:n":"5"}}`, `,"Condition":{"Bool":{"aws:k":"true"}}`)
}

func randomRequest(r *rand.Rand) Request {
	q := Request{
		Principal: []Principal{user, session}[r.IntN(2)],
		Action:    []string{"aps:RemoteWrite", "aps:QueryMetrics", "iam:GetX"}[r.IntN(3)],
		Resource:  []string{workspace, foreignWorkspace, "*"}[r.IntN(3)],
		Context:   values{},
	}
	for k, choices := range map[string][][]string{
		"aws:k": {nil, {"a"}, {"b"}, {"a", "bc"}, {"true"}, {""}}, "aws:n": {nil, {"3"}, {"7"}, {"x"}}, "aws:username": {nil, {"ws-1"}, {"a"}},
	} {
		if v := choices[r.IntN(len(choices))]; v != nil {
			q.Context[k] = v
		}
	}
	return q
}

func randomSources(t testing.TB, r *rand.Rand, layer string) []Source {
	var all []Source
	for i := range r.IntN(3) {
		var statements []string
		for range 1 + r.IntN(3) {
			s := randomStatement(r, []string{"Allow", "Allow", "Allow", "Deny"}[r.IntN(4)])
			if layer == LayerResource {
				s = []string{`"Principal":"*",`, `"Principal":{"AWS":"111111111111"},`, `"Principal":{"AWS":"` + session.RoleARN + `"},`}[r.IntN(3)] + s
			}
			statements = append(statements, "{"+s+"}")
		}
		kind := Identity
		if layer == LayerResource {
			kind = Resource
		}
		all = append(all, Source{fmt.Sprintf("%s%d", layer, i), mustParse(t, kind, `{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`)})
	}
	return all
}

func randomSet(t testing.TB, r *rand.Rand) Set {
	s := Set{Identity: randomSources(t, r, LayerIdentity), Resource: randomSources(t, r, LayerResource)}
	if r.IntN(3) == 0 {
		s.Session = randomSources(t, r, LayerSession)
	}
	if b := randomSources(t, r, LayerBoundary); r.IntN(3) == 0 && len(b) > 0 {
		s.Boundary = &b[0]
	}
	return s
}

func shuffled(t testing.TB, r *rand.Rand, sources []Source) []Source {
	var all []Source
	for _, i := range r.Perm(len(sources)) {
		d := sources[i].Document
		c := &Document{kind: d.kind, version: d.version, text: d.text}
		for _, j := range r.Perm(len(d.statements)) {
			c.statements = append(c.statements, d.statements[j])
		}
		require.Len(t, c.statements, len(d.statements))
		all = append(all, Source{sources[i].Name, c})
	}
	return all
}

// Properties that hold whatever the policies say.
func TestProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	allowed, denied := 0, 0
	for range 5_000 {
		set, q := randomSet(t, r), randomRequest(r)
		d := Evaluate(q, set)
		if d.Allowed {
			allowed++
		}
		if d.ExplicitDeny {
			denied++
		}
		require.False(t, d.Allowed && d.ExplicitDeny)
		for _, m := range d.Matched {
			require.False(t, d.Allowed && m.Effect == Deny, "a statement that denies and applies always wins")
		}
		require.Equal(t, d, Evaluate(q, set), "the same again")

		// Neither the order of statements nor of policies counts.
		mixed := set
		mixed.Identity, mixed.Session, mixed.Resource = shuffled(t, r, set.Identity), shuffled(t, r, set.Session), shuffled(t, r, set.Resource)
		m := Evaluate(q, mixed)
		require.Equal(t, []any{d.Allowed, d.ExplicitDeny, d.Reason, d.Identity, d.Session, d.Resource}, []any{m.Allowed, m.ExplicitDeny, m.Reason, m.Identity, m.Session, m.Resource})

		// What denies more never grants; in any layer.
		more := Source{"more", mustParse(t, Identity, statement(randomStatement(r, "Deny")))}
		for _, add := range []func(*Set){
			func(s *Set) { s.Identity = append(s.Identity[:len(s.Identity):len(s.Identity)], more) },
			func(s *Set) { s.Session = append(s.Session[:len(s.Session):len(s.Session)], more) },
			func(s *Set) {
				if s.Boundary == nil {
					s.Boundary = &more
				}
			},
		} {
			stricter := set
			add(&stricter)
			require.False(t, Evaluate(q, stricter).Allowed && !d.Allowed, "a Deny grants: %+v %+v", q, set)
		}

		// What allows more in an identity policy never takes away.
		looser := set
		looser.Identity = append(set.Identity[:len(set.Identity):len(set.Identity)], Source{"allow", mustParse(t, Identity, statement(randomStatement(r, "Allow")))})
		require.False(t, d.Allowed && !Evaluate(q, looser).Allowed)

		// A boundary or a session policy never grants what was not.
		limited := set
		limited.Session = append(set.Session[:len(set.Session):len(set.Session)], more)
		limited.HasSession = true
		require.False(t, Evaluate(q, limited).Allowed && !d.Allowed)
	}
	require.Greater(t, allowed, 500)
	require.Greater(t, denied, 500)
}
