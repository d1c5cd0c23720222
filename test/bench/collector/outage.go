//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"time"

	"github.com/mangru/mangru/test/bench/collector/load"
	"github.com/mangru/mangru/test/bench/process"
)

// outageOptions are the flags of "outage".
type outageOptions struct {
	scrapes int
	kill    bool
	limit   time.Duration
}

func (o *outageOptions) register(flags *flag.FlagSet) {
	flags.IntVar(&o.scrapes, "outage", 360, "how long the endpoint is away, in intervals; 360 stand for an hour of scrapes every 10 s")
	flags.BoolVar(&o.kill, "kill", false, "kill the collector (SIGKILL) in the middle of the outage and start it again")
	flags.DurationVar(&o.limit, "catch-up", 5*time.Minute, "how long catching up may take")
}

// Outage is how a collector came through a time without its endpoint.
type Outage struct {
	Targets int     `json:"targets"`
	Series  int64   `json:"series"`
	Away    float64 `json:"awaySeconds"`
	Scrapes int     `json:"outageScrapes"`
	Killed  bool    `json:"killed"`
	// Backlog are the samples that were scraped and not delivered when the
	// endpoint came back; CatchUp is the time until less than two scrapes' worth
	// was waiting, in seconds, or 0 if that never was.
	Backlog int64   `json:"backlog"`
	CatchUp float64 `json:"catchUpSeconds"`
	// PerSecond is how many samples arrived in a second of catching up, Speed that
	// in multiples of what is scraped in a second at the recorded interval, and
	// SpeedNow at the interval of this run.
	PerSecond float64 `json:"samplesPerSecond"`
	Speed     float64 `json:"speed"`
	SpeedNow  float64 `json:"speedAtThisInterval"`
	// Delivered and Expected are of the whole run.
	Delivered  int64   `json:"delivered"`
	Expected   int64   `json:"expected"`
	OutOfOrder int64   `json:"outOfOrder"`
	Duplicates int64   `json:"duplicates"`
	Refused    int64   `json:"refusedRequests"`
	RSSBefore  int64   `json:"rssBeforeBytes"`
	RSSEnd     int64   `json:"rssEndOfOutageBytes"`
	RSSPeak    int64   `json:"rssPeakBytes"`
	CPU        float64 `json:"cpuSecondsDuringOutage"`
}

func (s *session) measureOutage(ctx context.Context, o *options) (*Outage, error) {
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	rss, err := s.watch(ctx, o.warmup, nil)
	if err != nil {
		return nil, err
	}
	r := &Outage{Targets: len(s.targets), Scrapes: o.outage.scrapes, Killed: o.outage.kill, RSSBefore: median(rss)}
	if err := s.away(ctx, o, r); err != nil {
		return nil, err
	}
	if err := s.catchUp(ctx, o, r); err != nil {
		return nil, err
	}
	resident, err := process.Memory(s.pid())
	if err != nil {
		return nil, err
	}
	r.RSSPeak = resident.Peak
	if err := s.end(); err != nil {
		return nil, err
	}
	var final state
	if err := s.counts(ctx, &final); err != nil {
		return nil, err
	}
	r.Series, r.Delivered, r.Expected = final.sink.Series, final.sink.Page, final.pages.Fresh
	r.OutOfOrder, r.Duplicates, r.Refused = final.sink.OutOfOrder, final.sink.Duplicates, final.sink.Refused
	return r, nil
}

// away is the time without the endpoint.
func (s *session) away(ctx context.Context, o *options, r *Outage) error {
	if err := s.sink.post(ctx, fmt.Sprintf("/fail?status=%d", http.StatusServiceUnavailable)); err != nil {
		return err
	}
	began := time.Now()
	cpu, err := process.CPU(s.pid())
	if err != nil {
		return err
	}
	away := time.Duration(o.outage.scrapes) * s.task.Interval
	var rss []int64
	if o.outage.kill {
		if _, err := s.watch(ctx, away/2, nil); err != nil {
			return err
		}
		if err := s.kill(); err != nil {
			return err
		}
		if err := s.start(ctx); err != nil {
			return err
		}
		cpu = 0
		away -= away / 2
	}
	if rss, err = s.watch(ctx, away, nil); err != nil {
		return err
	}
	r.Away = time.Since(began).Seconds()
	r.RSSEnd = median(rss[max(0, len(rss)-10):])
	now, err := process.CPU(s.pid())
	r.CPU = (now - cpu).Seconds()
	return err
}

// catchUp lets the endpoint come back and waits until little is left to send.
func (s *session) catchUp(ctx context.Context, o *options, r *Outage) error {
	var before state
	if err := s.counts(ctx, &before); err != nil {
		return err
	}
	r.Backlog = before.pages.Fresh - before.sink.Page
	if err := s.sink.post(ctx, "/recover"); err != nil {
		return err
	}
	began := time.Now()
	var now state
	var series int64
	_, err := s.watch(ctx, o.outage.limit, func() (bool, error) {
		now = state{}
		if err := s.counts(ctx, &now); err != nil {
			return false, err
		}
		series = now.pages.Lines / max(1, now.pages.Scrapes/int64(len(s.targets)))
		if now.pages.Fresh-now.sink.Page > 2*series {
			return false, nil
		}
		r.CatchUp = time.Since(began).Seconds()
		return true, nil
	})
	if err != nil {
		return err
	}
	r.PerSecond = float64(now.sink.Samples-before.sink.Samples) / time.Since(began).Seconds()
	r.Speed = r.PerSecond / (float64(series) / load.RecordedInterval.Seconds())
	r.SpeedNow = r.PerSecond / (float64(series) / s.task.Interval.Seconds())
	return nil
}
