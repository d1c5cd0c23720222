package iam

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mangru/mangru/internal/auth/policy"
)

// Simulation is a question about what somebody could do.
type Simulation struct {
	Account string
	// Principal is the ARN of a user, group, role or role session of the
	// account whose policies count. Empty means only those in Policies do.
	Principal string
	// Policies are further identity-based documents.
	Policies []string
	// Boundary, if there is one, takes the place of the principal's.
	Boundary []string
	// ResourcePolicy is the policy of the resource, "" for none;
	// ResourceAccount its owner, "" for the one in its ARN, or Account.
	ResourcePolicy, ResourceAccount string
	// Caller is the ARN that a resource policy sees, "" for Principal.
	Caller string
	// Context holds condition keys in lower case. Those that follow from the
	// principal are added where they are not there.
	Context map[string][]string
}

// simulated is a Simulation with its documents read.
type simulated struct {
	set       policy.Set
	principal policy.Principal
	context   map[string][]string
	account   string
}

// Simulate answers one question for each action and resource, in the order of
// the actions.
func (s *Service) Simulate(ctx context.Context, sim Simulation, actions, resources []string) ([]policy.Decision, error) {
	prepared, err := s.simulate(ctx, sim)
	if err != nil {
		return nil, err
	}
	all := make([]policy.Decision, 0, len(actions)*len(resources))
	for _, action := range actions {
		for _, resource := range resources {
			set := prepared.set
			if set.ResourceAccount == "" {
				if set.ResourceAccount = accountOf(resource); set.ResourceAccount == "" || set.ResourceAccount == accountAWS {
					set.ResourceAccount = prepared.account
				}
			}
			all = append(all, policy.Evaluate(policy.Request{Principal: prepared.principal, Action: action, Resource: resource, Context: prepared.context}, set))
		}
	}
	return all, nil
}

// ContextKeys lists the condition keys that a simulation's policies ask for.
func (s *Service) ContextKeys(ctx context.Context, sim Simulation) ([]string, error) {
	prepared, err := s.simulate(ctx, sim)
	if err != nil {
		return nil, err
	}
	keys := make(map[string]bool)
	for _, source := range prepared.set.Identity {
		if source.Document != nil {
			for _, k := range source.Document.ContextKeys() {
				keys[k] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(keys)), nil
}

func (s *Service) simulate(ctx context.Context, sim Simulation) (*simulated, error) {
	out := &simulated{account: sim.Account, context: make(map[string][]string),
		principal: policy.Principal{ARN: ARN(sim.Account, KindUser, "/", "simulation"), AccountID: sim.Account, Type: string(TypeUser)}}
	if sim.Principal != "" {
		if err := s.simulatePrincipal(ctx, sim, out); err != nil {
			return nil, err
		}
	}
	if sim.Caller != "" {
		out.principal = policy.Principal{ARN: sim.Caller, AccountID: accountOf(sim.Caller), Type: string(TypeUser)}
		if out.principal.AccountID == "" {
			return nil, newError(ErrInvalidInput, "Invalid Entity Arn: %s", sim.Caller)
		}
	}
	for i, text := range sim.Policies {
		d, err := parse(text, policy.Identity)
		if err != nil {
			return nil, err
		}
		out.set.Identity = append(out.set.Identity, policy.Source{Name: fmt.Sprintf("PolicyInputList.%d", i+1), Document: d})
	}
	for i, text := range sim.Boundary {
		if i > 0 {
			return nil, newError(ErrInvalidInput, "At most one permissions boundary policy can be given.")
		}
		d, err := parse(text, policy.Identity)
		if err != nil {
			return nil, err
		}
		out.set.Boundary = &policy.Source{Name: "PermissionsBoundaryPolicyInputList.1", Document: d}
	}
	if sim.ResourcePolicy != "" {
		d, err := parse(sim.ResourcePolicy, policy.Resource)
		if err != nil {
			return nil, err
		}
		out.set.Resource = []policy.Source{{Name: "ResourcePolicy", Document: d}}
	}
	out.set.ResourceAccount = sim.ResourceAccount
	maps.Copy(out.context, sim.Context)
	return out, nil
}

// simulatePrincipal fills in the policies and condition keys of the principal.
func (s *Service) simulatePrincipal(ctx context.Context, sim Simulation, out *simulated) error {
	ref, session, err := refOf(sim.Principal)
	if err != nil {
		return err
	}
	if ref.Account != sim.Account {
		return newError(ErrNoSuchEntity, "The principal %s cannot be found.", sim.Principal)
	}
	e, err := s.Entity(ctx, ref)
	if err != nil {
		return err
	}
	if session == "" && e.ARN != sim.Principal {
		return newError(ErrNoSuchEntity, "The principal %s cannot be found.", sim.Principal)
	}
	if ref.Kind == KindGroup {
		out.set.Identity, err = s.sourcesOf(ctx, sim.Account, []owner{{id: e.ID}})
		return err
	}
	sub, err := s.subjectOf(ctx, ref.Kind, e.ID)
	if err != nil {
		return err
	}
	out.set.Identity, out.set.Boundary = slices.Clone(sub.identity), sub.boundary
	p := Principal{AccountID: sim.Account, Type: TypeUser, ARN: sub.arn, ID: e.ID, Name: ref.Name}
	if ref.Kind == KindRole {
		if session == "" {
			session = "simulation"
		}
		p = Principal{AccountID: sim.Account, Type: TypeAssumedRole, ID: e.ID + ":" + session, Name: ref.Name,
			ARN: "arn:aws:sts::" + sim.Account + ":assumed-role/" + ref.Name + "/" + session, Session: &Session{RoleARN: sub.arn, RoleID: e.ID, Name: session}}
	}
	addPrincipalKeys(out.context, p, sub)
	delete(out.context, "aws:tokenissuetime")
	out.principal = principalOf(p)
	return nil
}

// refOf reads the ARN of a user, group or role, or of a role's session.
func refOf(arn string) (ref Ref, session string, err error) {
	bad := newError(ErrInvalidInput, "Invalid Entity Arn: %s does not clearly define entity type and name.", arn)
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" {
		return ref, "", bad
	}
	kind, name, _ := strings.Cut(parts[5], "/")
	if parts[2] == "sts" {
		role, session, ok := strings.Cut(name, "/")
		if kind != "assumed-role" || !ok || role == "" || session == "" {
			return ref, "", bad
		}
		return RoleRef(parts[4], role), session, nil
	}
	switch k := Kind(kind); {
	case parts[2] != "iam" || PolicyName("/"+name) == "":
	case k == KindUser || k == KindGroup || k == KindRole:
		return Ref{k, parts[4], PolicyName("/" + name)}, "", nil
	}
	return ref, "", bad
}
