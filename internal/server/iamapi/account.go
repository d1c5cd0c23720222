package iamapi

import (
	"context"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/api"
)

type aliasInput struct {
	everything
	AccountAlias string `query:",required"`
}

func (s *server) account() []api.Route {
	return []api.Route{
		route(s, "GetAccountSummary", func(ctx context.Context, c *call, _ *everything) (any, error) {
			sum, err := c.iam.Summary(ctx, c.account)
			return struct{ SummaryMap map[string]int }{sum}, err
		}),
		route(s, "CreateAccountAlias", func(ctx context.Context, c *call, in *aliasInput) (any, error) {
			return nil, c.iam.SetAlias(ctx, c.account, in.AccountAlias)
		}),
		route(s, "DeleteAccountAlias", func(ctx context.Context, c *call, in *aliasInput) (any, error) {
			return nil, c.iam.DeleteAlias(ctx, c.account, in.AccountAlias)
		}),
		route(s, "ListAccountAliases", func(ctx context.Context, c *call, in *struct {
			everything
			pageInput
		}) (any, error) {
			aliases := []string{}
			alias, err := c.iam.Alias(ctx, c.account)
			if alias != "" {
				aliases = append(aliases, alias)
			}
			return struct {
				AccountAliases []string
				IsTruncated    bool
			}{AccountAliases: aliases}, err
		}),
		route(s, "GetAccountAuthorizationDetails", authorizationDetails),
	}
}

type inlineOutput struct{ PolicyName, PolicyDocument string }

type userDetail struct {
	userOutput
	UserPolicyList          []inlineOutput
	GroupList               []string
	AttachedManagedPolicies []attachedOutput
}

type groupDetail struct {
	groupOutput
	GroupPolicyList         []inlineOutput
	AttachedManagedPolicies []attachedOutput
}

type roleDetail struct {
	roleOutput
	InstanceProfileList     []string
	RolePolicyList          []inlineOutput
	AttachedManagedPolicies []attachedOutput
}

type policyDetail struct {
	policyOutput
	PolicyVersionList []versionOutput
}

type details struct {
	UserDetailList  []userDetail
	GroupDetailList []groupDetail
	RoleDetailList  []roleDetail
	Policies        []policyDetail
	pageOutput
}

// item is one record of the answer, which lists all kinds one after another.
type item struct {
	key string
	add func(ctx context.Context, out *details) error
}

// authorizationDetails lists all records with their policies.
func authorizationDetails(ctx context.Context, c *call, in *struct {
	everything
	Filter []string
	pageInput
}) (any, error) {
	wanted := make(map[string]bool)
	for _, f := range in.Filter {
		switch f {
		case "User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy":
			wanted[f] = true
		default:
			return nil, invalid("1 validation error detected: Value '[%.50s]' at 'filter' failed to satisfy constraint", f)
		}
	}
	wants := func(kind string) bool { return len(wanted) == 0 || wanted[kind] }
	var items []item
	for _, list := range []struct {
		kind string
		of   func(context.Context, *call) ([]item, error)
	}{{"User", userItems}, {"Group", groupItems}, {"Role", roleItems}} {
		if !wants(list.kind) {
			continue
		}
		more, err := list.of(ctx, c)
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
	}
	if aws, own := wants("AWSManagedPolicy"), wants("LocalManagedPolicy"); aws || own {
		more, err := policyItems(ctx, c, aws, own)
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
	}
	items, p, err := cut(&in.pageInput, items, func(i item) string { return i.key })
	if err != nil {
		return nil, err
	}
	out := details{[]userDetail{}, []groupDetail{}, []roleDetail{}, []policyDetail{}, p}
	for _, i := range items {
		if err := i.add(ctx, &out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// policiesOf returns the inline and attached policies of a record.
func policiesOf(ctx context.Context, c *call, ref iam.Ref) ([]inlineOutput, []attachedOutput, error) {
	names, err := c.iam.InlinePolicies(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	inline := make([]inlineOutput, len(names))
	for i, name := range names {
		text, err := c.iam.InlinePolicy(ctx, ref, name)
		if err != nil {
			return nil, nil, err
		}
		inline[i] = inlineOutput{name, encodeDocument(text)}
	}
	arns, err := c.iam.AttachedPolicies(ctx, ref)
	return inline, attachedOf(arns), err
}

func userItems(ctx context.Context, c *call) ([]item, error) {
	users, _, err := c.iam.Users(ctx, c.account, iam.Page{})
	items := make([]item, len(users))
	for i := range users {
		u := &users[i]
		items[i] = item{u.ARN, func(ctx context.Context, out *details) error {
			full, err := c.iam.User(ctx, c.account, u.Name)
			if err != nil {
				return err
			}
			d := userDetail{userOutput: userOf(&full), GroupList: []string{}}
			groups, err := c.iam.GroupsOf(ctx, c.account, u.Name)
			for _, g := range groups {
				d.GroupList = append(d.GroupList, g.Name)
			}
			if err == nil {
				d.UserPolicyList, d.AttachedManagedPolicies, err = policiesOf(ctx, c, iam.UserRef(c.account, u.Name))
			}
			out.UserDetailList = append(out.UserDetailList, d)
			return err
		}}
	}
	return items, err
}

func groupItems(ctx context.Context, c *call) ([]item, error) {
	groups, _, err := c.iam.Groups(ctx, c.account, iam.Page{})
	items := make([]item, len(groups))
	for i, g := range groups {
		items[i] = item{g.ARN, func(ctx context.Context, out *details) (err error) {
			d := groupDetail{groupOutput: groupOf(g)}
			d.GroupPolicyList, d.AttachedManagedPolicies, err = policiesOf(ctx, c, iam.GroupRef(c.account, g.Name))
			out.GroupDetailList = append(out.GroupDetailList, d)
			return err
		}}
	}
	return items, err
}

func roleItems(ctx context.Context, c *call) ([]item, error) {
	roles, _, err := c.iam.Roles(ctx, c.account, iam.Page{})
	items := make([]item, len(roles))
	for i := range roles {
		r := &roles[i]
		items[i] = item{r.ARN, func(ctx context.Context, out *details) error {
			full, err := c.iam.Role(ctx, c.account, r.Name)
			if err != nil {
				return err
			}
			d := roleDetail{roleOutput: roleOf(&full), InstanceProfileList: []string{}}
			d.RoleLastUsed = &roleLastUsed{full.LastUsed.At, full.LastUsed.Region}
			d.RolePolicyList, d.AttachedManagedPolicies, err = policiesOf(ctx, c, iam.RoleRef(c.account, r.Name))
			out.RoleDetailList = append(out.RoleDetailList, d)
			return err
		}}
	}
	return items, err
}

func policyItems(ctx context.Context, c *call, ofAmazon, own bool) ([]item, error) {
	all, err := c.iam.Policies(ctx, c.account, ofAmazon, own)
	items := make([]item, len(all))
	for i := range all {
		p := &all[i]
		items[i] = item{p.ARN, func(ctx context.Context, out *details) error {
			versions, err := c.iam.PolicyVersions(ctx, c.account, p.ARN)
			d := policyDetail{policyOutput: policyOf(p)}
			for _, v := range versions {
				d.PolicyVersionList = append(d.PolicyVersionList, versionOf(v, true))
			}
			out.Policies = append(out.Policies, d)
			return err
		}}
	}
	return items, err
}
