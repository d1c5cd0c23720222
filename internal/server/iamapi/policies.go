package iamapi

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/api"
)

type policyOutput struct {
	PolicyName                    string
	PolicyID                      string `query:"PolicyId"`
	Arn, Path                     string
	DefaultVersionID              string `query:"DefaultVersionId"`
	AttachmentCount               int
	PermissionsBoundaryUsageCount int
	IsAttachable                  bool
	Description                   string
	CreateDate, UpdateDate        time.Time
	Tags                          []Tag
}

func policyOf(p *iam.Policy) policyOutput {
	return policyOutput{PolicyName: p.Name, PolicyID: p.ID, Arn: p.ARN, Path: p.Path, DefaultVersionID: p.DefaultVersion,
		AttachmentCount: p.Attachments, PermissionsBoundaryUsageCount: p.Boundaries, IsAttachable: true, Description: p.Description,
		CreateDate: p.Created, UpdateDate: p.Updated, Tags: tagList(p.Tags)}
}

type versionOutput struct {
	Document         string
	VersionID        string `query:"VersionId"`
	IsDefaultVersion bool
	CreateDate       time.Time
}

// versionOf writes a version; lists leave the text out.
func versionOf(v iam.PolicyVersion, text bool) versionOutput {
	out := versionOutput{VersionID: v.ID, IsDefaultVersion: v.Default, CreateDate: v.Created}
	if text {
		out.Document = encodeDocument(v.Document)
	}
	return out
}

type createPolicy struct {
	PolicyName        string `query:",required"`
	Path, Description string
	documentInput
	tagsInput
}

func (in *createPolicy) target(p iam.Principal) target {
	return newARN(p, iam.KindPolicy, in.Path, in.PolicyName)
}

type listPolicies struct {
	Scope             string
	OnlyAttached      bool
	PolicyUsageFilter string
	listInput
}

func (in *listPolicies) target(p iam.Principal) target {
	return in.prefixed(p, iam.KindPolicy)
}

type versionInput struct {
	policyInput
	VersionID string `query:"VersionId,required"`
}

func (s *server) policies() []api.Route {
	return []api.Route{
		route(s, "CreatePolicy", func(ctx context.Context, c *call, in *createPolicy) (any, error) {
			tags, err := in.tags()
			if err != nil {
				return nil, err
			}
			p, err := c.iam.CreatePolicy(ctx, c.account, iam.PolicySpec{Name: in.PolicyName, Path: in.Path, Description: in.Description,
				Document: in.PolicyDocument, Tags: tags})
			return struct{ Policy policyOutput }{policyOf(&p)}, err
		}),
		route(s, "GetPolicy", func(ctx context.Context, c *call, in *policyInput) (any, error) {
			p, err := c.iam.Policy(ctx, c.account, in.PolicyArn)
			return struct{ Policy policyOutput }{policyOf(&p)}, err
		}),
		route(s, "ListPolicies", listPoliciesCall),
		route(s, "DeletePolicy", func(ctx context.Context, c *call, in *policyInput) (any, error) {
			return nil, c.iam.DeletePolicy(ctx, c.account, in.PolicyArn)
		}),
		route(s, "CreatePolicyVersion", func(ctx context.Context, c *call, in *struct {
			policyInput
			documentInput
			SetAsDefault bool
		}) (any, error) {
			v, err := c.iam.CreatePolicyVersion(ctx, c.account, in.PolicyArn, in.PolicyDocument, in.SetAsDefault)
			return struct{ PolicyVersion versionOutput }{versionOf(v, false)}, err
		}),
		route(s, "GetPolicyVersion", func(ctx context.Context, c *call, in *versionInput) (any, error) {
			v, err := c.iam.PolicyVersion(ctx, c.account, in.PolicyArn, in.VersionID)
			return struct{ PolicyVersion versionOutput }{versionOf(v, true)}, err
		}),
		route(s, "ListPolicyVersions", func(ctx context.Context, c *call, in *struct {
			policyInput
			pageInput
		}) (any, error) {
			all, err := c.iam.PolicyVersions(ctx, c.account, in.PolicyArn)
			if err != nil {
				return nil, err
			}
			all, p, err := cut(&in.pageInput, all, func(v iam.PolicyVersion) string { return v.ID })
			out := struct {
				Versions []versionOutput
				pageOutput
			}{make([]versionOutput, len(all)), p}
			for i, v := range all {
				out.Versions[i] = versionOf(v, false)
			}
			return out, err
		}),
		route(s, "SetDefaultPolicyVersion", func(ctx context.Context, c *call, in *versionInput) (any, error) {
			return nil, c.iam.SetDefaultPolicyVersion(ctx, c.account, in.PolicyArn, in.VersionID)
		}),
		route(s, "DeletePolicyVersion", func(ctx context.Context, c *call, in *versionInput) (any, error) {
			return nil, c.iam.DeletePolicyVersion(ctx, c.account, in.PolicyArn, in.VersionID)
		}),
		route(s, "ListEntitiesForPolicy", listEntities),
		route(s, "TagPolicy", tag[struct {
			policyInput
			tagsInput
		}]),
		route(s, "UntagPolicy", untag[struct {
			policyInput
			tagKeysInput
		}]),
		route(s, "ListPolicyTags", listTags[struct {
			policyInput
			pageInput
		}]),
	}
}

// Values of filters.
const (
	usagePermissions = "PermissionsPolicy"
	usageBoundary    = "PermissionsBoundary"
)

func checkUsage(filter string) error {
	if filter != "" && filter != usagePermissions && filter != usageBoundary {
		return invalid("1 validation error detected: Value '%.50s' at 'policyUsageFilter' failed to satisfy constraint: "+
			"Member must satisfy enum value set: [PermissionsPolicy, PermissionsBoundary]", filter)
	}
	return nil
}

func listPoliciesCall(ctx context.Context, c *call, in *listPolicies) (any, error) {
	if err := checkUsage(in.PolicyUsageFilter); err != nil {
		return nil, err
	}
	ofAmazon, own := true, true
	switch in.Scope {
	case "", "All":
	case "AWS":
		own = false
	case "Local":
		ofAmazon = false
	default:
		return nil, invalid("1 validation error detected: Value '%.50s' at 'scope' failed to satisfy constraint: "+
			"Member must satisfy enum value set: [All, AWS, Local]", in.Scope)
	}
	all, err := c.iam.Policies(ctx, c.account, ofAmazon, own)
	if err != nil {
		return nil, err
	}
	some := all[:0]
	for _, p := range all {
		attached := p.Attachments > 0
		if in.PolicyUsageFilter == usageBoundary {
			attached = p.Boundaries > 0
		}
		if strings.HasPrefix(p.Path, in.PathPrefix) && (attached || !in.OnlyAttached) {
			some = append(some, p)
		}
	}
	some, p, err := cut(&in.pageInput, some, func(p iam.Policy) string { return p.ARN })
	out := struct {
		Policies []policyOutput
		pageOutput
	}{make([]policyOutput, len(some)), p}
	for i := range some {
		out.Policies[i] = policyOf(&some[i])
		out.Policies[i].Description = "" // as in AWS' lists
	}
	return out, err
}

type entitiesInput struct {
	policyInput
	attachedInput
	EntityFilter, PolicyUsageFilter string
}

func (in *entitiesInput) complete(p iam.Principal) error {
	if err := in.policyInput.complete(p); err != nil {
		return err
	}
	return in.attachedInput.complete(p)
}

func listEntities(ctx context.Context, c *call, in *entitiesInput) (any, error) {
	type userOut struct {
		UserName string
		UserID   string `query:"UserId"`
	}
	type groupOut struct {
		GroupName string
		GroupID   string `query:"GroupId"`
	}
	type roleOut struct {
		RoleName string
		RoleID   string `query:"RoleId"`
	}
	if err := checkUsage(in.PolicyUsageFilter); err != nil {
		return nil, err
	}
	kinds := map[string]iam.Kind{"": "", "User": iam.KindUser, "Group": iam.KindGroup, "Role": iam.KindRole,
		"LocalManagedPolicy": iam.KindPolicy, "AWSManagedPolicy": iam.KindPolicy}
	kind, ok := kinds[in.EntityFilter]
	if !ok {
		return nil, invalid("1 validation error detected: Value '%.50s' at 'entityFilter' failed to satisfy constraint: "+
			"Member must satisfy enum value set: [User, Role, Group, LocalManagedPolicy, AWSManagedPolicy]", in.EntityFilter)
	}
	var all []iam.Entity
	for _, asBoundary := range []bool{false, true} {
		if asBoundary && in.PolicyUsageFilter == usagePermissions || !asBoundary && in.PolicyUsageFilter == usageBoundary {
			continue
		}
		users, err := c.iam.PolicyEntities(ctx, c.account, in.PolicyArn, asBoundary)
		if err != nil {
			return nil, err
		}
		for _, e := range users {
			known := func(a iam.Entity) bool { return a.ID == e.ID }
			if (kind == "" || kind == e.Kind) && strings.HasPrefix(e.Path, in.PathPrefix) && !slices.ContainsFunc(all, known) {
				all = append(all, e)
			}
		}
	}
	all, p, err := cut(&in.pageInput, all, func(e iam.Entity) string { return e.ID })
	out := struct {
		PolicyGroups []groupOut
		PolicyUsers  []userOut
		PolicyRoles  []roleOut
		pageOutput
	}{[]groupOut{}, []userOut{}, []roleOut{}, p}
	for _, e := range all {
		switch e.Kind {
		case iam.KindUser:
			out.PolicyUsers = append(out.PolicyUsers, userOut{e.Name, e.ID})
		case iam.KindGroup:
			out.PolicyGroups = append(out.PolicyGroups, groupOut{e.Name, e.ID})
		case iam.KindRole:
			out.PolicyRoles = append(out.PolicyRoles, roleOut{e.Name, e.ID})
		}
	}
	return out, err
}
