package install

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
)

// Conflicts are the objects of a release that are in the cluster and that the
// release did not bring.
func (c *Cluster) Conflicts(ctx context.Context, namespace, name string, r *Rendered) ([]Ref, error) {
	before, err := c.readRelease(ctx, namespace, name)
	if apierrors.IsNotFound(err) {
		before, err = &release{}, nil
	}
	if err != nil {
		return nil, err
	}
	var found []Ref
	for _, o := range r.Objects {
		ref := refOf(o)
		if slices.Contains(before.Objects, ref) {
			continue
		}
		_, err := c.get(ctx, ref)
		switch {
		case err == nil:
			found = append(found, ref)
		case !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err):
			return nil, fmt.Errorf("look for %s: %w", ref, err)
		}
	}
	return found, nil
}

// Health is how a release does that has been installed.
type Health struct {
	// Missing are objects that somebody has taken away.
	Missing []Ref
	// NotReady says of workloads what they lack.
	NotReady map[Ref]string
}

// Check looks at every object of a release.
func (c *Cluster) Check(ctx context.Context, namespace, name string) (Health, error) {
	h := Health{NotReady: map[Ref]string{}}
	r, err := c.readRelease(ctx, namespace, name)
	if apierrors.IsNotFound(err) {
		h.Missing = []Ref{recordRef(namespace, name)}
		return h, nil
	}
	if err != nil {
		return h, err
	}
	for _, ref := range r.Objects {
		o, err := c.get(ctx, ref)
		if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
			h.Missing = append(h.Missing, ref)
			continue
		}
		if err != nil {
			return h, fmt.Errorf("look at %s: %w", ref, err)
		}
		waiting, err := notReady(o)
		if err != nil {
			waiting = err.Error()
		}
		if waiting != "" {
			h.NotReady[ref] = waiting + c.why(ctx, ref)
		}
	}
	return h, nil
}

// IsInstalled tells whether a release is recorded.
func (c *Cluster) IsInstalled(ctx context.Context, namespace, name string) (bool, error) {
	_, err := c.readRelease(ctx, namespace, name)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}
