package operator

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// lab is a reconciler on a pretended API server with one collector.
type lab struct {
	t      *testing.T
	r      *reconciler
	events *events.FakeRecorder
	key    client.ObjectKey
}

func newLab(t *testing.T, spec string) *lab {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, clientgoscheme.AddToScheme(scheme))
	scheme.AddKnownTypeWithName(GVK, &unstructured.Unstructured{})
	scheme.AddKnownTypeWithName(GVK.GroupVersion().WithKind(Kind+"List"), &unstructured.UnstructuredList{})
	c := collector(t, spec)
	c.TypeMeta = metav1.TypeMeta{APIVersion: GVK.GroupVersion().String(), Kind: Kind}
	text, err := json.Marshal(c)
	require.NoError(t, err)
	u := &unstructured.Unstructured{}
	require.NoError(t, json.Unmarshal(text, &u.Object))
	u.SetGeneration(1)
	recorder := events.NewFakeRecorder(100)
	pretended := fake.NewClientBuilder().WithScheme(scheme).WithTypeConverters(managedfields.NewDeducedTypeConverter()).WithObjects(u).WithStatusSubresource(u, &appsv1.Deployment{}).Build()
	return &lab{t: t, events: recorder, key: client.ObjectKeyFromObject(u), r: &reconciler{
		client: pretended, direct: pretended, render: image, events: recorder, log: slog.New(slog.DiscardHandler), applied: map[string]appliedObject{},
		pace: newPacer(time.Now),
	}}
}

func (l *lab) reconcile() error {
	_, err := l.r.Reconcile(l.t.Context(), ctrl.Request{NamespacedName: l.key})
	return err
}

func (l *lab) object() *unstructured.Unstructured {
	l.t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(GVK)
	require.NoError(l.t, l.r.client.Get(l.t.Context(), l.key, u))
	return u
}

func (l *lab) status() Status {
	l.t.Helper()
	c, err := read(l.object())
	require.NoError(l.t, err)
	return c.Status
}

func (l *lab) change(edit func(o map[string]any)) {
	l.t.Helper()
	u := l.object()
	edit(u.Object)
	u.SetGeneration(u.GetGeneration() + 1)
	require.NoError(l.t, l.r.client.Update(l.t.Context(), u))
}

func (l *lab) deployment() *appsv1.Deployment {
	l.t.Helper()
	d := &appsv1.Deployment{}
	require.NoError(l.t, l.r.client.Get(l.t.Context(), client.ObjectKey{Namespace: l.key.Namespace, Name: l.key.Name + "-collector"}, d))
	return d
}

func (l *lab) configs() (names []string) {
	l.t.Helper()
	var list corev1.ConfigMapList
	require.NoError(l.t, l.r.client.List(l.t.Context(), &list))
	for _, m := range list.Items {
		names = append(names, m.Name)
	}
	return names
}

// TestReconcile follows a collector through its life.
func TestReconcile(t *testing.T) {
	l := newLab(t, "  config: |\n    "+indent(config))
	require.NoError(t, l.reconcile())
	require.Len(t, l.configs(), 1)
	require.Equal(t, l.configs()[0], l.deployment().Spec.Template.Spec.Volumes[0].ConfigMap.Name)
	require.Equal(t, []string{finalizer}, l.object().GetFinalizers())
	role := &rbacv1.ClusterRole{}
	require.NoError(t, l.r.client.Get(t.Context(), client.ObjectKey{Name: "observability-prometheus-cluster-role"}, role))
	require.Equal(t, "0/1", l.status().Scale.StatusReplicas)
	require.Equal(t, "v9", l.status().Version)

	// Ready pods show.
	d := l.deployment()
	d.Status.ReadyReplicas = 1
	require.NoError(t, l.r.client.Status().Update(t.Context(), d))
	require.NoError(t, l.reconcile())
	require.True(t, meta.IsStatusConditionTrue(l.status().Conditions, "Ready"))
	require.Equal(t, "1/1", l.status().Scale.StatusReplicas)

	// Nothing changed, nothing is written.
	before := l.object().GetResourceVersion() + l.deployment().ResourceVersion
	require.NoError(t, l.reconcile())
	require.Equal(t, before, l.object().GetResourceVersion()+l.deployment().ResourceVersion)

	// Another configuration rolls out, and three are kept.
	now := time.Now()
	l.r.pace.now = func() time.Time { return now }
	for _, interval := range []string{"11s", "12s", "13s", "14s"} {
		now = now.Add(quietSpell)
		l.change(func(o map[string]any) {
			require.NoError(t, unstructured.SetNestedField(o, map[string]any{"timeout": interval}, "spec", "config", "exporters", "prometheusremotewrite/"+interval))
			require.NoError(t, unstructured.SetNestedField(o, "http://127.0.0.1:9/api/v1/remote_write", "spec", "config", "exporters", "prometheusremotewrite/"+interval, "endpoint"))
		})
		require.NoError(t, l.reconcile())
	}
	require.Len(t, l.configs(), 3)
	require.Contains(t, l.configs(), l.deployment().Spec.Template.Spec.Volumes[0].ConfigMap.Name)

	now = now.Add(quietSpell)

	// Another mode's objects replace the former's. (The webhook refuses it; without one it still converges.)
	l.change(func(o map[string]any) {
		require.NoError(t, unstructured.SetNestedField(o, modeDaemonSet, "spec", "mode"))
	})
	require.NoError(t, l.reconcile())
	err := l.r.client.Get(t.Context(), client.ObjectKey{Namespace: "prometheus", Name: "observability-collector"}, &appsv1.Deployment{})
	require.True(t, apierrors.IsNotFound(err))
	require.NoError(t, l.r.client.Get(t.Context(), client.ObjectKey{Namespace: "prometheus", Name: "observability-collector"}, &appsv1.DaemonSet{}))

	// Its rights go with it.
	require.NoError(t, l.r.client.Delete(t.Context(), l.object()))
	require.NoError(t, l.reconcile())
	require.True(t, apierrors.IsNotFound(l.r.client.Get(t.Context(), client.ObjectKeyFromObject(role), role)))
	require.NoError(t, l.reconcile(), "what is gone is no error")
}

// TestBadConfiguration: it is said once, on the object and as an event, and what
// runs goes on running.
func TestBadConfiguration(t *testing.T) {
	l := newLab(t, "  config: |\n    "+indent(config))
	require.NoError(t, l.reconcile())
	running := l.deployment().Spec.Template.Spec.Volumes[0].ConfigMap.Name
	l.change(func(o map[string]any) {
		require.NoError(t, unstructured.SetNestedMap(o, map[string]any{"unicorn": map[string]any{}}, "spec", "config", "receivers"))
	})
	drain(l.events)
	require.NoError(t, l.reconcile())
	require.NoError(t, l.reconcile())
	ready := meta.FindStatusCondition(l.status().Conditions, "Ready")
	require.Equal(t, "InvalidConfiguration", ready.Reason)
	require.Contains(t, ready.Message, "unicorn")
	require.Equal(t, running, l.deployment().Spec.Template.Spec.Volumes[0].ConfigMap.Name)
	said := drain(l.events)
	require.Len(t, said, 1)
	require.Contains(t, said[0], "unicorn")
}

// TestSomebodyElses objects are not taken over.
func TestSomebodyElses(t *testing.T) {
	l := newLab(t, "  serviceAccount: mine\n  config: |\n    "+indent(config))
	theirs := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "prometheus", Name: "observability-collector", Labels: map[string]string{"app": "x"}}}
	require.NoError(t, l.r.client.Create(t.Context(), theirs))
	require.ErrorContains(t, l.reconcile(), "belongs to somebody else")
	require.Equal(t, "ReconcileError", meta.FindStatusCondition(l.status().Conditions, "Ready").Reason)
	require.Equal(t, map[string]string{"app": "x"}, l.deployment().Labels)
}

func TestUnmanaged(t *testing.T) {
	l := newLab(t, "  managementState: unmanaged\n  config: |\n    "+indent(config))
	require.NoError(t, l.reconcile())
	require.Empty(t, l.configs())
}

func drain(r *events.FakeRecorder) (out []string) {
	for {
		select {
		case e := <-r.Events:
			out = append(out, strings.TrimSpace(e))
		default:
			return out
		}
	}
}
