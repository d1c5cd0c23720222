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
	"github.com/prometheus/prometheus/storage/remote/azuread"
	"github.com/prometheus/prometheus/storage/remote/googleiam"

	"github.com/mangru/mangru/internal/rewrite"
)

// Endpoint is one remote-write receiver.
type Endpoint struct {
	// Name is the exporter's id, or the host where it has none; unique.
	Name string
	// Exporter is the exporter's id where several endpoints are made of one.
	Exporter string
	URL      string
	// Jobs are the names of the jobs whose series the endpoint gets; nil stands
	// for all of them, those of target allocators included.
	Jobs []string
	// ExternalLabels are added to series that do not have them, before Rewrite.
	ExternalLabels labels.Labels
	// Rewrite is done to each series on its way to this endpoint.
	Rewrite rewrite.Program
	// Protocol is the version of remote write, "1.0" or "2.0"; empty means the best
	// one that the receiver takes.
	Protocol string
	// SendMetadata sends types, helps and units; with version 1.0 each
	// MetadataInterval.
	SendMetadata     bool
	MetadataInterval time.Duration
	// SendExemplars and SendNativeHistograms send these as well; without them
	// they are left out and counted.
	SendExemplars, SendNativeHistograms bool
	// Headers are sent with every request, before signing.
	Headers map[string]string
	// Timeout bounds one attempt.
	Timeout time.Duration
	// HTTP holds TLS, proxy, basic, bearer and OAuth 2 authentication. At most one
	// of its kinds and of the next three is set.
	HTTP      commoncfg.HTTPClientConfig
	SigV4     *SigV4
	AzureAD   *azuread.AzureADConfig
	GoogleIAM *googleiam.Config
	// MaxRequestBytes bounds the compressed body of a request.
	MaxRequestBytes int
	// MaxSamplesPerRequest bounds the samples of a request.
	MaxSamplesPerRequest int
	// MinShards and MaxShards bound how many requests may be under way at once.
	MinShards, MaxShards int
	// SampleAgeLimit is the age from which on samples are dropped, and counted, in
	// place of being sent; 0 leaves that to the queue.
	SampleAgeLimit time.Duration
	Retry          Retry
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
		SendMetadata:         true,
		MetadataInterval:     time.Minute,
		SendNativeHistograms: true,
		Timeout:              30 * time.Second,
		HTTP:                 config.DefaultRemoteWriteHTTPClientConfig,
		MaxRequestBytes:      DefaultMaxRequestBytes,
		MaxSamplesPerRequest: DefaultMaxSamplesPerRequest,
		MinShards:            1,
		MaxShards:            DefaultMaxShards,
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

// parseEndpointURL checks a remote-write URL. Its errors don't repeat the URL,
// which may hold a password.
func parseEndpointURL(raw string) (*url.URL, error) {
	switch {
	case raw == "":
		return nil, errors.New("must be the remote-write URL, found nothing")
	case raw == "AMP_WORKSPACE_URL" || strings.Contains(raw, "<") && strings.Contains(raw, ">"):
		return nil, fmt.Errorf("%q is a placeholder: put the workspace's remote-write URL there, such as https://aps-workspaces.us-east-1.amazonaws.com/workspaces/ws-.../api/v1/remote_write", raw)
	}
	return parseHTTPURL(raw)
}

// parseHTTPURL parses the URL of a server. Its errors don't repeat the URL.
func parseHTTPURL(raw string) (*url.URL, error) {
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

// authenticated reports whether requests carry credentials of some kind.
func (e *Endpoint) authenticated() bool {
	return hasAuth(e.HTTP) || e.SigV4 != nil || e.AzureAD != nil || e.GoogleIAM != nil
}

func hasAuth(c commoncfg.HTTPClientConfig) bool {
	return c.BasicAuth != nil || c.Authorization != nil || c.OAuth2 != nil
}
