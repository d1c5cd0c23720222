package otelconf

import (
	"path/filepath"

	"github.com/prometheus/prometheus/config"
)

// receiver is a prometheus receiver.
type receiver struct {
	id, path string
	pos      position
	// global is the receiver's own; its external labels are expanded.
	global       config.GlobalConfig
	jobs         []job
	allocator    *TargetAllocator
	dedupe       *node
	trimSuffixes bool
}

// receivers decodes every receiver, used or not.
func (l *loader) receivers(all map[string]*component, raw *node) map[string]*receiver {
	out := map[string]*receiver{}
	for _, id := range sortedKeys(all) {
		switch c := all[id]; c.kind {
		case "prometheus":
			out[id] = l.prometheusReceiver(c, raw.at("receivers", id))
		case "nop":
			decodeInto(c.body, c.path, &struct{}{}, &l.problems)
			out[id] = &receiver{id: id, path: c.path, pos: c.pos, global: config.DefaultGlobalConfig}
		}
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
		ScrapeOnShutdown    *node `conf:"scrape_on_shutdown"`
		ReloadOnStartup     *node `conf:"discovery_reload_on_startup"`
		InitialScrapeOffset *node `conf:"initial_scrape_offset"`
		BufferPeriod        *node `conf:"buffer_period"`
		BufferCount         *node `conf:"buffer_count"`
		UseStartTimeMetric  *node `conf:"use_start_time_metric"`
		StartTimeRegex      *node `conf:"start_time_metric_regex"`
		ExtraScrapeMetrics  bool  `conf:"report_extra_scrape_metrics"`
		ExtraMetrics        bool  `conf:"report_extra_metrics"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	r := &receiver{id: c.id, pos: c.pos, path: c.path, global: config.DefaultGlobalConfig, dedupe: body.Dedupe, trimSuffixes: body.TrimSuffixes}
	if c.used {
		for _, key := range []string{
			"api_server", "scrape_on_shutdown", "discovery_reload_on_startup", "initial_scrape_offset", "buffer_period", "buffer_count",
			"use_start_time_metric", "start_time_metric_regex",
		} {
			if e := c.body.entry(key); e != nil {
				l.note(e.pos, join(c.path, key), "has no effect here")
			}
		}
	}
	if !body.Config.isNull() {
		l.receiverConfig(r, body.Config, raw, body.ExtraScrapeMetrics || body.ExtraMetrics)
	}
	if !body.TargetAllocator.isNull() {
		r.allocator = l.targetAllocator(body.TargetAllocator, r)
	} else if body.Config.isNull() {
		l.at(c.pos, c.path, "has no config, so there is nothing to scrape")
	}
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
		Storage       *node `conf:"storage"`
		Tracing       *node `conf:"tracing"`
		OTLP          *node `conf:"otlp"`
	}
	decodeInto(n, path, &body, &l.problems)
	for _, key := range []string{"remote_write", "remote_read", "rule_files", "alerting"} {
		if !n.get(key).isNull() {
			l.at(n.entry(key).pos, join(path, key), "is not possible in a receiver: samples leave through exporters, rules are evaluated where the samples are stored")
		}
	}
	for _, key := range []string{"runtime", "storage", "tracing", "otlp"} {
		if !n.get(key).isNull() {
			l.note(n.entry(key).pos, join(path, key), "has no effect in a collector")
		}
	}
	global, ok := globalConfig(body.Global, path+".global", &l.problems)
	if !ok {
		return
	}
	global.ExternalLabels = l.expandExternalLabels(global.ExternalLabels, body.Global.get("external_labels"), path+".global.external_labels")
	r.global = global
	l.applyFeaturesTo(&r.global)
	s := jobSource{global: r.global, adjust: adjustReceiverJob(extraMetrics)}
	r.jobs = l.scrapeConfigs(body.ScrapeConfigs, path+".scrape_configs", s)
	rawJobs := raw.at("config", "scrape_configs")
	for i := range r.jobs {
		r.jobs[i].raw = rawJob(rawJobs, r.jobs[i].node)
	}
	directory := ""
	if !body.ScrapeFiles.isNull() {
		directory = filepath.Dir(body.ScrapeFiles.pos.file)
	}
	r.jobs = append(r.jobs, l.scrapeConfigFiles(body.ScrapeFiles, path+".scrape_config_files", directory, s)...)
}

// adjustReceiverJob does to a job what the collector's receiver does: targets
// without a content type are read as the classic text format instead of being
// refused.
func adjustReceiverJob(extraMetrics bool) func(*config.ScrapeConfig) {
	return func(sc *config.ScrapeConfig) {
		if sc.ScrapeFallbackProtocol == "" {
			sc.ScrapeFallbackProtocol = config.PrometheusText0_0_4
		}
		if extraMetrics {
			sc.ExtraScrapeMetrics = &extraMetrics
		}
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
