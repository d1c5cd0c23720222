package app

import (
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// kubeTransport sends requests with the credentials of a kubeconfig: its
// certificates, tokens or exec plugin. It reads the file when it is first needed
// and again when it has changed, so that the file may come late and be renewed.
type kubeTransport struct {
	file string

	mu       sync.Mutex
	modified time.Time
	next     http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (k *kubeTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	next, err := k.transport()
	if err != nil {
		return nil, err
	}
	return next.RoundTrip(req)
}

func (k *kubeTransport) transport() (http.RoundTripper, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Stat(k.file)
	if err != nil {
		if k.next != nil {
			return k.next, nil // it is being replaced
		}
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	if k.next != nil && info.ModTime().Equal(k.modified) {
		return k.next, nil
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", k.file)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", k.file, err)
	}
	next, err := rest.TransportFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", k.file, err)
	}
	k.next, k.modified = next, info.ModTime()
	return next, nil
}

// CloseIdleConnections closes the connections that nobody uses.
func (k *kubeTransport) CloseIdleConnections() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c, ok := k.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
