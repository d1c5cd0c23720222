package sts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
)

func (f *fixture) issueRole(t testing.TB, change ...func(*iam.Session)) *Session {
	t.Helper()
	s := iam.Session{Name: "1764000000000000000", Provider: providerARN, SourceIdentity: "alice", Claims: map[string][]string{
		"oidc.example.com/id/example:sub": {subject}, "oidc.example.com/id/example:aud": {"sts.amazonaws.com"}}}
	for _, c := range change {
		c(&s)
	}
	r := iam.Role{AccountID: account, ARN: "arn:aws:iam::111122223333:role/writer", ID: "AROAEXAMPLEEXAMPLE12"}
	out, err := f.issue(assumed(&r, s), time.Hour, 0)
	require.NoError(t, err)
	return out
}

func TestOpenRefuses(t *testing.T) {
	f, ctx := setup(t), context.Background()
	c := f.issueRole(t).Credentials
	_, _, err := f.Open(ctx, c.AccessKeyID, c.SessionToken)
	require.NoError(t, err)
	another := f.issueRole(t).Credentials
	_, _, err = f.Open(ctx, another.AccessKeyID, c.SessionToken)
	require.ErrorIs(t, err, ErrUnknown, "a token is of one access key")
	_, _, err = f.Open(ctx, "", c.SessionToken)
	require.ErrorIs(t, err, ErrUnknown)
	stranger := setup(t)
	_, _, err = stranger.Open(ctx, c.AccessKeyID, c.SessionToken)
	require.ErrorIs(t, err, ErrUnknown)
	for _, token := range []string{"", "x", "!", strings.Repeat("A", 100), strings.Repeat("A", maxToken+1), c.SessionToken + "A", c.SessionToken + "=",
		c.SessionToken[:len(c.SessionToken)-1], "\n" + c.SessionToken, " " + c.SessionToken} {
		_, _, err = f.Open(ctx, c.AccessKeyID, token)
		require.ErrorIs(t, err, ErrUnknown, token)
	}
	raw, err := tokenText.DecodeString(c.SessionToken)
	require.NoError(t, err)
	for i := range raw { // every bit counts
		for bit := range 8 {
			raw[i] ^= 1 << bit
			secret, p, err := f.Open(ctx, c.AccessKeyID, tokenText.EncodeToString(raw))
			require.ErrorIs(t, err, ErrUnknown)
			require.Empty(t, secret)
			require.Empty(t, p)
			raw[i] ^= 1 << bit
		}
	}
}

func TestKeyRotation(t *testing.T) {
	f, ctx := setup(t), context.Background()
	old := f.issueRole(t).Credentials
	f.ring.rotate()
	_, _, err := f.Open(ctx, old.AccessKeyID, old.SessionToken)
	require.NoError(t, err, "live sessions go on")
	young := f.issueRole(t).Credentials
	_, _, err = f.Open(ctx, young.AccessKeyID, young.SessionToken)
	require.NoError(t, err)
	delete(f.ring.keys, 1)
	_, _, err = f.Open(ctx, old.AccessKeyID, old.SessionToken)
	require.ErrorIs(t, err, ErrUnknown)
	_, _, err = f.Open(ctx, young.AccessKeyID, young.SessionToken)
	require.NoError(t, err)
	// An id that is used again has another key.
	var k [32]byte
	_, _ = rand.Read(k[:])
	f.ring.keys[1] = k
	_, _, err = f.Open(ctx, old.AccessKeyID, old.SessionToken)
	require.ErrorIs(t, err, ErrUnknown)
}

// TestTokensTellNothing: two tokens of the same session have nothing in common
// but version and key id, and nothing of it can be read.
func TestTokensTellNothing(t *testing.T) {
	f := setup(t)
	a, b := f.issueRole(t).Credentials, f.issueRole(t).Credentials
	require.NotEqual(t, a.SessionToken[4:], b.SessionToken[4:])
	raw, err := tokenText.DecodeString(a.SessionToken)
	require.NoError(t, err)
	require.NotContains(t, string(raw), a.SecretAccessKey)
	require.NotContains(t, string(raw), "writer")
	require.Regexp(t, `^[\w-]+$`, a.SessionToken, "needs no escaping anywhere")
	require.Less(t, len(a.SessionToken), 800)
}

func TestPadding(t *testing.T) {
	f, ctx := setup(t), context.Background()
	for _, size := range []int32{1, 500, 1000, 2000, 4000, 4094, 4095, 4096} {
		out, err := f.GetSessionToken(ctx, user(account, "alice"), SessionTokenInput{MinimumSessionTokenSize: &size})
		require.NoError(t, err)
		require.GreaterOrEqual(t, out.TokenSize, size)
		require.LessOrEqual(t, out.TokenSize, max(size+3, 600))
		require.LessOrEqual(t, int(out.TokenSize), maxToken)
		require.EqualValues(t, ceilPercent(int(out.TokenSize), maxToken), out.TokenUtilization)
		f.opened(t, out)
	}
	_, err := f.GetSessionToken(ctx, user(account, "alice"), SessionTokenInput{MinimumSessionTokenSize: ptr[int32](4097)})
	requireCode(t, err, 400, CodeValidation, "minimumSessionTokenSize")
}

func TestTooLarge(t *testing.T) {
	f := setup(t)
	r := iam.Role{AccountID: account, ARN: "arn:aws:iam::111122223333:role/writer", ID: "AROAEXAMPLE"}
	_, err := f.issue(assumed(&r, iam.Session{Name: "s", Claims: map[string][]string{"a:b": {strings.Repeat("x", maxToken)}}}), time.Hour, 0)
	requireCode(t, err, 400, CodePackedPolicy, "do not fit")
	// All that the bounds of the members allow does.
	role := "arn:aws:iam::111122223333:role/" + strings.Repeat("p", 510) + "/" + strings.Repeat("n", 64)
	var tags = map[string]string{}
	for len(encodeSession(nil, &iam.Session{Tags: tags})) < packFrom-120 {
		tags[newSecret()] = newSecret()
	}
	r.ARN = role
	_, err = f.issue(assumed(&r, iam.Session{Name: strings.Repeat("s", 64), SourceIdentity: strings.Repeat("i", 64), Provider: strings.Repeat("p", 300),
		Claims: map[string][]string{"a:b": {strings.Repeat("x", maxClaims)}}, Tags: tags}), time.Hour, 0)
	require.NoError(t, err)
}

// FuzzOpen takes whole tokens, FuzzContent what is in them.
func FuzzOpen(f *testing.F) {
	x := setup(f)
	c := x.issueRole(f).Credentials
	f.Add(c.AccessKeyID, c.SessionToken)
	f.Add("", "")
	f.Add(c.AccessKeyID, strings.Repeat("A", 60))
	f.Fuzz(func(t *testing.T, id, token string) {
		secret, p, err := x.Open(context.Background(), id, token)
		if id == c.AccessKeyID && token == c.SessionToken {
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, ErrUnknown)
		require.Empty(t, secret)
		require.Empty(t, p)
	})
}

func FuzzContent(f *testing.F) {
	x := setup(f)
	for _, s := range []*Session{x.issueRole(f), x.issueRole(f, func(s *iam.Session) {
		s.Policies, s.PolicyARNs = []string{"{}"}, []string{"arn:aws:iam::aws:policy/A"}
		s.Tags, s.Transitive = map[string]string{"a": "b"}, []string{"a"}
	}), x.issueRole(f, func(s *iam.Session) { s.Policies = []string{strings.Repeat("{} ", 600)} })} {
		plain, err := x.sealer.open(&content{accessKeyID: s.Credentials.AccessKeyID, token: s.Credentials.SessionToken})
		require.NoError(f, err)
		f.Add(plain)
	}
	f.Fuzz(func(t *testing.T, content string) {
		secret, p, err := decode("ASIA", content)
		if err != nil {
			return
		}
		require.NotEmpty(t, secret)
		// What was read can be written, and reads the same again.
		packed, compressed, err := pack(p.Session)
		require.NoError(t, err)
		_, again, err := decode("ASIA", string(encode(&p, secret, packed, compressed, 0)))
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}

func BenchmarkOpen(b *testing.B) {
	x := setup(b)
	tagged := func(s *iam.Session) {
		s.Tags = make(map[string]string)
		for i := range 6 {
			s.Tags[fmt.Sprintf("kubernetes-name-%d", i)] = "collector-0"
			s.Transitive = append(s.Transitive, fmt.Sprintf("kubernetes-name-%d", i))
		}
	}
	packed := func(s *iam.Session) { s.Policies = []string{strings.Repeat(`{"Effect":"Allow"} `, 60)} }
	for name, s := range map[string]*Session{"irsa": x.issueRole(b), "tags": x.issueRole(b, tagged), "packed": x.issueRole(b, packed)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := x.Open(context.Background(), s.Credentials.AccessKeyID, s.Credentials.SessionToken); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("garbage", func(b *testing.B) {
		token := strings.Repeat("A", 640)
		for b.Loop() {
			if _, _, err := x.Open(context.Background(), "ASIAEXAMPLEEXAMPLE12", token); err == nil {
				b.Fatal("opened")
			}
		}
	})
}

// TestOpenAgain: a token that was opened before is held to all that can change.
func TestOpenAgain(t *testing.T) {
	f, ctx := setup(t), context.Background()
	c := f.issueRole(t).Credentials
	open := func(id, token string) error {
		secret, p, err := f.Open(ctx, id, token)
		if err != nil {
			require.Empty(t, secret)
			require.Empty(t, p)
		}
		return err
	}
	first, who, err := f.Open(ctx, c.AccessKeyID, c.SessionToken)
	require.NoError(t, err)
	second, again, err := f.Open(ctx, c.AccessKeyID, c.SessionToken)
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.Equal(t, who, again)
	require.NotNil(t, f.Service.opened.get(c.AccessKeyID, c.SessionToken))

	require.ErrorIs(t, open("ASIAEXAMPLEEXAMPLE12", c.SessionToken), ErrUnknown, "another key with a token that is known")
	require.ErrorIs(t, open(c.AccessKeyID, "B"+c.SessionToken[1:]), ErrUnknown, "another token with an end that is known")

	f.store.gone = map[string]bool{who.Session.RoleARN: true}
	require.ErrorIs(t, open(c.AccessKeyID, c.SessionToken), ErrUnknown, "the role is gone")
	f.store.gone = nil
	f.store.err = errors.New("disk on fire")
	require.ErrorContains(t, open(c.AccessKeyID, c.SessionToken), "disk on fire")
	f.store.err = nil
	require.NoError(t, open(c.AccessKeyID, c.SessionToken))

	f.advance(time.Hour)
	require.ErrorIs(t, open(c.AccessKeyID, c.SessionToken), ErrExpired)
}

func TestOpenedIsBounded(t *testing.T) {
	f, ctx := setup(t), context.Background()
	used := f.issueRole(t).Credentials
	for range 3 * maxOpened {
		c := f.issueRole(t).Credentials
		_, _, err := f.Open(ctx, c.AccessKeyID, c.SessionToken)
		require.NoError(t, err)
		_, _, err = f.Open(ctx, used.AccessKeyID, used.SessionToken)
		require.NoError(t, err)
	}
	o := &f.Service.opened
	require.LessOrEqual(t, len(o.young)+len(o.old), 2*maxOpened)
	require.NotNil(t, o.get(used.AccessKeyID, used.SessionToken), "what is used stays")
}
