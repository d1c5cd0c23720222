//go:build linux

package main

import (
	"context"
	"slices"
	"time"

	"github.com/mangru/mangru/test/bench/process"
)

// Cost is what a collector took for its work during a window of time.
type Cost struct {
	Targets int   `json:"targets"`
	Series  int64 `json:"series"`
	// Window is the time measured, in seconds; CPU is the collector's in it.
	Window float64 `json:"windowSeconds"`
	CPU    float64 `json:"cpuSeconds"`
	// Samples are all that arrived in the window, also marks, up and the like, and
	// repetitions.
	Samples       int64   `json:"samples"`
	CPUPerMillion float64 `json:"cpuSecondsPerMillionSamples"`
	RSS           int64   `json:"rssBytes"`     // median over the window
	RSSMax        int64   `json:"rssMaxBytes"`  // in the window
	RSSPeak       int64   `json:"rssPeakBytes"` // since the start
	Requests      int64   `json:"requests"`
	V2Requests    int64   `json:"v2Requests"`
	// BytesPerSample are those of request bodies.
	BytesPerSample float64 `json:"bytesPerSample"`
	// Delivered and Expected are of the whole run, after the collector was told
	// to stop: different samples from pages, and those that were served.
	Delivered   int64 `json:"delivered"`
	Expected    int64 `json:"expected"`
	Duplicates  int64 `json:"duplicates"`
	OutOfOrder  int64 `json:"outOfOrder"`
	Stale       int64 `json:"stale"`
	Scrapes     int64 `json:"scrapes"`
	BadRequests int64 `json:"badRequests"`
	// PageServerCPU and SinkCPU tell how much else the machine had to do.
	PageServerCPU float64 `json:"pageServerCPUSeconds"`
	SinkCPU       float64 `json:"sinkCPUSeconds"`
}

func (s *session) measureCost(ctx context.Context, o *options) (*Cost, error) {
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	if _, err := s.watch(ctx, o.warmup, nil); err != nil {
		return nil, err
	}
	before, err := s.state(ctx)
	if err != nil {
		return nil, err
	}
	rss, err := s.watch(ctx, o.duration, nil)
	if err != nil {
		return nil, err
	}
	after, err := s.state(ctx)
	if err != nil {
		return nil, err
	}
	resident, err := process.Memory(s.pid())
	if err != nil {
		return nil, err
	}
	c := &Cost{Targets: len(s.targets), RSSPeak: resident.Peak, RSSMax: slices.Max(rss), RSS: median(rss)}
	c.window(before, after)
	if late := after.at.Sub(before.at) - o.duration; late > o.duration/10+time.Second {
		s.log.Warn("the machine stood still for a while, or is too busy: the figures say little", "collector", s.collector.Name, "late", late)
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	var final state
	if err := s.counts(ctx, &final); err != nil {
		return nil, err
	}
	c.total(final)
	return c, nil
}

func (c *Cost) window(before, after state) {
	seconds := func(d time.Duration) float64 { return d.Seconds() }
	c.Window = seconds(after.at.Sub(before.at))
	c.CPU = seconds(after.cpu - before.cpu)
	c.PageServerCPU, c.SinkCPU = seconds(after.pageCPU-before.pageCPU), seconds(after.sinkCPU-before.sinkCPU)
	c.Samples = after.sink.Samples - before.sink.Samples
	c.Requests = after.sink.Requests - before.sink.Requests
	c.V2Requests = after.sink.V2 - before.sink.V2
	if c.Samples > 0 {
		c.CPUPerMillion = c.CPU / float64(c.Samples) * 1e6
		c.BytesPerSample = float64(after.sink.Bytes-before.sink.Bytes) / float64(c.Samples)
	}
}

func (c *Cost) total(final state) {
	c.Series = final.sink.Series
	c.Delivered, c.Expected = final.sink.Page, final.pages.Fresh
	c.Duplicates, c.OutOfOrder, c.Stale = final.sink.Duplicates, final.sink.OutOfOrder, final.sink.Stale
	c.Scrapes, c.BadRequests = final.pages.Scrapes, final.sink.Bad
}
