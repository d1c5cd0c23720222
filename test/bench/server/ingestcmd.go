//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/mangru/mangru/test/bench/collector/peer"
	"github.com/mangru/mangru/test/bench/server/ingest"
	"github.com/mangru/mangru/test/bench/server/measure"
)

// runIngest is "server ingest": whole servers, one beside the other.
func runIngest(ctx context.Context, args []string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	cache = filepath.Join(cache, "mangru-bench")
	var o ingest.Options
	var only, sets, bin string
	f := flag.NewFlagSet("server ingest", flag.ContinueOnError)
	f.StringVar(&only, "only", "mangru,prometheus,victoria-metrics", "which servers, the first is compared with the others")
	f.IntVar(&o.Series, "series", 223_000, "about so many series")
	f.DurationVar(&o.Interval, "interval", 10*time.Second, "between two samples of a series")
	f.DurationVar(&o.Length, "length", 10*time.Minute, "of the samples' time")
	f.Float64Var(&o.Speed, "speed", 1, "how many times as fast as time the samples' time goes by")
	f.DurationVar(&o.Ask, "ask", 0, "ask a query so often while samples come (default: none)")
	f.IntVar(&o.Rounds, "rounds", 3, "of queries afterwards, the servers in turns; 0 for none")
	f.DurationVar(&o.Step, "step", time.Minute, "of range queries")
	f.StringVar(&sets, "sets", "heavy,typical", "which queries: heavy, typical, boards")
	f.StringVar(&o.Recordings, "recordings", "test/bench/collector/testdata", "folder with the recordings to make samples of")
	f.StringVar(&o.Dir, "data", filepath.Join(cache, "servers"), "folder for the servers' data, emptied first")
	f.StringVar(&bin, "bin", os.Getenv("MANGRU_PEERS"), "folder with ready programs (default: built, which takes minutes the first time)")
	boards := f.String("boards", "../shared/dashboards", "folder with dashboards")
	mangru := f.String("mangru", "", "a ready mangru (default: built)")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.Speed <= 0 || o.Interval <= 0 || o.Length < o.Interval {
		return fmt.Errorf("--speed %g, --interval %s, --length %s: must be positive, and the length at least an interval", o.Speed, o.Interval, o.Length)
	}
	if o.Queries, err = (&options{sets: sets, boards: *boards}).queries(log); err != nil {
		return err
	}
	if o.Ask > 0 && len(o.Queries) == 0 {
		return fmt.Errorf("--ask %s: --sets %q has no query to ask", o.Ask, sets)
	}
	root, err := peer.Root(ctx)
	if err != nil {
		return err
	}
	b := peer.Builder{Root: root, Cache: cache, Have: bin, Mangru: *mangru, Log: log}
	for _, name := range measure.Split(only) {
		path, err := b.Build(ctx, name)
		if err != nil {
			return err
		}
		o.Servers = append(o.Servers, ingest.Program{Name: name, Path: path})
	}
	report, err := ingest.Run(ctx, o)
	if err != nil {
		return err
	}
	report.Table(os.Stdout)
	return nil
}
