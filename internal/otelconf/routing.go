package otelconf

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/rewrite"
)

// route is the way of a receiver's series to an endpoint.
type route struct {
	receiver string
	// jobs are the names of the receiver's jobs.
	jobs []string
	// exporter is the endpoint's name; empty where the way ends in an exporter that
	// sends nothing.
	exporter string
	path     rewrite.Pipeline
	// pipeline and pos are for what is said about the route.
	pipeline, field string
	pos             position
}

// connect turns pipelines into routes and adds the jobs and endpoints that they use.
func (l *loader) connect(pipelines []pipeline, receivers map[string]*receiver, exporters map[string]*exporter, p processors) {
	endpoints := map[string]*Endpoint{}
	for id, x := range exporters {
		endpoints[id] = &x.endpoint
	}
	l.applyBatches(p.batches, pipelines, endpoints)
	var from, to []string
	for _, pipeline := range pipelines {
		from, to = appendNew(from, pipeline.receivers), appendNew(to, pipeline.exporters)
	}
	for i, id := range from {
		r := receivers[id]
		if i == 0 {
			l.config.Global = r.global
			l.config.Global.ExternalLabels = labels.EmptyLabels() // they are in the receiver's programs
		}
		l.addJobs(r.jobs)
		if r.dedupe != nil {
			l.dedupe(r.dedupe.text, r.dedupe.pos, r.path+".dedupe")
		}
		if r.allocator != nil {
			l.config.TargetAllocators = append(l.config.TargetAllocators, *r.allocator)
		}
	}
	if len(l.config.TargetAllocators) > 1 {
		l.at(l.servicePos, "service.pipelines", "receivers %q and %q both have a target_allocator; one is possible", l.config.TargetAllocators[0].Receiver, l.config.TargetAllocators[1].Receiver)
	}
	for _, pipeline := range pipelines {
		for _, r := range pipeline.receivers {
			for _, e := range pipeline.exporters {
				l.addRoute(pipeline, receivers[r], e, exporters[e], p)
			}
		}
	}
	for _, id := range to {
		if e := endpoints[id]; e != nil {
			l.config.whole = append(l.config.whole, *e)
			l.endpointPos[id] = exporters[id].pos
		}
	}
	l.checkRoutes()
}

func appendNew(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// addRoute adds what a pipeline does between a receiver and an exporter.
func (l *loader) addRoute(p pipeline, r *receiver, id string, x *exporter, all processors) {
	way := route{
		receiver: r.id, jobs: jobNames(r.jobs), pipeline: p.id, field: p.path, pos: p.pos,
		path: rewrite.Pipeline{Receiver: rewrite.Receiver{Labels: r.global.ExternalLabels, TrimSuffixes: r.trimSuffixes}},
	}
	for _, id := range p.processors {
		if program := all.programs[id]; len(program) > 0 {
			way.path.Processors = append(way.path.Processors, program)
		}
	}
	if x != nil {
		way.exporter, way.path.Export = id, x.export
		l.warnHidden(p.pos, p.path, way.path)
	}
	for _, other := range l.config.routes {
		if other.receiver != way.receiver || other.exporter != way.exporter {
			continue
		}
		if x == nil {
			continue
		}
		if !reflect.DeepEqual(other.path, way.path) {
			l.at(p.pos, p.path, "the pipelines %q and %q both lead from %q to %q, but through different processors; name a second exporter with the same endpoint for one of them", other.pipeline, p.id, r.id, id)
		} else {
			l.warn(p.pos, p.path, "the pipelines %q and %q both lead from %q to %q; samples are sent once", other.pipeline, p.id, r.id, id)
		}
		return
	}
	l.config.routes = append(l.config.routes, way)
}

func jobNames(jobs []job) []string {
	names := make([]string, len(jobs))
	for i, j := range jobs {
		names[i] = j.config.JobName
	}
	return names
}

// checkRoutes refuses what cannot be done for several endpoints of one receiver.
func (l *loader) checkRoutes() {
	for _, group := range l.config.byReceiver() {
		ways := group.ways()
		if group.alike() {
			continue
		}
		for _, w := range ways {
			if w.path.TargetInfo() != nil {
				l.at(w.pos, w.field, "receiver %q leads to several exporters in different ways, so target_info cannot be made for %q: set its target_info.enabled to false, or let all pipelines and exporters of the receiver name series alike", w.receiver, w.exporter)
				break
			}
			if len(l.config.TargetAllocators) > 0 {
				l.at(w.pos, w.field, "receiver %q leads to several exporters in different ways, which is not supported together with a target_allocator", w.receiver)
				break
			}
		}
	}
	if len(l.config.TargetAllocators) == 0 {
		return
	}
	for _, e := range l.config.whole {
		for _, group := range l.config.byReceiver() {
			if !group.leadsTo(e.Name) {
				l.at(l.servicePos, "service.pipelines", "receiver %q does not lead to exporter %q; with a target_allocator each receiver must lead to each exporter, since the names of its jobs are not known", group[0].receiver, e.Name)
			}
		}
	}
}

// Receivers returns the OpenTelemetry receiver that each job belongs to, by job. Jobs
// of other forms of configuration are not in it.
func (c *Config) Receivers() map[string]string {
	out := make(map[string]string)
	for _, w := range c.routes {
		for _, job := range w.jobs {
			out[job] = w.receiver
		}
	}
	return out
}

// receiverRoutes are the routes of one receiver, of which there is at least one.
type receiverRoutes []route

// byReceiver groups the routes, in the order in which receivers are named first.
func (c *Config) byReceiver() []receiverRoutes {
	var out []receiverRoutes
	for _, w := range c.routes {
		i := slices.IndexFunc(out, func(g receiverRoutes) bool { return g[0].receiver == w.receiver })
		if i < 0 {
			out = append(out, receiverRoutes{w})
			continue
		}
		out[i] = append(out[i], w)
	}
	return out
}

// ways are the routes that lead to an endpoint.
func (g receiverRoutes) ways() []route {
	return slices.DeleteFunc(slices.Clone(g), func(w route) bool { return w.exporter == "" })
}

func (g receiverRoutes) leadsTo(exporter string) bool {
	return slices.ContainsFunc(g, func(w route) bool { return w.exporter == exporter })
}

// alike reports whether all routes do the same to series.
func (g receiverRoutes) alike() bool {
	ways := g.ways()
	for _, w := range ways {
		if !reflect.DeepEqual(w.path, ways[0].path) {
			return false
		}
	}
	return true
}

// added returns what an endpoint gets that is in no pipeline: the same as the
// others, or, where these differ, what the receiver makes.
func (g receiverRoutes) added() rewrite.Pipeline {
	switch ways := g.ways(); {
	case len(ways) == 0:
		return g[0].path
	case g.alike():
		return ways[0].path
	}
	return rewrite.Pipeline{Receiver: g[0].path.Receiver}
}

// AddEndpoint adds an endpoint that is in no pipeline: it gets all jobs, and the
// global external labels that it does not set itself. Its name is changed if it is
// taken.
func (c *Config) AddEndpoint(e Endpoint) {
	name := e.Name
	for i := 2; slices.ContainsFunc(c.Endpoints, func(o Endpoint) bool { return o.Name == e.Name }); i++ {
		e.Name = fmt.Sprintf("%s#%d", name, i)
	}
	b := labels.NewBuilder(c.Global.ExternalLabels)
	e.ExternalLabels.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
	e.ExternalLabels = b.Labels()
	if len(c.routes) == 0 {
		c.Endpoints = append(c.Endpoints, e)
		return
	}
	c.whole = append(c.whole, e)
	for _, group := range c.byReceiver() {
		way := group[0]
		way.exporter, way.path = e.Name, group.added()
		c.routes = append(c.routes, way)
	}
	c.arrange()
}

// addJobRoutes leads a job that no receiver has to all endpoints, as it is.
func (c *Config) addJobRoutes(name string) {
	if len(c.routes) == 0 {
		return
	}
	way := route{receiver: "job " + name, jobs: []string{name}}
	c.routes = append(c.routes, way)
	for _, e := range c.whole {
		way.exporter = e.Name
		c.routes = append(c.routes, way)
	}
	c.arrange()
}

// arrange makes Programs, TargetInfo and Endpoints from the routes. What all
// endpoints of a receiver have in common is done once, where its jobs are scraped;
// the rest on the way to each of them. An exporter to which receivers lead in
// different ways becomes several endpoints.
func (c *Config) arrange() {
	if len(c.routes) == 0 {
		return
	}
	c.Programs, c.TargetInfo = map[string]rewrite.Program{}, map[string]*rewrite.TargetInfo{}
	rests := map[string]*rest{}
	jobs := 0
	for _, group := range c.byReceiver() {
		jobs += len(group[0].jobs)
		ways := group.ways()
		programs := make([]rewrite.Program, len(ways))
		for i, w := range ways {
			programs[i] = w.path.Series()
		}
		common, remaining := rewrite.Split(programs)
		for i, w := range ways {
			if rests[w.exporter] == nil {
				rests[w.exporter] = &rest{}
			}
			rests[w.exporter].add(w.jobs, remaining[i])
		}
		var info *rewrite.TargetInfo
		if len(ways) > 0 && group.alike() {
			info = ways[0].path.TargetInfo()
		}
		c.program(group[0], common, info)
	}
	c.Endpoints = nil
	for _, e := range c.whole {
		c.Endpoints = append(c.Endpoints, rests[e.Name].endpoints(e, jobs)...)
	}
}

// program sets what is done to the series of a receiver where they are scraped.
func (c *Config) program(way route, common rewrite.Program, info *rewrite.TargetInfo) {
	for _, job := range way.jobs {
		if len(common) > 0 {
			c.Programs[job] = common
		}
		if info != nil {
			c.TargetInfo[job] = info
		}
	}
	for i := range c.TargetAllocators {
		if c.TargetAllocators[i].Receiver == way.receiver {
			c.TargetAllocators[i].Program, c.TargetAllocators[i].TargetInfo = common, info
		}
	}
}

// rest is what remains to be done for one exporter, by jobs.
type rest struct{ parts []restPart }

type restPart struct {
	program rewrite.Program
	jobs    []string
}

func (r *rest) add(jobs []string, program rewrite.Program) {
	for i := range r.parts {
		if reflect.DeepEqual(r.parts[i].program, program) {
			r.parts[i].jobs = append(r.parts[i].jobs, jobs...)
			return
		}
	}
	r.parts = append(r.parts, restPart{program: program, jobs: slices.Clone(jobs)})
}

// endpoints returns an endpoint for each part of e; all is how many jobs there are.
func (r *rest) endpoints(e Endpoint, all int) []Endpoint {
	var out []Endpoint
	for i, part := range r.parts {
		p := e
		p.Exporter, p.Rewrite = e.Name, part.program
		if len(r.parts) > 1 || len(part.jobs) < all {
			p.Jobs = part.jobs
		}
		if i > 0 {
			p.Name = fmt.Sprintf("%s#%d", e.Name, i+1)
		}
		if len(p.Rewrite) > 0 && !p.ExternalLabels.IsEmpty() {
			// The exporter adds its labels after what processors do.
			p.Rewrite = append(slices.Clip(p.Rewrite), rewrite.ExternalLabels{Labels: p.ExternalLabels})
			p.ExternalLabels = labels.EmptyLabels()
		}
		out = append(out, p)
	}
	return out
}
