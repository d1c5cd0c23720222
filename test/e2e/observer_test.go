//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/mangru/mangru/test/cluster"
)

// observer asks all replicas of a collector again and again what they scrape.
type observer struct {
	client kubernetes.Interface
	http   *http.Client

	mu      sync.Mutex
	scrapes map[string]map[int64][]string // by target, then time: the pods that say they made it
	pods    map[string]string             // all that were seen, by address
	asked   int
}

func newKubeClient(t *testing.T, k *cluster.Cluster) kubernetes.Interface {
	t.Helper()
	rc, err := clientcmd.BuildConfigFromFlags("", k.Kubeconfig())
	require.NoError(t, err)
	client, err := kubernetes.NewForConfig(rc)
	require.NoError(t, err)
	return client
}

// observe starts an observer of the pods with the label app=observability-collector.
func observe(t *testing.T, client kubernetes.Interface) *observer {
	t.Helper()
	o := &observer{
		client: client, http: &http.Client{Timeout: 2 * time.Second},
		scrapes: map[string]map[int64][]string{}, pods: map[string]string{},
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			o.ask(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended; o.http.CloseIdleConnections() })
	return o
}

// ask looks at every pod once. One that does not answer is starting or gone.
func (o *observer) ask(ctx context.Context) {
	list, err := o.client.CoreV1().Pods("prometheus").List(ctx, metav1.ListOptions{LabelSelector: "app=observability-collector"})
	if err != nil {
		return
	}
	var asking sync.WaitGroup
	for i := range list.Items {
		if pod := &list.Items[i]; pod.Status.PodIP != "" {
			asking.Go(func() { o.askPod(ctx, pod) })
		}
	}
	asking.Wait()
}

func (o *observer) askPod(ctx context.Context, pod *corev1.Pod) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pod.Status.PodIP+":8888/targets", http.NoBody)
	if err != nil {
		return
	}
	res, err := o.http.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	var state struct {
		Jobs []struct {
			Targets []struct {
				Labels     map[string]string `json:"labels"`
				LastScrape time.Time         `json:"lastScrape"`
			} `json:"targets"`
		} `json:"jobs"`
	}
	if json.NewDecoder(res.Body).Decode(&state) != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	o.pods[pod.Status.PodIP] = pod.Name
	for _, j := range state.Jobs {
		for _, target := range j.Targets {
			if target.LastScrape.IsZero() {
				continue
			}
			key, at := labelKey(target.Labels), target.LastScrape.UnixMilli()
			if o.scrapes[key] == nil {
				o.scrapes[key] = map[int64][]string{}
			}
			if !slices.Contains(o.scrapes[key][at], pod.Name) {
				o.scrapes[key][at] = append(o.scrapes[key][at], pod.Name)
			}
		}
	}
}

// by returns which replicas say that they scraped a target at a time.
func (o *observer) by(target *storedTarget, ms int64) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.scrapes[labelKey(target.up.labels)][ms]
}

// labelKey writes the labels that a target shows.
func labelKey(ls map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(ls)) {
		if name != "__name__" {
			fmt.Fprintf(&b, "%s=%q,", name, ls[name])
		}
	}
	return b.String()
}
