package iamapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/awsquery"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/server/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account  = iam.DefaultAccount
	other    = "111111111111"
	trust    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`
	writeDoc = `{"Version":"2012-10-17","Statement":[{"Sid":"W","Effect":"Allow","Action":"aps:RemoteWrite","Resource":"*"}]}`
	readDoc  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["aps:QueryMetrics","aps:Get*"],"Resource":"*"}]}`
)

// fixture is IAM's API behind the real edge.
type fixture struct {
	t        *testing.T
	identity *iam.Service
	router   http.Handler
	service  api.Service
	admin    iam.AccessKey
}

func open(t *testing.T) *fixture {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	records, err := db.Open(ctx, filepath.Join(dir, "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, records.Close()) })
	f := &fixture{t: t}
	f.identity, err = iam.Open(ctx, records, iam.Config{KeyFile: filepath.Join(dir, "secret.key")})
	require.NoError(t, err)
	f.admin, _, err = f.identity.Bootstrap(ctx)
	require.NoError(t, err)
	f.service, err = New(f.identity)
	require.NoError(t, err)
	v, err := sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{"ap-northeast-2"}}, api.Keys(f.identity))
	require.NoError(t, err)
	router, err := api.NewRouter(api.Config{Verifier: v, Authorizer: f.identity, Services: []api.Service{f.service}}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	f.router = router
	return f
}

// send signs a call as botocore would and returns the answer.
func (f *fixture) send(key iam.AccessKey, form url.Values) *http.Response {
	f.t.Helper()
	body := form.Encode()
	r := httptest.NewRequestWithContext(f.t.Context(), http.MethodPost, "http://iam.test/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(body))
	require.NoError(f.t, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret},
		r, hex.EncodeToString(sum[:]), "iam", "ap-northeast-2", time.Now()))
	w := httptest.NewRecorder()
	f.router.ServeHTTP(w, r)
	return w.Result()
}

// do calls an operation and reads its result into out, nil for none. It returns
// the error that the answer holds.
func (f *fixture) do(key iam.AccessKey, action string, out any, params ...string) error {
	f.t.Helper()
	form := url.Values{"Action": {action}, "Version": {Version}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	r := f.send(key, form)
	defer r.Body.Close()
	return awsquery.Read(r, action, out)
}

// must calls an operation as administrator that has to succeed.
func (f *fixture) must(action string, out any, params ...string) {
	f.t.Helper()
	require.NoError(f.t, f.do(f.admin, action, out, params...), action)
}

// fails calls an operation as administrator that has to fail with a code, and
// returns the message.
func (f *fixture) fails(code string, status int, action string, params ...string) string {
	f.t.Helper()
	return f.failsAs(f.admin, code, status, action, params...)
}

func (f *fixture) failsAs(key iam.AccessKey, code string, status int, action string, params ...string) string {
	f.t.Helper()
	var e *awsquery.ResponseError
	require.ErrorAs(f.t, f.do(key, action, nil, params...), &e, "%s %v", action, params)
	require.Equal(f.t, code, e.Code, "%s %v: %s", action, params, e.Message)
	require.Equal(f.t, status, e.Status, "%s %v: %s", action, params, e.Message)
	return e.Message
}

// user makes a user with a key and an inline policy, "" for none.
func (f *fixture) user(name, document string) iam.AccessKey {
	f.t.Helper()
	ctx := f.t.Context()
	_, err := f.identity.CreateUser(ctx, account, name)
	require.NoError(f.t, err)
	if document != "" {
		require.NoError(f.t, f.identity.PutInlinePolicy(ctx, iam.UserRef(account, name), "test", document))
	}
	k, err := f.identity.CreateAccessKey(ctx, account, name)
	require.NoError(f.t, err)
	return k
}

func TestUsers(t *testing.T) {
	f := open(t)
	var made struct{ User userOutput }
	f.must("CreateUser", &made, "UserName", "ann", "Path", "/team/", "Tags.member.1.Key", "env", "Tags.member.1.Value", "prod",
		"PermissionsBoundary", iam.PolicyPrometheusFull)
	require.Equal(t, "arn:aws:iam::000000000000:user/team/ann", made.User.Arn)
	require.Regexp(t, `^AIDA[A-Z2-7]{16}$`, made.User.UserID)
	require.Equal(t, []Tag{{"env", "prod"}}, made.User.Tags)
	require.Equal(t, &boundaryOutput{"Policy", iam.PolicyPrometheusFull}, made.User.PermissionsBoundary)
	require.Contains(t, f.fails("EntityAlreadyExists", 409, "CreateUser", "UserName", "ANN"), "already exists")
	require.Contains(t, f.fails("NoSuchEntity", 404, "GetUser", "UserName", "bob"), "The user with name bob cannot be found.")
	f.fails("ValidationError", 400, "CreateUser", "UserName", "a/b")
	f.fails("ValidationError", 400, "CreateUser", "UserName", "x", "Path", "no")
	f.fails("MissingParameter", 400, "CreateUser")
	f.fails("ValidationError", 400, "CreateUser", "UserName", "x", "Unknown", "y")
	f.fails("NoSuchEntity", 404, "CreateUser", "UserName", "x", "PermissionsBoundary", "arn:aws:iam::000000000000:policy/none")
	f.fails("ValidationError", 400, "CreateUser", "UserName", "x", "Tags.member.1.Key", "aws:x", "Tags.member.1.Value", "")

	// Without a name it is the caller.
	var self struct{ User userOutput }
	f.must("GetUser", &self)
	require.Equal(t, "admin", self.User.UserName)
	require.WithinDuration(t, time.Now(), self.User.CreateDate, time.Minute)

	f.must("UpdateUser", nil, "UserName", "ann", "NewUserName", "anna", "NewPath", "/")
	f.must("GetUser", &self, "UserName", "anna")
	require.Equal(t, made.User.UserID, self.User.UserID)
	require.Equal(t, "arn:aws:iam::000000000000:user/anna", self.User.Arn)
	f.fails("EntityAlreadyExists", 409, "UpdateUser", "UserName", "anna", "NewUserName", "Admin")

	f.must("DeleteUserPermissionsBoundary", nil, "UserName", "anna")
	f.fails("NoSuchEntity", 404, "DeleteUserPermissionsBoundary", "UserName", "anna")
	f.must("TagUser", nil, "UserName", "anna", "Tags.member.1.Key", "ENV", "Tags.member.1.Value", "test")
	var tags struct{ Tags []Tag }
	f.must("ListUserTags", &tags, "UserName", "anna")
	require.Equal(t, []Tag{{"ENV", "test"}}, tags.Tags) // tag keys differ by more than case
	f.must("UntagUser", nil, "UserName", "anna", "TagKeys.member.1", "env")
	f.must("ListUserTags", &tags, "UserName", "anna")
	require.Empty(t, tags.Tags)

	// What is in use stays.
	f.must("AttachUserPolicy", nil, "UserName", "anna", "PolicyArn", iam.PolicyPrometheusWrite)
	require.Contains(t, f.fails("DeleteConflict", 409, "DeleteUser", "UserName", "anna"), "must detach all policies first")
	f.must("DetachUserPolicy", nil, "UserName", "anna", "PolicyArn", iam.PolicyPrometheusWrite)
	f.must("PutUserPolicy", nil, "UserName", "anna", "PolicyName", "p", "PolicyDocument", writeDoc)
	require.Contains(t, f.fails("DeleteConflict", 409, "DeleteUser", "UserName", "anna"), "must delete policies first")
	f.must("DeleteUserPolicy", nil, "UserName", "anna", "PolicyName", "p")
	var key struct{ AccessKey keyOutput }
	f.must("CreateAccessKey", &key, "UserName", "anna")
	require.Contains(t, f.fails("DeleteConflict", 409, "DeleteUser", "UserName", "anna"), "must delete access keys first")
	f.must("DeleteAccessKey", nil, "UserName", "anna", "AccessKeyId", key.AccessKey.AccessKeyID)
	f.must("CreateGroup", nil, "GroupName", "g")
	f.must("AddUserToGroup", nil, "GroupName", "g", "UserName", "anna")
	require.Contains(t, f.fails("DeleteConflict", 409, "DeleteUser", "UserName", "anna"), "remove users from group first")
	f.must("RemoveUserFromGroup", nil, "GroupName", "g", "UserName", "anna")
	f.must("DeleteUser", nil, "UserName", "anna")
	f.fails("NoSuchEntity", 404, "DeleteUser", "UserName", "anna")
}

func TestAccessKeys(t *testing.T) {
	f := open(t)
	f.must("CreateUser", nil, "UserName", "ann")
	var made, second struct{ AccessKey keyOutput }
	f.must("CreateAccessKey", &made, "UserName", "ann")
	require.Regexp(t, `^AKIA[A-Z2-7]{16}$`, made.AccessKey.AccessKeyID)
	require.Len(t, made.AccessKey.SecretAccessKey, 40)
	f.must("CreateAccessKey", &second, "UserName", "ann")
	require.Contains(t, f.fails("LimitExceeded", 409, "CreateAccessKey", "UserName", "ann"), "AccessKeysPerUser: 2")
	var list struct {
		AccessKeyMetadata []keyOutput
		pageOutput
	}
	f.must("ListAccessKeys", &list, "UserName", "ann")
	require.Len(t, list.AccessKeyMetadata, 2)
	require.Empty(t, list.AccessKeyMetadata[0].SecretAccessKey)

	// The key works, is off at once when switched off, and belongs to ann.
	ann := iam.AccessKey{ID: made.AccessKey.AccessKeyID, Secret: made.AccessKey.SecretAccessKey}
	require.Contains(t, f.failsAs(ann, "AccessDenied", 403, "GetUser"),
		"User: arn:aws:iam::000000000000:user/ann is not authorized to perform: iam:GetUser on resource: "+
			"arn:aws:iam::000000000000:user/ann because no identity-based policy allows the iam:GetUser action")
	f.must("UpdateAccessKey", nil, "UserName", "ann", "AccessKeyId", ann.ID, "Status", "Inactive")
	f.failsAs(ann, "InvalidClientTokenId", 403, "GetUser")
	f.fails("ValidationError", 400, "UpdateAccessKey", "UserName", "ann", "AccessKeyId", ann.ID, "Status", "Off")
	f.fails("NoSuchEntity", 404, "UpdateAccessKey", "UserName", "admin", "AccessKeyId", ann.ID, "Status", "Active")
	f.fails("NoSuchEntity", 404, "DeleteAccessKey", "AccessKeyId", ann.ID) // one's own only

	// Last use is told at once, and after it was written.
	var used struct {
		UserName          string
		AccessKeyLastUsed struct {
			LastUsedDate        time.Time
			ServiceName, Region string
		}
	}
	f.must("GetAccessKeyLastUsed", &used, "AccessKeyId", second.AccessKey.AccessKeyID)
	require.Equal(t, "N/A", used.AccessKeyLastUsed.ServiceName)
	for range 2 {
		f.must("GetAccessKeyLastUsed", &used, "AccessKeyId", f.admin.ID)
		require.Equal(t, "admin", used.UserName)
		require.Equal(t, "iam", used.AccessKeyLastUsed.ServiceName)
		require.Equal(t, "ap-northeast-2", used.AccessKeyLastUsed.Region)
		require.WithinDuration(t, time.Now(), used.AccessKeyLastUsed.LastUsedDate, time.Minute)
		require.NoError(t, f.identity.FlushUsage(t.Context()))
	}
	f.fails("NoSuchEntity", 404, "GetAccessKeyLastUsed", "AccessKeyId", "AKIAIOSFODNN7EXAMPLE")
}

func TestGroupsLendTheirPolicies(t *testing.T) {
	f := open(t)
	ann := f.user("ann", "")
	f.must("CreateGroup", nil, "GroupName", "readers", "Path", "/g/")
	f.must("AttachGroupPolicy", nil, "GroupName", "readers", "PolicyArn", "arn:aws:iam::aws:policy/IAMReadOnlyAccess")
	f.failsAs(ann, "AccessDenied", 403, "ListUsers")
	f.must("AddUserToGroup", nil, "GroupName", "readers", "UserName", "ann")
	require.NoError(t, f.do(ann, "ListUsers", nil))
	var group struct {
		Group groupOutput
		Users []userOutput
	}
	f.must("GetGroup", &group, "GroupName", "readers")
	require.Equal(t, "arn:aws:iam::000000000000:group/g/readers", group.Group.Arn)
	require.Len(t, group.Users, 1)
	var groups groupsResult
	f.must("ListGroupsForUser", &groups, "UserName", "ann")
	require.Equal(t, "readers", groups.Groups[0].GroupName)
	f.must("PutGroupPolicy", nil, "GroupName", "readers", "PolicyName", "no", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"iam:ListUsers","Resource":"*"}}`)
	require.Contains(t, f.failsAs(ann, "AccessDenied", 403, "ListUsers"), "with an explicit deny in an identity-based policy")
	f.fails("DeleteConflict", 409, "DeleteGroup", "GroupName", "readers")
	f.must("RemoveUserFromGroup", nil, "GroupName", "readers", "UserName", "ann")
	f.must("DetachGroupPolicy", nil, "GroupName", "readers", "PolicyArn", "arn:aws:iam::aws:policy/IAMReadOnlyAccess")
	f.must("DeleteGroupPolicy", nil, "GroupName", "readers", "PolicyName", "no")
	f.must("UpdateGroup", nil, "GroupName", "readers", "NewGroupName", "old")
	f.must("DeleteGroup", nil, "GroupName", "old")
	f.must("ListGroups", &groups)
	require.Empty(t, groups.Groups)
}

func TestRoles(t *testing.T) {
	f := open(t)
	var role roleResult
	f.must("CreateRole", &role, "RoleName", "writer", "AssumeRolePolicyDocument", trust, "Description", "it's <writes>", "MaxSessionDuration", "7200")
	text, err := url.PathUnescape(role.Role.AssumeRolePolicyDocument)
	require.NoError(t, err)
	require.Equal(t, trust, text)
	require.NotContains(t, role.Role.AssumeRolePolicyDocument, "+")
	require.Equal(t, "it's <writes>", role.Role.Description)
	f.fails("EntityAlreadyExists", 409, "CreateRole", "RoleName", "writer", "AssumeRolePolicyDocument", trust)
	f.fails("MalformedPolicyDocument", 400, "CreateRole", "RoleName", "x", "AssumeRolePolicyDocument", "{")
	f.fails("MalformedPolicyDocument", 400, "CreateRole", "RoleName", "x", "AssumeRolePolicyDocument", writeDoc)
	f.fails("ValidationError", 400, "CreateRole", "RoleName", "x", "AssumeRolePolicyDocument", trust, "MaxSessionDuration", "60")
	f.fails("LimitExceeded", 409, "CreateRole", "RoleName", "x", "AssumeRolePolicyDocument",
		strings.Replace(trust, `"Effect"`, `"Sid":"`+strings.Repeat("a", 2000)+`","Effect"`, 1))
	f.must("UpdateRole", &struct{}{}, "RoleName", "writer", "MaxSessionDuration", "3600")
	f.must("UpdateRoleDescription", nil, "RoleName", "writer", "Description", "")
	f.must("GetRole", &role, "RoleName", "writer")
	require.EqualValues(t, 3600, role.Role.MaxSessionDuration)
	require.NotNil(t, role.Role.RoleLastUsed)
	require.Zero(t, role.Role.RoleLastUsed.LastUsedDate)
	f.must("UpdateAssumeRolePolicy", nil, "RoleName", "writer", "PolicyDocument", strings.Replace(trust, "sts:TagSession", "sts:SetSourceIdentity", 1))
	f.fails("MalformedPolicyDocument", 400, "UpdateAssumeRolePolicy", "RoleName", "writer", "PolicyDocument", "{}")

	f.must("AttachRolePolicy", nil, "RoleName", "writer", "PolicyArn", iam.PolicyPrometheusWrite)
	f.must("AttachRolePolicy", nil, "RoleName", "writer", "PolicyArn", iam.PolicyPrometheusWrite) // again is no error
	require.Contains(t, f.fails("NoSuchEntity", 404, "AttachRolePolicy", "RoleName", "writer", "PolicyArn", "arn:aws:iam::aws:policy/None"),
		"does not exist or is not attachable")
	f.must("PutRolePolicy", nil, "RoleName", "writer", "PolicyName", "extra", "PolicyDocument", readDoc)
	var inline struct{ RoleName, PolicyName, PolicyDocument string }
	f.must("GetRolePolicy", &inline, "RoleName", "writer", "PolicyName", "extra")
	require.Equal(t, encodeDocument(readDoc), inline.PolicyDocument)
	var names struct{ PolicyNames []string }
	f.must("ListRolePolicies", &names, "RoleName", "writer")
	require.Equal(t, []string{"extra"}, names.PolicyNames)
	var attached struct{ AttachedPolicies []attachedOutput }
	f.must("ListAttachedRolePolicies", &attached, "RoleName", "writer")
	require.Equal(t, []attachedOutput{{"AmazonPrometheusRemoteWriteAccess", iam.PolicyPrometheusWrite}}, attached.AttachedPolicies)
	f.must("ListAttachedRolePolicies", &attached, "RoleName", "writer", "PathPrefix", "/aws-service-role/")
	require.Empty(t, attached.AttachedPolicies)
	f.fails("LimitExceeded", 409, "PutRolePolicy", "RoleName", "writer", "PolicyName", "big", "PolicyDocument",
		strings.Replace(readDoc, "aps:Get*", "aps:Get"+strings.Repeat("x", 10240), 1))
	f.fails("DeleteConflict", 409, "DeleteRole", "RoleName", "writer")
	f.must("DetachRolePolicy", nil, "RoleName", "writer", "PolicyArn", iam.PolicyPrometheusWrite)
	f.fails("NoSuchEntity", 404, "DetachRolePolicy", "RoleName", "writer", "PolicyArn", iam.PolicyPrometheusWrite)
	f.must("DeleteRolePolicy", nil, "RoleName", "writer", "PolicyName", "extra")
	f.must("ListInstanceProfilesForRole", nil, "RoleName", "writer")
	f.must("DeleteRole", nil, "RoleName", "writer")
	f.fails("NoSuchEntity", 404, "ListInstanceProfilesForRole", "RoleName", "writer")
}

func TestOwnPolicies(t *testing.T) {
	f := open(t)
	const arn = "arn:aws:iam::000000000000:policy/team/own"
	var made struct{ Policy policyOutput }
	f.must("CreatePolicy", &made, "PolicyName", "own", "Path", "/team/", "PolicyDocument", writeDoc, "Description", "d")
	require.Equal(t, arn, made.Policy.Arn)
	require.Equal(t, "v1", made.Policy.DefaultVersionID)
	f.fails("MalformedPolicyDocument", 400, "CreatePolicy", "PolicyName", "x", "PolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow"}]}`)
	f.fails("LimitExceeded", 409, "CreatePolicy", "PolicyName", "x", "PolicyDocument", strings.Replace(writeDoc, "aps:RemoteWrite", "aps:R"+strings.Repeat("x", 6144), 1))
	for _, v := range []string{"v2", "v3", "v4", "v5"} {
		var version struct{ PolicyVersion versionOutput }
		f.must("CreatePolicyVersion", &version, "PolicyArn", arn, "PolicyDocument", readDoc, "SetAsDefault", strconv.FormatBool(v == "v3"))
		require.Equal(t, v, version.PolicyVersion.VersionID)
	}
	f.fails("LimitExceeded", 409, "CreatePolicyVersion", "PolicyArn", arn, "PolicyDocument", readDoc)
	f.must("GetPolicy", &made, "PolicyArn", arn)
	require.Equal(t, "v3", made.Policy.DefaultVersionID)
	f.fails("DeleteConflict", 409, "DeletePolicyVersion", "PolicyArn", arn, "VersionId", "v3")
	f.must("DeletePolicyVersion", nil, "PolicyArn", arn, "VersionId", "v5")
	var version struct{ PolicyVersion versionOutput }
	f.must("CreatePolicyVersion", &version, "PolicyArn", arn, "PolicyDocument", readDoc)
	require.Equal(t, "v6", version.PolicyVersion.VersionID, "a number is not used again")
	var versions struct {
		Versions []versionOutput
		pageOutput
	}
	f.must("ListPolicyVersions", &versions, "PolicyArn", arn, "MaxItems", "2")
	require.True(t, versions.IsTruncated)
	require.Equal(t, "v6", versions.Versions[0].VersionID)
	require.Empty(t, versions.Versions[0].Document)
	f.must("GetPolicyVersion", &version, "PolicyArn", arn, "VersionId", "v1")
	require.Equal(t, encodeDocument(writeDoc), version.PolicyVersion.Document)
	f.fails("NoSuchEntity", 404, "GetPolicyVersion", "PolicyArn", arn, "VersionId", "v5")

	// A change of the version shows at once.
	ann := f.user("ann", "")
	f.must("AttachUserPolicy", nil, "UserName", "ann", "PolicyArn", arn)
	allowed := func(action string) bool {
		return f.identity.Authorize(t.Context(), iam.Request{Principal: ann.Principal, Action: action, Resource: "*"}) == nil
	}
	require.True(t, allowed("aps:QueryMetrics"))
	require.False(t, allowed("aps:RemoteWrite"))
	f.must("SetDefaultPolicyVersion", nil, "PolicyArn", arn, "VersionId", "v1")
	require.False(t, allowed("aps:QueryMetrics"))
	require.True(t, allowed("aps:RemoteWrite"))

	f.must("PutUserPermissionsBoundary", nil, "UserName", "admin", "PermissionsBoundary", iam.PolicyAdministratorAccess)
	var entities struct {
		PolicyUsers []struct{ UserName string }
	}
	f.must("ListEntitiesForPolicy", &entities, "PolicyArn", arn, "EntityFilter", "User")
	require.Equal(t, "ann", entities.PolicyUsers[0].UserName)
	var policies struct {
		Policies []policyOutput
		pageOutput
	}
	f.must("ListPolicies", &policies, "Scope", "Local", "OnlyAttached", "true")
	require.Len(t, policies.Policies, 1)
	require.Equal(t, 1, policies.Policies[0].AttachmentCount)
	f.must("ListPolicies", &policies, "PolicyUsageFilter", "PermissionsBoundary", "OnlyAttached", "true")
	require.Len(t, policies.Policies, 1)
	require.Equal(t, "AdministratorAccess", policies.Policies[0].PolicyName)
	f.must("ListPolicies", &policies, "Scope", "AWS", "MaxItems", "3")
	require.Len(t, policies.Policies, 3)
	require.True(t, policies.IsTruncated)
	first := policies.Policies[0].Arn
	f.must("ListPolicies", &policies, "Scope", "AWS", "MaxItems", "3", "Marker", policies.Marker)
	require.NotEqual(t, first, policies.Policies[0].Arn)
	f.fails("ValidationError", 400, "ListPolicies", "Marker", "zzz")
	f.fails("ValidationError", 400, "ListPolicies", "MaxItems", "0")
	f.fails("ValidationError", 400, "ListPolicies", "Scope", "Mine")

	f.fails("DeleteConflict", 409, "DeletePolicy", "PolicyArn", arn)
	f.must("DetachUserPolicy", nil, "UserName", "ann", "PolicyArn", arn)
	require.Contains(t, f.fails("DeleteConflict", 409, "DeletePolicy", "PolicyArn", arn), "more than one version")
	for _, v := range []string{"v2", "v3", "v4", "v6"} {
		f.must("DeletePolicyVersion", nil, "PolicyArn", arn, "VersionId", v)
	}
	f.must("DeletePolicy", nil, "PolicyArn", arn)
	f.fails("NoSuchEntity", 404, "GetPolicy", "PolicyArn", arn)
	f.fails("NoSuchEntity", 404, "DeletePolicy", "PolicyArn", iam.PolicyAdministratorAccess)
	f.must("GetPolicy", &made, "PolicyArn", iam.PolicyAdministratorAccess)
	f.must("GetPolicyVersion", &version, "PolicyArn", iam.PolicyAdministratorAccess, "VersionId", made.Policy.DefaultVersionID)
	require.Contains(t, version.PolicyVersion.Document, "Statement")
}

func TestProviders(t *testing.T) {
	f := open(t)
	const bare = "kubernetes.default.svc.cluster.local/id/AB-1"
	const arn = "arn:aws:iam::000000000000:oidc-provider/" + bare
	print1 := strings.Repeat("a0", 20)
	var made struct{ OpenIDConnectProviderArn string }
	f.must("CreateOpenIDConnectProvider", &made, "Url", "https://"+bare, "ClientIDList.member.1", "sts.amazonaws.com", "ThumbprintList.member.1", print1,
		"Tags.member.1.Key", "k", "Tags.member.1.Value", "v", "KeySet", `{"keys":[{"kty":"RSA"}]}`, "InternalUrl", "https://10.0.0.1:6443")
	require.Equal(t, arn, made.OpenIDConnectProviderArn)
	f.fails("EntityAlreadyExists", 409, "CreateOpenIDConnectProvider", "Url", "https://"+bare)
	for _, bad := range []string{"http://x", "https://", "https://x/?q", "https://u@x", "https://x y", "x"} {
		f.fails("ValidationError", 400, "CreateOpenIDConnectProvider", "Url", bad)
	}
	f.fails("ValidationError", 400, "CreateOpenIDConnectProvider", "Url", "https://x", "ThumbprintList.member.1", "short")
	f.fails("ValidationError", 400, "CreateOpenIDConnectProvider", "Url", "https://x", "CertificateAuthority", "none")
	f.fails("ValidationError", 400, "CreateOpenIDConnectProvider", "Url", "https://x", "KeySet", "{}")
	f.fails("ValidationError", 400, "CreateOpenIDConnectProvider", "Url", "https://x", "InternalUrl", "http://x")
	f.must("AddClientIDToOpenIDConnectProvider", nil, "OpenIDConnectProviderArn", arn, "ClientID", "other")
	f.must("AddClientIDToOpenIDConnectProvider", nil, "OpenIDConnectProviderArn", arn, "ClientID", "other")
	f.must("UpdateOpenIDConnectProviderThumbprint", nil, "OpenIDConnectProviderArn", arn, "ThumbprintList.member.1", strings.Repeat("b1", 20))
	f.must("UpdateOpenIDConnectProviderTrust", nil, "OpenIDConnectProviderArn", arn, "InternalUrl", "https://10.0.0.2:6443")
	var got struct {
		URL                          string `query:"Url"`
		ClientIDList, ThumbprintList []string
		Tags                         []Tag
		KeySet                       string
		InternalURL                  string `query:"InternalUrl"`
	}
	f.must("GetOpenIDConnectProvider", &got, "OpenIDConnectProviderArn", arn)
	require.Equal(t, bare, got.URL)
	require.Equal(t, []string{"other", "sts.amazonaws.com"}, got.ClientIDList)
	require.Equal(t, []string{strings.Repeat("b1", 20)}, got.ThumbprintList)
	require.Equal(t, "https://10.0.0.2:6443", got.InternalURL)
	require.Empty(t, got.KeySet)
	p, err := f.identity.ProviderByURL(t.Context(), account, "https://"+bare)
	require.NoError(t, err)
	require.Equal(t, "https://"+bare, p.URL)
	f.must("RemoveClientIDFromOpenIDConnectProvider", nil, "OpenIDConnectProviderArn", arn, "ClientID", "other")
	var list struct{ OpenIDConnectProviderList []struct{ Arn string } }
	f.must("ListOpenIDConnectProviders", &list)
	require.Len(t, list.OpenIDConnectProviderList, 1)
	f.must("DeleteOpenIDConnectProvider", nil, "OpenIDConnectProviderArn", arn)
	f.fails("NoSuchEntity", 404, "GetOpenIDConnectProvider", "OpenIDConnectProviderArn", arn)
	f.fails("ValidationError", 400, "GetOpenIDConnectProvider", "OpenIDConnectProviderArn", "x")
}

func TestPaging(t *testing.T) {
	f := open(t)
	for i := range 7 {
		f.must("CreateRole", nil, "RoleName", "r"+strconv.Itoa(i), "AssumeRolePolicyDocument", trust, "Path", []string{"/a/", "/b/"}[i%2])
	}
	var names []string
	marker := []string{}
	for page := 0; ; page++ {
		var out struct {
			Roles []roleOutput
			pageOutput
		}
		f.must("ListRoles", &out, append([]string{"PathPrefix", "/a", "MaxItems", "2"}, marker...)...)
		for _, r := range out.Roles {
			names = append(names, r.RoleName)
		}
		if !out.IsTruncated {
			require.Empty(t, out.Marker)
			require.Equal(t, 1, page)
			break
		}
		marker = []string{"Marker", out.Marker}
	}
	require.Equal(t, []string{"r0", "r2", "r4", "r6"}, names)
}

// Conditions on tags, on what is attached and on boundaries reach the policies.
func TestConditionKeys(t *testing.T) {
	f := open(t)
	key := f.user("ops", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["iam:GetRole","iam:DeleteRole"],"Resource":"arn:aws:iam::*:role/team/*","Condition":{"StringEquals":{"aws:ResourceTag/team":"a"}}},
		{"Effect":"Allow","Action":"iam:AttachRolePolicy","Resource":"*","Condition":{"ArnEquals":{"iam:PolicyARN":"`+iam.PolicyPrometheusWrite+`"}}},
		{"Effect":"Allow","Action":"iam:CreateRole","Resource":"arn:aws:iam::*:role/team/*","Condition":{"StringEquals":{"aws:RequestTag/team":"a",
			"iam:PermissionsBoundary":"`+iam.PolicyPrometheusFull+`"},"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}}},
		{"Effect":"Allow","Action":"iam:PutRolePolicy","Resource":"*","Condition":{"StringEquals":{"iam:PermissionsBoundary":"`+iam.PolicyPrometheusFull+`"}}},
		{"Effect":"Allow","Action":"iam:UntagRole","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["free"]}}},
		{"Effect":"Allow","Action":["iam:CreateAccessKey","iam:ListAccessKeys","iam:DeleteAccessKey"],"Resource":"arn:aws:iam::*:user/${aws:username}"}]}`)
	create := []string{"RoleName", "r", "Path", "/team/", "AssumeRolePolicyDocument", trust, "PermissionsBoundary", iam.PolicyPrometheusFull}
	tagged := append(create[:len(create):len(create)], "Tags.member.1.Key", "team", "Tags.member.1.Value", "a")
	f.failsAs(key, "AccessDenied", 403, "CreateRole", create...)
	f.failsAs(key, "AccessDenied", 403, "CreateRole", append(tagged[:len(tagged):len(tagged)], "Tags.member.2.Key", "x", "Tags.member.2.Value", "")...)
	f.failsAs(key, "AccessDenied", 403, "CreateRole", append([]string{"RoleName", "r", "Path", "/other/"}, tagged[4:]...)...)
	require.NoError(t, f.do(key, "CreateRole", nil, tagged...))
	f.must("CreateRole", nil, "RoleName", "foreign", "Path", "/team/", "AssumeRolePolicyDocument", trust)
	require.NoError(t, f.do(key, "GetRole", nil, "RoleName", "r"))
	f.failsAs(key, "AccessDenied", 403, "GetRole", "RoleName", "foreign")
	f.failsAs(key, "AccessDenied", 403, "GetRole", "RoleName", "none")
	require.NoError(t, f.do(key, "AttachRolePolicy", nil, "RoleName", "r", "PolicyArn", iam.PolicyPrometheusWrite))
	f.failsAs(key, "AccessDenied", 403, "AttachRolePolicy", "RoleName", "r", "PolicyArn", iam.PolicyAdministratorAccess)
	require.NoError(t, f.do(key, "PutRolePolicy", nil, "RoleName", "r", "PolicyName", "p", "PolicyDocument", readDoc))
	f.failsAs(key, "AccessDenied", 403, "PutRolePolicy", "RoleName", "foreign", "PolicyName", "p", "PolicyDocument", readDoc)
	f.failsAs(key, "AccessDenied", 403, "UntagRole", "RoleName", "r", "TagKeys.member.1", "free", "TagKeys.member.2", "team")
	require.NoError(t, f.do(key, "UntagRole", nil, "RoleName", "r", "TagKeys.member.1", "free"))
	require.NoError(t, f.do(key, "ListAccessKeys", nil))
	f.failsAs(key, "AccessDenied", 403, "ListAccessKeys", "UserName", "admin")
	f.failsAs(key, "AccessDenied", 403, "GetAccessKeyLastUsed", "AccessKeyId", f.admin.ID)
}

// Two tenants: neither administrator sees or changes what is the other's.
func TestAccountsAreApart(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	require.NoError(t, f.identity.CreateAccount(ctx, other, "other"))
	_, err := f.identity.CreateUser(ctx, other, "admin")
	require.NoError(t, err)
	require.NoError(t, f.identity.AttachUserPolicy(ctx, other, "admin", iam.PolicyAdministratorAccess))
	theirs, err := f.identity.CreateAccessKey(ctx, other, "admin")
	require.NoError(t, err)
	f.must("CreateRole", nil, "RoleName", "ours", "AssumeRolePolicyDocument", trust)
	f.must("CreatePolicy", nil, "PolicyName", "ours", "PolicyDocument", writeDoc)
	f.must("CreateOpenIDConnectProvider", nil, "Url", "https://issuer.test")
	f.must("CreateAccountAlias", nil, "AccountAlias", "ours")

	f.failsAs(theirs, "NoSuchEntity", 404, "GetRole", "RoleName", "ours")
	f.failsAs(theirs, "NoSuchEntity", 404, "DeleteRole", "RoleName", "ours")
	f.failsAs(theirs, "NoSuchEntity", 404, "GetAccessKeyLastUsed", "AccessKeyId", f.admin.ID)
	f.failsAs(theirs, "NoSuchEntity", 404, "DeleteAccessKey", "UserName", "admin", "AccessKeyId", f.admin.ID)
	const policy, provider = "arn:aws:iam::000000000000:policy/ours", "arn:aws:iam::000000000000:oidc-provider/issuer.test"
	require.Contains(t, f.failsAs(theirs, "AccessDenied", 403, "GetPolicy", "PolicyArn", policy), "no resource-based policy allows the iam:GetPolicy action")
	f.failsAs(theirs, "AccessDenied", 403, "DeletePolicy", "PolicyArn", policy)
	f.failsAs(theirs, "AccessDenied", 403, "GetOpenIDConnectProvider", "OpenIDConnectProviderArn", provider)
	f.failsAs(theirs, "AccessDenied", 403, "SimulatePrincipalPolicy", "PolicySourceArn", f.admin.Principal.ARN, "ActionNames.member.1", "aps:X")
	f.failsAs(theirs, "NoSuchEntity", 404, "AttachUserPolicy", "UserName", "admin", "PolicyArn", policy)
	f.failsAs(theirs, "EntityAlreadyExists", 409, "CreateAccountAlias", "AccountAlias", "ours")
	var roles struct{ Roles []roleOutput }
	require.NoError(t, f.do(theirs, "ListRoles", &roles))
	require.Empty(t, roles.Roles)
	var sum struct{ SummaryMap map[string]int }
	require.NoError(t, f.do(theirs, "GetAccountSummary", &sum))
	require.Zero(t, sum.SummaryMap["Roles"])
	require.Equal(t, 1, sum.SummaryMap["Users"])
	var all details
	require.NoError(t, f.do(theirs, "GetAccountAuthorizationDetails", &all, "Filter.member.1", "User", "Filter.member.2", "Role", "Filter.member.3", "LocalManagedPolicy"))
	require.Len(t, all.UserDetailList, 1)
	require.Contains(t, all.UserDetailList[0].Arn, other)
	require.Empty(t, all.RoleDetailList)
	require.Empty(t, all.Policies)
}

func TestAccount(t *testing.T) {
	f := open(t)
	var aliases struct{ AccountAliases []string }
	f.must("ListAccountAliases", &aliases)
	require.Empty(t, aliases.AccountAliases)
	for _, bad := range []string{"ab", "A-b", "-ab", "a--b", "123456789012", strings.Repeat("a", 64)} {
		f.fails("ValidationError", 400, "CreateAccountAlias", "AccountAlias", bad)
	}
	f.must("CreateAccountAlias", nil, "AccountAlias", "first")
	f.must("CreateAccountAlias", nil, "AccountAlias", "second") // takes the other's place
	f.must("ListAccountAliases", &aliases)
	require.Equal(t, []string{"second"}, aliases.AccountAliases)
	f.fails("NoSuchEntity", 404, "DeleteAccountAlias", "AccountAlias", "first")
	f.must("DeleteAccountAlias", nil, "AccountAlias", "second")

	f.must("CreateGroup", nil, "GroupName", "g")
	f.must("PutGroupPolicy", nil, "GroupName", "g", "PolicyName", "p", "PolicyDocument", readDoc)
	f.must("AddUserToGroup", nil, "GroupName", "g", "UserName", "admin")
	f.must("CreateRole", nil, "RoleName", "r", "AssumeRolePolicyDocument", trust, "Tags.member.1.Key", "k", "Tags.member.1.Value", "v")
	f.must("AttachRolePolicy", nil, "RoleName", "r", "PolicyArn", iam.PolicyPrometheusWrite)
	f.must("CreatePolicy", nil, "PolicyName", "own", "PolicyDocument", writeDoc)
	var all details
	f.must("GetAccountAuthorizationDetails", &all, "MaxItems", "1000")
	require.Equal(t, []string{"g"}, all.UserDetailList[0].GroupList)
	require.Equal(t, "AdministratorAccess", all.UserDetailList[0].AttachedManagedPolicies[0].PolicyName)
	require.Equal(t, []inlineOutput{{"p", encodeDocument(readDoc)}}, all.GroupDetailList[0].GroupPolicyList)
	require.Equal(t, iam.PolicyPrometheusWrite, all.RoleDetailList[0].AttachedManagedPolicies[0].PolicyArn)
	require.Equal(t, []Tag{{"k", "v"}}, all.RoleDetailList[0].Tags)
	// The same, page after page.
	var n int
	marker := []string{}
	for {
		var some details
		f.must("GetAccountAuthorizationDetails", &some, append([]string{"MaxItems", "3"}, marker...)...)
		n += len(some.UserDetailList) + len(some.GroupDetailList) + len(some.RoleDetailList) + len(some.Policies)
		if !some.IsTruncated {
			break
		}
		marker = []string{"Marker", some.Marker}
	}
	require.Equal(t, len(all.Policies)+3, n)
	f.fails("ValidationError", 400, "GetAccountAuthorizationDetails", "Filter.member.1", "Robot")

	// What does not exist here is not there, and its user has to be.
	for _, op := range []string{"ListMFADevices", "ListSSHPublicKeys", "ListSigningCertificates", "ListServiceSpecificCredentials"} {
		f.must(op, nil)
		f.fails("NoSuchEntity", 404, op, "UserName", "none")
	}
	require.Contains(t, f.fails("NoSuchEntity", 404, "GetLoginProfile", "UserName", "admin"), "Login Profile for User admin cannot be found.")
	f.fails("NoSuchEntity", 404, "DeleteLoginProfile", "UserName", "none")
	require.Contains(t, f.fails("LimitExceeded", 409, "AttachUserPolicy", f.elevenPolicies("admin")...), "PoliciesPerUser: 10")
}

// elevenPolicies attaches policies to a user until one more is too many, and
// returns the parameters of that.
func (f *fixture) elevenPolicies(user string) []string {
	for _, p := range []string{"PowerUserAccess", "IAMFullAccess", "IAMReadOnlyAccess", "AmazonPrometheusFullAccess", "AmazonPrometheusQueryAccess",
		"AmazonPrometheusRemoteWriteAccess", "AmazonPrometheusConsoleFullAccess", "AWSGrafanaAccountAdministrator", "AWSGrafanaConsoleReadOnlyAccess"} {
		f.must("AttachUserPolicy", nil, "UserName", user, "PolicyArn", "arn:aws:iam::aws:policy/"+p)
	}
	return []string{"UserName", user, "PolicyArn", "arn:aws:iam::000000000000:policy/own"}
}

func TestSimulation(t *testing.T) {
	f := open(t)
	f.must("CreateRole", nil, "RoleName", "w", "AssumeRolePolicyDocument", trust)
	f.must("AttachRolePolicy", nil, "RoleName", "w", "PolicyArn", iam.PolicyPrometheusWrite)
	f.must("PutRolePolicy", nil, "RoleName", "w", "PolicyName", "no", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"aps:RemoteWrite","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"us-west-2"}}}]}`)
	type results struct {
		EvaluationResults []evaluationResult
		pageOutput
	}
	const ws = "arn:aws:aps:us-east-1:000000000000:workspace/ws-1"
	ask := func(more ...string) results {
		var out results
		f.must("SimulatePrincipalPolicy", &out, append([]string{"PolicySourceArn", "arn:aws:iam::000000000000:role/w", "ActionNames.member.1", "aps:RemoteWrite",
			"ActionNames.member.2", "aps:QueryMetrics", "ResourceArns.member.1", ws}, more...)...)
		return out
	}
	out := ask()
	require.Len(t, out.EvaluationResults, 2)
	require.Equal(t, "allowed", out.EvaluationResults[0].EvalDecision)
	require.Equal(t, iam.PolicyPrometheusWrite, out.EvaluationResults[0].MatchedStatements[0].SourcePolicyID)
	require.Equal(t, "aws-managed", out.EvaluationResults[0].MatchedStatements[0].SourcePolicyType)
	require.Positive(t, out.EvaluationResults[0].MatchedStatements[0].EndPosition.Line)
	require.Contains(t, out.EvaluationResults[0].MissingContextValues, "aws:RequestedRegion")
	require.Equal(t, "implicitDeny", out.EvaluationResults[1].EvalDecision)
	denied := ask("ContextEntries.member.1.ContextKeyName", "aws:RequestedRegion", "ContextEntries.member.1.ContextKeyType", "string",
		"ContextEntries.member.1.ContextKeyValues.member.1", "us-west-2")
	require.Equal(t, "explicitDeny", denied.EvaluationResults[0].EvalDecision)
	require.Equal(t, "inline:no", denied.EvaluationResults[0].MatchedStatements[0].SourcePolicyID, "the one that decided is first")
	extra := ask("PolicyInputList.member.1", readDoc, "MaxItems", "1")
	require.True(t, extra.IsTruncated)
	require.Equal(t, "allowed", ask("PolicyInputList.member.1", readDoc, "Marker", extra.Marker).EvaluationResults[0].EvalDecision)
	bounded := ask("PermissionsBoundaryPolicyInputList.member.1", readDoc).EvaluationResults[0]
	require.Equal(t, "implicitDeny", bounded.EvalDecision)
	require.False(t, bounded.PermissionsBoundaryDecision.AllowedByPermissionsBoundary)

	var custom results
	f.must("SimulateCustomPolicy", &custom, "PolicyInputList.member.1", writeDoc, "ActionNames.member.1", "aps:RemoteWrite")
	require.Equal(t, "allowed", custom.EvaluationResults[0].EvalDecision)
	f.fails("MalformedPolicyDocument", 400, "SimulateCustomPolicy", "PolicyInputList.member.1", "{}", "ActionNames.member.1", "aps:RemoteWrite")
	f.fails("NoSuchEntity", 404, "SimulatePrincipalPolicy", "PolicySourceArn", "arn:aws:iam::000000000000:role/none", "ActionNames.member.1", "aps:X")
	f.fails("ValidationError", 400, "SimulatePrincipalPolicy", "PolicySourceArn", "x", "ActionNames.member.1", "aps:X")
	var keys struct{ ContextKeyNames []string }
	f.must("GetContextKeysForPrincipalPolicy", &keys, "PolicySourceArn", "arn:aws:iam::000000000000:role/w")
	require.Contains(t, keys.ContextKeyNames, "aws:RequestedRegion")
}

// TestEveryOperationRefuses walks the table with every wrong caller.
func TestEveryOperationRefuses(t *testing.T) {
	f := open(t)
	f.must("CreateRole", nil, "RoleName", "r", "AssumeRolePolicyDocument", trust)
	wrong, unknown := f.admin, f.admin
	wrong.Secret, unknown.ID = "guess", "AKIAIOSFODNN7EXAMPLE"
	nobody := f.user("none", "")
	full := map[string]string{"UserName": "admin", "GroupName": "g", "RoleName": "r", "PolicyArn": iam.PolicyPrometheusWrite, "PolicyName": "p", "VersionId": "v1",
		"PolicyDocument": writeDoc, "AssumeRolePolicyDocument": trust, "OpenIDConnectProviderArn": "arn:aws:iam::000000000000:oidc-provider/x.test",
		"Url": "https://x.test", "ClientID": "c", "AccessKeyId": f.admin.ID, "Status": "Active", "AccountAlias": "alias", "PermissionsBoundary": iam.PolicyPrometheusWrite,
		"PolicySourceArn": "arn:aws:iam::000000000000:user/admin", "ActionNames.member.1": "aps:X", "PolicyInputList.member.1": writeDoc,
		"Tags.member.1.Key": "a", "Tags.member.1.Value": "b", "TagKeys.member.1": "a", "ThumbprintList.member.1": strings.Repeat("a", 40)}
	require.Greater(t, len(f.service.Routes), 80)
	for _, r := range f.service.Routes {
		require.False(t, r.Anonymous || r.NoPermission, r.Name)
		require.Equal(t, "iam:"+r.Name, r.Action)
		params := maps.Clone(full)
		for { // only the parameters that the operation has
			var flat []string
			for name, value := range params {
				flat = append(flat, name, value)
			}
			var e *awsquery.ResponseError
			require.ErrorAs(t, f.do(nobody, r.Name, nil, flat...), &e, r.Name)
			if name, _, ok := strings.Cut(e.Message, ": is not a parameter"); ok && e.Code == "ValidationError" {
				n := len(params)
				maps.DeleteFunc(params, func(p, _ string) bool { return p == name || strings.HasPrefix(p, name+".") })
				require.Less(t, len(params), n, name)
				continue
			}
			require.Equal(t, "AccessDenied", e.Code, "%s: %s", r.Name, e.Message)
			require.Contains(t, e.Message, "iam:"+r.Name)
			f.failsAs(wrong, "SignatureDoesNotMatch", 403, r.Name, flat...)
			f.failsAs(unknown, "InvalidClientTokenId", 403, r.Name, flat...)
			break
		}
	}
	var users struct{ Users []userOutput }
	f.must("ListUsers", &users)
	require.Len(t, users.Users, 2, "nothing was changed")
}

func TestEncodeDocument(t *testing.T) {
	require.Equal(t, "%7B%22a%22%3A%20%22x-._~%2B%2A%C3%A9%22%7D", encodeDocument(`{"a": "x-._~+*é"}`))
}
