//go:build linux

// Command operator measures the operator in a real cluster: the time, memory and
// processor time that a number of OpenTelemetryCollector objects, all made at
// once, take until each has all its objects and a status. Simulated nodes run
// their pods.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mangru/mangru/test/bench/process"
	"github.com/mangru/mangru/test/cluster"
)

type options struct {
	binary     string
	collectors int
	profiles   string
	limit      time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/mangru", "the program")
	flag.IntVar(&o.collectors, "collectors", 200, "how many OpenTelemetryCollector objects")
	flag.StringVar(&o.profiles, "profiles", "", "directory for heap profiles of the operator; empty takes none")
	flag.DurationVar(&o.limit, "limit", 5*time.Minute, "how long to wait for all of them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "operator bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	k, err := cluster.Up(ctx, cluster.Options{NoAddons: true, FakeNodes: 4, FakePodsPerNode: 1, Name: "mgb", Net: "10.236", Log: log})
	if err != nil {
		return err
	}
	defer func() {
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, k.Down(down))
	}()
	pid, err := install(ctx, o, k)
	if err != nil {
		return err
	}
	rest, err := usage(pid)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "before: %s\n", rest)
	profile(ctx, o, k, "heap")
	began := time.Now()
	if err := k.Apply(ctx, []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: many}\n")); err != nil {
		return err
	}
	cpu := make(chan struct{})
	go func() {
		defer close(cpu)
		profile(ctx, o, k, "profile?seconds=30")
	}()
	if err := makeAll(ctx, k, o.collectors); err != nil {
		return err
	}
	made := time.Since(began)
	profiled := false
	for {
		done, ready, err := count(ctx, k)
		if err != nil {
			return err
		}
		if done >= o.collectors/2 && !profiled {
			profiled = true
			profile(ctx, o, k, "heap")
		}
		if done >= o.collectors {
			fmt.Fprintf(out, "%d pods are ready by then, as kwok has it\n", ready)
			break
		}
		if time.Since(began) > o.limit {
			explain(ctx, k)
			now, _ := usage(pid) // the error says enough where there is none
			return fmt.Errorf("%d of %d have all their objects and a status after %s, %d are ready; operator: %s", done, o.collectors, o.limit, ready, now)
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	now, err := usage(pid)
	if err != nil {
		return err
	}
	profile(ctx, o, k, "heap")
	fmt.Fprintf(out, "%d collectors: all made after %.1f s, all have their objects and a status after %.1f s; operator: %s\n", o.collectors, made.Seconds(), time.Since(began).Seconds(), now)
	if err := pause(ctx, time.Minute); err != nil {
		return err
	}
	<-cpu
	if now, err = usage(pid); err != nil {
		return err
	}
	fmt.Fprintf(out, "a minute later: %s\n", now)
	return nil
}

// install puts the operator alone into the cluster and returns its process.
func install(ctx context.Context, o options, k *cluster.Cluster) (pid int, err error) {
	const image = "mangru:bench"
	dir, err := os.MkdirTemp("", "operator-bench")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	archive := filepath.Join(dir, "image.tar")
	if err := command(ctx, k, "go", "run", "./deploy/image", "-binary", o.binary, "-tag", image, "-o", archive); err != nil {
		return 0, err
	}
	if err := k.LoadArchive(ctx, archive); err != nil {
		return 0, err
	}
	err = command(ctx, k, o.binary, "install", "--image", image, "--set", "operator.enabled=true,collector.enabled=false,server.enabled=false,kubeStateMetrics.enabled=false,nodeExporter.enabled=false,doctor.enabled=false",
		"--set", "operator.args={--pprof=:6060}")
	if err != nil {
		return 0, err
	}
	return find("/mangru\x00operator\x00")
}

func command(ctx context.Context, k *cluster.Cluster, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.Kubeconfig(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

// find returns the only process whose command line begins so.
func find(prefix string) (int, error) {
	found := 0
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !strings.HasPrefix(string(text), prefix) {
			continue
		}
		if found != 0 {
			return 0, errors.New("several operators run on this machine")
		}
		found, _ = strconv.Atoi(filepath.Base(dir)) // digits, by the pattern
	}
	if found == 0 {
		return 0, errors.New("no operator runs on this machine")
	}
	return found, nil
}

// usage tells what a process takes.
func usage(pid int) (string, error) {
	cpu, err := process.CPU(pid)
	if err != nil {
		return "", err
	}
	r, err := process.Memory(pid)
	return fmt.Sprintf("RSS %d MiB (anonymous %d, file %d), peak %d MiB, CPU %.1f s", r.Now>>20, r.Anonymous>>20, r.File>>20, r.Peak>>20, cpu.Seconds()), err
}

// profile keeps one of the operator's profiles. Its absence spoils no measurement.
func profile(ctx context.Context, o options, k *cluster.Cluster, name string) {
	began := time.Now()
	if o.profiles == "" {
		return
	}
	address, err := k.Kubectl(ctx, "-n", "mangru", "get", "pods", "-l", "app.kubernetes.io/name=mangru-operator", "-o", "jsonpath={.items[0].status.podIP}")
	if err == nil {
		err = fetch(ctx, "http://"+string(address)+":6060/debug/pprof/"+name, filepath.Join(o.profiles, fmt.Sprintf("%s-%d.pb.gz", name[:4], began.Unix())))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "no profile:", err)
	}
}

func fetch(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

const object = `---
apiVersion: opentelemetry.io/v1beta1
kind: OpenTelemetryCollector
metadata: {name: c%03[1]d, namespace: many}
spec:
  nodeSelector: {type: kwok}
  tolerations: [{key: kwok.x-k8s.io/node, operator: Exists}]
  config:
    receivers:
      otlp: {protocols: {grpc: {}, http: {}}}
      prometheus:
        config:
          scrape_configs:
          - job_name: job-%03[1]d
            kubernetes_sd_configs: [{role: pod}]
            relabel_configs:
            - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], action: keep, regex: "true"}
            - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
    exporters:
      prometheusremotewrite: {endpoint: "http://127.0.0.1:9/api/v1/remote_write"}
    service: {pipelines: {metrics: {receivers: [prometheus], exporters: [prometheusremotewrite]}}}
`

func makeAll(ctx context.Context, k *cluster.Cluster, n int) error {
	var all bytes.Buffer
	for i := range n {
		fmt.Fprintf(&all, object, i)
	}
	cmd := k.KubectlCommand(ctx, "create", "-f", "-")
	cmd.Stdin = &all
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	return nil
}

// count returns how many collectors the operator has done its work for, and how
// many of them have ready pods, which is up to the simulation.
func count(ctx context.Context, k *cluster.Cluster) (done, ready int, err error) {
	text, err := k.Kubectl(ctx, "-n", "many", "get", "otelcol", "-o", `jsonpath={range .items[*]}{.status.observedGeneration} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
	return strings.Count("\n"+string(text), "\n1 "), strings.Count(string(text), "True"), err
}

// explain shows why collectors are not ready.
func explain(ctx context.Context, k *cluster.Cluster) {
	for _, args := range [][]string{
		{"-n", "mangru", "logs", "-l", "app.kubernetes.io/name=mangru-operator", "--tail=20"},
		{"-n", "many", "get", "otelcol", "c000", "-o", "jsonpath={.status}"},
		{"-n", "many", "get", "deployments,pods"},
		{"get", "nodes"},
	} {
		text, err := k.Kubectl(ctx, args...)
		fmt.Fprintf(os.Stderr, "kubectl %s: %v\n%s\n", strings.Join(args, " "), err, text[:min(len(text), 4000)])
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
