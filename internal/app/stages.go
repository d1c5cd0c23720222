package app

import (
	"context"
	"errors"
	"fmt"
)

// stage is a part of the program that runs until its context is done.
type stage struct {
	name string
	run  func(context.Context) error
}

// runStages runs all stages until ctx is done or one of them ends, then stops
// them one after the other in the order given: list them as the data flows, so
// that each can still hand on what it holds. A stage bounds its own stop.
func runStages(ctx context.Context, stages []stage) error {
	type running struct {
		stop context.CancelFunc
		done chan struct{}
		err  error
	}
	all := make([]*running, len(stages))
	ended := make(chan struct{}, len(stages))
	for i, s := range stages {
		// Not derived from ctx: a stage stops when it is its turn.
		sctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{stop: stop, done: make(chan struct{})}
		all[i] = r
		go func() {
			defer close(r.done)
			if err := s.run(sctx); err != nil && !errors.Is(err, context.Canceled) {
				r.err = fmt.Errorf("%s: %w", s.name, err)
			}
			ended <- struct{}{}
		}()
	}
	select {
	case <-ctx.Done():
	case <-ended:
	}
	var err error
	for _, r := range all {
		r.stop()
		<-r.done
		err = errors.Join(err, r.err)
	}
	return err
}
