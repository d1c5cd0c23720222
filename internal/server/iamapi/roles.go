package iamapi

import (
	"context"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/api"
)

type roleOutput struct {
	Path, RoleName           string
	RoleID                   string `query:"RoleId"`
	Arn                      string
	CreateDate               time.Time
	AssumeRolePolicyDocument string
	Description              string
	MaxSessionDuration       int64
	PermissionsBoundary      *boundaryOutput
	Tags                     []Tag
	RoleLastUsed             *roleLastUsed
}

type roleLastUsed struct {
	LastUsedDate time.Time
	Region       string
}

func roleOf(r *iam.Role) roleOutput {
	return roleOutput{Path: r.Path, RoleName: r.Name, RoleID: r.ID, Arn: r.ARN, CreateDate: r.Created,
		AssumeRolePolicyDocument: encodeDocument(r.Trust), Description: r.Description, MaxSessionDuration: int64(r.MaxSession / time.Second),
		PermissionsBoundary: boundaryOf(r.Boundary), Tags: tagList(r.Tags)}
}

type roleResult struct{ Role roleOutput }

type createRole struct {
	RoleName                 string `query:",required"`
	AssumeRolePolicyDocument string `query:",required"`
	Path, Description        string
	MaxSessionDuration       *int64
	optionalBoundary
	tagsInput
}

func (in *createRole) target(p iam.Principal) target {
	return newARN(p, iam.KindRole, in.Path, in.RoleName)
}

type listRoles struct{ listInput }

func (in *listRoles) target(p iam.Principal) target { return in.prefixed(p, iam.KindRole) }

type updateRole struct {
	roleInput
	Description        *string
	MaxSessionDuration *int64
}

// seconds turns a duration of a form around; nil stays nil.
func seconds(n *int64) (*time.Duration, error) {
	if n == nil {
		return nil, nil //nolint:nilnil // both are none
	}
	if *n < 3600 || *n > 43200 {
		return nil, invalid("1 validation error detected: Value '%d' at 'maxSessionDuration' failed to satisfy constraint: "+
			"Member must have value between 3600 and 43200", *n)
	}
	d := time.Duration(*n) * time.Second
	return &d, nil
}

func (s *server) roles() []api.Route {
	routes := []api.Route{
		route(s, "CreateRole", createRoleCall),
		route(s, "GetRole", func(ctx context.Context, c *call, in *roleInput) (any, error) {
			r, err := c.iam.Role(ctx, c.account, in.RoleName)
			out := roleResult{roleOf(&r)}
			out.Role.RoleLastUsed = &roleLastUsed{r.LastUsed.At, r.LastUsed.Region}
			return out, err
		}),
		route(s, "ListRoles", listRolesCall),
		route(s, "UpdateRole", func(ctx context.Context, c *call, in *updateRole) (any, error) {
			d, err := seconds(in.MaxSessionDuration)
			if err != nil {
				return nil, err
			}
			return struct{}{}, c.iam.UpdateRole(ctx, c.account, in.RoleName, in.Description, d)
		}),
		route(s, "UpdateRoleDescription", func(ctx context.Context, c *call, in *struct {
			roleInput
			Description string
		}) (any, error) {
			if err := c.iam.UpdateRole(ctx, c.account, in.RoleName, &in.Description, nil); err != nil {
				return nil, err
			}
			r, err := c.iam.Role(ctx, c.account, in.RoleName)
			return roleResult{roleOf(&r)}, err
		}),
		route(s, "UpdateAssumeRolePolicy", func(ctx context.Context, c *call, in *struct {
			roleInput
			documentInput
		}) (any, error) {
			return nil, c.iam.SetTrust(ctx, c.account, in.RoleName, in.PolicyDocument)
		}),
		route(s, "DeleteRole", func(ctx context.Context, c *call, in *roleInput) (any, error) {
			return nil, c.iam.DeleteRole(ctx, c.account, in.RoleName)
		}),
		route(s, "PutRolePermissionsBoundary", func(ctx context.Context, c *call, in *struct {
			roleInput
			boundaryInput
		}) (any, error) {
			return nil, c.iam.SetBoundary(ctx, c.ref, in.PermissionsBoundary)
		}),
		route(s, "DeleteRolePermissionsBoundary", func(ctx context.Context, c *call, _ *roleInput) (any, error) {
			return nil, c.iam.SetBoundary(ctx, c.ref, "")
		}),
		route(s, "TagRole", tag[struct {
			roleInput
			tagsInput
		}]),
		route(s, "UntagRole", untag[struct {
			roleInput
			tagKeysInput
		}]),
		route(s, "ListRoleTags", listTags[struct {
			roleInput
			pageInput
		}]),
	}
	return append(append(routes, s.rolePolicies()...), s.instanceProfiles()...)
}

func createRoleCall(ctx context.Context, c *call, in *createRole) (any, error) {
	tags, err := in.tags()
	if err != nil {
		return nil, err
	}
	d, err := seconds(in.MaxSessionDuration)
	if err != nil {
		return nil, err
	}
	spec := iam.RoleSpec{Name: in.RoleName, Path: in.Path, Description: in.Description, Trust: in.AssumeRolePolicyDocument,
		Boundary: in.PermissionsBoundary, Tags: tags}
	if d != nil {
		spec.MaxSession = *d
	}
	r, err := c.iam.CreateRole(ctx, c.account, spec)
	return roleResult{roleOf(&r)}, err
}

func listRolesCall(ctx context.Context, c *call, in *listRoles) (any, error) {
	p, err := in.records()
	if err != nil {
		return nil, err
	}
	roles, more, err := c.iam.Roles(ctx, c.account, p)
	if err != nil {
		return nil, err
	}
	out := struct {
		Roles []roleOutput
		pageOutput
	}{Roles: make([]roleOutput, len(roles))}
	for i := range roles {
		out.Roles[i] = roleOf(&roles[i])
		out.Roles[i].PermissionsBoundary, out.Roles[i].Tags = nil, nil // as in AWS' lists
	}
	if more {
		out.pageOutput = goOn(roles[len(roles)-1].Name)
	}
	return out, nil
}

func (s *server) rolePolicies() []api.Route {
	type policy struct {
		roleInput
		policyArnInput
	}
	type inline struct {
		roleInput
		inlineInput
	}
	return []api.Route{
		route(s, "AttachRolePolicy", attach[policy]),
		route(s, "DetachRolePolicy", detach[policy]),
		route(s, "ListAttachedRolePolicies", listAttached[struct {
			roleInput
			attachedInput
		}]),
		route(s, "PutRolePolicy", putInline[struct {
			roleInput
			inlineInput
			documentInput
		}]),
		route(s, "GetRolePolicy", func(ctx context.Context, c *call, in *inline) (any, error) {
			text, err := c.iam.InlinePolicy(ctx, c.ref, in.PolicyName)
			return struct{ RoleName, PolicyName, PolicyDocument string }{in.RoleName, in.PolicyName, encodeDocument(text)}, err
		}),
		route(s, "DeleteRolePolicy", deleteInline[inline]),
		route(s, "ListRolePolicies", listInline[struct {
			roleInput
			pageInput
		}]),
	}
}

type listProfiles struct{ listInput }

func (in *listProfiles) target(p iam.Principal) target {
	return in.prefixed(p, "instance-profile")
}

// instanceProfiles answers what tools ask before they delete a role: there are
// none here, as there are no instances.
func (s *server) instanceProfiles() []api.Route {
	type none struct {
		InstanceProfiles []string
		IsTruncated      bool
	}
	return []api.Route{
		route(s, "ListInstanceProfilesForRole", func(ctx context.Context, c *call, in *struct {
			roleInput
			pageInput
		}) (any, error) {
			_, err := c.iam.Role(ctx, c.account, in.RoleName)
			return none{InstanceProfiles: []string{}}, err
		}),
		route(s, "ListInstanceProfiles", func(context.Context, *call, *listProfiles) (any, error) {
			return none{InstanceProfiles: []string{}}, nil
		}),
	}
}
