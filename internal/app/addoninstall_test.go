package app

import (
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/addon"
	"github.com/mangru/mangru/internal/server/cluster"
)

func TestAddonObjects(t *testing.T) {
	a := addonInstaller{cfg: ServerAddons{Image: "registry.example/mangru:v9"}}
	r, err := a.render(&addon.Addon{RoleARN: "arn:aws:iam::000000000000:role/r", Configuration: `{"replicaCount": 2, "nodeSelector": {"a": "b"}, "manager": {"resources": {"limits": {"memory": "300Mi"}}}}`}, nil)
	require.NoError(t, err)
	kinds := map[string]int{}
	for _, o := range r.Objects {
		kinds[o.GetKind()]++
		switch o.GetKind() {
		case "Deployment":
			require.Equal(t, "adot-operator", o.GetName())
			require.Equal(t, addonNamespace, o.GetNamespace())
			replicas, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "replicas")
			require.EqualValues(t, 2, replicas)
			text, err := json.Marshal(o.Object)
			require.NoError(t, err)
			require.Contains(t, string(text), `"image":"registry.example/mangru:v9"`)
			require.Contains(t, string(text), `"nodeSelector":{"a":"b",`)
			require.Contains(t, string(text), `"limits":{"memory":"300Mi"}`)
		case "ServiceAccount":
			require.Equal(t, "arn:aws:iam::000000000000:role/r", o.GetAnnotations()["eks.amazonaws.com/role-arn"])
		case "Certificate", "Issuer":
			t.Error("it needs no cert-manager")
		}
	}
	require.Equal(t, 1, kinds["Deployment"])
	require.Equal(t, 1, kinds["CustomResourceDefinition"])
}

func TestAddonConfiguration(t *testing.T) {
	for text, says := range map[string]string{
		"replicaCount: 0": "replicaCount", "collector: {}": "collector", "image: registry.example/other:v1": "image", "replicaCount: many": "replicaCount", "a: [": "neither YAML nor JSON", "- a": "neither YAML nor JSON",
	} {
		require.ErrorContains(t, new(addonInstaller).CheckConfiguration(text), says)
	}
	require.NoError(t, new(addonInstaller).CheckConfiguration(""))
	require.NoError(t, new(addonInstaller).CheckConfiguration("tolerations: [{operator: Exists}]\n"))
}

func TestAddonIssues(t *testing.T) {
	resource := schema.GroupResource{Resource: "deployments"}
	for code, err := range map[string]error{
		addon.AccessDenied:           apierrors.NewForbidden(resource, "x", errors.New("no")),
		addon.AdmissionRequestDenied: apierrors.NewForbidden(resource, "x", errors.New(`admission webhook "w" denied the request`)),
		addon.ConfigurationConflict:  apierrors.NewConflict(resource, "x", errors.New("changed")),
		addon.ClusterUnreachable:     &url.Error{Op: "Get", URL: "https://x", Err: errors.New("refused")},
		addon.InternalFailure:        errors.New("x"),
	} {
		var issue *addon.Issue
		require.ErrorAs(t, addonIssue(err), &issue)
		require.Equal(t, code, issue.Code)
	}
	// A cluster that the server has no credentials for.
	err := new(addonInstaller).Install(t.Context(), &addon.Addon{Cluster: &cluster.Cluster{AccountID: iam.DefaultAccount, Name: "prod"}})
	require.ErrorContains(t, err, "ClusterUnreachable")
	require.ErrorContains(t, err, "addons.kubeconfigs.prod")
}

// What leads into a cluster is for those whose it is.
func TestAddonReach(t *testing.T) {
	kubeconfig := func(host string) string {
		return `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c"}}],"clusters":[{"name":"c","cluster":{"server":"` + host + `"}}]}`
	}
	named, watched := writeFile(t, "named", kubeconfig("https://named.example")), writeFile(t, "watched", kubeconfig("https://watched.example"))
	others := &cluster.Cluster{Region: "us-east-1", AccountID: "111111111111", Name: "prod", Registration: cluster.Registration{Endpoint: "https://watched.example"}}
	ours := *others
	ours.AccountID = iam.DefaultAccount
	a := addonInstaller{cfg: ServerAddons{Kubeconfigs: map[string]string{"prod": named}, watched: watched}}
	k, err := a.reach(&ours)
	require.NoError(t, err)
	require.Equal(t, "https://named.example", k.config.Host)
	_, err = a.reach(others)
	require.ErrorContains(t, err, "no credentials for cluster prod: name a kubeconfig in addons.kubeconfigs.arn:aws:eks:us-east-1:111111111111:cluster/prod")

	// The client stays until the file changes.
	again, err := a.reach(&ours)
	require.NoError(t, err)
	require.Same(t, k, again)
	require.NoError(t, os.WriteFile(named, []byte(kubeconfig("https://other.example")), 0o600))
	again, err = a.reach(&ours)
	require.NoError(t, err)
	require.Equal(t, "https://other.example", again.config.Host)
	require.NoError(t, os.WriteFile(named, []byte("nonsense"), 0o600))
	_, err = a.reach(&ours)
	require.ErrorContains(t, err, "The kubeconfig of cluster prod cannot be used")

	ours.Name = "dev" // not named: the one that is watched, if it is the same
	k, err = a.reach(&ours)
	require.NoError(t, err)
	require.Equal(t, "https://watched.example", k.config.Host)
	ours.Endpoint = "https://elsewhere.example"
	_, err = a.reach(&ours)
	require.ErrorContains(t, err, "at https://elsewhere.example, only for https://watched.example")

	a.cfg.Kubeconfigs = map[string]string{others.ARN(): watched}
	k, err = a.reach(others)
	require.NoError(t, err)
	require.Equal(t, "https://watched.example", k.config.Host)
}
