//go:build unix

package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sync/errgroup"
)

const (
	simulatedNamespace = "simulated"
	simulatedSelector  = "type=kwok"
	kwokPort           = "10247"
	// A Deployment with thousands of pods is slow to settle.
	podsPerDeployment = 100
)

// simulate puts nodes into the cluster that exist for the API server only.
// kwok plays their kubelets.
func (u *upper) simulate(ctx context.Context) error {
	want := u.opts.FakeNodes
	if err := u.startKwok(ctx); err != nil {
		return err
	}
	creating, limited := errgroup.WithContext(ctx)
	creating.SetLimit(8)
	for i := range want {
		creating.Go(func() error {
			text, err := json.Marshal(simulatedNode(i + 1))
			if err != nil {
				return err
			}
			_, err = u.kube.do(limited, http.MethodPost, "/api/v1/nodes", "application/json", text)
			return err
		})
	}
	if err := creating.Wait(); err != nil {
		return fmt.Errorf("creating simulated nodes: %w", err)
	}
	if err := u.wait(ctx, "simulated nodes", want, u.kube.nodesReady(simulatedSelector, want)); err != nil {
		return err
	}
	pods := want * u.opts.FakePodsPerNode
	if err := u.kube.apply(ctx, simulatedPods(pods)); err != nil {
		return err
	}
	return u.wait(ctx, "simulated pods", pods, u.simulatedPodsRunning(pods))
}

func (u *upper) startKwok(ctx context.Context) error {
	config := filepath.Join(u.opts.Dir, "kwok.kubeconfig")
	if err := u.pki.kubeconfig(config, "kwok", u.plan.apiURL()); err != nil {
		return err
	}
	stages, err := command(ctx, nil, u.program("kwok", "stages"))
	if err != nil {
		return err
	}
	// With options that kwok has no flags for.
	stages = append(stages, `apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options: {podPlayStageParallelism: 32, nodePlayStageParallelism: 16, nodeLeaseParallelism: 4}
`...)
	options := filepath.Join(u.opts.Dir, "kwok.yaml")
	if err := os.WriteFile(options, stages, 0o600); err != nil {
		return err
	}
	address := u.plan.control().String()
	return u.spawnControl("kwok", u.program("kwok", "kwok"),
		"--kubeconfig="+config, "--config="+options,
		"--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
		"--cidr="+u.plan.fakePods().String(), "--node-ip="+address, "--node-port="+kwokPort,
		"--server-address="+address+":"+kwokPort, "--node-lease-duration-seconds=40",
		"--tls-cert-file="+filepath.Join(u.pki.dir, "kwok.crt"), "--tls-private-key-file="+filepath.Join(u.pki.dir, "kwok.key"))
}

func simulatedNode(index int) map[string]any {
	name := "fake-" + strconv.Itoa(index)
	labels := nodeLabels(index)
	labels["type"] = "kwok"
	labels["kubernetes.io/hostname"] = name
	labels["kubernetes.io/os"] = "linux"
	labels["kubernetes.io/arch"] = runtime.GOARCH
	size := map[string]string{"cpu": "32", "memory": "256Gi", "pods": "250"}
	return map[string]any{
		"apiVersion": "v1",
		"kind":       "Node",
		"metadata": map[string]any{
			"name": name, "labels": labels,
			"annotations": map[string]string{"kwok.x-k8s.io/node": "fake"},
		},
		"spec": map[string]any{
			"taints": []map[string]string{{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}},
		},
		"status": map[string]any{"allocatable": size, "capacity": size},
	}
}

// simulatedPods is a manifest of Deployments that hold count pods in all.
func simulatedPods(count int) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n", simulatedNamespace)
	for i := 1; count > 0; i++ {
		size := min(count, podsPerDeployment)
		count -= size
		fmt.Fprintf(&out, `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: load-%[1]d, namespace: %[2]s, labels: {app: load-%[1]d}}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: load-%[1]d}}
  template:
    metadata: {labels: {app: load-%[1]d}}
    spec:
      nodeSelector: {type: kwok}
      tolerations: [{key: kwok.x-k8s.io/node, operator: Exists}]
      containers:
      - name: load
        image: load:1
        resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {memory: 256Mi}}
`, i, simulatedNamespace, size)
	}
	return out.Bytes()
}

// simulatedPodsRunning looks at Deployments, of which there are few.
func (u *upper) simulatedPodsRunning(want int) func(context.Context) error {
	return func(ctx context.Context) error {
		list, err := u.kube.list(ctx, "/apis/apps/v1/namespaces/"+url.PathEscape(simulatedNamespace)+"/deployments")
		if err != nil {
			return err
		}
		have := 0
		for _, d := range list {
			have += d.Status.AvailableReplicas
		}
		if have < want {
			return fmt.Errorf("%d of %d simulated pods run", have, want)
		}
		return nil
	}
}
