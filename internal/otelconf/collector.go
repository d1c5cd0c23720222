package otelconf

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
)

// collector reads an OpenTelemetry Collector configuration into l.config.
func (l *loader) collector(raw *node) {
	x := &expander{getenv: l.opts.Getenv, readFile: l.opts.ReadFile, problems: &l.problems, warn: l.warn}
	root := x.expand(raw, "")
	if root.kind != mapping {
		l.at(raw.pos, "", "a configuration is a mapping, found %s", root.kind)
		return
	}
	for _, e := range root.entries {
		if !slices.Contains(collectorKeys, e.key) {
			l.add(unknownField(e, "", collectorKeys))
		}
	}
	l.servicePos = root.pos
	if e := root.entry("service"); e != nil {
		l.servicePos = e.pos
	}
	all := l.components(root)
	var service struct {
		Extensions *node `conf:"extensions"`
		Pipelines  *node `conf:"pipelines"`
		Telemetry  *node `conf:"telemetry"`
	}
	decodeInto(root.get("service"), "service", &service, &l.problems)
	l.references(service.Extensions, "service.extensions", "extension", "service.extensions", all["extensions"], nil)
	pipelines := l.pipelines(service.Pipelines, all)
	l.refuseUnsupported(all)
	l.telemetry(service.Telemetry)

	auth := l.extensions(all["extensions"])
	batches, limiter := l.processors(all["processors"])
	endpoints := l.exporters(all["exporters"], auth)
	receivers := l.receivers(all["receivers"], raw)
	if len(l.list) > 0 {
		return
	}
	if limiter != nil {
		l.config.Memory = *limiter
		l.warn(l.servicePos, "processors", "memory_limiter bounds the queue, but scrapes are not left out yet when memory is short")
		if limiter.LimitBytes > 0 {
			l.config.Queue.MaxBytes = min(l.config.Queue.MaxBytes, limiter.LimitBytes/2)
		}
	}
	l.connect(pipelines, receivers, endpoints, batches)
}

// connect turns pipelines into the one path that there is here: every job to
// every endpoint.
func (l *loader) connect(pipelines []pipeline, receivers map[string]*receiver, endpoints map[string]*Endpoint, batches map[string]batch) {
	var from, to []string
	seen := map[string]string{}
	for _, p := range pipelines {
		for _, r := range p.receivers {
			for _, e := range p.exporters {
				if first, dup := seen[r+" "+e]; dup && endpoints[e] != nil {
					l.warn(l.servicePos, p.path, "the pipelines %q and %q both lead from %q to %q; samples are sent once", first, p.id, r, e)
				}
				seen[r+" "+e] = p.id
			}
		}
		from, to = appendNew(from, p.receivers), appendNew(to, p.exporters)
		for _, id := range p.processors {
			l.applyBatch(batches[id], p, endpoints)
		}
	}
	for _, r := range from {
		for _, e := range to {
			if seen[r+" "+e] == "" && endpoints[e] != nil {
				l.at(l.servicePos, "service.pipelines", "receiver %q does not lead to exporter %q; different ways for different receivers are not supported yet, each receiver must lead to each exporter", r, e)
			}
		}
	}
	l.addReceivers(from, receivers)
	for _, id := range to {
		if e := endpoints[id]; e != nil {
			l.config.AddEndpoint(*e)
		}
	}
}

func appendNew(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

func (l *loader) addReceivers(ids []string, receivers map[string]*receiver) {
	owner := map[string]string{}
	for i, id := range ids {
		r := receivers[id]
		switch {
		case i == 0:
			l.config.Global = r.global
		case !labels.Equal(l.config.Global.ExternalLabels, r.global.ExternalLabels):
			l.at(r.pos, r.path, "receivers %q and %q have different global external_labels, which is not supported yet", ids[0], id)
		}
		for _, j := range r.jobs {
			if first, dup := owner[j.config.JobName]; dup {
				l.at(j.node.pos, j.path, "job name %q is already used in receiver %q; each job needs its own", j.config.JobName, first)
				continue
			}
			owner[j.config.JobName] = id
			l.jobs = append(l.jobs, j)
			l.config.ScrapeConfigs = append(l.config.ScrapeConfigs, j.config)
		}
		if r.dedupe != nil {
			l.dedupe(r.dedupe.text, r.dedupe.pos, r.path+".dedupe")
		}
	}
}

// receiver is a prometheus receiver.
type receiver struct {
	pos    position
	path   string
	global config.GlobalConfig
	jobs   []job
	dedupe *node
}

// receivers decodes every prometheus receiver, used or not.
func (l *loader) receivers(all map[string]*component, raw *node) map[string]*receiver {
	out := map[string]*receiver{}
	for _, id := range sortedKeys(all) {
		c := all[id]
		if c.kind != "prometheus" {
			continue
		}
		out[id] = l.prometheusReceiver(c, raw.at("receivers", id))
	}
	return out
}

func (l *loader) prometheusReceiver(c *component, raw *node) *receiver {
	var body struct {
		Config              *node `conf:"config"`
		Dedupe              *node `conf:"dedupe"`
		TargetAllocator     *node `conf:"target_allocator"`
		TrimSuffixes        bool  `conf:"trim_metric_suffixes"`
		APIServer           *node `conf:"api_server"`
		ScrapeOnShutdown    bool  `conf:"scrape_on_shutdown"`
		ReloadOnStartup     bool  `conf:"discovery_reload_on_startup"`
		InitialScrapeOffset *node `conf:"initial_scrape_offset"`
		UseStartTimeMetric  bool  `conf:"use_start_time_metric"`
		StartTimeRegex      *node `conf:"start_time_metric_regex"`
		ExtraScrapeMetrics  bool  `conf:"report_extra_scrape_metrics"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	r := &receiver{pos: c.pos, path: c.path, global: config.DefaultGlobalConfig, dedupe: body.Dedupe}
	if !body.TargetAllocator.isNull() {
		l.at(body.TargetAllocator.pos, c.path+".target_allocator", "a target allocator is not supported yet: put the jobs into config.scrape_configs, replicas share the targets without one")
	}
	if body.TrimSuffixes {
		l.at(c.body.entry("trim_metric_suffixes").pos, c.path+".trim_metric_suffixes", "is not supported yet: metric names stay as they are exposed")
	}
	for _, key := range []string{"api_server", "scrape_on_shutdown", "discovery_reload_on_startup", "initial_scrape_offset", "use_start_time_metric", "start_time_metric_regex"} {
		if e := c.body.entry(key); e != nil {
			l.warn(e.pos, join(c.path, key), "has no effect here")
		}
	}
	if body.Config.isNull() {
		if body.TargetAllocator.isNull() {
			l.at(c.pos, c.path, "has no config, so there is nothing to scrape")
		}
		return r
	}
	l.receiverConfig(r, body.Config, raw, body.ExtraScrapeMetrics)
	return r
}

// receiverConfig decodes the Prometheus configuration inside a receiver.
func (l *loader) receiverConfig(r *receiver, n, raw *node, extraMetrics bool) {
	path := r.path + ".config"
	var body struct {
		Global        *node `conf:"global"`
		ScrapeConfigs *node `conf:"scrape_configs"`
		ScrapeFiles   *node `conf:"scrape_config_files"`
		RemoteWrite   *node `conf:"remote_write"`
		RemoteRead    *node `conf:"remote_read"`
		RuleFiles     *node `conf:"rule_files"`
		Alerting      *node `conf:"alerting"`
		Runtime       *node `conf:"runtime"`
	}
	decodeInto(n, path, &body, &l.problems)
	for _, key := range []string{"remote_write", "remote_read", "rule_files", "alerting"} {
		if !n.get(key).isNull() {
			l.at(n.entry(key).pos, join(path, key), "is not possible in a receiver: samples leave through exporters, rules are evaluated where the samples are stored")
		}
	}
	if !body.ScrapeFiles.isNull() {
		l.at(body.ScrapeFiles.pos, path+".scrape_config_files", "is not supported yet: put the jobs into scrape_configs")
	}
	global, ok := globalConfig(body.Global, path+".global", &l.problems)
	r.global = global
	if !ok {
		return
	}
	adjust := func(sc *config.ScrapeConfig) {
		// As the collector's receiver does: targets without a content type are
		// read as the classic text format instead of being refused.
		if sc.ScrapeFallbackProtocol == "" {
			sc.ScrapeFallbackProtocol = config.PrometheusText0_0_4
		}
		if extraMetrics {
			sc.ExtraScrapeMetrics = &extraMetrics
		}
	}
	r.jobs = scrapeConfigs(body.ScrapeConfigs, path+".scrape_configs", global, adjust, &l.problems)
	rawJobs := raw.at("config", "scrape_configs")
	for i := range r.jobs {
		r.jobs[i].raw = rawJob(rawJobs, r.jobs[i].node)
	}
}

// rawJob finds the job as it was written, before expansion.
func rawJob(list, expanded *node) *node {
	if list == nil {
		return nil
	}
	for _, n := range list.items {
		if n.pos == expanded.pos {
			return n
		}
	}
	return nil
}

// batch is a batch processor.
type batch struct {
	isBatch    bool
	timeout    time.Duration
	maxSamples int
}

// processors decodes every processor, used or not.
func (l *loader) processors(all map[string]*component) (map[string]batch, *MemoryLimit) {
	batches := map[string]batch{}
	var limiter *MemoryLimit
	for _, id := range sortedKeys(all) {
		switch c := all[id]; c.kind {
		case "batch":
			batches[id] = l.batch(c)
		case "memory_limiter":
			if m := l.memoryLimiter(c); c.used {
				limiter = m
			}
		}
	}
	return batches, limiter
}

func (l *loader) batch(c *component) batch {
	body := struct {
		Timeout         time.Duration `conf:"timeout"`
		SendBatchSize   int           `conf:"send_batch_size"`
		MaxSize         int           `conf:"send_batch_max_size"`
		MetadataKeys    []string      `conf:"metadata_keys"`
		MetadataLimit   int           `conf:"metadata_cardinality_limit"`
		OnMetadataLimit string        `conf:"on_metadata_cardinality_limit"`
	}{Timeout: 200 * time.Millisecond, SendBatchSize: 8192}
	decodeInto(c.body, c.path, &body, &l.problems)
	if body.SendBatchSize < 0 {
		l.at(c.body.entry("send_batch_size").pos, c.path+".send_batch_size", "must not be negative")
	}
	if body.MaxSize < 0 || body.MaxSize > 0 && body.MaxSize < body.SendBatchSize {
		l.at(c.body.entry("send_batch_max_size").pos, c.path+".send_batch_max_size", "must be greater or equal to send_batch_size (%d)", body.SendBatchSize)
	}
	return batch{isBatch: true, timeout: body.Timeout, maxSamples: body.MaxSize}
}

// applyBatch lets a pipeline's batch processor bound waiting and request size.
func (l *loader) applyBatch(b batch, p pipeline, endpoints map[string]*Endpoint) {
	if !b.isBatch {
		return
	}
	l.config.BatchTimeout = b.timeout
	for _, id := range p.exporters {
		if e := endpoints[id]; e != nil && b.maxSamples > 0 {
			e.MaxSamplesPerRequest = b.maxSamples
		}
	}
}

func (l *loader) memoryLimiter(c *component) *MemoryLimit {
	var body struct {
		CheckInterval time.Duration `conf:"check_interval"`
		Limit         int64         `conf:"limit_mib"`
		Spike         int64         `conf:"spike_limit_mib"`
		Percent       int           `conf:"limit_percentage"`
		SpikePercent  int           `conf:"spike_limit_percentage"`
		MinGCSoft     time.Duration `conf:"min_gc_interval_when_soft_limited"`
		MinGCHard     time.Duration `conf:"min_gc_interval_when_hard_limited"`
		BallastSize   int64         `conf:"ballast_size_mib"`
	}
	before := len(l.list)
	decodeInto(c.body, c.path, &body, &l.problems)
	if len(l.list) > before {
		return nil
	}
	switch {
	case body.CheckInterval <= 0:
		l.at(c.pos, c.path+".check_interval", "must be greater than zero")
	case body.Limit <= 0 && body.Percent <= 0:
		l.at(c.pos, c.path, "limit_mib or limit_percentage must be greater than zero")
	case body.Percent > 100 || body.SpikePercent > 100:
		l.at(c.pos, c.path, "limit_percentage and spike_limit_percentage must be at most 100")
	case body.Limit > 0 && body.Spike >= body.Limit:
		l.at(c.pos, c.path+".spike_limit_mib", "must be smaller than limit_mib (%d), found %d", body.Limit, body.Spike)
	}
	m := &MemoryLimit{CheckInterval: body.CheckInterval, LimitPercent: body.Percent, SpikePercent: body.SpikePercent}
	if body.Limit > 0 {
		// limit_mib takes precedence over a percentage; a fifth is the default spike.
		m.LimitBytes, m.SpikeBytes = body.Limit<<20, body.Spike<<20
		m.LimitPercent, m.SpikePercent = 0, 0
		if body.Spike == 0 {
			m.SpikeBytes = m.LimitBytes / 5
		}
	}
	return m
}

// telemetry reads service.telemetry: where the collector's own metrics are
// served and how much it logs.
func (l *loader) telemetry(n *node) {
	const path = "service.telemetry"
	var body struct {
		Metrics struct {
			Level   string `conf:"level"`
			Address string `conf:"address"`
			Readers *node  `conf:"readers"`
			Views   *node  `conf:"views"`
		} `conf:"metrics"`
		Logs     *node `conf:"logs"`
		Traces   *node `conf:"traces"`
		Resource *node `conf:"resource"`
	}
	decodeInto(n, path, &body, &l.problems)
	if level := body.Logs.get("level"); !level.isNull() {
		l.logLevel(level.text, level.pos, path+".logs.level")
	}
	if a := body.Metrics.Address; a != "" {
		if _, _, err := net.SplitHostPort(a); err != nil {
			l.at(n.at("metrics", "address").pos, path+".metrics.address", "must be HOST:PORT: %v", err)
		}
		l.config.MetricsAddress = a
	}
	if body.Metrics.Readers != nil {
		l.readers(body.Metrics.Readers, path+".metrics.readers")
	}
	switch level := strings.ToLower(body.Metrics.Level); level {
	case "none":
		l.config.MetricsAddress = ""
	case "", "basic", "normal", "detailed":
	default:
		l.add(&Error{File: n.pos.file, Line: n.at("metrics", "level").pos.line, Field: path + ".metrics.level", Text: "unknown level", Found: found(path, level), Allowed: []string{"none", "basic", "normal", "detailed"}})
	}
}

// readers takes the address out of the first Prometheus pull reader.
func (l *loader) readers(n *node, path string) {
	l.config.MetricsAddress = ""
	if n.kind != sequence {
		if !n.isNull() {
			l.at(n.pos, path, "must be a list, found %s", n.kind)
		}
		return
	}
	for i, item := range n.items {
		prometheus := item.at("pull", "exporter", "prometheus")
		if prometheus == nil {
			l.warn(item.pos, fmt.Sprintf("%s[%d]", path, i), "only pull readers with a prometheus exporter have an effect here")
			continue
		}
		host, port := "localhost", "9464"
		if h := prometheus.get("host"); !h.isNull() {
			host = h.text
		}
		if p := prometheus.get("port"); !p.isNull() {
			port = p.text
		}
		if l.config.MetricsAddress == "" {
			l.config.MetricsAddress = net.JoinHostPort(host, port)
		}
	}
}
