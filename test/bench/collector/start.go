//go:build linux

package main

import (
	"context"
	"time"

	"github.com/mangru/mangru/test/bench/collector/sink"
	"github.com/mangru/mangru/test/bench/process"
)

// Start is how soon after its start a collector delivers.
type Start struct {
	Targets int `json:"targets"`
	// FirstSample is the time to the first sample at the sink, AllTargets until
	// every target was delivered once, in seconds. Targets are spread over the
	// interval, so the latter is at least about that.
	FirstSample float64 `json:"firstSampleSeconds"`
	AllTargets  float64 `json:"allTargetsSeconds"`
	// CPU is what the collector used until then.
	CPU float64 `json:"cpuSeconds"`
}

// startLimit is how long a start may take.
const startLimit = 3 * time.Minute

func (s *session) measureStart(ctx context.Context) (*Start, error) {
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	r := &Start{Targets: len(s.targets)}
	_, err := s.watch(ctx, startLimit, func() (bool, error) {
		var st sink.Stats
		if err := s.sink.get(ctx, "/stats", &st); err != nil {
			return false, err
		}
		if st.FirstSample != 0 {
			r.FirstSample = time.Unix(0, st.FirstSample).Sub(s.started).Seconds()
		}
		if st.Targets < int64(len(s.targets)) {
			return false, nil
		}
		r.AllTargets = time.Since(s.started).Seconds()
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	cpu, err := process.CPU(s.pid())
	r.CPU = cpu.Seconds()
	return r, err
}
