package scrape

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"

	commoncfg "github.com/prometheus/common/config"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/mangru/mangru/internal/rewrite"
)

// unixSocketLabel holds the path of a Unix socket that is dialled in place of
// the target's address.
const unixSocketLabel = "__unix_socket__"

// plan is what a job's settings come to. It is not changed once made.
type plan struct {
	cfg       *config.ScrapeConfig
	transport http.RoundTripper // the job's own, or nil
	userAgent string
	client    *http.Client
	accept    string
	encoding  string
	parser    textparse.ParserOptions
	program   rewrite.Program
	reads     []string // labels from discovery that the program looks at
	info      *rewrite.TargetInfo
	exemplars bool
	zeroes    bool
	starts    bool
	maxSchema int32 // of native histograms

	mu      sync.Mutex
	sockets map[string]*http.Client
	texts   map[string]bool // see isText
}

func newPlan(job Job, userAgent string) (*plan, error) {
	cfg := job.Config
	scheme, err := config.ToEscapingScheme(cfg.MetricNameEscapingScheme, cfg.MetricNameValidationScheme)
	if err != nil {
		return nil, fmt.Errorf("metric name escaping scheme: %w", err)
	}
	p := &plan{
		cfg: cfg, transport: job.Transport, userAgent: userAgent,
		accept: acceptHeader(cfg.ScrapeProtocols, scheme), encoding: "identity",
		parser: textparse.ParserOptions{
			IgnoreNativeHistograms:                  !cfg.ScrapeNativeHistogramsEnabled(),
			ConvertClassicHistogramsToNHCB:          cfg.ConvertClassicHistogramsToNHCBEnabled(),
			KeepClassicOnClassicAndNativeHistograms: cfg.AlwaysScrapeClassicHistogramsEnabled(),
			OpenMetricsSkipSTSeries:                 job.CreatedZeroes || job.StartTimestamps,
			FallbackContentType:                     cfg.ScrapeFallbackProtocol.HeaderMediaType(),
		},
		program: job.Program, reads: job.Program.Discovered(), info: job.TargetInfo, exemplars: job.Exemplars, zeroes: job.CreatedZeroes, starts: job.StartTimestamps,
		maxSchema: maxSchemaFor(cfg.NativeHistogramMinBucketFactor),
		sockets:   make(map[string]*http.Client), texts: make(map[string]bool),
	}
	if cfg.EnableCompression {
		p.encoding = "gzip"
	}
	p.client, err = newClient(cfg, job.Transport)
	return p, err
}

func newClient(cfg *config.ScrapeConfig, own http.RoundTripper, opts ...commoncfg.HTTPClientOption) (*http.Client, error) {
	if own == nil {
		c, err := commoncfg.NewClientFromConfig(cfg.HTTPClientConfig, cfg.JobName, opts...)
		if err != nil {
			return nil, fmt.Errorf("making the HTTP client: %w", err)
		}
		if t, plain := c.Transport.(*http.Transport); plain {
			lighten(t, len(opts) == 0)
		}
		return c, nil
	}
	c := &http.Client{Transport: own}
	if !cfg.HTTPClientConfig.FollowRedirects {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return c, nil
}

// lighten makes the connections of a transport that is not in use yet small, for
// there is one to each of thousands of targets: a request is a few hundred bytes,
// a page is read past the buffer, and nobody looks at the event log that the
// usual dialer keeps of each connection, some 7 kB. Transports behind
// authentication or certificates cannot be reached; they are as they are.
func lighten(t *http.Transport, dial bool) {
	t.WriteBufferSize, t.ReadBufferSize = 1<<10, 2<<10
	if dial {
		t.DialContext = (&net.Dialer{}).DialContext
	}
}

// clientFor returns the client for a target. A Unix socket needs one of its
// own, for connections are kept by host name.
func (p *plan) clientFor(ls labels.Labels) (*http.Client, error) {
	socket := ls.Get(unixSocketLabel)
	if socket == "" {
		return p.client, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.sockets[socket]; c != nil {
		return c, nil
	}
	c, err := newClient(p.cfg, nil, commoncfg.WithDialContextFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}))
	if err == nil {
		p.sockets[socket] = c
	}
	return c, err
}

func (p *plan) close() {
	p.client.CloseIdleConnections()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.sockets {
		c.CloseIdleConnections()
	}
}

// relabelsLike reports whether series that were finished under the other plan
// are what they would be under this one.
func (p *plan) relabelsLike(o *plan) bool {
	strip := func(c *config.ScrapeConfig) config.ScrapeConfig {
		s := *c
		s.ScrapeInterval, s.ScrapeTimeout, s.SampleLimit = 0, 0, 0
		s.HTTPClientConfig = commoncfg.HTTPClientConfig{}
		return s
	}
	return p == o || reflect.DeepEqual(strip(p.cfg), strip(o.cfg)) && reflect.DeepEqual(p.program, o.program) && reflect.DeepEqual(p.info, o.info)
}

// looksAtDiscovery reports whether labels from discovery show on series.
func (p *plan) looksAtDiscovery() bool { return len(p.reads) > 0 || p.info != nil }

// isText reports whether Prometheus would read a page of the content type with
// its parser for the classic text format, and nothing around it.
func (p *plan) isText(contentType string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	is, ok := p.texts[contentType]
	if !ok {
		parser, _ := textparse.New(nil, contentType, labels.NewSymbolTable(), p.parser)
		_, is = parser.(*textparse.PromParser)
		if len(p.texts) < 100 { // targets may say anything
			p.texts[contentType] = is
		}
	}
	return is
}

// acceptHeader lists the formats in the order in which they are liked.
func acceptHeader(protocols []config.ScrapeProtocol, scheme commonmodel.EscapingScheme) string {
	var list []string
	weight := len(config.ScrapeProtocolsHeaders) + 1
	for _, sp := range protocols {
		v := config.ScrapeProtocolsHeaders[sp]
		// Only the newer text formats know about escaping.
		if sp == config.PrometheusText1_0_0 || sp == config.OpenMetricsText1_0_0 {
			v += ";" + commonmodel.EscapingKey + "=" + scheme.String()
		}
		list = append(list, fmt.Sprintf("%s;q=0.%d", v, weight))
		weight--
	}
	return strings.Join(append(list, fmt.Sprintf("*/*;q=0.%d", weight)), ",")
}
