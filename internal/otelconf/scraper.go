package otelconf

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"reflect"
	"time"

	"github.com/alecthomas/units"
	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/kubernetes"
)

// ScraperCluster is how a scraper reaches the API server of its cluster.
type ScraperCluster struct {
	// Endpoint is the API server's URL, CA its certificates in PEM, Token the
	// bearer token that it is shown.
	Endpoint, CA, Token string
}

// The files that pods find their own credentials in. In a scraper's
// configuration they stand for the credentials that its cluster has.
const (
	podTokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	podCAFile    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)

// What a scraper may ask of a server that runs many: how often it scrapes, and
// how long a target's page may be, uncompressed.
const (
	minScraperInterval = time.Second
	maxScraperPage     = 128 * units.MiB
)

// Scraper reads the configuration of a scraper, a Prometheus file, which comes
// from those who use the server and not from those who run it: it may find
// targets in its own cluster only, and name no file, environment variable or
// address of the server's. Discovery asks the API server of c; requests to
// targets are the caller's to send through it. The configuration has no
// endpoints.
func Scraper(text []byte, c ScraperCluster) (*Config, error) {
	cfg, err := Load(Options{
		Files: []string{"yaml:" + string(text)}, Shard: "off", OwnEndpoint: true,
		Getenv:   func(string) (string, bool) { return "", false },
		ReadFile: func(name string) ([]byte, error) { return nil, fmt.Errorf("%s: %w", name, fs.ErrPermission) },
		Fetch:    func(string) ([]byte, error) { return nil, fs.ErrPermission },
	})
	if err != nil {
		return nil, err
	}
	switch {
	case cfg.Form != string(formPrometheus):
		return nil, fmt.Errorf("found an %s, allowed is a Prometheus configuration with scrape_configs", cfg.Form)
	case len(cfg.Files) > 0 || len(cfg.FilePatterns) > 0:
		return nil, errors.New("scrape_config_files: a scraper has no files")
	case len(cfg.Endpoints) > 0:
		return nil, errors.New("remote_write: a scraper writes to its destination only")
	case len(cfg.ScrapeConfigs) == 0:
		return nil, errors.New("scrape_configs: at least one job is required")
	}
	api, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, errors.New("the API server's address is not a URL")
	}
	var errs []error
	for _, sc := range cfg.ScrapeConfigs {
		if err := confine(sc, c, api); err != nil {
			errs = append(errs, fmt.Errorf("job %q: %w", sc.JobName, err))
		}
	}
	cfg.MetricsAddress, cfg.HealthAddress, cfg.PprofAddress = "", "", ""
	return cfg, errors.Join(errs...)
}

// confine checks that a job stays in its cluster and gives its discovery the
// cluster's credentials.
func confine(sc *config.ScrapeConfig, c ScraperCluster, api *url.URL) error {
	if i := time.Duration(sc.ScrapeInterval); i < minScraperInterval {
		return fmt.Errorf("scrape_interval: found %s, allowed is at least %s", i, minScraperInterval)
	}
	switch n := sc.BodySizeLimit; {
	case n == 0:
		sc.BodySizeLimit = maxScraperPage
	case n > maxScraperPage:
		return fmt.Errorf("body_size_limit: found %s, allowed are at most %s", n, maxScraperPage)
	}
	h := sc.HTTPClientConfig
	if a := h.Authorization; a != nil && *a == (commoncfg.Authorization{Type: "Bearer", CredentialsFile: podTokenFile}) {
		h.Authorization = nil
	}
	if h.TLSConfig.CAFile == podCAFile {
		h.TLSConfig.CAFile = ""
	}
	h.TLSConfig.InsecureSkipVerify = false // the API server sees to the targets' certificates
	h.FollowRedirects, h.EnableHTTP2 = commoncfg.DefaultHTTPClientConfig.FollowRedirects, commoncfg.DefaultHTTPClientConfig.EnableHTTP2
	if !reflect.DeepEqual(h, commoncfg.DefaultHTTPClientConfig) {
		return errors.New("targets are reached through the API server, which passes no credentials, certificates, headers or proxies on: allowed are authorization with " +
			podTokenFile + ", and tls_config with " + podCAFile + " and insecure_skip_verify")
	}
	h.FollowRedirects = sc.HTTPClientConfig.FollowRedirects
	sc.HTTPClientConfig = h
	for _, sd := range sc.ServiceDiscoveryConfigs {
		switch sd := sd.(type) {
		case discovery.StaticConfig: // the addresses are checked when they are reached for
		case *kubernetes.SDConfig:
			if err := confineDiscovery(sd, c, api); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s_sd_configs: a scraper finds its targets by kubernetes_sd_configs, or static_configs that name services of the cluster", sd.Name())
		}
	}
	return nil
}

func confineDiscovery(sd *kubernetes.SDConfig, c ScraperCluster, api *url.URL) error {
	const field = "kubernetes_sd_configs"
	switch {
	case sd.Role == kubernetes.RoleIngress:
		return fmt.Errorf("%s: found role ingress, allowed are node, pod, service, endpoints and endpointslice", field)
	case sd.KubeConfig != "" || sd.APIServer.URL != nil || !reflect.DeepEqual(sd.HTTPClientConfig, commoncfg.DefaultHTTPClientConfig):
		return fmt.Errorf("%s: api_server, kubeconfig_file and settings of HTTP are those of the scraper's cluster", field)
	case sd.NamespaceDiscovery.IncludeOwnNamespace:
		return fmt.Errorf("%s: a scraper has no namespace of its own (own_namespace)", field)
	}
	sd.APIServer = commoncfg.URL{URL: api}
	sd.HTTPClientConfig.Authorization = &commoncfg.Authorization{Type: "Bearer", Credentials: commoncfg.Secret(c.Token)}
	sd.HTTPClientConfig.TLSConfig = commoncfg.TLSConfig{CA: c.CA}
	return nil
}

// KubernetesAPIHost is the host of the API server in the URLs of ThroughAPIServer,
// as pods know it.
const KubernetesAPIHost = "kubernetes.default.svc"

// metaLabel is the value of a label of Kubernetes' discovery.
func metaLabel(get func(string) string, name string) string {
	return get(model.MetaLabelPrefix + "kubernetes_" + name)
}
