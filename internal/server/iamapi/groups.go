package iamapi

import (
	"context"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/api"
)

type groupOutput struct {
	Path, GroupName string
	GroupID         string `query:"GroupId"`
	Arn             string
	CreateDate      time.Time
}

func groupOf(g iam.Group) groupOutput {
	return groupOutput{Path: g.Path, GroupName: g.Name, GroupID: g.ID, Arn: g.ARN, CreateDate: g.Created}
}

type groupsResult struct {
	Groups []groupOutput
	pageOutput
}

func groupsPage(in *pageInput, all []iam.Group) (any, error) {
	groups, p, err := cut(in, all, func(g iam.Group) string { return g.Name })
	out := groupsResult{make([]groupOutput, len(groups)), p}
	for i, g := range groups {
		out.Groups[i] = groupOf(g)
	}
	return out, err
}

type createGroup struct {
	GroupName string `query:",required"`
	Path      string
}

func (in *createGroup) target(p iam.Principal) target {
	return newARN(p, iam.KindGroup, in.Path, in.GroupName)
}

type listGroups struct{ listInput }

func (in *listGroups) target(p iam.Principal) target { return in.prefixed(p, iam.KindGroup) }

type memberInput struct {
	groupInput
	UserName string `query:",required"`
}

func (s *server) groups() []api.Route {
	type policy struct {
		groupInput
		policyArnInput
	}
	type inline struct {
		groupInput
		inlineInput
	}
	return []api.Route{
		route(s, "CreateGroup", func(ctx context.Context, c *call, in *createGroup) (any, error) {
			g, err := c.iam.CreateGroup(ctx, c.account, in.GroupName, in.Path)
			return struct{ Group groupOutput }{groupOf(g)}, err
		}),
		route(s, "GetGroup", getGroup),
		route(s, "ListGroups", func(ctx context.Context, c *call, in *listGroups) (any, error) {
			p, err := in.records()
			if err != nil {
				return nil, err
			}
			groups, more, err := c.iam.Groups(ctx, c.account, p)
			if err != nil {
				return nil, err
			}
			out := groupsResult{Groups: make([]groupOutput, len(groups))}
			for i, g := range groups {
				out.Groups[i] = groupOf(g)
			}
			if more {
				out.pageOutput = goOn(groups[len(groups)-1].Name)
			}
			return out, nil
		}),
		route(s, "UpdateGroup", func(ctx context.Context, c *call, in *struct {
			groupInput
			NewPath, NewGroupName *string
		}) (any, error) {
			return nil, c.iam.RenameGroup(ctx, c.account, in.GroupName, in.NewGroupName, in.NewPath)
		}),
		route(s, "DeleteGroup", func(ctx context.Context, c *call, in *groupInput) (any, error) {
			return nil, c.iam.DeleteGroup(ctx, c.account, in.GroupName)
		}),
		route(s, "AddUserToGroup", func(ctx context.Context, c *call, in *memberInput) (any, error) {
			return nil, c.iam.AddToGroup(ctx, c.account, in.GroupName, in.UserName)
		}),
		route(s, "RemoveUserFromGroup", func(ctx context.Context, c *call, in *memberInput) (any, error) {
			return nil, c.iam.RemoveFromGroup(ctx, c.account, in.GroupName, in.UserName)
		}),
		route(s, "AttachGroupPolicy", attach[policy]),
		route(s, "DetachGroupPolicy", detach[policy]),
		route(s, "ListAttachedGroupPolicies", listAttached[struct {
			groupInput
			attachedInput
		}]),
		route(s, "PutGroupPolicy", putInline[struct {
			groupInput
			inlineInput
			documentInput
		}]),
		route(s, "GetGroupPolicy", func(ctx context.Context, c *call, in *inline) (any, error) {
			text, err := c.iam.InlinePolicy(ctx, c.ref, in.PolicyName)
			return struct{ GroupName, PolicyName, PolicyDocument string }{in.GroupName, in.PolicyName, encodeDocument(text)}, err
		}),
		route(s, "DeleteGroupPolicy", deleteInline[inline]),
		route(s, "ListGroupPolicies", listInline[struct {
			groupInput
			pageInput
		}]),
	}
}

func getGroup(ctx context.Context, c *call, in *struct {
	groupInput
	pageInput
}) (any, error) {
	g, err := c.iam.Group(ctx, c.account, in.GroupName)
	if err != nil {
		return nil, err
	}
	members, err := c.iam.Members(ctx, c.account, in.GroupName)
	if err != nil {
		return nil, err
	}
	members, p, err := cut(&in.pageInput, members, func(u iam.User) string { return u.Name })
	return struct {
		Group groupOutput
		Users []userOutput
		pageOutput
	}{groupOf(g), usersOf(members), p}, err
}
