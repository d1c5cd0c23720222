package peer

import "sigs.k8s.io/yaml"

// object is a mapping of a configuration file.
type object = map[string]any

const (
	messageV1 = "prometheus.WriteRequest"
	messageV2 = "io.prometheus.write.v2.Request"
)

// external are labels that everything sent carries, as it does in most clusters.
var external = object{"cluster": "bench"}

// prometheusConfig is a Prometheus file. vmagent has its endpoint on the command
// line instead.
func prometheusConfig(task Task, remoteWrite bool) ([]byte, error) {
	config := object{
		"global":         object{"scrape_interval": task.Interval.String(), "scrape_timeout": task.Interval.String(), "external_labels": external},
		"scrape_configs": scrapeConfigs(task),
	}
	if remoteWrite {
		config["remote_write"] = []object{{"url": task.URL, "protobuf_message": message(task)}}
	}
	return yaml.Marshal(config)
}

func message(task Task) string {
	if task.V2 {
		return messageV2
	}
	return messageV1
}

// scrapeConfigs are the same for all. Timestamps are honoured, as Prometheus
// does: vmagent would not unless told to.
func scrapeConfigs(task Task) []object {
	var configs []object
	for _, job := range task.Jobs {
		var static []object
		for _, t := range job.Targets {
			static = append(static, object{"targets": []string{t.Address}, "labels": object{"node": t.Node}})
		}
		config := object{"job_name": job.Name, "honor_timestamps": true, "static_configs": static}
		if job.HonorLabels {
			config["honor_labels"] = true
		}
		if len(job.Targets) > 0 {
			config["metrics_path"] = job.Targets[0].Path
		}
		configs = append(configs, config)
	}
	return configs
}

// otelConfig is the usual pipeline of the OpenTelemetry Collector: scrape,
// batch, remote write. port is for its own metrics.
func otelConfig(task Task, port int) ([]byte, error) {
	exporter := object{"endpoint": task.URL, "external_labels": external, "tls": object{"insecure": true}}
	if task.V2 {
		exporter["protobuf_message"] = messageV2
	}
	return yaml.Marshal(object{
		"receivers": object{"prometheus": object{"config": object{
			"global":         object{"scrape_interval": task.Interval.String(), "scrape_timeout": task.Interval.String()},
			"scrape_configs": scrapeConfigs(task),
		}}},
		"processors": object{"batch": object{}},
		"exporters":  object{"prometheusremotewrite": exporter},
		"service": object{
			"pipelines": object{"metrics": object{
				"receivers": []string{"prometheus"}, "processors": []string{"batch"}, "exporters": []string{"prometheusremotewrite"},
			}},
			"telemetry": object{"metrics": object{"readers": []object{{
				"pull": object{"exporter": object{"prometheus": object{"host": "127.0.0.1", "port": port}}},
			}}}},
		},
	})
}
