//go:build linux

package main

import (
	"bytes"
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/bench/collector/load"
	"github.com/mangru/mangru/test/bench/collector/pages"
	"github.com/mangru/mangru/test/bench/collector/peer"
)

func TestRatiosCompareRoundsSideBySide(t *testing.T) {
	var results []Result
	for round, cost := range [][2]float64{{1, 4}, {2, 4}, {1, 1}} {
		results = append(results,
			Result{Collector: peer.Mangru, Round: round + 1, Cost: &Cost{CPUPerMillion: cost[0], RSS: 50 * mib, Window: 1}},
			Result{Collector: peer.VMAgent, Round: round + 1, Cost: &Cost{CPUPerMillion: cost[1], RSS: 100 * mib, Window: 1}})
	}
	require.Equal(t, []string{"mangru / vmagent      CPU per sample 0.500 (0.250 to 1.000)   memory 0.500 (0.500 to 0.500)"}, ratios(results))
	require.Equal(t, []string{"mangru / vmagent      CPU per sample 0.250   memory 0.500"}, ratios(results[:2]))
	require.Empty(t, ratios(results[:1]))

	var table bytes.Buffer
	require.NoError(t, printResults(&table, "cost", results))
	require.Equal(t, 1+len(results)+1, strings.Count(table.String(), "\n"))
}

func TestOptions(t *testing.T) {
	for args, want := range map[string]string{
		"":                      "",
		"--only mangru,vmagent": "",
		"--only mangru,vector":  `--only "vector": want some of mangru`,
		"--protocol 3.0":        `--protocol "3.0": want 1.0 or 2.0`,
		"--rounds 0":            "--rounds must be at least 1",
		"--series 100":          "--series: one node alone",
	} {
		var o options
		flags := flag.NewFlagSet("cost", flag.ContinueOnError)
		o.register(flags, "cost")
		require.NoError(t, flags.Parse(strings.Fields(args)))
		err := o.check()
		if want == "" {
			require.NoError(t, err, args)
			continue
		}
		require.ErrorAs(t, err, &usageError{}, args)
		require.ErrorContains(t, err, want)
	}
}

// TestPagesOptionsSurvive: what the page server is started with is what was asked for.
func TestPagesOptionsSurvive(t *testing.T) {
	var o, again pagesOptions
	flags := flag.NewFlagSet("cost", flag.ContinueOnError)
	o.register(flags)
	require.NoError(t, flags.Parse(strings.Fields("--series 7 --pods-per-node 6 --apps 5 --interval 4s --churn 0.3 --seed 2 --port 1 --gzip 9 --recordings dir")))
	flags = flag.NewFlagSet("pages", flag.ContinueOnError)
	again.register(flags)
	require.NoError(t, flags.Parse(o.args()[1:]))
	require.Equal(t, o, again)
}

func TestJobsOf(t *testing.T) {
	jobs := jobsOf([]pages.Target{
		{Job: load.JobKubelet, Node: "a", Address: "127.12.0.1:1", Path: "/metrics"},
		{Job: load.JobAPIServer, Node: "b", Address: "127.14.0.1:1", Path: "/metrics"},
		{Job: load.JobKubelet, Node: "b", Address: "127.12.0.2:1", Path: "/metrics"},
	})
	require.Equal(t, []peer.Job{
		{Name: load.JobKubelet, HonorLabels: true, Targets: []peer.Target{
			{Address: "127.12.0.1:1", Path: "/metrics", Node: "a"}, {Address: "127.12.0.2:1", Path: "/metrics", Node: "b"},
		}},
		{Name: load.JobAPIServer, Targets: []peer.Target{{Address: "127.14.0.1:1", Path: "/metrics", Node: "b"}}},
	}, jobs)
}

func TestMedian(t *testing.T) {
	require.Equal(t, 2.0, median([]float64{3, 1, 2}))
	require.Equal(t, int64(3), median([]int64{4, 2}))
}
