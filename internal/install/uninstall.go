package install

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Uninstall removes a release and waits until nothing of it is left: objects of
// the kinds that it brought first, while their operator still runs, then the
// rest, and the namespaces that were made for it. Unless force is given, objects
// of those kinds that people made are a reason to refuse.
func (c *Cluster) Uninstall(ctx context.Context, namespace, name string, force bool) error {
	r, err := c.readRelease(ctx, namespace, name)
	if apierrors.IsNotFound(err) {
		return usagef("there is no release %s in namespace %s", name, namespace)
	}
	if err != nil {
		return err
	}
	if err := c.removeCustom(ctx, r, force); err != nil {
		return err
	}
	var gone []Ref
	// What serves admission goes last but one: configurations of webhooks first.
	order := slices.Clone(r.Objects)
	slices.SortStableFunc(order, func(a, b Ref) int { return uninstallRank(a.Kind) - uninstallRank(b.Kind) })
	for _, ref := range order {
		if err := c.delete(ctx, ref); err != nil {
			return fmt.Errorf("remove %s: %w", ref, err)
		}
		gone = append(gone, ref)
	}
	if err := c.awaitGone(ctx, gone); err != nil {
		return err
	}
	c.Progress("%d objects removed", len(gone))
	record := recordRef(namespace, name)
	if err := c.delete(ctx, record); err != nil {
		return err
	}
	gone = []Ref{record}
	for _, ns := range r.Namespaces {
		if err := c.delete(ctx, Ref{"v1", "Namespace", "", ns}); err != nil {
			return err
		}
		gone = append(gone, Ref{"v1", "Namespace", "", ns})
	}
	return c.awaitGone(ctx, gone)
}

// uninstallRank is the order of removal.
func uninstallRank(kind string) int {
	switch kind {
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
		return 0
	case "CustomResourceDefinition":
		return 1
	}
	return 2 + len(applyOrder) - rank(kind)
}

// removeCustom deletes the objects of the kinds that the release defines.
func (c *Cluster) removeCustom(ctx context.Context, r *release, force bool) error {
	for _, ref := range r.Objects {
		if ref.Kind != "CustomResourceDefinition" {
			continue
		}
		crd, err := c.get(ctx, ref)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		gvr, kind := servedBy(crd)
		list, err := c.objects.Resource(gvr).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list objects of %s: %w", ref.Name, err)
		}
		var refs []Ref
		for i := range list.Items {
			o := &list.Items[i]
			one := Ref{gvr.GroupVersion().String(), kind, o.GetNamespace(), o.GetName()}
			if !slices.ContainsFunc(r.Objects, func(x Ref) bool { return x.Kind == kind && x.Namespace == one.Namespace && x.Name == one.Name }) && !force {
				return usagef("%s is there and would go with its definition: delete it first, or give --force", one)
			}
			refs = append(refs, one)
		}
		for _, one := range refs {
			if err := c.delete(ctx, one); err != nil {
				return fmt.Errorf("remove %s: %w", one, err)
			}
		}
		if err := c.awaitGone(ctx, refs); err != nil {
			return err
		}
	}
	return nil
}

// servedBy returns the stored version of a definition.
func servedBy(crd *unstructured.Unstructured) (gvr schema.GroupVersionResource, kind string) {
	gvr.Group, _, _ = unstructured.NestedString(crd.Object, "spec", "group")
	gvr.Resource, _, _ = unstructured.NestedString(crd.Object, "spec", "names", "plural")
	kind, _, _ = unstructured.NestedString(crd.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		if m, ok := v.(map[string]any); ok && m["storage"] == true {
			gvr.Version, _ = m["name"].(string)
		}
	}
	return gvr, kind
}

func (c *Cluster) awaitGone(ctx context.Context, refs []Ref) error {
	return c.poll(ctx, func() (string, error) {
		for len(refs) > 0 {
			_, err := c.get(ctx, refs[0])
			if err == nil {
				return refs[0].String() + " is still there", nil
			}
			if !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
				return "", err
			}
			refs = refs[1:]
		}
		return "", nil
	})
}
