// Package peer knows the collectors that are compared: how each is built,
// configured and started.
package peer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// Names of the collectors.
const (
	Mangru     = "mangru"
	VMAgent    = "vmagent"
	VMAgentOwn = "vmagent-own" // vmagent with its own protocol
	Prometheus = "prometheus"
	OTelCol    = "otelcol"
)

// VictoriaMetrics is a server that is compared; the vmagent's module has it.
const VictoriaMetrics = "victoria-metrics"

// Names lists all collectors.
func Names() []string { return []string{Mangru, VMAgent, VMAgentOwn, Prometheus, OTelCol} }

// Target is a page to scrape.
type Target struct{ Address, Path, Node string }

// Job is a scrape job.
type Job struct {
	Name string
	// HonorLabels keeps labels on the page that targets have too.
	HonorLabels bool
	Targets     []Target
}

// Task is what a collector is asked to do. It is the same for all.
type Task struct {
	Jobs     []Job
	Interval time.Duration
	// URL takes the remote writes.
	URL string
	// V2 asks for remote write 2.0 of those that have it.
	V2 bool
}

// Collector is one of the compared programs.
type Collector struct {
	Name   string
	Binary string
	// Args are added to the command line.
	Args []string
	// Config is YAML text added to the end of the configuration. Mangru's only.
	Config string
}

// Command writes the collector's configuration into dir and returns what
// starts it. port is free for the collector's own HTTP server.
func (c Collector) Command(ctx context.Context, task Task, dir string, port int) (*exec.Cmd, error) {
	var config []byte
	var args []string
	var err error
	file := filepath.Join(dir, c.Name+".yaml")
	data := filepath.Join(dir, c.Name+".data")
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	switch c.Name {
	case Mangru:
		config, err = prometheusConfig(task, true)
		config = append(config, c.Config...)
		args = []string{"collector", "--config", file, "--metrics-address", listen}
	case VMAgent, VMAgentOwn:
		config, err = prometheusConfig(task, false)
		protocol := "-remoteWrite.forcePromProto"
		if c.Name == VMAgentOwn {
			protocol = "-remoteWrite.forceVMProto"
		}
		args = []string{"-promscrape.config=" + file, "-remoteWrite.url=" + task.URL, protocol, "-remoteWrite.tmpDataPath=" + data, "-httpListenAddr=" + listen}
	case Prometheus:
		config, err = prometheusConfig(task, true)
		args = []string{"--agent", "--config.file=" + file, "--storage.agent.path=" + data, "--web.listen-address=" + listen}
	case OTelCol:
		config, err = otelConfig(task, port)
		args = []string{"--config", file}
		if task.V2 {
			args = append(args, "--feature-gates=+exporter.prometheusremotewritexporter.enableSendingRW2")
		}
	default:
		return nil, fmt.Errorf("unknown collector %q (there are %v)", c.Name, Names())
	}
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, c.Binary, slices.Concat(args, c.Args)...)
	cmd.Dir = dir
	return cmd, nil
}
