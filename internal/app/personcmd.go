package app

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newPersonCmd() *cobra.Command {
	f := &awsFlags{}
	return group("person", "Manage people, who sign in to dashboards",
		"People sign in with a browser; programs have keys (mangru user, mangru key). What aws identitystore shows are the same people.", f,
		newPersonCreateCmd(f), newPersonListCmd(f), newPersonGetCmd(f), newPersonImportCmd(f), newPersonTokenCmd(f), newPersonGroupCmd(f),
		personAction(f, "disable", "Keep people from signing in, and end their sessions", "disabled", "DisableUser", nil),
		personAction(f, "enable", "Let disabled people sign in again", "enabled", "EnableUser", nil),
		personAction(f, "grant-admin", "Make people administrators of the installation", "made administrator", "SetAdministrator", map[string]any{"Administrator": true}),
		personAction(f, "revoke-admin", "Make people administrators no longer", "made administrator no longer", "SetAdministrator", map[string]any{"Administrator": false}),
		newPersonDeleteCmd(f))
}

// person is one as the Identity Store describes them.
type person struct {
	UserID      string `json:"UserId"`
	UserName    string
	DisplayName string
	Name        *struct{ GivenName, FamilyName string }
	Emails      []struct{ Value string }
	UserStatus  string
	CreatedAt   float64
}

func (p *person) email() string {
	if len(p.Emails) == 0 {
		return ""
	}
	return p.Emails[0].Value
}

// newPerson is what a person is made from.
type newPerson struct{ userName, email, given, family, display string }

func (n *newPerson) input() map[string]any {
	if n.display == "" {
		n.display = strings.TrimSpace(n.given + " " + n.family)
	}
	in := map[string]any{"UserName": n.userName, "DisplayName": n.display, "Name": map[string]any{"GivenName": n.given, "FamilyName": n.family}}
	if n.email != "" {
		in["Emails"] = []any{map[string]any{"Value": n.email, "Type": "work", "Primary": true}}
	}
	return in
}

func (c *peopleClient) createPerson(ctx context.Context, n newPerson) (id string, err error) {
	var out struct {
		UserID string `json:"UserId"`
	}
	err = c.identityStore(ctx, "CreateUser", n.input(), &out)
	return out.UserID, err
}

func newPersonCreateCmd(f *awsFlags) *cobra.Command {
	var n newPerson
	c := &cobra.Command{Use: "create USERNAME --email ADDRESS --given-name NAME --family-name NAME", Short: "Add a person",
		Args: exactly("a user name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n.userName = args[0]
			if n.given == "" || n.family == "" {
				return usagef("--given-name and --family-name are required")
			}
			c, err := f.people(cmd.Context())
			if err != nil {
				return err
			}
			id, err := c.createPerson(cmd.Context(), n)
			if err != nil {
				return err
			}
			return f.done(cmd, map[string]string{"UserId": id, "IdentityStoreId": c.storeID}, "person %s created (%s)", n.userName, id)
		}}
	c.Flags().StringVar(&n.email, "email", "", "e-mail address, for the invitation")
	c.Flags().StringVar(&n.given, "given-name", "", "first name")
	c.Flags().StringVar(&n.family, "family-name", "", "last name")
	c.Flags().StringVar(&n.display, "display-name", "", "the name to show (default first and last)")
	return c
}

func newPersonListCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List people", RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := f.people(cmd.Context())
		if err != nil {
			return err
		}
		out := struct{ Users []person }{[]person{}}
		type page struct {
			Users     []person
			NextToken string
		}
		err = listAll(cmd.Context(), c, "ListUsers", map[string]any{}, func(p *page) string {
			out.Users = append(out.Users, p.Users...)
			return p.NextToken
		})
		if err != nil {
			return err
		}
		return f.show(cmd, out, func(t *table) {
			t.row("USERNAME", "NAME", "E-MAIL", "STATUS", "CREATED")
			for i := range out.Users {
				p := &out.Users[i]
				t.row(p.UserName, p.DisplayName, p.email(), strings.ToLower(p.UserStatus), day(time.UnixMilli(int64(p.CreatedAt*1000))))
			}
		})
	}}
}

func newPersonGetCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "get USERNAME", Short: "Show a person with their groups", Args: exactly("a user name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := f.people(ctx)
			if err != nil {
				return err
			}
			id, err := c.personID(ctx, args[0])
			if err != nil {
				return err
			}
			out := struct {
				person
				Groups []string
			}{Groups: []string{}}
			if err := c.identityStore(ctx, "DescribeUser", map[string]any{"UserId": id}, &out.person); err != nil {
				return err
			}
			if out.Groups, err = c.groupsOf(ctx, id); err != nil {
				return err
			}
			return f.show(cmd, out, func(t *table) {
				t.row("User name", out.UserName)
				t.row("Name", out.DisplayName)
				t.row("E-mail", out.email())
				t.row("Status", strings.ToLower(out.UserStatus))
				t.row("Groups", strings.Join(out.Groups, ", "))
				t.row("Id", out.UserID)
			})
		}}
}

// groupsOf returns the names of a person's groups.
func (c *peopleClient) groupsOf(ctx context.Context, id string) ([]string, error) {
	type page struct {
		GroupMemberships []struct {
			GroupID string `json:"GroupId"`
		}
		NextToken string
	}
	var ids []string
	err := listAll(ctx, c, "ListGroupMembershipsForMember", map[string]any{"MemberId": map[string]any{"UserId": id}}, func(p *page) string {
		for _, m := range p.GroupMemberships {
			ids = append(ids, m.GroupID)
		}
		return p.NextToken
	})
	names := []string{}
	for _, id := range ids {
		if err != nil {
			return nil, err
		}
		var g personGroup
		err = c.identityStore(ctx, "DescribeGroup", map[string]any{"GroupId": id}, &g)
		names = append(names, g.DisplayName)
	}
	return names, err
}

// personAction is a command that calls one operation for each person named.
func personAction(f *awsFlags, verb, short, done, operation string, with map[string]any) *cobra.Command {
	return &cobra.Command{Use: verb + " USERNAME...", Short: short, Args: atLeast("a user name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachPerson(cmd, f, args, done, func(ctx context.Context, c *peopleClient, id string) error {
				in := map[string]any{"UserId": id}
				for k, v := range with {
					in[k] = v
				}
				return c.directory(ctx, operation, in, nil)
			})
		}}
}

func newPersonDeleteCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "delete USERNAME...", Short: "Delete people; disable keeps what they made", Args: atLeast("a user name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachPerson(cmd, f, args, "deleted", func(ctx context.Context, c *peopleClient, id string) error {
				return c.identityStore(ctx, "DeleteUser", map[string]any{"UserId": id}, nil)
			})
		}}
}

func eachPerson(cmd *cobra.Command, f *awsFlags, names []string, done string, do func(ctx context.Context, c *peopleClient, id string) error) error {
	ctx := cmd.Context()
	c, err := f.people(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		id, err := c.personID(ctx, name)
		if err != nil {
			return err
		}
		if err := do(ctx, c, id); err != nil {
			return err
		}
		if err := f.done(cmd, map[string]string{"UserName": name, "UserId": id}, "person %s %s", name, done); err != nil {
			return err
		}
	}
	return nil
}

func newPersonTokenCmd(f *awsFlags) *cobra.Command {
	type token struct {
		TokenID   string `json:"TokenId"`
		CreatedAt float64
		ExpiresAt float64
		UsedAt    float64 `json:",omitempty"`
	}
	create := &cobra.Command{Use: "create", Short: "Make a bearer token for SCIM; it is shown this once", RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := f.people(cmd.Context())
		if err != nil {
			return err
		}
		var out struct {
			BearerToken string
			token
		}
		if err := c.directory(cmd.Context(), "CreateBearerToken", map[string]any{}, &out); err != nil {
			return err
		}
		return f.show(cmd, out, func(t *table) { t.text(out.BearerToken) })
	}}
	list := &cobra.Command{Use: "list", Short: "List bearer tokens", RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := f.people(cmd.Context())
		if err != nil {
			return err
		}
		var out struct{ BearerTokens []token }
		if err := c.directory(cmd.Context(), "ListBearerTokens", map[string]any{}, &out); err != nil {
			return err
		}
		return f.show(cmd, out, func(t *table) {
			t.row("TOKEN", "CREATED", "EXPIRES", "LAST USED")
			for _, k := range out.BearerTokens {
				used := ""
				if k.UsedAt != 0 {
					used = day(time.UnixMilli(int64(k.UsedAt * 1000)))
				}
				t.row(k.TokenID, day(time.UnixMilli(int64(k.CreatedAt*1000))), day(time.UnixMilli(int64(k.ExpiresAt*1000))), used)
			}
		})
	}}
	remove := &cobra.Command{Use: "delete TOKEN", Short: "End a bearer token", Args: exactly("a token's id"), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := f.people(cmd.Context())
		if err != nil {
			return err
		}
		if err := c.directory(cmd.Context(), "DeleteBearerToken", map[string]any{"TokenId": args[0]}, nil); err != nil {
			return err
		}
		return f.done(cmd, map[string]string{"TokenId": args[0]}, "token %s deleted", args[0])
	}}
	return group("token", "Manage tokens with which a provider outside keeps people here (SCIM)",
		"The provider writes to /scim/v2 on the address of the dashboards.", nil, create, list, remove)
}
