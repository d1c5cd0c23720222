package otelconf

import (
	"slices"

	"github.com/mangru/mangru/internal/rewrite"
)

// collector reads an OpenTelemetry Collector configuration into l.config.
func (l *loader) collector(raw *node) {
	x := &expander{getenv: l.getenv, readFile: l.readFile, fetch: l.opts.Fetch, problems: &l.problems, warn: l.warn}
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
	p := l.processors(all["processors"])
	exporters := l.exporters(all["exporters"], auth)
	receivers := l.receivers(all["receivers"], raw)
	if len(l.list) > 0 {
		return
	}
	l.applyMemory(p.limits, pipelines, all["processors"])
	l.connect(pipelines, receivers, exporters, p)
}

// processors are all processors by id, by what they are.
type processors struct {
	batches  map[string]batch
	limits   map[string]MemoryLimit
	programs map[string]rewrite.Program
}

// processors decodes every processor, used or not.
func (l *loader) processors(all map[string]*component) processors {
	p := processors{batches: map[string]batch{}, limits: map[string]MemoryLimit{}, programs: map[string]rewrite.Program{}}
	for _, id := range sortedKeys(all) {
		switch c := all[id]; c.kind {
		case "":
		case "batch":
			p.batches[id] = l.batch(c)
		case "memory_limiter":
			p.limits[id] = l.memoryLimiter(c)
		default:
			p.programs[id] = l.processor(c)
		}
	}
	return p
}
