// Package blocks makes a database out of the pages of a cluster, as a server has
// it that has scraped the cluster for some hours.
package blocks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/mangru/mangru/test/bench/collector/load"
	"github.com/mangru/mangru/test/bench/collector/recording"
)

// Shape says what is in the database.
type Shape struct {
	Nodes, PodsPerNode, APIServers int
	// Interval is the time between two scrapes of a target.
	Interval time.Duration
	// Length is how much time the database covers, whole blocks of BlockLength.
	Length time.Duration
	// Handlers is how many request handlers each of PodsPerNode pods of a node has,
	// with a histogram of durations for each.
	Handlers int
	// Churn is the part of the pods that is replaced in one interval.
	Churn float64
}

// BlockLength is that of the blocks Prometheus cuts from memory.
const BlockLength = 2 * time.Hour

// Start is the time of the first sample.
var Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Make fills dir with blocks. An interrupted run leaves no directory of that
// name behind.
func Make(ctx context.Context, log *slog.Logger, dir string, shape Shape, recordings map[string]*recording.Recording) error {
	cluster, err := load.New(load.Shape{Nodes: shape.Nodes, PodsPerNode: shape.PodsPerNode, APIServers: shape.APIServers,
		Churn: shape.Churn, Interval: shape.Interval, Seed: 1}, recordings, Start)
	if err != nil {
		return err
	}
	tmp := dir + ".part"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	all := Targets(cluster, shape.Interval)
	requests := newRequests(shape)
	for begin := Start; begin.Before(Start.Add(shape.Length)); begin = begin.Add(BlockLength) {
		n, err := block(ctx, log, tmp, all, requests, begin, shape.Interval)
		if err != nil {
			return err
		}
		log.Info("block written", "start", begin, "samples", n)
	}
	return os.Rename(tmp, dir)
}

// block writes one block.
func block(ctx context.Context, log *slog.Logger, dir string, all []*Target, req *requests, begin time.Time, interval time.Duration) (samples int, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	w, err := tsdb.NewBlockWriter(log, dir, BlockLength.Milliseconds())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, t := range all {
		for _, s := range t.series {
			s.ref = 0
		}
	}
	clear(req.refs)
	for at := begin; at.Before(begin.Add(BlockLength)); at = at.Add(interval) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		app := w.Appender(ctx)
		for _, t := range all {
			n, err := t.Scrape(app, at)
			if err != nil {
				return 0, err
			}
			samples += n
		}
		n, err := req.scrape(app, at)
		if err != nil {
			return 0, err
		}
		samples += n
		if err := app.Commit(); err != nil {
			return 0, err
		}
	}
	id, err := w.Flush(ctx)
	if err != nil {
		return 0, err
	}
	// A database opens only directories with these parts.
	for _, name := range []string{"index", "meta.json", "chunks"} {
		if _, err := os.Stat(filepath.Join(dir, id.String(), name)); err != nil {
			return 0, err
		}
	}
	return samples, nil
}

// Targets are the pages of a cluster, each with the labels that a scrape would
// give its series.
func Targets(cluster *load.Cluster, interval time.Duration) []*Target {
	var all []*Target
	for i, t := range cluster.Targets() {
		all = append(all, newTarget(t, i, interval))
	}
	return all
}

// Target is a page with the series that were seen on it.
type Target struct {
	load.Target
	labels []labels.Label
	offset time.Duration
	series map[string]*series
	round  int
	page   []byte
}

type series struct {
	labels labels.Labels
	ref    storage.SeriesRef
	round  int // when it was seen last
}

func newTarget(t load.Target, number int, interval time.Duration) *Target {
	job, path, port := t.Job, "/metrics", "9100"
	switch t.Job {
	case load.JobCAdvisor:
		job, path, port = load.JobKubelet, "/metrics/cadvisor", "10250"
	case load.JobKubelet:
		port = "10250"
	case load.JobAPIServer:
		port = "6443"
	case load.JobKubeStateMetrics:
		port = "8080"
	}
	return &Target{
		Target: t,
		labels: []labels.Label{{Name: "cluster", Value: "bench"}, {Name: "instance", Value: t.Node + ":" + port},
			{Name: "job", Value: job}, {Name: "metrics_path", Value: path}, {Name: "node", Value: t.Node}},
		// Targets are scraped one after the other all through the interval.
		offset: time.Duration(int64(number)*7919%interval.Milliseconds()) * time.Millisecond,
		series: map[string]*series{},
	}
}

// Scrape appends what is on the page, and marks what is no longer.
func (t *Target) Scrape(app storage.Appender, at time.Time) (samples int, err error) {
	at = at.Add(t.offset)
	ms := at.UnixMilli()
	t.round++
	t.page, _ = t.Page.Render(t.page[:0], at)
	for line := range bytes.Lines(t.page) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		name, v, ok := split(line)
		if !ok {
			return 0, fmt.Errorf("%s of %s: line %q", t.Job, t.Node, line)
		}
		s := t.series[string(name)]
		if s == nil {
			if s, err = t.add(string(name)); err != nil {
				return 0, err
			}
		}
		s.round = t.round
		if s.ref, err = app.Append(s.ref, s.labels, ms, v); err != nil {
			return 0, fmt.Errorf("%s: %w", s.labels, err)
		}
		samples++
	}
	for name, s := range t.series {
		if s.round == t.round {
			continue
		}
		if _, err := app.Append(s.ref, s.labels, ms, staleNaN); err != nil {
			return 0, fmt.Errorf("%s: %w", s.labels, err)
		}
		delete(t.series, name)
	}
	return samples, nil
}

// split takes a line apart into series and value. Its timestamp, if any, is left
// out: the scraped time stands for it.
func split(line []byte) (name []byte, v float64, ok bool) {
	end := bytes.LastIndexByte(line, '}') + 1
	if end == 0 {
		end = bytes.IndexByte(line, ' ')
	}
	if end <= 0 || end+1 >= len(line) {
		return nil, 0, false
	}
	number, _, _ := bytes.Cut(line[end+1:], []byte(" "))
	v, err := strconv.ParseFloat(string(number), 64)
	return line[:end], v, err == nil
}

// add parses a series' name and adds the target's labels where the page has none
// of that name, and with a prefix where it has, as a scrape does.
func (t *Target) add(name string) (*series, error) {
	metric, err := metricParser.ParseMetric(name)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %q: %w", t.Job, t.Node, name, err)
	}
	b := labels.NewBuilder(metric)
	for _, l := range t.labels {
		switch {
		case l.Name == "node" && metric.Has("node"): // a relabelling of the page's own
		case metric.Has(l.Name):
			b.Set("exported_"+l.Name, metric.Get(l.Name))
			b.Set(l.Name, l.Value)
		default:
			b.Set(l.Name, l.Value)
		}
	}
	s := &series{labels: b.Labels()}
	t.series[name] = s
	return s, nil
}

var (
	metricParser = parser.NewParser(parser.Options{})
	staleNaN     = math.Float64frombits(value.StaleNaN)
)
