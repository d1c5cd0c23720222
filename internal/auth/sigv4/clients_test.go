package sigv4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	promconfig "github.com/prometheus/common/config"
	promsigv4 "github.com/prometheus/sigv4"
	"github.com/stretchr/testify/require"
)

// Point 19: the clients that people have, the real ones where they are
// installed, and the rules of the others.

func plainServer(t *testing.T, service string) (*httptest.Server, func() []string) {
	return liveServer(t, service, (*httptest.Server).Start)
}

// run runs a program with the test's credentials and nothing else of AWS'.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts other programs")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+suiteKey, "AWS_SECRET_ACCESS_KEY="+suiteSecret, "AWS_SESSION_TOKEN=", "AWS_REGION=us-east-1",
		"AWS_DEFAULT_REGION=us-east-1", "AWS_CONFIG_FILE=/nonexistent", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_MAX_ATTEMPTS=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
}

func TestCurl(t *testing.T) {
	srv, seen := plainServer(t, "aps")
	curl := func(args ...string) {
		run(t, "curl", append([]string{"-sS", "--aws-sigv4", "aws:amz:us-east-1:aps", "--user", suiteKey + ":" + suiteSecret}, args...)...)
	}
	curl(srv.URL + "/workspaces")
	curl(srv.URL + "/q?b=2&a=1")
	curl(srv.URL + "/a%20b/c%2Fd?x=%7By%7D")
	curl("--data", "query=up", srv.URL+"/workspaces/ws-1/api/v1/query")
	curl("-H", "X-Amz-Security-Token: a/token==", srv.URL+"/workspaces")
	got := seen()
	require.Len(t, got, 5)
	require.Equal(t, "GET HTTP/1.1 /workspaces 0 []", got[0])
	// Version 7.88 neither sorts the query nor encodes the path again; newer
	// ones do.
	require.Contains(t, []string{"GET HTTP/1.1 /q 0 []", "GET HTTP/1.1 /q 0 [query]"}, got[1])
	require.Regexp(t, `^GET HTTP/1.1 /a b/c/d 0 \[.*\]$`, got[2])
	require.Equal(t, "POST HTTP/1.1 /workspaces/ws-1/api/v1/query 8 []", got[3])
	require.Equal(t, "GET HTTP/1.1 /workspaces 0 []", got[4])
}

func TestAWSCommandLine(t *testing.T) {
	for _, program := range []string{"/usr/bin/aws", "aws"} {
		t.Run(program, func(t *testing.T) {
			srv, seen := plainServer(t, "aps")
			run(t, program, "amp", "list-workspaces", "--alias", "a b+c", "--endpoint-url", srv.URL, "--no-paginate")
			run(t, program, "amp", "list-tags-for-resource", "--resource-arn", "arn:aws:aps:us-east-1:000000000000:workspace/ws-1", "--endpoint-url", srv.URL)
			run(t, program, "amp", "create-workspace", "--alias", "망루", "--endpoint-url", srv.URL)
			require.Equal(t, []string{"GET HTTP/1.1 /workspaces 0 []",
				"GET HTTP/1.1 /tags/arn:aws:aps:us-east-1:000000000000:workspace/ws-1 0 []"}, seen()[:2])
			require.Regexp(t, `^POST HTTP/1.1 /workspaces \d+ \[\]$`, seen()[2])
			form, calls := plainServer(t, "sts")
			run(t, program, "sts", "get-caller-identity", "--endpoint-url", form.URL)
			require.Regexp(t, `^POST HTTP/1.1 / \d+ \[\]$`, calls()[0])
			target, calls := plainServer(t, "identitystore")
			run(t, program, "identitystore", "list-users", "--identity-store-id", "d-1234567890", "--endpoint-url", target.URL)
			require.Regexp(t, `^POST HTTP/1.1 / \d+ \[\]$`, calls()[0])
		})
	}
}

// botocoreScript signs with botocore itself, in its odd corners.
const botocoreScript = `
import sys, urllib.request
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
base, key, secret = sys.argv[1:4]
def send(auth, request):
    auth.add_auth(request)
    p = request.prepare()
    try:
        urllib.request.urlopen(urllib.request.Request(p.url, data=p.body, headers=dict(p.headers), method=p.method)).read()
    except urllib.error.HTTPError as e:
        print(e, e.read())
plain, session = Credentials(key, secret), Credentials(key, secret, "a/token+x==")
send(SigV4Auth(plain, "aps", "us-east-1"), AWSRequest("GET", base + "/tags/arn%3Aaws%3Aaps", params={"b": "2 +~", "a": "x/y"}))
send(SigV4Auth(session, "aps", "us-east-1"), AWSRequest("POST", base + "/w", data=b"\x00\x01bytes", headers={"Content-Type": "application/x-protobuf", "X-Odd": "a   b"}))
send(SigV4QueryAuth(session, "aps", "us-east-1", expires=60), AWSRequest("GET", base + "/q?z=1&a=%2F"))
`

func TestBotocore(t *testing.T) {
	for python, path := range map[string]string{"python3": "", "/usr/bin/python3": "/usr/lib/python3/dist-packages/awscli"} {
		t.Run(python, func(t *testing.T) {
			ctx := context.Background()
			cmd := exec.CommandContext(ctx, python, "-c", "import botocore.auth")
			cmd.Env = append(os.Environ(), "PYTHONPATH="+path)
			if err := cmd.Run(); err != nil {
				t.Skip("botocore is not installed there")
			}
			srv, seen := plainServer(t, "aps")
			t.Setenv("PYTHONPATH", path)
			run(t, python, "-c", botocoreScript, srv.URL, suiteKey, suiteSecret)
			require.Equal(t, []string{"GET HTTP/1.1 /tags/arn:aws:aps 0 []", "POST HTTP/1.1 /w 7 []", "GET HTTP/1.1 /q 0 []"}, seen())
		})
	}
}

func TestPrometheusRoundTripper(t *testing.T) {
	signIsolate(t)
	srv, seen := plainServer(t, "aps")
	rt, err := promsigv4.NewSigV4RoundTripper(&promsigv4.SigV4Config{Region: "us-east-1", AccessKey: suiteKey, SecretKey: promconfig.Secret(suiteSecret)}, http.DefaultTransport)
	require.NoError(t, err)
	for _, path := range []string{"/workspaces/ws-1/api/v1/remote_write", "/workspaces//ws-1/api/v1/remote_write", "/workspaces/ws-1/api/v1/query?query=up%7Ba%3D%22b%22%7D&time=1"} {
		r, err := http.NewRequest("POST", srv.URL+path, bytes.NewReader([]byte("snappy")))
		require.NoError(t, err)
		r.Header.Set("Content-Encoding", "snappy")
		r.Header.Set("Content-Type", "application/x-protobuf")
		r.Header.Set("User-Agent", "Prometheus/3")
		r.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
		resp, err := rt.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	require.Equal(t, []string{"POST HTTP/1.1 /workspaces/ws-1/api/v1/remote_write 6 []", "POST HTTP/1.1 /workspaces/ws-1/api/v1/remote_write 6 []",
		"POST HTTP/1.1 /workspaces/ws-1/api/v1/query 6 []"}, seen())
}

// TestOurSigner: the collector's own signer.
func TestOurSigner(t *testing.T) {
	signIsolate(t)
	srv, seen := plainServer(t, "aps")
	s, err := NewSigner(SignConfig{Region: "us-east-1", AccessKey: suiteKey, SecretKey: suiteSecret, SessionToken: "t/+="}, nil)
	require.NoError(t, err)
	require.NoError(t, signPost(t, s, srv.URL+"/workspaces//ws-1/api/v1/remote_write"))
	require.Equal(t, []string{"POST HTTP/1.1 /workspaces/ws-1/api/v1/remote_write 7 []"}, seen())
}

// rule is how a client that cannot be run here signs.
type rule struct {
	names         []string
	token         bool // sends one
	contentSHA    bool // sends the hash in a header
	method, path  string
	signPath      string
	query, signQ  string
	body          string
	sdk, sdkEmpty bool // signs with the SDK; the hash of nothing whatever the body
	want          []Tolerance
	refused       Reason
}

func TestClientsByTheirRules(t *testing.T) {
	hostDate := []string{"host", "x-amz-date"}
	for name, c := range map[string]rule{
		"vmagent, role": {names: hostDate, token: true, method: "POST", path: "/workspaces/ws-1/api/v1/remote_write", body: "zstd", want: []Tolerance{TolerateToken}},
		"vmagent, doubled slash": {names: hostDate, method: "POST", path: "/workspaces//ws-1/api/v1/remote_write", signPath: "/workspaces//ws-1/api/v1/remote_write",
			body: "zstd", want: []Tolerance{ToleratePath}},
		"vmagent, escaped path": {names: hostDate, method: "POST", path: "/a%3Ab", signPath: "/a%3Ab", body: "zstd", want: []Tolerance{ToleratePath}},
		"awscurl":               {names: hostDate, contentSHA: true, token: true, method: "GET", path: "/workspaces/ws-1/api/v1/query", query: "query=up", want: []Tolerance{TolerateContentHash, TolerateToken}},
		"awscurl, query as typed": {names: hostDate, contentSHA: true, method: "GET", path: "/q", query: "query=sum(up)", signQ: "query=sum(up)",
			want: []Tolerance{TolerateContentHash, TolerateQuery}},
		"OpenTelemetry sigv4auth":          {sdk: true, method: "POST", path: "/workspaces/ws-1/api/v1/remote_write", body: "snappy"},
		"OpenTelemetry, body without copy": {sdk: true, sdkEmpty: true, method: "POST", path: "/w", body: "snappy", refused: ReasonMismatch},
		"Grafana":                          {sdk: true, token: true, method: "POST", path: "/workspaces/ws-1/api/v1/query_range", body: "query=up&start=1"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequest(c.method, "http://h.example"+c.path+"?"+c.query, strings.NewReader(c.body))
			require.NoError(t, err)
			sum := sha256.Sum256([]byte(c.body))
			hash := hex.EncodeToString(sum[:])
			if c.sdkEmpty {
				hash = emptyHash
			}
			if c.sdk {
				creds := aws.Credentials{AccessKeyID: suiteKey, SecretAccessKey: suiteSecret}
				if c.token {
					creds.SessionToken = "a/token"
				}
				r.Header.Set("User-Agent", "client/1")
				require.NoError(t, v4.NewSigner().SignHTTP(context.Background(), creds, r, hash, "service", "us-east-1", suiteTime))
			} else {
				r.Header.Set("X-Amz-Date", suiteTime.Format(timeFormat))
				if c.token {
					r.Header.Set("X-Amz-Security-Token", "a/token")
				}
				if c.contentSHA {
					r.Header.Set("X-Amz-Content-Sha256", hash)
				}
				path, query := c.signPath, c.signQ
				if path == "" {
					path = refPath(c.path, true)
				}
				if query == "" {
					query = refQuery(c.query, false)
				}
				resign(r, c.names, path, query, hash)
			}
			got, err := verify(t, newVerifier(t, AllTolerances()...), arrive(t, r))
			if c.refused != "" {
				requireReason(t, err, c.refused)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got.Tolerances)
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			require.Empty(t, body, "sent whole")
		})
	}
}

func TestPublishedVectorsAgainstReference(t *testing.T) {
	// The reference itself is held against a published signature.
	ref := refRequest{method: "GET", host: "example.amazonaws.com", path: "/", header: http.Header{"X-Amz-Date": {"20150830T123600Z"}}, names: []string{"host", "x-amz-date"},
		hash: emptyHash, secret: suiteSecret, stamp: "20150830T123600Z", region: "us-east-1", service: "service"}
	require.Equal(t, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", ref.signature())
}
