package ssoapi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mangru/mangru/internal/people/directory"
)

// equalPath compares attribute paths, whose case clients do not agree on.
func equalPath(path, want string) bool { return strings.EqualFold(path, want) }

type createGroupInput struct {
	inStore
	DisplayName, Description string
}

type groupRef struct {
	IdentityStoreID string `json:"IdentityStoreId"`
	GroupID         string `json:"GroupId"`
}

func createGroup(ctx context.Context, c *call, in *createGroupInput) (any, error) {
	g, err := c.dir.CreateGroup(ctx, c.by, directory.Group{StoreID: c.store.ID, DisplayName: in.DisplayName, Description: in.Description})
	return groupRef{c.store.ID, g.ID}, err
}

type groupOutput struct {
	IdentityStoreID string `json:"IdentityStoreId"`
	GroupID         string `json:"GroupId"`
	DisplayName     string
	Description     string                 `json:",omitempty"`
	ExternalIDs     []directory.ExternalID `json:"ExternalIds,omitempty"`
	CreatedAt       json.RawMessage
	CreatedBy       string
	UpdatedAt       json.RawMessage
	UpdatedBy       string
}

func groupOf(g directory.Group) groupOutput {
	return groupOutput{IdentityStoreID: g.StoreID, GroupID: g.ID, DisplayName: g.DisplayName, Description: g.Description, ExternalIDs: g.ExternalIDs,
		CreatedAt: seconds(g.Created), CreatedBy: g.CreatedBy, UpdatedAt: seconds(g.Updated), UpdatedBy: g.UpdatedBy}
}

func describeGroup(ctx context.Context, c *call, in *groupInput) (any, error) {
	g, err := c.dir.Group(ctx, c.store.ID, in.GroupID)
	return groupOf(g), err
}

type updateGroupInput struct {
	groupInput
	operations
}

func updateGroup(ctx context.Context, c *call, in *updateGroupInput) (any, error) {
	changes, err := in.changes()
	if err != nil {
		return nil, err
	}
	var up directory.GroupUpdate
	for _, ch := range changes {
		var text string
		if len(ch.Value) > 0 {
			if err := json.Unmarshal(ch.Value, &text); err != nil {
				return nil, &directory.InvalidError{Field: "AttributeValue", Message: "is not a text"}
			}
		}
		switch {
		case equalPath(ch.Path, "displayName"):
			up.DisplayName = &text
		case equalPath(ch.Path, "description"):
			up.Description = &text
		default:
			return nil, &directory.InvalidError{Field: "AttributePath", Message: fmt.Sprintf("found %.80q, allowed are displayName and description", ch.Path)}
		}
	}
	_, err = c.dir.UpdateGroup(ctx, c.by, c.store.ID, in.GroupID, up)
	return nil, err
}

func deleteGroup(ctx context.Context, c *call, in *groupInput) (any, error) {
	return nil, c.dir.DeleteGroup(ctx, c.store.ID, in.GroupID)
}

type listGroupsInput struct {
	inStore
	listInput
	filters
}

func listGroups(ctx context.Context, c *call, in *listGroupsInput) (any, error) {
	p, err := in.page()
	if err != nil {
		return nil, err
	}
	path, value, err := in.filter()
	if err != nil {
		return nil, err
	}
	if path != "" && !equalPath(path, "displayName") {
		return nil, &directory.InvalidError{Field: "Filters", Message: fmt.Sprintf("found %.80q, allowed is DisplayName", path)}
	}
	groups, next, err := c.dir.Groups(ctx, c.store.ID, directory.GroupFilter{DisplayName: value}, p)
	out := struct {
		Groups    []groupOutput
		NextToken string `json:",omitempty"`
	}{make([]groupOutput, len(groups)), next}
	for i, g := range groups {
		out.Groups[i] = groupOf(g)
	}
	return out, err
}

func getGroupID(ctx context.Context, c *call, in *getUserIDInput) (any, error) {
	external, path, value, err := in.unique()
	if err != nil {
		return nil, err
	}
	var g directory.Group
	switch {
	case external != nil:
		g, err = c.dir.GroupByExternalID(ctx, c.store.ID, *external)
	case equalPath(path, "displayName"):
		g, err = c.dir.GroupByName(ctx, c.store.ID, value)
	default:
		err = &directory.InvalidError{Field: "AttributePath", Message: fmt.Sprintf("found %.80q, allowed is displayName", path)}
	}
	return groupRef{c.store.ID, g.ID}, err
}

type membershipRef struct {
	IdentityStoreID string `json:"IdentityStoreId"`
	MembershipID    string `json:"MembershipId"`
}

func createMembership(ctx context.Context, c *call, in *memberInput) (any, error) {
	m, err := c.dir.AddMember(ctx, c.by, c.store.ID, in.GroupID, in.MemberID.UserID)
	return membershipRef{c.store.ID, m.ID}, err
}

func getMembershipID(ctx context.Context, c *call, in *memberInput) (any, error) {
	m, err := c.dir.MembershipOf(ctx, c.store.ID, in.GroupID, in.MemberID.UserID)
	return membershipRef{c.store.ID, m.ID}, err
}

type membershipOutput struct {
	IdentityStoreID string   `json:"IdentityStoreId"`
	MembershipID    string   `json:"MembershipId"`
	GroupID         string   `json:"GroupId"`
	MemberID        memberID `json:"MemberId"`
	CreatedAt       json.RawMessage
	CreatedBy       string
	UpdatedAt       json.RawMessage
	UpdatedBy       string
}

func membershipOf(m directory.Membership) membershipOutput {
	return membershipOutput{IdentityStoreID: m.StoreID, MembershipID: m.ID, GroupID: m.GroupID, MemberID: memberID{m.UserID},
		CreatedAt: seconds(m.Created), CreatedBy: m.CreatedBy, UpdatedAt: seconds(m.Created), UpdatedBy: m.CreatedBy}
}

func describeMembership(ctx context.Context, c *call, in *membershipInput) (any, error) {
	m, err := c.dir.Membership(ctx, c.store.ID, in.MembershipID)
	return membershipOf(m), err
}

func deleteMembership(ctx context.Context, c *call, in *membershipInput) (any, error) {
	return nil, c.dir.RemoveMember(ctx, c.store.ID, in.MembershipID)
}

type listMembershipsInput struct {
	groupInput
	listInput
}

func listMemberships(ctx context.Context, c *call, in *listMembershipsInput) (any, error) {
	if _, err := c.dir.Group(ctx, c.store.ID, in.GroupID); err != nil {
		return nil, err
	}
	return members(ctx, c, in.GroupID, "", &in.listInput)
}

// listForMemberInput is about a user.
type listForMemberInput struct {
	inStore
	listInput
	MemberID memberID `json:"MemberId"`
}

func (in *listForMemberInput) subject() subject {
	return subject{in.IdentityStoreID, directory.KindUser, in.MemberID.UserID}
}

func listMembershipsForMember(ctx context.Context, c *call, in *listForMemberInput) (any, error) {
	if _, err := c.dir.User(ctx, c.store.ID, in.MemberID.UserID); err != nil {
		return nil, err
	}
	return members(ctx, c, "", in.MemberID.UserID, &in.listInput)
}

func members(ctx context.Context, c *call, group, user string, in *listInput) (any, error) {
	p, err := in.page()
	if err != nil {
		return nil, err
	}
	list, next, err := c.dir.Members(ctx, c.store.ID, group, user, p)
	out := struct {
		GroupMemberships []membershipOutput
		NextToken        string `json:",omitempty"`
	}{make([]membershipOutput, len(list)), next}
	for i, m := range list {
		out.GroupMemberships[i] = membershipOf(m)
	}
	return out, err
}

type isMemberInput struct {
	inStore
	MemberID memberID `json:"MemberId"`
	GroupIDs []string `json:"GroupIds"`
}

func (in *isMemberInput) subject() subject {
	return subject{in.IdentityStoreID, directory.KindUser, in.MemberID.UserID}
}

func isMember(ctx context.Context, c *call, in *isMemberInput) (any, error) {
	const most = 100
	if len(in.GroupIDs) == 0 || len(in.GroupIDs) > most {
		return nil, &directory.InvalidError{Field: "GroupIds", Message: fmt.Sprintf("has %d entries, allowed are 1 to %d", len(in.GroupIDs), most)}
	}
	if _, err := c.dir.User(ctx, c.store.ID, in.MemberID.UserID); err != nil {
		return nil, err
	}
	mine, err := c.dir.GroupsOf(ctx, in.MemberID.UserID)
	if err != nil {
		return nil, err
	}
	type result struct {
		GroupID          string   `json:"GroupId"`
		MemberID         memberID `json:"MemberId"`
		MembershipExists bool
	}
	out := struct{ Results []result }{make([]result, len(in.GroupIDs))}
	for i, id := range in.GroupIDs {
		out.Results[i] = result{id, in.MemberID, slices.Contains(mine, id)}
	}
	return out, nil
}
