package otelconf

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"

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

// jobSource is what jobs are read with.
type jobSource struct {
	global config.GlobalConfig
	// adjust, if not nil, is applied to each job before it is checked.
	adjust func(*config.ScrapeConfig)
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

// scrapeConfigs decodes a "scrape_configs" list. That no name is used twice is
// checked once all jobs are known.
func (l *loader) scrapeConfigs(list *node, path string, s jobSource) []job {
	if list.isNull() {
		return nil
	}
	if list.kind != sequence {
		l.at(list.pos, path, "must be a list of scrape configurations, found %s", list.kind)
		return nil
	}
	var jobs []job
	for i, n := range list.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if sc, ok := scrapeConfig(n, at, s, &l.problems); ok {
			jobs = append(jobs, job{config: sc, node: n, path: at})
		}
	}
	return jobs
}

func scrapeConfig(n *node, path string, s jobSource, ps *problems) (*config.ScrapeConfig, bool) {
	if n.kind != mapping {
		ps.at(n.pos, path, "must be a scrape configuration, found %s", n.kind)
		return nil, false
	}
	var sc *config.ScrapeConfig
	try := func(n *node, path string) (*printed, error) {
		sc = &config.ScrapeConfig{}
		return decodeProm(n, path, sc, func() error {
			if sc.JobName == "" {
				return errors.New("job_name is missing")
			}
			if s.adjust != nil {
				s.adjust(sc)
			}
			return sc.Validate(s.global)
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

// addJobs adds jobs to the configuration and refuses names that are taken.
func (l *loader) addJobs(jobs []job) {
	for _, j := range jobs {
		i := slices.IndexFunc(l.jobs, func(o job) bool { return o.config.JobName == j.config.JobName })
		if i >= 0 {
			first := l.jobs[i].node
			if n := first.get("job_name"); n != nil {
				first = n
			}
			pos := j.node.pos
			if n := j.node.get("job_name"); n != nil {
				pos = n.pos
			}
			l.at(pos, j.path+".job_name", "job name %q is already used at %s; each job needs its own", j.config.JobName, first.pos)
			continue
		}
		l.jobs = append(l.jobs, j)
		l.config.ScrapeConfigs = append(l.config.ScrapeConfigs, j.config)
	}
}

// filePattern is what Prometheus allows as a path of scrape_config_files: a "*" in
// the file's name only.
var filePattern = regexp.MustCompile(`^[^*]*(\*[^/]*)?$`)

// scrapeConfigFiles reads the files that "scrape_config_files" names. Relative
// paths start at directory, and so do relative paths inside each file at its own.
func (l *loader) scrapeConfigFiles(list *node, path, directory string, s jobSource) []job {
	if list.isNull() {
		return nil
	}
	var patterns []string
	decodeInto(list, path, &patterns, &l.problems)
	var jobs []job
	for i, pattern := range patterns {
		field := fmt.Sprintf("%s[%d]", path, i)
		pos := list.items[i].pos
		if !filePattern.MatchString(pattern) || pattern == "" {
			l.add(&Error{File: pos.file, Line: pos.line, Field: field, Text: "not a path with at most a * in the file's name", Found: found(field, pattern)})
			continue
		}
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(directory, pattern)
		}
		l.config.FilePatterns = append(l.config.FilePatterns, pattern)
		files, err := filepath.Glob(pattern)
		if err != nil {
			l.add(&Error{File: pos.file, Line: pos.line, Field: field, Text: "not a pattern: " + err.Error(), Cause: err})
			continue
		}
		if len(files) == 0 {
			l.warn(pos, field, "there is no such file yet: %s", pattern)
		}
		for _, file := range files {
			jobs = append(jobs, l.scrapeConfigFile(file, pos, field, s)...)
		}
	}
	return jobs
}

// scrapeConfigFile reads one file of jobs. As in Prometheus nothing is expanded in it.
func (l *loader) scrapeConfigFile(file string, pos position, field string, s jobSource) []job {
	data, err := l.readFile(file)
	if err != nil {
		l.add(&Error{File: pos.file, Line: pos.line, Field: field, Text: err.Error(), Cause: err})
		return nil
	}
	docs, err := source{name: file, data: data}.parse()
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			l.add(e)
		}
		return nil
	}
	if len(docs) == 0 {
		return nil
	}
	var body struct {
		Jobs *node `conf:"scrape_configs"`
	}
	decodeInto(docs[0], "", &body, &l.problems)
	if len(docs) > 1 {
		l.at(docs[1].pos, "", "a second YAML document; a file of jobs is one document")
	}
	jobs := l.scrapeConfigs(body.Jobs, "scrape_configs", s)
	for _, j := range jobs {
		j.config.SetDirectory(filepath.Dir(file))
	}
	return jobs
}
