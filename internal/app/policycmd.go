package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/auth/policy"
)

func newPolicyCmd() *cobra.Command {
	f := &awsFlags{}
	return group("policy", "Manage policies", "Policies say what may be done to what. Users and roles have them attached; AWS' managed ones are there from the start.", f,
		newPolicyCreateCmd(f), newPolicyListCmd(f), newPolicyGetCmd(f), newPolicyUpdateCmd(f), newPolicyVersionsCmd(f), newPolicySetDefaultCmd(f),
		newPolicyDeleteCmd(f), newPolicyCheckCmd())
}

// managedPolicy is a policy in lists.
type managedPolicy struct {
	PolicyName, PolicyId, Arn, Path, DefaultVersionId string

	Description            string `json:",omitempty"`
	AttachmentCount        int
	CreateDate, UpdateDate time.Time
	Tags                   []iamTag `json:",omitempty"`
}

// policyVersion is one of a policy's documents.
type policyVersion struct {
	VersionId        string
	IsDefaultVersion bool
	CreateDate       time.Time
	// Document is URL-encoded on the wire.
	Document string `json:",omitempty"`
}

// policies lists policies of a scope (All, AWS, Local), all or the attached ones.
func (c *awsClient) policies(ctx context.Context, scope string, attached bool) ([]managedPolicy, error) {
	form := url.Values{"Scope": {scope}, "MaxItems": {"1000"}}
	if attached {
		form.Set("OnlyAttached", "true")
	}
	list := []managedPolicy{}
	err := listPages(ctx, c, "ListPolicies", form, func(p *struct {
		Policies []managedPolicy
		page
	}) page {
		list = append(list, p.Policies...)
		return p.page
	})
	return list, err
}

func (c *awsClient) policyVersions(ctx context.Context, arn string) ([]policyVersion, error) {
	var list []policyVersion
	err := listPages(ctx, c, "ListPolicyVersions", url.Values{"PolicyArn": {arn}}, func(p *struct {
		Versions []policyVersion
		page
	}) page {
		list = append(list, p.Versions...)
		return p.page
	})
	return list, err
}

// checkDocument says what is wrong with a policy before it is sent.
func checkDocument(flag, text string, kind policy.Kind) error {
	_, err := policy.Parse([]byte(text), kind)
	var bad *policy.MalformedError
	if errors.As(err, &bad) {
		return usagef("--%s: %w", flag, err)
	}
	return err
}

// indented formats JSON for people; what is not JSON stays as it is.
func indented(text string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(text), "", "  ") != nil {
		return text
	}
	return b.String()
}

func newPolicyCreateCmd(f *awsFlags) *cobra.Command {
	var file, path, description string
	var tags []string
	c := &cobra.Command{Use: "create NAME --document FILE", Short: "Make a policy", Args: exactly("a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readDocument(cmd, "document", file)
			if err != nil {
				return err
			}
			if err := checkDocument("document", text, policy.Identity); err != nil {
				return err
			}
			tagged, err := parseTags(tags)
			if err != nil {
				return err
			}
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			form := url.Values{"PolicyName": {args[0]}, "Path": {path}, "PolicyDocument": {text}}
			if description != "" {
				form.Set("Description", description)
			}
			setTags(form, tagged)
			var out struct{ Policy managedPolicy }
			if err := c.iam(cmd.Context(), "CreatePolicy", form, &out); err != nil {
				return err
			}
			return f.done(cmd, out, "policy %s made: %s", out.Policy.PolicyName, out.Policy.Arn)
		}}
	c.Flags().StringVar(&file, "document", "", "file with the policy (JSON), - for standard input")
	c.Flags().StringVar(&path, "path", "/", "path of the policy's ARN")
	c.Flags().StringVar(&description, "description", "", "what it is for")
	c.Flags().StringArrayVar(&tags, "tag", nil, "key=value; may be repeated")
	return c
}

func newPolicyListCmd(f *awsFlags) *cobra.Command {
	var scope string
	var attached bool
	c := &cobra.Command{Use: "list", Short: "List policies: one's own, AWS' managed ones, or all",
		RunE: func(cmd *cobra.Command, _ []string) error {
			scopes := map[string]string{"own": "Local", "aws": "AWS", "all": "All"}
			if scopes[scope] == "" {
				return usagef("--scope: found %q, allowed are own, aws and all", scope)
			}
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			list, err := c.policies(cmd.Context(), scopes[scope], attached)
			if err != nil {
				return err
			}
			return f.show(cmd, struct{ Policies []managedPolicy }{list}, func(t *table) {
				t.row("NAME", "VERSION", "ATTACHED", "CHANGED", "ARN")
				for i := range list {
					p := &list[i]
					t.row(p.PolicyName, p.DefaultVersionId, fmt.Sprint(p.AttachmentCount), day(p.UpdateDate), p.Arn)
				}
			})
		}}
	c.Flags().StringVar(&scope, "scope", "own", "own, aws or all")
	c.Flags().BoolVar(&attached, "attached", false, "only those that somebody has")
	return c
}

func newPolicyGetCmd(f *awsFlags) *cobra.Command {
	var version string
	c := &cobra.Command{Use: "get POLICY", Short: "Show a policy and what it says", Args: exactly("a policy"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			arn, err := c.resolvePolicy(ctx, args[0])
			if err != nil {
				return err
			}
			var out struct {
				Policy        managedPolicy
				PolicyVersion policyVersion
			}
			if err := c.iam(ctx, "GetPolicy", url.Values{"PolicyArn": {arn}}, &out); err != nil {
				return err
			}
			if version == "" {
				version = out.Policy.DefaultVersionId
			}
			if err := c.iam(ctx, "GetPolicyVersion", url.Values{"PolicyArn": {arn}, "VersionId": {version}}, &out); err != nil {
				return err
			}
			if out.PolicyVersion.Document, err = url.QueryUnescape(out.PolicyVersion.Document); err != nil {
				return err
			}
			return f.show(cmd, out, func(t *table) {
				p := &out.Policy
				t.row("Name", p.PolicyName)
				t.row("ARN", p.Arn)
				t.row("Description", p.Description)
				t.row("Attached", fmt.Sprint(p.AttachmentCount))
				t.row("Version", out.PolicyVersion.VersionId)
				t.row("Changed", day(out.PolicyVersion.CreateDate))
				t.row("Tags", tagText(p.Tags))
				t.text(indented(out.PolicyVersion.Document))
			})
		}}
	c.Flags().StringVar(&version, "version", "", "a version such as v2 (default: the one in force)")
	return c
}

// maxVersions is how many versions IAM keeps of a policy.
const maxVersions = 5

func newPolicyUpdateCmd(f *awsFlags) *cobra.Command {
	var file string
	c := &cobra.Command{Use: "update POLICY --document FILE", Short: "Put a new version of a policy in force; the oldest one goes when there are five",
		Args: exactly("a policy"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			text, err := readDocument(cmd, "document", file)
			if err != nil {
				return err
			}
			if err := checkDocument("document", text, policy.Identity); err != nil {
				return err
			}
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			arn, err := c.resolvePolicy(ctx, args[0])
			if err != nil {
				return err
			}
			versions, err := c.policyVersions(ctx, arn)
			if err != nil {
				return err
			}
			if len(versions) >= maxVersions {
				slices.SortFunc(versions, func(a, b policyVersion) int { return a.CreateDate.Compare(b.CreateDate) })
				i := slices.IndexFunc(versions, func(v policyVersion) bool { return !v.IsDefaultVersion })
				if err := c.iam(ctx, "DeletePolicyVersion", url.Values{"PolicyArn": {arn}, "VersionId": {versions[i].VersionId}}, nil); err != nil {
					return err
				}
			}
			var out struct{ PolicyVersion policyVersion }
			form := url.Values{"PolicyArn": {arn}, "PolicyDocument": {text}, "SetAsDefault": {"true"}}
			if err := c.iam(ctx, "CreatePolicyVersion", form, &out); err != nil {
				return err
			}
			return f.done(cmd, out, "policy %s: %s is in force", arn, out.PolicyVersion.VersionId)
		}}
	c.Flags().StringVar(&file, "document", "", "file with the policy (JSON), - for standard input")
	return c
}

func newPolicyVersionsCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "versions POLICY", Short: "List a policy's versions", Args: exactly("a policy"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			arn, err := c.resolvePolicy(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			list, err := c.policyVersions(cmd.Context(), arn)
			if err != nil {
				return err
			}
			return f.show(cmd, struct{ Versions []policyVersion }{list}, func(t *table) {
				t.row("VERSION", "IN FORCE", "CREATED")
				for _, v := range list {
					t.row(v.VersionId, map[bool]string{true: "yes"}[v.IsDefaultVersion], day(v.CreateDate))
				}
			})
		}}
}

func newPolicySetDefaultCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "set-default POLICY VERSION", Short: "Put another version of a policy in force", Args: exactly("a policy", "a version"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			arn, err := c.resolvePolicy(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := c.iam(cmd.Context(), "SetDefaultPolicyVersion", url.Values{"PolicyArn": {arn}, "VersionId": {args[1]}}, nil); err != nil {
				return err
			}
			return f.done(cmd, map[string]string{"PolicyArn": arn, "VersionId": args[1]}, "policy %s: %s is in force", arn, args[1])
		}}
}

func newPolicyDeleteCmd(f *awsFlags) *cobra.Command {
	var force bool
	c := &cobra.Command{Use: "delete POLICY", Short: "Delete a policy; --force detaches it from everybody first", Args: exactly("a policy"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			arn, err := c.resolvePolicy(ctx, args[0])
			if err != nil {
				return err
			}
			if force {
				if err := c.stripPolicy(ctx, arn); err != nil {
					return err
				}
			}
			if err := c.iam(ctx, "DeletePolicy", url.Values{"PolicyArn": {arn}}, nil); err != nil {
				if isCode(err, "DeleteConflict") && !force {
					return fmt.Errorf("%w (--force detaches it and deletes its other versions first)", err)
				}
				return err
			}
			return f.done(cmd, map[string]string{"PolicyArn": arn}, "policy %s deleted", arn)
		}}
	c.Flags().BoolVar(&force, "force", false, "detach it from everybody and delete its other versions first")
	return c
}

// stripPolicy detaches a policy from everybody and deletes the versions that are
// not in force.
func (c *awsClient) stripPolicy(ctx context.Context, arn string) error {
	type holders struct {
		PolicyUsers  []struct{ UserName string }
		PolicyRoles  []struct{ RoleName string }
		PolicyGroups []struct{ GroupName string }
		page
	}
	var all holders
	err := listPages(ctx, c, "ListEntitiesForPolicy", url.Values{"PolicyArn": {arn}}, func(p *holders) page {
		all.PolicyUsers = append(all.PolicyUsers, p.PolicyUsers...)
		all.PolicyRoles = append(all.PolicyRoles, p.PolicyRoles...)
		all.PolicyGroups = append(all.PolicyGroups, p.PolicyGroups...)
		return p.page
	})
	if err != nil {
		return err
	}
	detach := func(kind, name string) error {
		return c.iam(ctx, "Detach"+kind+"Policy", url.Values{kind + "Name": {name}, "PolicyArn": {arn}}, nil)
	}
	for _, u := range all.PolicyUsers {
		if err := detach("User", u.UserName); err != nil {
			return err
		}
	}
	for _, r := range all.PolicyRoles {
		if err := detach("Role", r.RoleName); err != nil {
			return err
		}
	}
	for _, g := range all.PolicyGroups {
		if err := detach("Group", g.GroupName); err != nil {
			return err
		}
	}
	versions, err := c.policyVersions(ctx, arn)
	if err != nil {
		return err
	}
	for _, v := range versions {
		if v.IsDefaultVersion {
			continue
		}
		if err := c.iam(ctx, "DeletePolicyVersion", url.Values{"PolicyArn": {arn}, "VersionId": {v.VersionId}}, nil); err != nil {
			return err
		}
	}
	return nil
}

func newPolicyCheckCmd() *cobra.Command {
	var trust bool
	c := &cobra.Command{Use: "check FILE", Short: "Say what is wrong with a policy, without a server", Args: exactly("a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readDocument(cmd, "document", args[0])
			if err != nil {
				return err
			}
			kind := policy.Identity
			if trust {
				kind = policy.Trust
			}
			if _, err := policy.Parse([]byte(text), kind); err != nil {
				file := args[0]
				if at, ok := policy.PlaceOf([]byte(text), err); ok {
					file += fmt.Sprintf(":%d:%d", at.Line, at.Column)
				}
				return usagef("%s: %w", file, err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "The policy is valid.")
			return err
		}}
	c.Flags().BoolVar(&trust, "trust", false, "it is a role's trust policy")
	return c
}
