//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeAPI answers by "METHOD path" and remembers what it was asked.
func fakeAPI(t *testing.T, answers map[string]string) (*kube, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(body)))
		mu.Unlock()
		answer, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"kind":"Status","message":"no such thing"}`
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(srv.Close)
	k := &kube{url: srv.URL, client: srv.Client(), resources: make(map[string][]apiResource)}
	return k, func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(asked) }
}

func TestApplyFindsPathsByDiscovery(t *testing.T) {
	k, asked := fakeAPI(t, map[string]string{
		"GET /api/v1":       `{"resources":[{"name":"pods/status","kind":"Pod","namespaced":true},{"name":"pods","kind":"Pod","namespaced":true},{"name":"nodes","kind":"Node"}]}`,
		"GET /apis/apps/v1": `{"resources":[{"name":"deployments","kind":"Deployment","namespaced":true}]}`,
		"PATCH /api/v1/namespaces/default/pods/a":              `{}`,
		"PATCH /api/v1/nodes/node-x":                           `{}`,
		"PATCH /apis/apps/v1/namespaces/other/deployments/d/e": `{}`,
	})
	err := k.apply(t.Context(), []byte(`{apiVersion: v1, kind: Pod, metadata: {name: a}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-x}}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`GET /api/v1`,
		`PATCH /api/v1/namespaces/default/pods/a {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}`,
		`PATCH /api/v1/nodes/node-x {"apiVersion":"v1","kind":"Node","metadata":{"name":"node-x"}}`,
	}
	if got := asked(); !slices.Equal(got, want) {
		t.Errorf("asked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for manifest, names := range map[string]string{
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: gone}}`: "applying Deployment d: PATCH",
		`{apiVersion: apps/v1, kind: Nonsense, metadata: {name: d}}`:                    `no kind "Nonsense"`,
		`{apiVersion: nowhere/v1, kind: X, metadata: {name: d}}`:                        "no such thing",
		"a: [": "manifest",
	} {
		if err := k.apply(t.Context(), []byte(manifest)); err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("%s: %v, want an error that says %q", manifest, err, names)
		}
	}
}

func TestRolledOut(t *testing.T) {
	for name, test := range map[string]struct {
		object string
		done   bool
	}{
		"complete":              {`{"kind":"Deployment","metadata":{"generation":2},"spec":{"replicas":3},"status":{"observedGeneration":2,"updatedReplicas":3,"availableReplicas":3}}`, true},
		"old replicas":          {`{"kind":"Deployment","metadata":{"generation":2},"spec":{"replicas":3},"status":{"observedGeneration":2,"updatedReplicas":1,"availableReplicas":3}}`, false},
		"not seen yet":          {`{"kind":"Deployment","metadata":{"generation":2},"spec":{"replicas":3},"status":{"observedGeneration":1,"updatedReplicas":3,"availableReplicas":3}}`, false},
		"daemon set":            {`{"kind":"DaemonSet","metadata":{"generation":1},"status":{"observedGeneration":1,"desiredNumberScheduled":2,"numberAvailable":2}}`, true},
		"daemon set, one waits": {`{"kind":"DaemonSet","metadata":{"generation":1},"status":{"observedGeneration":1,"desiredNumberScheduled":2,"numberAvailable":1}}`, false},
		"daemon set, no nodes":  {`{"kind":"DaemonSet","metadata":{"generation":1},"status":{"observedGeneration":1}}`, false},
	} {
		k, _ := fakeAPI(t, map[string]string{"GET /x": test.object})
		if err := k.rolledOut("/x")(t.Context()); (err == nil) != test.done {
			t.Errorf("%s: %v, want done=%v", name, err, test.done)
		}
	}
}

func TestNodesReady(t *testing.T) {
	k, _ := fakeAPI(t, map[string]string{"GET /api/v1/nodes": `{"items":[
		{"metadata":{"name":"a"},"status":{"conditions":[{"type":"Ready","status":"True"}]}},
		{"metadata":{"name":"b"},"status":{"conditions":[{"type":"Ready","status":"False","message":"no network"}]}}]}`})
	if err := k.nodesReady("", 1)(t.Context()); err != nil {
		t.Error(err)
	}
	if err := k.nodesReady("", 2)(t.Context()); err == nil || !strings.Contains(err.Error(), "1 of 2 nodes are ready (b: no network)") {
		t.Errorf("%v, want the reason", err)
	}
}

func TestUntil(t *testing.T) {
	last := errors.New("still loading")
	err := until(t.Context(), "it", time.Nanosecond, func(context.Context) error { return last })
	if !errors.Is(err, last) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "gave up waiting for it") {
		t.Errorf("%v, want the last error and the deadline", err)
	}
	calls := 0
	err = until(t.Context(), "it", time.Hour, func(context.Context) error { calls++; return &finalError{last} })
	if calls != 1 || err == nil || !strings.Contains(err.Error(), "still loading") {
		t.Errorf("%d calls, %v; want to give up at once", calls, err)
	}
}
