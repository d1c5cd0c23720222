package otelconf

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options say what to load.
type Options struct {
	// Files are the values of --config: a path, file:PATH, env:NAME, yaml:TEXT or
	// the URL of a page. Later ones are laid over earlier ones.
	Files []string
	// Set are the values of --set, a.b.c=VALUE, laid over all files.
	Set []string
	// FeatureGates are the values of --feature-gates, such as a,-b.
	FeatureGates []string
	// Features are the values of --enable-feature, Prometheus' feature flags.
	Features []string
	// Getenv looks up an environment variable; nil means os.LookupEnv.
	Getenv func(string) (string, bool)
	// ReadFile reads a file; nil means os.ReadFile.
	ReadFile func(string) ([]byte, error)
	// Fetch reads the page of a URL; nil means over HTTP.
	Fetch func(url string) ([]byte, error)
	// Version is the program's, for the labels that name it.
	Version string
	// LogLevel, Dedupe and Naming, if not empty, replace the configuration's.
	LogLevel string
	Dedupe   Dedupe
	Naming   Naming
	// Shard is "i/n" for the part i, counted from 0, of n; "auto" to share targets
	// with the other pods of the same workload; "off" to scrape all of them; or
	// empty, which is "auto" except for a Prometheus file.
	Shard string
	// QueueDirectory, QueueBytes and QueueAge, if not zero, replace the configuration's.
	QueueDirectory string
	QueueBytes     int64
	QueueAge       time.Duration
	// SkipUnsupportedSignals leaves pipelines for traces, logs and profiles out
	// instead of refusing them.
	SkipUnsupportedSignals bool
	// OwnEndpoint says that the caller adds an endpoint, so that one missing from
	// the configuration is not worth a warning.
	OwnEndpoint bool
}

// Load reads, merges and checks a configuration in any of the forms that the
// package knows. An error holds everything that is wrong, one *Error each, joined.
func Load(o Options) (*Config, error) {
	if o.Getenv == nil {
		o.Getenv = os.LookupEnv
	}
	if o.ReadFile == nil {
		o.ReadFile = os.ReadFile
	}
	if o.Fetch == nil {
		o.Fetch = fetch
	}
	l := &loader{opts: o, config: New(), endpointPos: map[string]position{}}
	if err := l.load(); err != nil {
		return nil, err
	}
	return l.config, nil
}

// loader carries what the parts of one Load share.
type loader struct {
	problems
	opts   Options
	config *Config
	gates  gates
	jobs   []job
	// object is what an OpenTelemetryCollector object says besides its configuration.
	object object
	// servicePos is where the service section is, for what has no better place.
	servicePos position
	// endpointPos is where each endpoint is configured, by name.
	endpointPos map[string]position
}

func (l *loader) warn(pos position, field, format string, args ...any) {
	l.config.Warnings = append(l.config.Warnings, sentence(pos, field, format, args))
}

// note mentions what has no effect, or another one, and does no harm.
func (l *loader) note(pos position, field, format string, args ...any) {
	l.config.Notes = append(l.config.Notes, sentence(pos, field, format, args))
}

func sentence(pos position, field, format string, args []any) Warning {
	where := pos.String()
	if field != "" {
		where += " " + field
	}
	return Warning{Where: where, Text: fmt.Sprintf(format, args...)}
}

// getenv looks a variable up in the process and then in the object.
func (l *loader) getenv(name string) (string, bool) {
	if v, ok := l.opts.Getenv(name); ok {
		return v, true
	}
	v, ok := l.object.env[name]
	return v, ok
}

func (l *loader) load() error {
	merged, err := l.merged()
	if err != nil {
		return err
	}
	l.config.Form = string(merged.form)
	sources := l.object.gates
	for _, list := range l.opts.FeatureGates {
		sources = append(sources, gateSource{pos: position{file: "--feature-gates"}, list: list})
	}
	l.applyGates(sources)
	l.applyFeatures()
	if merged.form == formPrometheus {
		l.prometheusFile(merged)
	} else {
		l.config.Sharding.Auto = l.object.mode != modeSidecar
		l.collector(merged.root)
	}
	l.applyOptions()
	if len(l.list) > 0 {
		return l.err()
	}
	l.config.arrange()
	l.review()
	return nil
}

// merged reads all sources and lays them over each other.
func (l *loader) merged() (*document, error) {
	files := l.opts.Files
	if _, ok := l.opts.Getenv(contentVariable); ok {
		files = []string{"env:" + contentVariable}
		if len(l.opts.Files) > 0 {
			l.note(position{file: "--config"}, "", "the environment variable %s is set and takes its place", contentVariable)
		}
	}
	if len(files) == 0 {
		return nil, &Error{File: "--config", Text: "no configuration given"}
	}
	l.opts.Files = files
	var merged *document
	for _, uri := range files {
		doc, err := l.read(uri)
		if err != nil {
			return nil, err
		}
		switch {
		case merged == nil:
			merged = doc
		case merged.form != doc.form && (merged.form == formPrometheus || doc.form == formPrometheus):
			return nil, &Error{File: doc.root.pos.file, Line: doc.root.pos.line, Text: fmt.Sprintf("%s cannot be laid over %s", doc.form, merged.form)}
		default:
			merged.root = merge(merged.root, doc.root)
		}
	}
	for _, s := range slices.Concat(l.object.set, l.opts.Set) {
		n, err := parseSet(s)
		if err != nil {
			return nil, err
		}
		merged.root = merge(merged.root, n)
	}
	return merged, nil
}

func (l *loader) applyOptions() {
	o := l.opts
	if o.LogLevel != "" {
		l.logLevel(o.LogLevel, position{file: "--log-level"}, "")
	}
	if o.Dedupe != "" {
		l.dedupe(string(o.Dedupe), position{file: "--dedupe"}, "")
	}
	var wrong *Error
	if errors.As(l.config.SetShard(o.Shard), &wrong) {
		l.add(wrong)
	}
	q := &l.config.Queue
	if o.QueueDirectory != "" {
		q.Directory = o.QueueDirectory
	}
	if o.QueueBytes != 0 {
		q.MaxBytes = o.QueueBytes
	}
	if o.QueueAge != 0 {
		q.MaxAge = o.QueueAge
	}
	if n := o.QueueBytes; n != 0 && n < minQueueBytes {
		l.at(position{file: "--queue-bytes"}, "", "must be at least %d, found %d", minQueueBytes, n)
	}
	if o.QueueAge < 0 {
		l.at(position{file: "--queue-age"}, "", "must be greater than zero, found %s", o.QueueAge)
	}
}

// minQueueBytes is less than what any collector needs.
const minQueueBytes = 1 << 20

// SetShard says which targets are scraped: the part "i/n", counted from 0; with
// "auto" a share among the pods of the same workload; with "off" all of them. Empty
// changes nothing.
func (c *Config) SetShard(value string) error {
	index, count, isPart := strings.Cut(value, "/")
	switch {
	case value == "":
	case value == "auto", value == "off":
		c.Shard, c.Sharding = Shard{}, Sharding{Auto: value == "auto"}
	case isPart:
		i, errIndex := strconv.Atoi(index)
		n, errCount := strconv.Atoi(count)
		if errIndex != nil || errCount != nil || n < 1 || i < 0 || i >= n {
			return &Error{File: "--shard", Text: "must be i/n with i from 0 to n-1", Found: value}
		}
		c.Shard, c.Sharding = Shard{Index: i, Count: n}, Sharding{}
	default:
		return &Error{File: "--shard", Text: "not a way to share targets", Found: value, Allowed: []string{"i/n", "auto", "off"}}
	}
	return nil
}

func (l *loader) logLevel(level string, pos position, field string) {
	allowed := []string{"debug", "info", "warn", "error"}
	level = strings.ToLower(level)
	if !slices.Contains(allowed, level) {
		l.add(&Error{File: pos.file, Line: pos.line, Field: field, Text: "unknown log level", Found: found(field, level), Allowed: allowed})
		return
	}
	l.config.LogLevel = level
}

func (l *loader) dedupe(value string, pos position, field string) {
	switch d := Dedupe(value); d {
	case DedupeOff, DedupeFirstJobWins:
		l.config.Dedupe = d
	default:
		l.add(&Error{
			File: pos.file, Line: pos.line, Field: field, Text: "unknown way to treat targets that several jobs scrape",
			Found: found(field, value), Allowed: []string{string(DedupeOff), string(DedupeFirstJobWins)},
		})
	}
}
