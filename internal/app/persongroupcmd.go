package app

import (
	"context"

	"github.com/spf13/cobra"
)

func newPersonGroupCmd(f *awsFlags) *cobra.Command {
	return group("group", "Manage groups of people",
		"They are not groups of IAM users (mangru group).", nil,
		newPersonGroupCreateCmd(f), newPersonGroupListCmd(f), newPersonGroupMembersCmd(f), newPersonGroupDeleteCmd(f),
		personGroupMemberCmd(f, "add", "Put people into a group", "added to", (*peopleClient).addMember),
		personGroupMemberCmd(f, "remove", "Take people out of a group", "removed from", (*peopleClient).removeMember))
}

// personGroup is a group as the Identity Store describes it.
type personGroup struct {
	GroupID     string `json:"GroupId"`
	DisplayName string
	Description string `json:",omitempty"`
}

func (c *peopleClient) createGroup(ctx context.Context, name, description string) (string, error) {
	in := map[string]any{"DisplayName": name}
	if description != "" {
		in["Description"] = description
	}
	var out personGroup
	err := c.identityStore(ctx, "CreateGroup", in, &out)
	return out.GroupID, err
}

func (c *peopleClient) addMember(ctx context.Context, group, person string) error {
	err := c.identityStore(ctx, "CreateGroupMembership", map[string]any{"GroupId": group, "MemberId": map[string]any{"UserId": person}}, nil)
	if isCode(err, "ConflictException") {
		return nil // is in it
	}
	return err
}

func (c *peopleClient) removeMember(ctx context.Context, group, person string) error {
	var m struct {
		MembershipID string `json:"MembershipId"`
	}
	err := c.identityStore(ctx, "GetGroupMembershipId", map[string]any{"GroupId": group, "MemberId": map[string]any{"UserId": person}}, &m)
	if isCode(err, "ResourceNotFoundException") {
		return nil // is not in it
	}
	if err != nil {
		return err
	}
	return c.identityStore(ctx, "DeleteGroupMembership", map[string]any{"MembershipId": m.MembershipID}, nil)
}

func newPersonGroupCreateCmd(f *awsFlags) *cobra.Command {
	var description string
	c := &cobra.Command{Use: "create NAME", Short: "Make a group", Args: exactly("a name"), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := f.people(cmd.Context())
		if err != nil {
			return err
		}
		id, err := c.createGroup(cmd.Context(), args[0], description)
		if err != nil {
			return err
		}
		return f.done(cmd, map[string]string{"GroupId": id, "IdentityStoreId": c.storeID}, "group %s created (%s)", args[0], id)
	}}
	c.Flags().StringVar(&description, "description", "", "what the group is for")
	return c
}

func newPersonGroupListCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List groups", RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := f.people(cmd.Context())
		if err != nil {
			return err
		}
		out := struct{ Groups []personGroup }{[]personGroup{}}
		type page struct {
			Groups    []personGroup
			NextToken string
		}
		err = listAll(cmd.Context(), c, "ListGroups", map[string]any{}, func(p *page) string {
			out.Groups = append(out.Groups, p.Groups...)
			return p.NextToken
		})
		if err != nil {
			return err
		}
		return f.show(cmd, out, func(t *table) {
			t.row("GROUP", "DESCRIPTION", "ID")
			for _, g := range out.Groups {
				t.row(g.DisplayName, g.Description, g.GroupID)
			}
		})
	}}
}

func newPersonGroupMembersCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "members GROUP", Short: "List the people in a group", Args: exactly("a group"), RunE: func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := f.people(ctx)
		if err != nil {
			return err
		}
		id, err := c.groupID(ctx, args[0])
		if err != nil {
			return err
		}
		type page struct {
			GroupMemberships []struct {
				MemberID struct {
					UserID string `json:"UserId"`
				} `json:"MemberId"`
			}
			NextToken string
		}
		var ids []string
		err = listAll(ctx, c, "ListGroupMemberships", map[string]any{"GroupId": id}, func(p *page) string {
			for _, m := range p.GroupMemberships {
				ids = append(ids, m.MemberID.UserID)
			}
			return p.NextToken
		})
		if err != nil {
			return err
		}
		out := struct{ Users []person }{make([]person, len(ids))}
		for i, id := range ids {
			if err := c.identityStore(ctx, "DescribeUser", map[string]any{"UserId": id}, &out.Users[i]); err != nil {
				return err
			}
		}
		return f.show(cmd, out, func(t *table) {
			t.row("USERNAME", "NAME", "E-MAIL")
			for i := range out.Users {
				t.row(out.Users[i].UserName, out.Users[i].DisplayName, out.Users[i].email())
			}
		})
	}}
}

func newPersonGroupDeleteCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "delete GROUP", Short: "Delete a group; its people stay", Args: exactly("a group"), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := f.people(cmd.Context())
		if err != nil {
			return err
		}
		id, err := c.groupID(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if err := c.identityStore(cmd.Context(), "DeleteGroup", map[string]any{"GroupId": id}, nil); err != nil {
			return err
		}
		return f.done(cmd, map[string]string{"GroupId": id}, "group %s deleted", args[0])
	}}
}

func personGroupMemberCmd(f *awsFlags, verb, short, done string, do func(c *peopleClient, ctx context.Context, group, person string) error) *cobra.Command {
	return &cobra.Command{Use: verb + " GROUP USERNAME...", Short: short, Args: atLeast("a group", "a user name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.people(cmd.Context())
			if err != nil {
				return err
			}
			id, err := c.groupID(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return eachPerson(cmd, f, args[1:], done+" group "+args[0], func(ctx context.Context, c *peopleClient, person string) error {
				return do(c, ctx, id, person)
			})
		}}
}
