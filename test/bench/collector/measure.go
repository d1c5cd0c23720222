//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mangru/mangru/test/bench/collector/peer"
)

const (
	protocolV1 = "1.0"
	protocolV2 = "2.0"
)

// options are the flags of the measuring modes.
type options struct {
	pages    pagesOptions
	only     string
	rounds   int
	warmup   time.Duration
	duration time.Duration
	protocol string
	json     string
	work     string
	keep     bool

	mangru, mangruArgs, mangruConfig string
	bin, cache                       string

	outage outageOptions
}

func (o *options) register(flags *flag.FlagSet, mode string) {
	o.pages.register(flags)
	only, warmup := "mangru,vmagent,prometheus,otelcol", 60*time.Second
	switch mode {
	case "outage":
		only, warmup = peer.Mangru, 20*time.Second
		o.pages.shape.Interval = time.Second
		flags.Lookup("interval").DefValue = "1s"
		o.outage.register(flags)
	case "targets":
		o.pages.shape.Apps = 10_000
		flags.Lookup("apps").DefValue = "10000"
	}
	flags.StringVar(&o.only, "only", only, "collectors to measure: "+strings.Join(peer.Names(), ", "))
	flags.IntVar(&o.rounds, "rounds", 1, "how often to measure all, in turns")
	flags.DurationVar(&o.warmup, "warmup", warmup, "time before measuring")
	flags.DurationVar(&o.duration, "duration", 2*time.Minute, "time to measure")
	flags.StringVar(&o.protocol, "protocol", protocolV1, "remote write asked for: 1.0 or 2.0; vmagent has 1.0 only")
	flags.StringVar(&o.json, "json", "", "file for the results as JSON")
	flags.StringVar(&o.work, "work", "", "directory for the collectors' data (default: that for temporary files)")
	flags.BoolVar(&o.keep, "keep", false, "keep the directories with the collectors' configuration, data and logs")
	flags.StringVar(&o.mangru, "mangru", "", "mangru to measure (default: built from this repository)")
	flags.StringVar(&o.mangruArgs, "mangru-args", "", "more arguments for mangru")
	flags.StringVar(&o.mangruConfig, "mangru-config", "", "file with YAML added to mangru's configuration")
	flags.StringVar(&o.bin, "bin", "", "directory with ready peers: vmagent, prometheus, otelcol")
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	flags.StringVar(&o.cache, "cache", filepath.Join(cache, "mangru-bench"), "directory for built peers")
}

func (o *options) check() error {
	switch {
	case o.protocol != protocolV1 && o.protocol != protocolV2:
		return usageError{fmt.Errorf("--protocol %q: want %s or %s", o.protocol, protocolV1, protocolV2)}
	case o.rounds < 1, o.duration < 2*time.Second:
		return usageError{errors.New("--rounds must be at least 1 and --duration at least 2s")}
	case o.pages.series < 5000 && o.pages.shape.Apps == 0:
		return usageError{errors.New("--series: one node alone has some 4,500")}
	}
	for name := range strings.SplitSeq(o.only, ",") {
		if !slices.Contains(peer.Names(), name) {
			return usageError{fmt.Errorf("--only %q: want some of %s", name, strings.Join(peer.Names(), ", "))}
		}
	}
	return nil
}

// Result is one measurement of one collector.
type Result struct {
	Mode      string  `json:"mode"`
	Collector string  `json:"collector"`
	Round     int     `json:"round"`
	Cost      *Cost   `json:"cost,omitempty"`
	Start     *Start  `json:"start,omitempty"`
	Outage    *Outage `json:"outage,omitempty"`
}

func measure(ctx context.Context, log *slog.Logger, mode string, args []string) error {
	var o options
	flags := flag.NewFlagSet(mode, flag.ContinueOnError)
	o.register(flags, mode)
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	}
	if err := o.check(); err != nil {
		return err
	}
	collectors, err := o.collectors(ctx, log)
	if err != nil {
		return err
	}
	var results []Result
	for round := range o.rounds {
		for _, c := range collectors {
			log.Info("measuring", "mode", mode, "collector", c.Name, "round", round+1)
			r := Result{Mode: mode, Collector: c.Name, Round: round + 1}
			if err := one(ctx, log, &o, c, &r); err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
			results = append(results, r)
		}
		// The other way round next: what a machine does to the first and the last
		// should meet all.
		slices.Reverse(collectors)
	}
	if o.json != "" {
		text, err := json.MarshalIndent(results, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(text, '\n'), 0o600); err != nil {
			return err
		}
	}
	return printResults(os.Stdout, mode, results)
}

// collectors finds or builds the programs.
func (o *options) collectors(ctx context.Context, log *slog.Logger) ([]peer.Collector, error) {
	root, err := peer.Root(ctx)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(o.pages.testdata) {
		o.pages.testdata = filepath.Join(root, o.pages.testdata)
	}
	var config []byte
	if o.mangruConfig != "" {
		if config, err = os.ReadFile(o.mangruConfig); err != nil {
			return nil, err
		}
	}
	b := peer.Builder{Root: root, Cache: o.cache, Have: o.bin, Mangru: o.mangru, Log: log}
	var all []peer.Collector
	for name := range strings.SplitSeq(o.only, ",") {
		c := peer.Collector{Name: name}
		if c.Binary, err = b.Build(ctx, name); err != nil {
			return nil, err
		}
		if name == peer.Mangru {
			c.Args, c.Config = strings.Fields(o.mangruArgs), string(config)
		}
		all = append(all, c)
	}
	return all, nil
}

// one measures one collector in a session of its own.
func one(ctx context.Context, log *slog.Logger, o *options, c peer.Collector, r *Result) (err error) {
	s, err := newSession(ctx, log, o, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	switch r.Mode {
	case "start":
		r.Start, err = s.measureStart(ctx)
	case "outage":
		r.Outage, err = s.measureOutage(ctx, o)
	default:
		r.Cost, err = s.measureCost(ctx, o)
	}
	return err
}
