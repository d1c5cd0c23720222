package eksapi

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/auth/webidentity"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/cluster"
)

const (
	region = "us-east-1"
	mine   = "000000000000"
	theirs = "111111111111"
	role   = "arn:aws:iam::000000000000:role/writer"
)

// keyring knows one key for each account; the id is the account's.
type keyring struct{}

func (keyring) LookupKey(_ context.Context, id, _ string) (sigv4.Key, error) {
	if id != mine && id != theirs {
		return sigv4.Key{}, sigv4.ErrUnknownKey
	}
	return sigv4.Key{Secret: "secret" + id, Identity: iam.Principal{
		AccountID: id, Type: iam.TypeUser, ARN: "arn:aws:iam::" + id + ":user/u", ID: "AIDA" + id, Name: "u", AccessKeyID: id}}, nil
}

// judge records what it is asked and refuses the actions in deny.
type judge struct {
	asked []iam.Request
	deny  map[string]bool
}

func (j *judge) Authorize(_ context.Context, r iam.Request) error {
	j.asked = append(j.asked, r)
	if j.deny[r.Action] {
		return &iam.DeniedError{Principal: r.Principal.ARN, Action: r.Action, Resource: r.Resource,
			Why: "no identity-based policy allows the " + r.Action + " action"}
	}
	return nil
}

func (j *judge) PassRole(ctx context.Context, r iam.Request, roleARN, service string) error {
	r.Action, r.Resource, r.Context = "iam:PassRole", roleARN, map[string][]string{"iam:passedtoservice": {service}}
	return j.Authorize(ctx, r)
}

// fakeSessions hands out credentials for roles that end in "writer".
type fakeSessions struct {
	asked   []PodSession
	expires time.Time
}

func (f *fakeSessions) AssumeForPod(_ context.Context, in PodSession) (Credentials, error) {
	f.asked = append(f.asked, in)
	if !strings.HasSuffix(in.RoleARN, "writer") {
		return Credentials{}, ErrNotTrusted
	}
	return Credentials{AccessKeyID: "ASIA1", SecretAccessKey: "s", SessionToken: "t", Expiration: f.expires,
		RoleARN: "arn:aws:sts::" + accountOfRole(in.RoleARN) + ":assumed-role/writer/" + in.Pod, RoleID: "AROA1:" + in.Pod}, nil
}

type server struct {
	t        *testing.T
	url      string
	clusters *cluster.Service
	judge    *judge
	sessions *fakeSessions
	now      time.Time
}

func newServer(t *testing.T) *server {
	t.Helper()
	records, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "mangru.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, records.Close()) })
	s := &server{t: t, judge: &judge{deny: map[string]bool{}}, sessions: &fakeSessions{}, now: time.UnixMilli(1800000000123)}
	s.sessions.expires = s.now.Add(time.Hour)
	s.clusters, err = cluster.New(cluster.Config{Region: region, Now: func() time.Time { return s.now }}, records)
	require.NoError(t, err)
	tokens, err := webidentity.New(webidentity.Config{Now: func() time.Time { return s.now }})
	require.NoError(t, err)
	t.Cleanup(tokens.Close)
	cfg := Config{Region: region, Clusters: s.clusters, Roles: s.judge, Tokens: tokens, Sessions: s.sessions}
	eks, err := New(cfg)
	require.NoError(t, err)
	authService, err := NewAuth(cfg)
	require.NoError(t, err)
	verifier, err := sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{region}}, keyring{})
	require.NoError(t, err)
	router, err := api.NewRouter(api.Config{Services: []api.Service{eks, authService}, Verifier: verifier, Authorizer: s.judge},
		slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	srv := httptest.NewServer(router)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// call sends a request signed by an account ("" for unsigned) and returns
// status and body.
func (s *server) call(account, service, method, path, body string) (status int, out string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)
	rt := http.DefaultTransport
	if account != "" {
		rt, err = sigv4.NewSigner(sigv4.SignConfig{Region: region, Service: service, AccessKey: account, SecretKey: "secret" + account}, nil)
		require.NoError(s.t, err)
	}
	res, err := (&http.Client{Transport: rt}).Do(req)
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, res.Body.Close()) }()
	b, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	if res.StatusCode >= 400 {
		var e struct {
			Type string `json:"__type"`
		}
		require.NoError(s.t, json.Unmarshal(b, &e), string(b))
		require.Equal(s.t, e.Type, res.Header.Get("x-amzn-errortype"))
	}
	return res.StatusCode, string(b)
}

func (s *server) eks(method, path, body string) (status int, out string) {
	s.t.Helper()
	return s.call(mine, ServiceEKS, method, path, body)
}

// lastAsked returns the last question of the authorizer that is not about
// handing on a role.
func (s *server) lastAsked() iam.Request { return s.judge.asked[len(s.judge.asked)-1] }

const registration = `{"name":"prod","tags":{"env":"prod"},"connectorConfig":{"provider":"OTHER"},
	"mangru":{"version":"1.34","endpoint":"https://10.0.0.1:6443","issuer":"https://issuer.example","internalUrl":"https://10.0.0.1:6443"}}`

func (s *server) register() {
	s.t.Helper()
	status, body := s.eks("POST", "/cluster-registrations", registration)
	require.Equal(s.t, http.StatusOK, status, body)
}

func TestClusterLife(t *testing.T) {
	s := newServer(t)
	s.register()
	require.Equal(t, "eks:RegisterCluster", s.lastAsked().Action)
	require.Equal(t, []string{"prod"}, s.lastAsked().Context["aws:requesttag/env"])
	require.Equal(t, []string{"env"}, s.lastAsked().Context["aws:tagkeys"])
	c, err := s.clusters.Get(t.Context(), mine, "prod")
	require.NoError(t, err)

	status, body := s.eks("GET", "/clusters/prod", "")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"cluster":{"name":"prod","arn":"arn:aws:eks:us-east-1:000000000000:cluster/prod","id":"`+c.ID+`",
		"createdAt":1800000000.123,"version":"1.34","endpoint":"https://10.0.0.1:6443","status":"ACTIVE",
		"identity":{"oidc":{"issuer":"https://issuer.example"}},"connectorConfig":{"provider":"OTHER"},"tags":{"env":"prod"},
		"health":{"issues":[]},"accessConfig":{"authenticationMode":"CONFIG_MAP"},
		"mangru":{"issuer":"https://issuer.example","internalUrl":"https://10.0.0.1:6443"}}}`, body)
	require.Equal(t, "eks:DescribeCluster", s.lastAsked().Action)
	require.Equal(t, c.ARN(), s.lastAsked().Resource)
	require.Equal(t, []string{"prod"}, s.lastAsked().Context["aws:resourcetag/env"])

	status, body = s.eks("GET", "/clusters?include=all&maxResults=10", "")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"clusters":["prod"]}`, body)
	require.Equal(t, "*", s.lastAsked().Resource)

	status, body = s.eks("POST", "/cluster-registrations", registration)
	require.Equal(t, http.StatusConflict, status)
	require.JSONEq(t, `{"__type":"ResourceInUseException","message":"Cluster already exists with name: prod","clusterName":"prod"}`, body)

	status, body = s.eks("POST", "/cluster-registrations/prod", strings.Replace(registration, "1.34", "1.35", 1))
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"version":"1.35"`)
	require.Equal(t, "eks:RegisterCluster", s.lastAsked().Action)
	require.Equal(t, c.ARN(), s.lastAsked().Resource)

	status, _ = s.eks("DELETE", "/cluster-registrations/prod", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "eks:DeregisterCluster", s.lastAsked().Action)
	status, body = s.eks("GET", "/clusters/prod", "")
	require.Equal(t, http.StatusNotFound, status)
	require.JSONEq(t, `{"__type":"ResourceNotFoundException","message":"No cluster found for name: prod.","clusterName":"prod"}`, body)
}

func TestBadRequests(t *testing.T) {
	s := newServer(t)
	s.register()
	for name, c := range map[string]struct{ method, path, body, code, text string }{
		"not JSON":         {"POST", "/cluster-registrations", `{`, "InvalidParameterException", "not valid JSON"},
		"wrong type":       {"POST", "/cluster-registrations", `{"name":1}`, "InvalidParameterException", "member 'name' must be a string, found number"},
		"nothing known":    {"POST", "/cluster-registrations", `{"name":"x"}`, "InvalidParameterException", "mangru: is required"},
		"no issuer":        {"POST", "/cluster-registrations", `{"name":"x","mangru":{}}`, "InvalidParameterException", "issuer: is required"},
		"provider":         {"POST", "/cluster-registrations", `{"name":"x","connectorConfig":{"provider":"X"},"mangru":{"issuer":"https://i"}}`, "InvalidParameterException", "allowed are EKS_ANYWHERE"},
		"name":             {"POST", "/cluster-registrations", `{"name":"a/b","mangru":{"issuer":"https://i"}}`, "InvalidParameterException", "name: allowed are"},
		"update of none":   {"POST", "/cluster-registrations/none", `{"mangru":{"issuer":"https://i"}}`, "ResourceNotFoundException", "No cluster found for name: none."},
		"maxResults":       {"GET", "/clusters?maxResults=0", "", "InvalidParameterException", "maxResults"},
		"maxResults large": {"GET", "/clusters?maxResults=101", "", "InvalidParameterException", "maxResults"},
		"nextToken":        {"GET", "/clusters?nextToken=x", "", "InvalidParameterException", "nextToken"},
		"include":          {"GET", "/clusters?include=some", "", "InvalidParameterException", "include"},
		"no role":          {"POST", "/clusters/prod/pod-identity-associations", `{"namespace":"n","serviceAccount":"s"}`, "InvalidParameterException", "roleArn: is required"},
		"foreign role":     {"POST", "/clusters/prod/pod-identity-associations", `{"namespace":"n","serviceAccount":"s","roleArn":"arn:aws:iam::111111111111:role/x"}`, "InvalidParameterException", "must be in the cluster's account"},
		"no association":   {"GET", "/clusters/prod/pod-identity-associations/a-x", "", "ResourceNotFoundException", "No association found with associationId: a-x"},
		"no cluster":       {"GET", "/clusters/none/pod-identity-associations", "", "ResourceNotFoundException", "No cluster found for name: none."},
		"tags of what":     {"GET", "/tags/x", "", "BadRequestException", "is not the ARN of a cluster"},
		"tags elsewhere":   {"GET", "/tags/arn:aws:eks:eu-west-1:000000000000:cluster%2Fprod", "", "BadRequestException", "in us-east-1"},
		"tags of none":     {"GET", "/tags/arn:aws:eks:us-east-1:000000000000:cluster%2Fnone", "", "NotFoundException", "No cluster found"},
		"tags of others":   {"GET", "/tags/arn:aws:eks:us-east-1:111111111111:cluster%2Fprod", "", "AccessDeniedException", "not authorized to perform: eks:ListTagsForResource"},
		"no tags":          {"POST", "/tags/arn:aws:eks:us-east-1:000000000000:cluster%2Fprod", `{}`, "BadRequestException", "tags: is required"},
		"no tag keys":      {"DELETE", "/tags/arn:aws:eks:us-east-1:000000000000:cluster%2Fprod", "", "BadRequestException", "tagKeys: is required"},
		"policy":           {"POST", "/clusters/prod/pod-identity-associations", `{"namespace":"n","serviceAccount":"s","roleArn":"` + role + `","disableSessionTags":true,"policy":"{\"Version\":\"2012-10-17\",\"Statement\":[]}"}`, "InvalidParameterException", "policy: "},
		"bad tag":          {"POST", "/tags/arn:aws:eks:us-east-1:000000000000:cluster%2Fprod", `{"tags":{"aws:x":""}}`, "BadRequestException", "reserved"},
		"add-ons":          {"GET", "/clusters/prod/addons", "", "UnknownOperationException", "No operation"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := s.eks(c.method, c.path, c.body)
			require.GreaterOrEqual(t, status, 400)
			var e struct {
				Type    string `json:"__type"`
				Message string `json:"message"`
			}
			require.NoError(t, json.Unmarshal([]byte(body), &e))
			require.Equal(t, c.code, e.Type, body)
			require.Contains(t, e.Message, c.text)
		})
	}
}

func TestAssociationLife(t *testing.T) {
	s := newServer(t)
	s.register()
	const base = "/clusters/prod/pod-identity-associations"
	status, body := s.eks("POST", base, `{"namespace":"prometheus","serviceAccount":"amp","roleArn":"`+role+`","tags":{"k":"v"},"clientRequestToken":"t1"}`)
	require.Equal(t, http.StatusOK, status, body)
	pass := s.lastAsked()
	require.Equal(t, "iam:PassRole", pass.Action)
	require.Equal(t, role, pass.Resource)
	require.Equal(t, []string{"pods.eks.amazonaws.com"}, pass.Context["iam:passedtoservice"])
	require.Equal(t, "eks:CreatePodIdentityAssociation", s.judge.asked[len(s.judge.asked)-2].Action)
	list, _, err := s.clusters.Associations(t.Context(), mine, "prod", cluster.ListAssociationsInput{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	a := list[0]
	full := `{"association":{"clusterName":"prod","namespace":"prometheus","serviceAccount":"amp","roleArn":"` + role + `",
		"associationArn":"` + a.ARN() + `","associationId":"` + a.ID + `","disableSessionTags":false,"tags":{"k":"v"},
		"createdAt":1800000000.123,"modifiedAt":1800000000.123}}`
	require.JSONEq(t, full, body)
	status, body = s.eks("GET", base+"/"+a.ID, "")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, full, body)
	require.Equal(t, a.ARN(), s.lastAsked().Resource)
	require.Equal(t, []string{"v"}, s.lastAsked().Context["aws:resourcetag/k"])

	status, body = s.eks("GET", base+"?namespace=prometheus&serviceAccount=amp", "")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"associations":[{"clusterName":"prod","namespace":"prometheus","serviceAccount":"amp",
		"associationArn":"`+a.ARN()+`","associationId":"`+a.ID+`"}]}`, body)

	status, body = s.eks("POST", base, `{"namespace":"prometheus","serviceAccount":"amp","roleArn":"`+role+`"}`)
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, body, "Association already exists: "+a.ID)

	s.now = s.now.Add(time.Second)
	status, body = s.eks("POST", base+"/"+a.ID, `{"roleArn":"`+role+`2","targetRoleArn":"arn:aws:iam::111111111111:role/t"}`)
	require.Equal(t, http.StatusOK, status, body)
	require.Equal(t, role+"2", s.lastAsked().Resource)
	require.Contains(t, body, `"externalId":"us-east-1/000000000000/prod/prometheus/amp"`)
	require.Contains(t, body, `"modifiedAt":1800000001.123`)

	tags := "/tags/" + strings.ReplaceAll(a.ARN(), "/", "%2F")
	status, _ = s.eks("POST", tags, `{"tags":{"x":"y"}}`)
	require.Equal(t, http.StatusOK, status)
	status, _ = s.eks("DELETE", tags+"?tagKeys=k", "")
	require.Equal(t, http.StatusOK, status)
	status, body = s.eks("GET", tags, "")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"tags":{"x":"y"}}`, body)

	status, _ = s.eks("DELETE", base+"/"+a.ID, "")
	require.Equal(t, http.StatusOK, status)
	status, _ = s.eks("DELETE", base+"/"+a.ID, "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestClusterTags(t *testing.T) {
	s := newServer(t)
	s.register()
	const tags = "/tags/arn:aws:eks:us-east-1:000000000000:cluster%2Fprod"
	status, _ := s.eks("POST", tags, `{"tags":{"x":"y"}}`)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, []string{"y"}, s.lastAsked().Context["aws:requesttag/x"])
	status, _ = s.eks("DELETE", tags+"?tagKeys=env", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, []string{"env"}, s.lastAsked().Context["aws:tagkeys"])
	_, body := s.eks("GET", tags, "")
	require.JSONEq(t, `{"tags":{"x":"y"}}`, body)
}

// Nobody hands on a role that he may not hand on.
func TestPassRoleRefused(t *testing.T) {
	s := newServer(t)
	s.register()
	s.judge.deny["iam:PassRole"] = true
	const base = "/clusters/prod/pod-identity-associations"
	status, body := s.eks("POST", base, `{"namespace":"prometheus","serviceAccount":"amp","roleArn":"`+role+`"}`)
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, body, "not authorized to perform: iam:PassRole on resource: "+role)
	_, body = s.eks("GET", base, "")
	require.JSONEq(t, `{"associations":[]}`, body)

	a, err := s.clusters.Associate(t.Context(), mine, "prod", cluster.AssociateInput{Namespace: "n", ServiceAccount: "s", RoleARN: role})
	require.NoError(t, err)
	status, _ = s.eks("POST", base+"/"+a.ID, `{"roleArn":"`+role+`2"}`)
	require.Equal(t, http.StatusForbidden, status)
	a, err = s.clusters.Association(t.Context(), mine, "prod", a.ID)
	require.NoError(t, err)
	require.Equal(t, role, a.RoleARN)
}

// Another account sees nothing, by any route.
func TestTenants(t *testing.T) {
	s := newServer(t)
	s.register()
	a, err := s.clusters.Associate(t.Context(), mine, "prod", cluster.AssociateInput{Namespace: "n", ServiceAccount: "s", RoleARN: role})
	require.NoError(t, err)
	fill := strings.NewReplacer("{name}", "prod", "{associationId}", a.ID, "{resourceArn...}", strings.ReplaceAll(a.ARN(), "/", "%2F"))
	bodies := map[string]string{
		"UpdateClusterRegistration":    `{"mangru":{"issuer":"https://evil"}}`,
		"CreatePodIdentityAssociation": `{"namespace":"n","serviceAccount":"s2","roleArn":"arn:aws:iam::111111111111:role/x"}`,
		"UpdatePodIdentityAssociation": `{"roleArn":"arn:aws:iam::111111111111:role/x"}`,
		"TagResource":                  `{"tags":{"a":"b"}}`,
	}
	eks, err := New(Config{Region: region, Clusters: s.clusters, Roles: s.judge})
	require.NoError(t, err)
	for i := range eks.Routes {
		r := &eks.Routes[i]
		if r.Name == "RegisterCluster" { // names are per account
			continue
		}
		path := fill.Replace(r.Path)
		if r.Name == "UntagResource" {
			path += "?tagKeys=a"
		}
		status, body := s.call(theirs, ServiceEKS, r.Method, path, bodies[r.Name])
		if r.Name == "ListClusters" {
			require.JSONEq(t, `{"clusters":[]}`, body)
			continue
		}
		require.Contains(t, []int{http.StatusNotFound, http.StatusForbidden}, status, "%s %s", r.Name, body)
	}
	for _, path := range []string{"/clusters", "/clusters/prod"} {
		status, _ := s.call("", "", "GET", path, "")
		require.Equal(t, http.StatusForbidden, status, "unsigned")
	}
}
