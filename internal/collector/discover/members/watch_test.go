package members

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func TestMain(m *testing.M) {
	// The handler that slows errors down compares made-up times with real ones.
	utilruntime.ErrorHandlers = nil
	// klog's flusher runs for as long as the process does.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"))
}

// bubble runs f where time is made up and starts at a full second.
func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

// podOf returns a pod of a generation of a Deployment, ready since now if asked.
func podOf(deployment, hash, name string, ready bool) *corev1.Pod {
	now, yes := metav1.NewTime(time.Now()), true
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "prometheus", Name: name, UID: types.UID("uid-" + name), CreationTimestamp: now,
		Labels:          map[string]string{"pod-template-hash": hash, "app.kubernetes.io/instance": "prometheus.observability"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: deployment + "-" + hash, Controller: &yes}},
	}}
	setReady(p, ready)
	return p
}

func setReady(p *corev1.Pod, ready bool) {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.NewTime(time.Now())}}
}

// start lets a Watch run until the test is over, and waits for it to settle.
func start(t *testing.T, cfg Config) *Watch {
	t.Helper()
	cfg.Namespace = "prometheus"
	w, err := NewWatch(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return w
}

func (w *Watch) now() []string { return w.Ring().Members(time.Now()) }

func update(t *testing.T, c *fake.Clientset, p *corev1.Pod) {
	t.Helper()
	_, err := c.CoreV1().Pods(p.Namespace).Update(t.Context(), p, metav1.UpdateOptions{})
	require.NoError(t, err)
	synctest.Wait()
}

func add(t *testing.T, c *fake.Clientset, p *corev1.Pod) {
	t.Helper()
	_, err := c.CoreV1().Pods(p.Namespace).Create(t.Context(), p, metav1.CreateOptions{})
	require.NoError(t, err)
	synctest.Wait()
}

// leave is what the API server makes of a deletion.
func leave(t *testing.T, c *fake.Clientset, p *corev1.Pod) {
	t.Helper()
	at, grace := metav1.NewTime(time.Now().Add(30*time.Second)), int64(30)
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &at, &grace
	update(t, c, p)
}

func TestWatchFollowsItsDeployment(t *testing.T) {
	bubble(t, func(t *testing.T) {
		self := podOf("collector", "aaa", "collector-aaa-1", false)
		c := fake.NewClientset(self, podOf("other", "aaa", "other-aaa-1", true), podOf("collector-2", "aaa", "collector-2-aaa-1", true))
		w := start(t, Config{Client: c, Pod: self.Name})
		require.Equal(t, []string{self.Name}, w.now(), "the only one does not wait for anything")
		require.Equal(t, "ReplicaSet/collector", w.State().Group)

		setReady(self, true)
		update(t, c, self)
		require.Equal(t, []string{self.Name}, w.now())

		// A pod of the next generation joins, at a time of its own.
		changed := w.Changed()
		next := podOf("collector", "bbb", "collector-bbb-1", false)
		add(t, c, next)
		time.Sleep(3 * time.Second)
		setReady(next, true)
		ready := time.Now()
		update(t, c, next)
		<-changed
		require.Equal(t, []string{self.Name}, w.now())
		require.Equal(t, ready.Add(DefaultSettle), w.Ring().Next(ready.Add(2*time.Second)))
		time.Sleep(DefaultSettle)
		require.Equal(t, []string{self.Name, next.Name}, w.now())

		// This one is asked to leave, and owns its share until that has got around.
		leave(t, c, self)
		asked := time.Now()
		require.Equal(t, []string{self.Name, next.Name}, w.now())
		require.NoError(t, w.HandedOver(t.Context()))
		require.Equal(t, asked.Add(DefaultSettle), time.Now())
		require.Equal(t, []string{next.Name}, w.now())
		st := w.State()
		require.Equal(t, self.Name, st.Members[0].Name)
		require.True(t, st.Members[0].Leaving)
		require.False(t, st.Members[0].Serving)
		require.True(t, st.Members[1].Serving)

		for _, a := range c.Actions() {
			if slices.Contains([]string{"create", "update"}, a.GetVerb()) {
				continue // the test's
			}
			require.Equal(t, "pods", a.GetResource().Resource)
			require.Contains(t, []string{"get", "list", "watch"}, a.GetVerb(), "the rights of the workshop's ClusterRole")
		}
	})
}

func TestWatchSeesPodsGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		self, other := podOf("c", "a", "c-1", true), podOf("c", "a", "c-2", true)
		c := fake.NewClientset(self, other)
		w := start(t, Config{Client: c, Pod: self.Name})
		time.Sleep(DefaultSettle)
		require.Equal(t, []string{"c-1", "c-2"}, w.now())

		setReady(other, false) // it has crashed
		update(t, c, other)
		require.Equal(t, []string{"c-1", "c-2"}, w.now())
		time.Sleep(DefaultSettle)
		require.Equal(t, []string{"c-1"}, w.now())
		setReady(other, true)
		update(t, c, other)
		time.Sleep(DefaultSettle)
		require.Equal(t, []string{"c-1", "c-2"}, w.now())

		require.NoError(t, c.CoreV1().Pods("prometheus").Delete(t.Context(), "c-2", metav1.DeleteOptions{})) // by force
		synctest.Wait()
		require.Equal(t, []string{"c-1", "c-2"}, w.now())
		time.Sleep(DefaultSettle)
		require.Equal(t, []string{"c-1"}, w.now())
		require.Len(t, w.State().Members, 1)
	})
}

func TestWatchLastOneLeaves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		self := podOf("c", "a", "c-1", true)
		c := fake.NewClientset(self)
		w := start(t, Config{Client: c, Pod: self.Name})
		time.Sleep(time.Minute)
		require.ErrorIs(t, w.HandedOver(t.Context()), ErrNotLeaving)

		leave(t, c, self)
		asked := time.Now()
		time.Sleep(time.Second)
		add(t, c, podOf("c", "a", "c-2", false)) // what is to replace it takes its time
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.ErrorIs(t, w.HandedOver(ctx), context.DeadlineExceeded)
		require.Equal(t, []string{"c-1"}, w.now(), "it goes on until its successor is there")
		require.NoError(t, w.HandedOver(t.Context()))
		require.Equal(t, asked.Add(15*time.Second), time.Now(), "or until half its time is over")
		require.Equal(t, []string{"c-2"}, w.now())
	})
	bubble(t, func(t *testing.T) {
		self := podOf("c", "a", "c-1", true)
		c := fake.NewClientset(self)
		w := start(t, Config{Client: c, Pod: self.Name})
		time.Sleep(time.Minute)
		leave(t, c, self)
		asked := time.Now()
		require.NoError(t, w.HandedOver(t.Context()))
		require.Equal(t, asked.Add(DefaultSettle), time.Now(), "nobody comes after it")
	})
}

func TestWatchWithoutAnswers(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for name, tc := range map[string]struct {
		err  error
		wait time.Duration // until it takes itself for the only one
	}{
		"forbidden": {apierrors.NewForbidden(pods, "c-1", errors.New("no rights")), 0},
		"not found": {apierrors.NewNotFound(pods, "c-1"), 0},
		"away":      {errors.New("connection refused"), patience},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				self, other := podOf("c", "a", "c-1", true), podOf("c", "a", "c-2", true)
				c := fake.NewClientset(self, other)
				var fails atomic.Bool
				fails.Store(true)
				c.PrependReactor("*", "pods", func(clienttesting.Action) (bool, runtime.Object, error) { return fails.Load(), nil, tc.err })
				w := start(t, Config{Client: c, Pod: self.Name})
				if tc.wait > 0 {
					time.Sleep(tc.wait - time.Second)
					require.Empty(t, w.now())
					time.Sleep(time.Second)
					synctest.Wait()
				}
				require.Equal(t, []string{"c-1"}, w.now())
				require.NotEmpty(t, w.State().Problem)
				require.NoError(t, w.HandedOver(t.Context()))

				fails.Store(false)
				changed := w.Changed()
				time.Sleep(time.Minute)
				<-changed
				require.Equal(t, []string{"c-1", "c-2"}, w.now())
				require.Empty(t, w.State().Problem)
			})
		})
	}
}

func TestWatchKeepsMembersWhileTheServerIsAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		self, other := podOf("c", "a", "c-1", true), podOf("c", "a", "c-2", true)
		c := fake.NewClientset(self, other)
		var away atomic.Bool
		watches := make(chan interface{ Stop() }, 10)
		c.PrependReactor("*", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			return away.Load(), nil, errors.New("connection refused")
		})
		c.PrependWatchReactor("pods", func(a clienttesting.Action) (bool, watch.Interface, error) {
			if away.Load() {
				return true, nil, errors.New("connection refused")
			}
			events, err := c.Tracker().Watch(a.GetResource(), a.GetNamespace())
			watches <- events
			return true, events, err
		})
		w := start(t, Config{Client: c, Pod: self.Name})
		time.Sleep(DefaultSettle)
		require.Equal(t, []string{"c-1", "c-2"}, w.now())
		away.Store(true)
		(<-watches).Stop()
		time.Sleep(10 * time.Minute)
		require.Equal(t, []string{"c-1", "c-2"}, w.now())
		require.Contains(t, w.State().Problem, "connection refused")

		require.NoError(t, c.Tracker().Delete(schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "prometheus", "c-2"))
		away.Store(false)
		time.Sleep(2 * time.Minute)
		require.Equal(t, []string{"c-1"}, w.now(), "the list says that it is gone")
		require.Empty(t, w.State().Problem)
	})
}

func TestWatchBySelector(t *testing.T) {
	bubble(t, func(t *testing.T) {
		mine, other := podOf("adot", "a", "adot-1", true), podOf("other", "a", "other-1", true)
		mine.Labels["app.kubernetes.io/component"] = "opentelemetry-collector"
		c := fake.NewClientset(mine, other)
		w := start(t, Config{Client: c, Selector: "app.kubernetes.io/component=opentelemetry-collector"})
		require.Empty(t, w.Self())
		require.Equal(t, []string{"adot-1"}, w.now())
	})
}

func TestFamilies(t *testing.T) {
	yes := true
	pod := func(kind, owner string, labels map[string]string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Labels: labels, OwnerReferences: []metav1.OwnerReference{{Kind: "Node", Name: "n"}, {Kind: kind, Name: owner, Controller: &yes}},
		}}
	}
	for _, tc := range []struct {
		pod  *corev1.Pod
		want string
	}{
		{pod("ReplicaSet", "c-7f9", map[string]string{"pod-template-hash": "7f9"}), "ReplicaSet/c"},
		{pod("ReplicaSet", "c-7f9", map[string]string{"rollouts-pod-template-hash": "7f9"}), "ReplicaSet/c"},
		{pod("ReplicaSet", "c-7f9", nil), "ReplicaSet/c-7f9"},
		{pod("StatefulSet", "c", map[string]string{"controller-revision-hash": "c-1"}), "StatefulSet/c"},
		{pod("DaemonSet", "c", nil), "DaemonSet/c"},
		{&corev1.Pod{}, ""},
	} {
		require.Equal(t, tc.want, familyOf(tc.pod))
	}
}

func TestNewWatchRefuses(t *testing.T) {
	for i, cfg := range []Config{{Pod: "p"}, {Namespace: "n"}, {Namespace: "n", Pod: "p", Selector: "a=b"}, {Namespace: "n", Selector: "a in"}} {
		_, err := NewWatch(cfg, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, "sharing targets", fmt.Sprint(i))
	}
}
