package operator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// How long a collector's pods are left alone after they were replaced. An edit
// is rolled out at once; where edits keep coming, each rollout has twice as much
// time as the one before, and a quiet spell makes up for it all.
const (
	firstPause = 2 * time.Second
	maxPause   = 30 * time.Second
	quietSpell = 2 * maxPause
)

// pacer knows when the pods of which collector were replaced last.
type pacer struct {
	now func() time.Time

	mu     sync.Mutex
	rolled map[client.ObjectKey]rollout
}

type rollout struct {
	digest string
	at     time.Time
	pause  time.Duration
}

func newPacer(now func() time.Time) *pacer {
	return &pacer{now: now, rolled: make(map[client.ObjectKey]rollout)}
}

// wait returns how long to wait before a collector's pods become those of the
// template; zero means now, and counts as done.
func (p *pacer) wait(key client.ObjectKey, template string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	last, known := p.rolled[key]
	switch {
	case !known:
		// Of what was before this process nothing is known: the first edit is free.
		p.rolled[key] = rollout{digest: template, pause: firstPause}
		return 0
	case last.digest == template:
		return 0
	}
	if left := last.at.Add(last.pause).Sub(now); left > 0 {
		return left
	}
	pause := min(2*last.pause, maxPause)
	if now.Sub(last.at) > quietSpell {
		pause = firstPause
	}
	p.rolled[key] = rollout{template, now, pause}
	return 0
}

// forget drops a collector that is gone.
func (p *pacer) forget(key client.ObjectKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.rolled, key)
}

// templateDigest changes when pods have to be replaced.
func templateDigest(template any) (string, error) {
	text, err := json.Marshal(template)
	if err != nil {
		return "", fmt.Errorf("write the pods' template: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}
