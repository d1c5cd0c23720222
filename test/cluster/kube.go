//go:build unix

package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/yaml"
)

// kube speaks to the API server as the administrator: as much of a client as
// starting a cluster takes.
type kube struct {
	url    string
	client *http.Client

	mu        sync.Mutex
	resources map[string][]apiResource // by group version
}

type apiResource struct {
	Name, Kind string
	Namespaced bool
}

// object is the part of every Kubernetes object that is looked at here.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name       string            `json:"name"`
		Namespace  string            `json:"namespace"`
		Labels     map[string]string `json:"labels"`
		Generation int64             `json:"generation"`
	} `json:"metadata"`
	Spec struct {
		Replicas *int `json:"replicas"`
	} `json:"spec"`
	Status struct {
		Phase              string      `json:"phase"`
		Conditions         []condition `json:"conditions"`
		ObservedGeneration int64       `json:"observedGeneration"`
		UpdatedReplicas    int         `json:"updatedReplicas"`
		AvailableReplicas  int         `json:"availableReplicas"`
		Desired            int         `json:"desiredNumberScheduled"`
		Available          int         `json:"numberAvailable"`
	} `json:"status"`
}

type condition struct{ Type, Status, Reason, Message string }

func (o object) condition(kind string) condition {
	for _, c := range o.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return condition{Type: kind, Status: "Unknown"}
}

func newKube(server, pkiDir string) (*kube, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(pkiDir, "admin.crt"), filepath.Join(pkiDir, "admin.key"))
	if err != nil {
		return nil, fmt.Errorf("loading the administrator's certificate: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(pkiDir, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	// No proxy: the address is on this machine.
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: 5 * time.Second,
	}
	return &kube{url: server, client: &http.Client{Transport: transport, Timeout: time.Minute}, resources: make(map[string][]apiResource)}, nil
}

// close drops idle connections, and with them their goroutines.
func (k *kube) close() { k.client.CloseIdleConnections() }

// statusError is an answer other than 2xx.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

func (k *kube) do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, k.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if res.StatusCode/100 != 2 {
		return text, &statusError{res.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, path, res.Status, statusMessage(text))}
	}
	return text, nil
}

// statusMessage takes the sentence out of a Kubernetes Status.
func statusMessage(text []byte) string {
	var s struct{ Message string }
	if json.Unmarshal(text, &s) == nil && s.Message != "" {
		return s.Message
	}
	return string(text[:min(len(text), 300)])
}

func (k *kube) get(ctx context.Context, path string, into any) error {
	text, err := k.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func (k *kube) list(ctx context.Context, path string) ([]object, error) {
	var list struct{ Items []object }
	err := k.get(ctx, path, &list)
	return list.Items, err
}

// apply sends every document of a manifest by server-side apply.
func (k *kube) apply(ctx context.Context, manifest []byte) error {
	for _, doc := range splitDocuments(manifest) {
		text, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
		var o object
		if err := json.Unmarshal(text, &o); err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
		path, err := k.path(ctx, o)
		if err != nil {
			return err
		}
		if _, err := k.do(ctx, http.MethodPatch, path+"?fieldManager=mangru-cluster&force=true", "application/apply-patch+yaml", text); err != nil {
			return fmt.Errorf("applying %s %s: %w", o.Kind, o.Metadata.Name, err)
		}
	}
	return nil
}

// splitDocuments cuts a manifest at its "---" lines and drops empty parts.
func splitDocuments(manifest []byte) [][]byte {
	var docs [][]byte
	for _, doc := range bytes.Split(append([]byte("\n"), manifest...), []byte("\n---")) {
		if len(bytes.TrimSpace(doc)) > 0 {
			docs = append(docs, doc)
		}
	}
	return docs
}

// path is where an object lives, by the API server's own discovery.
func (k *kube) path(ctx context.Context, o object) (string, error) {
	base := "/apis/" + o.APIVersion
	if !strings.Contains(o.APIVersion, "/") {
		base = "/api/" + o.APIVersion
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	known, ok := k.resources[base]
	if !ok {
		var list struct{ Resources []apiResource }
		if err := k.get(ctx, base, &list); err != nil {
			return "", fmt.Errorf("looking up kind %s: %w", o.Kind, err)
		}
		known = list.Resources
		k.resources[base] = known
	}
	for _, r := range known {
		if r.Kind != o.Kind || strings.Contains(r.Name, "/") {
			continue
		}
		if r.Namespaced {
			base += "/namespaces/" + url.PathEscape(either(o.Metadata.Namespace, "default"))
		}
		return base + "/" + r.Name + "/" + url.PathEscape(o.Metadata.Name), nil
	}
	return "", fmt.Errorf("%s has no kind %q", o.APIVersion, o.Kind)
}

// until calls check until it returns nil. The error at the end of patience is
// the last that check gave.
func until(ctx context.Context, what string, patience time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if final := (*finalError)(nil); errors.As(err, &final) {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if late := sleep(ctx, 100*time.Millisecond); late != nil {
			return fmt.Errorf("gave up waiting for %s (%w): %w", what, late, err)
		}
	}
}

// finalError ends waiting: it will not get better.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

func (k *kube) ready(ctx context.Context) error {
	_, err := k.do(ctx, http.MethodGet, "/readyz", "", nil)
	return err
}

// nodesReady wants count nodes with a label selector to be Ready.
func (k *kube) nodesReady(selector string, count int) func(context.Context) error {
	return func(ctx context.Context) error {
		nodes, err := k.list(ctx, "/api/v1/nodes?labelSelector="+url.QueryEscape(selector))
		if err != nil {
			return err
		}
		ready, why := 0, "not registered"
		for _, n := range nodes {
			if c := n.condition("Ready"); c.Status == "True" {
				ready++
			} else {
				why = n.Metadata.Name + ": " + either(c.Message, c.Status)
			}
		}
		if ready < count {
			return fmt.Errorf("%d of %d nodes are ready (%s)", ready, count, why)
		}
		return nil
	}
}

// rolledOut wants a Deployment or DaemonSet to be as its spec says.
func (k *kube) rolledOut(path string) func(context.Context) error {
	return func(ctx context.Context) error {
		var o object
		if err := k.get(ctx, path, &o); err != nil {
			return err
		}
		have, want := o.Status.AvailableReplicas, 1
		if o.Kind == "DaemonSet" {
			have, want = o.Status.Available, max(1, o.Status.Desired)
		} else if o.Spec.Replicas != nil {
			want = *o.Spec.Replicas
			have = min(have, o.Status.UpdatedReplicas)
		}
		if o.Status.ObservedGeneration < o.Metadata.Generation || have < want {
			return fmt.Errorf("%s: %d of %d pods are available", o.Metadata.Name, have, want)
		}
		return nil
	}
}
