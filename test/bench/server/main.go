//go:build linux

// Command server measures what queries cost on our engine and on Prometheus', on
// the same blocks and in the same process, and compares the answers. "server ingest"
// measures whole servers. README.md says how to use it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/mangru/mangru/internal/server/query/engine"
	"github.com/mangru/mangru/test/bench/collector/load"
	"github.com/mangru/mangru/test/bench/collector/recording"
	"github.com/mangru/mangru/test/bench/server/blocks"
	"github.com/mangru/mangru/test/bench/server/measure"
	"github.com/mangru/mangru/test/bench/server/queries"
)

// options of the command line.
type options struct {
	data, recordings, boards, sets, expr, json string
	nodes, rounds, workers                     int
	length, step                               time.Duration
	instant                                    bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	run, args := run, os.Args[1:]
	if len(args) > 0 && args[0] == "ingest" {
		run, args = runIngest, args[1:]
	}
	err := run(ctx, args)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func parse(args []string) (*options, error) {
	o := new(options)
	f := flag.NewFlagSet("server", flag.ContinueOnError)
	f.StringVar(&o.data, "data", "", "folder with the blocks, made if it is not there (default a folder in the user's cache)")
	f.StringVar(&o.recordings, "recordings", "test/bench/collector/testdata", "folder with the recordings to make blocks of")
	f.StringVar(&o.boards, "boards", "../shared/dashboards", "folder with dashboards")
	f.StringVar(&o.sets, "sets", "heavy,typical,boards", "which queries")
	f.StringVar(&o.expr, "query", "", "this one only")
	f.BoolVar(&o.instant, "instant", false, "--query is an instant query")
	f.IntVar(&o.nodes, "nodes", 100, "of the cluster")
	f.DurationVar(&o.length, "length", 6*time.Hour, "of the data and of the queries' range")
	f.DurationVar(&o.step, "step", time.Minute, "of range queries")
	f.IntVar(&o.rounds, "rounds", 3, "all engines in turns, every other round backwards")
	f.IntVar(&o.workers, "workers", 0, "of our engine: 0 one for each processor but one, -1 none")
	f.StringVar(&o.json, "json", "", "file for the results")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.data == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		o.data = filepath.Join(cache, "mangru-bench", fmt.Sprintf("blocks-%d-%s", o.nodes, o.length))
	}
	return o, nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	if _, err := os.Stat(o.data); errors.Is(err, os.ErrNotExist) {
		if err := makeBlocks(ctx, log, o); err != nil {
			return err
		}
	}
	db, err := tsdb.Open(o.data, slog.New(slog.DiscardHandler), nil, &tsdb.Options{RetentionDuration: 1 << 50,
		MinBlockDuration: blocks.BlockLength.Milliseconds(), MaxBlockDuration: blocks.BlockLength.Milliseconds()}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // nothing was written
	db.DisableCompactions()
	engines, err := engines(o)
	if err != nil {
		return err
	}
	all, err := o.queries(log)
	if err != nil {
		return err
	}
	end := blocks.Start.Add(o.length)
	r := measure.Range{Start: blocks.Start, End: end, Step: o.step}
	var results []measure.Result
	for _, q := range all {
		if ctx.Err() != nil {
			break
		}
		results = append(results, measure.Run(ctx, engines, db, q, r, o.rounds))
	}
	measure.Table(os.Stdout, engines, results)
	if o.json == "" {
		return nil
	}
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, text, 0o644)
}

func makeBlocks(ctx context.Context, log *slog.Logger, o *options) error {
	recordings, err := recording.Load(os.DirFS(o.recordings), load.Jobs())
	if err != nil {
		return err
	}
	log.Info("making blocks, which takes some minutes", "folder", o.data)
	return blocks.Make(ctx, log, o.data, blocks.Shape{Nodes: o.nodes, PodsPerNode: 8, APIServers: 3, Handlers: 13,
		Interval: 30 * time.Second, Length: o.length, Churn: 0.0005}, recordings)
}

func engines(o *options) ([]measure.Engine, error) {
	opts := promql.EngineOpts{MaxSamples: 500_000_000, Timeout: 10 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		Parser: parser.NewParser(parser.Options{}), NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() }}
	ours, err := engine.New(engine.Config{Engine: promql.NewEngine(opts), Workers: o.workers})
	if err != nil {
		return nil, err
	}
	return []measure.Engine{{Name: "prometheus", QueryEngine: promql.NewEngine(opts)}, {Name: "mangru", QueryEngine: ours}}, nil
}

func (o *options) queries(log *slog.Logger) (all []queries.Query, err error) {
	if o.expr != "" {
		return []queries.Query{{Source: "query", Expr: o.expr, Instant: o.instant}}, nil
	}
	for _, set := range measure.Split(o.sets) {
		switch set {
		case "heavy":
			all = append(all, queries.Heavy...)
		case "typical":
			all = append(all, queries.Typical...)
		case "boards":
			q, unreadable, err := queries.Boards(os.DirFS(o.boards))
			if err != nil {
				return nil, err
			}
			log.Info("dashboards", "queries", len(q), "unreadable", unreadable)
			all = append(all, q...)
		default:
			return nil, fmt.Errorf("--sets: found %q, allowed are heavy, typical, boards", set)
		}
	}
	return all, nil
}
