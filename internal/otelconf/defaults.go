package otelconf

import (
	"time"

	"github.com/prometheus/prometheus/config"
)

// What applies where a configuration does not say.
const (
	// DefaultMetricsAddress is where the OpenTelemetry Collector serves its own metrics.
	DefaultMetricsAddress = "localhost:8888"
	// DefaultHealthAddress is the health_check extension's.
	DefaultHealthAddress = "localhost:13133"
	// DefaultPprofAddress is the pprof extension's.
	DefaultPprofAddress = "localhost:1777"
	// DefaultBatchTimeout applies where no batch processor or queue_config is given.
	DefaultBatchTimeout = time.Second
	// DefaultMaxRequestBytes is what Amazon Managed Service for Prometheus takes.
	DefaultMaxRequestBytes = 1_000_000
	// DefaultMaxSamplesPerRequest keeps one request well below that.
	DefaultMaxSamplesPerRequest = 10_000
	// DefaultMaxShards is how many requests to one endpoint may be under way at once
	// while it catches up.
	DefaultMaxShards = 16
	// DefaultQueueBytes holds about an hour of a mid-sized cluster.
	DefaultQueueBytes = 128 << 20
	// DefaultQueueAge is how long samples wait for an endpoint that is away.
	DefaultQueueAge = 2 * time.Hour
	// DefaultScrapeInterval is that of the built-in jobs.
	DefaultScrapeInterval = 15 * time.Second

	defaultService     = "aps"
	defaultSessionName = "mangru-collector"
)

// New returns a Config with every default and no jobs and endpoints.
func New() *Config {
	return &Config{
		Form:           "built-in defaults",
		Global:         config.DefaultGlobalConfig,
		Queue:          Queue{MaxBytes: DefaultQueueBytes, MaxAge: DefaultQueueAge},
		BatchTimeout:   DefaultBatchTimeout,
		Dedupe:         DedupeOff,
		MetricsAddress: DefaultMetricsAddress,
		HealthPath:     "/",
		LogLevel:       "info",
	}
}
