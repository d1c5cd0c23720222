// Package otelconf turns every form of configuration that people have
// (OpenTelemetry Collector YAML, an OpenTelemetryCollector object, a Prometheus
// file, flags alone) into one typed, validated collector configuration. It
// reads; it starts nothing.
package otelconf

import (
	"time"

	"github.com/prometheus/prometheus/config"

	"github.com/mangru/mangru/internal/rewrite"
)

// Config is what a collector runs. A Config that Load returned is complete:
// defaults are applied and everything in it has been checked.
type Config struct {
	// Form says what the configuration was read from, for people.
	Form string
	// Files are the paths that were read, and FilePatterns the globs that were
	// looked up. A change of any of them asks for a reload.
	Files, FilePatterns []string
	// Global and ScrapeConfigs are Prometheus' own types with Prometheus'
	// meaning; each ScrapeConfig has been validated against Global. Labels that
	// all series get are not to be taken from Global: they are in Programs and in
	// the ExternalLabels of every Endpoint.
	Global        config.GlobalConfig
	ScrapeConfigs []*config.ScrapeConfig
	// TargetAllocators hand out jobs and targets besides ScrapeConfigs.
	TargetAllocators []TargetAllocator
	// Programs is what is done to each series of a job before it is queued, by
	// job name. Jobs that are not in it are left as they are. It is also done to
	// the series that a scrape makes itself, such as up.
	Programs map[string]rewrite.Program
	// TargetInfo makes the target_info series of a job's targets, by job name; jobs
	// that are not in it have none. Programs are not applied to them.
	TargetInfo map[string]*rewrite.TargetInfo
	// CreatedZeroIngestion adds a sample of 0 at the time at which a counter,
	// histogram or summary says that it began.
	CreatedZeroIngestion bool
	// StartTimestamps puts that time beside each sample, which remote write 2.0 has
	// a field for.
	StartTimestamps bool
	// APIServerProxy names, for the jobs whose targets are reached through the
	// Kubernetes API server, the kubeconfig file whose credentials the scrape
	// uses. The targets' scheme and address are the API server's already.
	APIServerProxy map[string]string
	// Endpoints are the remote-write receivers. Each gets the jobs that it names.
	Endpoints []Endpoint
	Queue     Queue
	// BatchTimeout is the longest that a sample waits for company.
	BatchTimeout time.Duration
	// Dedupe says what happens to a target that two jobs scrape at the same
	// address, path and parameters. It is reported in either case.
	Dedupe Dedupe
	// Shard is the fixed part of the targets that this collector scrapes.
	Shard Shard
	// Sharding says whether collectors share the targets among themselves.
	Sharding Sharding
	// MetricsAddress serves the collector's own metrics; empty turns it off.
	MetricsAddress string
	// MetricsNames says how the names of the collector's own otelcol_ metrics end.
	MetricsNames MetricsNames
	// HealthAddress serves the health check; empty turns it off.
	HealthAddress string
	// HealthPath is where HealthAddress serves it.
	HealthPath string
	// PprofAddress serves Go's profiles; empty turns them off.
	PprofAddress string
	// Memory asks for scrapes to be skipped while the process holds more.
	Memory   MemoryLimit
	LogLevel string
	// LogEncoding is "console", "json" or empty where the configuration does not say.
	LogEncoding string
	// Warnings are sentences about what will run but is likely not meant.
	Warnings []Warning
	// Notes are sentences about what has no effect, or another one, in this
	// program and does no harm.
	Notes []Warning

	// routes are the ways from receivers to the endpoints in whole. Programs,
	// TargetInfo and Endpoints are made from them, if there are any.
	routes []route
	whole  []Endpoint
}

// Dedupe is a way to treat targets that several jobs scrape.
type Dedupe string

// The ways to treat targets that several jobs scrape.
const (
	DedupeOff          Dedupe = "off"
	DedupeFirstJobWins Dedupe = "first-job-wins"
)

// Naming is a way to name series.
type Naming string

// The ways to name series.
const (
	// NamingPrometheus leaves names and labels as targets expose them.
	NamingPrometheus Naming = "prometheus"
	// NamingOTel names them as the OpenTelemetry Collector's exporter does.
	NamingOTel Naming = "otel"
)

// Shard is the part Index, counted from 0, of Count equal parts of all targets.
// A Count of 0 stands for all of them.
type Shard struct{ Index, Count int }

// Sharding is how several collectors with the same configuration share the
// targets. Targets that an allocator hands out are never shared once more.
type Sharding struct {
	// Auto shares them among the pods of the collector's own Deployment, DaemonSet
	// or StatefulSet, if it runs in one. It is false where Shard is set.
	Auto bool
}

// MetricsNames says how the names of the collector's own metrics end.
type MetricsNames struct {
	// TypeSuffix adds _total to counters, UnitSuffix units such as _bytes.
	TypeSuffix, UnitSuffix bool
}

// Queue bounds what waits for the endpoints.
type Queue struct {
	// MaxBytes bounds the memory that the queue takes.
	MaxBytes int64
	// MaxAge bounds how long a sample waits.
	MaxAge time.Duration
	// Directory keeps what waits over restarts; empty keeps it in memory alone.
	Directory string
}

// Warning is a sentence about one place in a configuration.
type Warning struct {
	// Where is file, line and field, as far as known.
	Where string
	Text  string
}
