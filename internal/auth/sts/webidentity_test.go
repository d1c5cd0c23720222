package sts

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
)

func (f *fixture) assumeWeb(in WebIdentityInput) (*WebIdentity, error) {
	return f.AssumeRoleWithWebIdentity(context.Background(), map[string][]string{"aws:sourceip": {"10.0.0.1"}}, in)
}

func TestAssumeRoleWithWebIdentity(t *testing.T) {
	f := setup(t)
	role := f.store.addRole(account, "writer", irsaTrust)
	out, err := f.assumeWeb(WebIdentityInput{RoleARN: role.ARN, RoleSessionName: "sess", Token: f.token(t, f.claims())})
	require.NoError(t, err)
	require.Equal(t, subject, out.Subject)
	require.Equal(t, "sts.amazonaws.com", out.Audience)
	require.Equal(t, providerARN, out.Provider)
	require.Nil(t, out.PackedPolicySize)
	require.Equal(t, "arn:aws:sts::111122223333:assumed-role/writer/sess", out.Principal.ARN)
	require.Equal(t, "AROAwriter:sess", out.Principal.ID)
	c := out.Credentials
	require.Regexp(t, `^ASIA[A-Z2-7]{16}$`, c.AccessKeyID)
	require.Regexp(t, `^[A-Za-z0-9]{40}$`, c.SecretAccessKey)
	require.Equal(t, f.now.Load()+3600, c.Expires.Unix())
	require.EqualValues(t, len(c.SessionToken), out.TokenSize)
	require.NotContains(t, c.String()+(&c).GoString(), c.SecretAccessKey)

	secret, p, err := f.Open(context.Background(), c.AccessKeyID, c.SessionToken)
	require.NoError(t, err)
	require.Equal(t, c.SecretAccessKey, secret)
	require.Equal(t, iam.Principal{AccountID: account, Type: iam.TypeAssumedRole, Name: "writer", AccessKeyID: c.AccessKeyID,
		ARN: "arn:aws:sts::111122223333:assumed-role/writer/sess", ID: "AROAwriter:sess",
		Session: &iam.Session{RoleARN: role.ARN, RoleID: "AROAwriter", Name: "sess", Provider: providerARN,
			Issued: time.Unix(f.now.Load(), 0).UTC(), Expires: c.Expires,
			Claims: map[string][]string{"oidc.example.com/id/example:sub": {subject}, "oidc.example.com/id/example:aud": {"sts.amazonaws.com"}}}}, p)
	require.Equal(t, out.Principal, p)

	f.advance(time.Hour - time.Second)
	_, _, err = f.Open(context.Background(), c.AccessKeyID, c.SessionToken)
	require.NoError(t, err)
	f.advance(time.Second)
	_, _, err = f.Open(context.Background(), c.AccessKeyID, c.SessionToken)
	require.ErrorIs(t, err, ErrExpired)
}

// TestWebIdentityRefusals has a good request but for one thing.
func TestWebIdentityRefusals(t *testing.T) {
	f := setup(t)
	role := f.store.addRole(account, "writer", irsaTrust)
	f.store.addRole(account, "elsewhere", strings.ReplaceAll(irsaTrust, "prometheus:amp", "kube-system:amp"))
	f.store.addRole(account, "broken", "{")
	f.store.addRole(account, "none", "")
	f.store.addRole(other, "writer", irsaTrust)
	wide := f.store.addRole(account, "star", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRoleWithWebIdentity"}}`)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	claims := f.claims()
	good := WebIdentityInput{RoleARN: role.ARN, RoleSessionName: "sess", Token: f.token(t, claims)}
	_, err = f.assumeWeb(good)
	require.NoError(t, err)
	header := members{"alg": "ES256", "kid": "k1"}
	claim := func(name string, value any) func(*WebIdentityInput) {
		return func(in *WebIdentityInput) { in.Token = f.token(t, with(claims, name, value)) }
	}
	arn := func(arn string) func(*WebIdentityInput) { return func(in *WebIdentityInput) { in.RoleARN = arn } }
	const notAuthorized = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
	for _, tc := range []struct {
		name    string
		change  func(*WebIdentityInput)
		status  int
		code    string
		message string
	}{
		{"other service account", claim("sub", "system:serviceaccount:prometheus:default"), 403, CodeAccessDenied, notAuthorized},
		{"other namespace", claim("sub", "system:serviceaccount:default:amp-irsa-role"), 403, CodeAccessDenied, notAuthorized},
		{"subject in other case", claim("sub", strings.ToUpper(subject)), 403, CodeAccessDenied, notAuthorized},
		{"no such role", arn(role.ARN + "x"), 403, CodeAccessDenied, notAuthorized},
		{"role at another path", arn("arn:aws:iam::111122223333:role/path/writer"), 403, CodeAccessDenied, notAuthorized},
		{"role that trusts another", arn("arn:aws:iam::111122223333:role/elsewhere"), 403, CodeAccessDenied, notAuthorized},
		{"role with a broken trust policy", arn("arn:aws:iam::111122223333:role/broken"), 403, CodeAccessDenied, notAuthorized},
		{"role without trust policy", arn("arn:aws:iam::111122223333:role/none"), 403, CodeAccessDenied, notAuthorized},
		{"role that trusts a star", arn(wide.ARN), 403, CodeAccessDenied, notAuthorized},
		{"role of another account", arn("arn:aws:iam::444455556666:role/writer"), 400, CodeInvalidToken, "No OpenIDConnect provider found in your account for " + issuer},
		{"account that there is not", arn("arn:aws:iam::999999999999:role/writer"), 400, CodeInvalidToken, "No OpenIDConnect provider found in your account for " + issuer},
		{"other audience", claim("aud", "kubernetes"), 400, CodeInvalidToken, "Incorrect token audience"},
		{"other cluster", claim("iss", "https://oidc.example.com/id/OTHER"), 400, CodeInvalidToken, "No OpenIDConnect provider found"},
		{"trailing slash", claim("iss", issuer+"/"), 400, CodeInvalidToken, "No OpenIDConnect provider found"},
		{"issuer without https", claim("iss", "http://oidc.example.com/id/EXAMPLE"), 400, CodeInvalidToken, "Issuer must be a valid URL"},
		{"issuer without scheme", claim("iss", "oidc.example.com/id/EXAMPLE"), 400, CodeInvalidToken, "Issuer must be a valid URL"},
		{"other cluster with the same issuer name", func(in *WebIdentityInput) { in.Token = sign(t, stranger, header, claims) }, 400, CodeInvalidToken, "not a valid JWT"},
		{"alg none", func(in *WebIdentityInput) { in.Token = sign(t, f.key, members{"alg": "none", "kid": "k1"}, claims) }, 400, CodeInvalidToken, "not a valid JWT"},
		{"HS256", func(in *WebIdentityInput) { in.Token = sign(t, f.key, members{"alg": "HS256", "kid": "k1"}, claims) }, 400, CodeInvalidToken, "not a valid JWT"},
		{"unknown key", func(in *WebIdentityInput) { in.Token = sign(t, f.key, members{"alg": "ES256", "kid": "k2"}, claims) }, 400, CodeInvalidToken, "Couldn't retrieve verification key"},
		{"expired", claim("exp", f.now.Load()-31), 400, CodeExpiredToken, "Token expired: current date/time"},
		{"not yet", claim("nbf", f.now.Load()+60), 400, CodeInvalidToken, "not valid yet"},
		{"no subject", claim("sub", nil), 400, CodeInvalidToken, "Missing a required claim: sub"},
		{"huge subject", claim("sub", strings.Repeat("s", 1000)), 403, CodeRejectedClaim, "bytes"},
		{"not a token", func(in *WebIdentityInput) { in.Token = "hello" }, 400, CodeInvalidToken, "not a valid JWT"},
		{"not an ARN", arn("arn:aws:iam::111122223333:user/admin"), 400, CodeValidation, "Request ARN is invalid"},
		{"long duration", func(in *WebIdentityInput) { in.DurationSeconds = ptr[int32](3601) }, 400, CodeValidation,
			"The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		{"OAuth token", func(in *WebIdentityInput) { in.ProviderID = ptr("graph.facebook.com") }, 400, CodeInvalidToken, "ProviderId"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := good
			tc.change(&in)
			out, err := f.assumeWeb(in)
			require.Nil(t, out)
			requireCode(t, err, tc.status, tc.code, tc.message)
			require.NotContains(t, err.Error(), in.Token[max(0, len(in.Token)-40):])
		})
	}
}

// TestNoOracle: who may not assume a role does not learn whether there is one.
func TestNoOracle(t *testing.T) {
	f := setup(t)
	role := f.store.addRole(account, "elsewhere", strings.ReplaceAll(irsaTrust, "prometheus:amp", "kube-system:amp"))
	f.store.change(&role, func(r *iam.Role) { r.MaxSession = 12 * time.Hour })
	for _, change := range []func(*WebIdentityInput){
		func(*WebIdentityInput) {},
		func(in *WebIdentityInput) { in.DurationSeconds = ptr[int32](43200) },
		func(in *WebIdentityInput) {
			in.Policy = ptr(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)
		},
		func(in *WebIdentityInput) { in.Policy = ptr("{") },
	} {
		var seen []Error
		for _, name := range []string{"elsewhere", "nonesuch"} {
			in := WebIdentityInput{RoleARN: "arn:aws:iam::111122223333:role/" + name, RoleSessionName: "sess", Token: f.token(t, f.claims())}
			change(&in)
			_, err := f.assumeWeb(in)
			var e *Error
			require.ErrorAs(t, err, &e)
			seen = append(seen, Error{Status: e.Status, Code: e.Code, Message: e.Message})
		}
		require.Equal(t, seen[0], seen[1])
	}
}

func TestWebIdentityUnreachableIssuer(t *testing.T) {
	f := setup(t)
	role := f.store.addRole(account, "writer", irsaTrust)
	p := f.store.providers[account+" "+issuer]
	p.Trust = iam.ProviderTrust{InternalURL: "https://127.0.0.1:1"}
	f.store.providers[account+" "+issuer] = p
	_, err := f.assumeWeb(WebIdentityInput{RoleARN: role.ARN, RoleSessionName: "sess", Token: f.token(t, f.claims())})
	requireCode(t, err, 400, CodeIDPCommunication, "Try again")
	require.NotContains(t, message(t, err), "127.0.0.1")
}

func TestWebIdentityStoreFails(t *testing.T) {
	f := setup(t)
	role := f.store.addRole(account, "writer", irsaTrust)
	f.store.err = errors.New("database is gone")
	_, err := f.assumeWeb(WebIdentityInput{RoleARN: role.ARN, RoleSessionName: "sess", Token: f.token(t, f.claims())})
	require.ErrorIs(t, err, f.store.err)
	var e *Error
	require.False(t, errors.As(err, &e), "a fault of ours is not the caller's")
}

func TestWebIdentityTags(t *testing.T) {
	f := setup(t)
	tagged := strings.Replace(irsaTrust, `"Action":"sts:AssumeRoleWithWebIdentity"`,
		`"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"]`, 1)
	plain, role := f.store.addRole(account, "plain", irsaTrust), f.store.addRole(account, "tagged", tagged)
	claims := with(f.claims(), claimTags, members{"principal_tags": members{"Team": []string{"obs"}, "env": []string{"prod"}}, "transitive_tag_keys": []string{"Team"}})
	in := WebIdentityInput{RoleARN: role.ARN, RoleSessionName: "sess", Token: f.token(t, with(claims, claimSourceIdentity, "alice"))}
	out, err := f.assumeWeb(in)
	require.NoError(t, err)
	_, p, err := f.Open(context.Background(), out.Credentials.AccessKeyID, out.Credentials.SessionToken)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"Team": "obs", "env": "prod"}, p.Session.Tags)
	require.Equal(t, []string{"Team"}, p.Session.Transitive)
	require.Equal(t, "alice", p.Session.SourceIdentity)
	require.NotNil(t, out.PackedPolicySize)

	in.RoleARN = plain.ARN
	_, err = f.assumeWeb(in)
	requireCode(t, err, 403, CodeAccessDenied, "Not authorized to perform sts:TagSession")
	in.Token = f.token(t, with(f.claims(), claimSourceIdentity, "alice"))
	_, err = f.assumeWeb(in)
	requireCode(t, err, 403, CodeAccessDenied, "Not authorized to perform sts:SetSourceIdentity")

	for name, bad := range map[string]any{
		"not an object": "x", "two values": members{"principal_tags": members{"a": []string{"1", "2"}}},
		"a text": members{"principal_tags": members{"a": "1"}}, "bad name": members{"principal_tags": members{"a*": []string{"1"}}},
	} {
		in := WebIdentityInput{RoleARN: role.ARN, RoleSessionName: "sess", Token: f.token(t, with(f.claims(), claimTags, bad))}
		_, err := f.assumeWeb(in)
		requireCode(t, err, 403, CodeRejectedClaim, claimTags)
		require.NotEmpty(t, name)
	}
}

func TestAuthorizedParty(t *testing.T) {
	f := setup(t)
	role := f.store.addRole(account, "writer", irsaTrust)
	in := WebIdentityInput{RoleARN: role.ARN, RoleSessionName: "sess", Token: f.token(t, with(with(f.claims(), "azp", "sts.amazonaws.com"), "aud", "elsewhere"))}
	out, err := f.assumeWeb(in)
	require.NoError(t, err)
	require.Equal(t, "sts.amazonaws.com", out.Audience)
	require.Equal(t, []string{"elsewhere"}, out.Principal.Session.Claims["oidc.example.com/id/example:oaud"])
}

func TestValidationWords(t *testing.T) {
	f := setup(t)
	long := strings.Repeat("x", 65)
	for name, tc := range map[string]struct {
		in   WebIdentityInput
		want string
	}{
		"nothing": {WebIdentityInput{}, "3 validation errors detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null; " +
			"Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null; " +
			"Value null at 'webIdentityToken' failed to satisfy constraint: Member must not be null"},
		"session name": {WebIdentityInput{RoleARN: "arn:aws:iam::111122223333:role/a", RoleSessionName: "a b", Token: "secret"},
			`1 validation error detected: Value 'a b' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`},
		"session name short": {WebIdentityInput{RoleARN: "arn:aws:iam::111122223333:role/a", RoleSessionName: "a", Token: "secret"},
			`1 validation error detected: Value 'a' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2`},
		"session name long": {WebIdentityInput{RoleARN: "arn:aws:iam::111122223333:role/a", RoleSessionName: long, Token: "secret"},
			`1 validation error detected: Value '` + long + `' at 'roleSessionName' failed to satisfy constraint: Member must have length less than or equal to 64`},
		"ARN": {WebIdentityInput{RoleARN: "arn", RoleSessionName: "aa", Token: "secret"},
			"1 validation error detected: Value 'arn' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20"},
		"token": {WebIdentityInput{RoleARN: "arn:aws:iam::111122223333:role/a", RoleSessionName: "aa", Token: "s3c"},
			"1 validation error detected: Value at this place at 'webIdentityToken' failed to satisfy constraint: Member must have length greater than or equal to 4"},
		"duration": {WebIdentityInput{RoleARN: "arn:aws:iam::111122223333:role/a", RoleSessionName: "aa", Token: "secret", Common: Common{DurationSeconds: ptr[int32](899)}},
			"1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		"duration long": {WebIdentityInput{RoleARN: "arn:aws:iam::111122223333:role/a", RoleSessionName: "aa", Token: "secret", Common: Common{DurationSeconds: ptr[int32](43201)}},
			"1 validation error detected: Value '43201' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200"},
	} {
		_, err := f.assumeWeb(tc.in)
		var e *Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, CodeValidation, e.Code)
		require.Equal(t, tc.want, e.Message, name)
	}
}

func TestSessionPolicies(t *testing.T) {
	f := setup(t)
	role := f.store.addRole(account, "writer", irsaTrust)
	own, aws := "arn:aws:iam::111122223333:policy/own", "arn:aws:iam::aws:policy/AmazonPrometheusQueryAccess"
	f.store.policies[own], f.store.policies[aws] = true, true
	f.store.policies["arn:aws:iam::444455556666:policy/own"] = true
	in := func(policy string, arns ...string) WebIdentityInput {
		w := WebIdentityInput{RoleARN: role.ARN, RoleSessionName: "sess", Token: f.token(t, f.claims()), Common: Common{PolicyARNs: arns}}
		if policy != "" {
			w.Policy = &policy
		}
		return w
	}
	const doc = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"aps:RemoteWrite","Resource":"*"}]}`
	out, err := f.assumeWeb(in(doc, own, aws))
	require.NoError(t, err)
	_, p, err := f.Open(context.Background(), out.Credentials.AccessKeyID, out.Credentials.SessionToken)
	require.NoError(t, err)
	require.Equal(t, []string{doc}, p.Session.Policies)
	require.Equal(t, []string{own, aws}, p.Session.PolicyARNs)
	size := len(encodeSession(nil, p.Session))
	require.EqualValues(t, (100*size+maxPacked-1)/maxPacked, *out.PackedPolicySize)

	_, err = f.assumeWeb(in("{"))
	requireCode(t, err, 400, CodeMalformedPolicy, "")
	_, err = f.assumeWeb(in(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"a:b","Resource":"*"}]}`))
	requireCode(t, err, 400, CodeMalformedPolicy, "")
	_, err = f.assumeWeb(in("", "arn:aws:iam::111122223333:policy/nonesuch"))
	requireCode(t, err, 400, CodeValidation, "does not exist")
	_, err = f.assumeWeb(in("", "arn:aws:iam::444455556666:policy/own"))
	requireCode(t, err, 400, CodeValidation, "not in the account")
	_, err = f.assumeWeb(in("", "arn:aws:iam::444455556666:role/own-role"))
	requireCode(t, err, 400, CodeValidation, "is not valid")
	_, err = f.assumeWeb(in(doc + strings.Repeat(" ", maxPolicy)))
	requireCode(t, err, 400, CodeValidation, "less than or equal to 2048")
	_, err = f.assumeWeb(in(doc+strings.Repeat(" ", maxPolicy-len(doc)), own))
	requireCode(t, err, 400, CodePackedPolicy, "2048")
	_, err = f.assumeWeb(in("", make([]string, 11)...))
	requireCode(t, err, 400, CodeValidation, "policyArns")
}
