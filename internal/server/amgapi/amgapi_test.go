package amgapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	"github.com/aws/aws-sdk-go-v2/service/grafana"
	"github.com/aws/aws-sdk-go-v2/service/grafana/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/records"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/server/amgapi"
	"github.com/mangru/mangru/internal/server/api"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"))
}

const (
	region = "us-east-1"
	other  = "111111111111"
)

// world is the service behind the real edge.
type world struct {
	t        *testing.T
	identity *iam.Service
	dir      *directory.Directory
	store    directory.Store
	boards   *records.Store
	spaces   *workspaces.Service
	url      string
	admin    iam.AccessKey
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, tmp := t.Context(), t.TempDir()
	database, err := db.Open(ctx, filepath.Join(tmp, "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, database.Close()) })
	w := &world{t: t, dir: directory.New(directory.Config{}, database)}
	w.identity, err = iam.Open(ctx, database, iam.Config{KeyFile: filepath.Join(tmp, "secret.key")})
	require.NoError(t, err)
	w.admin, _, err = w.identity.Bootstrap(ctx)
	require.NoError(t, err)
	w.store, err = w.dir.Store(ctx, iam.DefaultAccount)
	require.NoError(t, err)
	w.boards, err = records.New(database, make([]byte, 32), nil)
	require.NoError(t, err)
	w.spaces, err = workspaces.New(workspaces.Config{Region: region, Directory: w.dir, Purge: w.boards.Purge, MaxWorkspaces: 6}, database)
	require.NoError(t, err)
	_, err = w.spaces.EnsureDefault(ctx, iam.DefaultAccount)
	require.NoError(t, err)
	s, err := amgapi.New(amgapi.Config{Region: region, Workspaces: w.spaces, Accounts: w.boards, Roles: w.identity,
		Endpoint: func(x *workspaces.Workspace) string { return "mangru.example/w/" + x.ID }})
	require.NoError(t, err)
	v, err := sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{region}}, api.Keys(w.identity))
	require.NoError(t, err)
	router, err := api.NewRouter(api.Config{Verifier: v, Authorizer: w.identity, Services: []api.Service{s}}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// client is the real SDK with a key.
func (w *world) client(k iam.AccessKey) *grafana.Client {
	return grafana.New(grafana.Options{Region: region, BaseEndpoint: &w.url, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, "")})
}

func (w *world) key(account, name, policy string) iam.AccessKey {
	w.t.Helper()
	ctx := w.t.Context()
	_, err := w.identity.CreateUser(ctx, account, name)
	require.NoError(w.t, err)
	if policy != "" {
		require.NoError(w.t, w.identity.PutInlinePolicy(ctx, iam.UserRef(account, name), "p", policy))
	}
	k, err := w.identity.CreateAccessKey(ctx, account, name)
	require.NoError(w.t, err)
	return k
}

func (w *world) person(name string) directory.User {
	w.t.Helper()
	u := directory.User{StoreID: w.store.ID, UserName: name}
	u.Profile.DisplayName = name
	u, err := w.dir.CreateUser(w.t.Context(), "test", u)
	require.NoError(w.t, err)
	return u
}

func create(name string) *grafana.CreateWorkspaceInput {
	return &grafana.CreateWorkspaceInput{AccountAccessType: types.AccountAccessTypeCurrentAccount, PermissionType: types.PermissionTypeServiceManaged,
		AuthenticationProviders: []types.AuthenticationProviderTypes{types.AuthenticationProviderTypesAwsSso}, WorkspaceName: &name,
		WorkspaceDataSources: []types.DataSourceType{types.DataSourceTypePrometheus}}
}

func code(err error) string {
	var e smithy.APIError
	if !errors.As(err, &e) {
		return ""
	}
	return e.ErrorCode()
}

func TestWorkspaceLife(t *testing.T) {
	w := newWorld(t)
	ctx, c := t.Context(), w.client(w.admin)
	in := create("eks-workshop")
	in.ClientToken, in.Tags = aws.String("once"), map[string]string{"env": "eks-workshop"}
	first, err := c.CreateWorkspace(ctx, in)
	require.NoError(t, err)
	ws := first.Workspace
	require.Regexp(t, `^g-[0-9a-f]{10}$`, *ws.Id)
	require.Equal(t, "mangru.example/w/"+*ws.Id, *ws.Endpoint)
	require.Equal(t, types.WorkspaceStatusActive, ws.Status)
	require.Equal(t, []types.AuthenticationProviderTypes{"AWS_SSO"}, ws.Authentication.Providers)
	again, err := c.CreateWorkspace(ctx, in)
	require.NoError(t, err)
	require.Equal(t, *ws.Id, *again.Workspace.Id, "a repeated call makes nothing new")
	in.WorkspaceName = aws.String("other")
	_, err = c.CreateWorkspace(ctx, in)
	require.Equal(t, "ConflictException", code(err))

	up, err := c.UpdateWorkspace(ctx, &grafana.UpdateWorkspaceInput{WorkspaceId: ws.Id, WorkspaceDescription: aws.String("two\nlines")})
	require.NoError(t, err)
	require.Equal(t, "eks-workshop", *up.Workspace.Name, "what is not given stays")
	d, err := c.DescribeWorkspace(ctx, &grafana.DescribeWorkspaceInput{WorkspaceId: ws.Id})
	require.NoError(t, err)
	require.Equal(t, "two\nlines", *d.Workspace.Description)
	require.Equal(t, map[string]string{"env": "eks-workshop"}, d.Workspace.Tags)
	require.False(t, d.Workspace.Created.IsZero())

	for _, name := range []string{"b", "c", "d", "e"} {
		_, err := c.CreateWorkspace(ctx, create(name))
		require.NoError(t, err)
	}
	_, err = c.CreateWorkspace(ctx, create("f"))
	require.Equal(t, "ServiceQuotaExceededException", code(err))
	require.ErrorContains(t, err, "ui.max_workspaces")
	names := []string{}
	for p := grafana.NewListWorkspacesPaginator(c, &grafana.ListWorkspacesInput{MaxResults: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Workspaces), 2)
		for _, x := range page.Workspaces {
			names = append(names, *x.Name)
		}
	}
	slices.Sort(names)
	require.Equal(t, []string{"b", "c", "d", "default", "e", "eks-workshop"}, names)

	gone, err := c.DeleteWorkspace(ctx, &grafana.DeleteWorkspaceInput{WorkspaceId: ws.Id})
	require.NoError(t, err)
	require.Equal(t, types.WorkspaceStatusDeleting, gone.Workspace.Status)
	_, err = c.DescribeWorkspace(ctx, &grafana.DescribeWorkspaceInput{WorkspaceId: ws.Id})
	require.Equal(t, "ResourceNotFoundException", code(err))
	def, err := w.spaces.Open(ctx, "")
	require.NoError(t, err)
	_, err = c.DeleteWorkspace(ctx, &grafana.DeleteWorkspaceInput{WorkspaceId: &def.ID})
	require.Equal(t, "ConflictException", code(err))
}

func TestBadInput(t *testing.T) {
	w := newWorld(t)
	c := w.client(w.admin)
	for name, change := range map[string]func(*grafana.CreateWorkspaceInput){
		"workspaceName": func(in *grafana.CreateWorkspaceInput) { in.WorkspaceName = aws.String("a b") },
		"authenticationProviders": func(in *grafana.CreateWorkspaceInput) {
			in.AuthenticationProviders = []types.AuthenticationProviderTypes{"LDAP"}
		},
		"accountAccessType":    func(in *grafana.CreateWorkspaceInput) { in.AccountAccessType = "ORGANIZATION" },
		"permissionType":       func(in *grafana.CreateWorkspaceInput) { in.PermissionType = "x" },
		"grafanaVersion":       func(in *grafana.CreateWorkspaceInput) { in.GrafanaVersion = aws.String("1.0") },
		"configuration":        func(in *grafana.CreateWorkspaceInput) { in.Configuration = aws.String("[]") },
		"workspaceDataSources": func(in *grafana.CreateWorkspaceInput) { in.WorkspaceDataSources = []types.DataSourceType{"MYSQL"} },
		"kmsKeyId":             func(in *grafana.CreateWorkspaceInput) { in.KmsKeyId = aws.String("k") },
		"networkAccessControl": func(in *grafana.CreateWorkspaceInput) {
			in.NetworkAccessControl = &types.NetworkAccessConfiguration{PrefixListIds: []string{"pl-1"}, VpceIds: []string{}}
		},
		"vpcConfiguration": func(in *grafana.CreateWorkspaceInput) {
			in.VpcConfiguration = &types.VpcConfiguration{SecurityGroupIds: []string{"s"}, SubnetIds: []string{"a", "b"}}
		},
		"tags": func(in *grafana.CreateWorkspaceInput) { in.Tags = map[string]string{"aws:x": "y"} },
	} {
		in := create("x")
		change(in)
		_, err := c.CreateWorkspace(t.Context(), in)
		require.Equal(t, "ValidationException", code(err), "%s: %v", name, err)
		require.ErrorContains(t, err, name+":")
	}
}

func TestAuthenticationAndConfiguration(t *testing.T) {
	w := newWorld(t)
	ctx, c := t.Context(), w.client(w.admin)
	made, err := c.CreateWorkspace(ctx, create("x"))
	require.NoError(t, err)
	id := made.Workspace.Id
	saml := &types.SamlConfiguration{IdpMetadata: &types.IdpMetadataMemberUrl{Value: "https://idp.example/metadata"},
		AssertionAttributes: &types.AssertionAttributes{Role: aws.String("role")}, RoleValues: &types.RoleValues{Admin: []string{"boss"}}, LoginValidityDuration: 60}
	both := []types.AuthenticationProviderTypes{"AWS_SSO", "SAML"}
	out, err := c.UpdateWorkspaceAuthentication(ctx, &grafana.UpdateWorkspaceAuthenticationInput{WorkspaceId: id, AuthenticationProviders: both, SamlConfiguration: saml})
	require.NoError(t, err)
	require.Equal(t, types.SamlConfigurationStatusConfigured, out.Authentication.Saml.Status)
	d, err := c.DescribeWorkspaceAuthentication(ctx, &grafana.DescribeWorkspaceAuthenticationInput{WorkspaceId: id})
	require.NoError(t, err)
	require.Equal(t, both, d.Authentication.Providers)
	require.Equal(t, []string{"boss"}, d.Authentication.Saml.Configuration.RoleValues.Admin)
	require.Equal(t, "https://idp.example/metadata", d.Authentication.Saml.Configuration.IdpMetadata.(*types.IdpMetadataMemberUrl).Value)
	saml.IdpMetadata = &types.IdpMetadataMemberUrl{Value: "http://idp.example/metadata"}
	_, err = c.UpdateWorkspaceAuthentication(ctx, &grafana.UpdateWorkspaceAuthenticationInput{WorkspaceId: id, AuthenticationProviders: both, SamlConfiguration: saml})
	require.Equal(t, "ValidationException", code(err))
	out, err = c.UpdateWorkspaceAuthentication(ctx, &grafana.UpdateWorkspaceAuthenticationInput{WorkspaceId: id, AuthenticationProviders: both[:1]})
	require.NoError(t, err)
	require.Nil(t, out.Authentication.Saml)

	_, err = c.UpdateWorkspaceConfiguration(ctx, &grafana.UpdateWorkspaceConfigurationInput{WorkspaceId: id, Configuration: aws.String(`{"unifiedAlerting":{"enabled":false}}`)})
	require.NoError(t, err)
	conf, err := c.DescribeWorkspaceConfiguration(ctx, &grafana.DescribeWorkspaceConfigurationInput{WorkspaceId: id})
	require.NoError(t, err)
	require.JSONEq(t, `{"unifiedAlerting":{"enabled":false}}`, *conf.Configuration)
	_, err = c.UpdateWorkspaceConfiguration(ctx, &grafana.UpdateWorkspaceConfigurationInput{WorkspaceId: id, Configuration: aws.String(`{"server":{}}`)})
	require.Equal(t, "ValidationException", code(err))
	_, err = c.UpdateWorkspaceConfiguration(ctx, &grafana.UpdateWorkspaceConfigurationInput{WorkspaceId: id, Configuration: aws.String(`{}`), GrafanaVersion: aws.String("9.4")})
	require.ErrorContains(t, err, "cannot go back")
	all, err := c.ListVersions(ctx, &grafana.ListVersionsInput{})
	require.NoError(t, err)
	require.Contains(t, all.GrafanaVersions, *conf.GrafanaVersion)
	newer, err := c.ListVersions(ctx, &grafana.ListVersionsInput{WorkspaceId: id})
	require.NoError(t, err)
	require.Empty(t, newer.GrafanaVersions)

	arn := workspaces.ARN(region, iam.DefaultAccount, *id)
	_, err = c.TagResource(ctx, &grafana.TagResourceInput{ResourceArn: &arn, Tags: map[string]string{"a": "1", "b": "2"}})
	require.NoError(t, err)
	_, err = c.UntagResource(ctx, &grafana.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{"a"}})
	require.NoError(t, err)
	tags, err := c.ListTagsForResource(ctx, &grafana.ListTagsForResourceInput{ResourceArn: &arn})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"b": "2"}, tags.Tags)
}

func TestPermissions(t *testing.T) {
	w := newWorld(t)
	ctx, c := t.Context(), w.client(w.admin)
	made, err := c.CreateWorkspace(ctx, create("x"))
	require.NoError(t, err)
	id := made.Workspace.Id
	ann := w.person("ann")
	g, err := w.dir.CreateGroup(ctx, "test", directory.Group{StoreID: w.store.ID, DisplayName: "SRE"})
	require.NoError(t, err)
	user := func(id string) types.User { return types.User{Id: &id, Type: types.UserTypeSsoUser} }
	update := func(action types.UpdateAction, role types.Role, users ...types.User) []types.UpdateError {
		out, err := c.UpdatePermissions(ctx, &grafana.UpdatePermissionsInput{WorkspaceId: id,
			UpdateInstructionBatch: []types.UpdateInstruction{{Action: action, Role: role, Users: users}}})
		require.NoError(t, err)
		require.NotNil(t, out.Errors)
		return out.Errors
	}
	require.Empty(t, update("ADD", "VIEWER", user(ann.ID)))
	bad := update("ADD", "EDITOR", user("00000000-0000-0000-0000-000000000000"), types.User{Id: &g.ID, Type: types.UserTypeSsoGroup})
	require.Len(t, bad, 1, "one mistake keeps nothing else from being done")
	require.Equal(t, int32(404), *bad[0].Code)
	require.Equal(t, "00000000-0000-0000-0000-000000000000", *bad[0].CausedBy.Users[0].Id)
	require.Empty(t, update("ADD", "ADMIN", user(ann.ID)), "make admin")
	require.Len(t, update("REVOKE", "VIEWER", user(ann.ID)), 1, "she is no viewer any more")
	list, err := c.ListPermissions(ctx, &grafana.ListPermissionsInput{WorkspaceId: id})
	require.NoError(t, err)
	require.Len(t, list.Permissions, 2)
	one, err := c.ListPermissions(ctx, &grafana.ListPermissionsInput{WorkspaceId: id, UserId: &ann.ID})
	require.NoError(t, err)
	require.Equal(t, types.RoleAdmin, one.Permissions[0].Role)
	kinds := 0
	for p := grafana.NewListPermissionsPaginator(c, &grafana.ListPermissionsInput{WorkspaceId: id, MaxResults: aws.Int32(1)}); p.HasMorePages(); kinds++ {
		page, err := p.NextPage(ctx)
		require.NoError(t, err)
		require.Len(t, page.Permissions, 1)
	}
	require.Equal(t, 2, kinds)
	require.Empty(t, update("REVOKE", "ADMIN", user(ann.ID)))
	_, err = c.UpdatePermissions(ctx, &grafana.UpdatePermissionsInput{WorkspaceId: id, UpdateInstructionBatch: make([]types.UpdateInstruction, 21)})
	require.Error(t, err)
	_, err = c.ListPermissions(ctx, &grafana.ListPermissionsInput{WorkspaceId: aws.String("g-0000000000")})
	require.Equal(t, "ResourceNotFoundException", code(err))
}

func TestServiceAccountsAndKeys(t *testing.T) {
	w := newWorld(t)
	ctx, c := t.Context(), w.client(w.admin)
	made, err := c.CreateWorkspace(ctx, create("x"))
	require.NoError(t, err)
	id := made.Workspace.Id
	sa, err := c.CreateWorkspaceServiceAccount(ctx, &grafana.CreateWorkspaceServiceAccountInput{WorkspaceId: id, Name: aws.String("ci"), GrafanaRole: types.RoleEditor})
	require.NoError(t, err)
	_, err = c.CreateWorkspaceServiceAccount(ctx, &grafana.CreateWorkspaceServiceAccountInput{WorkspaceId: id, Name: aws.String("ci"), GrafanaRole: types.RoleEditor})
	require.Equal(t, "ConflictException", code(err))
	list, err := c.ListWorkspaceServiceAccounts(ctx, &grafana.ListWorkspaceServiceAccountsInput{WorkspaceId: id})
	require.NoError(t, err)
	require.Equal(t, "false", *list.ServiceAccounts[0].IsDisabled)
	require.Equal(t, types.RoleEditor, list.ServiceAccounts[0].GrafanaRole)
	tok, err := c.CreateWorkspaceServiceAccountToken(ctx, &grafana.CreateWorkspaceServiceAccountTokenInput{WorkspaceId: id, ServiceAccountId: sa.Id, Name: aws.String("t"), SecondsToLive: aws.Int32(60)})
	require.NoError(t, err)
	who, err := w.boards.TokenCaller(ctx, *tok.ServiceAccountToken.Key)
	require.NoError(t, err)
	require.Equal(t, caller.RoleEditor, who.Role)
	require.Equal(t, *id, who.Workspace)
	toks, err := c.ListWorkspaceServiceAccountTokens(ctx, &grafana.ListWorkspaceServiceAccountTokensInput{WorkspaceId: id, ServiceAccountId: sa.Id})
	require.NoError(t, err)
	require.NotNil(t, toks.ServiceAccountTokens[0].LastUsedAt)
	_, err = c.DeleteWorkspaceServiceAccountToken(ctx, &grafana.DeleteWorkspaceServiceAccountTokenInput{WorkspaceId: id, ServiceAccountId: sa.Id, TokenId: tok.ServiceAccountToken.Id})
	require.NoError(t, err)
	_, err = w.boards.TokenCaller(ctx, *tok.ServiceAccountToken.Key)
	require.ErrorIs(t, err, caller.ErrNotSignedIn)
	_, err = c.CreateWorkspaceServiceAccountToken(ctx, &grafana.CreateWorkspaceServiceAccountTokenInput{WorkspaceId: id, ServiceAccountId: sa.Id, Name: aws.String("t"), SecondsToLive: aws.Int32(2592001)})
	require.Equal(t, "ValidationException", code(err))
	_, err = c.DeleteWorkspaceServiceAccount(ctx, &grafana.DeleteWorkspaceServiceAccountInput{WorkspaceId: id, ServiceAccountId: sa.Id})
	require.NoError(t, err)

	key, err := c.CreateWorkspaceApiKey(ctx, &grafana.CreateWorkspaceApiKeyInput{WorkspaceId: id, KeyName: aws.String("old way"), KeyRole: aws.String("ADMIN"), SecondsToLive: aws.Int32(60)})
	require.NoError(t, err)
	who, err = w.boards.TokenCaller(ctx, *key.Key)
	require.NoError(t, err)
	require.Equal(t, caller.RoleAdmin, who.Role)
	_, err = c.DeleteWorkspaceApiKey(ctx, &grafana.DeleteWorkspaceApiKeyInput{WorkspaceId: id, KeyName: aws.String("old way")})
	require.NoError(t, err)
	_, err = c.DeleteWorkspaceApiKey(ctx, &grafana.DeleteWorkspaceApiKeyInput{WorkspaceId: id, KeyName: aws.String("old way")})
	require.Equal(t, "ResourceNotFoundException", code(err))

	sa, err = c.CreateWorkspaceServiceAccount(ctx, &grafana.CreateWorkspaceServiceAccountInput{WorkspaceId: id, Name: aws.String("last"), GrafanaRole: types.RoleViewer})
	require.NoError(t, err)
	tok, err = c.CreateWorkspaceServiceAccountToken(ctx, &grafana.CreateWorkspaceServiceAccountTokenInput{WorkspaceId: id, ServiceAccountId: sa.Id, Name: aws.String("t"), SecondsToLive: aws.Int32(60)})
	require.NoError(t, err)
	_, err = c.DeleteWorkspace(ctx, &grafana.DeleteWorkspaceInput{WorkspaceId: id})
	require.NoError(t, err)
	_, err = w.boards.TokenCaller(ctx, *tok.ServiceAccountToken.Key)
	require.ErrorIs(t, err, caller.ErrNotSignedIn, "a token ends with its workspace")
}

func TestAuthorisation(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	in := create("tagged")
	in.Tags = map[string]string{"team": "sre"}
	made, err := w.client(w.admin).CreateWorkspace(ctx, in)
	require.NoError(t, err)
	id := made.Workspace.Id
	describe := &grafana.DescribeWorkspaceInput{WorkspaceId: id}

	_, err = w.client(w.key(iam.DefaultAccount, "nobody", "")).DescribeWorkspace(ctx, describe)
	require.Equal(t, "AccessDeniedException", code(err))
	reader := w.client(w.key(iam.DefaultAccount, "reader", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["grafana:Describe*","grafana:List*"],"Resource":"*"}}`))
	_, err = reader.DescribeWorkspace(ctx, describe)
	require.NoError(t, err)
	_, err = reader.CreateWorkspace(ctx, create("y"))
	require.Equal(t, "AccessDeniedException", code(err))
	_, err = reader.UpdatePermissions(ctx, &grafana.UpdatePermissionsInput{WorkspaceId: id, UpdateInstructionBatch: []types.UpdateInstruction{}})
	require.Equal(t, "AccessDeniedException", code(err))
	team := w.client(w.key(iam.DefaultAccount, "team", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"grafana:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"sre"}}}}`))
	_, err = team.DescribeWorkspace(ctx, describe)
	require.NoError(t, err)
	untagged, err := w.client(w.admin).CreateWorkspace(ctx, create("untagged"))
	require.NoError(t, err)
	_, err = team.DescribeWorkspace(ctx, &grafana.DescribeWorkspaceInput{WorkspaceId: untagged.Workspace.Id})
	require.Equal(t, "AccessDeniedException", code(err))

	const all = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"grafana:*","Resource":"*"}}`
	require.NoError(t, w.identity.CreateAccount(ctx, other, "others"))
	stranger := w.client(w.key(other, "boss", all))
	_, err = stranger.DescribeWorkspace(ctx, describe)
	require.Equal(t, "ResourceNotFoundException", code(err), "another account sees nothing of it")
	list, err := stranger.ListWorkspaces(ctx, &grafana.ListWorkspacesInput{})
	require.NoError(t, err)
	require.Empty(t, list.Workspaces)
	arn := workspaces.ARN(region, iam.DefaultAccount, *id)
	_, err = stranger.TagResource(ctx, &grafana.TagResourceInput{ResourceArn: &arn, Tags: map[string]string{"a": "1"}})
	require.Equal(t, "AccessDeniedException", code(err))

	in = create("role")
	in.WorkspaceRoleArn = aws.String("arn:aws:iam::" + iam.DefaultAccount + ":role/admin")
	_, err = w.client(w.key(iam.DefaultAccount, "noPass", all)).CreateWorkspace(ctx, in)
	require.Equal(t, "AccessDeniedException", code(err), "naming a role takes iam:PassRole")
	require.ErrorContains(t, err, "iam:PassRole")
}

// TestCLI walks with an AWS CLI. Old ones do not know service accounts.
func TestCLI(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	for _, path := range []string{"/usr/bin/aws", "aws"} {
		if path, err := exec.LookPath(path); err == nil {
			walkCLI(t, newWorld(t), path)
			return
		}
	}
	t.Skip("needs the AWS CLI")
}

func walkCLI(t *testing.T, w *world, path string) {
	home := t.TempDir()
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	env = append(env, "HOME="+home, "AWS_CONFIG_FILE="+filepath.Join(home, "config"), "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_DEFAULT_REGION="+region,
		"AWS_MAX_ATTEMPTS=1", "AWS_ACCESS_KEY_ID="+w.admin.ID, "AWS_SECRET_ACCESS_KEY="+w.admin.Secret)
	try := func(args ...string) (map[string]any, string, error) {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, append([]string{"--endpoint-url", w.url, "--output", "json", "grafana"}, args...)...)
		var out, complaint bytes.Buffer
		cmd.Stdout, cmd.Stderr, cmd.Env = &out, &complaint, env
		err := cmd.Run()
		answer := make(map[string]any)
		if err == nil && out.Len() > 0 {
			require.NoError(t, json.Unmarshal(out.Bytes(), &answer), out.String())
		}
		return answer, complaint.String(), err
	}
	run := func(args ...string) map[string]any {
		t.Helper()
		out, complaint, err := try(args...)
		require.NoError(t, err, "%v: %s", args, complaint)
		return out
	}
	id := run("create-workspace", "--workspace-name", "eks-workshop", "--account-access-type", "CURRENT_ACCOUNT", "--permission-type", "SERVICE_MANAGED",
		"--authentication-providers", "AWS_SSO", "--workspace-data-sources", "PROMETHEUS", "--tags", "env=eks-workshop")["workspace"].(map[string]any)["id"].(string)
	require.Equal(t, "ACTIVE", run("describe-workspace", "--workspace-id", id)["workspace"].(map[string]any)["status"])
	require.Len(t, run("list-workspaces")["workspaces"], 2)
	ann := w.person("ann")
	out := run("update-permissions", "--workspace-id", id, "--update-instruction-batch", "action=ADD,role=ADMIN,users=[{id="+ann.ID+",type=SSO_USER}]")
	require.Empty(t, out["errors"])
	require.Len(t, run("list-permissions", "--workspace-id", id)["permissions"], 1)
	require.NotEmpty(t, run("create-workspace-api-key", "--workspace-id", id, "--key-name", "k", "--key-role", "ADMIN", "--seconds-to-live", "60")["key"])
	require.NotNil(t, run("describe-workspace-authentication", "--workspace-id", id)["authentication"])
	sa, complaint, err := try("create-workspace-service-account", "--workspace-id", id, "--name", "ci", "--grafana-role", "EDITOR")
	if err == nil {
		run("create-workspace-service-account-token", "--workspace-id", id, "--service-account-id", sa["id"].(string), "--name", "t", "--seconds-to-live", "60")
		require.Len(t, run("list-workspace-service-account-tokens", "--workspace-id", id, "--service-account-id", sa["id"].(string))["serviceAccountTokens"], 1)
	} else {
		require.Contains(t, complaint, "Invalid choice")
	}
	run("delete-workspace", "--workspace-id", id)
	_, complaint, err = try("describe-workspace", "--workspace-id", id)
	require.Error(t, err)
	require.Contains(t, complaint, "ResourceNotFoundException")
}
