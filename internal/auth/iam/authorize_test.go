package iam

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	testTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"sts:AssumeRole"}]}`
	testWS    = "arn:aws:aps:us-east-1:000000000000:workspace/ws-1"
)

func allow(actions ...string) string { return statement("Allow", "", actions...) }

func statement(effect, condition string, actions ...string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Action":["%s"],"Resource":"*"%s}]}`, effect, strings.Join(actions, `","`), condition)
}

// role makes a role with an inline policy and returns a session of it.
func (f fixture) role(t testing.TB, name, document string) Principal {
	t.Helper()
	r, err := f.CreateRole(t.Context(), DefaultAccount, RoleSpec{Name: name, Path: "/p/", Trust: testTrust, Tags: map[string]string{"team": "a", "env": "role"}})
	require.NoError(t, err)
	if document != "" {
		require.NoError(t, f.PutInlinePolicy(t.Context(), RoleRef(DefaultAccount, name), "p", document))
	}
	now := f.cfg.Now()
	return Principal{AccountID: DefaultAccount, Type: TypeAssumedRole, ARN: "arn:aws:sts::000000000000:assumed-role/" + name + "/s", ID: r.ID + ":s", Name: name,
		AccessKeyID: "ASIAEXAMPLE", Session: &Session{RoleARN: r.ARN, RoleID: r.ID, Name: "s", Issued: now, Expires: now.Add(time.Hour)}}
}

func (f fixture) why(t *testing.T, p Principal, action string) string {
	t.Helper()
	err := f.Authorize(t.Context(), Request{Principal: p, Action: action, Resource: testWS, Context: map[string][]string{"aws:requestedregion": {"us-east-1"}}})
	if err == nil {
		return ""
	}
	var denied *DeniedError
	require.ErrorAs(t, err, &denied)
	return denied.Why
}

func TestRoleSessions(t *testing.T) {
	f := open(t)
	_, _, err := f.Bootstrap(t.Context())
	require.NoError(t, err)
	ctx := t.Context()
	ref := RoleRef(DefaultAccount, "w")
	p := f.role(t, "w", allow("aps:RemoteWrite"))
	require.Empty(t, f.why(t, p, "aps:RemoteWrite"))
	require.Equal(t, "no identity-based policy allows the aps:QueryMetrics action", f.why(t, p, "aps:QueryMetrics"))

	// Changes act on live sessions at once.
	require.NoError(t, f.AttachPolicy(ctx, ref, PolicyPrometheusQuery))
	require.Empty(t, f.why(t, p, "aps:QueryMetrics"))
	require.NoError(t, f.SetBoundary(ctx, ref, PolicyPrometheusWrite))
	require.Equal(t, "no permissions boundary allows the aps:QueryMetrics action", f.why(t, p, "aps:QueryMetrics"))
	require.NoError(t, f.SetBoundary(ctx, ref, ""))
	require.NoError(t, f.DetachPolicy(ctx, ref, PolicyPrometheusQuery))
	require.NotEmpty(t, f.why(t, p, "aps:QueryMetrics"))

	// Session policies narrow down; an unreadable or unknown one refuses all.
	limited := func(change func(*Session)) Principal {
		q, s := p, *p.Session
		change(&s)
		q.Session = &s
		return q
	}
	require.Equal(t, "no session policy allows the aps:RemoteWrite action",
		f.why(t, limited(func(s *Session) { s.Policies = []string{allow("aps:QueryMetrics")} }), "aps:RemoteWrite"))
	require.Empty(t, f.why(t, limited(func(s *Session) { s.PolicyARNs = []string{PolicyPrometheusWrite} }), "aps:RemoteWrite"))
	require.NotEmpty(t, f.why(t, limited(func(s *Session) { s.PolicyARNs = []string{"arn:aws:iam::000000000000:policy/none"} }), "aps:RemoteWrite"))
	require.NotEmpty(t, f.why(t, limited(func(s *Session) { s.Policies = []string{"{"} }), "aps:RemoteWrite"))
	require.NotEmpty(t, f.why(t, limited(func(s *Session) { s.Policies = []string{} }), "aps:RemoteWrite"))

	// Sessions that are not this role's, or over.
	require.NotEmpty(t, f.why(t, limited(func(s *Session) { s.RoleID = "AROANONE" }), "aps:RemoteWrite"))
	require.NotEmpty(t, f.why(t, limited(func(s *Session) { s.RoleARN += "x" }), "aps:RemoteWrite"))
	require.NotEmpty(t, f.why(t, limited(func(s *Session) { s.Expires = f.cfg.Now() }), "aps:RemoteWrite"))
	foreign := p
	foreign.AccountID = "111111111111"
	require.NotEmpty(t, f.why(t, foreign, "aps:RemoteWrite"))

	// A role with the same name, made anew, is another role.
	require.NoError(t, f.DeleteInlinePolicy(ctx, ref, "p"))
	require.NoError(t, f.DeleteRole(ctx, DefaultAccount, "w"))
	require.Equal(t, "the caller no longer exists", f.why(t, p, "aps:RemoteWrite"))
	again := f.role(t, "w", allow("aps:RemoteWrite"))
	require.Empty(t, f.why(t, again, "aps:RemoteWrite"))
	require.NotEmpty(t, f.why(t, p, "aps:RemoteWrite"))
}

func TestUserSessions(t *testing.T) {
	f := open(t)
	key, _, err := f.Bootstrap(t.Context())
	require.NoError(t, err)
	p := key.Principal
	p.AccessKeyID = "ASIAEXAMPLE"
	p.Session = &Session{Issued: f.cfg.Now(), Expires: f.cfg.Now().Add(time.Hour)}
	require.Empty(t, f.why(t, p, "aps:RemoteWrite"))
	// It outlives the key, as in AWS, but not the user's permissions.
	require.NoError(t, f.DeleteAccessKey(t.Context(), key.ID))
	require.Empty(t, f.why(t, p, "aps:RemoteWrite"))
	require.NoError(t, f.DetachUserPolicy(t.Context(), DefaultAccount, AdminUser, PolicyAdministratorAccess))
	require.NotEmpty(t, f.why(t, p, "aps:RemoteWrite"))
	require.NoError(t, f.DeleteUser(t.Context(), DefaultAccount, AdminUser))
	require.Equal(t, "the caller no longer exists", f.why(t, p, "aps:RemoteWrite"))
}

func TestPrincipalConditionKeys(t *testing.T) {
	f := open(t)
	key, _, err := f.Bootstrap(t.Context())
	require.NoError(t, err)
	p := f.role(t, "w", "")
	p.Session.Tags = map[string]string{"Env": "session"}
	p.Session.SourceIdentity = "alice"
	p.Session.Provider = "arn:aws:iam::000000000000:oidc-provider/issuer.test"
	p.Session.Claims = map[string][]string{"Issuer.test:sub": {"system:serviceaccount:a:b"}, "aws:PrincipalTag/root": {"yes"}}
	issued := p.Session.Issued.UTC().Format(time.RFC3339)
	for condition, want := range map[string]bool{
		`{"StringEquals":{"aws:PrincipalTag/team":"a"}}`:                                                true,
		`{"StringEquals":{"aws:PrincipalTag/env":"session"}}`:                                           true, // the session's wins
		`{"StringEquals":{"aws:PrincipalTag/root":"yes"}}`:                                              false,
		`{"StringEquals":{"aws:PrincipalTag/fake":"x"}}`:                                                false,
		`{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::000000000000:role/p/w"}}`:                       true,
		`{"StringEquals":{"aws:PrincipalType":"AssumedRole","aws:PrincipalAccount":"000000000000"}}`:    true,
		`{"StringLike":{"aws:userid":"AROA*:s"}}`:                                                       true,
		`{"Null":{"aws:username":"true","aws:MultiFactorAuthPresent":"true"}}`:                          true,
		`{"DateLessThanEquals":{"aws:TokenIssueTime":"` + issued + `"}}`:                                true,
		`{"StringEquals":{"aws:SourceIdentity":"alice"}}`:                                               true,
		`{"StringEquals":{"issuer.test:sub":"system:serviceaccount:a:b"}}`:                              true,
		`{"ArnEquals":{"aws:FederatedProvider":"arn:aws:iam::000000000000:oidc-provider/issuer.test"}}`: true,
		`{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}`:                                          true,
	} {
		require.NoError(t, f.PutInlinePolicy(t.Context(), RoleRef(DefaultAccount, "w"), "p", statement("Allow", condition, "aps:RemoteWrite")))
		// What a request claims about its caller does not count.
		claims := map[string][]string{"aws:principaltag/fake": {"x"}, "aws:username": {"root"}, "aws:multifactorauthpresent": {"true"}, "aws:requestedregion": {"us-east-1"}}
		err := f.Authorize(t.Context(), Request{Principal: p, Action: "aps:RemoteWrite", Resource: testWS, Context: claims})
		require.Equal(t, want, err == nil, "%s: %v", condition, err)
		require.Equal(t, []string{"root"}, claims["aws:username"], "the caller's map is as it was")
	}
	_, err = f.CreateUser(t.Context(), DefaultAccount, "ann")
	require.NoError(t, err)
	require.NoError(t, f.PutInlinePolicy(t.Context(), UserRef(DefaultAccount, "ann"), "p",
		strings.Replace(allow("aps:RemoteWrite"), `"*"`, `"arn:aws:aps:*:*:workspace/${aws:username}"`, 1)))
	k, err := f.CreateAccessKey(t.Context(), DefaultAccount, "ann")
	require.NoError(t, err)
	for resource, want := range map[string]bool{"ann": true, "bob": false} {
		err := f.Authorize(t.Context(), Request{Principal: k.Principal, Action: "aps:RemoteWrite", Resource: "arn:aws:aps:us-east-1:000000000000:workspace/" + resource})
		require.Equal(t, want, err == nil)
	}
	// A key that says it is somebody else's.
	liar := k.Principal
	liar.ID = key.Principal.ID
	require.NotEmpty(t, f.why(t, liar, "aps:RemoteWrite"))
}

func TestResourcePolicy(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	_, _, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	require.NoError(t, f.CreateAccount(ctx, "111111111111", "other"))
	_, err = f.CreateUser(ctx, "111111111111", "bob")
	require.NoError(t, err)
	require.NoError(t, f.AttachUserPolicy(ctx, "111111111111", "bob", PolicyAdministratorAccess))
	bob, err := f.CreateAccessKey(ctx, "111111111111", "bob")
	require.NoError(t, err)
	document := func(principal string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":"aps:QueryMetrics","Resource":"` + testWS + `"}]}`
	}
	ask := func(document, action string) error {
		return f.Authorize(ctx, Request{Principal: bob.Principal, Action: action, Resource: testWS, ResourcePolicy: document})
	}
	require.ErrorContains(t, ask("", "aps:QueryMetrics"), "because no resource-based policy allows the aps:QueryMetrics action")
	shared := document(`{"AWS":"111111111111"}`)
	require.NoError(t, ask(shared, "aps:QueryMetrics"))
	require.Error(t, ask(shared, "aps:RemoteWrite"))
	require.Error(t, ask(document(`{"AWS":"222222222222"}`), "aps:QueryMetrics"))
	require.Error(t, ask("{", "aps:QueryMetrics"))
	require.NoError(t, f.DetachUserPolicy(ctx, "111111111111", "bob", PolicyAdministratorAccess))
	require.Error(t, ask(shared, "aps:QueryMetrics"), "both sides have to allow it")
	// Attaching another account's policy is not possible.
	_, err = f.CreatePolicy(ctx, DefaultAccount, PolicySpec{Name: "own", Document: allow("*:*")})
	require.ErrorIs(t, err, ErrMalformedPolicy)
	_, err = f.CreatePolicy(ctx, DefaultAccount, PolicySpec{Name: "own", Document: allow("aps:*")})
	require.NoError(t, err)
	require.ErrorIs(t, f.AttachUserPolicy(ctx, "111111111111", "bob", "arn:aws:iam::000000000000:policy/own"), ErrNoSuchEntity)
	// And if the table says so all the same, it refuses.
	_, err = f.db.NewInsert().Model(&attachmentRow{OwnerID: bob.Principal.ID, PolicyARN: "arn:aws:iam::000000000000:policy/own"}).Exec(ctx)
	require.NoError(t, err)
	f.changed()
	require.Error(t, f.Authorize(ctx, Request{Principal: bob.Principal, Action: "aps:X", Resource: "*"}))
}

func TestPassRole(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	key, _, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	r := f.role(t, "w", "").Session.RoleARN
	const service = "pods.eks.amazonaws.com"
	request := func(p Principal) Request {
		return Request{Principal: p, Action: "eks:CreatePodIdentityAssociation", Resource: "arn:aws:eks:us-east-1:000000000000:cluster/c",
			Context: map[string][]string{"aws:resourcetag/team": {"cluster's"}, "aws:sourceip": {"10.0.0.1"}}}
	}
	require.NoError(t, f.PassRole(ctx, request(key.Principal), r, service))
	require.Error(t, f.PassRole(ctx, request(key.Principal), strings.Replace(r, "000000000000", "111111111111", 1), service))
	_, err = f.CreateUser(ctx, DefaultAccount, "ann")
	require.NoError(t, err)
	ann, err := f.CreateAccessKey(ctx, DefaultAccount, "ann")
	require.NoError(t, err)
	require.ErrorContains(t, f.PassRole(ctx, request(ann.Principal), r, service), "iam:PassRole on resource: "+r)
	require.NoError(t, f.PutInlinePolicy(ctx, UserRef(DefaultAccount, "ann"), "p", statement("Allow",
		`{"StringEquals":{"iam:PassedToService":"`+service+`","aws:ResourceTag/team":"a"},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`, "iam:PassRole")))
	require.NoError(t, f.PassRole(ctx, request(ann.Principal), r, service))
	require.Error(t, f.PassRole(ctx, request(ann.Principal), r, "ec2.amazonaws.com"))
	require.NoError(t, f.Untag(ctx, RoleRef(DefaultAccount, "w"), []string{"TEAM"}))
	require.Error(t, f.PassRole(ctx, request(ann.Principal), r, service))
}

func TestSimulateAgreesWithAuthorize(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	_, _, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	p := f.role(t, "w", statement("Allow", `{"StringEquals":{"aws:PrincipalTag/team":"a"}}`, "aps:RemoteWrite"))
	for _, arn := range []string{p.ARN, p.Session.RoleARN} {
		d, err := f.Simulate(ctx, Simulation{Account: DefaultAccount, Principal: arn}, []string{"aps:RemoteWrite", "aps:QueryMetrics"}, []string{testWS, "arn:aws:s3:::bucket"})
		require.NoError(t, err)
		require.Len(t, d, 4)
		require.True(t, d[0].Allowed)
		require.Equal(t, "inline:p", d[0].Source)
		require.True(t, d[1].Allowed)
		require.False(t, d[2].Allowed)
	}
	live, err := f.Explain(ctx, Request{Principal: p, Action: "aps:RemoteWrite", Resource: testWS})
	require.NoError(t, err)
	require.True(t, live.Allowed)
	require.Equal(t, "inline:p", live.Source)
	for _, bad := range []string{"arn:aws:iam::000000000000:role/w", "arn:aws:iam::000000000000:policy/x", "arn:aws:sts::000000000000:assumed-role/w",
		"arn:aws:iam::111111111111:role/p/w", "w", ""} {
		_, err := f.Simulate(ctx, Simulation{Account: DefaultAccount, Principal: bad + ""}, []string{"aps:X"}, []string{"*"})
		if bad == "" {
			require.NoError(t, err)
			continue
		}
		require.Error(t, err, bad)
		require.True(t, isCallers(err), bad)
	}
}

func TestRunWritesUsage(t *testing.T) {
	f := open(t)
	key, _, err := f.Bootstrap(t.Context())
	require.NoError(t, err)
	p := f.role(t, "w", "")
	stored := func() (Usage, Usage) {
		s := f.reopen(t, Config{KeyFile: f.keyFile})
		k, err := s.AccessKeyInfo(context.Background(), DefaultAccount, key.ID)
		require.NoError(t, err)
		r, err := s.Role(context.Background(), DefaultAccount, "w")
		require.NoError(t, err)
		return k.LastUsed, r.LastUsed
	}
	for range 1000 {
		f.why(t, key.Principal, "aps:RemoteWrite")
		f.why(t, p, "aps:RemoteWrite")
	}
	require.Len(t, f.usage.pending, 2, "one note each, however many requests")
	k, r := stored()
	require.Zero(t, k.At)
	require.Zero(t, r.At)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	cancel()
	<-done // the end writes what is left
	k, r = stored()
	require.Equal(t, Usage{At: k.At, Service: "aps", Region: "us-east-1"}, k)
	require.WithinDuration(t, time.Now(), k.At, time.Minute)
	require.Equal(t, "us-east-1", r.Region)

	// A failure keeps the notes for the next time.
	f.Used(key.Principal, "sts", "us-east-1")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, f.FlushUsage(gone))
	require.Len(t, f.usage.pending, 1)
	require.NoError(t, f.FlushUsage(t.Context()))
	require.Empty(t, f.usage.pending)
}

func TestRunWritesEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &Service{cfg: Config{Now: time.Now, Logger: slog.New(slog.DiscardHandler)}}
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		time.Sleep(flushEvery + time.Second) // nothing to write, no database touched
		cancel()
		<-done
	})
}

// Readers and writers at once; the race detector looks on.
func TestConcurrentUse(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	key, _, err := f.Bootstrap(ctx)
	require.NoError(t, err)
	p := f.role(t, "w", allow("aps:RemoteWrite"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if f.why(t, p, "aps:RemoteWrite") != "" || f.why(t, key.Principal, "aps:RemoteWrite") != "" {
					t.Error("refused")
				}
				f.SessionKeys().Current()
			}
		})
	}
	wg.Go(func() {
		for i := range 5 {
			if err := f.Tag(ctx, RoleRef(DefaultAccount, "w"), map[string]string{"n": fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		}
		if err := f.Rotate(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
}

func BenchmarkAuthorize(b *testing.B) {
	f := open(b)
	key, _, err := f.Bootstrap(b.Context())
	require.NoError(b, err)
	for name, p := range map[string]Principal{"user": key.Principal, "session": f.role(b, "w", allow("aps:RemoteWrite"))} {
		b.Run(name, func(b *testing.B) {
			r := Request{Principal: p, Action: "aps:RemoteWrite", Resource: testWS,
				Context: map[string][]string{"aws:requestedregion": {"us-east-1"}, "aws:sourceip": {"10.0.0.1"}, "aws:securetransport": {"true"}}}
			b.ReportAllocs()
			for b.Loop() {
				if err := f.Authorize(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
