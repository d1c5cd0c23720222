package app

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newGroupCmd() *cobra.Command {
	f := &awsFlags{}
	k := entityKind{flags: f, noun: "group", title: "Group"}
	return group("group", "Manage groups of users", "What a group is allowed, all its users are allowed.", f,
		newGroupCreateCmd(f), newGroupListCmd(f), newGroupGetCmd(f, k),
		memberCmd(f, "add-user", "AddUserToGroup", "Put users into a group", "added to"),
		memberCmd(f, "remove-user", "RemoveUserFromGroup", "Take users out of a group", "removed from"),
		k.attachCmd(), k.detachCmd(), k.putPolicyCmd(), k.getPolicyCmd(), k.deletePolicyCmd(), k.deleteCmd())
}

// iamGroup is a group as IAM describes it.
type iamGroup struct {
	GroupName, GroupId, Arn, Path string

	CreateDate time.Time
}

func newGroupCreateCmd(f *awsFlags) *cobra.Command {
	var path string
	c := &cobra.Command{Use: "create NAME", Short: "Make a group, without users or permissions", Args: exactly("a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			var out struct{ Group iamGroup }
			if err := c.iam(cmd.Context(), "CreateGroup", url.Values{"GroupName": {args[0]}, "Path": {path}}, &out); err != nil {
				return err
			}
			return f.done(cmd, out, "group %s made: %s\ngive it permissions with mangru group attach, users with mangru group add-user", out.Group.GroupName, out.Group.Arn)
		}}
	c.Flags().StringVar(&path, "path", "/", "path of the group's ARN")
	return c
}

func newGroupListCmd(f *awsFlags) *cobra.Command {
	var prefix, user string
	c := &cobra.Command{Use: "list", Short: "List groups, or those of a --user",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			action, form := "ListGroups", prefixed(prefix)
			if user != "" {
				action, form = "ListGroupsForUser", url.Values{"UserName": {user}}
			}
			out := struct{ Groups []iamGroup }{Groups: []iamGroup{}}
			err = listPages(cmd.Context(), c, action, form, func(p *struct {
				Groups []iamGroup
				page
			}) page {
				out.Groups = append(out.Groups, p.Groups...)
				return p.page
			})
			if err != nil {
				return err
			}
			return f.show(cmd, out, func(t *table) {
				t.row("NAME", "ID", "CREATED", "ARN")
				for i := range out.Groups {
					g := &out.Groups[i]
					t.row(g.GroupName, g.GroupId, day(g.CreateDate), g.Arn)
				}
			})
		}}
	c.Flags().StringVar(&prefix, "path-prefix", "", "only those whose path begins so")
	c.Flags().StringVar(&user, "user", "", "only those that this user is in")
	c.MarkFlagsMutuallyExclusive("path-prefix", "user")
	return c
}

func newGroupGetCmd(f *awsFlags, k entityKind) *cobra.Command {
	return &cobra.Command{Use: "get NAME", Short: "Show a group with its users and policies", Args: exactly("a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			var out struct {
				Group            iamGroup
				Users            []iamUser
				AttachedPolicies []attachedPolicy
				PolicyNames      []string
			}
			if out.Group, out.Users, err = c.members(ctx, args[0]); err != nil {
				return err
			}
			if out.AttachedPolicies, out.PolicyNames, err = k.policies(ctx, c, args[0]); err != nil {
				return err
			}
			return f.show(cmd, out, func(t *table) {
				t.row("Name", out.Group.GroupName)
				t.row("ARN", out.Group.Arn)
				t.row("ID", out.Group.GroupId)
				t.row("Created", day(out.Group.CreateDate))
				showPolicies(t, out.AttachedPolicies, out.PolicyNames, nil)
				names := make([]string, len(out.Users))
				for i := range out.Users {
					names[i] = out.Users[i].UserName
				}
				t.row("Users", strings.Join(names, " "))
			})
		}}
}

// members returns a group and its users.
func (c *awsClient) members(ctx context.Context, name string) (g iamGroup, users []iamUser, err error) {
	users = []iamUser{}
	err = listPages(ctx, c, "GetGroup", url.Values{"GroupName": {name}}, func(p *struct {
		Group iamGroup
		Users []iamUser
		page
	}) page {
		g, users = p.Group, append(users, p.Users...)
		return p.page
	})
	return g, users, err
}

// memberCmd calls an operation for args[0] and each user after it.
func memberCmd(f *awsFlags, use, action, short, done string) *cobra.Command {
	return &cobra.Command{Use: use + " GROUP USER...", Short: short, Args: atLeast("a group", "a user"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			for _, user := range args[1:] {
				form := url.Values{"GroupName": {args[0]}, "UserName": {user}}
				if err := c.iam(cmd.Context(), action, form, nil); err != nil {
					return err
				}
				err = f.done(cmd, map[string]string{"GroupName": args[0], "UserName": user}, "user %s %s group %s", user, done, args[0])
				if err != nil {
					return err
				}
			}
			return nil
		}}
}
