//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mangru/mangru/test/bench/collector/load"
	"github.com/mangru/mangru/test/bench/collector/recording"
)

// sources are the pages of a test cluster with one node, as paths of its API
// server.
func sources(node string) map[string]string {
	const service = "/api/v1/namespaces/default/services/"
	return map[string]string{
		load.JobNodeExporter:     service + "nodeexporter-prometheus-node-exporter:9100/proxy/metrics",
		load.JobKubelet:          "/api/v1/nodes/" + node + "/proxy/metrics",
		load.JobCAdvisor:         "/api/v1/nodes/" + node + "/proxy/metrics/cadvisor",
		load.JobKubeStateMetrics: service + "ksm-kube-state-metrics:8080/proxy/metrics",
		load.JobAPIServer:        "/metrics",
	}
}

// recordCommand makes the recordings. Pages are kept in a directory first, so
// that what is taken out of them can be changed without a cluster.
func recordCommand(ctx context.Context, log *slog.Logger, args []string) error {
	flags := flag.NewFlagSet("record", flag.ContinueOnError)
	dir := flags.String("pages", "", "directory for the raw pages, JOB/NN.txt; with --kubectl they are fetched, else they are there")
	kubectl := flags.String("kubectl", "", "command that speaks with a test cluster of one node, for example \"bin/cluster kubectl\"")
	node := flags.String("node", "node-1", "name of the cluster's node")
	replace := flags.String("replace", "", "more text to replace, OLD=NEW,...: the kernel's version, for example")
	scrapes := flags.Int("scrapes", 24, "number of scrapes")
	out := flags.String("out", "test/bench/collector/testdata", "directory for the recordings")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	if *dir == "" {
		return usageError{fmt.Errorf("--pages is missing")}
	}
	if *kubectl != "" {
		if err := fetchPages(ctx, log, strings.Fields(*kubectl), *node, *dir, *scrapes); err != nil {
			return err
		}
	}
	s := recording.Sanitizer{
		Replace: []string{`"` + *node + `"`, `"` + load.RecordedNode + `"`, `"10.232.`, `"10.0.`},
		Drop:    []string{`"/mnt/`, `"/run/bin"`, `"/work`, `"/root`, `"/tmp`},
	}
	for pair := range strings.FieldsFuncSeq(*replace, func(r rune) bool { return r == ',' }) {
		old, text, ok := strings.Cut(pair, "=")
		if !ok {
			return usageError{fmt.Errorf("--replace %q: want OLD=NEW, with commas between", *replace)}
		}
		s.Replace = append(s.Replace, old, text)
	}
	for _, job := range load.Jobs() {
		if err := pack(filepath.Join(*dir, job), filepath.Join(*out, job+".rec.zst"), s, job == load.JobKubeStateMetrics); err != nil {
			return fmt.Errorf("packing %s: %w", job, err)
		}
	}
	return nil
}

func fetchPages(ctx context.Context, log *slog.Logger, kubectl []string, node, dir string, scrapes int) error {
	tick := time.NewTicker(load.RecordedInterval)
	defer tick.Stop()
	for i := range scrapes {
		for job, path := range sources(node) {
			args := append(slices.Clone(kubectl[1:]), "get", "--raw", path)
			page, err := exec.CommandContext(ctx, kubectl[0], args...).Output()
			if err != nil {
				return fmt.Errorf("fetching %s: %w", path, err)
			}
			if err := os.MkdirAll(filepath.Join(dir, job), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, job, fmt.Sprintf("%02d.txt", i)), page, 0o600); err != nil {
				return err
			}
		}
		log.Info("recorded", "scrape", i+1, "of", scrapes)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// pack merges the pages of a directory into one recording.
func pack(dir, file string, s recording.Sanitizer, unordered bool) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("no pages in %s", dir)
	}
	slices.Sort(names)
	var pages [][]byte
	for _, name := range names {
		page, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		pages = append(pages, page)
	}
	rec, err := recording.Merge(pages)
	if err != nil {
		return err
	}
	s.Apply(rec)
	if unordered {
		rec.Sort()
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := rec.Write(f); err != nil {
		_ = f.Close() // the first error says more
		return err
	}
	return f.Close()
}
