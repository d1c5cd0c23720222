package operator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

const (
	fieldManager = "mangru-operator"
	// finalizer is on collectors with rights, which have no namespace and so no owner.
	finalizer = "opentelemetrycollector.opentelemetry.io/finalizer"
)

// reconciler makes the cluster so.
type reconciler struct {
	client client.Client
	direct client.Reader // sees what the cache leaves out: others' objects
	render renderer
	events events.EventRecorder
	log    *slog.Logger
	pace   *pacer

	mu      sync.Mutex
	applied map[string]appliedObject
}

// appliedObject remembers what was applied last, so that an object that nobody
// has touched since is not applied again.
type appliedObject struct {
	digest  string
	version string
}

// Reconcile implements reconcile.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(GVK)
	if err := r.client.Get(ctx, req.NamespacedName, u); err != nil {
		if apierrors.IsNotFound(err) {
			r.pace.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	c, err := read(u)
	if err != nil {
		return ctrl.Result{}, r.failed(ctx, u, &Collector{}, "Unreadable", err.Error())
	}
	if c.DeletionTimestamp != nil {
		return ctrl.Result{}, r.finalize(ctx, u, c)
	}
	if c.Spec.ManagementState == "unmanaged" {
		return ctrl.Result{}, nil
	}
	if v := r.render.validate(c, nil); len(v.errors) > 0 {
		// Good pods of an earlier configuration keep running.
		return ctrl.Result{}, r.failed(ctx, u, c, "InvalidConfiguration", strings.Join(v.errors, "; "))
	}
	p, err := r.render.render(c)
	if err != nil {
		return ctrl.Result{}, r.failed(ctx, u, c, "InvalidConfiguration", err.Error())
	}
	if wait := r.pace.wait(req.NamespacedName, p.template); wait > 0 {
		r.log.Debug("edits come faster than pods can follow", "namespace", c.Namespace, "name", c.Name, "rollout_in", wait)
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if err := r.guard(ctx, u, p); err != nil {
		return ctrl.Result{}, err
	}
	for _, o := range p.objects {
		if err := r.apply(ctx, c, o); err != nil {
			_ = r.failed(ctx, u, c, "ReconcileError", err.Error()) // the error itself is returned
			return ctrl.Result{}, err
		}
	}
	if err := r.prune(ctx, c, p); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, r.report(ctx, u, c, p)
}

// guard sees to it that rights are taken away with their collector.
func (r *reconciler) guard(ctx context.Context, u *unstructured.Unstructured, p *plan) error {
	needed := slices.ContainsFunc(p.objects, func(o runtime.Object) bool { _, ok := o.(*rbacv1.ClusterRole); return ok })
	if needed == controllerutil.ContainsFinalizer(u, finalizer) || !needed {
		return nil
	}
	before := u.DeepCopy()
	controllerutil.AddFinalizer(u, finalizer)
	return r.client.Patch(ctx, u, client.MergeFrom(before))
}

func (r *reconciler) finalize(ctx context.Context, u *unstructured.Unstructured, c *Collector) error {
	if !controllerutil.ContainsFinalizer(u, finalizer) {
		return nil
	}
	role, binding := rightsNames(c)
	for _, o := range []client.Object{
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: binding}}, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: role}},
	} {
		// Only what was made for this collector.
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return err
		}
		if o.GetLabels()[labelInstance] != selectorOf(c)[labelInstance] || o.GetLabels()[labelManaged] != managedBy {
			continue
		}
		if err := r.client.Delete(ctx, o); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	before := u.DeepCopy()
	controllerutil.RemoveFinalizer(u, finalizer)
	return client.IgnoreNotFound(r.client.Patch(ctx, u, client.MergeFrom(before)))
}

// apply puts an object in place where it is not so already.
func (r *reconciler) apply(ctx context.Context, c *Collector, o runtime.Object) error {
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return err
	}
	delete(raw, "status")
	u := &unstructured.Unstructured{Object: raw}
	unstructured.RemoveNestedField(raw, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(raw, "spec", "template", "metadata", "creationTimestamp")
	text, err := json.Marshal(raw)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	digest := hex.EncodeToString(sum[:])
	key := u.GetKind() + "/" + u.GetNamespace() + "/" + u.GetName()
	current, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("%s is no object", key)
	}
	err = r.client.Get(ctx, client.ObjectKeyFromObject(u), current)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	if err != nil {
		err = r.direct.Get(ctx, client.ObjectKeyFromObject(u), current)
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	exists := err == nil
	if exists && foreign(current, c) {
		return fmt.Errorf("%s %s/%s is there and belongs to somebody else: rename the collector, or remove it", u.GetKind(), u.GetNamespace(), u.GetName())
	}
	r.mu.Lock()
	last := r.applied[key]
	r.mu.Unlock()
	if exists && last.digest == digest && last.version == versionOf(current) {
		return nil
	}
	if err := r.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("%s %s: %w", u.GetKind(), u.GetName(), err)
	}
	if !exists {
		r.log.Info("made", "kind", u.GetKind(), "namespace", u.GetNamespace(), "name", u.GetName())
	}
	r.mu.Lock()
	r.applied[key] = appliedObject{digest, versionOf(u)}
	r.mu.Unlock()
	return nil
}

// foreign tells whether an object was made by somebody else.
func foreign(o client.Object, c *Collector) bool {
	if owner := metav1.GetControllerOf(o); owner != nil {
		return owner.UID != c.UID
	}
	return o.GetLabels()[labelManaged] != managedBy
}

// versionOf changes when somebody changes what an object asks for; for kinds
// whose status changes all the time that is their generation.
func versionOf(o client.Object) string {
	if g := o.GetGeneration(); g > 0 {
		return fmt.Sprint("g", g)
	}
	return o.GetResourceVersion()
}

// ownedLists are the kinds of a collector's objects.
func ownedLists() []client.ObjectList {
	return []client.ObjectList{
		&corev1.ServiceList{}, &corev1.ServiceAccountList{}, &appsv1.DeploymentList{}, &appsv1.DaemonSetList{}, &appsv1.StatefulSetList{},
		&autoscalingv2.HorizontalPodAutoscalerList{}, &policyv1.PodDisruptionBudgetList{}, &networkingv1.NetworkPolicyList{}, &networkingv1.IngressList{},
	}
}

// prune removes what the collector had and has no more, and old configurations.
func (r *reconciler) prune(ctx context.Context, c *Collector, p *plan) error {
	wanted := map[string]bool{}
	for _, o := range p.objects {
		if m, ok := o.(client.Object); ok {
			wanted[fmt.Sprintf("%T/%s", o, m.GetName())] = true
		}
	}
	for _, list := range ownedLists() {
		if err := r.client.List(ctx, list, client.InNamespace(c.Namespace), client.MatchingLabels(p.selector)); err != nil {
			return err
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			return err
		}
		for _, item := range items {
			o, ok := item.(client.Object)
			if !ok || wanted[fmt.Sprintf("%T/%s", item, o.GetName())] || !metav1.IsControlledBy(o, c) {
				continue
			}
			if err := r.client.Delete(ctx, o); client.IgnoreNotFound(err) != nil {
				return err
			}
			r.log.Info("removed", "kind", fmt.Sprintf("%T", item), "namespace", c.Namespace, "name", o.GetName())
		}
	}
	return r.pruneConfigs(ctx, c, p)
}

// pruneConfigs keeps the last few configurations, for workloads that roll back.
func (r *reconciler) pruneConfigs(ctx context.Context, c *Collector, p *plan) error {
	var maps corev1.ConfigMapList
	if err := r.client.List(ctx, &maps, client.InNamespace(c.Namespace), client.MatchingLabels(p.selector)); err != nil {
		return err
	}
	keep := 3
	if n := c.Spec.ConfigVersions; n != nil {
		keep = int(*n)
	}
	old := slices.DeleteFunc(maps.Items, func(m corev1.ConfigMap) bool { return m.Name == p.configName || !metav1.IsControlledBy(&m, c) })
	slices.SortFunc(old, func(a, b corev1.ConfigMap) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	for i := max(0, keep-1); i < len(old); i++ {
		if err := r.client.Delete(ctx, &old[i]); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

// failed says on the object what is wrong, once each time it is another thing.
func (r *reconciler) failed(ctx context.Context, u *unstructured.Unstructured, c *Collector, reason, message string) error {
	before := meta.FindStatusCondition(c.Status.Conditions, "Ready")
	if before == nil || before.Reason != reason || before.Message != clip(message) {
		r.event(u, corev1.EventTypeWarning, reason, message)
	}
	s := c.Status
	s.Conditions = slices.Clone(s.Conditions)
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: "Ready", Status: metav1.ConditionFalse, Reason: reason, Message: clip(message), ObservedGeneration: u.GetGeneration(),
	})
	s.ObservedGeneration = u.GetGeneration()
	return r.writeStatus(ctx, u, c, s)
}

func clip(s string) string { return s[:min(len(s), 4096)] }

func (r *reconciler) event(u *unstructured.Unstructured, kind, reason, message string) {
	r.events.Eventf(u, nil, kind, reason, "Reconcile", "%s", message[:min(len(message), 1000)])
}

// report writes down how the workload does.
func (r *reconciler) report(ctx context.Context, u *unstructured.Unstructured, c *Collector, p *plan) error {
	s := Status{Image: p.image, Version: imageVersion(p.image), ObservedGeneration: u.GetGeneration(), Conditions: slices.Clone(c.Status.Conditions)}
	ready, want, why, err := r.progress(ctx, c)
	if err != nil {
		return err
	}
	ok := metav1.Condition{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Reconciled", Message: fmt.Sprintf("%d of %d pods are ready", ready, want), ObservedGeneration: u.GetGeneration()}
	if c.mode() == modeSidecar {
		ok.Message = "runs in the pods that ask for it by the annotation " + injectKey
	} else {
		s.Scale = &Scale{Selector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: p.selector}), Replicas: want, StatusReplicas: fmt.Sprintf("%d/%d", ready, want)}
		if ready < want {
			ok.Status, ok.Reason = metav1.ConditionFalse, "Progressing"
			if why != "" {
				ok.Reason, ok.Message = "PodsNotReady", ok.Message+": "+why
			}
		}
	}
	ok.Message = clip(ok.Message)
	before := meta.FindStatusCondition(s.Conditions, "Ready")
	if before == nil || before.Status != ok.Status {
		kind := corev1.EventTypeNormal
		if ok.Reason == "PodsNotReady" {
			kind = corev1.EventTypeWarning
		}
		r.event(u, kind, ok.Reason, ok.Message)
	}
	meta.SetStatusCondition(&s.Conditions, ok)
	return r.writeStatus(ctx, u, c, s)
}

// progress returns the ready and wanted pods, and what the workload's own
// conditions say about the others.
func (r *reconciler) progress(ctx context.Context, c *Collector) (ready, want int32, why string, err error) {
	key := client.ObjectKey{Namespace: c.Namespace, Name: base(c)}
	switch c.mode() {
	case modeSidecar:
	case modeDaemonSet:
		d := &appsv1.DaemonSet{}
		if err = r.client.Get(ctx, key, d); err == nil {
			ready, want = d.Status.NumberReady, d.Status.DesiredNumberScheduled
		}
	case modeStatefulSet:
		d := &appsv1.StatefulSet{}
		if err = r.client.Get(ctx, key, d); err == nil {
			ready, want = d.Status.ReadyReplicas, one(d.Spec.Replicas)
		}
	default:
		d := &appsv1.Deployment{}
		if err = r.client.Get(ctx, key, d); err == nil {
			ready, want = d.Status.ReadyReplicas, one(d.Spec.Replicas)
			for _, cond := range d.Status.Conditions {
				if cond.Type == appsv1.DeploymentReplicaFailure && cond.Status == corev1.ConditionTrue || cond.Reason == "ProgressDeadlineExceeded" {
					why = cond.Message
				}
			}
		}
	}
	return ready, want, why, client.IgnoreNotFound(err)
}

func one(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// writeStatus writes what differs.
func (r *reconciler) writeStatus(ctx context.Context, u *unstructured.Unstructured, c *Collector, s Status) error {
	if apiequality.Semantic.DeepEqual(c.Status, s) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": s})
	if err != nil {
		return err
	}
	target := &unstructured.Unstructured{}
	target.SetGroupVersionKind(GVK)
	target.SetNamespace(u.GetNamespace())
	target.SetName(u.GetName())
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return client.IgnoreNotFound(r.client.Status().Patch(ctx, target, client.RawPatch("application/merge-patch+json", patch)))
}
