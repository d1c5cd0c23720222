package otelconf

import (
	"fmt"
	"reflect"

	"github.com/prometheus/prometheus/config"
)

// job is a scrape configuration and the YAML it came from.
type job struct {
	config *config.ScrapeConfig
	node   *node
	path   string
	// raw is the job before ${...} and $$ were replaced; nil where they are not.
	raw *node
}

// globalConfig decodes a "global" block.
func globalConfig(n *node, path string, ps *problems) (config.GlobalConfig, bool) {
	if n.isNull() {
		return config.DefaultGlobalConfig, true
	}
	var global config.GlobalConfig
	try := func(n *node, path string) (*printed, error) {
		global = config.GlobalConfig{}
		return decodeProm(n, path, &global, nil)
	}
	text, err := try(n, path)
	if err != nil {
		for _, e := range explain(n, path, reflect.TypeFor[config.GlobalConfig](), try, text, err) {
			ps.add(e)
		}
		return config.DefaultGlobalConfig, false
	}
	return global, true
}

// scrapeConfigs decodes a "scrape_configs" list. Adjust, if any, is applied to
// each job before it is checked against global.
func scrapeConfigs(list *node, path string, global config.GlobalConfig, adjust func(*config.ScrapeConfig), ps *problems) []job {
	if list.isNull() {
		return nil
	}
	if list.kind != sequence {
		ps.at(list.pos, path, "must be a list of scrape configurations, found %s", list.kind)
		return nil
	}
	var jobs []job
	first := map[string]position{}
	for i, n := range list.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		sc, ok := scrapeConfig(n, at, global, adjust, ps)
		if !ok {
			continue
		}
		name := n.get("job_name")
		if p, dup := first[sc.JobName]; dup {
			ps.at(name.pos, at+".job_name", "job name %q is already used at %s; each job needs its own", sc.JobName, p)
			continue
		}
		first[sc.JobName] = name.pos
		jobs = append(jobs, job{config: sc, node: n, path: at})
	}
	return jobs
}

func scrapeConfig(n *node, path string, global config.GlobalConfig, adjust func(*config.ScrapeConfig), ps *problems) (*config.ScrapeConfig, bool) {
	if n.kind != mapping {
		ps.at(n.pos, path, "must be a scrape configuration, found %s", n.kind)
		return nil, false
	}
	var sc *config.ScrapeConfig
	try := func(n *node, path string) (*printed, error) {
		sc = &config.ScrapeConfig{}
		return decodeProm(n, path, sc, func() error {
			if sc.JobName == "" {
				return fmt.Errorf("job_name is missing")
			}
			if adjust != nil {
				adjust(sc)
			}
			return sc.Validate(global)
		})
	}
	text, err := try(n, path)
	if err != nil {
		for _, e := range explain(n, path, reflect.TypeFor[config.ScrapeConfig](), try, text, err) {
			ps.add(e)
		}
		return nil, false
	}
	return sc, true
}
