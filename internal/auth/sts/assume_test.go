package sts

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
)

func trustOf(who string, rest ...string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + who +
		`,"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]` + strings.Join(rest, "") + `}]}`
}

const assumeAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"*"}]}`

func (f *fixture) assume(p iam.Principal, in AssumeRoleInput) (*Session, error) {
	return f.AssumeRole(context.Background(), Caller{Principal: p, Context: map[string][]string{"aws:sourceip": {"10.0.0.1"}}}, in)
}

// opened is the principal of a session as the next request has it.
func (f *fixture) opened(t *testing.T, s *Session) iam.Principal {
	t.Helper()
	_, p, err := f.Open(context.Background(), s.Credentials.AccessKeyID, s.Credentials.SessionToken)
	require.NoError(t, err)
	return p
}

// TestWhoMayAssume has the rules of AWS about the two sides.
func TestWhoMayAssume(t *testing.T) {
	const direct = `{"AWS":"arn:aws:iam::111122223333:user/alice"}`
	const ofAccount = `{"AWS":"arn:aws:iam::111122223333:root"}`
	const deny = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"sts:AssumeRole","Resource":"*"}]}`
	for name, tc := range map[string]struct {
		caller          iam.Principal
		trust, identity string
		allowed         bool
	}{
		"named, nothing else":                {user(account, "alice"), trustOf(direct), "", true},
		"named, own policies deny":           {user(account, "alice"), trustOf(direct), deny, false},
		"account named, nothing else":        {user(account, "alice"), trustOf(ofAccount), "", false},
		"account named, own policies allow":  {user(account, "alice"), trustOf(ofAccount), assumeAll, true},
		"another user named":                 {user(account, "bob"), trustOf(direct), assumeAll, false},
		"not named, own policies allow all":  {user(account, "alice"), trustOf(`{"Service":"ec2.amazonaws.com"}`), assumeAll, false},
		"other account, trusted only":        {user(other, "eve"), trustOf(`{"AWS":"444455556666"}`), "", false},
		"other account, trusted and allowed": {user(other, "eve"), trustOf(`{"AWS":"444455556666"}`), assumeAll, true},
		"other account, named only":          {user(other, "eve"), trustOf(`{"AWS":"arn:aws:iam::444455556666:user/eve"}`), "", false},
		"other account, not trusted":         {user(other, "eve"), trustOf(ofAccount), assumeAll, false},
		"condition that holds":               {user(account, "alice"), trustOf(direct, `,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), "", true},
		"condition that does not":            {user(account, "alice"), trustOf(direct, `,"Condition":{"IpAddress":{"aws:SourceIp":"11.0.0.0/8"}}`), "", false},
		"session name as asked for":          {user(account, "alice"), trustOf(direct, `,"Condition":{"StringLike":{"sts:RoleSessionName":"sess*"}}`), "", true},
		"other session name than asked for":  {user(account, "alice"), trustOf(direct, `,"Condition":{"StringLike":{"sts:RoleSessionName":"x*"}}`), "", false},
		"role's tag as asked for":            {user(account, "alice"), trustOf(direct, `,"Condition":{"StringEquals":{"aws:ResourceTag/env":"prod"}}`), "", true},
		"MFA asked for, which nobody has":    {user(account, "alice"), trustOf(direct, `,"Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`), "", false},
		"trust policy that cannot be read":   {user(account, "alice"), "{", assumeAll, false},
		"no trust policy":                    {user(account, "alice"), "", assumeAll, false},
		"root of the account":                {iam.Principal{AccountID: account, Type: iam.TypeUser, ARN: "arn:aws:iam::111122223333:root"}, trustOf(ofAccount), assumeAll, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			role := f.store.addRole(account, "target", tc.trust)
			f.store.change(&role, func(r *iam.Role) { r.Tags = map[string]string{"env": "prod"} })
			if tc.identity != "" {
				f.store.identity[tc.caller.ARN] = tc.identity
			}
			out, err := f.assume(tc.caller, AssumeRoleInput{RoleARN: role.ARN, RoleSessionName: "session"})
			if !tc.allowed {
				require.Nil(t, out)
				requireCode(t, err, 403, CodeAccessDenied, "")
				if !strings.HasSuffix(tc.caller.ARN, ":root") {
					require.Equal(t, "User: "+tc.caller.ARN+" is not authorized to perform: sts:AssumeRole on resource: "+role.ARN, message(t, err))
					// A role that there is not reads the same.
					_, none := f.assume(tc.caller, AssumeRoleInput{RoleARN: role.ARN + "x", RoleSessionName: "session"})
					require.Equal(t, message(t, err)+"x", message(t, none))
				}
				return
			}
			require.NoError(t, err)
			p := f.opened(t, out)
			require.Equal(t, "arn:aws:sts::111122223333:assumed-role/target/session", p.ARN)
			require.False(t, p.Session.Chained)
		})
	}
}

func TestExternalID(t *testing.T) {
	f := setup(t)
	role := f.store.addRole(account, "target", trustOf(`{"AWS":"arn:aws:iam::111122223333:user/alice"}`, `,"Condition":{"StringEquals":{"sts:ExternalId":"s:42/x"}}`))
	in := AssumeRoleInput{RoleARN: role.ARN, RoleSessionName: "sess"}
	for given, allowed := range map[string]bool{"": false, "s:42/y": false, "s:42/x": true} {
		if in.ExternalID = nil; given != "" {
			in.ExternalID = &given
		}
		_, err := f.assume(user(account, "alice"), in)
		require.Equal(t, allowed, err == nil, given)
	}
	in.ExternalID = ptr("a b")
	_, err := f.assume(user(account, "alice"), in)
	requireCode(t, err, 400, CodeValidation, `at 'externalId' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@:\/-]*`)
}

func TestDurations(t *testing.T) {
	f := setup(t)
	role := f.store.addRole(account, "target", trustOf(`{"AWS":["111122223333"]}`))
	f.store.identity[user(account, "alice").ARN] = assumeAll
	f.store.identity[role.ARN] = assumeAll
	life := func(p iam.Principal, seconds int32) (time.Duration, error) {
		in := AssumeRoleInput{RoleARN: role.ARN, RoleSessionName: "sess"}
		if seconds != 0 {
			in.DurationSeconds = &seconds
		}
		s, err := f.assume(p, in)
		if err != nil {
			return 0, err
		}
		return time.Duration(s.Credentials.Expires.Unix()-f.now.Load()) * time.Second, nil
	}
	d, err := life(user(account, "alice"), 0)
	require.NoError(t, err)
	require.Equal(t, time.Hour, d)
	d, err = life(user(account, "alice"), 900)
	require.NoError(t, err)
	require.Equal(t, 15*time.Minute, d)
	_, err = life(user(account, "alice"), 7200)
	requireCode(t, err, 400, CodeValidation, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	f.store.change(&role, func(r *iam.Role) { r.MaxSession = 12 * time.Hour })
	d, err = life(user(account, "alice"), 43200)
	require.NoError(t, err)
	require.Equal(t, 12*time.Hour, d)
	d, err = life(user(account, "alice"), 0)
	require.NoError(t, err)
	require.Equal(t, time.Hour, d, "the longest is not the default")
	_, err = life(user(account, "alice"), 43201)
	requireCode(t, err, 400, CodeValidation, "less than or equal to 43200")

	first, err := f.assume(user(account, "alice"), AssumeRoleInput{RoleARN: role.ARN, RoleSessionName: "sess"})
	require.NoError(t, err)
	chained := f.opened(t, first)
	d, err = life(chained, 3600)
	require.NoError(t, err)
	require.Equal(t, time.Hour, d)
	_, err = life(chained, 3601)
	requireCode(t, err, 400, CodeValidation, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	// A user's own session is not a chain.
	own, err := f.GetSessionToken(context.Background(), user(account, "alice"), SessionTokenInput{})
	require.NoError(t, err)
	f.store.identity[""] = assumeAll // the fake's name for it
	d, err = life(f.opened(t, own), 7200)
	require.NoError(t, err)
	require.Equal(t, 2*time.Hour, d)
}

func TestSessionTagsAndChains(t *testing.T) {
	f := setup(t)
	a, b := f.store.addRole(account, "a", trustOf(`{"AWS":"111122223333"}`)), f.store.addRole(account, "b", trustOf(`{"AWS":"111122223333"}`))
	alice := user(account, "alice")
	for _, arn := range []string{alice.ARN, a.ARN, b.ARN} {
		f.store.identity[arn] = assumeAll
	}
	in := AssumeRoleInput{RoleARN: a.ARN, RoleSessionName: "sess", Tags: []Tag{{"Team", "obs"}, {"env", "prod"}}, TransitiveTagKeys: []string{"team"}, SourceIdentity: ptr("alice")}
	out, err := f.assume(alice, in)
	require.NoError(t, err)
	var actions []string
	for _, q := range f.store.asked {
		actions = append(actions, q.Action)
		require.Equal(t, []string{"obs"}, q.Context["aws:requesttag/team"])
		require.Equal(t, []string{"Team", "env"}, q.Context["aws:tagkeys"])
		require.Equal(t, []string{"team"}, q.Context["sts:transitivetagkeys"])
		require.Equal(t, []string{"alice"}, q.Context["sts:sourceidentity"])
	}
	require.Equal(t, []string{actionAssume, actionTagSession, actionSourceIdentity}, actions)
	first := f.opened(t, out)
	require.Equal(t, map[string]string{"Team": "obs", "env": "prod"}, first.Session.Tags)

	// Only what is transitive goes on, and the source identity.
	out, err = f.assume(first, AssumeRoleInput{RoleARN: b.ARN, RoleSessionName: "sess", Tags: []Tag{{"env", "dev"}}})
	require.NoError(t, err)
	second := f.opened(t, out)
	require.True(t, second.Session.Chained)
	require.Equal(t, map[string]string{"team": "obs", "env": "dev"}, second.Session.Tags)
	require.Equal(t, []string{"team"}, second.Session.Transitive)
	require.Equal(t, "alice", second.Session.SourceIdentity)
	out, err = f.assume(second, AssumeRoleInput{RoleARN: a.ARN, RoleSessionName: "sess"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"team": "obs"}, f.opened(t, out).Session.Tags)

	// Neither can be replaced.
	_, err = f.assume(first, AssumeRoleInput{RoleARN: b.ARN, RoleSessionName: "sess", Tags: []Tag{{"TEAM", "other"}}})
	requireCode(t, err, 400, CodeInvalidParameter, "conflicts with a transitive tag key from the calling session")
	_, err = f.assume(first, AssumeRoleInput{RoleARN: b.ARN, RoleSessionName: "sess", SourceIdentity: ptr("bob")})
	requireCode(t, err, 403, CodeAccessDenied, "")
	_, err = f.assume(first, AssumeRoleInput{RoleARN: b.ARN, RoleSessionName: "sess", SourceIdentity: ptr("alice")})
	require.NoError(t, err)

	// Each of the actions is needed.
	for _, action := range []string{actionTagSession, actionSourceIdentity} {
		f.store.change(&a, func(r *iam.Role) {
			r.Trust = strings.Replace(trustOf(`{"AWS":"111122223333"}`), `"`+action+`"`, `"sts:AssumeRole"`, 1)
		})
		_, err = f.assume(alice, in)
		requireCode(t, err, 403, CodeAccessDenied, "is not authorized to perform: "+action+" on resource: "+a.ARN)
	}

	for _, tc := range []struct {
		tags       []Tag
		transitive []string
		code, want string
	}{
		{[]Tag{{"a", "1"}, {"A", "2"}}, nil, CodeInvalidParameter, "Duplicate tag keys found"},
		{[]Tag{{"a", "1"}}, []string{"b"}, CodeInvalidParameter, "must be included in the requested tags"},
		{[]Tag{{"aws:x", "1"}}, nil, CodeInvalidParameter, "reserved"},
		{[]Tag{{"", "1"}}, nil, CodeValidation, "Value null at 'tags.1.member.key'"},
		{[]Tag{{"a", "1"}, {"b", "a;b"}}, nil, CodeValidation, "at 'tags.2.member.value'"},
		{make([]Tag, 51), nil, CodeValidation, "at 'tags'"},
	} {
		_, err := f.assume(alice, AssumeRoleInput{RoleARN: b.ARN, RoleSessionName: "sess", Tags: tc.tags, TransitiveTagKeys: tc.transitive})
		requireCode(t, err, 400, tc.code, tc.want)
	}
}

func TestPackedSize(t *testing.T) {
	f := setup(t)
	role := f.store.addRole(account, "target", trustOf(`{"AWS":"arn:aws:iam::111122223333:user/alice"}`))
	var tags []Tag
	for i := range 50 {
		tags = append(tags, Tag{fmt.Sprintf("key-%02d-%s", i, strings.Repeat("k", 100)), strings.Repeat("v", 200)})
	}
	in := AssumeRoleInput{RoleARN: role.ARN, RoleSessionName: "sess", Tags: tags}
	out, err := f.assume(user(account, "alice"), in)
	require.NoError(t, err, "what repeats itself packs well")
	require.LessOrEqual(t, *out.PackedPolicySize, int32(100))
	require.Len(t, f.opened(t, out).Session.Tags, 50)
	require.LessOrEqual(t, len(out.Credentials.SessionToken), maxToken)
	for i := range tags {
		tags[i].Value = newSecret() + newSecret()
	}
	_, err = f.assume(user(account, "alice"), in)
	requireCode(t, err, 400, CodePackedPolicy, "Packed size of session policies and tags consumes")
}

func TestNoMFA(t *testing.T) {
	f := setup(t)
	role := f.store.addRole(account, "target", trustOf(`{"AWS":"arn:aws:iam::111122223333:user/alice"}`))
	_, err := f.assume(user(account, "alice"), AssumeRoleInput{RoleARN: role.ARN, RoleSessionName: "sess", SerialNumber: ptr("arn:aws:iam::111122223333:mfa/alice"), TokenCode: ptr("123456")})
	requireCode(t, err, 403, CodeAccessDenied, "MultiFactorAuthentication failed")
	_, err = f.GetSessionToken(context.Background(), user(account, "alice"), SessionTokenInput{TokenCode: ptr("123456")})
	requireCode(t, err, 403, CodeAccessDenied, "MultiFactorAuthentication failed")
}

func TestGetSessionToken(t *testing.T) {
	f := setup(t)
	alice := user(account, "alice")
	out, err := f.GetSessionToken(context.Background(), alice, SessionTokenInput{})
	require.NoError(t, err)
	p := f.opened(t, out)
	require.Equal(t, int64(12*3600), p.Session.Expires.Unix()-f.now.Load())
	require.Empty(t, p.Session.RoleARN)
	want := alice
	want.AccessKeyID, want.Session = p.AccessKeyID, p.Session
	require.Equal(t, want, p)
	require.NotEqual(t, alice.AccessKeyID, p.AccessKeyID)

	out, err = f.GetSessionToken(context.Background(), alice, SessionTokenInput{DurationSeconds: ptr[int32](129600)})
	require.NoError(t, err)
	require.Equal(t, MaxUserSession, out.Credentials.Expires.Sub(time.Unix(f.now.Load(), 0)))
	_, err = f.GetSessionToken(context.Background(), alice, SessionTokenInput{DurationSeconds: ptr[int32](129601)})
	requireCode(t, err, 400, CodeValidation, "at 'durationSeconds'")
	_, err = f.GetSessionToken(context.Background(), p, SessionTokenInput{})
	requireCode(t, err, 403, CodeAccessDenied, "Cannot call GetSessionToken with session credentials")
}

func TestAccountOfKey(t *testing.T) {
	f := setup(t)
	f.store.keys["AKIAIOSFODNN7EXAMPLE"] = account
	alice, ctx := user(account, "alice"), context.Background()
	got, err := f.AccountOfKey(ctx, alice, "AKIAIOSFODNN7EXAMPLE")
	require.NoError(t, err)
	require.Equal(t, account, got)
	got, err = f.AccountOfKey(ctx, alice, newKeyID(account))
	require.NoError(t, err)
	require.Equal(t, account, got)
	for _, id := range []string{newKeyID(other), "AKIAIOSFODNN7EXAMPLX", "ASIA0000000000000000"} {
		_, err = f.AccountOfKey(ctx, alice, id)
		requireCode(t, err, 403, "InvalidClientTokenId", "")
	}
	_, err = f.AccountOfKey(ctx, user(other, "eve"), "AKIAIOSFODNN7EXAMPLE")
	requireCode(t, err, 403, "InvalidClientTokenId", "")
	_, err = f.AccountOfKey(ctx, alice, "short")
	requireCode(t, err, 400, CodeValidation, "greater than or equal to 16")
	// A published id of AWS, with the account that is published with it.
	got, ok := accountOfKey("ASIAQNZGKIQY56JQ7WML")
	require.True(t, ok)
	require.Equal(t, "029608264753", got)
	for _, a := range []string{"000000000000", "000000000001", "999999999999", account} {
		got, ok := accountOfKey(newKeyID(a))
		require.True(t, ok)
		require.Equal(t, a, got)
	}
}

func TestPodIdentity(t *testing.T) {
	f := setup(t)
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"],
"Condition":{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"prometheus","aws:SourceAccount":"111122223333"}}}]}`
	role := f.store.addRole(account, "pod", trust)
	f.store.change(&role, func(r *iam.Role) { r.MaxSession = 12 * time.Hour })
	in := PodIdentity{RoleARN: role.ARN, ClusterARN: "arn:aws:eks:us-east-1:111122223333:cluster/shop", ClusterName: "shop",
		Namespace: "prometheus", ServiceAccount: "collector", Pod: "collector-0", PodUID: "0b1f"}
	assume := func(in PodIdentity) (*Session, error) {
		return f.AssumeRoleForPodIdentity(context.Background(), nil, in)
	}
	out, err := assume(in)
	require.NoError(t, err)
	p := f.opened(t, out)
	require.Equal(t, map[string]string{"eks-cluster-arn": in.ClusterARN, "eks-cluster-name": "shop", "kubernetes-namespace": "prometheus",
		"kubernetes-service-account": "collector", "kubernetes-pod-name": "collector-0", "kubernetes-pod-uid": "0b1f"}, p.Session.Tags)
	require.Len(t, p.Session.Transitive, 6)
	require.Regexp(t, `^eks-shop-collector-0-[0-9a-f]{16}$`, p.Session.Name)
	require.Equal(t, int64(6*3600), p.Session.Expires.Unix()-f.now.Load())

	wrong := in
	wrong.Namespace = "default"
	_, err = assume(wrong)
	requireCode(t, err, 403, CodeAccessDenied, "EKS does not have permissions")
	wrong = in
	wrong.RoleARN += "x"
	_, none := assume(wrong)
	require.Equal(t, message(t, err), message(t, none))
	wrong = in
	wrong.DisableSessionTags = true
	_, err = assume(wrong)
	requireCode(t, err, 403, CodeAccessDenied, "")
	f.store.change(&role, func(r *iam.Role) { r.Trust = strings.Replace(trust, `,"sts:TagSession"`, "", 1) })
	_, err = assume(in)
	requireCode(t, err, 403, CodeAccessDenied, "")
	for _, name := range []string{strings.Repeat("long", 60), "ünïcode", ""} {
		require.Regexp(t, `^[\w+=,.@-]{2,64}$`, podSessionName(name, name))
	}
}
