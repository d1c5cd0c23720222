package otelconf

import (
	"bytes"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	promhttp "github.com/prometheus/prometheus/discovery/http"

	"github.com/mangru/mangru/internal/rewrite"
)

// TargetAllocator is a server that hands out jobs, and for each of them the targets
// that this collector scrapes. Its protocol is that of the OpenTelemetry Operator's
// target allocator: GET URL/scrape_configs names the jobs.
type TargetAllocator struct {
	// Receiver is the id of the receiver that names the allocator.
	Receiver string
	// URL has no slash at its end and no credentials.
	URL string
	// Interval is the time between two looks at the list of jobs.
	Interval time.Duration
	// CollectorID is the name by which the allocator knows this collector.
	CollectorID string
	// HTTP is how the allocator is spoken to.
	HTTP commoncfg.HTTPClientConfig
	// Headers are sent with the request for the list of jobs.
	Headers map[string]string
	// Timeout bounds that request; 0 is no bound.
	Timeout time.Duration
	// Program and TargetInfo are for all of the allocator's jobs what
	// Config.Programs and Config.TargetInfo are for others.
	Program    rewrite.Program
	TargetInfo *rewrite.TargetInfo

	global config.GlobalConfig
	// sd is the discovery of each job, but for its URL.
	sd promhttp.SDConfig
	// scrapeHTTP, if not nil, takes the place of what the jobs say about HTTP.
	scrapeHTTP *commoncfg.HTTPClientConfig
}

// ScrapeConfigsURL is where the allocator lists its jobs.
func (t *TargetAllocator) ScrapeConfigsURL() string { return t.URL + "/scrape_configs" }

// ScrapeConfigs reads the allocator's list of jobs: a mapping, in JSON or YAML, of
// names to scrape configurations. Each job discovers its targets at the allocator,
// whatever discovery it has itself. $(SHARD) in the list stands for shard. The
// jobs are in the order of their names. If one of them is bad the list is refused.
func (t *TargetAllocator) ScrapeConfigs(data []byte, shard string) ([]*config.ScrapeConfig, error) {
	data = bytes.ReplaceAll(data, []byte("$(SHARD)"), []byte(shard))
	docs, err := source{name: t.ScrapeConfigsURL(), data: data}.parse()
	switch {
	case err != nil:
		return nil, err
	case len(docs) == 0:
		return nil, nil
	case len(docs) > 1 || docs[0].kind != mapping:
		return nil, &Error{File: t.ScrapeConfigsURL(), Text: "the list of jobs must be a mapping of names to scrape configurations"}
	}
	var ps problems
	jobs := map[string]*config.ScrapeConfig{}
	for _, e := range docs[0].entries {
		s := jobSource{global: t.global, adjust: func(sc *config.ScrapeConfig) { t.adjust(sc, e.key) }}
		if sc, ok := scrapeConfig(e.value, e.key, s, &ps); ok {
			jobs[e.key] = sc
		}
	}
	if len(ps.list) > 0 {
		return nil, ps.err()
	}
	out := make([]*config.ScrapeConfig, 0, len(jobs))
	for _, name := range sortedKeys(jobs) {
		out = append(out, jobs[name])
	}
	return out, nil
}

// adjust makes a job, which the allocator knows under name, discover its targets at
// the allocator.
func (t *TargetAllocator) adjust(sc *config.ScrapeConfig, name string) {
	sd := t.sd
	sd.URL = fmt.Sprintf("%s/jobs/%s/targets?collector_id=%s", t.URL, url.QueryEscape(name), url.QueryEscape(t.CollectorID))
	sc.ServiceDiscoveryConfigs = discovery.Configs{&sd}
	if t.scrapeHTTP != nil {
		sc.HTTPClientConfig = *t.scrapeHTTP
	}
	adjustReceiverJob(false)(sc)
}

// targetAllocator decodes a receiver's target_allocator block.
func (l *loader) targetAllocator(n *node, r *receiver) *TargetAllocator {
	path := r.path + ".target_allocator"
	before := len(l.list)
	body := struct {
		Endpoint   string        `conf:"endpoint"`
		Interval   time.Duration `conf:"interval"`
		ID         string        `conf:"collector_id"`
		TLS        tlsBody       `conf:"tls"`
		Headers    *node         `conf:"headers"`
		Timeout    time.Duration `conf:"timeout"`
		ProxyURL   string        `conf:"proxy_url"`
		Auth       *node         `conf:"auth"`
		HTTPSD     *node         `conf:"http_sd_config"`
		HTTPScrape *node         `conf:"http_scrape_config"`
		clientTuning
	}{Interval: 30 * time.Second}
	decodeInto(n, path, &body, &l.problems)
	if len(l.list) > before {
		return nil
	}
	at := func(key string) position {
		if e := n.entry(key); e != nil {
			return e.pos
		}
		return n.pos
	}
	t := &TargetAllocator{Receiver: r.id, Interval: body.Interval, CollectorID: body.ID, Timeout: body.Timeout, global: r.global}
	u, err := parseHTTPURL(body.Endpoint)
	if err != nil {
		l.at(at("endpoint"), path+".endpoint", "%v", err)
		return nil
	}
	if u.User != nil {
		l.at(at("endpoint"), path+".endpoint", "must not hold a user name: service discovery would show it")
	}
	t.URL = strings.TrimSuffix(u.String(), "/")
	if t.Interval <= 0 {
		l.at(at("interval"), path+".interval", "must be greater than zero")
	}
	if t.CollectorID == "" {
		t.CollectorID, _ = l.getenv("POD_NAME")
	}
	if t.CollectorID == "" || strings.Contains(t.CollectorID, "${") {
		l.at(at("collector_id"), path+".collector_id", "is missing, and the environment variable POD_NAME is not set: the allocator knows collectors by the names of their pods")
	}
	if !body.Auth.isNull() {
		l.at(at("auth"), path+".auth", "is not supported here: use tls with a client certificate")
	}
	t.HTTP = commoncfg.HTTPClientConfig{EnableHTTP2: true}
	l.clientTLS(&t.HTTP, body.TLS, n, path)
	l.clientProxy(&t.HTTP, body.ProxyURL, n, path)
	t.Headers = l.headers(body.Headers, path+".headers")
	l.allocatorClients(t, body.HTTPSD, body.HTTPScrape, path)
	return t
}

// allocatorClients reads how targets are asked for and how they are scraped.
func (l *loader) allocatorClients(t *TargetAllocator, httpSD, httpScrape *node, path string) {
	t.sd = promhttp.DefaultSDConfig
	t.sd.RefreshInterval = model.Duration(30 * time.Second)
	if !httpSD.isNull() {
		// The URL, which each job has its own of, is a required field.
		placeholder := &node{pos: httpSD.pos, kind: mapping, entries: []entry{{key: "url", pos: httpSD.pos, value: &node{pos: httpSD.pos, tag: tagString, text: "http://allocator"}}}}
		l.decodeProm(merge(httpSD, placeholder), path+".http_sd_config", &t.sd, nil)
	}
	// Requests for targets go the way of those for jobs, unless told otherwise.
	if httpSD.get("tls_config") == nil {
		t.sd.HTTPClientConfig.TLSConfig = t.HTTP.TLSConfig
	}
	if httpSD.get("proxy_url") == nil {
		t.sd.HTTPClientConfig.ProxyURL = t.HTTP.ProxyURL
	}
	t.sd.HTTPClientConfig.FollowRedirects = false
	if !httpScrape.isNull() {
		c := commoncfg.DefaultHTTPClientConfig
		l.decodeProm(httpScrape, path+".http_scrape_config", &c, c.Validate)
		t.scrapeHTTP = &c
	}
}

// decodeProm decodes one of Prometheus' own types and reports what is wrong.
func (l *loader) decodeProm(n *node, path string, out any, check func() error) {
	if n.kind != mapping {
		l.at(n.pos, path, "must be a mapping, found %s", n.kind)
		return
	}
	try := func(n *node, path string) (*printed, error) { return decodeProm(n, path, out, check) }
	if text, err := try(n, path); err != nil {
		for _, e := range explain(n, path, reflect.TypeOf(out).Elem(), try, text, err) {
			l.add(e)
		}
	}
}
