package members

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// patience is how long a replica that has never heard of the others waits for
// the API server before it takes itself for the only one.
const patience = 30 * time.Second

// Config says whose pods share the targets.
type Config struct {
	// Client needs the rights to get, list and watch pods in Namespace, no more.
	Client    kubernetes.Interface
	Namespace string
	// Pod is the name of the pod that this runs in. The pods of the same
	// controller share the targets.
	Pod string
	// Selector, where Pod is empty, is a label selector: the pods that match
	// share the targets, and none of them is this one.
	Selector string
	// Settle is how long after it happened a change takes effect, the same for
	// every replica; 0 means DefaultSettle.
	Settle time.Duration
}

// Watch follows the pods that share the targets. Make it with NewWatch and let
// it Run.
type Watch struct {
	cfg  Config
	log  *slog.Logger
	self string

	mu      sync.Mutex
	table   *table
	uid     string // of the own pod
	group   string // what the members have in common, for people
	belongs func(*corev1.Pod) bool
	ring    *Ring
	changed chan struct{} // closed at the next change
	synced  bool
	alone   bool // by want of an answer
	problem string
}

// NewWatch returns a Watch that owns nothing until it runs and has heard of the
// members.
func NewWatch(cfg Config, log *slog.Logger) (*Watch, error) {
	cfg.Settle = cmp.Or(cfg.Settle, DefaultSettle)
	switch {
	case cfg.Namespace == "":
		return nil, errors.New("sharing targets: the namespace of the pods is not known")
	case (cfg.Pod == "") == (cfg.Selector == ""):
		return nil, errors.New("sharing targets: either the own pod's name or a selector is needed")
	}
	if _, err := labels.Parse(cfg.Selector); err != nil {
		return nil, fmt.Errorf("sharing targets: selector %q: %w", cfg.Selector, err)
	}
	return &Watch{
		cfg: cfg, log: log, self: cfg.Pod, table: newTable(cfg.Settle), changed: make(chan struct{}),
		group: cfg.Selector, belongs: func(*corev1.Pod) bool { return true },
	}, nil
}

// Self is the name under which this process owns keys; empty if it does not.
func (w *Watch) Self() string { return w.self }

// Ring returns who owns what from now on as far as is known now; nil while that
// is nothing.
func (w *Watch) Ring() *Ring {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.synced {
		return w.ring
	}
	return w.table.ring(time.Now())
}

// Changed returns a channel that is closed when what Ring returns is no longer
// what it returned before. Time passing does not count.
func (w *Watch) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// State is what people see of the members.
type State struct {
	Self string `json:"self"`
	// Group says what the members have in common.
	Group   string        `json:"group"`
	Members []MemberState `json:"members"`
	// Problem says why the members may not be up to date.
	Problem string `json:"problem,omitempty"`
}

// MemberState is a member and the times in which it serves.
type MemberState struct {
	Name string `json:"name"`
	// Serving is whether it has a share of the targets now.
	Serving bool `json:"serving"`
	// Next is when that changes, if it is known to.
	Next *time.Time `json:"next,omitempty"`
	// Leaving is whether it was asked to end.
	Leaving bool `json:"leaving,omitempty"`
}

// State returns the members by name.
func (w *Watch) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	st := State{Self: w.self, Group: w.group, Members: []MemberState{}, Problem: w.problem}
	if !w.synced {
		for _, n := range w.ring.Members(now) {
			st.Members = append(st.Members, MemberState{Name: n, Serving: true})
		}
		return st
	}
	w.table.prune(now)
	serving := w.table.ring(now).Members(now)
	for _, e := range w.table.pods {
		m := MemberState{Name: e.name, Serving: slices.Contains(serving, e.name), Leaving: !e.leaving.IsZero()}
		for _, s := range e.stays {
			for _, at := range []time.Time{s.From, s.Until} {
				if at.After(now) && (m.Next == nil || at.Before(*m.Next)) {
					m.Next = &at
				}
			}
		}
		st.Members = append(st.Members, m)
	}
	slices.SortFunc(st.Members, func(a, b MemberState) int { return strings.Compare(a.Name, b.Name) })
	return st
}

// Run follows the pods until ctx is done. While the API server does not answer
// the members stay as they are.
func (w *Watch) Run(ctx context.Context) {
	giveUp := time.AfterFunc(patience, func() { w.takeAlone("the API server has not said who they are") })
	defer giveUp.Stop()
	selector := w.cfg.Selector
	if w.self != "" {
		pod, ok := w.findSelf(ctx)
		if !ok {
			return
		}
		selector = w.follow(pod)
	}
	log := logr.FromSlogHandler(w.log.Handler())
	r := cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(w.listWatch(selector), w.cfg.Client),
		&corev1.Pod{}, store{w}, cache.ReflectorOptions{Name: "members", Logger: &log})
	r.RunWithContext(ctx)
}

// listWatch lists and watches the pods that match, and notes how that goes.
func (w *Watch) listWatch(selector string) *cache.ListWatch {
	pods := w.cfg.Client.CoreV1().Pods(w.cfg.Namespace)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = selector
			list, err := pods.List(ctx, o)
			w.answered(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = selector
			events, err := pods.Watch(ctx, o)
			w.answered(ctx, err)
			return events, err
		},
	}
}

// answered notes whether the API server did what it was asked for.
func (w *Watch) answered(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil && !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		text = err.Error()
	}
	w.mu.Lock()
	if w.alone && !w.synced && text == "" {
		text = w.problem // until the list is there
	}
	old := w.problem
	w.problem = text
	w.mu.Unlock()
	switch {
	case text != "" && old == "":
		w.log.Warn("the pods that share the targets cannot be watched; their shares stay as they are", "err", text)
	case text == "" && old != "":
		w.log.Info("the pods that share the targets are watched again")
	}
	if apierrors.IsForbidden(err) {
		w.takeAlone(text)
	}
}

// findSelf gets the own pod. Where the API server says that there is none, or
// that it may not be read, this replica takes itself for the only one, and
// keeps asking.
func (w *Watch) findSelf(ctx context.Context) (pod *corev1.Pod, ok bool) {
	const most = 10 * time.Second
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, most) {
		pod, err := w.cfg.Client.CoreV1().Pods(w.cfg.Namespace).Get(ctx, w.self, metav1.GetOptions{})
		if ctx.Err() != nil {
			return nil, false
		}
		w.answered(ctx, err)
		switch {
		case err == nil:
			return pod, true
		case apierrors.IsNotFound(err):
			w.takeAlone(err.Error())
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, false
		case <-t.C:
		}
	}
}

// takeAlone makes this replica own everything for want of an answer. Scraping
// what others may scrape too is seen; scraping nothing would not be.
func (w *Watch) takeAlone(why string) {
	if w.self == "" {
		return // a process that hands out shares rather waits
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.synced || w.alone {
		return
	}
	w.alone, w.ring, w.problem = true, Fixed(w.self), why
	w.notify()
	w.log.Error("who shares the targets is not known, so this replica scrapes all of them; others may too", "err", why)
}

// Labels that a controller puts on the pods of one of its generations only.
var generationLabels = []string{"pod-template-hash", "rollouts-pod-template-hash"}

// instanceLabel is what tools put on everything that belongs to one
// installation, and on its selectors, which cannot change.
const instanceLabel = "app.kubernetes.io/instance"

// follow makes the pods that share a controller with the given one the members,
// and returns a selector that they all match.
func (w *Watch) follow(pod *corev1.Pod) (selector string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.uid = string(pod.UID)
	family := familyOf(pod)
	if family == "" {
		// A pod that nobody controls has no replicas.
		w.group = "Pod/" + pod.Name
		w.belongs = func(p *corev1.Pod) bool { return p.UID == pod.UID }
	} else {
		w.group = family
		w.belongs = func(p *corev1.Pod) bool { return familyOf(p) == family }
	}
	if instance := pod.Labels[instanceLabel]; instance != "" {
		return instanceLabel + "=" + instance
	}
	return ""
}

// familyOf names what controls a pod, the same for all generations of a
// Deployment; empty if nothing does.
func familyOf(pod *corev1.Pod) string {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return ""
	}
	name := owner.Name
	for _, l := range generationLabels {
		if hash := pod.Labels[l]; hash != "" {
			name = strings.TrimSuffix(name, "-"+hash)
		}
	}
	return owner.Kind + "/" + name
}

// stateOf picks out of a pod what membership depends on.
func stateOf(pod *corev1.Pod) podState {
	p := podState{
		uid: string(pod.UID), name: pod.Name, created: pod.CreationTimestamp.Time, since: pod.CreationTimestamp.Time,
		ended: pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed,
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			p.ready = c.Status == corev1.ConditionTrue
			if !c.LastTransitionTime.IsZero() {
				p.since = c.LastTransitionTime.Time
			}
		}
	}
	if pod.DeletionTimestamp != nil {
		if s := pod.DeletionGracePeriodSeconds; s != nil {
			p.grace = time.Duration(*s) * time.Second
		}
		p.leaving = pod.DeletionTimestamp.Add(-p.grace)
	}
	return p
}

// notify tells who waits that the ring has changed. The caller holds mu.
func (w *Watch) notify() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// update changes the table and tells who waits, if that changes who owns what.
func (w *Watch) update(change func(now time.Time)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.table.prune(now)
	before := w.table.ring(now)
	change(now)
	if !w.synced || !before.equal(w.table.ring(now)) {
		w.synced = true
		w.notify()
	}
}

// store takes what the reflector hears.
type store struct{ w *Watch }

func (s store) put(obj any) error {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return fmt.Errorf("watching pods: got a %T", obj)
	}
	if s.w.belongs(pod) {
		s.w.update(func(time.Time) { s.w.table.put(stateOf(pod)) })
	}
	return nil
}

// Add implements cache.ReflectorStore.
func (s store) Add(obj any) error { return s.put(obj) }

// Update implements cache.ReflectorStore.
func (s store) Update(obj any) error { return s.put(obj) }

// Delete implements cache.ReflectorStore.
func (s store) Delete(obj any) error {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return fmt.Errorf("watching pods: got a %T", obj)
	}
	s.w.update(func(now time.Time) {
		if s.w.table.pods[string(pod.UID)] != nil {
			s.w.table.put(stateOf(pod)) // its last state can say that it was leaving
			s.w.table.remove(string(pod.UID), now)
		}
	})
	return nil
}

// Replace implements cache.ReflectorStore.
func (s store) Replace(list []any, _ string) error {
	s.w.update(func(now time.Time) {
		uids := make(map[string]bool, len(list))
		for _, obj := range list {
			if pod, ok := obj.(*corev1.Pod); ok && s.w.belongs(pod) {
				uids[string(pod.UID)] = true
				s.w.table.put(stateOf(pod))
			}
		}
		s.w.table.keep(uids, now)
	})
	return nil
}

// Resync implements cache.ReflectorStore.
func (store) Resync() error { return nil }

// ErrNotLeaving says that nothing asks this replica to leave, so that no other
// one takes over its targets before it is seen to be gone.
var ErrNotLeaving = errors.New("the API server does not say that this pod is to end, so no other replica knows")

// HandedOver waits until this replica, being asked to end, owns nothing any
// more: every target is scraped by another one from a time on that has passed.
// It returns nil at once if there is nobody to leave them to. The error is that
// of ctx, or ErrNotLeaving if the pod is not being deleted.
func (w *Watch) HandedOver(ctx context.Context) error {
	// The kubelet stops a container as soon as it hears that its pod is to go;
	// this watch hears it at about the same time.
	notice := time.Now().Add(w.cfg.Settle)
	for {
		w.mu.Lock()
		changed := w.changed
		if !w.synced || w.uid == "" {
			w.mu.Unlock()
			return nil // it never shared anything
		}
		now := time.Now()
		done, again := w.table.handedOver(w.uid, now)
		e := w.table.pods[w.uid]
		w.mu.Unlock()
		switch {
		case done:
			return nil
		case e.leaving.IsZero() && !now.Before(notice):
			return ErrNotLeaving
		case e.leaving.IsZero():
			again = notice
		}
		var wake <-chan time.Time
		if !again.IsZero() {
			wake = time.After(time.Until(again))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-changed:
		}
	}
}
