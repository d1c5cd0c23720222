package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/mangru/mangru/internal/collector/discover"
	"github.com/mangru/mangru/internal/collector/discover/members"
	"github.com/mangru/mangru/internal/otelconf"
)

// HandOut makes a collector hand the targets of its jobs out to OpenTelemetry
// Collectors instead of scraping them. Either Collectors or Selector says who those
// are.
type HandOut struct {
	// Listen is the address at which the target allocator's protocol is served.
	Listen string
	// Collectors are the collector_ids that may ask.
	Collectors []string
	// Selector is a label selector of the collectors' pods, whose names are their
	// collector_ids, and Namespace where they are; empty means the own pod's.
	Selector, Namespace string
	// Kubeconfig is how pods are watched; empty means as a pod does.
	Kubeconfig string
}

func (h *HandOut) check() error {
	if (len(h.Collectors) > 0) == (h.Selector != "") {
		return errors.New("--target-allocator-listen needs either --target-allocator-collectors or --target-allocator-selector")
	}
	for i, id := range h.Collectors {
		if id == "" || slices.Contains(h.Collectors[:i], id) {
			return fmt.Errorf("--target-allocator-collectors: found %q, allowed are names that are different from each other", h.Collectors)
		}
	}
	if h.Namespace != "" && h.Selector == "" {
		return errors.New("--target-allocator-namespace needs --target-allocator-selector")
	}
	if _, err := labels.Parse(h.Selector); err != nil {
		return fmt.Errorf("--target-allocator-selector: %w", err)
	}
	if _, _, err := net.SplitHostPort(h.Listen); err != nil {
		return fmt.Errorf("--target-allocator-listen: must be HOST:PORT: %w", err)
	}
	return nil
}

// sharing returns who the targets are divided among.
func (h *HandOut) sharing(log *slog.Logger) (*sharing, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	if len(h.Collectors) > 0 {
		return &sharing{members: discover.Collectors(h.Collectors...)}, nil
	}
	namespace := h.Namespace
	if namespace == "" {
		var ok bool
		if namespace, _, ok = members.Here(os.Getenv); !ok {
			return nil, errors.New("--target-allocator-selector needs --target-allocator-namespace outside Kubernetes")
		}
	}
	rc, err := clientcmd.BuildConfigFromFlags("", h.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("watching collectors: %w", err)
	}
	client, err := kubernetes.NewForConfig(rc)
	if err != nil {
		return nil, fmt.Errorf("watching collectors: %w", err)
	}
	return watchMembers(members.Config{Client: client, Namespace: namespace, Selector: h.Selector}, log)
}

// sharing is how a collector shares targets with others.
type sharing struct {
	members discover.Membership // nil: with nobody
	shard   string              // $(SHARD) of target allocators' jobs
	stop    context.CancelFunc
	done    chan struct{} // nil where nothing runs
}

// end stops following the other replicas.
func (s *sharing) end() {
	if s != nil && s.done != nil {
		s.stop()
		<-s.done
	}
}

// newSharing returns with whom a configuration shares targets. Only in a pod are
// there replicas to be found.
func newSharing(cfg *otelconf.Config, out *HandOut, log *slog.Logger) (*sharing, error) {
	if out != nil {
		return out.sharing(log)
	}
	if n := cfg.Shard.Count; n > 0 {
		return &sharing{members: discover.Shard{Index: cfg.Shard.Index, Count: n}, shard: strconv.Itoa(cfg.Shard.Index)}, nil
	}
	shard := os.Getenv("SHARD")
	namespace, pod, ok := members.Here(os.Getenv)
	if !cfg.Sharding.Auto || !ok {
		return &sharing{shard: shard}, nil
	}
	rc, err := rest.InClusterConfig()
	if err != nil {
		return nil, fmt.Errorf("sharing targets: %w", err)
	}
	client, err := kubernetes.NewForConfig(rc)
	if err != nil {
		return nil, fmt.Errorf("sharing targets: %w", err)
	}
	s, err := watchMembers(members.Config{Client: client, Namespace: namespace, Pod: pod}, log)
	if err != nil {
		return nil, err
	}
	s.shard = shard
	return s, nil
}

// watchMembers follows pods until the sharing ends.
func watchMembers(cfg members.Config, log *slog.Logger) (*sharing, error) {
	w, err := members.NewWatch(cfg, log)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &sharing{members: w, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		w.Run(ctx)
	}()
	return s, nil
}

// sameSharing reports whether a reload leaves it to whom targets are shared.
func sameSharing(a, b *otelconf.Config) bool { return a.Shard == b.Shard && a.Sharding == b.Sharding }

// shared reports whether replicas take over targets from each other, so that all
// must scrape them at the same times.
func shared(cfg *otelconf.Config) bool {
	_, _, inPod := members.Here(os.Getenv)
	return cfg.Shard.Count > 0 || cfg.Sharding.Auto && inPod
}
