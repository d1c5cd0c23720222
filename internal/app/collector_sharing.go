package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mangru/mangru/internal/collector/discover"
	"github.com/mangru/mangru/internal/collector/discover/members"
	"github.com/mangru/mangru/internal/otelconf"
)

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
func newSharing(cfg *otelconf.Config, log *slog.Logger) (*sharing, error) {
	if n := cfg.Shard.Count; n > 0 {
		return &sharing{members: discover.Shard{Index: cfg.Shard.Index, Count: n}, shard: strconv.Itoa(cfg.Shard.Index)}, nil
	}
	s := &sharing{shard: os.Getenv("SHARD")}
	namespace, pod, ok := members.Here(os.Getenv)
	if !cfg.Sharding.Auto || !ok {
		return s, nil
	}
	rc, err := rest.InClusterConfig()
	if err != nil {
		return nil, fmt.Errorf("sharing targets: %w", err)
	}
	client, err := kubernetes.NewForConfig(rc)
	if err != nil {
		return nil, fmt.Errorf("sharing targets: %w", err)
	}
	w, err := members.NewWatch(members.Config{
		Client: client, Namespace: namespace, Pod: pod,
	}, log)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.members, s.stop, s.done = w, stop, make(chan struct{})
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
