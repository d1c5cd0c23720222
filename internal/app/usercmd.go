package app

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newUserCmd() *cobra.Command {
	f := &awsFlags{}
	k := entityKind{flags: f, noun: "user", title: "User"}
	return group("user", "Manage users", "Users are people and programs outside of clusters; they sign requests with access keys (mangru key).", f,
		append(k.commands(), newUserCreateCmd(f), newUserListCmd(f), newUserGetCmd(f, k))...)
}

// entityKind is what users and roles have in common: policies, a boundary, tags.
type entityKind struct {
	flags *awsFlags
	noun  string // as commands have it: user
	title string // as operations have it: User
}

// form begins a request about one of the kind.
func (k entityKind) form(name string) url.Values { return url.Values{k.title + "Name": {name}} }

func (k entityKind) commands() []*cobra.Command {
	return []*cobra.Command{
		k.attachCmd(), k.detachCmd(), k.putPolicyCmd(), k.getPolicyCmd(), k.deletePolicyCmd(),
		k.boundaryCmd(), k.tagCmd(), k.untagCmd(), k.deleteCmd(),
	}
}

// resolvePolicy turns the name of a policy into its ARN: one of the account, or
// one of AWS' managed ones.
func (c *awsClient) resolvePolicy(ctx context.Context, name string) (string, error) {
	if strings.HasPrefix(name, "arn:") {
		return name, nil
	}
	list, err := c.policies(ctx, "All", false)
	if err != nil {
		return "", err
	}
	var found []string
	for _, p := range list {
		if p.PolicyName == name {
			found = append(found, p.Arn)
		}
	}
	switch len(found) {
	case 0:
		return "", usagef("policy %q: there is none of that name; mangru policy list --scope all shows those there are", name)
	case 1:
		return found[0], nil
	}
	return "", usagef("policy %q: there is more than one of that name, give its ARN: %s", name, strings.Join(found, ", "))
}

func (k entityKind) attachCmd() *cobra.Command {
	return &cobra.Command{Use: "attach " + strings.ToUpper(k.noun) + " POLICY...", Short: "Give it the permissions of policies, by name or ARN",
		Args: atLeast("a "+k.noun, "a policy"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.eachPolicy(cmd, args, "Attach", "attached to")
		}}
}

func (k entityKind) detachCmd() *cobra.Command {
	return &cobra.Command{Use: "detach " + strings.ToUpper(k.noun) + " POLICY...", Short: "Take policies from it",
		Args: atLeast("a "+k.noun, "a policy"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.eachPolicy(cmd, args, "Detach", "detached from")
		}}
}

// eachPolicy calls an operation for args[0] and each policy after it.
func (k entityKind) eachPolicy(cmd *cobra.Command, args []string, verb, done string) error {
	ctx := cmd.Context()
	c, err := k.flags.client(ctx)
	if err != nil {
		return err
	}
	for _, name := range args[1:] {
		arn, err := c.resolvePolicy(ctx, name)
		if err != nil {
			return err
		}
		form := k.form(args[0])
		form.Set("PolicyArn", arn)
		if err := c.iam(ctx, verb+k.title+"Policy", form, nil); err != nil {
			return err
		}
		err = k.flags.done(cmd, map[string]string{k.title + "Name": args[0], "PolicyArn": arn}, "%s %s %s %s", arn, done, k.noun, args[0])
		if err != nil {
			return err
		}
	}
	return nil
}

func (k entityKind) putPolicyCmd() *cobra.Command {
	var file string
	c := &cobra.Command{Use: "put-policy " + strings.ToUpper(k.noun) + " NAME --document FILE", Short: "Write a policy that belongs to it alone",
		Args: exactly("a "+k.noun, "the policy's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readDocument(cmd, "document", file)
			if err != nil {
				return err
			}
			c, err := k.flags.client(cmd.Context())
			if err != nil {
				return err
			}
			form := k.form(args[0])
			form.Set("PolicyName", args[1])
			form.Set("PolicyDocument", text)
			if err := c.iam(cmd.Context(), "Put"+k.title+"Policy", form, nil); err != nil {
				return err
			}
			return k.flags.done(cmd, map[string]string{k.title + "Name": args[0], "PolicyName": args[1]}, "policy %s written to %s %s", args[1], k.noun, args[0])
		}}
	c.Flags().StringVar(&file, "document", "", "file with the policy (JSON), - for standard input")
	return c
}

// inlinePolicy is a policy that belongs to a user or role alone. The document is
// URL-encoded on the wire.
type inlinePolicy struct {
	PolicyName     string
	PolicyDocument string
}

func (k entityKind) inline(ctx context.Context, c *awsClient, name, policyName string) (inlinePolicy, error) {
	form := k.form(name)
	form.Set("PolicyName", policyName)
	var out inlinePolicy
	if err := c.iam(ctx, "Get"+k.title+"Policy", form, &out); err != nil {
		return out, err
	}
	text, err := url.QueryUnescape(out.PolicyDocument)
	out.PolicyDocument = text
	return out, err
}

func (k entityKind) getPolicyCmd() *cobra.Command {
	return &cobra.Command{Use: "get-policy " + strings.ToUpper(k.noun) + " NAME", Short: "Print a policy that belongs to it alone",
		Args: exactly("a "+k.noun, "the policy's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := k.flags.client(cmd.Context())
			if err != nil {
				return err
			}
			p, err := k.inline(cmd.Context(), c, args[0], args[1])
			if err != nil {
				return err
			}
			return k.flags.show(cmd, p, func(t *table) { t.text(indented(p.PolicyDocument)) })
		}}
}

func (k entityKind) deletePolicyCmd() *cobra.Command {
	return &cobra.Command{Use: "delete-policy " + strings.ToUpper(k.noun) + " NAME", Short: "Delete a policy that belongs to it alone",
		Args: exactly("a "+k.noun, "the policy's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := k.flags.client(cmd.Context())
			if err != nil {
				return err
			}
			form := k.form(args[0])
			form.Set("PolicyName", args[1])
			if err := c.iam(cmd.Context(), "Delete"+k.title+"Policy", form, nil); err != nil {
				return err
			}
			return k.flags.done(cmd, map[string]string{k.title + "Name": args[0], "PolicyName": args[1]}, "policy %s deleted from %s %s", args[1], k.noun, args[0])
		}}
}

func (k entityKind) boundaryCmd() *cobra.Command {
	var remove bool
	c := &cobra.Command{Use: "boundary " + strings.ToUpper(k.noun) + " [POLICY]", Short: "Bound what it can ever be allowed to a policy, or --remove the bound",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 && !(remove && len(args) == 1) {
				return fmt.Errorf("%s takes a %s and a policy, or a %s and --remove", cmd.CommandPath(), k.noun, k.noun)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := k.flags.client(ctx)
			if err != nil {
				return err
			}
			form := k.form(args[0])
			if remove {
				if err := c.iam(ctx, "Delete"+k.title+"PermissionsBoundary", form, nil); err != nil {
					return err
				}
				return k.flags.done(cmd, map[string]string{k.title + "Name": args[0]}, "boundary of %s %s removed", k.noun, args[0])
			}
			arn, err := c.resolvePolicy(ctx, args[1])
			if err != nil {
				return err
			}
			form.Set("PermissionsBoundary", arn)
			if err := c.iam(ctx, "Put"+k.title+"PermissionsBoundary", form, nil); err != nil {
				return err
			}
			return k.flags.done(cmd, map[string]string{k.title + "Name": args[0], "PermissionsBoundary": arn}, "%s %s is bounded by %s", k.noun, args[0], arn)
		}}
	c.Flags().BoolVar(&remove, "remove", false, "remove the bound")
	return c
}

func (k entityKind) tagCmd() *cobra.Command {
	return &cobra.Command{Use: "tag " + strings.ToUpper(k.noun) + " KEY=VALUE...", Short: "Add tags or change their values",
		Args: atLeast("a "+k.noun, "key=value"),
		RunE: func(cmd *cobra.Command, args []string) error {
			tags, err := parseTags(args[1:])
			if err != nil {
				return err
			}
			c, err := k.flags.client(cmd.Context())
			if err != nil {
				return err
			}
			form := k.form(args[0])
			setTags(form, tags)
			if err := c.iam(cmd.Context(), "Tag"+k.title, form, nil); err != nil {
				return err
			}
			return k.flags.done(cmd, map[string]any{k.title + "Name": args[0], "Tags": tags}, "%s %s tagged", k.noun, args[0])
		}}
}

func (k entityKind) untagCmd() *cobra.Command {
	return &cobra.Command{Use: "untag " + strings.ToUpper(k.noun) + " KEY...", Short: "Remove tags",
		Args: atLeast("a "+k.noun, "key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := k.flags.client(cmd.Context())
			if err != nil {
				return err
			}
			form := k.form(args[0])
			setList(form, "TagKeys", args[1:])
			if err := c.iam(cmd.Context(), "Untag"+k.title, form, nil); err != nil {
				return err
			}
			return k.flags.done(cmd, map[string]any{k.title + "Name": args[0], "TagKeys": args[1:]}, "%s %s untagged", k.noun, args[0])
		}}
}

func (k entityKind) deleteCmd() *cobra.Command {
	var force bool
	c := &cobra.Command{Use: "delete " + strings.ToUpper(k.noun), Short: "Delete it; --force takes its policies" + map[string]string{"User": ", groups and access keys", "Group": " and users"}[k.title] + " away first",
		Args: exactly("a " + k.noun),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := k.flags.client(ctx)
			if err != nil {
				return err
			}
			if force {
				if err := k.strip(ctx, c, args[0]); err != nil {
					return err
				}
			}
			if err := c.iam(ctx, "Delete"+k.title, k.form(args[0]), nil); err != nil {
				if isCode(err, "DeleteConflict") && !force {
					return fmt.Errorf("%w (--force takes it away first)", err)
				}
				return err
			}
			return k.flags.done(cmd, map[string]string{k.title + "Name": args[0]}, "%s %s deleted", k.noun, args[0])
		}}
	c.Flags().BoolVar(&force, "force", false, "take away what keeps it from being deleted")
	return c
}

// strip takes everything from a user, group or role that has to go before it can be
// deleted.
func (k entityKind) strip(ctx context.Context, c *awsClient, name string) error {
	attached, inline, err := k.policies(ctx, c, name)
	if err != nil {
		return err
	}
	for _, p := range attached {
		form := k.form(name)
		form.Set("PolicyArn", p.PolicyArn)
		if err := c.iam(ctx, "Detach"+k.title+"Policy", form, nil); err != nil {
			return err
		}
	}
	for _, p := range inline {
		form := k.form(name)
		form.Set("PolicyName", p)
		if err := c.iam(ctx, "Delete"+k.title+"Policy", form, nil); err != nil {
			return err
		}
	}
	switch k.title {
	case "User":
		return c.stripUser(ctx, name)
	case "Group":
		_, users, err := c.members(ctx, name)
		if err != nil {
			return err
		}
		for i := range users {
			if err := c.iam(ctx, "RemoveUserFromGroup", url.Values{"GroupName": {name}, "UserName": {users[i].UserName}}, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// stripUser takes groups and access keys from a user.
func (c *awsClient) stripUser(ctx context.Context, name string) error {
	groups, err := c.groupsOf(ctx, name)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if err := c.iam(ctx, "RemoveUserFromGroup", url.Values{"GroupName": {g}, "UserName": {name}}, nil); err != nil {
			return err
		}
	}
	keys, err := c.accessKeys(ctx, name)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := c.iam(ctx, "DeleteAccessKey", url.Values{"UserName": {name}, "AccessKeyId": {key.AccessKeyId}}, nil); err != nil {
			return err
		}
	}
	return nil
}

// attachedPolicy is a managed policy that somebody has.
type attachedPolicy struct{ PolicyName, PolicyArn string }

// policies returns a user's, group's or role's managed policies, and the names of those
// that belong to it alone.
func (k entityKind) policies(ctx context.Context, c *awsClient, name string) (attached []attachedPolicy, inline []string, err error) {
	err = listPages(ctx, c, "ListAttached"+k.title+"Policies", k.form(name), func(p *struct {
		AttachedPolicies []attachedPolicy
		page
	}) page {
		attached = append(attached, p.AttachedPolicies...)
		return p.page
	})
	if err != nil {
		return nil, nil, err
	}
	err = listPages(ctx, c, "List"+k.title+"Policies", k.form(name), func(p *struct {
		PolicyNames []string
		page
	}) page {
		inline = append(inline, p.PolicyNames...)
		return p.page
	})
	return attached, inline, err
}

func (c *awsClient) groupsOf(ctx context.Context, user string) ([]string, error) {
	var names []string
	err := listPages(ctx, c, "ListGroupsForUser", url.Values{"UserName": {user}}, func(p *struct {
		Groups []struct{ GroupName string }
		page
	}) page {
		for _, g := range p.Groups {
			names = append(names, g.GroupName)
		}
		return p.page
	})
	return names, err
}

// boundary is the policy that bounds a user or role.
type boundary struct{ PermissionsBoundaryArn string }

// iamUser is a user as IAM describes it.
type iamUser struct {
	UserName, UserId, Arn, Path string

	CreateDate          time.Time
	PermissionsBoundary *boundary `json:",omitempty"`
	Tags                []iamTag  `json:",omitempty"`
}

func newUserCreateCmd(f *awsFlags) *cobra.Command {
	var path, bound string
	var tags []string
	c := &cobra.Command{Use: "create NAME", Short: "Make a user, without keys or permissions", Args: exactly("a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			tagged, err := parseTags(tags)
			if err != nil {
				return err
			}
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			form := url.Values{"UserName": {args[0]}, "Path": {path}}
			setTags(form, tagged)
			if bound != "" {
				arn, err := c.resolvePolicy(ctx, bound)
				if err != nil {
					return err
				}
				form.Set("PermissionsBoundary", arn)
			}
			var out struct{ User iamUser }
			if err := c.iam(ctx, "CreateUser", form, &out); err != nil {
				return err
			}
			return f.done(cmd, out, "user %s made: %s\ngive it permissions with mangru user attach, a key with mangru key create", out.User.UserName, out.User.Arn)
		}}
	c.Flags().StringVar(&path, "path", "/", "path of the user's ARN")
	c.Flags().StringVar(&bound, "permissions-boundary", "", "policy that bounds what it can ever be allowed")
	c.Flags().StringArrayVar(&tags, "tag", nil, "key=value; may be repeated")
	return c
}

func newUserListCmd(f *awsFlags) *cobra.Command {
	var prefix string
	c := &cobra.Command{Use: "list", Short: "List users",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			out := struct{ Users []iamUser }{Users: []iamUser{}}
			err = listPages(cmd.Context(), c, "ListUsers", prefixed(prefix), func(p *struct {
				Users []iamUser
				page
			}) page {
				out.Users = append(out.Users, p.Users...)
				return p.page
			})
			if err != nil {
				return err
			}
			return f.show(cmd, out, func(t *table) {
				t.row("NAME", "ID", "CREATED", "ARN")
				for i := range out.Users {
					u := &out.Users[i]
					t.row(u.UserName, u.UserId, day(u.CreateDate), u.Arn)
				}
			})
		}}
	c.Flags().StringVar(&prefix, "path-prefix", "", "only those whose path begins so")
	return c
}

func prefixed(prefix string) url.Values {
	form := url.Values{}
	if prefix != "" {
		form.Set("PathPrefix", prefix)
	}
	return form
}

func newUserGetCmd(f *awsFlags, k entityKind) *cobra.Command {
	return &cobra.Command{Use: "get NAME", Short: "Show a user with its policies, groups and keys", Args: exactly("a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			var out struct {
				User             iamUser
				AttachedPolicies []attachedPolicy
				PolicyNames      []string
				Groups           []string
				AccessKeys       []accessKey
			}
			if err := c.iam(ctx, "GetUser", k.form(args[0]), &out); err != nil {
				return err
			}
			if out.AttachedPolicies, out.PolicyNames, err = k.policies(ctx, c, args[0]); err != nil {
				return err
			}
			if out.Groups, err = c.groupsOf(ctx, args[0]); err != nil {
				return err
			}
			if out.AccessKeys, err = c.accessKeys(ctx, args[0]); err != nil {
				return err
			}
			return f.show(cmd, out, func(t *table) {
				u := &out.User
				t.row("Name", u.UserName)
				t.row("ARN", u.Arn)
				t.row("ID", u.UserId)
				t.row("Created", day(u.CreateDate))
				showPolicies(t, out.AttachedPolicies, out.PolicyNames, u.PermissionsBoundary)
				t.row("Groups", strings.Join(out.Groups, " "))
				t.row("Tags", tagText(u.Tags))
				for _, key := range out.AccessKeys {
					t.row("Access key", key.AccessKeyId+" "+strings.ToLower(key.Status))
				}
			})
		}}
}

func showPolicies(t *table, attached []attachedPolicy, inline []string, b *boundary) {
	slices.SortFunc(attached, func(a, b attachedPolicy) int { return strings.Compare(a.PolicyArn, b.PolicyArn) })
	for _, p := range attached {
		t.row("Policy", p.PolicyArn)
	}
	for _, p := range inline {
		t.row("Own policy", p)
	}
	if len(attached)+len(inline) == 0 {
		t.row("Policies", "none: it may do nothing")
	}
	if b != nil {
		t.row("Bounded by", b.PermissionsBoundaryArn)
	}
}
