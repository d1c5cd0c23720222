package app

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"

	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/ingest"
)

// ServerConfig is the configuration of the server mode. Zero values take the
// defaults of the parts; DefaultServerConfig fills in those that are its own.
type ServerConfig struct {
	Listen string `yaml:"listen"`
	Data   string `yaml:"data"`
	Region string `yaml:"region"`
	// Domain is the suffix of virtual hosts such as
	// aps-workspaces.<region>.<domain>.
	Domain string `yaml:"domain"`
	// PublicURL is how callers reach the server when that is not how its
	// requests arrive, such as behind a proxy.
	PublicURL string    `yaml:"public_url"`
	TLS       ServerTLS `yaml:"tls"`
	// MetricsPublic serves /metrics beyond loopback.
	MetricsPublic bool             `yaml:"metrics_public"`
	DrainTimeout  Duration         `yaml:"drain_timeout"`
	MaxWorkspaces int              `yaml:"max_workspaces"`
	MaxScrapers   int              `yaml:"max_scrapers"`
	Log           ServerLog        `yaml:"log"`
	Signatures    ServerSignatures `yaml:"signatures"`
	// TrustedProxies are the addresses and networks whose X-Forwarded-* headers
	// are believed.
	TrustedProxies []string      `yaml:"trusted_proxies"`
	Secrets        ServerSecrets `yaml:"secrets"`
	Issuers        ServerIssuers `yaml:"issuers"`
	Audit          ServerAudit   `yaml:"audit"`
	Alerts         ServerAlerts  `yaml:"alerts"`
	Rules          ServerRules   `yaml:"rules"`
	Logs           ServerLogs    `yaml:"logs"`
	Limits         ServerLimits  `yaml:"limits"`
	Store          ServerStore   `yaml:"store"`
	Query          ServerQuery   `yaml:"query"`
	UI             ServerUI      `yaml:"ui"`
	Addons         ServerAddons  `yaml:"addons"`
}

// auditFile is where the present file of the audit log is.
func (c *ServerConfig) auditFile() string { return filepath.Join(c.Data, "audit", "audit.jsonl") }

// ServerAddons is about what the server puts into registered clusters.
type ServerAddons struct {
	// Image is that of this program. Empty means mangru:VERSION.
	Image string `yaml:"image"`
	// Kubeconfigs are the files by which clusters are reached, by the name under
	// which they are registered, or the ARN for those of other accounts.
	Kubeconfigs map[string]string `yaml:"kubeconfigs"`
	// watched leads to the one that mangru up watches; it serves for clusters
	// whose API server is the same.
	watched string
}

// ServerTLS makes the listener speak HTTPS.
type ServerTLS struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// ServerLog says what is logged.
type ServerLog struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// ServerSignatures says which signatures are accepted.
type ServerSignatures struct {
	Skew                 Duration          `yaml:"skew"`
	Tolerate             []sigv4.Tolerance `yaml:"tolerate"`
	AllowUnsignedPayload bool              `yaml:"allow_unsigned_payload"`
	// MaxUnverified bounds the memory of bodies whose signatures are not known
	// to be good yet. 0 means 64 MiB.
	MaxUnverified Size `yaml:"max_unverified"`
	// MaxRefusals is how many refusals a second an address gets at once whose
	// callers are not known; later ones wait. 0 means 50, -1 no bound.
	MaxRefusals int `yaml:"max_refusals"`
	// Debug logs what was expected to be signed when a signature is wrong.
	Debug bool `yaml:"debug"`
}

// ServerSecrets says what encrypts the secrets in the database.
type ServerSecrets struct {
	// KeyCommand, a program and its arguments, prints the key, instead of the
	// file secret.key in the data directory.
	KeyCommand []string `yaml:"key_command"`
}

// ServerIssuers is about the issuers of web identity tokens.
type ServerIssuers struct {
	// TokenFiles holds the file with the bearer token that an issuer wants to
	// see before it shows its keys, by origin such as https://10.0.0.1:6443.
	TokenFiles map[string]string `yaml:"token_files"`
}

// ServerAudit says what the audit log keeps. Zero values take its defaults.
type ServerAudit struct {
	MaxSize  Size     `yaml:"max_size"`
	MaxAge   Duration `yaml:"max_age"`
	MaxFiles int      `yaml:"max_files"`
	KeepFor  Duration `yaml:"keep_for"`
	// DataPlane is the share of allowed data-plane calls that is recorded.
	DataPlane float64 `yaml:"data_plane"`
}

// ServerLimits bounds what may be written.
type ServerLimits struct {
	MaxRequestSize       Size `yaml:"max_request_size"`
	MaxDecompressedBytes Size `yaml:"max_decompressed_bytes"`
	MaxSeriesPerRequest  int  `yaml:"max_series_per_request"`
	MaxSamplesPerRequest int  `yaml:"max_samples_per_request"`
	MaxLabels            int  `yaml:"max_labels"`
	MaxLabelName         int  `yaml:"max_label_name"`
	MaxLabelValue        int  `yaml:"max_label_value"`
	MaxSeries            int  `yaml:"max_series"`
	MaxSeriesPerMetric   int  `yaml:"max_series_per_metric"`
	MaxSampleRate        int  `yaml:"max_sample_rate"`
	MaxHistogramBuckets  int  `yaml:"max_histogram_buckets"`
	MaxHAClusters        int  `yaml:"max_ha_clusters"`
	// OutOfOrderWindow is how far behind its workspace a sample may be that is
	// not the newest of its series.
	OutOfOrderWindow Duration `yaml:"out_of_order_window"`
	MaxSampleAge     Duration `yaml:"max_sample_age"`
	MaxSampleFuture  Duration `yaml:"max_sample_future"`
}

func (l ServerLimits) ingest() ingest.Limits {
	return ingest.Limits{
		MaxDecompressedBytes: int(l.MaxDecompressedBytes), MaxSeriesPerRequest: l.MaxSeriesPerRequest,
		MaxSamplesPerRequest: l.MaxSamplesPerRequest, MaxLabels: l.MaxLabels, MaxLabelName: l.MaxLabelName,
		MaxLabelValue: l.MaxLabelValue, MaxSeries: l.MaxSeries,
		MaxSampleAge: time.Duration(l.MaxSampleAge), MaxSampleFuture: time.Duration(l.MaxSampleFuture),
		MaxSeriesPerMetric: l.MaxSeriesPerMetric, MaxSampleRate: l.MaxSampleRate, MaxHistogramBuckets: l.MaxHistogramBuckets,
		OutOfOrderWindow: time.Duration(l.OutOfOrderWindow), HA: ingest.HA{MaxClusters: l.MaxHAClusters},
	}
}

// ServerStore says how samples are kept.
type ServerStore struct {
	Retention        Duration `yaml:"retention"`
	MaxBytes         Size     `yaml:"max_bytes"`
	OutOfOrderWindow Duration `yaml:"out_of_order_window"`
	IdleTimeout      Duration `yaml:"idle_timeout"`
	MinFreeDisk      Size     `yaml:"min_free_disk"`
}

// ServerQuery bounds queries and says what is logged of them.
type ServerQuery struct {
	MaxConcurrent int      `yaml:"max_concurrent"`
	MaxTotal      int      `yaml:"max_total"`
	MaxWaiting    int      `yaml:"max_waiting"`
	MaxSamples    int      `yaml:"max_samples"`
	MaxSelectors  int      `yaml:"max_selectors"`
	Timeout       Duration `yaml:"timeout"`
	LookbackDelta Duration `yaml:"lookback_delta"`
	// Workers help those that evaluate queries; negative means none.
	Workers int `yaml:"workers"`
	// Weights are the shares of workspaces, by id, when there are more queries
	// than can run; that of all others is 1.
	Weights map[string]float64 `yaml:"weights"`
	// PriceList is a file with what samples cost, for the view of cardinality.
	PriceList string         `yaml:"price_list"`
	Log       ServerQueryLog `yaml:"log"`
}

// ServerQueryLog says which queries of all workspaces are logged, and where.
type ServerQueryLog struct {
	File     string `yaml:"file"`
	MaxSize  Size   `yaml:"max_size"`
	MaxFiles int    `yaml:"max_files"`
	// MinSamples and MinTime leave out what is cheaper.
	MinSamples int64    `yaml:"min_samples"`
	MinTime    Duration `yaml:"min_time"`
}

// DefaultServerConfig listens on loopback only and tolerates what known clients
// do; each tolerance can be taken away.
func DefaultServerConfig() ServerConfig {
	return ServerConfig{
		Listen: "127.0.0.1:9009", Data: "./mangru-data", Region: "us-east-1",
		Log:        ServerLog{Level: "info", Format: "text"},
		UI:         ServerUI{Listen: "127.0.0.1:3000"},
		Signatures: ServerSignatures{Tolerate: sigv4.AllTolerances()},
	}
}

// Duration is a time span as Prometheus writes it, such as 150d or 1h30m.
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	text, negative := strings.CutPrefix(string(b), "-")
	v, err := model.ParseDuration(text)
	if err != nil {
		return errors.New("expected a duration such as 30s, 5m, 1h30m or 150d")
	}
	if *d = Duration(v); negative {
		*d = -*d
	}
	return nil
}

// Size is a number of bytes, such as 1048576, 64KiB or 10MiB.
type Size int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(b []byte) error {
	text, unit := string(b), int64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = rest, 1<<(10*(i+1))
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n > 1<<40 {
		return errors.New("expected a number of bytes such as 1048576, 64KiB, 10MiB or 1GiB")
	}
	*s = Size(n * unit)
	return nil
}

// fieldError is a setting that is not as it must be.
type fieldError struct{ field, message string }

func (e *fieldError) Error() string { return e.field + ": " + e.message }

// Validate checks what the parts do not check themselves.
func (c *ServerConfig) Validate() error {
	bad := func(field, format string, args ...any) error {
		return &fieldError{field, fmt.Sprintf(format, args...)}
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return bad("listen", "%q is not an address such as 127.0.0.1:9009", c.Listen)
	}
	if c.Data == "" {
		return bad("data", "a directory is required")
	}
	if c.Region == "" || strings.ContainsFunc(c.Region, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
	}) {
		return bad("region", "%q is not a region such as us-east-1", c.Region)
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return bad("public_url", "%q is not a URL such as https://mangru.example, without a path", c.PublicURL)
		}
		c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	}
	if err := c.UI.validate(); err != nil {
		return err
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return bad("tls", "cert_file and key_file belong together")
	}
	for i, t := range c.Signatures.Tolerate {
		if !slices.Contains(sigv4.AllTolerances(), t) {
			return bad(fmt.Sprintf("signatures.tolerate[%d]", i), "%q is not known, allowed are %v", t, sigv4.AllTolerances())
		}
	}
	if n := c.Signatures.MaxRefusals; n < -1 {
		return bad("signatures.max_refusals", "found %d, allowed are a number a second, 0 for %d, and -1 for no bound", n, api.DefaultRefusals)
	}
	if _, err := httpserver.ParseProxies(c.TrustedProxies); err != nil {
		return bad("trusted_proxies", "%s", err)
	}
	if d := c.Audit.DataPlane; d < 0 || d > 1 {
		return bad("audit.data_plane", "%g is not a share from 0 to 1", d)
	}
	for id, w := range c.Query.Weights {
		if w <= 0 {
			return bad("query.weights", "%s: %g is not greater than 0", id, w)
		}
	}
	for _, f := range []struct {
		name string
		v    int64
	}{{"limits.max_request_size", int64(c.Limits.MaxRequestSize)}, {"signatures.skew", int64(c.Signatures.Skew)},
		{"signatures.max_unverified", int64(c.Signatures.MaxUnverified)},
		{"store.retention", int64(c.Store.Retention)}, {"store.idle_timeout", int64(c.Store.IdleTimeout)},
		{"limits.max_decompressed_bytes", int64(c.Limits.MaxDecompressedBytes)},
		{"query.max_concurrent", int64(c.Query.MaxConcurrent)}, {"query.max_samples", int64(c.Query.MaxSamples)},
		{"query.max_total", int64(c.Query.MaxTotal)}, {"query.max_waiting", int64(c.Query.MaxWaiting)}, {"query.max_selectors", int64(c.Query.MaxSelectors)},
		{"query.log.max_size", int64(c.Query.Log.MaxSize)}, {"query.log.max_files", int64(c.Query.Log.MaxFiles)},
		{"query.log.min_samples", c.Query.Log.MinSamples}, {"query.log.min_time", int64(c.Query.Log.MinTime)},
		{"query.timeout", int64(c.Query.Timeout)}, {"query.lookback_delta", int64(c.Query.LookbackDelta)},
		{"audit.max_size", int64(c.Audit.MaxSize)}, {"audit.max_age", int64(c.Audit.MaxAge)},
		{"audit.max_files", int64(c.Audit.MaxFiles)}, {"audit.keep_for", int64(c.Audit.KeepFor)},
		{"max_workspaces", int64(c.MaxWorkspaces)}, {"drain_timeout", int64(c.DrainTimeout)},
		{"max_scrapers", int64(c.MaxScrapers)}, {"store.max_bytes", int64(c.Store.MaxBytes)},
		{"logs.max_size", int64(c.Logs.MaxSize)}, {"logs.max_files", int64(c.Logs.MaxFiles)}} {
		if f.v < 0 {
			return bad(f.name, "must not be negative")
		}
	}
	if err := c.Rules.validate(); err != nil {
		return err
	}
	if err := c.Logs.validate(); err != nil {
		return err
	}
	return c.Alerts.validate()
}

// LoadServerConfig reads a YAML file over the defaults. Errors name file, line,
// field, what was found and what is allowed.
func LoadServerConfig(file string) (ServerConfig, error) {
	cfg := DefaultServerConfig()
	text, err := os.ReadFile(file)
	if err != nil {
		return cfg, fmt.Errorf("read configuration: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return cfg, fmt.Errorf("%s: %w", file, err)
	}
	d := strictDecoder{file: file, lines: make(map[string]int)}
	if len(doc.Content) > 0 {
		if err := d.decode(doc.Content[0], reflect.ValueOf(&cfg).Elem(), ""); err != nil {
			return cfg, err
		}
	}
	if err := cfg.Validate(); err != nil {
		var f *fieldError
		if errors.As(err, &f) && d.lines[f.field] > 0 {
			return cfg, fmt.Errorf("%s:%d: %w", file, d.lines[f.field], err)
		}
		return cfg, fmt.Errorf("%s: %w", file, err)
	}
	return cfg, nil
}

// strictDecoder fills a struct from YAML and refuses what has no place in it.
type strictDecoder struct {
	file  string
	lines map[string]int // where each field was given
}

func (d *strictDecoder) fail(n *yaml.Node, field, format string, args ...any) error {
	if field != "" {
		field += ": "
	}
	return fmt.Errorf("%s:%d: %s%s", d.file, n.Line, field, fmt.Sprintf(format, args...))
}

func (d *strictDecoder) decode(n *yaml.Node, into reflect.Value, path string) error {
	d.lines[path] = n.Line
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if into.Kind() != reflect.Struct {
		return d.decodeValue(n, into, path)
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return d.fail(n, path, "found %q, expected fields", n.Value)
	}
	fields := make(map[string]reflect.Value)
	var names []string
	for i := range into.NumField() {
		name := into.Type().Field(i).Tag.Get("yaml")
		fields[name] = into.Field(i)
		names = append(names, name)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		f, ok := fields[key.Value]
		if !ok {
			return d.fail(key, at, "unknown field, allowed are %s", strings.Join(names, ", "))
		}
		if d.lines[at] > 0 {
			return d.fail(key, at, "given twice")
		}
		if err := d.decode(value, f, at); err != nil {
			return err
		}
	}
	return nil
}

func (d *strictDecoder) decodeValue(n *yaml.Node, into reflect.Value, path string) error {
	if into.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode {
		for i, e := range n.Content {
			d.lines[fmt.Sprintf("%s[%d]", path, i)] = e.Line
		}
	}
	if u, ok := into.Addr().Interface().(interface{ UnmarshalText([]byte) error }); ok && n.Kind == yaml.ScalarNode {
		if err := u.UnmarshalText([]byte(n.Value)); err != nil {
			return d.fail(n, path, "found %q, %v", n.Value, err)
		}
		return nil
	}
	if into.Kind() == reflect.Slice {
		into.SetZero() // a list replaces the default
		if n.Kind != yaml.SequenceNode {
			return d.fail(n, path, "found %q, expected a list", n.Value)
		}
	}
	if err := n.Decode(into.Addr().Interface()); err != nil {
		kind := map[reflect.Kind]string{reflect.Int: "a number", reflect.Bool: "true or false", reflect.String: "a text",
			reflect.Float64: "a number", reflect.Map: "fields"}[into.Kind()]
		return d.fail(n, path, "found %q, expected %s", n.Value, kind)
	}
	return nil
}
