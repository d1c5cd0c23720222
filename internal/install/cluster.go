package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// fieldManager owns what is applied here.
const fieldManager = "mangru-install"

// Ref names an object.
type Ref struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

func refOf(o *unstructured.Unstructured) Ref {
	return Ref{o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName()}
}

// String is how people read it: Kind namespace/name.
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// Cluster is where releases are installed.
type Cluster struct {
	objects dynamic.Interface
	kube    kubernetes.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
	// Progress hears a line about each thing that has happened.
	Progress func(format string, args ...any)
}

// NewCluster returns the cluster that the configuration leads to.
func NewCluster(config *rest.Config) (*Cluster, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 50, 100
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Cluster{
		objects: objects, kube: kube, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kube.Discovery())),
		Progress: func(string, ...any) {},
	}, nil
}

// resource returns the client of an object's kind.
func (c *Cluster) resource(r Ref) (dynamic.ResourceInterface, error) {
	gvk := schema.FromAPIVersionAndKind(r.APIVersion, r.Kind)
	m, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		c.mapper.Reset() // a CustomResourceDefinition may have brought it since
		m, err = c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	if err != nil {
		return nil, err
	}
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		return c.objects.Resource(m.Resource).Namespace(r.Namespace), nil
	}
	return c.objects.Resource(m.Resource), nil
}

// release is what is remembered of an installation, in a ConfigMap beside it.
type release struct {
	Objects []Ref `json:"objects"`
	// Namespaces are those that were made for it.
	Namespaces []string `json:"namespaces,omitempty"`
}

func recordRef(namespace, name string) Ref {
	return Ref{"v1", "ConfigMap", namespace, "mangru-release-" + name}
}

func (c *Cluster) readRelease(ctx context.Context, namespace, name string) (*release, error) {
	m, err := c.kube.CoreV1().ConfigMaps(namespace).Get(ctx, recordRef(namespace, name).Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	r := &release{}
	if err := json.Unmarshal([]byte(m.Data["release"]), r); err != nil {
		return nil, fmt.Errorf("what is recorded about the release in ConfigMap %s/%s cannot be read: %w", namespace, m.Name, err)
	}
	return r, nil
}

func (c *Cluster) writeRelease(ctx context.Context, namespace, name string, r *release) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ref := recordRef(namespace, name)
	return c.apply(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": ref.APIVersion, "kind": ref.Kind,
		"metadata": map[string]any{"name": ref.Name, "namespace": namespace, "labels": map[string]any{"app.kubernetes.io/managed-by": "mangru"}},
		"data":     map[string]any{"release": string(text)},
	}})
}

// Install applies a release and removes what an earlier one of that name had and
// this one has not. It does not wait for readiness.
func (c *Cluster) Install(ctx context.Context, namespace, name string, r *Rendered) error {
	before, err := c.readRelease(ctx, namespace, name)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	now := &release{}
	if before != nil {
		now.Namespaces, now.Objects = before.Namespaces, before.Objects
	}
	if err := c.makeNamespace(ctx, namespace, now); err != nil {
		return err
	}
	var wanted []Ref
	for _, o := range r.Objects {
		ref := refOf(o)
		wanted = append(wanted, ref)
		if !slices.Contains(now.Objects, ref) {
			now.Objects = append(now.Objects, ref)
		}
	}
	// Recorded before it is there: a half-done installation can be taken away.
	if err := c.writeRelease(ctx, namespace, name, now); err != nil {
		return fmt.Errorf("record the release: %w", err)
	}
	for _, o := range r.Objects {
		if err := c.apply(ctx, o); err != nil {
			return fmt.Errorf("apply %s: %w", refOf(o), err)
		}
		if o.GetKind() == "CustomResourceDefinition" {
			if err := c.established(ctx, o.GetName()); err != nil {
				return err
			}
		}
	}
	c.Progress("%d objects applied", len(r.Objects))
	for _, ref := range slices.Backward(now.Objects) {
		if !slices.Contains(wanted, ref) {
			if err := c.delete(ctx, ref); err != nil {
				return fmt.Errorf("remove %s, which this release has no more: %w", ref, err)
			}
			c.Progress("%s removed", ref)
		}
	}
	now.Objects = wanted
	return c.writeRelease(ctx, namespace, name, now)
}

// makeNamespace makes the release's namespace, with the strictest Pod Security
// level. One that is there is left as it is.
func (c *Cluster) makeNamespace(ctx context.Context, name string, r *release) error {
	_, err := c.kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if err == nil || !apierrors.IsNotFound(err) {
		return err
	}
	if !slices.Contains(r.Namespaces, name) {
		r.Namespaces = append(r.Namespaces, name)
	}
	return c.apply(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": name, "labels": map[string]any{
			"app.kubernetes.io/managed-by": "mangru", "pod-security.kubernetes.io/enforce": "restricted",
		}},
	}})
}

func (c *Cluster) apply(ctx context.Context, o *unstructured.Unstructured) error {
	r, err := c.resource(refOf(o))
	if err != nil {
		return err
	}
	text, err := json.Marshal(o.Object)
	if err != nil {
		return err
	}
	force := true
	_, err = r.Patch(ctx, o.GetName(), types.ApplyPatchType, text, metav1.PatchOptions{FieldManager: fieldManager, Force: &force})
	return err
}

// delete removes an object and what it owns; one that is gone, or whose kind is,
// is no error.
func (c *Cluster) delete(ctx context.Context, ref Ref) error {
	r, err := c.resource(ref)
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return err
	}
	foreground := metav1.DeletePropagationForeground
	err = r.Delete(ctx, ref.Name, metav1.DeleteOptions{PropagationPolicy: &foreground})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (c *Cluster) established(ctx context.Context, name string) error {
	ref := Ref{"apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name}
	return c.poll(ctx, func() (string, error) {
		o, err := c.get(ctx, ref)
		if err != nil {
			return "", err
		}
		if conditionIs(o, "Established") {
			return "", nil
		}
		return ref.String() + " is not served yet", nil
	})
}

func (c *Cluster) get(ctx context.Context, ref Ref) (*unstructured.Unstructured, error) {
	r, err := c.resource(ref)
	if err != nil {
		return nil, err
	}
	return r.Get(ctx, ref.Name, metav1.GetOptions{})
}

func conditionIs(o *unstructured.Unstructured, kind string) bool {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, e := range list {
		if m, ok := e.(map[string]any); ok && m["type"] == kind {
			return m["status"] == "True"
		}
	}
	return false
}

// poll asks until there is nothing left to wait for. The last answer is in the
// error when ctx ends first.
func (c *Cluster) poll(ctx context.Context, ask func() (waiting string, err error)) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting, err := ask()
		if err == nil && waiting == "" {
			return nil
		}
		if err != nil && ctx.Err() == nil && !transient(err) {
			return err
		}
		select {
		case <-ctx.Done():
			if waiting == "" && err != nil {
				waiting = err.Error()
			}
			return errors.Join(context.Cause(ctx), errors.New(waiting))
		case <-tick.C:
		}
	}
}

// transient tells whether asking again may help.
func transient(err error) bool {
	return apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.ReasonForError(err) == metav1.StatusReasonUnknown
}
