package app

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func pemOfServer(s *httptest.Server) string {
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func TestClusterCommands(t *testing.T) {
	s, k := newIdentityServer(t), newFakeAPIServer(t)
	const issuer = "https://kubernetes.default.svc.cluster.local"
	var got registration
	s.json(&got, "cluster", "register", "prod", "--kubeconfig", k.kubeconfig, "--tag", "env=prod")
	require.Equal(t, "created", got.Result)
	require.Equal(t, "created", got.ProviderResult)
	require.Equal(t, "arn:aws:iam::000000000000:oidc-provider/kubernetes.default.svc.cluster.local", got.Provider)
	require.Equal(t, "1.34", got.Cluster.Version)
	require.Equal(t, k.URL, got.Cluster.Endpoint)
	require.Equal(t, issuer, got.Cluster.Identity.OIDC.Issuer)
	require.Equal(t, pemOfServer(k.Server), got.Cluster.CA.Data)
	require.JSONEq(t, testKeySet, string(got.Cluster.Mangru.JWKS))
	p, err := s.iam.ProviderByURL(t.Context(), "000000000000", issuer)
	require.NoError(t, err)
	require.JSONEq(t, testKeySet, p.Trust.JWKS)
	require.Equal(t, []string{"sts.amazonaws.com"}, p.ClientIDs)

	s.json(&got, "cluster", "register", "prod", "--kubeconfig", k.kubeconfig)
	require.Equal(t, "unchanged", got.Result)
	require.Equal(t, "unchanged", got.ProviderResult)
	require.Equal(t, map[string]string{"env": "prod"}, got.Cluster.Tags)

	k.keys = strings.Replace(testKeySet, `"kid":"a"`, `"kid":"b"`, 1)
	s.json(&got, "cluster", "register", "prod", "--kubeconfig", k.kubeconfig)
	require.Equal(t, "updated", got.Result)
	require.Equal(t, "updated", got.ProviderResult)
	p, err = s.iam.ProviderByURL(t.Context(), "000000000000", issuer)
	require.NoError(t, err)
	require.Contains(t, p.Trust.JWKS, `"kid":"b"`)

	k.issuer = "https://other.example"
	s.fails(1, "with another issuer", "cluster", "register", "prod", "--kubeconfig", k.kubeconfig)
	k.issuer = "kubernetes/serviceaccount"
	s.fails(2, "begins with https://", "cluster", "register", "old", "--kubeconfig", k.kubeconfig)
	k.status = http.StatusForbidden
	s.fails(1, "system:service-account-issuer-discovery", "cluster", "register", "x", "--kubeconfig", k.kubeconfig)
	s.fails(1, "401 Unauthorized", "cluster", "register", "x", "--kubeconfig", k.kubeconfig, "--context", "stranger")
	s.fails(2, "kubeconfig", "cluster", "register", "x", "--kubeconfig", "/no/such/file")

	keys := writeFile(t, "jwks.json", testKeySet)
	s.ok("cluster", "register", "far", "--issuer", "https://far.example", "--jwks", keys)
	text := s.ok("cluster", "list")
	require.Contains(t, text, "https://far.example")
	require.Contains(t, text, issuer)
	text = s.ok("cluster", "describe", "prod")
	require.Contains(t, text, "recorded here")
	require.Contains(t, text, "env=prod")
	s.fails(1, "mangru cluster register none", "cluster", "describe", "none")

	s.ok("cluster", "register", "far2", "--issuer", "https://far.example", "--jwks", keys)
	require.Contains(t, s.ok("cluster", "deregister", "far2"), "is kept for cluster far")
	require.Contains(t, s.ok("cluster", "deregister", "far"), "is deleted")
	_, err = s.iam.ProviderByURL(t.Context(), "000000000000", "https://far.example")
	require.Error(t, err)
	require.Contains(t, s.ok("cluster", "deregister", "prod", "--keep-oidc-provider"), "is kept")
}

func TestPodIdentityCommands(t *testing.T) {
	s := newIdentityServer(t)
	s.ok("cluster", "register", "far", "--issuer", "https://far.example", "--jwks", writeFile(t, "jwks.json", testKeySet), "--no-oidc-provider")
	s.ok("role", "create", "r", "--trust-service", "pods.eks.amazonaws.com")
	var made struct{ Association podAssociation }
	s.json(&made, "pod-identity", "create", "--cluster", "far", "-n", "ns", "--service-account", "sa", "--role", "r")
	require.Equal(t, "arn:aws:iam::000000000000:role/r", made.Association.RoleARN)
	s.fails(1, "Association already exists", "pod-identity", "create", "--cluster", "far", "-n", "ns", "--service-account", "sa", "--role", "r")
	require.Contains(t, s.ok("pod-identity", "list", "--cluster", "far"), "role/r")
	s.ok("pod-identity", "delete", made.Association.AssociationID, "--cluster", "far")
	require.NotContains(t, s.ok("pod-identity", "list", "--cluster", "far"), "role/r")
}

// registered makes a server with a cluster prod.
func registered(t *testing.T) *identityServer {
	s := newIdentityServer(t)
	s.ok("cluster", "register", "prod", "--issuer", "https://oidc.example/id/ABC", "--jwks", writeFile(t, "jwks.json", testKeySet))
	return s
}

func ampSpec() *irsaSpec {
	return &irsaSpec{Cluster: "prod", Namespace: "prometheus", ServiceAccount: "amp-irsa-role", Role: "amp", Policies: []string{"AmazonPrometheusRemoteWriteAccess"}}
}

func results(p *irsaPlan) (out []string) {
	for _, s := range p.steps {
		out = append(out, s.Kind+" "+s.Result)
	}
	return out
}

func TestIRSACreate(t *testing.T) {
	s := registered(t)
	kube := fake.NewClientset()
	p, err := newIRSAPlan(t.Context(), s.client(), kube, ampSpec())
	require.NoError(t, err)
	require.Empty(t, writesOf(kube), "a plan changes nothing")
	var shown bytes.Buffer
	require.NoError(t, p.print(&shown))
	requireGolden(t, "irsa_create", shown.String())
	require.NoError(t, p.run(t.Context()))
	require.Equal(t, []string{"role created", "policy attached", "namespace created", "service account created"}, results(p))

	sa, err := kube.CoreV1().ServiceAccounts("prometheus").Get(t.Context(), "amp-irsa-role", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:iam::000000000000:role/amp", sa.Annotations["eks.amazonaws.com/role-arn"])
	role, err := s.iam.Role(t.Context(), "000000000000", "amp")
	require.NoError(t, err)
	require.JSONEq(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Principal":{"Federated":"arn:aws:iam::000000000000:oidc-provider/oidc.example/id/ABC"},"Action":["sts:AssumeRoleWithWebIdentity"],
		"Condition":{"StringEquals":{"oidc.example/id/ABC:aud":"sts.amazonaws.com",
			"oidc.example/id/ABC:sub":"system:serviceaccount:prometheus:amp-irsa-role"}}}]}`, role.Trust)
	require.Contains(t, s.ok("role", "get", "amp"), "AmazonPrometheusRemoteWriteAccess")

	before := len(writesOf(kube))
	p, err = newIRSAPlan(t.Context(), s.client(), kube, ampSpec())
	require.NoError(t, err)
	require.NoError(t, p.run(t.Context()))
	require.Equal(t, []string{"role unchanged", "policy unchanged", "namespace unchanged", "service account unchanged"}, results(p))
	require.Len(t, writesOf(kube), before, "the second run writes nothing")
	shown.Reset()
	require.NoError(t, p.print(&shown))
	requireGolden(t, "irsa_unchanged", shown.String())

	list, err := irsaBindings(t.Context(), s.client(), kube, "prod", "")
	require.NoError(t, err)
	require.Equal(t, []irsaBinding{{"prometheus", "amp-irsa-role", "arn:aws:iam::000000000000:role/amp", "ok"}}, list)

	steps, err := deleteIRSA(t.Context(), s.client(), kube, ampSpec())
	require.NoError(t, err)
	require.Equal(t, "deleted", steps[0].Result)
	require.Equal(t, "deleted", steps[1].Result)
	_, err = s.iam.Role(t.Context(), "000000000000", "amp")
	require.Error(t, err)
	steps, err = deleteIRSA(t.Context(), s.client(), kube, ampSpec())
	require.NoError(t, err)
	require.Equal(t, "was not there", steps[0].Result)
	require.Equal(t, "was not there", steps[1].Result)
}

// writesOf lists what was changed in a cluster.
func writesOf(kube *fake.Clientset) (out []string) {
	for _, a := range kube.Actions() {
		if v := a.GetVerb(); v != "get" && v != "list" {
			out = append(out, v+" "+a.GetResource().Resource)
		}
	}
	return out
}

func serviceAccount(annotation, label string) *corev1.ServiceAccount {
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "prometheus", Name: "amp-irsa-role", UID: "u1",
		Annotations: map[string]string{"mine": "kept"}, Labels: map[string]string{}}}
	if annotation != "" {
		sa.Annotations[roleAnnotation] = annotation
	}
	if label != "" {
		sa.Labels[managedBy] = label
	}
	return sa
}

func TestIRSAExistingServiceAccount(t *testing.T) {
	s := registered(t)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "prometheus"}}
	for name, c := range map[string]struct {
		sa       *corev1.ServiceAccount
		override bool
		want     string // the result, or the error
	}{
		"somebody's":             {serviceAccount("", ""), false, "--override-existing-serviceaccounts"},
		"somebody's, with role":  {serviceAccount("arn:aws:iam::000000000000:role/other", ""), false, "acts as arn:aws:iam::000000000000:role/other"},
		"somebody's, overridden": {serviceAccount("arn:aws:iam::000000000000:role/other", ""), true, "updated"},
		"of our own":             {serviceAccount("arn:aws:iam::000000000000:role/other", "mangru"), false, "updated"},
		"with the role":          {serviceAccount("arn:aws:iam::000000000000:role/amp", ""), false, "unchanged"},
	} {
		t.Run(name, func(t *testing.T) {
			kube := fake.NewClientset(ns, c.sa)
			spec := ampSpec()
			spec.Override = c.override
			p, err := newIRSAPlan(t.Context(), s.client(), kube, spec)
			if err != nil {
				require.ErrorContains(t, err, c.want)
				return
			}
			require.Equal(t, c.want, p.steps[len(p.steps)-1].Result)
			require.NoError(t, p.run(t.Context()))
			sa, err := kube.CoreV1().ServiceAccounts("prometheus").Get(t.Context(), "amp-irsa-role", metav1.GetOptions{})
			require.NoError(t, err)
			require.Equal(t, "arn:aws:iam::000000000000:role/amp", sa.Annotations[roleAnnotation])
			require.Equal(t, "kept", sa.Annotations["mine"])
		})
	}
	// Deleting leaves somebody else's service account there.
	kube := fake.NewClientset(ns, serviceAccount("arn:aws:iam::000000000000:role/amp", ""))
	steps, err := deleteIRSA(t.Context(), s.client(), kube, ampSpec())
	require.NoError(t, err)
	require.Equal(t, "annotation taken", steps[0].Result)
	sa, err := kube.CoreV1().ServiceAccounts("prometheus").Get(t.Context(), "amp-irsa-role", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"mine": "kept"}, sa.Annotations)
}

func TestIRSARoles(t *testing.T) {
	s := registered(t)
	// A role that is there for something else is left alone.
	s.ok("role", "create", "amp", "--trust-principal", "000000000000")
	_, err := newIRSAPlan(t.Context(), s.client(), nil, ampSpec())
	require.ErrorContains(t, err, "choose another with --role-name")
	steps, err := deleteIRSA(t.Context(), s.client(), nil, ampSpec())
	require.NoError(t, err)
	require.Contains(t, steps[0].Result, "kept")
	s.ok("role", "delete", "amp")

	// One whose trust was changed is put right.
	create := func() []string {
		p, err := newIRSAPlan(t.Context(), s.client(), nil, ampSpec())
		require.NoError(t, err)
		require.NoError(t, p.run(t.Context()))
		return results(p)
	}
	require.Equal(t, []string{"role created", "policy attached"}, create())
	s.ok("role", "set-trust", "amp", "--trust-principal", "000000000000")
	kube := fake.NewClientset(serviceAccount("arn:aws:iam::000000000000:role/amp", ""))
	list, err := irsaBindings(t.Context(), s.client(), kube, "prod", "prometheus")
	require.NoError(t, err)
	require.Equal(t, "the role does not trust this service account", list[0].Status)
	require.Equal(t, []string{"role updated", "policy unchanged"}, create())

	for annotation, want := range map[string]string{"arn:aws:iam::000000000000:role/none": "there is no such role", "arn:aws:iam::111111111111:role/amp": "a role of another account"} {
		list, err = irsaBindings(t.Context(), s.client(), fake.NewClientset(serviceAccount(annotation, "")), "prod", "")
		require.NoError(t, err)
		require.Equal(t, want, list[0].Status)
	}

	// The commands themselves, as far as they need no cluster.
	out := s.ok("irsa", "create", "--cluster", "prod", "--namespace", "prometheus", "--name", "amp-irsa-role", "--role-name", "amp",
		"--attach-policy-arn", "arn:aws:iam::aws:policy/AmazonPrometheusRemoteWriteAccess", "--approve", "--role-only")
	require.Contains(t, out, "unchanged")
	require.NotContains(t, out, "created")
	// The only cluster there is need not be named.
	require.Contains(t, s.ok("irsa", "create", "--namespace", "prometheus", "--name", "amp-irsa-role", "--role-name", "amp",
		"--policy", "AmazonPrometheusRemoteWriteAccess", "--role-only"), "unchanged")
	s.ok("cluster", "register", "another", "--issuer", "https://oidc.example/id/DEF", "--jwks", newTestCluster(t).jwks)
	s.fails(2, "several: another, prod", "irsa", "create", "--service-account", "x", "--policy", "y", "--role-only")
	s.fails(1, "mangru cluster register none", "irsa", "create", "--cluster", "none", "--service-account", "x", "--policy", "y", "--role-only")
	s.fails(2, "name at least one", "irsa", "create", "--cluster", "prod", "--service-account", "x", "--role-only")
	require.Contains(t, s.ok("irsa", "delete", "--cluster", "prod", "--namespace", "prometheus", "--service-account", "amp-irsa-role", "--role-name", "amp", "--role-only"), "deleted")
}

func TestRoleName(t *testing.T) {
	a := irsaSpec{Cluster: "prod", Namespace: "a-b", ServiceAccount: "c"}
	b := irsaSpec{Cluster: "prod", Namespace: "a", ServiceAccount: "b-c"}
	require.NotEqual(t, a.roleName(), b.roleName())
	long := irsaSpec{Cluster: strings.Repeat("x", 100), Namespace: "n", ServiceAccount: "s.t"}
	require.LessOrEqual(t, len(long.roleName()), 64)
	require.Regexp(t, `^[\w+=,.@-]+$`, long.roleName())
}

// requireGolden compares with testdata/NAME.golden; UPDATE_GOLDEN=1 writes it.
func requireGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
