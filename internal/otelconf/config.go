// Package otelconf turns every form of configuration that people have
// (OpenTelemetry Collector YAML, an OpenTelemetryCollector object, a Prometheus
// file, flags alone) into one typed, validated collector configuration. It
// reads; it starts nothing.
package otelconf

import (
	"time"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
)

// Config is what a collector runs. A Config that Load returned is complete:
// defaults are applied and everything in it has been checked.
type Config struct {
	// Form says what the configuration was read from, for people.
	Form string
	// Global and ScrapeConfigs are Prometheus' own types with Prometheus'
	// meaning; each ScrapeConfig has been validated against Global.
	// Global.ExternalLabels are already in the ExternalLabels of every Endpoint.
	Global        config.GlobalConfig
	ScrapeConfigs []*config.ScrapeConfig
	// APIServerProxy names, for the jobs whose targets are reached through the
	// Kubernetes API server, the kubeconfig file whose credentials the scrape
	// uses. The targets' scheme and address are the API server's already.
	APIServerProxy map[string]string
	// Endpoints are the remote-write receivers; every sample goes to each.
	Endpoints []Endpoint
	Queue     Queue
	// BatchTimeout is the longest that a sample waits for company.
	BatchTimeout time.Duration
	// Dedupe says what happens to a target that two jobs scrape at the same
	// address, path and parameters. It is reported in either case.
	Dedupe Dedupe
	// MetricsAddress serves the collector's own metrics; empty turns it off.
	MetricsAddress string
	// HealthAddress serves the health check; empty turns it off.
	HealthAddress string
	// HealthPath is where HealthAddress serves it.
	HealthPath string
	// Memory asks for scrapes to be skipped while the process holds more.
	Memory   MemoryLimit
	LogLevel string
	// Warnings are sentences about what will run but is likely not meant.
	Warnings []Warning
}

// Dedupe is a way to treat targets that several jobs scrape.
type Dedupe string

// The ways to treat targets that several jobs scrape.
const (
	DedupeOff          Dedupe = "off"
	DedupeFirstJobWins Dedupe = "first-job-wins"
)

// Endpoint is one remote-write receiver.
type Endpoint struct {
	// Name is the exporter's id, or the host where it has none; unique.
	Name string
	URL  string
	// Headers are sent with every request, before signing.
	Headers map[string]string
	// ExternalLabels are added to series that do not have them.
	ExternalLabels labels.Labels
	// Timeout bounds one attempt.
	Timeout time.Duration
	// HTTP holds TLS, proxy, basic and bearer authentication.
	HTTP commoncfg.HTTPClientConfig
	// SigV4 is nil where requests are not signed.
	SigV4 *SigV4
	// MaxRequestBytes bounds the compressed body of a request.
	MaxRequestBytes int
	// MaxSamplesPerRequest bounds the samples of a request.
	MaxSamplesPerRequest int
	// Shards is how many requests may be under way at once.
	Shards int
	Retry  Retry
}

// Retry is the wait between attempts. Samples leave the queue by age or size
// (see Queue), never by a number of attempts.
type Retry struct {
	Initial, Max time.Duration
}

// SigV4 says how requests are signed and where the credentials come from.
type SigV4 struct {
	// Region is empty where neither the configuration, the host nor the
	// environment names it: then the AWS SDK's own search decides.
	Region  string
	Service string // "aps" where not given
	// RoleARN is assumed with the credentials found; empty uses them as they are.
	RoleARN     string
	ExternalID  string
	SessionName string
	STSRegion   string
	// Profile picks a section of the shared credentials file.
	Profile string
	// AccessKey and SecretKey are static credentials; both or none.
	AccessKey string
	SecretKey commoncfg.Secret
	// WebIdentityTokenFile is exchanged for credentials of RoleARN.
	WebIdentityTokenFile string
}

// MemoryLimit is what the memory_limiter processor was told; all zero where there
// is none. Percentages are of the memory that the process may use.
type MemoryLimit struct {
	CheckInterval              time.Duration
	LimitBytes, SpikeBytes     int64
	LimitPercent, SpikePercent int
}

// Queue bounds what waits in memory for the endpoints.
type Queue struct {
	MaxBytes int64
	MaxAge   time.Duration
}

// Warning is a sentence about one place in a configuration.
type Warning struct {
	// Where is file, line and field, as far as known.
	Where string
	Text  string
}
