//go:build linux

package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mangru/mangru/test/bench/collector/load"
	"github.com/mangru/mangru/test/bench/collector/recording"
	"github.com/mangru/mangru/test/bench/server/blocks"
	"github.com/mangru/mangru/test/bench/server/queries"
)

// Options of a run.
type Options struct {
	// Servers are names with the paths of their programs, in order.
	Servers []Program
	// Series are scraped each Interval, for Length of the samples' own time, which
	// goes by Speed times as fast as time does.
	Series           int
	Interval, Length time.Duration
	Speed            float64
	// Ask, if not zero, is how often a query is asked while samples come.
	Ask time.Duration
	// Rounds is how often each query is asked of each server afterwards.
	Rounds     int
	Queries    []queries.Query
	Step       time.Duration
	Recordings string
	// Dir takes the servers' data and is emptied first.
	Dir string
}

// Program is a server's name and where it is.
type Program struct{ Name, Path string }

// Report is what a run has found.
type Report struct {
	Series, Samples int
	Span            time.Duration // of the samples
	Took            time.Duration
	Late            int // scrapes that had not been written when the next was due
	Servers         []*Result
}

// Result is what a server has used.
type Result struct {
	Name string
	// CPU is that of all writes, RSS the median of what was looked at each second,
	// Peak the most.
	CPU       time.Duration
	RSS, Peak int64
	// Disk is all of the data, Log the write-ahead log and the mapped head in it.
	Disk, Log int64
	// Restart is from the start after a kill until samples are answered for.
	Restart time.Duration
	// During and After are the latencies of queries while samples came and
	// afterwards, by query, medians of the rounds.
	During        []time.Duration
	After         []Answer
	Errors        []string
	rss           []int64
	before, after usage
}

// Answer is what a query took.
type Answer struct {
	Query queries.Query
	Wall  time.Duration
	CPU   time.Duration
	Error string
}

// Run starts the servers, writes to all of them, kills and restarts them, and asks
// them.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := os.RemoveAll(o.Dir); err != nil {
		return nil, err
	}
	var all []*server
	defer func() {
		for _, s := range all {
			_ = s.kill()
		}
	}()
	r := &Report{}
	for _, p := range o.Servers {
		s, err := newServer(ctx, p.Name, p.Path, o.Dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		all = append(all, s)
		r.Servers = append(r.Servers, &Result{Name: p.Name})
	}
	start, end, err := o.ingest(ctx, all, r)
	if err != nil {
		return nil, err
	}
	for i, s := range all {
		if err := o.restart(ctx, s, r.Servers[i], end); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return r, o.queries(ctx, all, r, start, end)
}

// ingest writes all scrapes.
func (o *Options) ingest(ctx context.Context, all []*server, r *Report) (start, end time.Time, err error) {
	recordings, err := recording.Load(os.DirFS(o.Recordings), load.Jobs())
	if err != nil {
		return start, end, err
	}
	start = time.Now().Add(-time.Duration(float64(o.Length) * (1 - 1/o.Speed))).Truncate(time.Second)
	cluster, err := load.Fit(load.Shape{PodsPerNode: 8, Churn: 0.001 * o.Interval.Minutes(), Interval: o.Interval, Seed: 1}, o.Series, recordings, start)
	if err != nil {
		return start, end, err
	}
	targets := blocks.Targets(cluster, o.Interval)
	w := &writer{}
	began := time.Now()
	for i, s := range all {
		if r.Servers[i].before, err = s.usage(); err != nil {
			return start, end, err
		}
	}
	watch, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	for i, s := range all {
		watching.Go(func() { s.watch(watch, r.Servers[i]) })
		if o.Ask > 0 {
			watching.Go(func() { o.askAlong(watch, s, r.Servers[i], o.Speed, start, began) })
		}
	}
	defer watching.Wait()
	defer stop()
	for at := start; at.Before(start.Add(o.Length)); at = at.Add(o.Interval) {
		bodies, n, err := w.scrape(targets, at)
		if err != nil {
			return start, end, err
		}
		if r.Samples == 0 {
			r.Series = n
		}
		r.Samples += n
		if err := writeAll(ctx, all, bodies); err != nil {
			return start, end, err
		}
		end = at.Add(o.Interval)
		due := began.Add(time.Duration(float64(end.Sub(start)) / o.Speed))
		if time.Until(due) < 0 {
			r.Late++
		}
		select {
		case <-ctx.Done():
			return start, end, ctx.Err()
		case <-time.After(time.Until(due)):
		}
	}
	r.Span, r.Took = end.Sub(start), time.Since(began)
	for i, s := range all {
		res := r.Servers[i]
		if res.after, err = s.usage(); err != nil {
			return start, end, err
		}
		res.CPU, res.Peak = res.after.cpu-res.before.cpu, res.after.peak
		if res.Disk, res.Log, err = s.disk(); err != nil {
			return start, end, err
		}
	}
	return start, end, nil
}

func writeAll(ctx context.Context, all []*server, bodies [][]byte) error {
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i, s := range all {
		wait.Go(func() {
			for _, b := range bodies {
				if errs[i] = post(ctx, s.client, s.write, b); errs[i] != nil {
					return
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// watch looks at a server's memory each second.
func (s *server) watch(ctx context.Context, res *Result) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			slices.Sort(res.rss)
			if len(res.rss) > 0 {
				res.RSS = res.rss[len(res.rss)/2]
			}
			return
		case <-tick.C:
			if u, err := s.usage(); err == nil {
				res.rss = append(res.rss, u.rss)
			}
		}
	}
}

// askAlong asks one query after the other while samples come.
func (o *Options) askAlong(ctx context.Context, s *server, res *Result, speed float64, start, began time.Time) {
	tick := time.NewTicker(o.Ask)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := start.Add(time.Duration(float64(time.Since(began)) * speed))
		path, form := request(o.Queries[i%len(o.Queries)], now.Add(-time.Hour), now, o.Step)
		asked := time.Now()
		if err := s.ask(ctx, path, form, io.Discard); err != nil {
			if ctx.Err() == nil {
				res.Errors = append(res.Errors, err.Error())
			}
			continue
		}
		res.During = append(res.During, time.Since(asked))
	}
}

// request is a query as all servers take it.
func request(q queries.Query, start, end time.Time, step time.Duration) (path string, form map[string]string) {
	seconds := func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
	if q.Instant {
		return "/query", map[string]string{"query": q.Expr, "time": seconds(end)}
	}
	return "/query_range", map[string]string{"query": q.Expr, "start": seconds(start), "end": seconds(end), "step": step.String()}
}

// restart kills a server and waits until it answers for the samples again.
func (o *Options) restart(ctx context.Context, s *server, res *Result, end time.Time) error {
	if err := s.kill(); err != nil {
		return err
	}
	began := time.Now()
	if err := s.start(ctx); err != nil {
		return err
	}
	var answer strings.Builder
	if err := s.ask(ctx, "/query", map[string]string{"query": "count(node_load1)", "time": strconv.FormatInt(end.Unix(), 10)}, &answer); err != nil {
		return err
	}
	res.Restart = time.Since(began)
	if !strings.Contains(answer.String(), `"value"`) {
		return fmt.Errorf("the samples are gone after a kill: %s", answer.String())
	}
	return nil
}

// queries asks each query of all servers in turns; without rounds there is nothing
// to report.
func (o *Options) queries(ctx context.Context, all []*server, r *Report, start, end time.Time) error {
	if o.Rounds <= 0 {
		return nil
	}
	for _, q := range o.Queries {
		path, form := request(q, start, end, o.Step)
		walls, cpus, failed := make([][]time.Duration, len(all)), make([][]time.Duration, len(all)), make([]string, len(all))
		for round := range o.Rounds {
			for i := range all {
				if round%2 == 1 {
					i = len(all) - 1 - i
				}
				before, err := all[i].usage()
				if err != nil {
					return err
				}
				began := time.Now()
				if err := all[i].ask(ctx, path, form, io.Discard); err != nil {
					if ctx.Err() != nil {
						return ctx.Err()
					}
					failed[i] = err.Error()
				}
				walls[i] = append(walls[i], time.Since(began))
				after, err := all[i].usage()
				if err != nil {
					return err
				}
				cpus[i] = append(cpus[i], after.cpu-before.cpu)
			}
		}
		for i, res := range r.Servers {
			res.After = append(res.After, Answer{Query: q, Wall: quantile(walls[i], 0.5), CPU: quantile(cpus[i], 0.5), Error: failed[i]})
		}
	}
	return nil
}

// quantile of some numbers; zero of none.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return all[min(len(all)-1, int(q*float64(len(all))))]
}
