package discover

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	promyaml "go.yaml.in/yaml/v2"
	"sigs.k8s.io/yaml"
)

// silence is how long the allocator's handler waits for discoveries that have
// said nothing yet; some never do while there is nothing to find.
const silence = time.Minute

// AllocatorHandler serves the protocol of the OpenTelemetry Operator's target
// allocator, so that OpenTelemetry collectors can scrape what this discovers:
//
//	GET /scrape_configs                      jobs, secrets masked, without their service discoveries
//	GET /jobs                                where their targets are
//	GET /jobs/<job>/targets?collector_id=ID  the targets of one collector, before relabelling
//	GET /jobs/<job>/targets                  the targets of all
//	GET /livez, /readyz
//
// collectors says who they are, by the ids that they give. Only jobs of this
// configuration are handed out, none that come from another allocator.
//
// Until discoveries and collectors are known it answers 503, which collectors
// take for no change; an empty list would have them drop what they scrape.
func (m *Manager) AllocatorHandler(collectors Membership) http.Handler {
	s := &allocatorServer{m: m, collectors: collectors, since: time.Now()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /readyz", s.whenReady(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	mux.HandleFunc("GET /scrape_configs", s.serveScrapeConfigs)
	mux.HandleFunc("GET /jobs", s.serveJobs)
	mux.HandleFunc("GET /jobs/{job}/targets", s.whenReady(s.serveTargets))
	return mux
}

type allocatorServer struct {
	m          *Manager
	collectors Membership
	since      time.Time
}

// whenReady refuses while it is not known who has what.
func (s *allocatorServer) whenReady(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.m.mu.Lock()
		known := s.m.groups != nil
		s.m.mu.Unlock()
		now := time.Now()
		switch {
		case !known, !s.m.problems.complete() && now.Sub(s.since) < silence:
			http.Error(w, "service discovery has not found everything yet", http.StatusServiceUnavailable)
		case len(s.collectors.Ring().Members(now)) == 0:
			http.Error(w, "no collector is known", http.StatusServiceUnavailable)
		default:
			next(w, r)
		}
	}
}

func (s *allocatorServer) jobs() []*config.ScrapeConfig {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return s.m.cfg.Jobs
}

func (s *allocatorServer) serveScrapeConfigs(w http.ResponseWriter, _ *http.Request) {
	body, err := scrapeConfigsJSON(s.jobs())
	if err != nil {
		s.m.log.Error("the list of jobs for other collectors cannot be written", "err", err)
		http.Error(w, "the list of jobs cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// scrapeConfigsJSON writes scrape configurations by job. Prometheus' types write
// secrets as <secret>.
func scrapeConfigsJSON(jobs []*config.ScrapeConfig) ([]byte, error) {
	out := make(map[string]*config.ScrapeConfig, len(jobs))
	for _, sc := range jobs {
		c := *sc
		c.ServiceDiscoveryConfigs = nil // the collector puts its own there
		out[c.JobName] = &c
	}
	text, err := promyaml.Marshal(out)
	if err != nil {
		return nil, err
	}
	return yaml.YAMLToJSON(text)
}

// link says where to read on.
type link struct {
	Link string `json:"_link"`
}

func (s *allocatorServer) serveJobs(w http.ResponseWriter, _ *http.Request) {
	out := make(map[string]link)
	for _, sc := range s.jobs() {
		out[sc.JobName] = link{"/jobs/" + url.QueryEscape(sc.JobName) + "/targets"}
	}
	s.write(w, out)
}

// allocated is a target in the form of Prometheus' HTTP service discovery.
type allocated struct {
	Targets []string             `json:"targets"`
	Labels  commonmodel.LabelSet `json:"labels"`
}

// share of a collector, where all are asked for.
type collectorShare struct {
	link
	Targets []allocated `json:"targets"`
}

func (s *allocatorServer) serveTargets(w http.ResponseWriter, r *http.Request) {
	// The job is escaped like a query: a space is a plus sign.
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.EscapedPath(), "/jobs/"), "/targets")
	job, err := url.QueryUnescape(path)
	if err != nil {
		http.Error(w, "the job's name is not well escaped", http.StatusBadRequest)
		return
	}
	shares := s.shares(job)
	if id := r.URL.Query()["collector_id"]; len(id) > 0 {
		s.write(w, append([]allocated{}, shares[id[0]]...))
		return
	}
	out := make(map[string]collectorShare, len(shares))
	for _, name := range s.collectors.Ring().Members(time.Now()) {
		out[name] = collectorShare{
			link{"/jobs/" + url.QueryEscape(job) + "/targets?collector_id=" + url.QueryEscape(name)},
			append([]allocated{}, shares[name]...),
		}
	}
	s.write(w, out)
}

// shares divides a job's targets, as they are before relabelling, among the
// collectors.
func (s *allocatorServer) shares(job string) map[string][]allocated {
	out := make(map[string][]allocated)
	ring, now := s.collectors.Ring(), time.Now()
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	for i := range s.m.state.Jobs {
		j := &s.m.state.Jobs[i]
		if j.Config.JobName != job || !j.shared {
			continue
		}
		for _, f := range j.found {
			owner := ring.Owner(f.key, now)
			out[owner] = append(out[owner], f.allocated())
		}
	}
	return out
}

// allocated returns the target with the labels that its discovery gave it.
func (f *found) allocated() allocated {
	own := f.group.Targets[f.index]
	ls := make(commonmodel.LabelSet, len(own)+len(f.group.Labels))
	for k, v := range f.group.Labels {
		ls[k] = v
	}
	for k, v := range own {
		ls[k] = v
	}
	return allocated{Targets: []string{string(ls[commonmodel.AddressLabel])}, Labels: ls}
}

func (s *allocatorServer) write(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.m.log.Error("an answer to another collector cannot be written", "err", err)
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}
