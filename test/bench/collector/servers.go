//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/mangru/mangru/test/bench/collector/load"
	"github.com/mangru/mangru/test/bench/collector/pages"
	"github.com/mangru/mangru/test/bench/collector/recording"
	"github.com/mangru/mangru/test/bench/collector/sink"
)

// The page server and the sink are processes of their own, so that nothing of
// theirs is counted for a collector. Each prints the address at which it can be
// asked and ends when its standard input does.

// pagesOptions are the flags of "pages".
type pagesOptions struct {
	shape     load.Shape
	series    int
	port      int
	level     int
	testdata  string
	churnRate float64
}

func (o *pagesOptions) register(flags *flag.FlagSet) {
	flags.IntVar(&o.series, "series", 223_000, "number of series of all targets together; decides how many nodes and API servers there are")
	flags.IntVar(&o.shape.PodsPerNode, "pods-per-node", 8, "pods on each node")
	flags.IntVar(&o.shape.Apps, "apps", 0, "number of targets with small pages, instead of --series")
	flags.DurationVar(&o.shape.Interval, "interval", load.RecordedInterval, "scrape interval")
	flags.Float64Var(&o.churnRate, "churn", 0.1, "percent of pods that are replaced in a minute of recorded time")
	flags.Uint64Var(&o.shape.Seed, "seed", 1, "what the names of nodes and pods and the course of values follow from")
	flags.IntVar(&o.port, "port", 0, "port of the targets (default: a free one)")
	flags.IntVar(&o.level, "gzip", 6, "gzip level of the pages")
	flags.StringVar(&o.testdata, "recordings", "test/bench/collector/testdata", "directory with the recordings")
}

// args is the inverse of register.
func (o *pagesOptions) args() []string {
	return []string{
		"pages", fmt.Sprintf("--series=%d", o.series), fmt.Sprintf("--pods-per-node=%d", o.shape.PodsPerNode), fmt.Sprintf("--apps=%d", o.shape.Apps),
		"--interval=" + o.shape.Interval.String(), fmt.Sprintf("--churn=%g", o.churnRate), fmt.Sprintf("--seed=%d", o.shape.Seed),
		fmt.Sprintf("--port=%d", o.port), fmt.Sprintf("--gzip=%d", o.level), "--recordings=" + o.testdata,
	}
}

// cluster is the one that has about the number of series that is asked for.
func (o *pagesOptions) cluster(now time.Time) (*load.Cluster, error) {
	recs, err := recording.Load(os.DirFS(o.testdata), load.Jobs())
	if err != nil {
		return nil, err
	}
	shape := o.shape
	shape.Churn = o.churnRate / 100 * load.RecordedInterval.Minutes()
	if shape.Apps > 0 {
		return load.New(shape, recs, now)
	}
	return load.Fit(shape, o.series, recs, now)
}

func pagesCommand(ctx context.Context, args []string) error {
	var o pagesOptions
	flags := flag.NewFlagSet("pages", flag.ContinueOnError)
	o.register(flags)
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	cluster, err := o.cluster(time.Now())
	if err != nil {
		return err
	}
	if o.port == 0 {
		if o.port, err = freePort(ctx); err != nil {
			return err
		}
	}
	server, err := pages.New(cluster.Targets(), o.shape.Interval, o.port, o.level)
	if err != nil {
		return err
	}
	return serve(ctx, server.Control(), func(ctx context.Context, ready func()) error { return server.Run(ctx, ready) })
}

func sinkCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("sink", flag.ContinueOnError)
	only1 := flags.Bool("only-1.0", false, "refuse remote write 2.0")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	s, err := sink.New(*only1)
	if err != nil {
		return err
	}
	return serve(ctx, s, func(ctx context.Context, ready func()) error {
		ready()
		<-ctx.Done()
		return nil
	})
}

// serve runs a handler on a free port, prints its address once the rest is
// ready, and ends with its parent.
func serve(ctx context.Context, h http.Handler, rest func(ctx context.Context, ready func()) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1)) // ends with the parent
		stop()
	}()
	err = rest(ctx, func() { fmt.Println(l.Addr()) })
	err = errors.Join(err, server.Close())
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}
