// Package eks_test drives the slice of EKS that is served with the AWS SDK.
package eks_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/server/addon"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/cluster"
	"github.com/mangru/mangru/internal/server/eksapi"
)

const (
	region = "us-east-1"
	trust  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`
)

func start(t *testing.T) (client *eks.Client, role string) {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	records, err := db.Open(ctx, filepath.Join(dir, "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = records.Close() })
	identity, err := iam.Open(ctx, records, iam.Config{KeyFile: filepath.Join(dir, "secret.key")})
	require.NoError(t, err)
	admin, _, err := identity.Bootstrap(ctx)
	require.NoError(t, err)
	made, err := identity.CreateRole(ctx, iam.DefaultAccount, iam.RoleSpec{Name: "pods", Trust: trust})
	require.NoError(t, err)
	clusters, err := cluster.New(cluster.Config{Region: region}, records)
	require.NoError(t, err)
	_, err = clusters.Register(ctx, iam.DefaultAccount, cluster.RegisterInput{Name: "prod", Tags: map[string]string{"env": "prod"},
		Registration: cluster.Registration{Issuer: "https://issuer.example/prod", Endpoint: "https://10.0.0.1:6443", Version: "1.34"}})
	require.NoError(t, err)
	addons, err := addon.New(addon.Config{Clusters: clusters, Installer: &installer{}, Logger: slog.New(slog.DiscardHandler)}, records)
	require.NoError(t, err)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = addons.Run(running)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	service, err := eksapi.New(eksapi.Config{Region: region, Clusters: clusters, Addons: addons, Roles: identity})
	require.NoError(t, err)
	verifier, err := sigv4.NewVerifier(sigv4.VerifierConfig{Regions: []string{region}}, api.Keys(identity))
	require.NoError(t, err)
	router, err := api.NewRouter(api.Config{Verifier: verifier, Authorizer: identity, Services: []api.Service{service}}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	srv := httptest.NewServer(router)
	t.Cleanup(srv.Close)
	return eks.New(eks.Options{Region: region, BaseEndpoint: aws.String(srv.URL),
		Credentials: credentials.NewStaticCredentialsProvider(admin.ID, admin.Secret, "")}), made.ARN
}

func TestClusters(t *testing.T) {
	c, _ := start(t)
	ctx := t.Context()
	list, err := c.ListClusters(ctx, &eks.ListClustersInput{})
	require.NoError(t, err)
	require.Equal(t, []string{"prod"}, list.Clusters)
	one, err := c.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: aws.String("prod")})
	require.NoError(t, err)
	require.Equal(t, types.ClusterStatusActive, one.Cluster.Status)
	require.Equal(t, "https://issuer.example/prod", *one.Cluster.Identity.Oidc.Issuer)
	require.Equal(t, "https://10.0.0.1:6443", *one.Cluster.Endpoint)
	require.Equal(t, map[string]string{"env": "prod"}, one.Cluster.Tags)
	_, err = c.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: aws.String("none")})
	var none *types.ResourceNotFoundException
	require.ErrorAs(t, err, &none)
	require.Equal(t, "No cluster found for name: none.", none.ErrorMessage())

	_, err = c.TagResource(ctx, &eks.TagResourceInput{ResourceArn: one.Cluster.Arn, Tags: map[string]string{"team": "a/b c"}})
	require.NoError(t, err)
	_, err = c.UntagResource(ctx, &eks.UntagResourceInput{ResourceArn: one.Cluster.Arn, TagKeys: []string{"env"}})
	require.NoError(t, err)
	tags, err := c.ListTagsForResource(ctx, &eks.ListTagsForResourceInput{ResourceArn: one.Cluster.Arn})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"team": "a/b c"}, tags.Tags)

	gone, err := c.DeregisterCluster(ctx, &eks.DeregisterClusterInput{Name: aws.String("prod")})
	require.NoError(t, err)
	require.Equal(t, "prod", *gone.Cluster.Name)
	list, err = c.ListClusters(ctx, &eks.ListClustersInput{})
	require.NoError(t, err)
	require.Empty(t, list.Clusters)
}

func TestPodIdentityAssociations(t *testing.T) {
	c, role := start(t)
	ctx := t.Context()
	made, err := c.CreatePodIdentityAssociation(ctx, &eks.CreatePodIdentityAssociationInput{ClusterName: aws.String("prod"),
		Namespace: aws.String("prometheus"), ServiceAccount: aws.String("collector"), RoleArn: aws.String(role), Tags: map[string]string{"a": "b"}})
	require.NoError(t, err)
	require.Equal(t, role, *made.Association.RoleArn)
	require.NotZero(t, *made.Association.CreatedAt)
	_, err = c.CreatePodIdentityAssociation(ctx, &eks.CreatePodIdentityAssociationInput{ClusterName: aws.String("prod"),
		Namespace: aws.String("prometheus"), ServiceAccount: aws.String("collector"), RoleArn: aws.String(role)})
	var used *types.ResourceInUseException
	require.ErrorAs(t, err, &used)

	pages := eks.NewListPodIdentityAssociationsPaginator(c, &eks.ListPodIdentityAssociationsInput{ClusterName: aws.String("prod"), MaxResults: aws.Int32(1)})
	n := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		require.NoError(t, err)
		n += len(page.Associations)
	}
	require.Equal(t, 1, n)

	id := made.Association.AssociationId
	changed, err := c.UpdatePodIdentityAssociation(ctx, &eks.UpdatePodIdentityAssociationInput{ClusterName: aws.String("prod"), AssociationId: id,
		DisableSessionTags: aws.Bool(true)})
	require.NoError(t, err)
	require.True(t, *changed.Association.DisableSessionTags)
	one, err := c.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{ClusterName: aws.String("prod"), AssociationId: id})
	require.NoError(t, err)
	require.Equal(t, "collector", *one.Association.ServiceAccount)
	require.Equal(t, map[string]string{"a": "b"}, one.Association.Tags)
	_, err = c.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{ClusterName: aws.String("prod"), AssociationId: id})
	require.NoError(t, err)
	_, err = c.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{ClusterName: aws.String("prod"), AssociationId: id})
	var none *types.ResourceNotFoundException
	require.ErrorAs(t, err, &none)
}

// installer has everything succeed but what is to preserve conflicting objects: of
// that it says that the cluster is unreachable.
type installer struct{}

func (*installer) CheckConfiguration(string) error { return nil }

func (*installer) Install(_ context.Context, a *addon.Addon) error {
	if a.Conflicts == addon.Preserve {
		return &addon.Issue{Code: addon.ClusterUnreachable, Message: "nobody answers"}
	}
	return nil
}
func (*installer) Remove(context.Context, *addon.Addon) error { return nil }
func (*installer) Check(context.Context, *addon.Addon) error  { return nil }

// TestAddons has the SDK's own waiters judge the states.
func TestAddons(t *testing.T) {
	c, role := start(t)
	ctx := t.Context()
	quick := func(o *eks.AddonActiveWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
	}
	prod, adot := aws.String("prod"), aws.String("adot")
	versions, err := c.DescribeAddonVersions(ctx, &eks.DescribeAddonVersionsInput{AddonName: adot, KubernetesVersion: aws.String("1.34")})
	require.NoError(t, err)
	require.True(t, versions.Addons[0].AddonVersions[0].Compatibilities[0].DefaultVersion)
	made, err := c.CreateAddon(ctx, &eks.CreateAddonInput{ClusterName: prod, AddonName: adot, AddonVersion: aws.String("v0.74.0-eksbuild.1"), Tags: map[string]string{"a": "b"}})
	require.NoError(t, err)
	require.Equal(t, types.AddonStatusCreating, made.Addon.Status)
	got, err := eks.NewAddonActiveWaiter(c, quick).WaitForOutput(ctx, &eks.DescribeAddonInput{ClusterName: prod, AddonName: adot}, time.Minute)
	require.NoError(t, err)
	require.Equal(t, "v0.74.0-eksbuild.1", *got.Addon.AddonVersion)
	require.Equal(t, map[string]string{"a": "b"}, got.Addon.Tags)
	_, err = c.CreateAddon(ctx, &eks.CreateAddonInput{ClusterName: prod, AddonName: adot})
	var exists *types.ResourceInUseException
	require.ErrorAs(t, err, &exists)
	list, err := c.ListAddons(ctx, &eks.ListAddonsInput{ClusterName: prod})
	require.NoError(t, err)
	require.Equal(t, []string{"adot"}, list.Addons)
	schema, err := c.DescribeAddonConfiguration(ctx, &eks.DescribeAddonConfigurationInput{AddonName: adot, AddonVersion: versions.Addons[0].AddonVersions[0].AddonVersion})
	require.NoError(t, err)
	require.Contains(t, *schema.ConfigurationSchema, "replicaCount")

	update := func(how types.ResolveConflicts) *types.Update {
		out, err := c.UpdateAddon(ctx, &eks.UpdateAddonInput{ClusterName: prod, AddonName: adot, ServiceAccountRoleArn: aws.String(role), ResolveConflicts: how})
		require.NoError(t, err)
		require.Equal(t, types.UpdateTypeAddonUpdate, out.Update.Type)
		var u *types.Update
		require.Eventually(t, func() bool {
			now, err := c.DescribeUpdate(ctx, &eks.DescribeUpdateInput{Name: prod, AddonName: adot, UpdateId: out.Update.Id})
			if !assert.NoError(t, err) { // another goroutine than the test's
				return true
			}
			u = now.Update
			return u.Status != types.UpdateStatusInProgress
		}, 30*time.Second, 10*time.Millisecond)
		require.NotNil(t, u)
		return u
	}
	done := update(types.ResolveConflictsOverwrite)
	require.Equal(t, types.UpdateStatusSuccessful, done.Status)
	var none *types.ResourceNotFoundException
	_, err = c.DescribeUpdate(ctx, &eks.DescribeUpdateInput{Name: prod, UpdateId: done.Id}) // as that of a cluster
	require.ErrorAs(t, err, &none)
	bad := update(types.ResolveConflictsPreserve)
	require.Equal(t, types.UpdateStatusFailed, bad.Status)
	require.Equal(t, types.ErrorCode("ClusterUnreachable"), bad.Errors[0].ErrorCode)
	got, err = c.DescribeAddon(ctx, &eks.DescribeAddonInput{ClusterName: prod, AddonName: adot})
	require.NoError(t, err)
	require.Equal(t, types.AddonStatusUpdateFailed, got.Addon.Status)
	require.Equal(t, types.AddonIssueCodeClusterUnreachable, got.Addon.Health.Issues[0].Code)

	_, err = c.DeleteAddon(ctx, &eks.DeleteAddonInput{ClusterName: prod, AddonName: adot})
	require.NoError(t, err)
	require.NoError(t, eks.NewAddonDeletedWaiter(c, func(o *eks.AddonDeletedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
	}).
		Wait(ctx, &eks.DescribeAddonInput{ClusterName: prod, AddonName: adot}, time.Minute))
	_, err = c.DescribeAddon(ctx, &eks.DescribeAddonInput{ClusterName: prod, AddonName: adot})
	var missing *types.ResourceNotFoundException
	require.ErrorAs(t, err, &missing)
}
