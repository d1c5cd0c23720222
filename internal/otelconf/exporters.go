package otelconf

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// extensions decodes every extension, used or not, applies health_check and
// returns the signers by id.
func (l *loader) extensions(all map[string]*component) map[string]*authenticator {
	auth := map[string]*authenticator{}
	for _, id := range sortedKeys(all) {
		switch c := all[id]; c.kind {
		case "sigv4auth":
			auth[id] = &authenticator{sigv4: l.sigv4auth(c), used: c.used}
		case "health_check":
			l.healthCheck(c)
		case "pprof", "zpages", "memory_ballast":
			if c.used {
				l.warn(c.pos, c.path, "is accepted, but has no effect here")
			}
		}
	}
	return auth
}

// authenticator is an extension that an exporter may name.
type authenticator struct {
	sigv4 *SigV4
	used  bool // listed in service.extensions
}

func (l *loader) sigv4auth(c *component) *SigV4 {
	var body struct {
		Region     string `conf:"region"`
		Service    string `conf:"service"`
		AssumeRole struct {
			ARN         string `conf:"arn"`
			SessionName string `conf:"session_name"`
			STSRegion   string `conf:"sts_region"`
			ExternalID  string `conf:"external_id"`
			TokenFile   string `conf:"web_identity_token_file"`
		} `conf:"assume_role"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	if body.Region == "AWS_REGION" {
		l.at(c.body.get("region").pos, c.path+".region", `"AWS_REGION" is a placeholder: put the workspace's region there, such as us-east-1`)
	}
	role := body.AssumeRole
	if role.ARN == "" && (role.ExternalID != "" || role.TokenFile != "") {
		l.at(c.body.get("assume_role").pos, c.path+".assume_role", "arn is missing")
	}
	s := &SigV4{
		Region: body.Region, Service: body.Service, RoleARN: role.ARN, ExternalID: role.ExternalID,
		SessionName: role.SessionName, STSRegion: role.STSRegion, WebIdentityTokenFile: role.TokenFile,
	}
	return s
}

// finishSigV4 fills in what a signer leaves open, for the URL it signs for.
func (l *loader) finishSigV4(s SigV4, rawURL string) *SigV4 {
	if s.Service == "" {
		s.Service = defaultService
	}
	if s.Region == "" {
		s.Region = ampRegion(rawURL)
	}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if v, _ := l.opts.Getenv(name); s.Region == "" {
			s.Region = v
		}
	}
	if s.STSRegion == "" {
		s.STSRegion = s.Region
	}
	if s.SessionName == "" {
		s.SessionName = defaultSessionName
	}
	return &s
}

func (l *loader) healthCheck(c *component) {
	body := struct {
		Endpoint  string `conf:"endpoint"`
		Path      string `conf:"path"`
		TLS       *node  `conf:"tls"`
		Body      *node  `conf:"response_body"`
		Pipeline  *node  `conf:"check_collector_pipeline"`
		Auth      *node  `conf:"auth"`
		CORS      *node  `conf:"cors"`
		Headers   *node  `conf:"response_headers"`
		Port      int    `conf:"port"`
		Metadata  *node  `conf:"include_metadata"`
		ReadLimit *node  `conf:"read_header_timeout"`
	}{Endpoint: DefaultHealthAddress, Path: "/"}
	decodeInto(c.body, c.path, &body, &l.problems)
	if _, _, err := net.SplitHostPort(body.Endpoint); err != nil {
		l.at(c.body.get("endpoint").pos, c.path+".endpoint", "must be HOST:PORT: %v", err)
	}
	if !body.TLS.isNull() || !body.Auth.isNull() {
		l.at(c.pos, c.path, "tls and auth of the health check are not supported yet")
	}
	if c.used {
		l.config.HealthAddress, l.config.HealthPath = body.Endpoint, body.Path
	}
}

// exporters decodes every exporter, used or not. The result has no entry for
// exporters that send nothing anywhere.
func (l *loader) exporters(all map[string]*component, auth map[string]*authenticator) map[string]*Endpoint {
	out := map[string]*Endpoint{}
	for _, id := range sortedKeys(all) {
		switch c := all[id]; c.kind {
		case "prometheusremotewrite", "awsprometheusremotewrite":
			if e, ok := l.remoteWrite(c, auth); ok {
				out[id] = &e
			}
		case "debug":
			l.debug(c)
		}
	}
	return out
}

func (l *loader) debug(c *component) {
	var body struct {
		Verbosity  string `conf:"verbosity"`
		LogLevel   string `conf:"loglevel"`
		Initial    int    `conf:"sampling_initial"`
		Thereafter int    `conf:"sampling_thereafter"`
		Internal   bool   `conf:"use_internal_logger"`
		Paths      *node  `conf:"output_paths"`
		Queue      *node  `conf:"sending_queue"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	if c.used {
		l.warn(c.pos, c.path, "the exporter %q is accepted, but prints nothing here", c.id)
	}
	if typ, _, _ := strings.Cut(c.id, "/"); typ == "logging" {
		l.warn(c.pos, c.path, "the logging exporter was replaced by debug; newer collectors refuse it")
	}
}

// remoteWriteBody are the fields of the prometheusremotewrite exporter.
type remoteWriteBody struct {
	Endpoint string            `conf:"endpoint"`
	HTTP     *node             `conf:"http"`
	TLS      tlsBody           `conf:"tls"`
	Headers  *node             `conf:"headers"`
	Auth     authBody          `conf:"auth"`
	AWSAuth  *awsAuthBody      `conf:"aws_auth"`
	Timeout  time.Duration     `conf:"timeout"`
	ProxyURL string            `conf:"proxy_url"`
	External map[string]string `conf:"external_labels"`

	Namespace string `conf:"namespace"`
	Retry     struct {
		Enabled         *bool         `conf:"enabled"`
		Initial         time.Duration `conf:"initial_interval"`
		Max             time.Duration `conf:"max_interval"`
		MaxElapsed      time.Duration `conf:"max_elapsed_time"`
		Randomization   float64       `conf:"randomization_factor"`
		Multiplier      float64       `conf:"multiplier"`
		PermanentStatus *node         `conf:"permanent_status_codes"`
	} `conf:"retry_on_failure"`
	Queue struct {
		Enabled   *bool `conf:"enabled"`
		Size      int   `conf:"queue_size"`
		Consumers int   `conf:"num_consumers"`
	} `conf:"remote_write_queue"`
	MaxBatchBytes int   `conf:"max_batch_size_bytes"`
	Parallelism   int   `conf:"max_batch_request_parallelism"`
	WAL           *node `conf:"wal"`
	TargetInfo    struct {
		Enabled *bool `conf:"enabled"`
	} `conf:"target_info"`
	DisableScope *bool `conf:"disable_scope_info"`
	AddSuffixes  *bool `conf:"add_metric_suffixes"`
	Translation  *node `conf:"translation_strategy"`
	Conversion   struct {
		Enabled       bool  `conf:"enabled"`
		ServiceAttrs  *node `conf:"exclude_service_attributes"`
		PreserveNames *node `conf:"clear_after_copy"`
	} `conf:"resource_to_telemetry_conversion"`
	Constants    *node  `conf:"resource_constant_labels"`
	SendMetadata bool   `conf:"send_metadata"`
	Protobuf     string `conf:"protobuf_message"`
	MetadataKeys *node  `conf:"include_metadata_keys"`
	Created      *node  `conf:"export_created_metric"`
	NHCB         *node  `conf:"convert_histograms_to_nhcb"`

	// What every HTTP client of the collector has and what makes no difference here.
	Compression *node `conf:"compression"`
	ReadBuffer  *node `conf:"read_buffer_size"`
	WriteBuffer *node `conf:"write_buffer_size"`
	MaxIdle     *node `conf:"max_idle_conns"`
	MaxIdleHost *node `conf:"max_idle_conns_per_host"`
	MaxConns    *node `conf:"max_conns_per_host"`
	IdleTimeout *node `conf:"idle_conn_timeout"`
	NoKeepAlive *node `conf:"disable_keep_alives"`
	HTTP2Read   *node `conf:"http2_read_idle_timeout"`
	HTTP2Ping   *node `conf:"http2_ping_timeout"`
	Cookies     *node `conf:"cookies"`
	ForceHTTP2  *node `conf:"force_attempt_http2"`
}

type authBody struct {
	Authenticator string `conf:"authenticator"`
}

type awsAuthBody struct {
	Region  string `conf:"region"`
	Service string `conf:"service"`
	RoleARN string `conf:"role_arn"`
}

type tlsBody struct {
	Insecure   bool   `conf:"insecure"`
	SkipVerify bool   `conf:"insecure_skip_verify"`
	ServerName string `conf:"server_name_override"`
	CAFile     string `conf:"ca_file"`
	CertFile   string `conf:"cert_file"`
	KeyFile    string `conf:"key_file"`
	CA         string `conf:"ca_pem"`
	Cert       string `conf:"cert_pem"`
	Key        string `conf:"key_pem"`
	MinVersion string `conf:"min_version"`
	MaxVersion string `conf:"max_version"`
	Reload     *node  `conf:"reload_interval"`
	SystemCAs  *node  `conf:"include_system_ca_certs_pool"`
	Ciphers    *node  `conf:"cipher_suites"`
	Curves     *node  `conf:"curve_preferences"`
}

// remoteWrite decodes one remote-write exporter.
func (l *loader) remoteWrite(c *component, auth map[string]*authenticator) (Endpoint, bool) {
	before := len(l.list)
	b := remoteWriteBody{Timeout: 5 * time.Second}
	b.Retry.Initial, b.Retry.Max = 50*time.Millisecond, 30*time.Second
	b.Queue.Consumers = 5
	body := c.body
	// The newer form has the client's fields in a block of their own.
	if h := body.get("http"); h != nil && h.kind == mapping {
		body = merge(body, h)
	}
	decodeInto(body, c.path, &b, &l.problems)
	if len(l.list) > before {
		return Endpoint{}, false
	}
	e, err := NewEndpoint(c.id, b.Endpoint)
	if err != nil {
		pos := c.pos
		if n := body.get("endpoint"); n != nil {
			pos = n.pos
		}
		l.at(pos, c.path+".endpoint", "%v", err)
		return Endpoint{}, false
	}
	e.SigV4 = nil // an exporter signs only if it says so
	e.Timeout = b.Timeout
	e.Shards = max(1, b.Queue.Consumers)
	e.Retry = Retry{Initial: b.Retry.Initial, Max: b.Retry.Max}
	if b.MaxBatchBytes > 0 {
		e.MaxRequestBytes = b.MaxBatchBytes
		if ampRegion(e.URL) != "" {
			e.MaxRequestBytes = min(b.MaxBatchBytes, DefaultMaxRequestBytes)
		}
	}
	e.ExternalLabels = labels.FromMap(b.External)
	for _, name := range sortedKeys(b.External) {
		if !model.LegacyValidation.IsValidLabelName(name) {
			l.at(body.at("external_labels").entry(name).pos, join(c.path+".external_labels", name), "%q is not a valid label name", name)
		}
	}
	l.remoteWriteTLS(&e, b.TLS, body, c.path)
	l.remoteWriteHeaders(&e, b.Headers, c.path+".headers")
	if b.ProxyURL != "" {
		u, err := url.Parse(b.ProxyURL)
		if err != nil || u.Host == "" {
			l.at(body.get("proxy_url").pos, c.path+".proxy_url", "not a URL")
		}
		e.HTTP.ProxyURL = commoncfg.URL{URL: u}
	}
	l.remoteWriteAuth(&e, b, body, c, auth)
	l.remoteWriteLimits(b, body, c)
	return e, len(l.list) == before
}

func (l *loader) remoteWriteTLS(e *Endpoint, t tlsBody, body *node, path string) {
	tls := commoncfg.TLSConfig{
		CA: t.CA, Cert: t.Cert, Key: commoncfg.Secret(t.Key), CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile,
		ServerName: t.ServerName, InsecureSkipVerify: t.SkipVerify,
	}
	for _, v := range []struct {
		key, text string
		out       *commoncfg.TLSVersion
	}{{"min_version", t.MinVersion, &tls.MinVersion}, {"max_version", t.MaxVersion, &tls.MaxVersion}} {
		version, ok := commoncfg.TLSVersions["TLS"+strings.ReplaceAll(v.text, ".", "")]
		if v.text != "" && !ok {
			l.add(&Error{File: body.pos.file, Line: body.at("tls", v.key).pos.line, Field: path + ".tls." + v.key, Text: "unknown TLS version", Found: v.text, Allowed: []string{"1.0", "1.1", "1.2", "1.3"}})
		}
		*v.out = version
	}
	if err := tls.Validate(); err != nil {
		l.at(body.get("tls").pos, path+".tls", "%v", err)
	}
	e.HTTP.TLSConfig = tls
}

// protectedHeaders are what the protocol sets itself.
var protectedHeaders = []string{"content-encoding", "content-type", "x-prometheus-remote-write-version", "user-agent", "host", "content-length"}

// remoteWriteHeaders reads headers in both of their forms: a mapping, or a list
// of names and values.
func (l *loader) remoteWriteHeaders(e *Endpoint, n *node, path string) {
	if n.isNull() {
		return
	}
	headers := map[string]string{}
	if n.kind == sequence {
		var list []struct {
			Name  string `conf:"name"`
			Value string `conf:"value"`
		}
		decodeInto(n, path, &list, &l.problems)
		for _, h := range list {
			headers[h.Name] = h.Value
		}
	} else {
		decodeInto(n, path, &headers, &l.problems)
	}
	for _, name := range sortedKeys(headers) {
		if slices.Contains(protectedHeaders, strings.ToLower(name)) {
			l.warn(n.pos, join(path, name), "the header is set by the protocol, so this one is not sent")
			delete(headers, name)
		}
	}
	e.Headers = headers
}

func (l *loader) remoteWriteAuth(e *Endpoint, b remoteWriteBody, body *node, c *component, auth map[string]*authenticator) {
	if b.AWSAuth != nil && c.kind != "awsprometheusremotewrite" {
		l.add(unknownField(*body.entry("aws_auth"), c.path, []string{"auth"}))
		return
	}
	if c.kind == "awsprometheusremotewrite" {
		s := SigV4{}
		if b.AWSAuth != nil {
			s = SigV4{Region: b.AWSAuth.Region, Service: b.AWSAuth.Service, RoleARN: b.AWSAuth.RoleARN}
		}
		e.SigV4 = l.finishSigV4(s, e.URL)
	}
	if id := b.Auth.Authenticator; id != "" {
		n := body.at("auth", "authenticator")
		field := c.path + ".auth.authenticator"
		a := auth[id]
		switch {
		case a == nil:
			l.add(&Error{File: n.pos.file, Line: n.pos.line, Field: field, Text: "references extension \"" + id + "\" which is not configured", Allowed: sortedKeys(auth)})
			return
		case !a.used && c.used:
			l.at(n.pos, field, "references extension %q which is not listed in service.extensions", id)
			return
		}
		e.SigV4 = l.finishSigV4(*a.sigv4, e.URL)
	}
	if e.SigV4 != nil && e.HTTP.BasicAuth != nil {
		l.at(c.pos, c.path, "the URL holds a user name, but requests are signed; only one is possible")
	}
	if e.SigV4 == nil && ampRegion(e.URL) != "" && c.used {
		l.warn(c.pos, c.path, "Amazon Managed Service for Prometheus refuses requests that are not signed: set auth.authenticator to a sigv4auth extension")
	}
	if ampRegion(e.URL) != "" && !strings.HasSuffix(e.URL, "/api/v1/remote_write") {
		l.warn(c.pos, c.path+".endpoint", "the remote-write URL of a workspace ends in /api/v1/remote_write")
	}
	if region := ampRegion(e.URL); e.SigV4 != nil && region != "" && region != e.SigV4.Region {
		l.warn(c.pos, c.path, "requests to region %s are signed for region %s, which will be refused", region, e.SigV4.Region)
	}
}

// remoteWriteLimits says what of an exporter's fields has no effect here, or
// would have one that cannot be left out.
func (l *loader) remoteWriteLimits(b remoteWriteBody, body *node, c *component) {
	refuse := func(key, text string) { l.at(body.entry(key).pos, join(c.path, key), "%s", text) }
	note := func(key, text string) {
		if c.used {
			l.warn(body.entry(key).pos, join(c.path, key), "%s", text)
		}
	}
	if b.Namespace != "" {
		refuse("namespace", "is not supported yet: metric names stay as they are exposed")
	}
	if !b.WAL.isNull() {
		note("wal", "has no effect: samples wait in a bounded queue in memory, without a disk")
	}
	if b.Queue.Enabled != nil && !*b.Queue.Enabled {
		note("remote_write_queue", "the queue cannot be turned off")
	}
	if b.Retry.Enabled != nil && !*b.Retry.Enabled {
		note("retry_on_failure", "retries cannot be turned off; samples leave the queue by age or size")
	}
	if b.Retry.Initial <= 0 || b.Retry.Max < b.Retry.Initial {
		refuse("retry_on_failure", "initial_interval must be greater than zero and not above max_interval")
	}
	if b.TargetInfo.Enabled != nil && *b.TargetInfo.Enabled {
		note("target_info", "target_info is not sent: series are sent as they are exposed")
	}
	if b.DisableScope != nil && !*b.DisableScope {
		note("disable_scope_info", "the otel_scope labels are not sent: series are sent as they are exposed")
	}
	if b.AddSuffixes != nil && *b.AddSuffixes {
		note("add_metric_suffixes", "has no effect: metric names stay as they are exposed")
	}
	if !b.Translation.isNull() {
		note("translation_strategy", "has no effect: metric names stay as they are exposed")
	}
	if b.Conversion.Enabled {
		note("resource_to_telemetry_conversion", "has no effect: job, instance and the labels of relabelling are on every series already")
	}
	if b.SendMetadata {
		note("send_metadata", "metadata is not sent yet")
	}
	if b.Protobuf != "" && b.Protobuf != "prometheus.WriteRequest" {
		note("protobuf_message", "remote write 1.0 is used")
	}
}
