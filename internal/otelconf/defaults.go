package otelconf

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
)

// What applies where a configuration does not say.
const (
	// DefaultMetricsAddress is where the OpenTelemetry Collector serves its own metrics.
	DefaultMetricsAddress = "localhost:8888"
	// DefaultHealthAddress is the health_check extension's.
	DefaultHealthAddress = "localhost:13133"
	// DefaultBatchTimeout applies where no batch processor or queue_config is given.
	DefaultBatchTimeout = time.Second
	// DefaultMaxRequestBytes is what Amazon Managed Service for Prometheus takes.
	DefaultMaxRequestBytes = 1_000_000
	// DefaultMaxSamplesPerRequest keeps one request well below that.
	DefaultMaxSamplesPerRequest = 10_000
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

// NewEndpoint returns the endpoint for a remote-write URL with every default. A
// URL of Amazon Managed Service for Prometheus is signed for its region.
// Credentials in the URL become basic authentication, so that the URL may be
// logged. An empty name becomes the URL's host.
func NewEndpoint(name, rawURL string) (Endpoint, error) {
	u, err := parseEndpointURL(rawURL)
	if err != nil {
		return Endpoint{}, err
	}
	e := Endpoint{
		Name:                 name,
		Timeout:              30 * time.Second,
		HTTP:                 config.DefaultRemoteWriteHTTPClientConfig,
		MaxRequestBytes:      DefaultMaxRequestBytes,
		MaxSamplesPerRequest: DefaultMaxSamplesPerRequest,
		Shards:               4,
		Retry:                Retry{Initial: 50 * time.Millisecond, Max: 30 * time.Second},
	}
	if name == "" {
		e.Name = u.Host
	}
	if u.User != nil {
		password, _ := u.User.Password()
		e.HTTP.BasicAuth = &commoncfg.BasicAuth{Username: u.User.Username(), Password: commoncfg.Secret(password)}
		u.User = nil
	}
	e.URL = u.String()
	if region := ampRegion(e.URL); region != "" && e.HTTP.BasicAuth == nil {
		e.SigV4 = &SigV4{Region: region, Service: defaultService, SessionName: defaultSessionName}
	}
	return e, nil
}

// AddEndpoint adds e and gives it the global external labels that it does not
// set itself.
func (c *Config) AddEndpoint(e Endpoint) {
	b := labels.NewBuilder(c.Global.ExternalLabels)
	e.ExternalLabels.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
	e.ExternalLabels = b.Labels()
	c.Endpoints = append(c.Endpoints, e)
}

// parseEndpointURL checks a remote-write URL. Its errors don't repeat the URL,
// which may hold a password.
func parseEndpointURL(raw string) (*url.URL, error) {
	switch {
	case raw == "":
		return nil, errors.New("must be the remote-write URL, found nothing")
	case raw == "AMP_WORKSPACE_URL" || strings.Contains(raw, "<") && strings.Contains(raw, ">"):
		return nil, fmt.Errorf("%q is a placeholder: put the workspace's remote-write URL there, such as https://aps-workspaces.us-east-1.amazonaws.com/workspaces/ws-.../api/v1/remote_write", raw)
	}
	u, err := url.Parse(raw)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("not a URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("scheme %q of the URL is not supported (allowed: http, https)", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, errors.New("the URL has no host")
	}
	return u, nil
}

var ampHost = regexp.MustCompile(`^aps-workspaces(?:-fips)?\.([a-z0-9-]+)\.`)

// ampRegion returns the region in the host name of an AMP endpoint, or "".
func ampRegion(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	if m := ampHost.FindStringSubmatch(u.Hostname()); m != nil {
		return m[1]
	}
	return ""
}
