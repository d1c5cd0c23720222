package ssoapi

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/identitystore"
	"github.com/aws/aws-sdk-go-v2/service/identitystore/document"
	"github.com/aws/aws-sdk-go-v2/service/identitystore/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/server/api"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"))
}

const (
	region = "us-east-1"
	other  = "111111111111"
)

// world is the services behind the real edge.
type world struct {
	t        *testing.T
	identity *iam.Service
	dir      *directory.Directory
	store    directory.Store
	url      string
	admin    iam.AccessKey
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, tmp := t.Context(), t.TempDir()
	records, err := db.Open(ctx, filepath.Join(tmp, "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, records.Close()) })
	w := &world{t: t, dir: directory.New(directory.Config{}, records)}
	w.identity, err = iam.Open(ctx, records, iam.Config{KeyFile: filepath.Join(tmp, "secret.key")})
	require.NoError(t, err)
	w.admin, _, err = w.identity.Bootstrap(ctx)
	require.NoError(t, err)
	w.store, err = w.dir.Store(ctx, iam.DefaultAccount)
	require.NoError(t, err)
	var services []api.Service
	for _, make := range []func(*directory.Directory) (api.Service, error){NewIdentityStore, NewSSO, NewDirectory} {
		s, err := make(w.dir)
		require.NoError(t, err)
		services = append(services, s)
	}
	v, err := sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{region}}, api.Keys(w.identity))
	require.NoError(t, err)
	router, err := api.NewRouter(api.Config{Verifier: v, Authorizer: w.identity, Services: services}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// client is the real SDK with a key.
func (w *world) client(k iam.AccessKey) *identitystore.Client {
	return identitystore.New(identitystore.Options{Region: region, BaseEndpoint: &w.url, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, "")})
}

func (w *world) key(account, name, policy string) iam.AccessKey {
	w.t.Helper()
	ctx := w.t.Context()
	_, err := w.identity.CreateUser(ctx, account, name)
	require.NoError(w.t, err)
	if policy != "" {
		require.NoError(w.t, w.identity.PutInlinePolicy(ctx, iam.Ref{Account: account, Kind: iam.KindUser, Name: name}, "p", policy))
	}
	k, err := w.identity.CreateAccessKey(ctx, account, name)
	require.NoError(w.t, err)
	return k
}

func newUser(store, name, email string) *identitystore.CreateUserInput {
	return &identitystore.CreateUserInput{IdentityStoreId: &store, UserName: &name, DisplayName: aws.String("Ann " + name),
		Name:   &types.Name{GivenName: aws.String("Ann"), FamilyName: aws.String("Lee")},
		Emails: []types.Email{{Value: &email, Type: aws.String("work"), Primary: true}}}
}

func TestUsersBySDK(t *testing.T) {
	w := newWorld(t)
	ctx, c, store := t.Context(), w.client(w.admin), &w.store.ID
	made, err := c.CreateUser(ctx, newUser(*store, "ann", "ann@example.com"))
	require.NoError(t, err)

	got, err := c.DescribeUser(ctx, &identitystore.DescribeUserInput{IdentityStoreId: store, UserId: made.UserId})
	require.NoError(t, err)
	require.Equal(t, "ann", *got.UserName)
	require.Equal(t, "ann@example.com", *got.Emails[0].Value)
	require.Equal(t, types.UserStatusEnabled, got.UserStatus)
	require.False(t, got.CreatedAt.IsZero())

	// Names and addresses are unique, whatever their case.
	var conflict *types.ConflictException
	_, err = c.CreateUser(ctx, newUser(*store, "ANN", "else@example.com"))
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, types.ConflictExceptionReasonUniquenessConstraintViolation, conflict.Reason)
	_, err = c.CreateUser(ctx, newUser(*store, "bob", "Ann@Example.com"))
	require.ErrorAs(t, err, &conflict)

	var bad *types.ValidationException
	for name, in := range map[string]*identitystore.CreateUserInput{
		"reserved": newUser(*store, "Administrator", "a@example.com"), "space": newUser(*store, "a b", "a@example.com"),
		"header": newUser(*store, "x", "a@example.com\r\nBcc: b@example.com"), "no address": newUser(*store, "x", "nobody"),
		"no name": {IdentityStoreId: store, UserName: aws.String("x"), DisplayName: aws.String("x")},
	} {
		_, err = c.CreateUser(ctx, in)
		require.ErrorAs(t, err, &bad, name)
	}

	_, err = c.UpdateUser(ctx, &identitystore.UpdateUserInput{IdentityStoreId: store, UserId: made.UserId, Operations: []types.AttributeOperation{
		{AttributePath: aws.String("displayName"), AttributeValue: document.NewLazyDocument("Ann K.")},
		{AttributePath: aws.String("name.familyName"), AttributeValue: document.NewLazyDocument("Kim")},
		{AttributePath: aws.String("title"), AttributeValue: document.NewLazyDocument("Engineer")},
	}})
	require.NoError(t, err)
	got, err = c.DescribeUser(ctx, &identitystore.DescribeUserInput{IdentityStoreId: store, UserId: made.UserId})
	require.NoError(t, err)
	require.Equal(t, []string{"Ann K.", "Kim", "Ann", "Engineer"}, []string{*got.DisplayName, *got.Name.FamilyName, *got.Name.GivenName, *got.Title})
	_, err = c.UpdateUser(ctx, &identitystore.UpdateUserInput{IdentityStoreId: store, UserId: made.UserId, Operations: []types.AttributeOperation{
		{AttributePath: aws.String("administrator"), AttributeValue: document.NewLazyDocument(true)}}})
	require.ErrorAs(t, err, &bad)

	id, err := c.GetUserId(ctx, &identitystore.GetUserIdInput{IdentityStoreId: store, AlternateIdentifier: &types.AlternateIdentifierMemberUniqueAttribute{
		Value: types.UniqueAttribute{AttributePath: aws.String("emails.value"), AttributeValue: document.NewLazyDocument("ANN@example.com")}}})
	require.NoError(t, err)
	require.Equal(t, *made.UserId, *id.UserId)

	_, err = c.DeleteUser(ctx, &identitystore.DeleteUserInput{IdentityStoreId: store, UserId: made.UserId})
	require.NoError(t, err)
	var missing *types.ResourceNotFoundException
	_, err = c.DescribeUser(ctx, &identitystore.DescribeUserInput{IdentityStoreId: store, UserId: made.UserId})
	require.ErrorAs(t, err, &missing)
	require.Equal(t, types.ResourceTypeUser, missing.ResourceType)
}

func TestPagesBySDK(t *testing.T) {
	w := newWorld(t)
	ctx, c, store := t.Context(), w.client(w.admin), &w.store.ID
	for _, name := range []string{"e", "c", "a", "d", "b"} {
		_, err := c.CreateUser(ctx, newUser(*store, name, name+"@example.com"))
		require.NoError(t, err)
	}
	var names []string
	pages := identitystore.NewListUsersPaginator(c, &identitystore.ListUsersInput{IdentityStoreId: store, MaxResults: aws.Int32(2)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		require.NoError(t, err)
		require.LessOrEqual(t, len(p.Users), 2)
		for _, u := range p.Users {
			names = append(names, *u.UserName)
		}
	}
	require.Equal(t, []string{"a", "b", "c", "d", "e"}, names)
	_, err := c.ListUsers(ctx, &identitystore.ListUsersInput{IdentityStoreId: store, NextToken: aws.String("???")})
	require.ErrorContains(t, err, "ValidationException")
}

func TestGroupsBySDK(t *testing.T) {
	w := newWorld(t)
	ctx, c, store := t.Context(), w.client(w.admin), &w.store.ID
	u, err := c.CreateUser(ctx, newUser(*store, "ann", "ann@example.com"))
	require.NoError(t, err)
	g, err := c.CreateGroup(ctx, &identitystore.CreateGroupInput{IdentityStoreId: store, DisplayName: aws.String("SRE 팀")})
	require.NoError(t, err)
	member := &types.MemberIdMemberUserId{Value: *u.UserId}
	in := &identitystore.CreateGroupMembershipInput{IdentityStoreId: store, GroupId: g.GroupId, MemberId: member}
	m, err := c.CreateGroupMembership(ctx, in)
	require.NoError(t, err)
	_, err = c.CreateGroupMembership(ctx, in)
	var conflict *types.ConflictException
	require.ErrorAs(t, err, &conflict)
	is, err := c.IsMemberInGroups(ctx, &identitystore.IsMemberInGroupsInput{IdentityStoreId: store, MemberId: member, GroupIds: []string{*g.GroupId, w.store.ID}})
	require.NoError(t, err)
	require.True(t, is.Results[0].MembershipExists)
	require.False(t, is.Results[1].MembershipExists)
	mine, err := c.ListGroupMembershipsForMember(ctx, &identitystore.ListGroupMembershipsForMemberInput{IdentityStoreId: store, MemberId: member})
	require.NoError(t, err)
	require.Equal(t, *m.MembershipId, *mine.GroupMemberships[0].MembershipId)
	found, err := c.GetGroupId(ctx, &identitystore.GetGroupIdInput{IdentityStoreId: store, AlternateIdentifier: &types.AlternateIdentifierMemberUniqueAttribute{
		Value: types.UniqueAttribute{AttributePath: aws.String("displayName"), AttributeValue: document.NewLazyDocument("sre 팀")}}})
	require.NoError(t, err)
	require.Equal(t, *g.GroupId, *found.GroupId)
	// A user that goes is in no group any more.
	_, err = c.DeleteUser(ctx, &identitystore.DeleteUserInput{IdentityStoreId: store, UserId: u.UserId})
	require.NoError(t, err)
	list, err := c.ListGroupMemberships(ctx, &identitystore.ListGroupMembershipsInput{IdentityStoreId: store, GroupId: g.GroupId})
	require.NoError(t, err)
	require.Empty(t, list.GroupMemberships)
}

func TestPermissions(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	admin := w.client(w.admin)
	u, err := admin.CreateUser(ctx, newUser(w.store.ID, "ann", "ann@example.com"))
	require.NoError(t, err)
	describe := &identitystore.DescribeUserInput{IdentityStoreId: &w.store.ID, UserId: u.UserId}
	var denied *types.AccessDeniedException

	_, err = w.client(w.key(iam.DefaultAccount, "nobody", "")).DescribeUser(ctx, describe)
	require.ErrorAs(t, err, &denied)

	one := w.client(w.key(iam.DefaultAccount, "one", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"identitystore:DescribeUser","Resource":"arn:aws:identitystore:::user/`+*u.UserId+`"}]}`))
	_, err = one.DescribeUser(ctx, describe)
	require.NoError(t, err)
	_, err = one.DeleteUser(ctx, &identitystore.DeleteUserInput{IdentityStoreId: &w.store.ID, UserId: u.UserId})
	require.ErrorAs(t, err, &denied)

	// An administrator of another account has a store of their own, and no way
	// to this one.
	require.NoError(t, w.identity.CreateAccount(ctx, other, "others"))
	stranger := w.client(w.key(other, "boss", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`))
	_, err = stranger.DescribeUser(ctx, describe)
	require.ErrorAs(t, err, &denied)
	theirs, err := w.dir.Store(ctx, other)
	require.NoError(t, err)
	require.NotEqual(t, w.store.ID, theirs.ID)
	_, err = stranger.DescribeUser(ctx, &identitystore.DescribeUserInput{IdentityStoreId: &theirs.ID, UserId: u.UserId})
	var missing *types.ResourceNotFoundException
	require.ErrorAs(t, err, &missing)
}

// What a script does with the real AWS CLI.
func TestCLI(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("needs the AWS CLI")
	}
	w := newWorld(t)
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	env = append(env, "HOME="+t.TempDir(), "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_DEFAULT_REGION="+region,
		"AWS_ACCESS_KEY_ID="+w.admin.ID, "AWS_SECRET_ACCESS_KEY="+w.admin.Secret)
	run := func(args ...string) map[string]any {
		t.Helper()
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "aws", append([]string{"--endpoint-url", w.url, "--output", "json"}, args...)...)
		var out, complaint bytes.Buffer
		cmd.Stdout, cmd.Stderr, cmd.Env = &out, &complaint, env
		require.NoError(t, cmd.Run(), "%v: %s", args, complaint.String())
		answer := make(map[string]any)
		if out.Len() > 0 {
			require.NoError(t, json.Unmarshal(out.Bytes(), &answer))
		}
		return answer
	}
	instances := run("sso-admin", "list-instances")["Instances"].([]any)
	store := instances[0].(map[string]any)["IdentityStoreId"].(string)
	require.Equal(t, w.store.ID, store)
	u := run("identitystore", "create-user", "--identity-store-id", store, "--user-name", "ann", "--display-name", "Ann Lee",
		"--name", "GivenName=Ann,FamilyName=Lee", "--emails", "Value=ann@example.com,Type=work,Primary=true")["UserId"].(string)
	id := run("identitystore", "get-user-id", "--identity-store-id", store, "--alternate-identifier",
		`{"UniqueAttribute":{"AttributePath":"userName","AttributeValue":"ann"}}`)["UserId"]
	require.Equal(t, u, id)
	run("identitystore", "update-user", "--identity-store-id", store, "--user-id", u, "--operations", `[{"AttributePath":"emails","AttributeValue":[{"value":"new@example.com","type":"work","primary":true}]}]`)
	got := run("identitystore", "describe-user", "--identity-store-id", store, "--user-id", u)
	require.Equal(t, "new@example.com", got["Emails"].([]any)[0].(map[string]any)["Value"])
	g := run("identitystore", "create-group", "--identity-store-id", store, "--display-name", "SRE", "--description", "on call")["GroupId"].(string)
	run("identitystore", "create-group-membership", "--identity-store-id", store, "--group-id", g, "--member-id", "UserId="+u)
	require.Len(t, run("identitystore", "list-group-memberships", "--identity-store-id", store, "--group-id", g)["GroupMemberships"], 1)
	require.Len(t, run("identitystore", "list-users", "--identity-store-id", store, "--filters", "AttributePath=UserName,AttributeValue=ann")["Users"], 1)
}
