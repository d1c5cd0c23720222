package send

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/otelconf"
	"github.com/mangru/mangru/internal/telemetry"
)

// Source hands out spans of frames, oldest first. It is for one goroutine.
type Source interface {
	// Next leases spans that carry at most maxSamples samples together. It
	// waits until there are that many, or until the oldest has waited for as
	// long as wait says. It returns io.EOF when nothing is left or will come.
	Next(ctx context.Context, maxSamples int, wait time.Duration) ([]model.Span, error)
	// Settle ends the lease: the first n spans are finished, the others go
	// back. The last finished one may have been shortened in place.
	Settle(n int)
}

// Config says where an endpoint is and how it is spoken to.
type Config struct {
	otelconf.Endpoint
	// BatchTimeout is the longest that a sample waits for company.
	BatchTimeout time.Duration
	// UserAgent names the program.
	UserAgent string
	// Transport, if not nil, is used in place of one made from Endpoint.HTTP.
	Transport http.RoundTripper
}

// Sender delivers to one endpoint.
type Sender struct {
	cfg      Config
	client   *http.Client
	external []model.Label
	metrics  *endpointMetrics
	log      *slog.Logger
	throttle telemetry.Throttle

	mu    sync.Mutex
	state State
}

// New returns a sender. It makes no connection yet.
func New(cfg Config, m *Metrics, log *slog.Logger) (*Sender, error) {
	if cfg.MaxRequestBytes < 1 || cfg.MaxSamplesPerRequest < 1 || cfg.Timeout <= 0 {
		return nil, fmt.Errorf("endpoint %q: request bytes, request samples and timeout must be positive", cfg.Name)
	}
	client, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	s := &Sender{
		cfg: cfg, client: client, metrics: m.endpoint(cfg.Name),
		log:      log.With("endpoint", cfg.Name),
		throttle: telemetry.Throttle{Every: time.Minute},
		state:    State{Name: cfg.Name, Status: StatusIdle},
	}
	cfg.ExternalLabels.Range(func(l labels.Label) {
		if l.Value != "" {
			s.external = append(s.external, model.Label{Name: l.Name, Value: l.Value})
		}
	})
	return s, nil
}

func newClient(cfg Config) (*http.Client, error) {
	client := &http.Client{Transport: cfg.Transport}
	if cfg.Transport == nil {
		var err error
		if client, err = commoncfg.NewClientFromConfig(cfg.HTTP, "remote_write"); err != nil {
			return nil, fmt.Errorf("endpoint %q: making the HTTP client: %w", cfg.Name, err)
		}
	}
	if sc := cfg.SigV4; sc != nil {
		signer, err := sigv4.NewSigner(sigv4.SignConfig{
			Region: sc.Region, Service: sc.Service, RoleARN: sc.RoleARN, ExternalID: sc.ExternalID,
			SessionName: sc.SessionName, STSRegion: sc.STSRegion, Profile: sc.Profile,
			AccessKey: sc.AccessKey, SecretKey: string(sc.SecretKey), WebIdentityTokenFile: sc.WebIdentityTokenFile,
		}, client.Transport)
		if err != nil {
			return nil, fmt.Errorf("endpoint %q: %w", cfg.Name, err)
		}
		client.Transport = signer
	}
	return client, nil
}

// Run delivers what the sources have, one shard each, until all have ended or
// ctx has. What was left is theirs to tell.
func (s *Sender) Run(ctx context.Context, sources []Source) {
	var wg sync.WaitGroup
	for _, src := range sources {
		wg.Go(func() { newShard(s, src).run(ctx) })
	}
	wg.Wait()
	s.client.CloseIdleConnections()
}

// shard is one stream of requests, of which one is under way at a time.
type shard struct {
	*Sender
	src   Source
	enc   encoder
	limit int // samples in the next request
	delay time.Duration
}

func newShard(s *Sender, src Source) *shard {
	return &shard{Sender: s, src: src, limit: s.cfg.MaxSamplesPerRequest, enc: encoder{external: s.external}}
}

func (s *shard) run(ctx context.Context) {
	for {
		spans, err := s.src.Next(ctx, s.limit, s.cfg.BatchTimeout)
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				s.log.Error("reading the queue failed; the shard has stopped", "err", err)
			}
			return
		}
		if wait := s.deliver(ctx, spans); wait > 0 && !sleep(ctx, wait) {
			return
		}
	}
}

// deliver makes one request of the spans and settles them. It returns how long
// to wait before the next one.
func (s *shard) deliver(ctx context.Context, spans []model.Span) time.Duration {
	n, samples := s.fit(spans)
	if n == 0 {
		// One sample alone exceeds what a request may hold.
		spans[0] = spans[0].Prefix(1)
		s.refuse(reasonTooLarge, 1, fmt.Sprintf("one sample takes more than max_request_bytes (%d)", s.cfg.MaxRequestBytes))
		s.src.Settle(1)
		return 0
	}
	r := s.post(ctx, s.enc.packed)
	switch {
	case r.err == nil:
		s.src.Settle(n)
		s.accepted(samples, len(s.enc.packed))
		s.delay = 0
		s.limit = min(s.cfg.MaxSamplesPerRequest, s.limit+s.limit/8+1)
		return 0
	case ctx.Err() != nil:
		s.src.Settle(0)
		return 0
	case r.status == http.StatusRequestEntityTooLarge && samples > 1:
		s.src.Settle(0)
		s.limit = max(1, samples/2)
		s.retrying(r, 0)
		return 0
	case r.retry:
		s.src.Settle(0)
		s.delay = min(s.cfg.Retry.Max, max(s.cfg.Retry.Initial, 2*s.delay))
		wait := max(r.after, s.delay/2+rand.N(s.delay/2+1))
		s.retrying(r, wait)
		return max(wait, time.Millisecond)
	default:
		s.src.Settle(n)
		s.refuse(reasonRefused, samples, r.err.Error())
		s.delay = 0
		return 0
	}
}

// fit encodes as many spans from the front as a request may hold, and returns
// how many those are and their samples. It may shorten the last one.
func (s *shard) fit(spans []model.Span) (n, samples int) {
	for n = len(spans); ; {
		samples = s.enc.encode(spans[:n])
		size := len(s.enc.packed)
		if size <= s.cfg.MaxRequestBytes {
			return n, samples
		}
		if samples == 1 {
			return 0, 0
		}
		limit := max(1, min(samples-1, int(0.9*float64(samples)*float64(s.cfg.MaxRequestBytes)/float64(size))))
		s.limit = min(s.limit, limit)
		n = shorten(spans[:n], limit)
	}
}

// shorten returns how many spans from the front carry limit samples at most; a
// first one that alone has more is cut.
func shorten(spans []model.Span, limit int) int {
	left := limit
	i := slices.IndexFunc(spans, func(sp model.Span) bool {
		left -= sp.Samples()
		return left < 0
	})
	switch i {
	case -1:
		return len(spans)
	case 0:
		spans[0] = spans[0].Prefix(limit)
		return 1
	}
	return i
}

// sleep waits and reports whether ctx still runs.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
