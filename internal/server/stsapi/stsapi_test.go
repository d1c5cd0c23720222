package stsapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/auth/sts"
	"github.com/mangru/mangru/internal/auth/webidentity"
	"github.com/mangru/mangru/internal/awsquery"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/server/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	region  = "ap-northeast-2"
	subject = "system:serviceaccount:prometheus:amp-irsa-role"
)

// server is the real edge with the real records, tokens and judge behind it.
type server struct {
	*httptest.Server
	iam    *iam.Service
	tokens *sts.Service
	admin  iam.AccessKey
	issuer *issuer
}

// issuer is a cluster's, on a port of its own.
type issuer struct {
	*httptest.Server
	key   *ecdsa.PrivateKey
	kid   atomic.Value
	fails atomic.Int64 // so many answers are failures
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	i := &issuer{key: key}
	i.kid.Store("k1")
	i.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.fails.Add(-1) >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path == "/.well-known/openid-configuration" {
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
			return
		}
		point, _ := key.PublicKey.Bytes()
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{"kty": "EC", "crv": "P-256", "kid": i.kid.Load(),
			"x": b64(point[1:33]), "y": b64(point[33:])}}})
	}))
	t.Cleanup(i.Close)
	return i
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (i *issuer) token(t *testing.T, change ...func(map[string]any)) string {
	t.Helper()
	now := time.Now().Unix()
	claims := map[string]any{"iss": i.URL, "sub": subject, "aud": "sts.amazonaws.com", "iat": now, "nbf": now, "exp": now + 3600}
	for _, c := range change {
		c(claims)
	}
	header, err := json.Marshal(map[string]any{"alg": "ES256", "kid": i.kid.Load()})
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	signed := b64(header) + "." + b64(payload)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	require.NoError(t, err)
	return signed + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func start(t *testing.T) *server {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	records, err := db.Open(ctx, filepath.Join(dir, "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = records.Close() })
	s := &server{issuer: newIssuer(t)}
	s.iam, err = iam.Open(ctx, records, iam.Config{KeyFile: filepath.Join(dir, "secret.key")})
	require.NoError(t, err)
	s.admin, _, err = s.iam.Bootstrap(ctx)
	require.NoError(t, err)
	verifier, err := webidentity.New(webidentity.Config{RefreshEvery: time.Nanosecond})
	require.NoError(t, err)
	t.Cleanup(verifier.Close)
	s.tokens, err = sts.New(sts.Config{Store: s.iam, Tokens: verifier, Keys: s.iam.SessionKeys()})
	require.NoError(t, err)
	service, err := New(s.tokens)
	require.NoError(t, err)
	v, err := sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{region}, Tolerances: sigv4.AllTolerances()}, api.Keys(s.iam, s.tokens))
	require.NoError(t, err)
	router, err := api.NewRouter(api.Config{Services: []api.Service{service}, Verifier: v, Authorizer: s.iam}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		router.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)

	_, err = s.iam.CreateProvider(ctx, iam.DefaultAccount, iam.ProviderSpec{URL: s.issuer.URL, ClientIDs: []string{"sts.amazonaws.com"},
		Trust: iam.ProviderTrust{CA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.issuer.Certificate().Raw}))}})
	require.NoError(t, err)
	return s
}

func (s *server) provider() string {
	return "arn:aws:iam::000000000000:oidc-provider/" + strings.TrimPrefix(s.issuer.URL, "https://")
}

// irsaRole makes a role as eksctl does.
func (s *server) irsaRole(t *testing.T, name string) iam.Role {
	t.Helper()
	bare := strings.TrimPrefix(s.issuer.URL, "https://")
	return s.role(t, name, fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":%q},
"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{%q:"sts.amazonaws.com",%q:%q}}}]}`, s.provider(), bare+":aud", bare+":sub", subject))
}

func (s *server) role(t *testing.T, name, trust string) iam.Role {
	t.Helper()
	r, err := s.iam.CreateRole(context.Background(), iam.DefaultAccount, iam.RoleSpec{Name: name, Trust: trust})
	require.NoError(t, err)
	return r
}

func (s *server) config(c aws.CredentialsProvider) aws.Config {
	return aws.Config{Region: region, Credentials: c, BaseEndpoint: aws.String(s.URL),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 3, time.Millisecond })
		}}
}

func static(id, secret, token string) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(id, secret, token)
}

func (s *server) client(c aws.CredentialsProvider) *awssts.Client {
	return awssts.NewFromConfig(s.config(c))
}

func (s *server) asAdmin() *awssts.Client {
	return s.client(static(s.admin.ID, s.admin.Secret, ""))
}

func of(c *types.Credentials) aws.CredentialsProvider {
	return static(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
}

func requireAPIError(t *testing.T, err error, code, message string) {
	t.Helper()
	var e smithy.APIError
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.ErrorCode(), "%v", err)
	require.Contains(t, e.ErrorMessage(), message)
}

func TestGetCallerIdentity(t *testing.T) {
	s, ctx := start(t), context.Background()
	out, err := s.asAdmin().GetCallerIdentity(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, "arn:aws:iam::000000000000:user/admin", *out.Arn)
	require.Equal(t, "000000000000", *out.Account)
	require.Regexp(t, "^AIDA", *out.UserId)
	_, err = s.client(static(s.admin.ID, "wrong", "")).GetCallerIdentity(ctx, nil)
	requireAPIError(t, err, "SignatureDoesNotMatch", "")
	// No permission is needed.
	_, err = s.iam.CreateUser(ctx, iam.DefaultAccount, "nobody")
	require.NoError(t, err)
	key, err := s.iam.CreateAccessKey(ctx, iam.DefaultAccount, "nobody")
	require.NoError(t, err)
	out, err = s.client(static(key.ID, key.Secret, "")).GetCallerIdentity(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, "arn:aws:iam::000000000000:user/nobody", *out.Arn)
	_, err = s.client(static(key.ID, key.Secret, "")).GetAccessKeyInfo(ctx, &awssts.GetAccessKeyInfoInput{AccessKeyId: &key.ID})
	requireAPIError(t, err, "AccessDenied", "sts:GetAccessKeyInfo")
}

// TestPresigned is what `aws eks get-token` makes: a signed URL that somebody
// else calls.
func TestPresigned(t *testing.T) {
	s, ctx := start(t), context.Background()
	get := func(client *awssts.Client, change func(*http.Request)) (int, string) {
		p, err := awssts.NewPresignClient(client).PresignGetCallerIdentity(ctx, nil, func(o *awssts.PresignOptions) {
			o.ClientOptions = append(o.ClientOptions, awssts.WithAPIOptions(smithyhttp.SetHeaderValue("X-Amz-Expires", "60")))
		})
		require.NoError(t, err)
		r, err := http.NewRequestWithContext(ctx, p.Method, p.URL, http.NoBody)
		require.NoError(t, err)
		change(r)
		resp, err := s.Client().Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(b)
	}
	status, body := get(s.asAdmin(), func(*http.Request) {})
	require.Equal(t, 200, status, body)
	require.Contains(t, body, "<Arn>arn:aws:iam::000000000000:user/admin</Arn>")
	require.Contains(t, body, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>`)
	status, _ = get(s.asAdmin(), func(r *http.Request) {
		r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "GetCallerIdentity", "GetSessionToken", 1)
	})
	require.Equal(t, 403, status)
	// With a session's credentials.
	tok, err := s.asAdmin().GetSessionToken(ctx, nil)
	require.NoError(t, err)
	status, body = get(s.client(of(tok.Credentials)), func(*http.Request) {})
	require.Equal(t, 200, status, body)

	// The form of get-token: GET, a cluster's name among the signed headers.
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", http.NoBody)
	require.NoError(t, err)
	r.Header.Set("x-k8s-aws-id", "shop")
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	signed, header, err := v4.NewSigner().PresignHTTP(ctx, aws.Credentials{AccessKeyID: s.admin.ID, SecretAccessKey: s.admin.Secret}, r, empty, "sts", region, time.Now())
	require.NoError(t, err)
	for _, cluster := range []string{"shop", "other"} {
		r, err = http.NewRequestWithContext(ctx, http.MethodGet, signed, http.NoBody)
		require.NoError(t, err)
		for k := range header {
			r.Header[k] = header[k]
		}
		r.Header.Set("x-k8s-aws-id", cluster)
		resp, err := s.Client().Do(r)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, map[string]int{"shop": 200, "other": 403}[cluster], resp.StatusCode)
	}
}

func TestWebIdentity(t *testing.T) {
	s, ctx := start(t), context.Background()
	role := s.irsaRole(t, "amp-irsa-role")
	require.NoError(t, s.iam.AttachPolicy(ctx, iam.RoleRef(iam.DefaultAccount, role.Name), iam.PolicyPrometheusWrite))
	anonymous := s.client(aws.AnonymousCredentials{})
	in := &awssts.AssumeRoleWithWebIdentityInput{RoleArn: &role.ARN, RoleSessionName: aws.String("sess"), WebIdentityToken: aws.String(s.issuer.token(t))}
	out, err := anonymous.AssumeRoleWithWebIdentity(ctx, in)
	require.NoError(t, err)
	require.Equal(t, subject, *out.SubjectFromWebIdentityToken)
	require.Equal(t, "sts.amazonaws.com", *out.Audience)
	require.Equal(t, s.provider(), *out.Provider)
	require.Equal(t, "arn:aws:sts::000000000000:assumed-role/amp-irsa-role/sess", *out.AssumedRoleUser.Arn)
	require.Equal(t, role.ID+":sess", *out.AssumedRoleUser.AssumedRoleId)
	require.WithinDuration(t, time.Now().Add(time.Hour), *out.Credentials.Expiration, time.Minute)
	require.EqualValues(t, len(*out.Credentials.SessionToken), *out.SessionTokenSize)

	me, err := s.client(of(out.Credentials)).GetCallerIdentity(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, *out.AssumedRoleUser.Arn, *me.Arn)
	require.Equal(t, *out.AssumedRoleUser.AssumedRoleId, *me.UserId)
	_, err = s.client(static(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, "")).GetCallerIdentity(ctx, nil)
	requireAPIError(t, err, "InvalidClientTokenId", "")
	_, err = s.client(static(s.admin.ID, s.admin.Secret, *out.Credentials.SessionToken)).GetCallerIdentity(ctx, nil)
	requireAPIError(t, err, "InvalidClientTokenId", "")
	_, err = s.client(of(out.Credentials)).GetSessionToken(ctx, nil)
	requireAPIError(t, err, "AccessDenied", "Cannot call GetSessionToken with session credentials")

	// What the session may do is the judge's to say.
	_, p, err := s.tokens.Open(ctx, *out.Credentials.AccessKeyId, *out.Credentials.SessionToken)
	require.NoError(t, err)
	ask := func(action string) error {
		return s.iam.Authorize(ctx, iam.Request{Principal: p, Action: action, Resource: "arn:aws:aps:" + region + ":000000000000:workspace/ws-1"})
	}
	require.NoError(t, ask("aps:RemoteWrite"))
	require.Error(t, ask("aps:QueryMetrics"))

	for name, change := range map[string]func(map[string]any){
		"service account": func(c map[string]any) { c["sub"] = "system:serviceaccount:prometheus:default" },
		"namespace":       func(c map[string]any) { c["sub"] = "system:serviceaccount:default:amp-irsa-role" },
	} {
		in.WebIdentityToken = aws.String(s.issuer.token(t, change))
		_, err = anonymous.AssumeRoleWithWebIdentity(ctx, in)
		requireAPIError(t, err, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
		require.NotEmpty(t, name)
	}
	in.WebIdentityToken = aws.String(s.issuer.token(t, func(c map[string]any) { c["aud"] = "kubernetes" }))
	_, err = anonymous.AssumeRoleWithWebIdentity(ctx, in)
	var invalid *types.InvalidIdentityTokenException
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, "Incorrect token audience", invalid.ErrorMessage())
	in.WebIdentityToken = aws.String(s.issuer.token(t, func(c map[string]any) { c["exp"] = time.Now().Unix() - 60 }))
	_, err = anonymous.AssumeRoleWithWebIdentity(ctx, in)
	var expired *types.ExpiredTokenException
	require.ErrorAs(t, err, &expired)
	in.WebIdentityToken = aws.String(s.issuer.token(t))
	in.Policy = aws.String("{")
	_, err = anonymous.AssumeRoleWithWebIdentity(ctx, in)
	var malformed *types.MalformedPolicyDocumentException
	require.ErrorAs(t, err, &malformed)
	in.Policy, in.DurationSeconds = nil, aws.Int32(60)
	_, err = anonymous.AssumeRoleWithWebIdentity(ctx, in)
	requireAPIError(t, err, "ValidationError", "1 validation error detected: Value '60' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900")
	in.DurationSeconds, in.RoleSessionName = nil, aws.String("a b")
	_, err = anonymous.AssumeRoleWithWebIdentity(ctx, in)
	requireAPIError(t, err, "ValidationError", `pattern: [\w+=,.@-]*`)
}

// TestDeletedRole: credentials of a role that is gone are worth nothing, also
// when there is another of its name.
func TestDeletedRole(t *testing.T) {
	s, ctx := start(t), context.Background()
	role := s.irsaRole(t, "r")
	out, err := s.tokens.AssumeRoleWithWebIdentity(ctx, nil, sts.WebIdentityInput{RoleARN: role.ARN, RoleSessionName: "sess", Token: s.issuer.token(t)})
	require.NoError(t, err)
	require.NoError(t, s.iam.DeleteRole(ctx, iam.DefaultAccount, "r"))
	s.irsaRole(t, "r")
	require.NoError(t, s.iam.AttachPolicy(ctx, iam.RoleRef(iam.DefaultAccount, "r"), iam.PolicyAdministratorAccess))
	_, _, err = s.tokens.Open(ctx, out.Credentials.AccessKeyID, out.Credentials.SessionToken)
	require.Error(t, err)
	c := out.Credentials
	_, err = s.client(static(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)).GetCallerIdentity(ctx, nil)
	requireAPIError(t, err, "InvalidClientTokenId", "")
}

// TestRetries: clients try again where trying again may help.
func TestRetries(t *testing.T) {
	s, ctx := start(t), context.Background()
	role := s.irsaRole(t, "r")
	anonymous := s.client(aws.AnonymousCredentials{})
	in := &awssts.AssumeRoleWithWebIdentityInput{RoleArn: &role.ARN, RoleSessionName: aws.String("sess"), WebIdentityToken: aws.String(s.issuer.token(t))}
	s.issuer.fails.Store(1)
	_, err := anonymous.AssumeRoleWithWebIdentity(ctx, in)
	require.NoError(t, err, "the client asks again after IDPCommunicationError")
	require.Negative(t, s.issuer.fails.Load())

	// The issuer changes its key: the next token is good at once.
	s.issuer.kid.Store("k2")
	in.WebIdentityToken = aws.String(s.issuer.token(t))
	_, err = anonymous.AssumeRoleWithWebIdentity(ctx, in)
	require.NoError(t, err)

	s.issuer.fails.Store(1000)
	s.issuer.kid.Store("k3")
	in.WebIdentityToken = aws.String(s.issuer.token(t))
	_, err = anonymous.AssumeRoleWithWebIdentity(ctx, in)
	var down *types.IDPCommunicationErrorException
	require.ErrorAs(t, err, &down)
	var attempts *retry.MaxAttemptsError
	require.ErrorAs(t, err, &attempts)
}

// TestWebIdentityRoleProvider is what an SDK does inside a pod.
func TestWebIdentityRoleProvider(t *testing.T) {
	s, ctx := start(t), context.Background()
	role := s.irsaRole(t, "r")
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(s.issuer.token(t)), 0o600))
	p := stscreds.NewWebIdentityRoleProvider(s.client(aws.AnonymousCredentials{}), role.ARN, stscreds.IdentityTokenFile(file))
	me, err := s.client(aws.NewCredentialsCache(p)).GetCallerIdentity(ctx, nil)
	require.NoError(t, err)
	require.Regexp(t, `^arn:aws:sts::000000000000:assumed-role/r/\d+$`, *me.Arn)
}

func TestAssumeRole(t *testing.T) {
	s, ctx := start(t), context.Background()
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"],
"Condition":{"StringEquals":{"sts:ExternalId":"42"}}}]}`
	role := s.role(t, "target", trust)
	in := &awssts.AssumeRoleInput{RoleArn: &role.ARN, RoleSessionName: aws.String("sess"), ExternalId: aws.String("42"), SourceIdentity: aws.String("admin"),
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("obs")}}, TransitiveTagKeys: []string{"team"},
		PolicyArns: []types.PolicyDescriptorType{{Arn: aws.String(iam.PolicyPrometheusQuery)}}}
	out, err := s.asAdmin().AssumeRole(ctx, in)
	require.NoError(t, err)
	require.Equal(t, "admin", *out.SourceIdentity)
	require.Positive(t, *out.SessionTokenUtilization)
	_, p, err := s.tokens.Open(ctx, *out.Credentials.AccessKeyId, *out.Credentials.SessionToken)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"team": "obs"}, p.Session.Tags)
	require.Equal(t, []string{iam.PolicyPrometheusQuery}, p.Session.PolicyARNs)
	me, err := s.client(of(out.Credentials)).GetCallerIdentity(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, "arn:aws:sts::000000000000:assumed-role/target/sess", *me.Arn)

	in.ExternalId = aws.String("43")
	_, err = s.asAdmin().AssumeRole(ctx, in)
	requireAPIError(t, err, "AccessDenied", "User: arn:aws:iam::000000000000:user/admin is not authorized to perform: sts:AssumeRole on resource: "+role.ARN)

	// A user whom the account's trust leaves to his own policies has none.
	_, err = s.iam.CreateUser(ctx, iam.DefaultAccount, "nobody")
	require.NoError(t, err)
	key, err := s.iam.CreateAccessKey(ctx, iam.DefaultAccount, "nobody")
	require.NoError(t, err)
	in.ExternalId = aws.String("42")
	_, err = s.client(static(key.ID, key.Secret, "")).AssumeRole(ctx, in)
	requireAPIError(t, err, "AccessDenied", "sts:AssumeRole")
	direct := s.role(t, "direct", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/nobody"},"Action":"sts:AssumeRole"}]}`)
	_, err = s.client(static(key.ID, key.Secret, "")).AssumeRole(ctx, &awssts.AssumeRoleInput{RoleArn: &direct.ARN, RoleSessionName: aws.String("sess")})
	require.NoError(t, err)
}

func TestSessionTokenAndKeyInfo(t *testing.T) {
	s, ctx := start(t), context.Background()
	out, err := s.asAdmin().GetSessionToken(ctx, &awssts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)})
	require.NoError(t, err)
	own := s.client(of(out.Credentials))
	me, err := own.GetCallerIdentity(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, "arn:aws:iam::000000000000:user/admin", *me.Arn)
	for _, id := range []string{s.admin.ID, *out.Credentials.AccessKeyId} {
		info, err := own.GetAccessKeyInfo(ctx, &awssts.GetAccessKeyInfoInput{AccessKeyId: aws.String(id)})
		require.NoError(t, err)
		require.Equal(t, "000000000000", *info.Account)
	}
	// Live sessions outlive a change of the key that seals them.
	require.NoError(t, s.iam.Rotate(ctx))
	_, err = own.GetCallerIdentity(ctx, nil)
	require.NoError(t, err)
	// The user is gone, and so is what his session may do.
	_, err = s.iam.CreateUser(ctx, iam.DefaultAccount, "leaver")
	require.NoError(t, err)
	require.NoError(t, s.iam.AttachUserPolicy(ctx, iam.DefaultAccount, "leaver", iam.PolicyAdministratorAccess))
	key, err := s.iam.CreateAccessKey(ctx, iam.DefaultAccount, "leaver")
	require.NoError(t, err)
	out, err = s.client(static(key.ID, key.Secret, "")).GetSessionToken(ctx, nil)
	require.NoError(t, err)
	leaver, in := s.client(of(out.Credentials)), &awssts.GetAccessKeyInfoInput{AccessKeyId: &s.admin.ID}
	_, err = leaver.GetAccessKeyInfo(ctx, in)
	require.NoError(t, err)
	require.NoError(t, s.iam.DeleteAccessKey(ctx, key.ID))
	require.NoError(t, s.iam.DetachUserPolicy(ctx, iam.DefaultAccount, "leaver", iam.PolicyAdministratorAccess))
	require.NoError(t, s.iam.DeleteUser(ctx, iam.DefaultAccount, "leaver"))
	_, err = leaver.GetAccessKeyInfo(ctx, in)
	requireAPIError(t, err, "InvalidClientTokenId", "")
}

// TestForms has what clients do not send but others do.
func TestForms(t *testing.T) {
	s := start(t)
	role := s.irsaRole(t, "r")
	form := url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {Version}, "RoleArn": {role.ARN}, "RoleSessionName": {"sess"}, "WebIdentityToken": {s.issuer.token(t)}}
	send := func(method, query, body string) (int, string, http.Header) {
		r, err := http.NewRequestWithContext(context.Background(), method, s.URL+"/"+query, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		resp, err := s.Client().Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(b), resp.Header
	}
	status, body, header := send("POST", "", form.Encode())
	require.Equal(t, 200, status, body)
	require.Equal(t, "no-store", header.Get("Cache-Control"))
	require.Regexp(t, `^<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>`, body)
	require.Regexp(t, `<Expiration>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ</Expiration>`, body)
	status, body, _ = send("GET", "?"+form.Encode(), "")
	require.Equal(t, 200, status, body)

	form.Set("Nonsense", "1")
	status, body, _ = send("POST", "", form.Encode())
	require.Equal(t, 400, status, body)
	require.Regexp(t, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>ValidationError</Code>`, body)
	form.Del("Nonsense")
	form.Set("DurationSeconds", "1h")
	status, body, _ = send("POST", "", form.Encode())
	require.Equal(t, 400, status, body)
	form.Del("DurationSeconds")
	form.Del("RoleArn")
	status, body, _ = send("POST", "", form.Encode())
	require.Equal(t, 400, status)
	require.Contains(t, body, "1 validation error detected: Value null at &#39;roleArn&#39; failed to satisfy constraint: Member must not be null")
	for _, action := range []string{"GetCallerIdentity", "GetSessionToken", "AssumeRole", "GetAccessKeyInfo"} {
		status, body, _ = send("POST", "", url.Values{"Action": {action}, "Version": {Version}}.Encode())
		require.Equal(t, 403, status)
		require.Contains(t, body, "MissingAuthenticationToken")
	}
}

// TestCLI has Debian's aws, if it is there.
func TestCLI(t *testing.T) {
	const program = "/usr/bin/aws"
	if _, err := os.Stat(program); err != nil {
		t.Skip("no aws")
	}
	if testing.Short() {
		t.Skip("takes seconds a call")
	}
	s := start(t)
	role := s.irsaRole(t, "r")
	run := func(env []string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, append(args, "--endpoint-url", s.URL, "--region", region, "--output", "json")...)
		cmd.Env = append([]string{"HOME=" + t.TempDir(), "PATH=/usr/bin:/bin", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER="}, env...)
		b, err := cmd.CombinedOutput()
		return string(b), err
	}
	admin := []string{"AWS_ACCESS_KEY_ID=" + s.admin.ID, "AWS_SECRET_ACCESS_KEY=" + s.admin.Secret}
	out, err := run(admin, "sts", "get-caller-identity")
	require.NoError(t, err, out)
	require.Contains(t, out, `"Arn": "arn:aws:iam::000000000000:user/admin"`)
	out, err = run(nil, "sts", "assume-role-with-web-identity", "--role-arn", role.ARN, "--role-session-name", "cli", "--web-identity-token", s.issuer.token(t))
	require.NoError(t, err, out)
	var got struct {
		Credentials struct{ AccessKeyID, SecretAccessKey, SessionToken string }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &got), out)
	require.NotEmpty(t, got.Credentials.SessionToken)
	out, err = run([]string{"AWS_ACCESS_KEY_ID=" + got.Credentials.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + got.Credentials.SecretAccessKey,
		"AWS_SESSION_TOKEN=" + got.Credentials.SessionToken}, "sts", "get-caller-identity")
	require.NoError(t, err, out)
	require.Contains(t, out, "assumed-role/r/cli")
	out, err = run(admin, "sts", "get-session-token")
	require.NoError(t, err, out)
	out, err = run(admin, "sts", "assume-role", "--role-arn", role.ARN, "--role-session-name", "cli")
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), out)
	require.Contains(t, out, "An error occurred (AccessDenied) when calling the AssumeRole operation")
}

// TestRequestSnapshots reads what the SDK's own tests hold it to send.
func TestRequestSnapshots(t *testing.T) {
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/sts").Output()
	require.NoError(t, err)
	for name, shape := range map[string]any{"AssumeRole": &assumeRoleRequest{}, "AssumeRoleWithWebIdentity": &webIdentityRequest{},
		"GetSessionToken": &sessionTokenRequest{}, "GetCallerIdentity": &struct{}{}, "GetAccessKeyInfo": &accessKeyInfoRequest{}} {
		b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "request_snapshot", name+".request.snap"))
		require.NoError(t, err)
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		form, err := url.ParseQuery(lines[len(lines)-1])
		require.NoError(t, err)
		require.Equal(t, name, form.Get("Action"))
		require.NoError(t, awsquery.Decode(form, shape), name)
		require.Equal(t, form.Encode(), awsquery.Encode(name, Version, shape).Encode(), "nothing is lost")
	}
}

func TestProvidedContexts(t *testing.T) {
	s := start(t)
	_, err := s.asAdmin().AssumeRole(context.Background(), &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::000000000000:role/r"),
		RoleSessionName: aws.String("sess"), ProvidedContexts: []types.ProvidedContext{{ProviderArn: aws.String("arn:aws:iam::aws:contextProvider/IdentityCenter"), ContextAssertion: aws.String("assertion")}}})
	requireAPIError(t, err, "InvalidParameterValue", "ProvidedContexts")
}
