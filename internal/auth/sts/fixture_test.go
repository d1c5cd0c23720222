package sts

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/policy"
	"github.com/mangru/mangru/internal/auth/webidentity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "111122223333"
	other   = "444455556666"
	issuer  = "https://oidc.example.com/id/EXAMPLE"
	subject = "system:serviceaccount:prometheus:amp-irsa-role"
)

// ring is a Keyring whose keys the test changes.
type ring struct {
	current byte
	keys    map[byte][32]byte
}

func newRing() *ring {
	r := &ring{keys: make(map[byte][32]byte)}
	r.rotate()
	return r
}

func (r *ring) rotate() {
	var k [32]byte
	_, _ = rand.Read(k[:])
	r.current++
	r.keys[r.current] = k
}

func (r *ring) Current() (byte, [32]byte)    { return r.current, r.keys[r.current] }
func (r *ring) Key(id byte) ([32]byte, bool) { k, ok := r.keys[id]; return k, ok }

// records is a Store in memory. It judges by policy.Evaluate.
type records struct {
	roles     map[string]iam.Role // by account/name
	providers map[string]iam.Provider
	identity  map[string]string // policy by the ARN of a user or role
	policies  map[string]bool
	keys      map[string]string // account by key id
	gone      map[string]bool   // by the ARN of a role or user
	asked     []iam.Request
	err       error
}

func (r *records) Role(_ context.Context, account, name string) (iam.Role, error) {
	if role, ok := r.roles[account+"/"+name]; ok {
		return role, r.err
	}
	return iam.Role{}, iam.ErrNoSuchEntity
}

func (r *records) ProviderByURL(_ context.Context, account, url string) (iam.Provider, error) {
	if p, ok := r.providers[account+" "+url]; ok {
		return p, r.err
	}
	return iam.Provider{}, iam.ErrNoSuchEntity
}

func (r *records) Policy(_ context.Context, _, arn string) (iam.Policy, error) {
	if r.policies[arn] {
		return iam.Policy{ARN: arn}, nil
	}
	return iam.Policy{}, iam.ErrNoSuchEntity
}

func (r *records) AccessKeyInfo(_ context.Context, account, id string) (iam.AccessKeyInfo, error) {
	if r.keys[id] == account {
		return iam.AccessKeyInfo{ID: id}, nil
	}
	return iam.AccessKeyInfo{}, iam.ErrNoSuchEntity
}

func (r *records) Exists(_ context.Context, p iam.Principal) error {
	if r.gone[p.ARN] || r.gone[p.Session.RoleARN] {
		return iam.ErrNoSuchEntity
	}
	return r.err
}

func (r *records) Explain(_ context.Context, q iam.Request) (policy.Decision, error) {
	r.asked = append(r.asked, q)
	who := policy.Principal{ARN: q.Principal.ARN, AccountID: q.Principal.AccountID}
	owner := q.Principal.ARN
	keys := maps.Clone(q.Context)
	if s := q.Principal.Session; s != nil {
		who.RoleARN, owner = s.RoleARN, s.RoleARN
		for k, v := range s.Tags {
			keys["aws:principaltag/"+k] = []string{v}
		}
	}
	set := policy.Set{Trust: true}
	if doc, ok := r.identity[owner]; ok {
		d, err := policy.Parse([]byte(doc), policy.Identity)
		if err != nil {
			return policy.Decision{}, err
		}
		set.Identity = []policy.Source{{Name: "identity", Document: d}}
	}
	trust, _ := policy.Parse([]byte(q.ResourcePolicy), policy.Trust)
	set.Resource = []policy.Source{{Name: "trust", Document: trust}}
	return policy.Evaluate(policy.Request{Principal: who, Action: q.Action, Resource: q.Resource, Context: keys}, set), r.err
}

// addRole makes a role, name may have a path.
func (r *records) addRole(account, name, trust string) iam.Role {
	role := iam.Role{AccountID: account, Name: name, ID: "AROA" + name, ARN: "arn:aws:iam::" + account + ":role/" + name,
		Trust: trust, MaxSession: time.Hour}
	r.roles[account+"/"+name] = role
	return role
}

func (r *records) change(role *iam.Role, f func(*iam.Role)) {
	f(role)
	r.roles[role.AccountID+"/"+role.Name] = *role
}

type fixture struct {
	*Service
	now    atomic.Int64
	store  *records
	ring   *ring
	key    *ecdsa.PrivateKey
	tokens *webidentity.Verifier
}

func setup(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{ring: newRing(), store: &records{roles: map[string]iam.Role{}, providers: map[string]iam.Provider{},
		identity: map[string]string{}, policies: map[string]bool{}, keys: map[string]string{}}}
	f.now.Store(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).Unix())
	var err error
	f.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	f.store.providers[account+" "+issuer] = iam.Provider{AccountID: account, ARN: providerARN, URL: issuer,
		ClientIDs: []string{"sts.amazonaws.com"}, Trust: iam.ProviderTrust{JWKS: jwks(t, &f.key.PublicKey)}}
	clock := func() time.Time { return time.Unix(f.now.Load(), 0) }
	f.tokens, err = webidentity.New(webidentity.Config{Now: clock})
	require.NoError(t, err)
	t.Cleanup(f.tokens.Close)
	f.Service, err = New(Config{Store: f.store, Tokens: f.tokens, Keys: f.ring, Now: clock})
	require.NoError(t, err)
	return f
}

func (f *fixture) advance(d time.Duration) { f.now.Add(int64(d / time.Second)) }

const providerARN = "arn:aws:iam::" + account + ":oidc-provider/oidc.example.com/id/EXAMPLE"

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func jwks(t testing.TB, k *ecdsa.PublicKey) string {
	t.Helper()
	point, err := k.Bytes()
	require.NoError(t, err)
	b, err := json.Marshal(map[string]any{"keys": []any{map[string]any{"kty": "EC", "crv": "P-256", "kid": "k1", "x": b64(point[1:33]), "y": b64(point[33:])}}})
	require.NoError(t, err)
	return string(b)
}

type members = map[string]any

func (f *fixture) claims() members {
	now := f.now.Load()
	return members{"iss": issuer, "sub": subject, "aud": []string{"sts.amazonaws.com"}, "iat": now, "nbf": now, "exp": now + 3600}
}

// with changes one member; nil takes it away.
func with(m members, name string, value any) members {
	m = maps.Clone(m)
	if m[name] = value; value == nil {
		delete(m, name)
	}
	return m
}

func (f *fixture) token(t testing.TB, claims members) string {
	return sign(t, f.key, members{"alg": "ES256", "kid": "k1"}, claims)
}

func sign(t testing.TB, key *ecdsa.PrivateKey, header, claims members) string {
	t.Helper()
	part := func(m members) string {
		b, err := json.Marshal(m)
		require.NoError(t, err)
		return b64(b)
	}
	signed := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	require.NoError(t, err)
	return signed + "." + b64(append(fill(r), fill(s)...))
}

func fill(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }

// irsaTrust is what eksctl writes.
const irsaTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + providerARN + `"},
"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{
"oidc.example.com/id/EXAMPLE:aud":"sts.amazonaws.com","oidc.example.com/id/EXAMPLE:sub":"` + subject + `"}}}]}`

func user(account, name string) iam.Principal {
	return iam.Principal{AccountID: account, Type: iam.TypeUser, ARN: "arn:aws:iam::" + account + ":user/" + name, ID: "AIDA" + name, Name: name, AccessKeyID: "AKIA" + name}
}

func ptr[T any](v T) *T { return &v }

func requireCode(t *testing.T, err error, status int, code, message string) {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code, "%v", err)
	require.Equal(t, status, e.Status)
	require.Contains(t, e.Message, message)
}

// message is what the caller gets to read.
func message(t *testing.T, err error) string {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	return e.Message
}
