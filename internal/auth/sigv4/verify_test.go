package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// mapKeys are keys by id; "expired" as a token means an expired one.
type mapKeys map[string]string

func (k mapKeys) LookupKey(_ context.Context, id, token string) (Key, error) {
	if token == "expired" {
		return Key{}, ErrExpiredToken
	}
	secret, ok := k[id]
	if !ok {
		return Key{}, ErrUnknownKey
	}
	return Key{Secret: secret, Identity: "user of " + id}, nil
}

const (
	suiteKey    = "AKIDEXAMPLE"
	suiteSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

var suiteTime = time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)

func newVerifier(t testing.TB, tolerate ...Tolerance) *Verifier {
	t.Helper()
	v, err := NewVerifier(VerifierConfig{Regions: []string{"us-east-1"}, Tolerances: tolerate,
		Now: func() time.Time { return suiteTime }, Registerer: prometheus.NewRegistry()}, mapKeys{suiteKey: suiteSecret})
	require.NoError(t, err)
	return v
}

var suiteExpect = Expect{Service: "service", MaxBody: 1 << 16}

// arrive sends a request through its wire form, as a server gets it.
func arrive(t testing.TB, r *http.Request) *http.Request {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, r.Write(&b))
	got, err := http.ReadRequest(bufio.NewReader(&b))
	require.NoError(t, err)
	return got
}

func verify(t testing.TB, v *Verifier, r *http.Request) (*Verified, error) {
	t.Helper()
	p, err := Parse(r)
	if err != nil {
		return nil, err
	}
	return v.Verify(r, p, suiteExpect)
}

// TestPublishedSuite checks requests and signatures of AWS' Signature Version 4
// test suite.
func TestPublishedSuite(t *testing.T) {
	const date = "\nX-Amz-Date:20150830T123600Z"
	const form = "\nContent-Type:application/x-www-form-urlencoded"
	for _, tc := range []struct{ name, request, body, headers, signature string }{
		{"get-vanilla", "GET / HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-vanilla-query-order-key-case", "GET /?Param2=value2&Param1=value1 HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"get-vanilla-empty-query-key", "GET /?Param1=value1 HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
		{"get-header-key-duplicate", "GET / HTTP/1.1\nHost:example.amazonaws.com\nMy-Header1:value2\nMy-Header1:value2\nMy-Header1:value1" + date, "", "host;my-header1;x-amz-date",
			"c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
		{"get-header-value-order", "GET / HTTP/1.1\nHost:example.amazonaws.com\nMy-Header1:value4\nMy-Header1:value1\nMy-Header1:value3\nMy-Header1:value2" + date, "", "host;my-header1;x-amz-date",
			"08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
		{"get-header-value-trim", "GET / HTTP/1.1\nHost:example.amazonaws.com\nMy-Header1: value1\nMy-Header2: \"a   b   c\"" + date, "", "host;my-header1;my-header2;x-amz-date",
			"acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		{"get-unreserved", "GET /-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
		{"get-utf8", "GET /ሴ HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
		{"get-vanilla-query-unreserved", "GET /?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
		{"get-vanilla-utf8-query", "GET /?ሴ=bar HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
		{"post-sts-header-before", "POST / HTTP/1.1\nHost:example.amazonaws.com" + date + "\nX-Amz-Security-Token:AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==", "", "host;x-amz-date;x-amz-security-token",
			"85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
		{"get-vanilla-query", "GET / HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-vanilla-query-order-key", "GET /?Param1=value2&Param1=Value1 HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1"},
		{"get-vanilla-query-order-value", "GET /?Param1=value2&Param1=value1 HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"},
		// The suite folds this header over three lines, which HTTP has given up;
		// three fields are the same to the rules.
		{"get-header-value-multiline", "GET / HTTP/1.1\nHost:example.amazonaws.com\nMy-Header1:value1\nMy-Header1:  value2\nMy-Header1:     value3" + date, "", "host;my-header1;x-amz-date",
			"ba17b383a53190154eb5fa66a1b836cc297cc0a3d70a5d00705980573d8ff790"},
		{"post-header-key-case", "POST / HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"post-header-value-case", "POST / HTTP/1.1\nHost:example.amazonaws.com\nMy-Header1:VALUE1" + date, "", "host;my-header1;x-amz-date",
			"cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
		{"post-x-www-form-urlencoded-parameters", "POST / HTTP/1.1\nContent-Type:application/x-www-form-urlencoded; charset=utf8\nHost:example.amazonaws.com\nContent-Length:13" + date, "Param1=value1", "content-type;host;x-amz-date",
			"1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"},
		{"get-slash", "GET // HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-slash-dot-slash", "GET /./ HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-relative-relative", "GET /example1/example2/../.. HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-relative", "GET /example/.. HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-slash-pointless-dot", "GET /./example HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"},
		{"get-slashes", "GET //example// HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
		{"post-vanilla", "POST / HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"post-header-key-sort", "POST / HTTP/1.1\nHost:example.amazonaws.com\nMy-Header1:value1" + date, "", "host;my-header1;x-amz-date",
			"c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
		{"post-vanilla-query", "POST /?Param1=value1 HTTP/1.1\nHost:example.amazonaws.com" + date, "", "host;x-amz-date",
			"28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
		{"post-x-www-form-urlencoded", "POST / HTTP/1.1" + form + "\nHost:example.amazonaws.com\nContent-Length:13" + date, "Param1=value1", "content-type;host;x-amz-date",
			"ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := tc.request + "\nAuthorization: AWS4-HMAC-SHA256 Credential=" + suiteKey + "/20150830/us-east-1/service/aws4_request, SignedHeaders=" + tc.headers + ", Signature=" + tc.signature
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n\r\n" + tc.body)))
			require.NoError(t, err)
			got, err := verify(t, newVerifier(t), r)
			require.NoError(t, err)
			require.Equal(t, "user of "+suiteKey, got.Identity)
			require.Empty(t, got.Tolerances)
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			require.Equal(t, tc.body, string(body))
		})
	}
}

func sdkRequest(t testing.TB, method, target, body string, change func(*http.Request)) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	require.NoError(t, err)
	if change != nil {
		change(r)
	}
	sum := sha256.Sum256([]byte(body))
	require.NoError(t, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: suiteKey, SecretAccessKey: suiteSecret,
		SessionToken: r.Header.Get("Test-Token")}, r, hex.EncodeToString(sum[:]), "service", "us-east-1", suiteTime))
	return r
}

func TestSDKSigner(t *testing.T) {
	v := newVerifier(t)
	for name, r := range map[string]*http.Request{
		"get":           sdkRequest(t, "GET", "http://h.example/workspaces/ws-1/api/v1/query?query=up%7Bjob%3D%22a%20b%22%7D&time=1", "", nil),
		"plus in query": sdkRequest(t, "GET", "http://h.example/q?a=1+2&b=%2B&c", "", nil),
		"encoded path":  sdkRequest(t, "GET", "http://h.example:9009/tags/arn%3Aaws%3Aaps%3Aus-east-1%3A000000000000%3Aworkspace%2Fws-1", "", nil),
		"utf-8":         sdkRequest(t, "GET", "http://h.example/%E1%88%B4?%E1%88%B4=bar", "", nil),
		"body":          sdkRequest(t, "POST", "http://h.example/w", "some bytes", func(r *http.Request) { r.Header.Set("Content-Encoding", "snappy") }),
		"token":         sdkRequest(t, "POST", "http://h.example/w", "x", func(r *http.Request) { r.Header.Set("Test-Token", "a token") }),
		"signed hash": sdkRequest(t, "POST", "http://h.example/w", "abc", func(r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
		}),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := verify(t, v, arrive(t, r))
			require.NoError(t, err)
			require.Empty(t, got.Tolerances)
		})
	}
}

func TestPresigned(t *testing.T) {
	sign := func(expires string) *http.Request {
		r, _ := http.NewRequest("GET", "http://h.example/q?b=2&a=1&X-Amz-Expires="+expires, nil)
		empty := sha256.Sum256(nil)
		uri, _, err := v4.NewSigner().PresignHTTP(context.Background(), aws.Credentials{AccessKeyID: suiteKey, SecretAccessKey: suiteSecret},
			r, hex.EncodeToString(empty[:]), "service", "us-east-1", suiteTime)
		require.NoError(t, err)
		out, err := http.NewRequest("GET", uri, nil)
		require.NoError(t, err)
		return arrive(t, out)
	}
	v := newVerifier(t)
	got, err := verify(t, v, sign("60"))
	require.NoError(t, err)
	require.True(t, got.Presigned)

	v.cfg.Now = func() time.Time { return suiteTime.Add(61 * time.Second) }
	_, err = verify(t, v, sign("60"))
	requireReason(t, err, ReasonExpired)
	_, err = verify(t, newVerifier(t), sign("604801"))
	requireReason(t, err, ReasonIncomplete)
	both := sign("60")
	both.Header.Set("Authorization", "AWS4-HMAC-SHA256 x")
	_, err = verify(t, newVerifier(t), both)
	requireReason(t, err, ReasonIncomplete)
	changed := sign("60")
	changed.URL.RawQuery = strings.Replace(changed.URL.RawQuery, "b=2", "b=3", 1)
	_, err = verify(t, newVerifier(t), changed)
	requireReason(t, err, ReasonMismatch)
}

func requireReason(t testing.TB, err error, want Reason) {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, want, e.Reason, e.Message)
}

// resign signs r with canonical parts of the test's choosing, as a client with
// ways of its own would.
func resign(r *http.Request, names []string, path, query, hash string) {
	resignHost(r, r.Host, names, path, query, hash)
}

func resignHost(r *http.Request, host string, names []string, path, query, hash string) {
	r.Header.Set("Authorization", refRequest{method: r.Method, host: host, path: path, query: query, header: r.Header, names: names, hash: hash,
		secret: suiteSecret, stamp: suiteTime.Format(timeFormat), region: "us-east-1", service: "service"}.authorization(suiteKey))
}

func TestTolerances(t *testing.T) {
	const empty = emptyHash
	names := []string{"host", "x-amz-date"}
	fresh := func(target string) *http.Request {
		r, err := http.NewRequest("GET", target, nil)
		require.NoError(t, err)
		r.Host = "h.example"
		r.Header.Set("X-Amz-Date", suiteTime.Format(timeFormat))
		return r
	}
	raw := fresh("http://h.example/a//b")
	resign(raw, names, "/a//b", "", empty)
	single := fresh("http://h.example/a%3Ab")
	resign(single, names, "/a%3Ab", "", empty)
	unsorted := fresh("http://h.example/q?b=2&a=1")
	resign(unsorted, names, "/q", "b=2&a=1", empty)
	both := fresh("http://h.example/a//q?b=2&a=1")
	resign(both, names, "/a//q", "b=2&a=1", empty)
	token := fresh("http://h.example/q")
	token.Header.Set("X-Amz-Security-Token", "t")
	resign(token, names, "/q", "", empty)
	hash := fresh("http://h.example/q")
	hash.Header.Set("X-Amz-Content-Sha256", empty)
	resign(hash, names, "/q", "", empty)
	for name, tc := range map[string]struct {
		r      *http.Request
		want   []Tolerance
		refuse Reason
	}{
		"path not normalised": {raw, []Tolerance{ToleratePath}, ReasonMismatch},
		"path encoded once":   {single, []Tolerance{ToleratePath}, ReasonMismatch},
		"query unsorted":      {unsorted, []Tolerance{TolerateQuery}, ReasonMismatch},
		"path and query":      {both, []Tolerance{ToleratePath, TolerateQuery}, ReasonMismatch},
		"token unsigned":      {token, []Tolerance{TolerateToken}, ReasonIncomplete},
		"hash unsigned":       {hash, []Tolerance{TolerateContentHash}, ReasonIncomplete},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, tc.want...)
			got, err := verify(t, v, arrive(t, tc.r))
			require.NoError(t, err)
			require.Equal(t, tc.want, got.Tolerances)
			for _, w := range tc.want {
				require.Equal(t, 1.0, testutil.ToFloat64(v.tolerated.WithLabelValues(string(w))))
			}
			_, err = verify(t, newVerifier(t), arrive(t, tc.r))
			requireReason(t, err, tc.refuse)
		})
	}
}

func TestRefusals(t *testing.T) {
	base := func() *http.Request { return sdkRequest(t, "POST", "http://h.example/w?a=1", "body", nil) }
	for name, tc := range map[string]struct {
		change func(*http.Request)
		want   Reason
	}{
		"unsigned":              {func(r *http.Request) { r.Header.Del("Authorization") }, ReasonMissing},
		"two authorizations":    {func(r *http.Request) { r.Header.Add("Authorization", "x") }, ReasonIncomplete},
		"bearer":                {func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, ReasonAlgorithm},
		"method":                {func(r *http.Request) { r.Method = "PUT" }, ReasonMismatch},
		"path":                  {func(r *http.Request) { r.URL.Path = "/x" }, ReasonMismatch},
		"query":                 {func(r *http.Request) { r.URL.RawQuery = "a=2" }, ReasonMismatch},
		"host":                  {func(r *http.Request) { r.Host = "other.example" }, ReasonMismatch},
		"body":                  {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("BODY")) }, ReasonMismatch},
		"unsigned x-amz header": {func(r *http.Request) { r.Header.Set("X-Amz-Target", "x") }, ReasonIncomplete},
		"signed header gone": {func(r *http.Request) {
			r.Header.Del("X-Amz-Date")
			r.Header.Set("Date", suiteTime.Format(http.TimeFormat))
		}, ReasonIncomplete},
		"date twice":           {func(r *http.Request) { r.Header.Add("X-Amz-Date", "20150830T123600Z") }, ReasonIncomplete},
		"expired token":        {func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "expired") }, ReasonExpiredToken},
		"wrong content hash":   {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", strings.Repeat("0", 64)) }, ReasonPayload},
		"unsigned payload":     {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, ReasonPayload},
		"chunked payload":      {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD") }, ReasonPayload},
		"scope date":           {func(r *http.Request) { replaceAuth(r, "/20150830/", "/20150829/") }, ReasonSkew},
		"region":               {func(r *http.Request) { replaceAuth(r, "us-east-1", "us-east-2") }, ReasonRegion},
		"service":              {func(r *http.Request) { replaceAuth(r, "/service/", "/s3/") }, ReasonService},
		"unknown key":          {func(r *http.Request) { replaceAuth(r, suiteKey, "AKIDOTHER") }, ReasonUnknownKey},
		"terminator":           {func(r *http.Request) { replaceAuth(r, "aws4_request", "aws5_request") }, ReasonIncomplete},
		"host not signed":      {func(r *http.Request) { replaceAuth(r, ";host;", ";") }, ReasonIncomplete},
		"upper-case signature": {func(r *http.Request) { r.Header.Set("Authorization", upperSignature(r.Header.Get("Authorization"))) }, ReasonIncomplete},
	} {
		t.Run(name, func(t *testing.T) {
			r := base()
			tc.change(r)
			got, err := verify(t, newVerifier(t, TolerateToken, TolerateContentHash), arrive(t, r))
			require.Nil(t, got)
			requireReason(t, err, tc.want)
		})
	}
}

func replaceAuth(r *http.Request, from, to string) {
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), from, to, 1))
}

func upperSignature(auth string) string {
	head, sig, _ := strings.Cut(auth, "Signature=")
	return head + "Signature=" + strings.ToUpper(sig)
}

func TestSkewBounds(t *testing.T) {
	for off, ok := range map[time.Duration]bool{0: true, 5 * time.Minute: true, -5 * time.Minute: true, 301 * time.Second: false, -301 * time.Second: false} {
		v := newVerifier(t)
		v.cfg.Now = func() time.Time { return suiteTime.Add(off) }
		_, err := verify(t, v, arrive(t, sdkRequest(t, "GET", "http://h.example/", "", nil)))
		if ok {
			require.NoError(t, err, off)
		} else {
			requireReason(t, err, ReasonSkew)
		}
	}
	v := newVerifier(t)
	v.cfg.Now = func() time.Time { return suiteTime.Add(6 * time.Minute) }
	_, err := verify(t, v, arrive(t, sdkRequest(t, "GET", "http://h.example/", "", nil)))
	require.EqualError(t, err, "InvalidSignatureException: Signature expired: 20150830T123600Z is now earlier than 20150830T123700Z (20150830T124200Z - 5 min.)")
}

// untouched fails the test when the body is read.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}
func (untouched) Close() error { return nil }

func TestBodyIsNotReadInVain(t *testing.T) {
	v := newVerifier(t)
	tooLong := sdkRequest(t, "POST", "http://h.example/w", "x", nil)
	tooLong.Body, tooLong.ContentLength = untouched{t}, 1<<16+1
	_, err := verify(t, v, tooLong)
	requireReason(t, err, ReasonTooLarge)
	forged := sdkRequest(t, "POST", "http://h.example/w", "abc", func(r *http.Request) {
		r.Header.Set("X-Amz-Content-Sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
	})
	forged.Host, forged.Body = "other.example", untouched{t}
	_, err = verify(t, v, forged)
	requireReason(t, err, ReasonMismatch)

	// Without a length up front the bound holds all the same.
	long := strings.Repeat("x", 1<<16+1)
	r := sdkRequest(t, "POST", "http://h.example/w", long, func(r *http.Request) { r.ContentLength = -1 })
	_, err = verify(t, v, r)
	requireReason(t, err, ReasonTooLarge)
}

func TestRefusedBodyIsGivenBack(t *testing.T) {
	for _, change := range []func(*http.Request){
		func(r *http.Request) { r.Host = "other.example" },
		func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", strings.Repeat("0", 64)) },
	} {
		r := sdkRequest(t, "POST", "http://h.example/w", "body", nil)
		change(r)
		_, err := verify(t, newVerifier(t, AllTolerances()...), r)
		require.Error(t, err)
		require.Nil(t, r.Body.(*Body).Bytes())
	}
}

func TestUnsignedPayloadOverTLS(t *testing.T) {
	v := newVerifier(t)
	v.cfg.AllowUnsignedPayload = true
	r, _ := http.NewRequest("POST", "https://h.example/w", strings.NewReader("anything"))
	r.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
	require.NoError(t, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: suiteKey, SecretAccessKey: suiteSecret},
		r, unsignedPayload, "service", "us-east-1", suiteTime))
	plain := arrive(t, r.Clone(context.Background()))
	_, err := verify(t, v, plain)
	requireReason(t, err, ReasonPayload)
	r.TLS = &tls.ConnectionState{}
	_, err = verify(t, v, r)
	require.NoError(t, err)
}

func TestKeyStoreFailureIsNoRefusal(t *testing.T) {
	v := newVerifier(t)
	v.keys = failingKeys{}
	_, err := verify(t, v, arrive(t, sdkRequest(t, "GET", "http://h.example/", "", nil)))
	var e *Error
	require.Error(t, err)
	require.False(t, errors.As(err, &e))
}

type failingKeys struct{}

func (failingKeys) LookupKey(context.Context, string, string) (Key, error) {
	return Key{}, errors.New("database is down")
}

func TestRotatedSecretLeavesTheCache(t *testing.T) {
	v := newVerifier(t)
	r := sdkRequest(t, "GET", "http://h.example/", "", nil)
	_, err := verify(t, v, arrive(t, r))
	require.NoError(t, err)
	v.keys = mapKeys{suiteKey: "another"}
	_, err = verify(t, v, arrive(t, r))
	requireReason(t, err, ReasonMismatch)
}

func FuzzParse(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("0", 64), "20150830T123600Z", "a=b")
	f.Add("", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2Fb%2Fc%2Fd%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature="+strings.Repeat("0", 64))
	v := newVerifier(f, AllTolerances()...)
	f.Fuzz(func(t *testing.T, auth, date, query string) {
		r, err := http.NewRequest("GET", "http://h.example/", nil)
		require.NoError(t, err)
		r.URL.RawQuery = query
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		r.Header.Set("X-Amz-Date", date)
		p, err := Parse(r)
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("refused with %T", err)
		}
		if err == nil {
			if _, err := v.Verify(r, p, suiteExpect); err == nil {
				t.Fatal("a made-up signature was accepted")
			}
		}
	})
}
