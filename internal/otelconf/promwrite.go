package otelconf

import (
	"reflect"
	"time"

	"github.com/prometheus/prometheus/config"

	"github.com/mangru/mangru/internal/rewrite"
)

// remoteWriteConfig decodes one entry of "remote_write".
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

// endpoint turns one entry of "remote_write" into an endpoint.
func (l *loader) endpoint(rw *config.RemoteWriteConfig, n *node, path, directory string) (Endpoint, bool) {
	before := len(l.list)
	raw := ""
	if rw.URL != nil && rw.URL.URL != nil {
		raw = rw.URL.String()
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
	rw.SetDirectory(directory)
	e.SigV4, e.HTTP = nil, rw.HTTPClientConfig
	e.AzureAD, e.GoogleIAM = rw.AzureADConfig, rw.GoogleIAMConfig
	e.Headers = rw.Headers
	e.Timeout = time.Duration(rw.RemoteTimeout)
	e.SendExemplars, e.SendNativeHistograms = rw.SendExemplars, rw.SendNativeHistograms
	e.SendMetadata, e.MetadataInterval = rw.MetadataConfig.Send, time.Duration(rw.MetadataConfig.SendInterval)
	if len(rw.WriteRelabelConfigs) > 0 {
		e.Rewrite = rewrite.Program{rewrite.Relabel(rw.WriteRelabelConfigs)}
	}
	if n.get("protobuf_message") != nil { // else the best one that the receiver takes
		e.Protocol = map[string]string{messageV1: "1.0", messageV2: "2.0"}[string(rw.ProtobufMessage)]
	}
	if s := rw.SigV4Config; s != nil {
		e.SigV4 = l.finishSigV4(SigV4{
			Region: s.Region, Service: s.ServiceName, RoleARN: s.RoleARN, ExternalID: s.ExternalID, SessionName: s.SessionName,
			Profile: s.Profile, AccessKey: s.AccessKey, SecretKey: s.SecretKey,
		}, e.URL)
		for _, key := range []string{"tags", "use_fips_sts_endpoint"} {
			if v := n.at("sigv4", key); !v.isNull() && v.text != "false" {
				l.at(v.pos, path+".sigv4."+key, "is not supported")
			}
		}
	}
	if basic != nil && !e.authenticated() {
		e.HTTP.BasicAuth = basic
	}
	l.queueConfig(&e, rw.QueueConfig, n.get("queue_config"), path+".queue_config")
	for _, key := range []string{"round_robin_dns", "failed_request_logging"} {
		if v := n.get(key); !v.isNull() && v.text != "false" {
			l.note(n.entry(key).pos, path+"."+key, "has no effect here")
		}
	}
	if v := n.at("metadata_config", "max_samples_per_send"); v != nil {
		l.note(v.pos, path+".metadata_config.max_samples_per_send", "has no effect here")
	}
	return e, len(l.list) == before
}

// queueConfig takes over what a user wrote in queue_config; Prometheus' defaults
// there are for another kind of queue.
func (l *loader) queueConfig(e *Endpoint, q config.QueueConfig, n *node, path string) {
	e.Retry = Retry{Initial: time.Duration(q.MinBackoff), Max: time.Duration(q.MaxBackoff)}
	if e.Retry.Initial <= 0 || e.Retry.Max <= 0 {
		l.at(n.pos, path, "min_backoff and max_backoff must be greater than zero")
	}
	if n.get("max_samples_per_send") != nil {
		e.MaxSamplesPerRequest = q.MaxSamplesPerSend
	}
	if n.get("max_shards") != nil {
		e.MaxShards = q.MaxShards
	}
	if n.get("min_shards") != nil {
		e.MinShards, e.MaxShards = q.MinShards, max(e.MaxShards, q.MinShards)
	}
	if v := n.get("batch_send_deadline"); v != nil {
		if t := time.Duration(q.BatchSendDeadline); t < l.config.BatchTimeout || len(l.config.Endpoints) == 0 {
			l.config.BatchTimeout = t
		}
	}
	e.SampleAgeLimit = time.Duration(q.SampleAgeLimit)
	if v := n.get("capacity"); v != nil {
		l.note(v.pos, path+".capacity", "has no effect: the queue is bounded by bytes and age, and scraping never waits for it")
	}
	if v := n.get("retry_on_http_429"); v != nil && v.text == "false" {
		l.note(v.pos, path+".retry_on_http_429", "has no effect: requests that are answered with 429 are always retried")
	}
}
