package ssoapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/server/api"
)

// NewIdentityStore returns the operations of the Identity Store.
func NewIdentityStore(dir *directory.Directory) (api.Service, error) {
	if dir == nil {
		return api.Service{}, errors.New("ssoapi: a directory is required")
	}
	h := &handlers{dir}
	const s = ServiceIdentityStore
	return api.Service{Name: s, Protocol: api.JSON11, TargetPrefix: TargetIdentityStore, Hosts: []string{s}, Routes: []api.Route{
		route(h, s, "CreateUser", createUser),
		route(h, s, "DescribeUser", describeUser),
		route(h, s, "UpdateUser", updateUser),
		route(h, s, "DeleteUser", deleteUser),
		route(h, s, "ListUsers", listUsers),
		route(h, s, "GetUserId", getUserID),
		route(h, s, "CreateGroup", createGroup),
		route(h, s, "DescribeGroup", describeGroup),
		route(h, s, "UpdateGroup", updateGroup),
		route(h, s, "DeleteGroup", deleteGroup),
		route(h, s, "ListGroups", listGroups),
		route(h, s, "GetGroupId", getGroupID),
		route(h, s, "CreateGroupMembership", createMembership),
		route(h, s, "DescribeGroupMembership", describeMembership),
		route(h, s, "DeleteGroupMembership", deleteMembership),
		route(h, s, "ListGroupMemberships", listMemberships),
		route(h, s, "ListGroupMembershipsForMember", listMembershipsForMember),
		route(h, s, "GetGroupMembershipId", getMembershipID),
		route(h, s, "IsMemberInGroups", isMember),
	}}, nil
}

// Inputs that name one record.
type (
	userInput struct {
		inStore
		UserID string `json:"UserId"`
	}
	groupInput struct {
		inStore
		GroupID string `json:"GroupId"`
	}
	membershipInput struct {
		inStore
		MembershipID string `json:"MembershipId"`
	}
	memberID struct {
		UserID string `json:"UserId"`
	}
	memberInput struct {
		groupInput
		MemberID memberID `json:"MemberId"`
	}
)

func (in *userInput) subject() subject {
	return subject{in.IdentityStoreID, directory.KindUser, in.UserID}
}

func (in *groupInput) subject() subject {
	return subject{in.IdentityStoreID, directory.KindGroup, in.GroupID}
}

func (in *membershipInput) subject() subject {
	return subject{in.IdentityStoreID, directory.KindMembership, in.MembershipID}
}

// listInput is part of inputs of lists.
type listInput struct {
	MaxResults *int
	NextToken  string
}

func (in *listInput) page() (directory.Page, error) {
	p := directory.Page{After: in.NextToken}
	if in.MaxResults != nil {
		if *in.MaxResults == 0 {
			return p, &directory.InvalidError{Field: "MaxResults", Message: "found 0, allowed are 1 to 100"}
		}
		p.Max = *in.MaxResults
	}
	return p, nil
}

// alternateIdentifier finds a record by something else than its id.
type alternateIdentifier struct {
	AlternateIdentifier *struct {
		ExternalID      *directory.ExternalID `json:"ExternalId"`
		UniqueAttribute *struct {
			AttributePath  string
			AttributeValue json.RawMessage
		}
	}
}

// unique returns the external id, or the path and text of the attribute.
func (in *alternateIdentifier) unique() (*directory.ExternalID, string, string, error) {
	a := in.AlternateIdentifier
	bad := &directory.InvalidError{Field: "AlternateIdentifier", Message: "give one of ExternalId and UniqueAttribute"}
	switch {
	case a == nil || (a.ExternalID == nil) == (a.UniqueAttribute == nil):
		return nil, "", "", bad
	case a.ExternalID != nil:
		return a.ExternalID, "", "", nil
	}
	var text string
	if err := json.Unmarshal(a.UniqueAttribute.AttributeValue, &text); err != nil {
		return nil, "", "", &directory.InvalidError{Field: "AttributeValue", Message: "is not a text"}
	}
	return nil, a.UniqueAttribute.AttributePath, text, nil
}

// operations are the changes of UpdateUser and UpdateGroup.
type operations struct {
	Operations []struct {
		AttributePath  string
		AttributeValue json.RawMessage
	}
}

func (in *operations) changes() ([]directory.Change, error) {
	const most = 100
	if len(in.Operations) == 0 || len(in.Operations) > most {
		return nil, &directory.InvalidError{Field: "Operations", Message: fmt.Sprintf("has %d entries, allowed are 1 to %d", len(in.Operations), most)}
	}
	out := make([]directory.Change, len(in.Operations))
	for i, op := range in.Operations {
		out[i] = directory.Change{Path: op.AttributePath, Value: op.AttributeValue}
	}
	return out, nil
}

type createUserInput struct {
	inStore
	UserName string
	directory.Profile
}

// UnmarshalJSON reads the parts one by one: the profile is strict about what it
// does not know.
func (in *createUserInput) UnmarshalJSON(text []byte) error {
	all := make(map[string]json.RawMessage)
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	for name, to := range map[string]any{"IdentityStoreId": &in.IdentityStoreID, "UserName": &in.UserName} {
		if v, ok := all[name]; ok {
			if err := json.Unmarshal(v, to); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			delete(all, name)
		}
	}
	rest, err := json.Marshal(all)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(rest))
	dec.DisallowUnknownFields()
	return dec.Decode(&in.Profile)
}

type userRef struct {
	IdentityStoreID string `json:"IdentityStoreId"`
	UserID          string `json:"UserId"`
}

func createUser(ctx context.Context, c *call, in *createUserInput) (any, error) {
	// Identity Center demands these of a user, beyond the Identity Store.
	switch {
	case in.UserName == "":
		return nil, &directory.InvalidError{Field: "UserName", Message: "is required"}
	case in.DisplayName == "":
		return nil, &directory.InvalidError{Field: "DisplayName", Message: "is required"}
	case in.Name == nil || in.Name.GivenName == "" || in.Name.FamilyName == "":
		return nil, &directory.InvalidError{Field: "Name", Message: "GivenName and FamilyName are required"}
	}
	u, err := c.dir.CreateUser(ctx, c.by, directory.User{StoreID: c.store.ID, UserName: in.UserName, Profile: in.Profile})
	return userRef{c.store.ID, u.ID}, err
}

type userOutput struct {
	IdentityStoreID string `json:"IdentityStoreId"`
	UserID          string `json:"UserId"`
	UserName        string
	directory.Profile
	ExternalIDs []directory.ExternalID `json:"ExternalIds,omitempty"`
	UserStatus  string
	CreatedAt   json.RawMessage
	CreatedBy   string
	UpdatedAt   json.RawMessage
	UpdatedBy   string
}

func userOf(u directory.User) userOutput {
	status := "ENABLED"
	if u.Disabled {
		status = "DISABLED"
	}
	return userOutput{IdentityStoreID: u.StoreID, UserID: u.ID, UserName: u.UserName, Profile: u.Profile, ExternalIDs: u.ExternalIDs,
		UserStatus: status, CreatedAt: seconds(u.Created), CreatedBy: u.CreatedBy, UpdatedAt: seconds(u.Updated), UpdatedBy: u.UpdatedBy}
}

func describeUser(ctx context.Context, c *call, in *userInput) (any, error) {
	u, err := c.dir.User(ctx, c.store.ID, in.UserID)
	return userOf(u), err
}

type updateUserInput struct {
	userInput
	operations
}

func updateUser(ctx context.Context, c *call, in *updateUserInput) (any, error) {
	changes, err := in.changes()
	if err != nil {
		return nil, err
	}
	_, err = c.dir.UpdateUser(ctx, c.by, c.store.ID, in.UserID, directory.UserUpdate{
		Profile: func(p *directory.Profile) error { return p.Apply(changes) },
	})
	return nil, err
}

func deleteUser(ctx context.Context, c *call, in *userInput) (any, error) {
	return nil, c.dir.DeleteUser(ctx, c.store.ID, in.UserID)
}

type filters struct {
	Filters []struct{ AttributePath, AttributeValue string }
}

// filter returns the only filter that there may be.
func (f *filters) filter() (path, value string, err error) {
	switch len(f.Filters) {
	case 0:
		return "", "", nil
	case 1:
		if f.Filters[0].AttributeValue == "" {
			return "", "", &directory.InvalidError{Field: "Filters", Message: "AttributeValue is required"}
		}
		return f.Filters[0].AttributePath, f.Filters[0].AttributeValue, nil
	}
	return "", "", &directory.InvalidError{Field: "Filters", Message: fmt.Sprintf("has %d entries, allowed is 1", len(f.Filters))}
}

type listUsersInput struct {
	inStore
	listInput
	filters
}

func listUsers(ctx context.Context, c *call, in *listUsersInput) (any, error) {
	p, err := in.page()
	if err != nil {
		return nil, err
	}
	var f directory.UserFilter
	path, value, err := in.filter()
	switch {
	case err != nil:
		return nil, err
	case equalPath(path, "userName"):
		f.UserName = value
	case equalPath(path, "displayName"):
		f.DisplayName = value
	case equalPath(path, "emails.value"):
		f.Email = value
	case path != "":
		return nil, &directory.InvalidError{Field: "Filters", Message: fmt.Sprintf("found %.80q, allowed are UserName, DisplayName and Emails.Value", path)}
	}
	users, next, err := c.dir.Users(ctx, c.store.ID, f, p)
	out := struct {
		Users     []userOutput
		NextToken string `json:",omitempty"`
	}{make([]userOutput, len(users)), next}
	for i, u := range users {
		out.Users[i] = userOf(u)
	}
	return out, err
}

type getUserIDInput struct {
	inStore
	alternateIdentifier
}

func getUserID(ctx context.Context, c *call, in *getUserIDInput) (any, error) {
	external, path, value, err := in.unique()
	if err != nil {
		return nil, err
	}
	var u directory.User
	switch {
	case external != nil:
		u, err = c.dir.UserByExternalID(ctx, c.store.ID, *external)
	case equalPath(path, "userName"):
		u, err = c.dir.UserByName(ctx, c.store.ID, value)
	case equalPath(path, "emails.value"):
		u, err = c.dir.UserByEmail(ctx, c.store.ID, value)
	default:
		err = &directory.InvalidError{Field: "AttributePath", Message: fmt.Sprintf("found %.80q, allowed are userName and emails.value", path)}
	}
	return userRef{c.store.ID, u.ID}, err
}
