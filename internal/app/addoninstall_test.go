package app

import (
	"encoding/json"
	"errors"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/mangru/mangru/internal/server/addon"
	"github.com/mangru/mangru/internal/server/cluster"
)

func TestAddonObjects(t *testing.T) {
	a := addonInstaller{ServerAddons{Image: "registry.example/mangru:v9"}}
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
		"replicaCount: 0": "replicaCount", "collector: {}": "collector", "replicaCount: many": "replicaCount", "a: [": "neither YAML nor JSON", "- a": "neither YAML nor JSON",
	} {
		require.ErrorContains(t, addonInstaller{}.CheckConfiguration(text), says)
	}
	require.NoError(t, addonInstaller{}.CheckConfiguration(""))
	require.NoError(t, addonInstaller{}.CheckConfiguration("tolerations: [{operator: Exists}]\n"))
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
	err := addonInstaller{}.Install(t.Context(), &addon.Addon{Cluster: &cluster.Cluster{Name: "prod"}})
	require.ErrorContains(t, err, "ClusterUnreachable")
	require.ErrorContains(t, err, "addons.kubeconfigs.prod")
}
