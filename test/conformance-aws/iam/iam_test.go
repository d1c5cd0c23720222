// Package iam_test compares IAM with what the AWS SDK sends and understands.
package iam_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/iamapi"
)

func open(t *testing.T) (*sdk.Client, *iam.Service, api.Service) {
	ctx, dir := t.Context(), t.TempDir()
	records, err := db.Open(ctx, filepath.Join(dir, "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = records.Close() })
	identity, err := iam.Open(ctx, records, iam.Config{KeyFile: filepath.Join(dir, "secret.key")})
	require.NoError(t, err)
	admin, _, err := identity.Bootstrap(ctx)
	require.NoError(t, err)
	service, err := iamapi.New(identity)
	require.NoError(t, err)
	v, err := sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{"ap-northeast-2"}}, api.Keys(identity))
	require.NoError(t, err)
	router, err := api.NewRouter(api.Config{Verifier: v, Authorizer: identity, Services: []api.Service{service}}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	srv := httptest.NewServer(router)
	t.Cleanup(srv.Close)
	return sdk.New(sdk.Options{Region: "ap-northeast-2", BaseEndpoint: aws.String(srv.URL), Credentials: credentials.NewStaticCredentialsProvider(admin.ID, admin.Secret, "")}), identity, service
}

// Every request that the SDK's own snapshots hold, of operations we serve, is understood.
func TestRequestSnapshots(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/iam").Output()
	require.NoError(t, err)
	dir := filepath.Join(strings.TrimSpace(string(out)), "request_snapshot")
	_, _, service := open(t)
	served := map[string]api.Route{}
	for _, r := range service.Routes {
		served[r.Name] = r
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	n, missing := 0, []string{}
	for _, f := range files {
		op := strings.TrimSuffix(f.Name(), ".request.snap")
		r, ok := served[op]
		if !ok {
			missing = append(missing, op)
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		require.NoError(t, err)
		body := string(text[strings.LastIndex(string(text), "\n")+1:])
		form, err := url.ParseQuery(body)
		require.NoError(t, err)
		req := httptest.NewRequest("POST", "/", nil)
		_, err = r.Resource(&api.Call{Request: req, Form: form, Principal: iam.Principal{AccountID: iam.DefaultAccount, Type: iam.TypeUser, Name: "admin"}})
		var e *api.Error
		if errors.As(err, &e) && (e.Code == "MissingParameter" || strings.Contains(e.Message, "not a parameter") || e.Code == "MalformedQueryString") {
			t.Errorf("%s: %s\n%s", op, e.Message, body)
		} else if err != nil {
			t.Logf("%s: %v", op, err)
		}
		n++
	}
	require.Greater(t, n, 90, "snapshots of operations that are served; not served: %v", missing)
}

const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`
const doc = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"aps:RemoteWrite","Resource":"*"}]}`

func dump(v any) string { b, _ := json.Marshal(v); return string(b) }

func TestSDK(t *testing.T) {
	c, _, _ := open(t)
	ctx := context.Background()
	s := aws.String
	tags := []types.Tag{{Key: s("env"), Value: s("prod")}, {Key: s("empty"), Value: s("")}}
	u, err := c.CreateUser(ctx, &sdk.CreateUserInput{UserName: s("ann"), Path: s("/t/"), Tags: tags, PermissionsBoundary: s(iam.PolicyPrometheusFull)})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:iam::000000000000:user/t/ann", *u.User.Arn)
	require.WithinDuration(t, time.Now(), *u.User.CreateDate, time.Minute)
	require.Len(t, u.User.Tags, 2)
	require.Equal(t, iam.PolicyPrometheusFull, *u.User.PermissionsBoundary.PermissionsBoundaryArn)
	_, err = c.CreateUser(ctx, &sdk.CreateUserInput{UserName: s("ann")})
	var exists *types.EntityAlreadyExistsException
	require.ErrorAs(t, err, &exists)
	_, err = c.GetUser(ctx, &sdk.GetUserInput{UserName: s("bob")})
	var none *types.NoSuchEntityException
	require.ErrorAs(t, err, &none)
	require.Contains(t, none.ErrorMessage(), "cannot be found")
	_, err = c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: s("r"), AssumeRolePolicyDocument: s("{")})
	var malformed *types.MalformedPolicyDocumentException
	require.ErrorAs(t, err, &malformed)
	r, err := c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: s("r"), AssumeRolePolicyDocument: s(trust), MaxSessionDuration: aws.Int32(7200), Description: s("d"), Tags: tags})
	require.NoError(t, err)
	got, err := url.QueryUnescape(*r.Role.AssumeRolePolicyDocument)
	require.NoError(t, err)
	require.Equal(t, trust, got)
	require.EqualValues(t, 7200, *r.Role.MaxSessionDuration)
	gr, err := c.GetRole(ctx, &sdk.GetRoleInput{RoleName: s("r")})
	require.NoError(t, err)
	require.NotNil(t, gr.Role.RoleLastUsed)
	require.Nil(t, gr.Role.RoleLastUsed.LastUsedDate)
	p, err := c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: s("p"), PolicyDocument: s(doc)})
	require.NoError(t, err)
	require.True(t, p.Policy.IsAttachable)
	_, err = c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: p.Policy.Arn, PolicyDocument: s(doc), SetAsDefault: true})
	require.NoError(t, err)
	v, err := c.ListPolicyVersions(ctx, &sdk.ListPolicyVersionsInput{PolicyArn: p.Policy.Arn})
	require.NoError(t, err)
	require.Len(t, v.Versions, 2)
	require.True(t, v.Versions[0].IsDefaultVersion)
	_, err = c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: s("r"), PolicyArn: p.Policy.Arn})
	require.NoError(t, err)
	_, err = c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: s("r")})
	var conflict *types.DeleteConflictException
	require.ErrorAs(t, err, &conflict)
	ents, err := c.ListEntitiesForPolicy(ctx, &sdk.ListEntitiesForPolicyInput{PolicyArn: p.Policy.Arn})
	require.NoError(t, err)
	require.Equal(t, "r", *ents.PolicyRoles[0].RoleName)
	_, err = c.TagPolicy(ctx, &sdk.TagPolicyInput{PolicyArn: p.Policy.Arn, Tags: tags})
	require.NoError(t, err)
	pages := sdk.NewListPoliciesPaginator(c, &sdk.ListPoliciesInput{MaxItems: aws.Int32(3)})
	n := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		require.NoError(t, err)
		n += len(page.Policies)
	}
	require.Greater(t, n, 10)
	k, err := c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: s("ann")})
	require.NoError(t, err)
	require.Len(t, *k.AccessKey.SecretAccessKey, 40)
	used, err := c.GetAccessKeyLastUsed(ctx, &sdk.GetAccessKeyLastUsedInput{AccessKeyId: k.AccessKey.AccessKeyId})
	require.NoError(t, err)
	require.Nil(t, used.AccessKeyLastUsed.LastUsedDate)
	require.Equal(t, "N/A", *used.AccessKeyLastUsed.Region)
	o, err := c.CreateOpenIDConnectProvider(ctx, &sdk.CreateOpenIDConnectProviderInput{Url: s("https://oidc.test/id/X"), ClientIDList: []string{"sts.amazonaws.com"}, Tags: tags})
	require.NoError(t, err)
	og, err := c.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: o.OpenIDConnectProviderArn})
	require.NoError(t, err)
	require.Equal(t, "oidc.test/id/X", *og.Url)
	sim, err := c.SimulatePrincipalPolicy(ctx, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: r.Role.Arn, ActionNames: []string{"aps:RemoteWrite", "aps:QueryMetrics"},
		ContextEntries: []types.ContextEntry{{ContextKeyName: s("aws:SourceIp"), ContextKeyType: "ip", ContextKeyValues: []string{"10.0.0.1"}}}})
	require.NoError(t, err)
	require.Equal(t, types.PolicyEvaluationDecisionTypeAllowed, sim.EvaluationResults[0].EvalDecision)
	require.Equal(t, types.PolicyEvaluationDecisionTypeImplicitDeny, sim.EvaluationResults[1].EvalDecision)
	require.NotZero(t, sim.EvaluationResults[0].MatchedStatements[0].EndPosition.Line)
	sum, err := c.GetAccountSummary(ctx, &sdk.GetAccountSummaryInput{})
	require.NoError(t, err)
	require.EqualValues(t, 2, sum.SummaryMap["Users"])
	all, err := c.GetAccountAuthorizationDetails(ctx, &sdk.GetAccountAuthorizationDetailsInput{})
	require.NoError(t, err)
	require.Len(t, all.RoleDetailList, 1)
	require.Len(t, all.RoleDetailList[0].AttachedManagedPolicies, 1)
	require.NotEmpty(t, all.Policies[0].PolicyVersionList)
	_, err = c.DeleteLoginProfile(ctx, &sdk.DeleteLoginProfileInput{UserName: s("ann")})
	require.ErrorAs(t, err, &none)
	var ae smithy.APIError
	_, err = c.CreateSAMLProvider(ctx, &sdk.CreateSAMLProviderInput{Name: s("x"), SAMLMetadataDocument: s(strings.Repeat("x", 1000))})
	require.ErrorAs(t, err, &ae)
	t.Log(ae.ErrorCode(), ae.ErrorMessage())
}

// Every operation that we serve is read by the SDK without a deserialization error, whatever it answers.
func TestEveryOperation(t *testing.T) {
	c, _, service := open(t)
	ctx := context.Background()
	cv := reflect.ValueOf(c)
	for _, r := range service.Routes {
		m := cv.MethodByName(r.Name)
		if !m.IsValid() {
			t.Logf("not in the SDK: %s", r.Name)
			continue
		}
		in := reflect.New(m.Type().In(1).Elem())
		fill(in.Elem())
		out := m.Call([]reflect.Value{reflect.ValueOf(ctx), in})
		if err, _ := out[1].Interface().(error); err != nil {
			var ae smithy.APIError
			if !errors.As(err, &ae) {
				t.Errorf("%s: %v", r.Name, err)
				continue
			}
			if ae.ErrorCode() == "InternalServerException" || ae.ErrorCode() == "ServiceFailure" || strings.Contains(ae.ErrorMessage(), "not a parameter") {
				t.Errorf("%s: %s %s", r.Name, ae.ErrorCode(), ae.ErrorMessage())
			}
			t.Logf("%s: %s %s", r.Name, ae.ErrorCode(), ae.ErrorMessage())
			continue
		}
		t.Logf("%s: %.150s", r.Name, dump(out[0].Interface()))
	}
}

func fill(v reflect.Value) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		if f.Kind() != reflect.Pointer || f.Type().Elem().Kind() != reflect.String {
			switch {
			case name == "ActionNames":
				f.Set(reflect.ValueOf([]string{"aps:RemoteWrite"}))
			case name == "PolicyInputList":
				f.Set(reflect.ValueOf([]string{doc}))
			case name == "TagKeys":
				f.Set(reflect.ValueOf([]string{"k"}))
			case name == "ThumbprintList":
				f.Set(reflect.ValueOf([]string{strings.Repeat("a", 40)}))
			case name == "Tags":
				f.Set(reflect.ValueOf([]types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}))
			case name == "Status":
				f.SetString("Active")
			}
			continue
		}
		value := map[string]string{"UserName": "u", "GroupName": "g", "RoleName": "r", "PolicyName": "p", "PolicyDocument": doc, "AssumeRolePolicyDocument": trust,
			"PolicyArn": "arn:aws:iam::000000000000:policy/p", "VersionId": "v1", "Url": "https://x.test", "ClientID": "c",
			"OpenIDConnectProviderArn": "arn:aws:iam::000000000000:oidc-provider/x.test", "AccountAlias": "alias", "PermissionsBoundary": iam.PolicyAdministratorAccess,
			"PolicySourceArn": "arn:aws:iam::000000000000:user/admin", "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "Description": "d", "NewUserName": "u", "NewGroupName": "g"}[name]
		if value != "" {
			f.Set(reflect.ValueOf(&value))
		}
	}
	_ = fmt.Sprint
	_ = http.StatusOK
}
