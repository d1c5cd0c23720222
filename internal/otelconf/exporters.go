package otelconf

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/rewrite"
)

// exporter is a remote-write exporter: where it sends and how it names series.
type exporter struct {
	pos      position
	endpoint Endpoint
	export   rewrite.Export
}

// exporters decodes every exporter, used or not. The result has no entry for
// exporters that send nothing anywhere.
func (l *loader) exporters(all map[string]*component, auth map[string]*authenticator) map[string]*exporter {
	out := map[string]*exporter{}
	for _, id := range sortedKeys(all) {
		switch c := all[id]; c.kind {
		case "prometheusremotewrite", "awsprometheusremotewrite":
			if e, ok := l.remoteWrite(c, auth); ok {
				out[id] = e
			}
		case "debug":
			l.debug(c)
		case "nop":
			decodeInto(c.body, c.path, &struct{}{}, &l.problems)
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
		Internal   *node  `conf:"use_internal_logger"`
		Paths      *node  `conf:"output_paths"`
		Queue      *node  `conf:"sending_queue"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	if c.used {
		l.note(c.pos, c.path, "the exporter %q is accepted, but prints nothing here", c.id)
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
	Retry    struct {
		Enabled         *bool         `conf:"enabled"`
		Initial         time.Duration `conf:"initial_interval"`
		Max             time.Duration `conf:"max_interval"`
		MaxElapsed      *node         `conf:"max_elapsed_time"`
		Randomization   float64       `conf:"randomization_factor"`
		Multiplier      float64       `conf:"multiplier"`
		PermanentStatus *node         `conf:"permanent_status_codes"`
	} `conf:"retry_on_failure"`
	Queue         queueBody `conf:"remote_write_queue"`
	MaxBatchBytes int       `conf:"max_batch_size_bytes"`
	Parallelism   *int      `conf:"max_batch_request_parallelism"`
	WAL           struct {
		Directory  string `conf:"directory"`
		BufferSize *node  `conf:"buffer_size"`
		Truncate   *node  `conf:"truncate_frequency"`
		LagRecord  *node  `conf:"lag_record_frequency"`
	} `conf:"wal"`
	SendMetadata bool   `conf:"send_metadata"`
	Protobuf     string `conf:"protobuf_message"`
	MetadataKeys *node  `conf:"include_metadata_keys"`
	NHCB         bool   `conf:"convert_explicit_histograms_to_nhcb"`
	KeepClassic  bool   `conf:"keep_classic_histograms"`
	namingBody
	clientTuning
}

type authBody struct {
	Authenticator string `conf:"authenticator"`
}

type awsAuthBody struct {
	Region  string `conf:"region"`
	Service string `conf:"service"`
	RoleARN string `conf:"role_arn"`
}

// queueBody is remote_write_queue; the last three fields are this program's own.
type queueBody struct {
	Enabled   *bool         `conf:"enabled"`
	Size      *int          `conf:"queue_size"`
	Consumers *int          `conf:"num_consumers"`
	Directory string        `conf:"directory"`
	MaxBytes  int64         `conf:"max_bytes"`
	MaxAge    time.Duration `conf:"max_age"`
}

// remoteWrite decodes one remote-write exporter.
func (l *loader) remoteWrite(c *component, auth map[string]*authenticator) (*exporter, bool) {
	before := len(l.list)
	b := remoteWriteBody{Timeout: 5 * time.Second}
	b.Retry.Initial, b.Retry.Max = 50*time.Millisecond, 30*time.Second
	body := l.flattened(c)
	decodeInto(body, c.path, &b, &l.problems)
	if len(l.list) > before {
		return nil, false
	}
	e, err := NewEndpoint(c.id, b.Endpoint)
	if err != nil {
		pos := c.pos
		if n := body.get("endpoint"); n != nil {
			pos = n.pos
		}
		l.at(pos, c.path+".endpoint", "%v", err)
		return nil, false
	}
	x := &exporter{pos: c.pos}
	e.SigV4 = nil // an exporter signs only if it says so
	e.Timeout = b.Timeout
	if e.Timeout == 0 { // no bound there, which would let a request hang for good
		e.Timeout = time.Minute
	}
	e.SendMetadata, e.SendExemplars = b.SendMetadata, true
	e.Retry = Retry{Initial: b.Retry.Initial, Max: b.Retry.Max}
	if b.MaxBatchBytes > 0 {
		e.MaxRequestBytes = b.MaxBatchBytes
		if ampRegion(e.URL) != "" {
			e.MaxRequestBytes = min(b.MaxBatchBytes, DefaultMaxRequestBytes)
		}
	}
	l.parallelism(&e, b, body, c)
	l.protocol(&e, b, body, c)
	l.clientTLS(&e.HTTP, b.TLS, body, c.path)
	l.clientProxy(&e.HTTP, b.ProxyURL, body, c.path)
	e.Headers = l.headers(b.Headers, c.path+".headers")
	l.remoteWriteAuth(&e, b, body, c, auth)
	x.export = l.exportNames(b, body, c)
	e.ExternalLabels = l.exporterLabels(b.External, x.export, body, c)
	l.remoteWriteLimits(b, body, c)
	l.exporterQueue(b, body, c)
	x.endpoint = e
	return x, len(l.list) == before
}

// flattened returns the exporter's body with what is in its http block, which
// newer collectors have for the client's fields, moved to the top.
func (l *loader) flattened(c *component) *node {
	h := c.body.get("http")
	if h.isNull() || h.kind != mapping {
		if l.gates.httpBlockOnly {
			for _, key := range topLevelClientKeys {
				if e := c.body.entry(key); e != nil {
					l.at(e.pos, join(c.path, key), "must be in the http block while the feature gate removeTopLevelHTTPSettings is on")
				}
			}
		}
		return c.body
	}
	out := *c.body
	out.entries = nil
	for _, e := range c.body.entries {
		switch {
		case e.key == "http":
		case !slices.Contains(topLevelClientKeys, e.key):
			out.entries = append(out.entries, e)
		case l.gates.httpBlockOnly:
			l.at(e.pos, join(c.path, e.key), "must be in the http block while the feature gate removeTopLevelHTTPSettings is on")
		default:
			l.warn(e.pos, join(c.path, e.key), "has no effect next to the http block")
		}
	}
	for _, e := range h.entries {
		// A timeout may be in both; that of the exporter bounds each attempt.
		if e.key != "timeout" || out.entry("timeout") == nil {
			out.entries = append(out.entries, e)
		}
	}
	return &out
}

// parallelism says how many requests may be under way at once.
func (l *loader) parallelism(e *Endpoint, b remoteWriteBody, body *node, c *component) {
	consumers := 5
	if l.gates.multipleWorkers {
		consumers = 1
	}
	if n := b.Queue.Consumers; n != nil {
		consumers = *n
		if consumers < 0 {
			l.at(body.at("remote_write_queue", "num_consumers").pos, c.path+".remote_write_queue.num_consumers", "must not be negative, found %d", consumers)
		}
	}
	each := 1
	if p := b.Parallelism; p != nil {
		each = *p
		if each < 1 {
			l.at(body.get("max_batch_request_parallelism").pos, c.path+".max_batch_request_parallelism", "must be at least 1, found %d", each)
		}
	}
	switch {
	case l.gates.multipleWorkers: // each worker sends parts of a batch in parallel
		e.MaxShards = max(1, consumers) * max(1, each)
	case b.Parallelism != nil:
		e.MaxShards = max(1, each)
	default:
		e.MaxShards = max(1, consumers)
	}
}

// The names that remote write's two versions have in configurations.
const (
	messageV1 = "prometheus.WriteRequest"
	messageV2 = "io.prometheus.write.v2.Request"
)

func (l *loader) protocol(e *Endpoint, b remoteWriteBody, body *node, c *component) {
	switch b.Protobuf {
	case "":
	case messageV1:
		e.Protocol = "1.0"
	case messageV2:
		e.Protocol = "2.0"
	default:
		n := body.get("protobuf_message")
		field := c.path + ".protobuf_message"
		l.add(&Error{File: n.pos.file, Line: n.pos.line, Field: field, Text: "unknown message of remote write", Found: found(field, b.Protobuf), Allowed: []string{messageV1, messageV2}})
	}
	if n := b.Compression; !n.isNull() && n.text != "" && n.text != "snappy" {
		l.add(&Error{File: n.pos.file, Line: n.pos.line, Field: c.path + ".compression", Text: "not a compression of remote write", Found: n.text, Allowed: []string{"snappy"}})
	}
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
		if !l.authenticate(e, id, n.pos, field, c.used, auth) {
			return
		}
	}
	amp := ampRegion(e.URL)
	if amp == "" || !c.used {
		return
	}
	if !strings.HasSuffix(e.URL, "/api/v1/remote_write") {
		l.warn(c.pos, c.path+".endpoint", "the remote-write URL of a workspace ends in /api/v1/remote_write")
	}
	switch {
	case e.SigV4 == nil:
		l.warn(c.pos, c.path, "Amazon Managed Service for Prometheus refuses requests that are not signed: set auth.authenticator to a sigv4auth extension")
	case amp != e.SigV4.Region:
		l.warn(c.pos, c.path, "requests to region %s are signed for region %s, which will be refused", amp, e.SigV4.Region)
	}
}

// exporterLabels makes external_labels valid label names, as the exporter does.
func (l *loader) exporterLabels(external map[string]string, export rewrite.Export, body *node, c *component) labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, key := range sortedKeys(external) {
		pos := body.at("external_labels").entry(key).pos
		field := join(c.path+".external_labels", key)
		name, err := export.Strategy.ExternalName(key)
		switch {
		case err == nil && external[key] == "":
			err = errors.New("must not be empty")
		case err == nil && name != key:
			l.warn(pos, field, "%q is not a valid label name and becomes %q", key, name)
		}
		if err != nil {
			l.at(pos, field, "%v", err)
			continue
		}
		b.Set(name, external[key])
	}
	return b.Labels()
}

// remoteWriteLimits says what of an exporter's fields has no effect here, or
// would have one that cannot be left out.
func (l *loader) remoteWriteLimits(b remoteWriteBody, body *node, c *component) {
	refuse := func(key, format string, args ...any) {
		l.at(body.entry(key).pos, join(c.path, key), format, args...)
	}
	note := func(key, text string) {
		if c.used {
			l.note(body.entry(key).pos, join(c.path, key), "%s", text)
		}
	}
	if b.NHCB || b.KeepClassic {
		key := "convert_explicit_histograms_to_nhcb"
		if !b.NHCB {
			key = "keep_classic_histograms"
		}
		refuse(key, "is not supported: set convert_classic_histograms_to_nhcb and always_scrape_classic_histograms in the scrape job")
	}
	if b.MaxBatchBytes < 0 {
		refuse("max_batch_size_bytes", "must not be negative, found %d", b.MaxBatchBytes)
	}
	if b.Retry.Enabled != nil && !*b.Retry.Enabled {
		note("retry_on_failure", "retries cannot be turned off; samples leave the queue by age or size")
	}
	if !b.Retry.MaxElapsed.isNull() {
		note("retry_on_failure", "max_elapsed_time has no effect: samples leave the queue by age or size")
	}
	if b.Retry.Initial <= 0 || b.Retry.Max < b.Retry.Initial {
		refuse("retry_on_failure", "initial_interval must be greater than zero and not above max_interval")
	}
	if !b.MetadataKeys.isNull() && b.MetadataKeys.children() > 0 {
		note("include_metadata_keys", "has no effect: scraped samples come with no metadata of a client")
	}
	if !b.Middlewares.isNull() && b.Middlewares.children() > 0 {
		refuse("middlewares", "is not supported")
	}
}

// exporterQueue reads what an exporter says about waiting. There is one queue for
// all of them.
func (l *loader) exporterQueue(b remoteWriteBody, body *node, c *component) {
	path := c.path + ".remote_write_queue"
	at := func(key string) position {
		if n := body.at("remote_write_queue", key); n != nil {
			return n.pos
		}
		return c.pos
	}
	if b.Queue.Enabled != nil && !*b.Queue.Enabled && c.used {
		l.note(at("enabled"), path, "the queue cannot be turned off")
	}
	if b.Queue.Size != nil && c.used {
		l.note(at("queue_size"), path+".queue_size", "has no effect: the queue is bounded by bytes and age")
	}
	if n := b.Queue.MaxBytes; n != 0 && n < minQueueBytes {
		l.at(at("max_bytes"), path+".max_bytes", "must be at least %d, found %d", minQueueBytes, n)
	}
	directory, key := b.Queue.Directory, "remote_write_queue.directory"
	if directory == "" {
		directory, key = b.WAL.Directory, "wal.directory"
	}
	if !c.used {
		return
	}
	q := &l.config.Queue
	if directory != "" {
		if q.Directory != "" && q.Directory != directory {
			l.at(c.pos, join(c.path, key), "the exporters share one queue, which another one keeps in %q; found %q", q.Directory, directory)
		}
		q.Directory = directory
	}
	if b.Queue.MaxBytes > 0 {
		q.MaxBytes = b.Queue.MaxBytes
	}
	if b.Queue.MaxAge > 0 {
		q.MaxAge = b.Queue.MaxAge
	}
}
