package operator

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestPace has fifty edits a second for two minutes: pods are replaced a few
// times, and the last edit arrives.
func TestPace(t *testing.T) {
	now := time.Unix(1000, 0)
	p := newPacer(func() time.Time { return now })
	key := client.ObjectKey{Namespace: "n", Name: "c"}
	require.Zero(t, p.wait(key, "before"))
	var rolled []time.Duration
	began, last := now, ""
	for i := range 5990 {
		last = fmt.Sprint("edit ", i)
		if p.wait(key, last) == 0 {
			rolled = append(rolled, now.Sub(began))
		}
		now = now.Add(20 * time.Millisecond)
	}
	require.Equal(t, []time.Duration{0, 2 * time.Second, 6 * time.Second, 14 * time.Second, 30 * time.Second, 60 * time.Second, 90 * time.Second}, rolled)
	left := p.wait(key, last)
	require.Positive(t, left)
	require.LessOrEqual(t, left, maxPause)
	now = now.Add(left)
	require.Zero(t, p.wait(key, last))
	require.Zero(t, p.wait(key, last), "it is what it is")

	// After a quiet spell edits are quick again.
	now = now.Add(quietSpell + time.Second)
	require.Zero(t, p.wait(key, "a"))
	require.Equal(t, firstPause, p.wait(key, "b"))
	require.Zero(t, p.wait(client.ObjectKey{Name: "other"}, "x"), "others do not wait for it")
	p.forget(key)
	require.Zero(t, p.wait(key, "c"))
}

// TestEditedAllTheTime: edits in between wait, and the reconciler comes back for
// them. What replaces no pods does not wait.
func TestEditedAllTheTime(t *testing.T) {
	l := newLab(t, "  config: |\n    "+indent(config))
	now := time.Unix(1000, 0)
	l.r.pace.now = func() time.Time { return now }
	edit := func(timeout string) ctrl.Result {
		t.Helper()
		l.change(func(o map[string]any) {
			require.NoError(t, unstructured.SetNestedField(o, timeout, "spec", "config", "exporters", "prometheusremotewrite", "timeout"))
		})
		out, err := l.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: l.key})
		require.NoError(t, err)
		return out
	}
	mounted := func() string { return l.deployment().Spec.Template.Spec.Volumes[0].ConfigMap.Name }
	require.NoError(t, l.reconcile())
	first := mounted()
	require.Zero(t, edit("11s").RequeueAfter)
	second := mounted()
	require.NotEqual(t, first, second)
	for i := range 50 {
		require.Positive(t, edit(fmt.Sprintf("%ds", 12+i)).RequeueAfter)
	}
	require.Equal(t, second, mounted())
	require.Len(t, l.configs(), 2, "what is not rolled out leaves nothing behind")
	replicas := func(n int64) {
		l.change(func(o map[string]any) { require.NoError(t, unstructured.SetNestedField(o, n, "spec", "replicas")) })
	}
	require.Zero(t, edit("11s").RequeueAfter, "as the pods are")
	replicas(2)
	require.NoError(t, l.reconcile())
	require.EqualValues(t, 2, *l.deployment().Spec.Replicas)
	require.Positive(t, edit("70s").RequeueAfter)
	replicas(3)
	now = now.Add(maxPause)
	require.NoError(t, l.reconcile())
	require.NotEqual(t, second, mounted())
	require.EqualValues(t, 3, *l.deployment().Spec.Replicas)
}
