package api

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/audit"
	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/policy"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/httpserver"
)

// fakeKeys know user "a" by key AKIDA and a role's session by ASIAA.
type fakeKeys struct{}

func (fakeKeys) LookupKey(_ context.Context, id string) (iam.AccessKey, error) {
	if id != "AKIDA" {
		return iam.AccessKey{}, iam.ErrNoSuchEntity
	}
	return iam.AccessKey{ID: id, Secret: "secret", Active: true, Principal: iam.Principal{AccountID: "123456789012", Type: iam.TypeUser,
		ARN: "arn:aws:iam::123456789012:user/a", ID: "AIDAA", Name: "a", AccessKeyID: id}}, nil
}

type expired struct{ error }

func (expired) Expired() bool { return true }

type unavailable struct{ error }

func (unavailable) Unavailable() bool { return true }

type fakeSessions struct{}

func (fakeSessions) Open(_ context.Context, id, token string) (string, iam.Principal, error) {
	switch token {
	case "good":
		return "secret", iam.Principal{AccountID: "123456789012", Type: iam.TypeAssumedRole, ARN: "arn:aws:sts::123456789012:assumed-role/r/s",
			ID: "AROA:s", AccessKeyID: id, Session: &iam.Session{}}, nil
	case "old":
		return "", iam.Principal{}, fmt.Errorf("wrapped: %w", expired{errors.New("old")})
	case "down":
		return "", iam.Principal{}, unavailable{errors.New("down")}
	case "broken":
		return "", iam.Principal{}, nil
	}
	return "", iam.Principal{}, errors.New("made up")
}

// judge allows what is not in deny, and remembers what it was asked.
type judge struct {
	asked []iam.Request
	deny  string
	used  []string
}

func (j *judge) Authorize(_ context.Context, r iam.Request) error {
	j.asked = append(j.asked, r)
	if r.Action == j.deny {
		return &iam.DeniedError{Principal: r.Principal.ARN, Action: r.Action, Resource: r.Resource, Why: "no identity-based policy allows the " + r.Action + " action"}
	}
	return nil
}

func (j *judge) Explain(_ context.Context, r iam.Request) (policy.Decision, error) {
	return policy.Decision{Allowed: r.Action != j.deny, Source: "arn:aws:iam::aws:policy/P", Sid: "S1"}, nil
}

func (j *judge) Used(p iam.Principal, service, region string) {
	j.used = append(j.used, p.AccessKeyID+" "+service+" "+region)
}

// recorder is an Audit.
type recorder struct {
	mu     sync.Mutex
	events []audit.Event
}

func (r *recorder) Record(e audit.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

type edge struct {
	*Router
	judge  *judge
	audit  *recorder
	served []string
	fail   error // what handlers return
}

// newEdge is a router with services of all three protocols.
func newEdge(t testing.TB, change func(*Config)) *edge {
	t.Helper()
	e := &edge{judge: &judge{}, audit: &recorder{}}
	handle := func(name string) func(http.ResponseWriter, *Call) error {
		return func(w http.ResponseWriter, c *Call) error {
			if e.fail != nil {
				return e.fail
			}
			body, err := io.ReadAll(c.Request.Body)
			if err != nil {
				return err
			}
			c.Form.Del("Version")
			e.served = append(e.served, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", name, c.Principal.AccessKeyID, c.Form.Encode(), body)))
			return nil
		}
	}
	any := func(*Call) (string, error) { return "*", nil }
	named := func(c *Call) (string, error) {
		return "arn:aws:iam::" + c.Principal.AccountID + ":user/" + c.Form.Get("UserName"), nil
	}
	cfg := Config{Authorizer: e.judge, Audit: e.audit, Domain: "mangru.test", Registerer: prometheus.NewRegistry(), Services: []Service{
		{Name: "rest", Hosts: []string{"rest"}, Routes: []Route{
			{Name: "Get", Method: "GET", Path: "/things/{id}", Action: "rest:Get", Resource: any, Handle: handle("rest.Get")},
			{Name: "Put", Method: "POST", Path: "/things", Action: "rest:Put", Resource: any, MaxBody: 100, MaxBodyKnob: "a.setting", Handle: handle("rest.Put")},
			{Name: "Root", Method: "POST", Path: "/", Action: "rest:Root", Resource: any, Handle: handle("rest.Root")}}},
		{Name: "eks-auth", Routes: []Route{{Name: "AssumeRoleForPodIdentity", Method: "POST", Path: "/pods", Anonymous: true, Handle: handle("eks-auth")}}},
		{Name: "sts", Protocol: Query, Namespace: "https://sts.example/doc/", Version: "2011-06-15", Hosts: []string{"sts"}, Routes: []Route{
			{Name: "GetCallerIdentity", NoPermission: true, Handle: handle("sts.GetCallerIdentity")},
			{Name: "AssumeRoleWithWebIdentity", Anonymous: true, Handle: handle("sts.AssumeRoleWithWebIdentity")}}},
		{Name: "iam", Protocol: Query, Namespace: "https://iam.example/doc/", Version: "2010-05-08", Hosts: []string{"iam"}, Routes: []Route{
			{Name: "CreateUser", Action: "iam:CreateUser", Resource: named, Handle: handle("iam.CreateUser"),
				Conditions: func(c *Call) (map[string][]string, error) {
					return map[string][]string{"aws:requesttag/team": {"t"}}, nil
				},
				ResourcePolicy: func(*Call) (string, error) { return "{}", nil }},
			{Name: "DeleteUser", Action: "iam:DeleteUser", Resource: named, Handle: handle("iam.DeleteUser")}}},
		{Name: "identitystore", Protocol: JSON11, TargetPrefix: "AWSIdentityStore", Routes: []Route{
			{Name: "ListUsers", Action: "identitystore:ListUsers", Resource: any, Handle: handle("identitystore.ListUsers")}}},
		{Name: "sso", Protocol: JSON11, TargetPrefix: "SWBExternalService", Routes: []Route{
			{Name: "ListUsers", Action: "sso:ListUsers", Resource: any, Handle: handle("sso.ListUsers")}}},
	}}
	var err error
	cfg.Verifier, err = sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{"eu-west-1"}, Tolerances: sigv4.AllTolerances()}, Keys(fakeKeys{}, fakeSessions{}))
	require.NoError(t, err)
	if change != nil {
		change(&cfg)
	}
	e.Router, err = NewRouter(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return e
}

// ask describes a request. Scope "" leaves it unsigned.
type ask struct {
	method, target, body string
	header               map[string]string
	scope, key, secret   string
	token                string
	presign              bool
	before               func(*http.Request)
	after                func(*http.Request) // once it is signed
}

const formType = "application/x-www-form-urlencoded"

func (a ask) request(t testing.TB) *http.Request {
	t.Helper()
	if strings.HasPrefix(a.target, "/") {
		a.target = "http://mangru.local:9009" + a.target
	}
	r, err := http.NewRequest(a.method, a.target, strings.NewReader(a.body))
	require.NoError(t, err)
	r.RemoteAddr = "192.0.2.7:1234"
	for k, v := range a.header {
		r.Header.Set(k, v)
	}
	if a.before != nil {
		a.before(r)
	}
	if a.scope != "" {
		creds := aws.Credentials{AccessKeyID: "AKIDA", SecretAccessKey: "secret", SessionToken: a.token}
		if a.key != "" {
			creds.AccessKeyID = a.key
		}
		if a.secret != "" {
			creds.SecretAccessKey = a.secret
		}
		region, service, _ := strings.Cut("eu-west-1/"+a.scope, "/")
		if r2, s2, ok := strings.Cut(a.scope, "/"); ok {
			region, service = r2, s2
		}
		hash := sha(a.body)
		if a.presign {
			q := r.URL.Query()
			q.Set("X-Amz-Expires", "60")
			r.URL.RawQuery = q.Encode()
			uri, _, err := v4.NewSigner().PresignHTTP(context.Background(), creds, r, hash, service, region, time.Now())
			require.NoError(t, err)
			signed, err := http.NewRequest(a.method, uri, strings.NewReader(a.body))
			require.NoError(t, err)
			signed.Header, signed.RemoteAddr, r = r.Header, r.RemoteAddr, signed
		} else {
			require.NoError(t, v4.NewSigner().SignHTTP(context.Background(), creds, r, hash, service, region, time.Now()))
		}
	}
	if a.after != nil {
		a.after(r)
	}
	return r
}

func (e *edge) send(t testing.TB, a ask) *httptest.ResponseRecorder {
	t.Helper()
	e.served, e.audit.events, e.judge.asked = nil, nil, nil
	w := httptest.NewRecorder()
	e.ServeHTTP(w, a.request(t))
	require.Len(t, e.audit.events, 1, "every request is recorded once")
	return w
}

// codeOf reads the code of an error in any of the protocols.
func codeOf(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	if w.Code < 300 {
		return ""
	}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "text/xml") {
		var e struct {
			XMLName xml.Name `xml:"ErrorResponse"`
			Error   struct{ Type, Code, Message string }
		}
		require.NoError(t, xml.Unmarshal(w.Body.Bytes(), &e), "%s", w.Body)
		require.NotEmpty(t, e.XMLName.Space)
		require.NotEmpty(t, e.Error.Message)
		require.Equal(t, map[bool]string{true: "Receiver", false: "Sender"}[w.Code >= 500], e.Error.Type)
		return e.Error.Code
	}
	var body map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body), "%s", w.Body)
	require.Equal(t, w.Header().Get("x-amzn-errortype"), body["__type"])
	return body["__type"].(string)
}

func form(action string, more ...string) string {
	version := "2010-05-08"
	if strings.HasPrefix(action, "Get") || strings.HasPrefix(action, "Assume") {
		version = "2011-06-15"
	}
	v := url.Values{"Action": {action}, "Version": {version}}
	for i := 0; i+1 < len(more); i += 2 {
		v.Add(more[i], more[i+1])
	}
	return v.Encode()
}

func TestDispatch(t *testing.T) {
	isForm := map[string]string{"Content-Type": formType + "; charset=utf-8"}
	target := func(name string) map[string]string {
		return map[string]string{"X-Amz-Target": name, "Content-Type": "application/x-amz-json-1.1"}
	}
	e := newEdge(t, nil)
	for name, tc := range map[string]struct {
		ask
		status int
		code   string
		served string
	}{
		"REST":                     {ask{method: "GET", target: "/things/1", scope: "rest"}, 200, "", "rest.Get AKIDA"},
		"REST, unknown":            {ask{method: "GET", target: "/nothing", scope: "rest"}, 404, "UnknownOperationException", ""},
		"REST at the root":         {ask{method: "POST", target: "/", body: "{}", scope: "rest"}, 200, "", "rest.Root AKIDA  {}"},
		"REST with a form":         {ask{method: "POST", target: "/things", body: "a=b", header: isForm, scope: "rest"}, 200, "", "rest.Put AKIDA  a=b"},
		"REST, form at the root":   {ask{method: "POST", target: "/", body: form("CreateUser"), header: isForm, scope: "rest"}, 200, "", "rest.Root AKIDA  Action=CreateUser&Version=2010-05-08"},
		"REST, too long":           {ask{method: "POST", target: "/things", body: strings.Repeat("x", 101), scope: "rest"}, 413, "RequestEntityTooLargeException", ""},
		"Query, POST":              {ask{method: "POST", target: "/", body: form("CreateUser", "UserName", "b"), header: isForm, scope: "iam"}, 200, "", "iam.CreateUser AKIDA Action=CreateUser&UserName=b Action=CreateUser&UserName=b&Version=2010-05-08"},
		"Query, GET":               {ask{method: "GET", target: "/?" + form("GetCallerIdentity"), scope: "sts"}, 200, "", "sts.GetCallerIdentity AKIDA Action=GetCallerIdentity"},
		"Query, POST without body": {ask{method: "POST", target: "/?" + form("GetCallerIdentity"), scope: "sts"}, 200, "", "sts.GetCallerIdentity AKIDA Action=GetCallerIdentity"},
		"Query, presigned":         {ask{method: "GET", target: "/?" + form("GetCallerIdentity"), scope: "sts", presign: true}, 200, "", "sts.GetCallerIdentity AKIDA Action=GetCallerIdentity"},
		"Query, presigned session": {ask{method: "GET", target: "/?" + form("GetCallerIdentity"), scope: "sts", presign: true, key: "ASIAA", token: "good"}, 200, "", "sts.GetCallerIdentity ASIAA Action=GetCallerIdentity"},
		"Query, us-east-1":         {ask{method: "GET", target: "/?" + form("GetCallerIdentity"), scope: "us-east-1/sts"}, 200, "", "sts.GetCallerIdentity AKIDA Action=GetCallerIdentity"},
		"Query, virtual host":      {ask{method: "POST", target: "http://iam.eu-west-1.mangru.test/", body: form("CreateUser"), header: isForm, scope: "iam"}, 200, "", "iam.CreateUser AKIDA Action=CreateUser Action=CreateUser&Version=2010-05-08"},
		"Query, session":           {ask{method: "POST", target: "/", body: form("CreateUser"), header: isForm, scope: "iam", key: "ASIAA", token: "good"}, 200, "", "iam.CreateUser ASIAA Action=CreateUser Action=CreateUser&Version=2010-05-08"},
		"JSON 1.1":                 {ask{method: "POST", target: "/", body: "{}", header: target("AWSIdentityStore.ListUsers"), scope: "identitystore"}, 200, "", "identitystore.ListUsers AKIDA  {}"},
		"JSON 1.1, other prefix":   {ask{method: "POST", target: "/", body: "{}", header: target("SWBExternalService.ListUsers"), scope: "sso"}, 200, "", "sso.ListUsers AKIDA  {}"},
		"unsigned, anonymous":      {ask{method: "POST", target: "/", body: form("AssumeRoleWithWebIdentity", "RoleArn", "r"), header: isForm}, 200, "", "sts.AssumeRoleWithWebIdentity  Action=AssumeRoleWithWebIdentity&RoleArn=r Action=AssumeRoleWithWebIdentity&RoleArn=r&Version=2011-06-15"},
		"unsigned GET, anonymous":  {ask{method: "GET", target: "/?" + form("AssumeRoleWithWebIdentity")}, 200, "", "sts.AssumeRoleWithWebIdentity  Action=AssumeRoleWithWebIdentity"},
		"unsigned REST, anonymous": {ask{method: "POST", target: "/pods", body: "{}"}, 200, "", "eks-auth   {}"},

		"unsigned":                          {ask{method: "GET", target: "/things/1"}, 403, "MissingAuthenticationTokenException", ""},
		"unsigned target":                   {ask{method: "POST", target: "/", header: target("AWSIdentityStore.ListUsers")}, 400, "MissingAuthenticationTokenException", ""},
		"unsigned form":                     {ask{method: "POST", target: "/", body: form("CreateUser"), header: isForm}, 403, "MissingAuthenticationToken", ""},
		"unsigned form, no permission":      {ask{method: "POST", target: "/", body: form("GetCallerIdentity"), header: isForm}, 403, "MissingAuthenticationToken", ""},
		"unsigned form, unknown action":     {ask{method: "POST", target: "/", body: form("Nothing"), header: isForm}, 403, "MissingAuthenticationToken", ""},
		"unsigned form, not on its host":    {ask{method: "POST", target: "http://iam.eu-west-1.mangru.test/", body: form("AssumeRoleWithWebIdentity"), header: isForm}, 403, "MissingAuthenticationToken", ""},
		"unsigned form, too long":           {ask{method: "POST", target: "/", body: form("AssumeRoleWithWebIdentity", "T", strings.Repeat("x", maxUnsignedForm)), header: isForm}, 413, "RequestEntityTooLarge", ""},
		"anonymous but badly signed":        {ask{method: "POST", target: "/", body: form("AssumeRoleWithWebIdentity"), header: isForm, scope: "sts", secret: "guess"}, 403, "SignatureDoesNotMatch", ""},
		"action twice":                      {ask{method: "POST", target: "/", body: form("CreateUser", "Action", "DeleteUser"), header: isForm, scope: "iam"}, 400, "MalformedQueryString", ""},
		"action twice in the query":         {ask{method: "GET", target: "/?" + form("CreateUser", "Action", "DeleteUser"), scope: "iam"}, 400, "MalformedQueryString", ""},
		"action twice, unsigned":            {ask{method: "POST", target: "/", body: form("AssumeRoleWithWebIdentity", "Action", "GetCallerIdentity"), header: isForm}, 400, "MalformedQueryString", ""},
		"parameter twice":                   {ask{method: "POST", target: "/", body: form("CreateUser", "UserName", "a", "UserName", "b"), header: isForm, scope: "iam"}, 400, "MalformedQueryString", ""},
		"action in query and body":          {ask{method: "POST", target: "/?Action=CreateUser", body: form("DeleteUser"), header: isForm, scope: "iam"}, 400, "InvalidParameterCombination", ""},
		"parameters in query and body":      {ask{method: "POST", target: "/?UserName=x", body: form("DeleteUser"), header: isForm, scope: "iam"}, 400, "InvalidParameterCombination", ""},
		"body that is no form":              {ask{method: "POST", target: "/?" + form("CreateUser"), body: "{}", scope: "iam"}, 400, "MalformedInput", ""},
		"GET with a body":                   {ask{method: "GET", target: "/?" + form("CreateUser"), body: form("DeleteUser"), header: isForm, scope: "iam"}, 400, "MalformedInput", ""},
		"bad escape":                        {ask{method: "POST", target: "/", body: "Action=%zz", header: isForm, scope: "iam"}, 400, "MalformedQueryString", ""},
		"semicolon":                         {ask{method: "POST", target: "/", body: "Action=CreateUser;Version=1", header: isForm, scope: "iam"}, 400, "MalformedQueryString", ""},
		"too many parameters":               {ask{method: "POST", target: "/", body: strings.Repeat("a=&", maxFormFields+1), header: isForm, scope: "iam"}, 400, "MalformedQueryString", ""},
		"no action":                         {ask{method: "POST", target: "/", body: "Version=2010-05-08", header: isForm, scope: "iam"}, 400, "MissingAction", ""},
		"unknown action":                    {ask{method: "POST", target: "/", body: form("Nothing"), header: isForm, scope: "iam"}, 400, "InvalidAction", ""},
		"no version":                        {ask{method: "POST", target: "/", body: "Action=CreateUser", header: isForm, scope: "iam"}, 400, "InvalidAction", ""},
		"another service's action":          {ask{method: "POST", target: "/", body: form("GetCallerIdentity"), header: isForm, scope: "iam"}, 400, "InvalidAction", ""},
		"scope of no service here":          {ask{method: "POST", target: "/", body: form("CreateUser"), header: isForm, scope: "ec2"}, 403, "SignatureDoesNotMatch", ""},
		"region":                            {ask{method: "POST", target: "/", body: form("CreateUser"), header: isForm, scope: "us-west-2/iam"}, 403, "SignatureDoesNotMatch", ""},
		"wrong secret, Query":               {ask{method: "POST", target: "/", body: form("CreateUser"), header: isForm, scope: "iam", secret: "guess"}, 403, "SignatureDoesNotMatch", ""},
		"unknown key, Query":                {ask{method: "POST", target: "/", body: form("CreateUser"), header: isForm, scope: "iam", key: "AKIDX"}, 403, "InvalidClientTokenId", ""},
		"expired session, Query":            {ask{method: "POST", target: "/", body: form("CreateUser"), header: isForm, scope: "iam", key: "ASIAA", token: "old"}, 403, "ExpiredToken", ""},
		"made-up session, Query":            {ask{method: "POST", target: "/", body: form("CreateUser"), header: isForm, scope: "iam", key: "ASIAA", token: "x"}, 403, "InvalidClientTokenId", ""},
		"session without token":             {ask{method: "POST", target: "/", body: form("CreateUser"), header: isForm, scope: "iam", key: "ASIAA"}, 403, "InvalidClientTokenId", ""},
		"sessions down":                     {ask{method: "POST", target: "/", body: form("CreateUser"), header: isForm, scope: "iam", key: "ASIAA", token: "down"}, 503, "ServiceUnavailable", ""},
		"session without secret":            {ask{method: "POST", target: "/", body: form("CreateUser"), header: isForm, scope: "iam", key: "ASIAA", token: "broken"}, 500, "InternalFailure", ""},
		"long-lived key with a token":       {ask{method: "GET", target: "/things/1", scope: "rest", token: "good"}, 403, "UnrecognizedClientException", ""},
		"malformed, Query":                  {ask{method: "POST", target: "/", body: form("CreateUser"), header: isForm, after: func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x") }}, 400, "IncompleteSignature", ""},
		"presigned and late, Query":         {ask{method: "GET", target: "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDA%2F20200101%2Feu-west-1%2Fiam%2Faws4_request&X-Amz-Date=20200101T000000Z&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=" + strings.Repeat("0", 64) + "&" + form("CreateUser")}, 400, "RequestExpired", ""},
		"wrong secret, JSON":                {ask{method: "POST", target: "/", body: "{}", header: target("AWSIdentityStore.ListUsers"), scope: "identitystore", secret: "guess"}, 400, "InvalidSignatureException", ""},
		"unknown operation, JSON":           {ask{method: "POST", target: "/", body: "{}", header: target("AWSIdentityStore.Nothing"), scope: "identitystore"}, 400, "UnknownOperationException", ""},
		"target at another path":            {ask{method: "POST", target: "/x", body: "{}", header: target("AWSIdentityStore.ListUsers"), scope: "identitystore"}, 400, "UnknownOperationException", ""},
		"target with GET":                   {ask{method: "GET", target: "/", header: target("AWSIdentityStore.ListUsers"), scope: "identitystore"}, 400, "UnknownOperationException", ""},
		"target added after signing":        {ask{method: "POST", target: "/", body: "{}", scope: "identitystore", after: func(r *http.Request) { r.Header.Set("X-Amz-Target", "AWSIdentityStore.ListUsers") }}, 400, "IncompleteSignatureException", ""},
		"target of another service's scope": {ask{method: "POST", target: "/", body: "{}", header: target("SWBExternalService.ListUsers"), scope: "identitystore"}, 400, "UnknownOperationException", ""},
		"two targets": {ask{method: "POST", target: "/", body: "{}", scope: "identitystore", after: func(r *http.Request) {
			r.Header["X-Amz-Target"] = []string{"AWSIdentityStore.ListUsers", "SWBExternalService.ListUsers"}
		}}, 400, "IncompleteSignatureException", ""},
		"two targets, signed": {ask{method: "POST", target: "/", body: "{}", scope: "identitystore", before: func(r *http.Request) {
			r.Header["X-Amz-Target"] = []string{"AWSIdentityStore.ListUsers", "AWSIdentityStore.ListUsers"}
		}}, 400, "UnknownOperationException", ""},
		"tenant of another system": {ask{method: "GET", target: "/things/1", scope: "rest", header: map[string]string{"X-Scope-OrgID": "other"}}, 403, "AccessDeniedException", ""},
		"HEAD":                     {ask{method: "HEAD", target: "/things/1", scope: "rest"}, 404, "UnknownOperationException", ""},
		"preflight":                {ask{method: "OPTIONS", target: "/things/1"}, 403, "MissingAuthenticationTokenException", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := e.send(t, tc.ask)
			require.Equal(t, tc.status, w.Code, "%s", w.Body)
			require.Equal(t, tc.code, codeOf(t, w), "%s", w.Body)
			require.Equal(t, tc.served, strings.Join(e.served, "|"))
			if tc.code != "" {
				require.Empty(t, e.judge.asked, "nobody is asked about a request that is refused before")
			}
		})
	}
}

func TestDeniedInEveryProtocol(t *testing.T) {
	e := newEdge(t, nil)
	for action, tc := range map[string]struct {
		ask
		status   int
		code     string
		resource string
	}{
		"rest:Get": {ask{method: "GET", target: "/things/1", scope: "rest"}, 403, "AccessDeniedException", "*"},
		"iam:DeleteUser": {ask{method: "POST", target: "/", body: form("DeleteUser", "UserName", "b"), header: map[string]string{"Content-Type": formType}, scope: "iam"},
			403, "AccessDenied", "arn:aws:iam::123456789012:user/b"},
		"identitystore:ListUsers": {ask{method: "POST", target: "/", body: "{}", header: map[string]string{"X-Amz-Target": "AWSIdentityStore.ListUsers"}, scope: "identitystore"},
			400, "AccessDeniedException", "*"},
	} {
		e.judge.deny = action
		w := e.send(t, tc.ask)
		require.Equal(t, tc.status, w.Code)
		require.Equal(t, tc.code, codeOf(t, w))
		require.Contains(t, w.Body.String(), "User: arn:aws:iam::123456789012:user/a is not authorized to perform: "+action+" on resource: "+tc.resource+" because ")
		require.Empty(t, e.served)
		require.Equal(t, audit.Event{Time: e.audit.events[0].Time, Principal: "arn:aws:iam::123456789012:user/a", AccessKeyID: "AKIDA",
			Service: tc.scope, Action: action, Resource: tc.resource, Source: e.audit.events[0].Source, Decision: audit.Deny, Status: tc.status, Code: tc.code,
			Reason: e.audit.events[0].Reason, Policy: "arn:aws:iam::aws:policy/P#S1"}, e.audit.events[0])
		require.Equal(t, "192.0.2.7", e.audit.events[0].Source.String())
		require.Equal(t, 1.0, testutil.ToFloat64(e.refused.WithLabelValues(tc.scope, "denied")))
	}
}

func TestRequestContext(t *testing.T) {
	proxies, err := httpserver.ParseProxies([]string{"192.0.2.0/24"})
	require.NoError(t, err)
	create := ask{method: "POST", target: "/", body: form("CreateUser", "UserName", "b"), scope: "iam", header: map[string]string{"Content-Type": formType,
		"User-Agent": "test/1", "X-Forwarded-For": "203.0.113.9, 198.51.100.5, 192.0.2.9", "X-Forwarded-Proto": "https", "Referer": "https://r.example/"}}
	for name, tc := range map[string]struct {
		proxies    httpserver.Proxies
		ip, secure string
	}{
		"direct":       {nil, "192.0.2.7", "false"},
		"behind proxy": {proxies, "198.51.100.5", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, func(c *Config) { c.Proxies = tc.proxies })
			require.Equal(t, 200, e.send(t, create).Code)
			require.Len(t, e.judge.asked, 1)
			r := e.judge.asked[0]
			require.Equal(t, "{}", r.ResourcePolicy)
			when, err := time.Parse(time.RFC3339, r.Context["aws:currenttime"][0])
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), when, time.Minute)
			require.Equal(t, fmt.Sprint(when.Unix()), r.Context["aws:epochtime"][0])
			delete(r.Context, "aws:currenttime")
			delete(r.Context, "aws:epochtime")
			require.Equal(t, map[string][]string{"aws:sourceip": {tc.ip}, "aws:securetransport": {tc.secure}, "aws:useragent": {"test/1"},
				"aws:referer": {"https://r.example/"}, "aws:requestedregion": {"eu-west-1"}, "aws:viaawsservice": {"false"},
				"aws:resourceaccount": {"123456789012"}, "aws:requesttag/team": {"t"}}, r.Context)
			require.Equal(t, tc.ip, e.audit.events[0].Source.String())
		})
	}
}

func TestUseIsNotedWithoutPermission(t *testing.T) {
	e := newEdge(t, nil)
	e.send(t, ask{method: "GET", target: "/?" + form("GetCallerIdentity"), scope: "sts"})
	require.Equal(t, []string{"AKIDA sts eu-west-1"}, e.judge.used)
	require.Empty(t, e.judge.asked)
}

func TestAuditOfHandlers(t *testing.T) {
	e := newEdge(t, nil)
	create := ask{method: "POST", target: "/", body: form("CreateUser", "UserName", "b"), header: map[string]string{"Content-Type": formType}, scope: "iam"}
	require.Equal(t, 200, e.send(t, create).Code)
	got := e.audit.events[0]
	require.Equal(t, audit.Allow, got.Decision)
	require.Equal(t, "arn:aws:iam::aws:policy/P#S1", got.Policy)
	require.Equal(t, "iam:CreateUser", got.Action)

	e.fail = &Error{Status: 409, Code: "EntityAlreadyExists", Message: "is there"}
	require.Equal(t, 409, e.send(t, create).Code)
	got = e.audit.events[0]
	require.Equal(t, audit.Allow, got.Decision, "it was let through")
	require.Equal(t, []any{409, "EntityAlreadyExists", "is there"}, []any{got.Status, got.Code, got.Reason})

	e.fail = errors.New("secret of the database")
	require.Equal(t, 500, e.send(t, create).Code)
	got = e.audit.events[0]
	require.Equal(t, []any{audit.Error, "InternalFailure", "Internal error."}, []any{got.Decision, got.Code, got.Reason})

	// An operation that judges by itself denies.
	e.fail = &Error{Status: 403, Code: "AccessDenied", Message: "no"}
	web := ask{method: "POST", target: "/", body: form("AssumeRoleWithWebIdentity", "WebIdentityToken", "eyJ.secret"), header: map[string]string{"Content-Type": formType}}
	require.Equal(t, 403, e.send(t, web).Code)
	got = e.audit.events[0]
	require.Equal(t, []any{audit.Deny, "", "sts:AssumeRoleWithWebIdentity"}, []any{got.Decision, got.Principal, got.Action})
	require.NotContains(t, fmt.Sprint(got), "secret")

	// Who was refused before is only claimed to be somebody.
	e.send(t, ask{method: "GET", target: "/things/1?token=secret", scope: "rest", secret: "guess"})
	got = e.audit.events[0]
	require.Equal(t, []any{audit.Deny, "", "AKIDA", "rest:Get", "InvalidSignatureException"}, []any{got.Decision, got.Principal, got.AccessKeyID, got.Action, got.Code})
	require.NotContains(t, fmt.Sprint(got), "secret")
}

func TestWhoIsAnonymousIsASmallList(t *testing.T) {
	handle := func(http.ResponseWriter, *Call) error { return nil }
	try := func(service string, r Route) error {
		r.Method, r.Path, r.Handle = "POST", "/x", handle
		_, err := NewRouter(Config{Verifier: &sigv4.Verifier{}, Authorizer: &judge{}, Services: []Service{{Name: service, Routes: []Route{r}}}}, nil)
		return err
	}
	anonymous := map[string]bool{"sts:AssumeRoleWithWebIdentity": true, "eks-auth:AssumeRoleForPodIdentity": true}
	noPermission := map[string]bool{"sts:GetCallerIdentity": true, "sts:GetSessionToken": true, "sts:AssumeRole": true}
	for _, service := range []string{"sts", "eks-auth", "iam", "aps", ""} {
		for _, name := range []string{"AssumeRoleWithWebIdentity", "AssumeRoleForPodIdentity", "GetCallerIdentity", "GetSessionToken", "AssumeRole", "CreateUser"} {
			op := service + ":" + name
			require.Equal(t, anonymous[op], try(service, Route{Name: name, Anonymous: true}) == nil, op)
			require.Equal(t, noPermission[op], try(service, Route{Name: name, NoPermission: true}) == nil, op)
			require.Error(t, try(service, Route{Name: name}), "neither a rule nor an exception")
		}
	}
}

func TestServicesAreComplete(t *testing.T) {
	handle := func(http.ResponseWriter, *Call) error { return nil }
	r := Route{Name: "A", Action: "x:A", Resource: func(*Call) (string, error) { return "*", nil }, Handle: handle}
	at := r
	at.Method, at.Path = "GET", "/"
	for name, s := range map[string]Service{
		"no prefix":         {Name: "x", Protocol: JSON11, Routes: []Route{r}},
		"no version":        {Name: "x", Protocol: Query, Namespace: "n", Routes: []Route{r}},
		"no namespace":      {Name: "x", Protocol: Query, Version: "1", Routes: []Route{r}},
		"path in Query":     {Name: "x", Protocol: Query, Namespace: "n", Version: "1", Routes: []Route{at}},
		"no path in REST":   {Name: "x", Routes: []Route{r}},
		"twice in Query":    {Name: "x", Protocol: Query, Namespace: "n", Version: "1", Routes: []Route{r, r}},
		"twice in JSON 1.1": {Name: "x", Protocol: JSON11, TargetPrefix: "p", Routes: []Route{r, r}},
	} {
		_, err := NewRouter(Config{Verifier: &sigv4.Verifier{}, Authorizer: &judge{}, Services: []Service{s}}, nil)
		require.Error(t, err, name)
	}
}

func BenchmarkServe(b *testing.B) {
	e := newEdge(b, func(c *Config) { c.Audit = nil })
	for name, a := range map[string]ask{
		"allowed":     {method: "GET", target: "/things/1", scope: "rest"},
		"bad":         {method: "GET", target: "/things/1", scope: "rest", secret: "guess"},
		"unknown key": {method: "GET", target: "/things/1", scope: "rest", key: "AKIDX"},
		"unsigned":    {method: "GET", target: "/things/1"},
	} {
		b.Run(name, func(b *testing.B) {
			r := a.request(b)
			b.ReportAllocs()
			for b.Loop() {
				e.served, e.judge.asked = nil, nil
				r.Body = io.NopCloser(strings.NewReader(""))
				e.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
