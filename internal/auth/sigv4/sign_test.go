package sigv4

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// signIsolate keeps the machine's own AWS settings out of a test.
func signIsolate(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", dir)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	return dir
}

// signWant computes the signature from the specification, without the SDK.
func signWant(t *testing.T, r *http.Request, body []byte, secret string) string {
	t.Helper()
	auth := r.Header.Get("Authorization")
	_, rest, ok := strings.Cut(auth, "Credential=")
	require.True(t, ok, auth)
	cred, rest, _ := strings.Cut(rest, ", SignedHeaders=")
	names, _, _ := strings.Cut(rest, ", Signature=")
	scope := strings.SplitN(cred, "/", 2)[1]
	var canon strings.Builder
	fmt.Fprintf(&canon, "%s\n%s\n%s\n", r.Method, r.URL.EscapedPath(), r.URL.RawQuery)
	for _, n := range strings.Split(names, ";") {
		v := r.Header.Get(n)
		switch n {
		case "host":
			v = r.Host
		case "content-length":
			v = fmt.Sprint(r.ContentLength)
		}
		fmt.Fprintf(&canon, "%s:%s\n", n, strings.TrimSpace(v))
	}
	fmt.Fprintf(&canon, "\n%s\n%x", names, sha256.Sum256(body))
	sts := fmt.Sprintf("AWS4-HMAC-SHA256\n%s\n%s\n%x", r.Header.Get("X-Amz-Date"), scope, sha256.Sum256([]byte(canon.String())))
	key := []byte("AWS4" + secret)
	for _, part := range append(strings.Split(scope, "/"), sts) {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(part))
		key = m.Sum(nil)
	}
	return hex.EncodeToString(key)
}

type signSeen struct {
	auth, token, path string
	body              []byte
	ok                bool
}

func signServer(t *testing.T, secret string) (*httptest.Server, *signSeen) {
	seen := &signSeen{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.body, _ = io.ReadAll(r.Body)
		seen.auth, seen.token, seen.path = r.Header.Get("Authorization"), r.Header.Get("X-Amz-Security-Token"), r.URL.Path
		seen.ok = strings.HasSuffix(seen.auth, "Signature="+signWant(t, r, seen.body, secret))
	}))
	t.Cleanup(srv.Close)
	return srv, seen
}

func signPost(t *testing.T, s *Signer, url string) error {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader([]byte("payload")))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-protobuf")
	resp, err := s.RoundTrip(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func TestSignStatic(t *testing.T) {
	signIsolate(t)
	srv, seen := signServer(t, "verysecret")
	s, err := NewSigner(SignConfig{Region: "us-west-2", AccessKey: "AKID", SecretKey: "verysecret"}, nil)
	require.NoError(t, err)
	s.now = func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	require.NoError(t, signPost(t, s, srv.URL+"/workspaces//ws-1/api/v1/remote_write"))
	require.True(t, seen.ok, seen.auth)
	require.Contains(t, seen.auth, "AKID/20260102/us-west-2/aps/aws4_request")
	require.Equal(t, "payload", string(seen.body))
	require.Equal(t, "/workspaces/ws-1/api/v1/remote_write", seen.path)

	_, err = NewSigner(SignConfig{AccessKey: "AKID"}, nil)
	require.ErrorContains(t, err, "secret_key")
}

func TestSignCredentialsMayComeLate(t *testing.T) {
	dir := signIsolate(t)
	srv, seen := signServer(t, "late")
	s, err := NewSigner(SignConfig{Region: "us-east-1", Profile: "amp"}, nil)
	require.NoError(t, err)
	for range 2 {
		var ce *CredentialsError
		require.ErrorAs(t, signPost(t, s, srv.URL), &ce)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "credentials"),
		[]byte("[amp]\naws_access_key_id = FILE\naws_secret_access_key = late\n"), 0o600))
	require.NoError(t, signPost(t, s, srv.URL))
	require.True(t, seen.ok)
	require.Contains(t, seen.auth, "Credential=FILE/")
}

func TestSignFromEnvironment(t *testing.T) {
	signIsolate(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "ENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "fromenv")
	t.Setenv("AWS_SESSION_TOKEN", "tok")
	t.Setenv("AWS_REGION", "eu-central-1")
	srv, seen := signServer(t, "fromenv")
	s, err := NewSigner(SignConfig{}, nil)
	require.NoError(t, err)
	require.NoError(t, signPost(t, s, srv.URL))
	require.True(t, seen.ok)
	require.Equal(t, "tok", seen.token)
	require.Contains(t, seen.auth, "/eu-central-1/aps/")
}

// signSTS answers the two ways to assume a role.
func signSTS(t *testing.T, calls *[]url.Values) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		*calls = append(*calls, r.PostForm)
		action := r.PostForm.Get("Action")
		w.Header().Set("Content-Type", "text/xml")
		type creds struct {
			AccessKeyId, SecretAccessKey, SessionToken, Expiration string
		}
		b, _ := xml.Marshal(creds{"ROLE", "rolesecret", "roletoken", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
		inner := strings.NewReplacer("<creds>", "<Credentials>", "</creds>", "</Credentials>").Replace(string(b))
		fmt.Fprintf(w, `<%sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%sResult>%s</%sResult></%sResponse>`, action, action, inner, action, action)
	}))
	t.Cleanup(srv.Close)
	return srv
}

func TestSignAssumedRole(t *testing.T) {
	signIsolate(t)
	var calls []url.Values
	t.Setenv("AWS_ENDPOINT_URL_STS", signSTS(t, &calls).URL)
	srv, seen := signServer(t, "rolesecret")
	s, err := NewSigner(SignConfig{
		Region: "us-east-1", AccessKey: "AKID", SecretKey: "x",
		RoleARN: "arn:aws:iam::000000000000:role/writer", ExternalID: "ext", SessionName: "me",
	}, nil)
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, signPost(t, s, srv.URL))
	}
	require.True(t, seen.ok)
	require.Equal(t, "roletoken", seen.token)
	require.Len(t, calls, 1, "credentials are kept until shortly before their end")
	require.Equal(t, "ext", calls[0].Get("ExternalId"))
	require.Equal(t, "me", calls[0].Get("RoleSessionName"))
}

func TestSignWebIdentity(t *testing.T) {
	dir := signIsolate(t)
	var calls []url.Values
	t.Setenv("AWS_ENDPOINT_URL_STS", signSTS(t, &calls).URL)
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::000000000000:role/irsa")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", filepath.Join(dir, "token"))
	srv, seen := signServer(t, "rolesecret")
	s, err := NewSigner(SignConfig{Region: "us-east-1"}, nil)
	require.NoError(t, err)
	require.Error(t, signPost(t, s, srv.URL), "the token is not there yet")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte("jwt"), 0o600))
	require.NoError(t, signPost(t, s, srv.URL))
	require.True(t, seen.ok)
	require.Equal(t, "jwt", calls[0].Get("WebIdentityToken"))
}

func TestSignWebIdentityFromConfiguration(t *testing.T) {
	dir := signIsolate(t)
	var calls []url.Values
	t.Setenv("AWS_ENDPOINT_URL_STS", signSTS(t, &calls).URL)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte("jwt2"), 0o600))
	srv, seen := signServer(t, "rolesecret")
	s, err := NewSigner(SignConfig{Region: "us-east-1", RoleARN: "arn:aws:iam::000000000000:role/r", WebIdentityTokenFile: filepath.Join(dir, "token")}, nil)
	require.NoError(t, err)
	require.NoError(t, signPost(t, s, srv.URL))
	require.True(t, seen.ok)
	require.Equal(t, "jwt2", calls[0].Get("WebIdentityToken"))
}

func TestSignErrorIsTyped(t *testing.T) {
	err := error(&CredentialsError{errors.New("x")})
	require.ErrorContains(t, err, "no AWS credentials: x")
}
