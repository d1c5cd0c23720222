package iamapi

import (
	"context"
	"slices"
	"strings"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/policy"
	"github.com/mangru/mangru/internal/server/api"
)

// contextEntry is one condition key of a simulation.
type contextEntry struct {
	ContextKeyName   string
	ContextKeyValues []string
	ContextKeyType   string
}

// question is what both simulations ask.
type question struct {
	PermissionsBoundaryPolicyInputList []string
	ActionNames                        []string `query:",required"`
	ResourceArns                       []string
	ResourcePolicy                     string
	ResourceOwner                      string
	CallerArn                          string
	ContextEntries                     []contextEntry
	ResourceHandlingOption             string
	pageInput

	// What newer tools may ask for, and what does not exist here.
	OrderedOrganizationPolicyInputList []struct{ ServiceControlPolicyInputList []string }
	PolicyExclusionList                []struct {
		PolicyType, PolicyArn  string
		InlinePolicyIdentifier struct{ AttachmentName, AttachmentType, PolicyName string }
	}
}

// sourceInput names whose policies count.
type sourceInput struct {
	PolicySourceArn string `query:",required"`
	PolicyInputList []string
}

// target is the principal, whose policies the answer tells about.
func (in *sourceInput) complete(iam.Principal) error {
	if !strings.HasPrefix(in.PolicySourceArn, "arn:aws:iam::") {
		return invalid("Invalid Entity Arn: %.200s does not clearly define entity type and name.", in.PolicySourceArn)
	}
	return nil
}

func (in *sourceInput) target(iam.Principal) target {
	return target{arn: in.PolicySourceArn}
}

type customInput struct {
	everything
	PolicyInputList []string `query:",required"`
}

func (s *server) simulation() []api.Route {
	return []api.Route{
		route(s, "SimulatePrincipalPolicy", func(ctx context.Context, c *call, in *struct {
			sourceInput
			question
		}) (any, error) {
			return simulate(ctx, c, &in.question, iam.Simulation{Principal: in.PolicySourceArn, Policies: in.PolicyInputList})
		}),
		route(s, "SimulateCustomPolicy", func(ctx context.Context, c *call, in *struct {
			customInput
			question
		}) (any, error) {
			return simulate(ctx, c, &in.question, iam.Simulation{Policies: in.PolicyInputList})
		}),
		route(s, "GetContextKeysForPrincipalPolicy", func(ctx context.Context, c *call, in *sourceInput) (any, error) {
			return contextKeys(ctx, c, iam.Simulation{Principal: in.PolicySourceArn, Policies: in.PolicyInputList})
		}),
		route(s, "GetContextKeysForCustomPolicy", func(ctx context.Context, c *call, in *customInput) (any, error) {
			return contextKeys(ctx, c, iam.Simulation{Policies: in.PolicyInputList})
		}),
	}
}

func contextKeys(ctx context.Context, c *call, sim iam.Simulation) (any, error) {
	sim.Account = c.account
	keys, err := c.iam.ContextKeys(ctx, sim)
	if keys == nil {
		keys = []string{}
	}
	return struct{ ContextKeyNames []string }{keys}, err
}

type position struct{ Line, Column int }

type matchedStatement struct {
	SourcePolicyID   string `query:"SourcePolicyId"`
	SourcePolicyType string
	StartPosition    position
	EndPosition      position
}

type evaluationResult struct {
	EvalActionName, EvalResourceName string
	EvalDecision                     string
	MatchedStatements                []matchedStatement
	MissingContextValues             []string
	PermissionsBoundaryDecision      *boundaryDecision `query:"PermissionsBoundaryDecisionDetail"`
}

type boundaryDecision struct{ AllowedByPermissionsBoundary bool }

func simulate(ctx context.Context, c *call, q *question, sim iam.Simulation) (any, error) {
	if len(q.OrderedOrganizationPolicyInputList) > 0 || len(q.PolicyExclusionList) > 0 {
		return nil, invalid("A simulation has neither organization policies nor exclusions of policies here.")
	}
	sim.Account, sim.Boundary, sim.ResourcePolicy, sim.Caller = c.account, q.PermissionsBoundaryPolicyInputList, q.ResourcePolicy, q.CallerArn
	if q.ResourceOwner != "" {
		parts := strings.Split(q.ResourceOwner, ":") // an ARN, or an account
		sim.ResourceAccount = parts[0]
		if len(parts) >= 5 {
			sim.ResourceAccount = parts[4]
		}
	}
	sim.Context = make(map[string][]string, len(q.ContextEntries))
	for _, e := range q.ContextEntries {
		if e.ContextKeyName == "" {
			return nil, invalid("1 validation error detected: Value at 'contextEntries' failed to satisfy constraint: Member must have a contextKeyName")
		}
		sim.Context[strings.ToLower(e.ContextKeyName)] = e.ContextKeyValues
	}
	resources := q.ResourceArns
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	if len(q.ActionNames)*len(resources) > 10*maxItems {
		return nil, invalid("A simulation can have at most %d pairs of action and resource.", 10*maxItems)
	}
	for _, action := range q.ActionNames {
		if !strings.Contains(action, ":") {
			return nil, invalid("Invalid Action Name: %.128s", action)
		}
	}
	decisions, err := c.iam.Simulate(ctx, sim, q.ActionNames, resources)
	if err != nil {
		return nil, err
	}
	type numbered struct {
		key    string
		result evaluationResult
	}
	all := make([]numbered, len(decisions))
	for i := range decisions {
		action, resource := q.ActionNames[i/len(resources)], resources[i%len(resources)]
		all[i] = numbered{action + " " + resource, resultOf(action, resource, &decisions[i])}
	}
	all, p, err := cut(&q.pageInput, all, func(n numbered) string { return n.key })
	out := struct {
		EvaluationResults []evaluationResult
		pageOutput
	}{make([]evaluationResult, len(all)), p}
	for i := range all {
		out.EvaluationResults[i] = all[i].result
	}
	return out, err
}

// resultOf writes a decision; the statement that decided comes first.
func resultOf(action, resource string, d *policy.Decision) evaluationResult {
	r := evaluationResult{EvalActionName: action, EvalResourceName: resource, EvalDecision: "implicitDeny",
		MatchedStatements: make([]matchedStatement, 0, len(d.Matched)), MissingContextValues: append([]string{}, d.MissingContext...)}
	switch {
	case d.Allowed:
		r.EvalDecision = "allowed"
	case d.ExplicitDeny:
		r.EvalDecision = "explicitDeny"
	}
	if d.Boundary.Present {
		r.PermissionsBoundaryDecision = &boundaryDecision{d.Boundary.Allowed && !d.Boundary.Denied}
	}
	matches := slices.Clone(d.Matched)
	decided := func(m policy.Match) int {
		if m.Layer == d.Layer && m.Source == d.Source && m.Statement == d.Statement {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(matches, func(a, b policy.Match) int { return decided(a) - decided(b) })
	for _, m := range matches {
		r.MatchedStatements = append(r.MatchedStatements, matchedStatement{SourcePolicyID: m.Source, SourcePolicyType: sourceType(m),
			StartPosition: position{m.Start.Line, m.Start.Column}, EndPosition: position{m.End.Line, m.End.Column}})
	}
	return r
}

func sourceType(m policy.Match) string {
	switch {
	case m.Layer == policy.LayerResource:
		return "resource"
	case strings.HasPrefix(m.Source, "arn:aws:iam::aws:"):
		return "aws-managed"
	case strings.HasPrefix(m.Source, "arn:"):
		return "user-managed"
	case strings.HasPrefix(m.Source, "group/"):
		return "group"
	}
	return "none"
}
