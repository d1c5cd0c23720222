package app

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/auth/policy"
)

func newRoleCmd() *cobra.Command {
	f := &awsFlags{}
	k := entityKind{flags: f, noun: "role", title: "Role"}
	return group("role", "Manage roles, and explain what they may do",
		"A role has permissions but no keys: who its trust policy names gets temporary credentials for it.\n"+
			"For pods, mangru irsa create makes role, trust policy and service account at once.", f,
		append(k.commands(), newRoleCreateCmd(f), newRoleListCmd(f), newRoleGetCmd(f, k), newRoleTrustCmd(f), newRoleExplainCmd(f))...)
}

// iamRole is a role as IAM describes it. The trust policy is URL-encoded on the
// wire.
type iamRole struct {
	RoleName, RoleId, Arn, Path string

	CreateDate               time.Time
	AssumeRolePolicyDocument string
	Description              string    `json:",omitempty"`
	MaxSessionDuration       int       `json:",omitempty"`
	PermissionsBoundary      *boundary `json:",omitempty"`
	Tags                     []iamTag  `json:",omitempty"`
	RoleLastUsed             struct {
		LastUsedDate *time.Time `json:",omitempty"`
		Region       string     `json:",omitempty"`
	}
}

// decode takes the URL encoding off the trust policy.
func (r *iamRole) decode() error {
	text, err := url.QueryUnescape(r.AssumeRolePolicyDocument)
	r.AssumeRolePolicyDocument = text
	return err
}

// trustFlags are the ways to say whom a role trusts.
type trustFlags struct {
	file              string
	accounts, service []string
}

func (t *trustFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&t.file, "trust", "", "file with the trust policy (JSON), - for standard input")
	c.Flags().StringArrayVar(&t.accounts, "trust-principal", nil, "ARN of a user or role, or an account id, that may assume it; may be repeated")
	c.Flags().StringArrayVar(&t.service, "trust-service", nil, "service that may assume it, such as pods.eks.amazonaws.com; may be repeated")
}

// document returns the trust policy.
func (t *trustFlags) document(cmd *cobra.Command) (string, error) {
	if t.file != "" {
		if len(t.accounts)+len(t.service) > 0 {
			return "", usagef("--trust says all of it: leave --trust-principal and --trust-service away")
		}
		text, err := readDocument(cmd, "trust", t.file)
		if err != nil {
			return "", err
		}
		return text, checkDocument("trust", text, policy.Trust)
	}
	var statements []trustStatement
	for _, a := range t.accounts {
		if !strings.HasPrefix(a, "arn:") {
			a = "arn:aws:iam::" + a + ":root"
		}
		statements = append(statements, trustStatement{Effect: "Allow", Principal: map[string]string{"AWS": a}, Action: []string{"sts:AssumeRole"}})
	}
	for _, s := range t.service {
		statements = append(statements, trustStatement{Effect: "Allow", Principal: map[string]string{"Service": s},
			Action: []string{"sts:AssumeRole", "sts:TagSession"}})
	}
	if len(statements) == 0 {
		return "", usagef("--trust: say who may assume the role, with --trust FILE, --trust-principal ARN or --trust-service NAME")
	}
	text := trustDocument(statements...)
	return text, checkDocument("trust", text, policy.Trust)
}

// trustStatement is a statement of the trust policies made here.
type trustStatement struct {
	Effect    string
	Principal map[string]string
	Action    []string
	Condition map[string]map[string]string `json:",omitempty"`
}

func trustDocument(statements ...trustStatement) string {
	b, _ := json.MarshalIndent(struct {
		Version   string
		Statement []trustStatement
	}{policy.Version2012, statements}, "", "  ") // strings always encode
	return string(b)
}

func newRoleCreateCmd(f *awsFlags) *cobra.Command {
	var path, description, bound string
	var tags []string
	var maxSession time.Duration
	t := &trustFlags{}
	c := &cobra.Command{Use: "create NAME", Short: "Make a role", Args: exactly("a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			trust, err := t.document(cmd)
			if err != nil {
				return err
			}
			tagged, err := parseTags(tags)
			if err != nil {
				return err
			}
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			form := url.Values{"RoleName": {args[0]}, "Path": {path}, "AssumeRolePolicyDocument": {trust},
				"MaxSessionDuration": {strconv.Itoa(int(maxSession.Seconds()))}}
			if description != "" {
				form.Set("Description", description)
			}
			setTags(form, tagged)
			if bound != "" {
				arn, err := c.resolvePolicy(ctx, bound)
				if err != nil {
					return err
				}
				form.Set("PermissionsBoundary", arn)
			}
			var out struct{ Role iamRole }
			if err := c.iam(ctx, "CreateRole", form, &out); err != nil {
				return err
			}
			if err := out.Role.decode(); err != nil {
				return err
			}
			return f.done(cmd, out, "role %s made: %s", out.Role.RoleName, out.Role.Arn)
		}}
	t.register(c)
	c.Flags().StringVar(&path, "path", "/", "path of the role's ARN")
	c.Flags().StringVar(&description, "description", "", "what it is for")
	c.Flags().StringVar(&bound, "permissions-boundary", "", "policy that bounds what it can ever be allowed")
	c.Flags().DurationVar(&maxSession, "max-session", time.Hour, "how long credentials may live, 1h to 12h")
	c.Flags().StringArrayVar(&tags, "tag", nil, "key=value; may be repeated")
	return c
}

func newRoleListCmd(f *awsFlags) *cobra.Command {
	var prefix string
	c := &cobra.Command{Use: "list", Short: "List roles",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			out := struct{ Roles []iamRole }{[]iamRole{}}
			err = listPages(cmd.Context(), c, "ListRoles", prefixed(prefix), func(p *struct {
				Roles []iamRole
				page
			}) page {
				out.Roles = append(out.Roles, p.Roles...)
				return p.page
			})
			if err != nil {
				return err
			}
			for i := range out.Roles {
				if err := out.Roles[i].decode(); err != nil {
					return err
				}
			}
			return f.show(cmd, out, func(t *table) {
				t.row("NAME", "CREATED", "TRUSTS", "ARN")
				for i := range out.Roles {
					r := &out.Roles[i]
					t.row(r.RoleName, day(r.CreateDate), trusted(r.AssumeRolePolicyDocument), r.Arn)
				}
			})
		}}
	c.Flags().StringVar(&prefix, "path-prefix", "", "only those whose path begins so")
	return c
}

// trusted names those whom a trust policy names, in short.
func trusted(document string) string {
	var d struct{ Statement json.RawMessage }
	if json.Unmarshal([]byte(document), &d) != nil {
		return "?"
	}
	type statement struct{ Principal json.RawMessage }
	var list []statement
	if json.Unmarshal(d.Statement, &list) != nil {
		var one statement
		if json.Unmarshal(d.Statement, &one) != nil {
			return "?"
		}
		list = []statement{one}
	}
	var names []string
	for _, s := range list {
		var kinds map[string]any
		if json.Unmarshal(s.Principal, &kinds) != nil {
			names = append(names, strings.Trim(string(s.Principal), `"`))
			continue
		}
		for _, kind := range sortedKeys(kinds) {
			switch v := kinds[kind].(type) {
			case string:
				names = append(names, v)
			case []any:
				for _, one := range v {
					names = append(names, fmt.Sprint(one))
				}
			}
		}
	}
	return strings.Join(names, " ")
}

func newRoleGetCmd(f *awsFlags, k entityKind) *cobra.Command {
	return &cobra.Command{Use: "get NAME", Short: "Show a role with its policies and whom it trusts", Args: exactly("a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			var out struct {
				Role             iamRole
				AttachedPolicies []attachedPolicy
				PolicyNames      []string
			}
			if err := c.iam(ctx, "GetRole", k.form(args[0]), &out); err != nil {
				return err
			}
			if err := out.Role.decode(); err != nil {
				return err
			}
			if out.AttachedPolicies, out.PolicyNames, err = k.policies(ctx, c, args[0]); err != nil {
				return err
			}
			return f.show(cmd, out, func(t *table) {
				r := &out.Role
				t.row("Name", r.RoleName)
				t.row("ARN", r.Arn)
				t.row("ID", r.RoleId)
				t.row("Description", r.Description)
				t.row("Created", day(r.CreateDate))
				if r.RoleLastUsed.LastUsedDate != nil {
					t.row("Last used", day(*r.RoleLastUsed.LastUsedDate))
				}
				t.row("Sessions", "at most "+(time.Duration(r.MaxSessionDuration)*time.Second).String())
				showPolicies(t, out.AttachedPolicies, out.PolicyNames, r.PermissionsBoundary)
				t.row("Tags", tagText(r.Tags))
				t.text("Trust policy:\n" + indented(r.AssumeRolePolicyDocument))
			})
		}}
}

func newRoleTrustCmd(f *awsFlags) *cobra.Command {
	t := &trustFlags{}
	c := &cobra.Command{Use: "set-trust NAME", Short: "Replace a role's trust policy", Args: exactly("a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			trust, err := t.document(cmd)
			if err != nil {
				return err
			}
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			form := url.Values{"RoleName": {args[0]}, "PolicyDocument": {trust}}
			if err := c.iam(cmd.Context(), "UpdateAssumeRolePolicy", form, nil); err != nil {
				return err
			}
			return f.done(cmd, map[string]string{"RoleName": args[0]}, "role %s trusts %s", args[0], trusted(trust))
		}}
	t.register(c)
	return c
}

// decision is one answer of SimulatePrincipalPolicy.
type decision struct {
	EvalActionName, EvalResourceName, EvalDecision string

	MatchedStatements    []matchedStatement
	MissingContextValues []string `json:",omitempty"`

	PermissionsBoundaryDecisionDetail *struct{ AllowedByPermissionsBoundary bool } `json:",omitempty"`
}

// matchedStatement is a statement that had a say.
type matchedStatement struct {
	SourcePolicyId, SourcePolicyType string

	StartPosition, EndPosition struct{ Line, Column int }
}

// The decisions of a simulation.
const (
	decisionAllowed = "allowed"
	decisionDenied  = "explicitDeny"
)

func newRoleExplainCmd(f *awsFlags) *cobra.Command {
	var principal string
	var actions, resources, context []string
	c := &cobra.Command{Use: "explain --principal P --action A --resource R", Short: "Say whether somebody may do something, and which statement decides",
		Long: "Asks SimulatePrincipalPolicy. The principal is the ARN of a user or role, or user/NAME or role/NAME of this account.\n" +
			"Condition keys that the request would have are given with --context; those that a policy asks for and that were\n" +
			"not given are listed.",
		Example: "  mangru role explain --principal role/amp-irsa-role --action aps:RemoteWrite --resource arn:aws:aps:us-east-1:000000000000:workspace/ws-…\n" +
			"  mangru role explain --principal user/ann --action aps:QueryMetrics --resource '*' --context aws:SourceIp=10.0.0.1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if principal == "" || len(actions) == 0 {
				return usagef("--principal and --action are required")
			}
			form := url.Values{}
			if err := setContext(form, context); err != nil {
				return err
			}
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			arn, err := c.resolvePrincipal(cmd, principal)
			if err != nil {
				return err
			}
			form.Set("PolicySourceArn", arn)
			setList(form, "ActionNames", actions)
			setList(form, "ResourceArns", resources)
			out := struct{ EvaluationResults []decision }{[]decision{}}
			err = listPages(ctx, c, "SimulatePrincipalPolicy", form, func(p *struct {
				EvaluationResults []decision
				page
			}) page {
				out.EvaluationResults = append(out.EvaluationResults, p.EvaluationResults...)
				return p.page
			})
			if err != nil {
				return err
			}
			return f.show(cmd, out, func(t *table) {
				for i := range out.EvaluationResults {
					explain(t, arn, &out.EvaluationResults[i])
				}
			})
		}}
	c.Flags().StringVar(&principal, "principal", "", "ARN of a user or role, or user/NAME or role/NAME")
	c.Flags().StringArrayVar(&actions, "action", nil, "such as aps:RemoteWrite; may be repeated")
	c.Flags().StringArrayVar(&resources, "resource", []string{"*"}, "ARN of what it is done to; may be repeated")
	c.Flags().StringArrayVar(&context, "context", nil, "condition key and value, key=value; may be repeated, also for one key")
	return c
}

// resolvePrincipal completes user/NAME and role/NAME to an ARN. The path is the
// record's.
func (c *awsClient) resolvePrincipal(cmd *cobra.Command, principal string) (string, error) {
	if strings.HasPrefix(principal, "arn:") {
		return principal, nil
	}
	kind, name, ok := strings.Cut(principal, "/")
	switch {
	case ok && kind == "user":
		var out struct{ User iamUser }
		err := c.iam(cmd.Context(), "GetUser", url.Values{"UserName": {name}}, &out)
		return out.User.Arn, err
	case ok && kind == "role":
		var out struct{ Role iamRole }
		err := c.iam(cmd.Context(), "GetRole", url.Values{"RoleName": {name}}, &out)
		return out.Role.Arn, err
	}
	return "", usagef("--principal: found %q, expected an ARN, user/NAME or role/NAME", principal)
}

// setContext adds condition keys to a form. What kind of value it is the
// operators find out.
func setContext(form url.Values, pairs []string) error {
	values := make(map[string][]string)
	var order []string
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return usagef("--context %q: expected key=value, such as aws:SourceIp=10.0.0.1", p)
		}
		if values[k] == nil {
			order = append(order, k)
		}
		values[k] = append(values[k], v)
	}
	for i, k := range order {
		at := "ContextEntries.member." + strconv.Itoa(i+1)
		form.Set(at+".ContextKeyName", k)
		kind := "string"
		if len(values[k]) > 1 {
			kind = "stringList"
		}
		form.Set(at+".ContextKeyType", kind)
		setList(form, at+".ContextKeyValues", values[k])
	}
	return nil
}

// explain tells one decision in words.
func explain(t *table, principal string, d *decision) {
	verdict := "DENIED"
	if d.EvalDecision == decisionAllowed {
		verdict = "ALLOWED"
	}
	t.text(fmt.Sprintf("%s: %s may%s do %s to %s", verdict, principal, map[bool]string{false: " not"}[verdict == "ALLOWED"], d.EvalActionName, d.EvalResourceName))
	switch {
	case d.EvalDecision == decisionDenied:
		t.text("  A statement denies it; no other can allow it then:")
	case verdict == "ALLOWED":
		t.text("  These statements allow it:")
	case d.PermissionsBoundaryDecisionDetail != nil && !d.PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary:
		t.text("  Its permissions boundary does not allow it.")
	case len(d.MatchedStatements) == 0:
		t.text("  No statement of its policies allows it.")
	default:
		t.text("  These statements allow it, but something else that has a say does not:")
	}
	for _, s := range d.MatchedStatements {
		at := ""
		if s.StartPosition.Line > 0 {
			at = fmt.Sprintf(" (line %d, column %d to line %d, column %d)", s.StartPosition.Line, s.StartPosition.Column, s.EndPosition.Line, s.EndPosition.Column)
		}
		t.text("    " + s.SourcePolicyId + ", " + s.SourcePolicyType + at)
	}
	if len(d.MissingContextValues) > 0 {
		missing := slices.Sorted(slices.Values(d.MissingContextValues))
		t.text("  Policies ask for condition keys that were not given (--context): " + strings.Join(missing, ", "))
	}
}
