package otelconf

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"time"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
)

// prometheusFile reads a Prometheus configuration into l.config.
func (l *loader) prometheusFile(doc *document) {
	root := doc.root
	for _, e := range root.entries {
		switch {
		case !slices.Contains(prometheusKeys, e.key):
			l.add(unknownField(e, "", prometheusKeys))
		case e.value.isNull():
		case e.key == "scrape_config_files":
			l.at(e.pos, e.key, "is not supported yet: put the jobs into scrape_configs")
		case e.key == "rule_files" || e.key == "alerting":
			l.warn(e.pos, e.key, "has no effect: rules are evaluated and alerts are sent where the samples are stored")
		case e.key == "remote_read" || e.key == "storage" || e.key == "tracing" || e.key == "otlp":
			l.warn(e.pos, e.key, "has no effect in a collector")
		}
	}
	global, ok := globalConfig(root.get("global"), "global", &l.problems)
	if !ok {
		return
	}
	global.SetDirectory(doc.directory)
	global.ExternalLabels = l.expandExternalLabels(global.ExternalLabels)
	l.config.Global = global
	l.config.BatchTimeout = time.Duration(config.DefaultQueueConfig.BatchSendDeadline)
	l.jobs = scrapeConfigs(root.get("scrape_configs"), "scrape_configs", global, nil, &l.problems)
	for _, j := range l.jobs {
		j.config.SetDirectory(doc.directory)
		l.config.ScrapeConfigs = append(l.config.ScrapeConfigs, j.config)
	}
	l.remoteWrites(root.get("remote_write"), doc.directory)
}

// expandExternalLabels replaces $NAME and ${NAME}, which Prometheus does in
// external labels and nowhere else.
func (l *loader) expandExternalLabels(in labels.Labels) labels.Labels {
	b := labels.NewScratchBuilder(in.Len())
	in.Range(func(label labels.Label) {
		b.Add(label.Name, os.Expand(label.Value, func(name string) string {
			if name == "$" {
				return "$"
			}
			value, _ := l.opts.Getenv(name)
			return value
		}))
	})
	b.Sort()
	return b.Labels()
}

func (l *loader) remoteWrites(list *node, directory string) {
	if list.isNull() {
		return
	}
	if list.kind != sequence {
		l.at(list.pos, "remote_write", "must be a list, found %s", list.kind)
		return
	}
	names := map[string]position{}
	for i, n := range list.items {
		path := fmt.Sprintf("remote_write[%d]", i)
		rw, ok := l.remoteWriteConfig(n, path)
		if !ok {
			continue
		}
		e, ok := l.endpoint(rw, n, path, directory)
		if !ok {
			continue
		}
		if first, dup := names[e.Name]; dup {
			if rw.Name != "" {
				l.at(n.pos, path+".name", "the name %q is already used at %s", e.Name, first)
				continue
			}
			e.Name = fmt.Sprintf("%s#%d", e.Name, i)
		}
		names[e.Name] = n.pos
		l.config.AddEndpoint(e)
	}
}

func (l *loader) remoteWriteConfig(n *node, path string) (*config.RemoteWriteConfig, bool) {
	if n.kind != mapping {
		l.at(n.pos, path, "must be a mapping, found %s", n.kind)
		return nil, false
	}
	var rw *config.RemoteWriteConfig
	try := func(n *node, path string) (*printed, error) {
		rw = &config.RemoteWriteConfig{}
		return decodeProm(n, path, rw, func() error { return rw.Validate(l.config.Global.MetricNameValidationScheme) })
	}
	text, err := try(n, path)
	if err != nil {
		for _, e := range explain(n, path, reflect.TypeFor[config.RemoteWriteConfig](), try, text, err) {
			l.add(e)
		}
		return nil, false
	}
	return rw, true
}

// endpoint turns one remote_write entry into an Endpoint.
func (l *loader) endpoint(rw *config.RemoteWriteConfig, n *node, path, directory string) (Endpoint, bool) {
	before := len(l.list)
	for _, key := range []string{"write_relabel_configs", "azuread", "google_iam"} {
		if !n.get(key).isNull() {
			l.at(n.entry(key).pos, path+"."+key, "is not supported yet")
		}
	}
	raw := ""
	if rw.URL != nil && rw.URL.URL != nil {
		raw = rw.URL.URL.String()
	}
	e, err := NewEndpoint(rw.Name, raw)
	if err != nil {
		pos := n.pos
		if u := n.get("url"); u != nil {
			pos = u.pos
		}
		l.at(pos, path+".url", "%v", err)
		return e, false
	}
	basic := e.HTTP.BasicAuth
	e.SigV4, e.HTTP = nil, rw.HTTPClientConfig
	e.HTTP.SetDirectory(directory)
	if basic != nil && !hasAuth(e.HTTP) {
		e.HTTP.BasicAuth = basic
	}
	e.Headers = rw.Headers
	e.Timeout = time.Duration(rw.RemoteTimeout)
	e.Retry = Retry{Initial: time.Duration(rw.QueueConfig.MinBackoff), Max: time.Duration(rw.QueueConfig.MaxBackoff)}
	l.queueConfig(&e, rw.QueueConfig, n.get("queue_config"))
	if s := rw.SigV4Config; s != nil {
		e.SigV4 = l.finishSigV4(SigV4{
			Region: s.Region, Service: s.ServiceName, RoleARN: s.RoleARN, ExternalID: s.ExternalID, SessionName: s.SessionName,
			Profile: s.Profile, AccessKey: s.AccessKey, SecretKey: s.SecretKey,
		}, e.URL)
		if len(s.Tags) > 0 || s.UseFIPSSTSEndpoint {
			l.at(n.get("sigv4").pos, path+".sigv4", "tags and use_fips_sts_endpoint are not supported yet")
		}
	}
	if rw.ProtobufMessage != config.DefaultRemoteWriteConfig.ProtobufMessage {
		l.warn(n.get("protobuf_message").pos, path+".protobuf_message", "remote write 1.0 is used")
	}
	for _, key := range []string{"send_exemplars", "send_native_histograms", "round_robin_dns"} {
		if v := n.get(key); !v.isNull() && v.text != "false" {
			l.warn(n.entry(key).pos, path+"."+key, "has no effect yet")
		}
	}
	return e, len(l.list) == before
}

func hasAuth(c commoncfg.HTTPClientConfig) bool {
	return c.BasicAuth != nil || c.Authorization != nil || c.OAuth2 != nil
}

// queueConfig takes over what a user wrote in queue_config; Prometheus' defaults
// there are for another kind of queue.
func (l *loader) queueConfig(e *Endpoint, q config.QueueConfig, n *node) {
	if n.get("max_samples_per_send") != nil {
		e.MaxSamplesPerRequest = q.MaxSamplesPerSend
	}
	if n.get("max_shards") != nil {
		e.Shards = q.MaxShards
	}
	if n.get("batch_send_deadline") != nil {
		l.config.BatchTimeout = time.Duration(q.BatchSendDeadline)
	}
	if q.SampleAgeLimit > 0 {
		l.config.Queue.MaxAge = time.Duration(q.SampleAgeLimit)
	}
}
