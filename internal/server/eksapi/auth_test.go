package eksapi

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/server/cluster"
)

const issuer = "https://issuer.example"

var b64 = base64.RawURLEncoding

// signingKey makes a key once for all tests: that is slow.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func keySet(key *rsa.PrivateKey) string {
	b, _ := json.Marshal(map[string]any{"keys": []map[string]string{{"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256",
		"n": b64.EncodeToString(key.N.Bytes()), "e": b64.EncodeToString(big.NewInt(int64(key.E)).Bytes())}}})
	return string(b)
}

type claims map[string]any

// podClaims is what a cluster puts into a pod's token.
func (s *server) podClaims() claims {
	return claims{"iss": issuer, "sub": "system:serviceaccount:prometheus:amp", "aud": []string{podService},
		"iat": s.now.Unix(), "nbf": s.now.Unix(), "exp": s.now.Add(time.Hour).Unix(),
		"kubernetes.io": map[string]any{"namespace": "prometheus", "serviceaccount": map[string]string{"name": "amp", "uid": "u1"},
			"pod": map[string]string{"name": "collector-0", "uid": "u2"}, "node": map[string]string{"name": "n1", "uid": "u3"}}}
}

func sign(t *testing.T, key *rsa.PrivateKey, header string, c claims) string {
	t.Helper()
	payload, err := json.Marshal(c)
	require.NoError(t, err)
	text := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	require.NoError(t, err)
	return text + "." + b64.EncodeToString(sig)
}

const rs256 = `{"alg":"RS256","kid":"k1"}`

// withPod registers a cluster for an account and lets prometheus/amp act as the
// role.
func (s *server) withPod(account string, in cluster.AssociateInput) *cluster.Association {
	s.t.Helper()
	_, err := s.clusters.Register(s.t.Context(), account, cluster.RegisterInput{Name: "prod",
		Registration: cluster.Registration{Issuer: issuer, JWKS: keySet(signingKey())}})
	require.NoError(s.t, err)
	in.Namespace, in.ServiceAccount = "prometheus", "amp"
	a, err := s.clusters.Associate(s.t.Context(), account, "prod", in)
	require.NoError(s.t, err)
	return a
}

func (s *server) assume(account, name, token string) (status int, out string) {
	s.t.Helper()
	body, err := json.Marshal(map[string]string{"token": token})
	require.NoError(s.t, err)
	return s.call(account, ServiceEKSAuth, "POST", "/clusters/"+name+"/assume-role-for-pod-identity", string(body))
}

func TestAssumeRoleForPodIdentity(t *testing.T) {
	s := newServer(t)
	a := s.withPod(mine, cluster.AssociateInput{RoleARN: role})
	token := sign(t, signingKey(), rs256, s.podClaims())
	for _, who := range []string{"", mine} { // unsigned, and signed by a node
		s.sessions.asked = nil
		status, body := s.assume(who, "prod", token)
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, `{"subject":{"namespace":"prometheus","serviceAccount":"amp"},"audience":"pods.eks.amazonaws.com",
			"podIdentityAssociation":{"associationArn":"`+a.ARN()+`","associationId":"`+a.ID+`"},
			"assumedRoleUser":{"arn":"arn:aws:sts::000000000000:assumed-role/writer/collector-0","assumeRoleId":"AROA1:collector-0"},
			"credentials":{"accessKeyId":"ASIA1","secretAccessKey":"s","sessionToken":"t","expiration":1800003600.123}}`, body)
		in := s.sessions.asked[0]
		require.Contains(t, in.Context, "aws:securetransport")
		in.Context = nil
		require.Equal(t, PodSession{RoleARN: role, ClusterARN: "arn:aws:eks:us-east-1:000000000000:cluster/prod", ClusterName: "prod",
			Namespace: "prometheus", ServiceAccount: "amp", Pod: "collector-0", PodUID: "u2"}, in)
	}
	require.Empty(t, s.judge.asked, "the token is what proves who calls")
}

func TestAssumeTargetRole(t *testing.T) {
	s := newServer(t)
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"aps:*","Resource":"*"}]}`
	s.withPod(mine, cluster.AssociateInput{RoleARN: role, TargetRoleARN: "arn:aws:iam::111111111111:role/t", NoSessionTags: true, Policy: policy})
	status, body := s.assume("", "prod", sign(t, signingKey(), rs256, s.podClaims()))
	require.Equal(t, http.StatusOK, status, body)
	in := s.sessions.asked[0]
	require.True(t, in.NoSessionTags)
	require.Equal(t, policy, in.Policy)
	require.Equal(t, "us-east-1/000000000000/prod/prometheus/amp", in.ExternalID)
}

func TestTokensThatProveNothing(t *testing.T) {
	s := newServer(t)
	s.withPod(mine, cluster.AssociateInput{RoleARN: role})
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	with := func(name string, value any) claims {
		c := maps.Clone(s.podClaims())
		c[name] = value
		return c
	}
	good := sign(t, signingKey(), rs256, s.podClaims())
	const invalid = `{"__type":"InvalidTokenException","message":"The token included in the request is not valid for this cluster."}`
	for name, c := range map[string]struct{ token, want string }{
		"garbage":        {"x", invalid},
		"other key":      {sign(t, other, rs256, s.podClaims()), invalid},
		"none":           {b64.EncodeToString([]byte(`{"alg":"none"}`)) + strings.TrimPrefix(good, b64.EncodeToString([]byte(rs256))), invalid},
		"unknown key id": {sign(t, signingKey(), `{"alg":"RS256","kid":"k2"}`, s.podClaims()), invalid},
		"issuer":         {sign(t, signingKey(), rs256, with("iss", "https://other.example")), invalid},
		"audience":       {sign(t, signingKey(), rs256, with("aud", []string{"sts.amazonaws.com"})), invalid},
		"not yet":        {sign(t, signingKey(), rs256, with("nbf", s.now.Add(time.Hour).Unix())), invalid},
		"changed":        {good[:len(good)-6] + "AAAAAA", invalid},
		"expired": {sign(t, signingKey(), rs256, with("exp", s.now.Add(-time.Hour).Unix())),
			`{"__type":"ExpiredTokenException","message":"The token included in the request is expired."}`},
		"no pod": {sign(t, signingKey(), rs256, with("kubernetes.io", map[string]any{"namespace": "prometheus", "serviceaccount": map[string]string{"name": "amp"}})),
			`{"__type":"InvalidTokenException","message":"The token included in the request is not one that a cluster made for a pod."}`},
		"pod of another account": {sign(t, signingKey(), rs256, with("sub", "system:serviceaccount:prometheus:other")),
			`{"__type":"InvalidTokenException","message":"The token included in the request is not one that a cluster made for a pod."}`},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := s.assume("", "prod", c.token)
			require.Equal(t, http.StatusBadRequest, status)
			require.JSONEq(t, c.want, body)
		})
	}
	_, body := s.assume("", "none", good)
	require.JSONEq(t, invalid, body, "no such cluster looks like no such token")
	_, body = s.assume(theirs, "prod", good)
	require.JSONEq(t, invalid, body, "a node of another account")
	_, body = s.assume("", "prod", "")
	require.Contains(t, body, "token: is required")
	require.Empty(t, s.sessions.asked)
}

func TestAssumeRefusals(t *testing.T) {
	s := newServer(t)
	a := s.withPod(mine, cluster.AssociateInput{RoleARN: role + "2"})
	token := sign(t, signingKey(), rs256, s.podClaims())
	status, body := s.assume("", "prod", token)
	require.Equal(t, http.StatusBadRequest, status)
	require.JSONEq(t, `{"__type":"AccessDeniedException","message":"Unauthorized Exception! EKS does not have permissions to assume the associated role."}`, body)

	_, err := s.clusters.Dissociate(t.Context(), mine, "prod", a.ID)
	require.NoError(t, err)
	status, body = s.assume("", "prod", token)
	require.Equal(t, http.StatusNotFound, status)
	require.JSONEq(t, `{"__type":"ResourceNotFoundException","message":"The token included in the request has no service account role association for it."}`, body)
}

// Where two accounts registered the same cluster, an unsigned call has to say
// which is meant.
func TestAssumeIsNotAmbiguous(t *testing.T) {
	s := newServer(t)
	s.withPod(mine, cluster.AssociateInput{RoleARN: role})
	s.withPod(theirs, cluster.AssociateInput{RoleARN: "arn:aws:iam::111111111111:role/writer"})
	token := sign(t, signingKey(), rs256, s.podClaims())
	status, body := s.assume("", "prod", token)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "InvalidRequestException")
	require.Empty(t, s.sessions.asked)

	for _, account := range []string{mine, theirs} {
		s.sessions.asked = nil
		status, body = s.assume("", "arn:aws:eks:us-east-1:"+account+":cluster%2Fprod", token)
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, s.sessions.asked[0].RoleARN, account)
		s.sessions.asked = nil
		status, body = s.assume(account, "prod", token)
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, s.sessions.asked[0].RoleARN, account)
	}
	_, body = s.assume(theirs, "arn:aws:eks:us-east-1:000000000000:cluster%2Fprod", token)
	require.Contains(t, body, "InvalidTokenException")
}
