package otelconf

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
)

// prometheusFile reads a Prometheus configuration into l.config.
func (l *loader) prometheusFile(doc *document) {
	root := doc.root
	l.servicePos = root.pos
	if n := l.opts.Naming; n != "" && n != NamingPrometheus {
		l.add(&Error{File: "--naming", Text: "is for configurations of an OpenTelemetry Collector; a Prometheus file names series as they are exposed", Found: string(n), Allowed: []string{string(NamingPrometheus)}})
	}
	for _, e := range root.entries {
		switch {
		case !slices.Contains(prometheusKeys, e.key):
			l.add(unknownField(e, "", prometheusKeys))
		case e.value.isNull():
		case e.key == "rule_files" || e.key == "alerting":
			l.warn(e.pos, e.key, "has no effect: rules are evaluated and alerts are sent where the samples are stored")
		case slices.Contains([]string{"remote_read", "storage", "tracing", "otlp", "runtime"}, e.key):
			l.note(e.pos, e.key, "has no effect in a collector")
		}
	}
	global, ok := globalConfig(root.get("global"), "global", &l.problems)
	if !ok {
		return
	}
	global.SetDirectory(doc.directory)
	global.ExternalLabels = l.expandExternalLabels(global.ExternalLabels, root.at("global", "external_labels"), "global.external_labels")
	l.applyFeaturesTo(&global)
	l.config.Global = global
	l.config.BatchTimeout = time.Duration(config.DefaultQueueConfig.BatchSendDeadline)
	s := jobSource{global: global}
	jobs := l.scrapeConfigs(root.get("scrape_configs"), "scrape_configs", s)
	for _, j := range jobs {
		j.config.SetDirectory(doc.directory)
	}
	jobs = append(jobs, l.scrapeConfigFiles(root.get("scrape_config_files"), "scrape_config_files", doc.directory, s)...)
	l.addJobs(jobs)
	l.remoteWrites(root.get("remote_write"), doc.directory)
}

// expandExternalLabels replaces $NAME and ${NAME}, which Prometheus does in
// external labels and nowhere else.
func (l *loader) expandExternalLabels(in labels.Labels, n *node, path string) labels.Labels {
	b := labels.NewScratchBuilder(in.Len())
	in.Range(func(label labels.Label) {
		b.Add(label.Name, os.Expand(label.Value, func(name string) string {
			if name == "$" {
				return "$"
			}
			value, _ := l.getenv(name)
			if value == "" {
				l.warn(n.entry(label.Name).pos, join(path, label.Name), "the environment variable %s is empty or not set", name)
			}
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
		l.endpointPos[e.Name] = n.pos
		l.config.AddEndpoint(e)
	}
}
