package app

import (
	"context"
	"fmt"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// scraperObjects is the name of everything that scrapers need in a cluster: a
// namespace, a service account, a secret with its token, a cluster role and its
// binding.
const scraperObjects = "mangru-scraper"

// scraperRules is what scrapers may do in a cluster: find nodes, pods and
// services, and get from them through the API server.
func scraperRules() []rbacv1.PolicyRule {
	look := []string{"get", "list", "watch"}
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"nodes", "pods", "services", "endpoints", "namespaces"}, Verbs: look},
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: look},
		{APIGroups: []string{""}, Resources: []string{"nodes/proxy", "pods/proxy", "services/proxy"}, Verbs: []string{"get"}},
		{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}},
	}
}

// tokenWait bounds how long the cluster may take to issue a token.
const tokenWait = 30 * time.Second

// ensureScraperAccess makes what scrapers need in a cluster, where it is not
// there, and returns their token. It lasts until its secret is deleted.
func ensureScraperAccess(ctx context.Context, kube kubernetes.Interface) (token string, err error) {
	labels := map[string]string{"app.kubernetes.io/name": scraperObjects, "app.kubernetes.io/managed-by": "mangru"}
	meta := metav1.ObjectMeta{Name: scraperObjects, Labels: labels}
	inside := meta
	inside.Namespace = scraperObjects
	no := false
	secret := inside
	secret.Annotations = map[string]string{corev1.ServiceAccountNameKey: scraperObjects}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"namespace", func() error {
			_, err := kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: meta}, metav1.CreateOptions{})
			return err
		}},
		{"service account", func() error {
			_, err := kube.CoreV1().ServiceAccounts(scraperObjects).Create(ctx,
				&corev1.ServiceAccount{ObjectMeta: inside, AutomountServiceAccountToken: &no}, metav1.CreateOptions{})
			return err
		}},
		{"cluster role", func() error { return ensureScraperRole(ctx, kube, meta) }},
		{"cluster role binding", func() error {
			_, err := kube.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: meta,
				RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: scraperObjects},
				Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: scraperObjects, Name: scraperObjects}}}, metav1.CreateOptions{})
			return err
		}},
		{"secret", func() error {
			_, err := kube.CoreV1().Secrets(scraperObjects).Create(ctx,
				&corev1.Secret{ObjectMeta: secret, Type: corev1.SecretTypeServiceAccountToken}, metav1.CreateOptions{})
			return err
		}},
	} {
		if err := step.do(); err != nil && !apierrors.IsAlreadyExists(err) {
			return "", fmt.Errorf("make the %s %s in the cluster: %w", step.what, scraperObjects, err)
		}
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, tokenWait, true, func(ctx context.Context) (bool, error) {
		s, err := kube.CoreV1().Secrets(scraperObjects).Get(ctx, scraperObjects, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		token = string(s.Data[corev1.ServiceAccountTokenKey])
		return token != "", nil
	})
	if err != nil {
		return "", fmt.Errorf("wait for the token in the secret %s/%s: %w", scraperObjects, scraperObjects, err)
	}
	return token, nil
}

// ensureScraperRole makes the role, or brings one of another version up to date.
func ensureScraperRole(ctx context.Context, kube kubernetes.Interface, meta metav1.ObjectMeta) error {
	roles := kube.RbacV1().ClusterRoles()
	want := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: scraperRules()}
	_, err := roles.Create(ctx, want, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	have, err := roles.Get(ctx, meta.Name, metav1.GetOptions{})
	if err != nil || reflect.DeepEqual(have.Rules, want.Rules) {
		return err
	}
	have.Rules = want.Rules
	_, err = roles.Update(ctx, have, metav1.UpdateOptions{})
	return err
}
